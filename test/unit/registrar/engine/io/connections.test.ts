import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { selfSignedIdentity } from '../../../../../registrar/engine/io/identity.ts';
import { runEngine, type RunningEngine } from '../../../../../registrar/engine/run.ts';

const LOOPBACK = '127.0.0.1';
const TRANSPORTS = ['tcp', 'tls', 'ws', 'wss'] as const;
const PATIENCE_MS = 10_000;

describe('connections to the engine', () => {
  let folder: string;
  let engine: RunningEngine | undefined;
  const sockets: net.Socket[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'parley-connections-'));
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await engine?.stop();
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function start(
    limits: { readonly flows?: number; readonly flowsPerAddress?: number },
    timers: { readonly firstMessageMs?: number } = {},
  ): Promise<RunningEngine> {
    engine = await runEngine({
      listen: TRANSPORTS.map((transport) => ({ transport, address: LOOPBACK, port: 0 })),
      control: { address: LOOPBACK, port: 0 },
      secret: 'secret',
      identity: await selfSignedIdentity(folder, [LOOPBACK], Date.now()),
      limits,
      timers,
    });
    return engine;
  }

  async function connect(running: RunningEngine, transport: string): Promise<net.Socket> {
    const listener = running.details.listeners.find((one) => one.transport === transport);
    assert.ok(listener);
    const socket = net.connect(listener.local.port, LOOPBACK);
    sockets.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }

  async function until(isDone: () => boolean, what: string): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!isDone()) {
      assert.ok(Date.now() < end, what);
      await sleep(10);
    }
  }

  for (const transport of TRANSPORTS) {
    it(`are bounded for each address from their first moment, also by ${transport}`, async () => {
      const running = await start({ flowsPerAddress: 2 });
      const [first] = [await connect(running, transport), await connect(running, transport)];
      await until(() => running.stats().connections === 2, 'two are open');
      const third = await connect(running, transport);
      await once(third.resume(), 'close');
      assert.equal(running.stats().counters.refusals['connectionsPerAddress'], 1);
      assert.equal(running.stats().connections, 2);
      first.destroy();
      await until(() => running.stats().connections === 1, 'one has gone');
      await connect(running, transport);
      await until(() => running.stats().connections === 2, 'another one may come');
    });
  }

  it('are bounded in all', async () => {
    const running = await start({ flows: 2 });
    for (const transport of ['tcp', 'ws']) await connect(running, transport);
    await until(() => running.stats().connections === 2, 'two are open');
    await once((await connect(running, 'tcp')).resume(), 'close');
    assert.equal(running.stats().counters.refusals['connections'], 1);
  });

  for (const transport of ['tcp', 'ws', 'wss'] as const) {
    it(`are closed when nothing comes by them, also by ${transport}`, async () => {
      const running = await start({}, { firstMessageMs: 200 });
      const silent = await connect(running, transport);
      await once(silent.resume(), 'close');
      await until(() => running.stats().connections === 0, 'none is left');
    });
  }
});
