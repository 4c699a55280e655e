import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { ControlServer } from '../../../../../registrar/engine/io/control-server.ts';
import type { EngineInput } from '../../../../../registrar/engine/seam.ts';

const LOCAL = { address: '127.0.0.1', port: 0 };
const MEGABYTE = Buffer.alloc(1_048_576);

describe('ports for applications', () => {
  let server: ControlServer;
  let inputs: EngineInput[];
  const sockets: net.Socket[] = [];
  beforeEach(() => {
    inputs = [];
    server = new ControlServer((input) => inputs.push(input));
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await server.close();
  });

  async function connect(port: number): Promise<net.Socket> {
    const socket = net.connect({ host: LOCAL.address, port });
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  async function until(isReached: () => boolean): Promise<void> {
    while (!isReached()) await turn();
  }

  it('say by which of them an application has come, and count all together', async () => {
    const own = await server.listen({ local: LOCAL });
    const further = await server.listen({ local: LOCAL, isFurther: true });
    for (const port of [own, further, own]) {
      const before = inputs.length;
      await connect(port);
      await until(() => inputs.length > before);
    }
    assert.deepEqual(
      inputs.map((input) =>
        input.kind === 'controlOpened' ? [input.controlId, input.isFurther] : input,
      ),
      [
        [1, undefined],
        [2, true],
        [3, undefined],
      ],
    );
  });

  it('let an application go that reads nothing any more, rather than keep all for it', async () => {
    const port = await server.listen({ local: LOCAL });
    const [deaf, other] = [await connect(port), await connect(port)];
    deaf.pause();
    let heard = 0;
    other.on('data', (bytes: Buffer) => (heard += bytes.length));
    await until(() => inputs.length === 2);
    let sent = 0;
    while (!inputs.some(({ kind }) => kind === 'controlClosed')) {
      assert.ok(sent < 200, 'kept 200 MB');
      server.send(1, MEGABYTE);
      sent += 1;
      await turn();
    }
    assert.ok(sent > 60, `${sent} MB were too many`);
    assert.equal(server.refusals.get('slowApplication'), 1);
    server.send(1, MEGABYTE);
    server.send(2, MEGABYTE);
    await until(() => heard === MEGABYTE.length);
  });
});
