import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { selfSignedIdentity } from '../../../../../registrar/engine/io/identity.ts';
import { runEngine, type RunningEngine } from '../../../../../registrar/engine/run.ts';

const LOOPBACK = '127.0.0.1';

describe('the certificate of the control port', () => {
  let folder: string;
  let engine: RunningEngine | undefined;
  const sockets: tls.TLSSocket[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'parley-control-identity-'));
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await engine?.stop();
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('can be exchanged for new connections, apart from that of the phones; old ones go on', async () => {
    const [old, renewed, phones] = await Promise.all(
      ['old', 'renewed', 'phones'].map((name) =>
        selfSignedIdentity(path.join(folder, name), [`${name}.test`], Date.now()),
      ),
    );
    assert.ok(old && renewed && phones);
    const running = await runEngine({
      listen: [{ transport: 'tls', address: LOOPBACK, port: 0 }],
      control: { address: LOOPBACK, port: 0, identity: old },
      secret: 'secret',
      identity: phones,
    });
    engine = running;

    const connect = async (port: number): Promise<{ socket: tls.TLSSocket; name: string }> => {
      const socket = tls.connect({ port, host: LOOPBACK, rejectUnauthorized: false });
      sockets.push(socket);
      await once(socket, 'secureConnect');
      return { socket, name: socket.getPeerCertificate().subjectaltname ?? '' };
    };
    const { controlPort, listeners } = running.details;
    const sipPort = listeners[0]?.local.port ?? 0;

    const first = await connect(controlPort);
    assert.equal(first.name, 'DNS:old.test');
    running.exchangeControlIdentity(renewed);
    assert.equal((await connect(controlPort)).name, 'DNS:renewed.test');
    assert.equal((await connect(sipPort)).name, 'DNS:phones.test');
    running.exchangeIdentity(old);
    assert.equal((await connect(sipPort)).name, 'DNS:old.test');
    assert.equal((await connect(controlPort)).name, 'DNS:renewed.test');

    const order = 'm1|authenticate|secret|';
    first.socket.write(`${order.length}#${order}`);
    const [answer] = (await once(first.socket, 'data')) as [Buffer];
    assert.match(answer.toString(), /\|response\|m1\|OK\|/);
  });
});
