/** The relay's RTP ports: pairs of an even port for RTP and the odd one above it for RTCP (RFC 3550 §11). */

import { ResourceError } from '../../core/errors.ts';
import { UdpPort } from './udp-port.ts';

export type PortPair = { readonly rtp: UdpPort; readonly rtcp: UdpPort };

export type PortRange = { readonly min: number; readonly max: number };

type OpenPort = (address: string, port: number) => Promise<UdpPort>;

/**
 * Hands out the pair that has been free for longest, in an order that cannot be guessed, so that late packets of an
 * ended call do not meet the next one. Ports that other programs hold are passed over.
 */
export class PortPool {
  readonly pairsTotal: number;
  /** Ring of free even ports; the oldest at `#head`. */
  readonly #free: Uint16Array;
  readonly #open: OpenPort;
  #head = 0;
  #freeCount: number;

  /** @param open - replaced by tests */
  constructor(range: PortRange, random: () => number = Math.random, open: OpenPort = openPort) {
    const first = range.min + (range.min % 2);
    this.pairsTotal = Math.max(0, Math.floor((range.max - first + 1) / 2));
    this.#free = Uint16Array.from({ length: this.pairsTotal }, (_, index) => first + 2 * index);
    for (let index = this.pairsTotal - 1; index > 0; index -= 1) {
      const other = Math.floor(random() * (index + 1));
      const port = this.#free[index] ?? 0;
      this.#free[index] = this.#free[other] ?? 0;
      this.#free[other] = port;
    }
    this.#freeCount = this.pairsTotal;
    this.#open = open;
  }

  get pairsInUse(): number {
    return this.pairsTotal - this.#freeCount;
  }

  /**
   * Opens a pair on a numeric local address.
   *
   * @throws ResourceError `relay.ports.exhausted` when every pair of the range is in use, here or elsewhere, or
   * `relay.ports.unavailable` when the system refuses sockets altogether
   */
  async allocate(address: string): Promise<PortPair> {
    for (let attempts = this.#freeCount; attempts > 0 && this.#freeCount > 0; attempts -= 1) {
      const port = this.#takeOldest();
      const pair = await this.#openPair(address, port);
      if (pair !== undefined) return pair;
      this.#giveBack(port);
    }
    throw new ResourceError('relay.ports.exhausted', 'all RTP ports are in use');
  }

  /** Closes the pair's sockets and puts it behind all other free pairs. */
  release(pair: PortPair): void {
    pair.rtp.close();
    pair.rtcp.close();
    this.#giveBack(pair.rtp.localPort);
  }

  /** Both ports, or undefined when somebody else has one of them. */
  async #openPair(address: string, port: number): Promise<PortPair | undefined> {
    let rtp: UdpPort | undefined;
    try {
      rtp = await this.#open(address, port);
      return { rtp, rtcp: await this.#open(address, port + 1) };
    } catch (error) {
      rtp?.close();
      if (isTaken(error)) return undefined;
      this.#giveBack(port);
      const reason = error instanceof Error ? error.message : String(error);
      throw new ResourceError('relay.ports.unavailable', `no UDP socket: ${reason}`);
    }
  }

  #takeOldest(): number {
    const port = this.#free[this.#head] ?? 0;
    this.#head = (this.#head + 1) % this.pairsTotal;
    this.#freeCount -= 1;
    return port;
  }

  #giveBack(port: number): void {
    this.#free[(this.#head + this.#freeCount) % this.pairsTotal] = port;
    this.#freeCount += 1;
  }
}

function openPort(address: string, port: number): Promise<UdpPort> {
  return UdpPort.open(address, port);
}

function isTaken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'EADDRINUSE' || code === 'EACCES';
}
