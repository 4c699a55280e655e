import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { EngineDriver } from '../../../../../registrar/engine/io/driver.ts';
import { selfSignedIdentity } from '../../../../../registrar/engine/io/identity.ts';
import type { DnsQuestions } from '../../../../../registrar/engine/io/resolver.ts';
import type {
  EngineInput,
  EngineOutput,
  ResolvedTarget,
  SansIoEngine,
} from '../../../../../registrar/engine/seam.ts';

const LIMITS = {
  maxConnections: 10,
  maxConnectionsPerAddress: 10,
  upgradeTimeoutMs: 10_000,
  maxQueuedBytes: 10_000,
};
const LOOPBACK = '127.0.0.1';

/** Gives the orders that it is told to give, and keeps what comes of them. */
class ScriptedEngine implements SansIoEngine {
  readonly orders: EngineOutput[] = [];
  readonly #inputs: EngineInput[] = [];
  #waiting: (() => void) | undefined;

  handleInput(input: EngineInput): void {
    this.#inputs.push(input);
    this.#waiting?.();
  }

  pollOutput(): EngineOutput | undefined {
    return this.orders.shift();
  }

  nextDeadline(): undefined {
    return undefined;
  }

  /** The next input of one of these kinds. */
  async next<K extends EngineInput['kind']>(
    ...kinds: readonly K[]
  ): Promise<Extract<EngineInput, { kind: K }>> {
    for (;;) {
      const isWanted = (input: EngineInput): input is Extract<EngineInput, { kind: K }> =>
        kinds.some((kind) => kind === input.kind);
      const at = this.#inputs.findIndex(isWanted);
      const [input] = at < 0 ? [] : this.#inputs.splice(at, 1);
      if (input !== undefined && isWanted(input)) return input;
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
  }
}

const noRecord = (): Promise<never> => Promise.reject(new Error('ENODATA'));
const TWO_PLACES: DnsQuestions = {
  naptr: noRecord,
  srv: noRecord,
  addresses: () => Promise.resolve(['192.0.2.1', '192.0.2.2']),
};

describe('engine driver', () => {
  let engine: ScriptedEngine;
  let driver: EngineDriver;
  let controlPort: number;
  const closers: (() => Promise<unknown>)[] = [];

  beforeEach(() => {
    engine = new ScriptedEngine();
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  const start = async (
    options: { dns?: DnsQuestions; trustedAuthorities?: string } = {},
  ): Promise<void> => {
    driver = new EngineDriver({
      engine,
      limits: LIMITS,
      maxMessageBytes: 65_000,
      identity: undefined,
      trustedAuthorities: undefined,
      ...options,
    });
    closers.push(() => driver.close());
    controlPort = await driver.listenForControl({ local: { address: LOOPBACK, port: 0 } });
  };

  /** Any input makes the driver ask for orders; this one is an application that connects. */
  const order = async (...orders: readonly EngineOutput[]): Promise<void> => {
    engine.orders.push(...orders);
    const socket = net.connect(controlPort, LOOPBACK);
    closers.push(() => Promise.resolve(socket.destroy()));
    await engine.next('controlOpened');
  };

  describe('resolves names', () => {
    const resolve = async (queryId: number): Promise<readonly string[]> => {
      await order({
        kind: 'resolve',
        queryId,
        host: 'pbx.test',
        port: 5060,
        transport: 'udp',
        secure: false,
      });
      const answer = await engine.next('resolved');
      assert.equal(answer.queryId, queryId);
      return answer.targets.map(({ remote }) => remote.address);
    };

    it('and puts a place that has failed behind the others', async () => {
      await start({ dns: TWO_PLACES });
      assert.deepEqual(await resolve(1), ['192.0.2.1', '192.0.2.2']);
      const target: ResolvedTarget = {
        transport: 'udp',
        remote: { address: '192.0.2.1', port: 5060 },
      };
      await order({ kind: 'targetFailed', target });
      assert.deepEqual(await resolve(2), ['192.0.2.2', '192.0.2.1']);
    });

    it('and says that one leads nowhere', async () => {
      await start({ dns: { ...TWO_PLACES, addresses: noRecord } });
      assert.deepEqual(await resolve(1), []);
    });
  });

  describe('connects by TLS', () => {
    let certificate: string;
    let port: number;
    let server: tls.Server;
    let nextFlowId = 1;

    beforeEach(async () => {
      const folder = await mkdtemp(path.join(os.tmpdir(), 'parley-driver-'));
      closers.push(() => rm(folder, { recursive: true }));
      const identity = await selfSignedIdentity(folder, ['pbx.test', LOOPBACK], Date.now());
      certificate = identity.cert;
      server = tls.createServer(identity, (socket) => {
        socket.on('error', () => undefined);
      });
      server.listen(0, LOOPBACK);
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
      closers.push(async () => {
        server.close();
        await once(server, 'close');
      });
    });

    const connect = async (serverName: string | undefined): Promise<string> => {
      const remote = { address: LOOPBACK, port };
      const flowId = nextFlowId;
      nextFlowId += 2;
      await order({ kind: 'connect', flowId, transport: 'tls', remote, serverName });
      const outcome = await engine.next('flowConnected', 'flowClosed');
      return outcome.kind === 'flowClosed' ? outcome.reason : outcome.kind;
    };

    it('to a server whose certificate an authority of ours vouches for', async () => {
      await start({ trustedAuthorities: certificate });
      // An address is no name to ask for (RFC 6066 §3), but it must be in the certificate all the same.
      for (const [name, asked] of [
        ['pbx.test', 'pbx.test'],
        [LOOPBACK, false],
      ] as const) {
        const accepted = once(server, 'secureConnection') as Promise<[tls.TLSSocket]>;
        assert.equal(await connect(name), 'flowConnected');
        assert.equal((await accepted)[0].servername, asked);
      }
    });

    it('to nobody whose certificate has another name', async () => {
      await start({ trustedAuthorities: certificate });
      assert.match(await connect('elsewhere.test'), /altnames/i);
    });

    it('to nobody for whom no authority vouches', async () => {
      await start();
      assert.match(await connect('pbx.test'), /self.signed/i);
    });
  });

  it('cannot connect to a WebSocket client, and says so', async () => {
    await start();
    const remote = { address: LOOPBACK, port: 9 };
    await order({ kind: 'connect', flowId: 3, transport: 'wss', remote, serverName: undefined });
    const { flowId, reason } = await engine.next('flowClosed');
    assert.deepEqual([flowId, reason], [3, 'cannot connect by wss']);
  });
});
