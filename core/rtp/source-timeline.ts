/** Where each packet of a source lies in sequence and time, over wraps, new SSRCs and restarted clocks. */

import { Unwrapper } from './sequence.ts';

/** A transit time that differs so much from the one before is a new clock, not a delay. */
const CLOCK_JUMP_MS = 1000;
const MAX_DROPOUT = 3000;
const MAX_MISORDER = 100;
/** With a new clock, a sequence number up to so much ahead shows that it is still the same sender. */
const NEAR_SEQUENCE = 50;

/** The header fields that tell a packet's place. */
export type PlacedHeader = {
  readonly ssrc: number;
  readonly sequenceNumber: number;
  readonly rtpTimestamp: number;
};

export class SourceTimeline {
  readonly #clockRateHz: number;
  readonly #sequences = Unwrapper.ofSequenceNumbers();
  readonly #timestamps = Unwrapper.ofTimestamps();
  #ssrc: number | undefined;
  #highest = -1;
  #lastTransitMs = 0;
  #suspect = -1;

  /** The place of the packet last accepted: unwrapped, and its arrival minus its timestamp in milliseconds. */
  sequence = 0;
  timestamp = 0;
  transitMs = 0;

  constructor(clockRateHz: number) {
    this.#clockRateHz = clockRateHz;
  }

  /**
   * Places a packet. Numbers that make no sense are refused once and believed when the next packet continues them.
   *
   * @returns `restarted` when nothing before this packet can be compared with it
   */
  place(packet: PlacedHeader, arrivalMs: number): 'continues' | 'restarted' | 'unexpected' {
    const fit = packet.ssrc === this.#ssrc ? this.#fit(packet, arrivalMs) : 'restarted';
    if (fit === 'unexpected') {
      const isConfirmed = packet.sequenceNumber === this.#suspect;
      this.#suspect = (packet.sequenceNumber + 1) & 0xffff;
      if (!isConfirmed) return 'unexpected';
    }
    if (fit !== 'continues') this.#restart(packet.ssrc);
    this.#suspect = -1;
    this.sequence = this.#sequences.unwrap(packet.sequenceNumber);
    this.timestamp = this.#timestamps.unwrap(packet.rtpTimestamp);
    this.transitMs = arrivalMs - (this.timestamp * 1000) / this.#clockRateHz;
    this.#lastTransitMs = this.transitMs;
    this.#highest = Math.max(this.#highest, this.sequence);
    return fit === 'continues' ? 'continues' : 'restarted';
  }

  /** The place in sequence of a packet without audio; undefined when it is not near the others. */
  placeWithoutAudio(packet: Omit<PlacedHeader, 'rtpTimestamp'>): number | undefined {
    if (packet.ssrc !== this.#ssrc) return undefined;
    if (!isNear(this.#sequences.peek(packet.sequenceNumber) - this.#highest)) return undefined;
    const sequence = this.#sequences.unwrap(packet.sequenceNumber);
    this.#highest = Math.max(this.#highest, sequence);
    return sequence;
  }

  #fit(packet: PlacedHeader, arrivalMs: number): 'continues' | 'restarted' | 'unexpected' {
    const step = this.#sequences.peek(packet.sequenceNumber) - this.#highest;
    if (!isNear(step)) return 'unexpected';
    const timestampMs = (this.#timestamps.peek(packet.rtpTimestamp) * 1000) / this.#clockRateHz;
    if (Math.abs(arrivalMs - timestampMs - this.#lastTransitMs) <= CLOCK_JUMP_MS) {
      return 'continues';
    }
    return step >= 1 && step <= NEAR_SEQUENCE ? 'restarted' : 'unexpected';
  }

  #restart(ssrc: number): void {
    this.#ssrc = ssrc;
    this.#highest = -1;
    this.#sequences.reset();
    this.#timestamps.reset();
  }
}

function isNear(step: number): boolean {
  return step <= MAX_DROPOUT && step >= -MAX_MISORDER;
}
