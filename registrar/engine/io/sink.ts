/** How sockets hand what they receive to the engine's driver, and how the driver writes to a stream. */
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
  readonly maxConnectionsPerAddress: number;
  /** A connection that has sent nothing at all for this long is closed [ms]. */
  readonly firstByteTimeoutMs: number;
  /** Unsent bytes that a slow reader may make us hold [bytes]. */
  readonly maxQueuedBytes: number;
};

/** Counts connections in all and per address, so that one address cannot take every place. */
export class ConnectionCensus {
  readonly #limits: ConnectionLimits;
  readonly #perAddress = new Map<string, number>();
  #total = 0;
  refused = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** @returns false when the connection is one too many */
  admit(address: string): boolean {
    const count = this.#perAddress.get(address) ?? 0;
    if (
      this.#total >= this.#limits.maxConnections ||
      count >= this.#limits.maxConnectionsPerAddress
    ) {
      this.refused++;
      return false;
    }
    this.#perAddress.set(address, count + 1);
    this.#total++;
    return true;
  }

  release(address: string): void {
    const count = this.#perAddress.get(address) ?? 0;
    if (count <= 1) this.#perAddress.delete(address);
    else this.#perAddress.set(address, count - 1);
    this.#total--;
  }
}
