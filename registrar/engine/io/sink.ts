/** How sockets hand what they receive to the engine's driver, and how the driver writes to a stream. */
import type net from 'node:net';
import { CounterFamily } from '../counters.ts';
import { networkOf } from '../overload.ts';
import type { EngineInput } from '../seam.ts';

/** Takes one input; the driver adds the time. */
export type InputSink = (input: EngineInput) => void;

/** One open stream connection, whatever carries it. */
export type StreamFlow = {
  /** Queues bytes; a peer that does not read loses its connection rather than our memory. */
  write(bytes: Buffer): void;
  /** Sends what is queued, then closes. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
};

/** Ids of accepted flows are even, of opened ones odd (see `FlowId`). */
export class FlowIds {
  #next = 2;

  accepted(): number {
    const id = this.#next;
    this.#next += 2;
    return id;
  }
}

/** What a stream listener allows before it refuses connections. */
export type ConnectionLimits = {
  readonly maxConnections: number;
  /** For IPv6: per /64 network. */
  readonly maxConnectionsPerAddress: number;
  /** How long an HTTP request that is to become a WebSocket may take to arrive [ms]. */
  readonly upgradeTimeoutMs: number;
  /** Unsent bytes that a slow reader may make us hold [bytes]. */
  readonly maxQueuedBytes: number;
};

type CensusLimits = Pick<ConnectionLimits, 'maxConnections' | 'maxConnectionsPerAddress'>;

/** Counts connections in all and per address, so that one address cannot take every place; and those refused. */
export class ConnectionCensus {
  readonly #limits: CensusLimits;
  readonly #perAddress = new Map<string, number>();
  #total = 0;
  /**
   * By kind: `connections`, `connectionsPerAddress`; `slowReader` for one that let too much pile up, `oversizedMessage`
   * for a WebSocket that sent too much at once.
   */
  readonly refusals = new CounterFamily();

  constructor(limits: CensusLimits) {
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** Counts a connection until it closes, from its first moment on; one too many is closed at once. */
  admit(socket: net.Socket): void {
    const { remoteAddress } = socket;
    const network = networkOf(remoteAddress ?? '');
    const count = this.#perAddress.get(network) ?? 0;
    const refusal = this.#refusalOf(count);
    if (refusal !== undefined) this.refusals.add(refusal);
    if (refusal !== undefined || remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    this.#perAddress.set(network, count + 1);
    this.#total++;
    socket.once('close', () => {
      this.#release(network);
    });
  }

  #refusalOf(countOfNetwork: number): string | undefined {
    if (this.#total >= this.#limits.maxConnections) return 'connections';
    const isOneTooMany = countOfNetwork >= this.#limits.maxConnectionsPerAddress;
    return isOneTooMany ? 'connectionsPerAddress' : undefined;
  }

  #release(network: string): void {
    const count = this.#perAddress.get(network) ?? 0;
    if (count <= 1) this.#perAddress.delete(network);
    else this.#perAddress.set(network, count - 1);
    this.#total--;
  }
}
