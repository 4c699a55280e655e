/** Wrap-around arithmetic of sequence numbers (16 bits) and RTP timestamps (32 bits); it exists only here. */

/** How far `a` is ahead of `b`, -32768 to 32767. */
export function sequenceDifference(a: number, b: number): number {
  return ((a - b) << 16) >> 16;
}

/** How far timestamp `a` is ahead of `b`, -2^31 to 2^31 - 1. */
export function timestampDifference(a: number, b: number): number {
  return (a - b) | 0;
}

/** Sequence number or timestamp after `count` steps, wrapped. */
export function advanceSequence(sequenceNumber: number, count = 1): number {
  return (sequenceNumber + count) & 0xffff;
}

export function advanceTimestamp(rtpTimestamp: number, count: number): number {
  return (rtpTimestamp + count) >>> 0;
}

/**
 * Turns wrapped numbers into ones that only grow (RFC 3550 A.1): each number is taken as the one nearest to the
 * latest. Starts one whole cycle up, so that numbers from before the first one are still positive.
 */
export class Unwrapper {
  readonly #difference: (a: number, b: number) => number;
  readonly #cycle: number;
  #latest: number | undefined;

  private constructor(difference: (a: number, b: number) => number, cycle: number) {
    this.#difference = difference;
    this.#cycle = cycle;
  }

  static ofSequenceNumbers(): Unwrapper {
    return new Unwrapper(sequenceDifference, 0x10000);
  }

  static ofTimestamps(): Unwrapper {
    return new Unwrapper(timestampDifference, 0x100000000);
  }

  /** The extended number; remembers it when it is the highest so far. */
  unwrap(wrapped: number): number {
    const extended = this.peek(wrapped);
    if (this.#latest === undefined || extended > this.#latest) this.#latest = extended;
    return extended;
  }

  /** The extended number, without remembering it. */
  peek(wrapped: number): number {
    if (this.#latest === undefined) return this.#cycle + wrapped;
    return this.#latest + this.#difference(wrapped, this.#latest % this.#cycle);
  }

  /** Forgets everything: the next number is a first one. */
  reset(): void {
    this.#latest = undefined;
  }
}
