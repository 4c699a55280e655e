/** drachtio-srf as applications write it: listening for the engine, and connecting to it by TLS. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type AddressInfo, type Server } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import Drachtio from 'drachtio-srf';
import { disconnect } from '../../registrar/app/wire.ts';
import type { Dialog, Srf } from '../../registrar/app/srf.ts';
import {
  selfSignedIdentity,
  startEngine,
  type EngineHandle,
  type EngineStartOptions,
} from '../../registrar/engine/public.ts';
import { nothingLeftIn } from '../support/sip-engines.ts';
import { SipPeer } from '../support/sip-peer.ts';
import { SDP } from '../support/sip-texts.ts';

const LOOPBACK = '127.0.0.1';
const SECRET = 'not a secret';

type ListeningSrf = Srf & {
  listen(options: { host: string; port: number; secret: string; tls?: object }): Server;
  endSession(holder: object): void;
};

describe('control connections of drachtio-srf', function () {
  this.timeout(30_000);

  let engine: EngineHandle;
  let phone: SipPeer;
  let identity: { cert: string; key: string };
  let folder: string;
  const closers: (() => Promise<unknown>)[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'parley-control-'));
    identity = await selfSignedIdentity(folder, ['localhost', LOOPBACK], Date.now());
  });
  after(() => rm(folder, { recursive: true }));
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function start(options: Partial<EngineStartOptions>): Promise<void> {
    engine = await startEngine({
      listen: [{ transport: 'udp', address: LOOPBACK, port: 0 }],
      control: { address: LOOPBACK, port: 0 },
      secret: SECRET,
      ...options,
    });
    const started = engine;
    closers.push(async () => {
      try {
        const isRunning = (await started.stats().catch(() => undefined)) !== undefined;
        if (isRunning) await nothingLeftIn(started);
      } finally {
        await started.stop();
      }
    });
    phone = await SipPeer.open({ server: { address: LOOPBACK, port: sipPort() } });
    closers.push(() => phone.close());
  }

  function sipPort(): number {
    return engine.listeners[0]?.local.port ?? 0;
  }

  /** An application that listens, and the port on which it does. */
  async function listening(
    secret: string,
    tls?: object,
  ): Promise<{ srf: ListeningSrf; port: number }> {
    const srf = new Drachtio() as unknown as ListeningSrf;
    srf.on('error', () => undefined);
    srf.on('connect', () => undefined);
    const options = { host: LOOPBACK, port: 0, secret, ...(tls === undefined ? {} : { tls }) };
    const server = srf.listen(options);
    await once(server, 'listening');
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    return { srf, port: (server.address() as AddressInfo).port };
  }

  async function untilNoApplication(): Promise<void> {
    while ((await engine.stats()).applications > 0) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  for (const scheme of ['tcp', 'tls'] as const) {
    it(`srf.listen: a call by ${scheme}, from INVITE to endSession`, async () => {
      const { srf, port } = await listening(SECRET, scheme === 'tls' ? identity : undefined);
      await start({
        requestHandlers: [{ method: 'INVITE', uri: `${scheme}://${LOOPBACK}:${port}` }],
        trustedAuthorities: identity.cert,
      });
      const ended = new Promise<void>((resolve, reject) => {
        srf.use('invite', (request, response) => {
          srf
            .createUAS(request, response, { localSdp: SDP })
            .then((dialog: Dialog) => {
              dialog.on('destroy', () => {
                srf.endSession(request);
                resolve();
              });
            })
            .catch(reject);
        });
      });
      const call = await phone.invite(`sip:room@${LOOPBACK}:${sipPort()}`, { sdp: SDP });
      await call.answered();
      assert.equal((await engine.stats()).applications, 1);
      await call.bye();
      await ended;
      await untilNoApplication();
    });
  }

  it('srf.listen with another secret, and an application that is not there: 480', async () => {
    const { srf, port } = await listening('another');
    srf.use('options', (_request, response) => {
      response.send(200);
    });
    await start({
      requestHandlers: [
        { method: 'OPTIONS', uri: `tcp://${LOOPBACK}:${port}` },
        { method: 'MESSAGE', uri: `tcp://${LOOPBACK}:1` },
      ],
    });
    for (const method of ['OPTIONS', 'MESSAGE']) {
      const exchange = await phone.request(method, `sip:x@${LOOPBACK}:${sipPort()}`);
      await exchange.final(480);
    }
    await untilNoApplication();
  });

  it('srf.listen by TLS with a certificate that nobody vouches for: 480', async () => {
    const { port } = await listening(SECRET, identity);
    await start({ requestHandlers: [{ uri: `tls://${LOOPBACK}:${port}` }] });
    const exchange = await phone.request('OPTIONS', `sip:x@${LOOPBACK}:${sipPort()}`);
    await exchange.final(480);
    assert.equal((await engine.stats()).counters.controlErrors['dialFailed'], 1);
  });

  it('srf.connect by TLS: requests come, and answers go back', async () => {
    await start({ control: { address: LOOPBACK, port: 0, identity } });
    const srf = new Drachtio() as unknown as Srf;
    srf.on('error', () => undefined);
    srf.use('options', (_request, response) => {
      response.send(200);
    });
    const connected = new Promise((resolve) => srf.once('connect', resolve));
    const place = { host: LOOPBACK, port: engine.controlPort, secret: SECRET };
    (srf as unknown as { connect(options: object): void }).connect({
      ...place,
      tls: { ca: identity.cert },
    });
    closers.push(() => {
      disconnect(srf);
      return Promise.resolve();
    });
    await connected;
    // The route follows the handshake.
    for (;;) {
      const exchange = await phone.request('OPTIONS', `sip:x@${LOOPBACK}:${sipPort()}`);
      const { statusCode } = await exchange.final();
      if (statusCode === 200) break;
      assert.equal(statusCode, 503);
    }
  });

  for (const transport of ['udp', 'tcp'] as const) {
    it(`a call of an application by ${transport} ends with BYE when the engine does`, async () => {
      await start({
        listen: ['udp', 'tcp'].map((kind) => ({
          transport: kind as 'udp' | 'tcp',
          address: LOOPBACK,
          port: 0,
        })),
      });
      const caller = await SipPeer.open({
        server: { address: LOOPBACK, port: sipPort() },
        transport,
      });
      closers.push(() => caller.close());
      const srf = new Drachtio() as unknown as Srf;
      srf.on('error', () => undefined);
      srf.use('invite', (request, response) => {
        void srf.createUAS(request, response, { localSdp: SDP });
      });
      const connected = new Promise((resolve) => srf.once('connect', resolve));
      srf.connect({ host: LOOPBACK, port: engine.controlPort, secret: SECRET });
      closers.push(() => {
        disconnect(srf);
        return Promise.resolve();
      });
      await connected;
      // The route follows the handshake.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const call = await caller.invite(`sip:x@${LOOPBACK}:${sipPort()}`, { sdp: SDP });
      await call.answered();
      while ((await engine.stats()).serverTransactions > 1) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const bye = caller.expectRequest('BYE');
      await engine.stop();
      assert.match((await bye).message.header('Reason') ?? '', /SIP;cause=503/);
    });
  }

  it('a control port has a hundred places for one address', async () => {
    await start({});
    const sockets = Array.from({ length: 120 }, () => connect(engine.controlPort, LOOPBACK));
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      closers.push(() => Promise.resolve(socket.destroy()));
    }
    while ((await engine.stats()).counters.refusals['connectionsPerAddress'] !== 20) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    for (const socket of sockets) socket.destroy();
    await untilNoApplication();
    const srf = new Drachtio() as unknown as Srf;
    srf.on('error', () => undefined);
    const connected = new Promise((resolve) => srf.once('connect', resolve));
    srf.connect({ host: LOOPBACK, port: engine.controlPort, secret: SECRET });
    await connected;
    disconnect(srf);
  });

  it('a control port with TLS ignores who does not speak it, and closes all the same', async () => {
    await start({ control: { address: LOOPBACK, port: 0, identity } });
    const srf = new Drachtio() as unknown as Srf;
    srf.on('error', () => undefined);
    let isConnected = false;
    srf.on('connect', () => (isConnected = true));
    const closed = new Promise((resolve) => srf.once('close', resolve));
    (srf as unknown as { connect(options: object): void }).connect({
      host: LOOPBACK,
      port: engine.controlPort,
      secret: SECRET,
    });
    await closed;
    disconnect(srf);
    assert.equal(isConnected, false);
    assert.equal((await engine.stats()).applications, 0);
  });
});
