import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { EngineDriver } from '../../../../../registrar/engine/io/driver.ts';
import type {
  EngineInput,
  EngineOutput,
  Listener,
  SansIoEngine,
} from '../../../../../registrar/engine/seam.ts';
import { freePorts } from '../../../../support/free-ports.ts';

const LOOPBACK = '127.0.0.1';
const PATIENCE_MS = 10_000;
const MEGABYTE = 1_048_576;
/** Far more than the system's own buffers take for one connection. */
const LETTERS = 64;
const MAX_MESSAGE_BYTES = 5_000;

/** Writes much to everybody who connects, and notes what comes. */
class GenerousEngine implements SansIoEngine {
  readonly inputs: EngineInput[] = [];
  readonly #outputs: EngineOutput[] = [];
  readonly #letters: number;

  constructor(letters: number) {
    this.#letters = letters;
  }

  handleInput(input: EngineInput): void {
    this.inputs.push(input);
    if (input.kind !== 'flowAccepted') return;
    const bytes = Buffer.alloc(MEGABYTE, 'a');
    for (let i = 0; i < this.#letters; i += 1) {
      this.#outputs.push({ kind: 'sendFlow', flowId: input.flowId, bytes });
    }
  }

  pollOutput(): EngineOutput | undefined {
    return this.#outputs.shift();
  }

  nextDeadline(): undefined {
    return undefined;
  }
}

describe('peers that take too much', () => {
  const closers: (() => unknown)[] = [];

  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function start(
    transport: 'tcp' | 'ws',
    letters: number,
  ): Promise<{ driver: EngineDriver; engine: GenerousEngine; port: number }> {
    const engine = new GenerousEngine(letters);
    const driver = new EngineDriver({
      engine,
      limits: {
        maxConnections: 10,
        maxConnectionsPerAddress: 10,
        upgradeTimeoutMs: PATIENCE_MS,
        maxQueuedBytes: 4 * MEGABYTE,
      },
      maxMessageBytes: MAX_MESSAGE_BYTES,
      identity: undefined,
      trustedAuthorities: undefined,
    });
    closers.push(() => driver.close());
    const port = await freePorts(1);
    const local = { address: LOOPBACK, port };
    const listener: Listener = { id: 1, transport, local, external: undefined };
    await driver.listen(listener);
    return { driver, engine, port };
  }

  function webSocket(port: number): WebSocket {
    const socket = new WebSocket(`ws://${LOOPBACK}:${port}`, 'sip');
    socket.on('error', () => undefined);
    closers.push(() => {
      socket.terminate();
    });
    return socket;
  }

  async function until(isDone: () => boolean, what: string): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!isDone()) {
      assert.ok(Date.now() < end, what);
      await sleep(10);
    }
  }

  for (const transport of ['tcp', 'ws'] as const) {
    it(`and read nothing lose their ${transport} connection, not our memory`, async () => {
      const { driver, engine, port } = await start(transport, LETTERS);
      if (transport === 'ws') {
        const socket = webSocket(port);
        socket.on('upgrade', (response) => response.socket.pause());
      } else {
        const socket = net.connect(port, LOOPBACK).pause();
        socket.on('error', () => undefined);
        closers.push(() => socket.destroy());
      }
      await until(() => engine.inputs.some(({ kind }) => kind === 'flowClosed'), 'it is cut off');
      assert.equal(driver.connections.refusals['slowReader'], 1);
      await until(() => driver.connections.open === 0, 'nothing is left of it');
    });

    it(`but read all of it keep their ${transport} connection`, async () => {
      const { driver, engine, port } = await start(transport, 3);
      let received = 0;
      if (transport === 'ws') {
        webSocket(port).on('message', (bytes: Buffer) => (received += bytes.length));
      } else {
        const socket = net.connect(port, LOOPBACK);
        closers.push(() => socket.destroy());
        socket.on('data', (bytes) => (received += bytes.length));
      }
      await until(() => received === 3 * MEGABYTE, 'all arrives');
      assert.deepEqual(driver.connections.refusals, {});
      assert.ok(engine.inputs.every(({ kind }) => kind !== 'flowClosed'));
    });
  }

  it('of ours at once, in one WebSocket message, are closed with 1009 and counted', async () => {
    const { driver, engine, port } = await start('ws', 0);
    const socket = webSocket(port);
    await once(socket, 'open');
    socket.send('x'.repeat(MAX_MESSAGE_BYTES));
    await until(() => engine.inputs.some(({ kind }) => kind === 'flowBytes'), 'what fits arrives');
    assert.deepEqual(driver.connections.refusals, {});
    const closed = once(socket, 'close') as Promise<[code: number]>;
    socket.send('x'.repeat(MAX_MESSAGE_BYTES + 1));
    assert.equal((await closed)[0], 1009);
    await until(() => engine.inputs.some(({ kind }) => kind === 'flowClosed'), 'it is closed');
    assert.deepEqual(driver.connections.refusals, { oversizedMessage: 1 });
    assert.equal(engine.inputs.filter(({ kind }) => kind === 'flowBytes').length, 1);
  });

  it('by breaking the rules of WebSocket otherwise are not counted for that', async () => {
    const { driver, engine, port } = await start('ws', 0);
    const socket = webSocket(port);
    await once(socket, 'open');
    // Reserved bits that nobody has agreed on.
    const carrier = (socket as unknown as { _socket: net.Socket })._socket;
    carrier.write(Buffer.of(0xff, 0xff, 0xff, 0xff));
    await until(() => engine.inputs.some(({ kind }) => kind === 'flowClosed'), 'it is closed');
    assert.deepEqual(driver.connections.refusals, {});
  });
});
