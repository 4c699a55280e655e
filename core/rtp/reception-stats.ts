/** What a receiver knows of one RTP source (RFC 3550 A.1, A.3, A.8): loss, jitter, highest sequence number. */

import type { ReportBlock } from './rtcp.ts';
import { sequenceDifference, timestampDifference } from './sequence.ts';

/** A jump larger than these is not loss or reordering but a restarted sender, if the next packet agrees (A.1). */
const MAX_DROPOUT = 3000;
const MAX_MISORDER = 100;

export type ReceptionSummary = {
  readonly receivedPackets: number;
  /** Expected minus received since the source began; negative when there were more duplicates than losses. */
  readonly lostPackets: number;
  /** Interarrival jitter (RFC 3550 §6.4.1) in milliseconds. */
  readonly jitterMs: number;
  readonly extendedSequenceNumber: number;
};

/**
 * Deviation from A.1: MIN_SEQUENTIAL is 0, so the first packet of a source counts; a stranger's packets never come
 * this far, because ports latch on a source.
 */
export class ReceptionStats {
  readonly #clockRateHz: number;
  #ssrc: number | undefined;
  #base = 0;
  #highest = 0;
  #cycles = 0;
  #received = 0;
  #badSequence = -1;
  #jitter = 0;
  #transit: { arrival: number; rtpTimestamp: number } | undefined;
  #expectedPrior = 0;
  #receivedPrior = 0;

  /** @param clockRateHz - the RTP clock of the payload, for example 8000 */
  constructor(clockRateHz: number) {
    this.#clockRateHz = clockRateHz;
  }

  /**
   * Counts one packet. A new SSRC begins a new source.
   *
   * @param arrivalMs - monotonic arrival time in milliseconds
   * @returns false when the sequence number makes no sense and the packet did not count
   */
  receive(
    packet: {
      readonly ssrc: number;
      readonly sequenceNumber: number;
      readonly rtpTimestamp: number;
    },
    arrivalMs: number,
  ): boolean {
    if (packet.ssrc !== this.#ssrc) {
      this.#ssrc = packet.ssrc;
      this.#begin(packet.sequenceNumber);
    }
    if (!this.#updateSequence(packet.sequenceNumber)) return false;
    this.#received += 1;
    this.#updateJitter(packet.rtpTimestamp, arrivalMs);
    return true;
  }

  summary(): ReceptionSummary {
    return {
      receivedPackets: this.#received,
      lostPackets: this.#received === 0 ? 0 : this.#expected() - this.#received,
      jitterMs: (this.#jitter * 1000) / this.#clockRateHz,
      extendedSequenceNumber: this.#cycles + this.#highest,
    };
  }

  /**
   * The report block of RFC 3550 §6.4.1 about this source; begins a new interval for `fractionLost`.
   * The last two fields come from the SR last received (`RtcpReceiver.echo`); zero when there was none.
   *
   * @returns undefined when no packet has come yet
   */
  report(echo?: {
    readonly lastSr: number;
    readonly delaySinceLastSr: number;
  }): ReportBlock | undefined {
    if (this.#ssrc === undefined) return undefined;
    const expected = this.#expected();
    const expectedInterval = expected - this.#expectedPrior;
    const lostInterval = expectedInterval - (this.#received - this.#receivedPrior);
    this.#expectedPrior = expected;
    this.#receivedPrior = this.#received;
    const fraction =
      expectedInterval <= 0 || lostInterval <= 0 ? 0 : (lostInterval * 256) / expectedInterval;
    return {
      ssrc: this.#ssrc,
      fractionLost: Math.min(255, Math.floor(fraction)),
      cumulativeLost: Math.max(-0x800000, Math.min(0x7fffff, expected - this.#received)),
      extendedHighestSequenceNumber: (this.#cycles + this.#highest) >>> 0,
      jitter: Math.floor(this.#jitter) >>> 0,
      lastSr: echo?.lastSr ?? 0,
      delaySinceLastSr: echo?.delaySinceLastSr ?? 0,
    };
  }

  #begin(sequenceNumber: number): void {
    this.#base = sequenceNumber;
    this.#highest = sequenceNumber;
    this.#cycles = 0;
    this.#received = 0;
    this.#badSequence = -1;
    this.#transit = undefined;
    this.#jitter = 0;
    this.#expectedPrior = 0;
    this.#receivedPrior = 0;
  }

  #updateSequence(sequenceNumber: number): boolean {
    const step = sequenceDifference(sequenceNumber, this.#highest);
    if (step >= 0 && step < MAX_DROPOUT) {
      if (sequenceNumber < this.#highest) this.#cycles += 0x10000;
      this.#highest = sequenceNumber;
    } else if (step >= MAX_DROPOUT || step < -MAX_MISORDER) {
      if (sequenceNumber !== this.#badSequence) {
        this.#badSequence = (sequenceNumber + 1) & 0xffff;
        return false;
      }
      this.#begin(sequenceNumber);
    }
    return true;
  }

  #updateJitter(rtpTimestamp: number, arrivalMs: number): void {
    const arrival = (arrivalMs * this.#clockRateHz) / 1000;
    if (this.#transit !== undefined) {
      const sent = timestampDifference(rtpTimestamp, this.#transit.rtpTimestamp);
      const difference = Math.abs(arrival - this.#transit.arrival - sent);
      this.#jitter += (difference - this.#jitter) / 16;
      this.#transit.arrival = arrival;
      this.#transit.rtpTimestamp = rtpTimestamp;
    } else {
      this.#transit = { arrival, rtpTimestamp };
    }
  }

  #expected(): number {
    return this.#cycles + this.#highest - this.#base + 1;
  }
}
