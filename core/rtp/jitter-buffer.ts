/**
 * An adaptive jitter buffer for one RTP source: it decides which packet is played when, and never looks into them.
 *
 * The playout delay follows a quantile of the arrival delay. It is moved in silence, in any steps; in speech only by
 * one concealed frame when it is more than 60 ms short or packets keep coming just too late, and by one frame when
 * a sender has not paused for two seconds. It is never flushed: what comes too late is counted and dropped.
 */

import { DelayHistogram } from './delay-histogram.ts';
import { PacketRing } from './packet-ring.ts';
import { SourceTimeline, type PlacedHeader } from './source-timeline.ts';

export type JitterBufferOptions = {
  /** The RTP clock, for example 8000 or 48000. */
  readonly clockRateHz: number;
  /** Length of the audio in `payload[start, end)` in units of the RTP clock; 0 when it is malformed. */
  readonly durationOf: (payload: Uint8Array, start: number, end: number) => number;
  /** The share of packets that are to come in time; 0.97 to 0.99, normally 0.985. */
  readonly quantile?: number;
  /** The target stays at least this much above the fastest packet. */
  readonly minDelayMs?: number;
  readonly maxDelayMs?: number;
};

/** The packet lies in `payload[start, end)`; the whole of it when these are left out. It is copied. */
export type IncomingPacket = PlacedHeader & {
  readonly payload: Uint8Array;
  readonly start?: number;
  readonly end?: number;
};

export type PushResult = 'queued' | 'duplicate' | 'late' | 'malformed' | 'unexpected';

/**
 * What to play next, always `samples` (units of the RTP clock) of it. Payloads are views that are good until the
 * next `push`.
 * - `frame`: decode this packet.
 * - `missing`: conceal; `next` is the packet that follows at once, if it is here already, for Opus FEC.
 * - `silence`: the sender is silent (DTX), or a pause is being stretched.
 * - `stretch`: conceal, although nothing is lost: the playout point moves later.
 * - `skip`: decode this packet, but cut as much as sounds well, up to its length: the playout point moves earlier.
 * - `buffering`: nothing has come yet, or not for a while.
 */
export type Playout =
  | { readonly kind: 'frame' | 'skip'; readonly samples: number; readonly payload: Uint8Array }
  | {
      readonly kind: 'missing';
      readonly samples: number;
      readonly next: Uint8Array | undefined;
    }
  | { readonly kind: 'silence' | 'stretch' | 'buffering'; readonly samples: number };

export type JitterBufferCounters = {
  readonly receivedPackets: number;
  /** Sequence numbers that never came. */
  readonly lostPackets: number;
  /** Came after their moment. */
  readonly latePackets: number;
  readonly duplicatePackets: number;
  /** Malformed, or with a sequence number or timestamp that makes no sense. */
  readonly droppedPackets: number;
  readonly concealedFrames: number;
  /** Frames by which the playout point was moved, later and earlier. */
  readonly insertedFrames: number;
  readonly skippedFrames: number;
};

const FRAME_MS = 20;
/** Above the quantile: differences of a fraction of a millisecond are no reason to be late. */
const GUARD_MS = 0.5;
/** Added at first, while the histogram knows little, and fading over so many packets. */
const INITIAL_MARGIN_MS = 5;
const INITIAL_PACKETS = 50;
/** How much too early the playout point must be before it is moved: one frame and this. */
const SHRINK_MARGIN_MS = 4;
const SHORT_IN_SPEECH_MS = 60;
const LATE_RUN = 2;
const WITHOUT_PAUSE_MS = 2000;
const EXCESS_IN_SPEECH_MS = 26;
/** So much too much delay is taken back even in speech. */
const CATCH_UP_MS = 250;
/** In speech at most one frame in so many is moved. */
const MOVE_EVERY = 4;
/** After so many frames without a packet the source is taken as paused. */
const MAX_CONCEALED_FRAMES = 5;
const TARGET_EVERY = 4;
/** A packet whose time was longer ago than this is no place to begin. */
const STALE_MS = 60;
const STRETCH_MARGIN_MS = 2;
const NO_AUDIO = new Uint8Array(0);

export class JitterBuffer {
  readonly #clockRateHz: number;
  readonly #durationOf: JitterBufferOptions['durationOf'];
  readonly #quantile: number;
  readonly #maxDelayMs: number;
  #minDelayMs: number;
  #extraDelayMs = 0;

  readonly #ring = new PacketRing();
  readonly #histogram = new DelayHistogram();
  readonly #timeline: SourceTimeline;
  readonly #stored = { sequence: 0, timestamp: 0, duration: 0, isSilent: false };

  #highest = -1;
  #lowest = -1;
  /** The transit time that the playout point aims at. */
  #targetMs = 0;
  #sinceReset = 0;
  #initialMarginMs = INITIAL_MARGIN_MS;

  #isPlaying = false;
  /** The latest sequence number that was played, given up or skipped. */
  #played = -1;
  /** Timestamp of the next sample to be played. */
  #position = -Infinity;
  #lastDuration: number;
  #wasSilent = true;
  #concealed = 0;
  #lateRun = 0;
  #withoutPauseMs = 0;
  #sinceMove = 0;
  #playoutDelayMs = 0;

  #received = 0;
  #expectedBefore = 0;
  #receivedHere = 0;
  #late = 0;
  #duplicates = 0;
  #dropped = 0;
  #concealedFrames = 0;
  #inserted = 0;
  #skipped = 0;

  constructor(options: JitterBufferOptions) {
    this.#clockRateHz = options.clockRateHz;
    this.#timeline = new SourceTimeline(options.clockRateHz);
    this.#durationOf = options.durationOf;
    this.#quantile = options.quantile ?? 0.985;
    this.#minDelayMs = options.minDelayMs ?? 0;
    this.#maxDelayMs = options.maxDelayMs ?? 200;
    this.#lastDuration = (FRAME_MS * options.clockRateHz) / 1000;
  }

  /** What the target is above the fastest packet, in milliseconds: grows with jitter. */
  get targetDelayMs(): number {
    if (this.#histogram.isEmpty) return this.#minDelayMs;
    return Math.max(0, this.#targetMs - this.#histogram.quantile(0));
  }

  /** How long the audio that plays now has waited here, smoothed, in milliseconds. */
  get playoutDelayMs(): number {
    return this.#playoutDelayMs;
  }

  get counters(): JitterBufferCounters {
    return {
      receivedPackets: this.#received,
      lostPackets: this.#expectedBefore + this.#expectedHere(),
      latePackets: this.#late,
      duplicatePackets: this.#duplicates,
      droppedPackets: this.#dropped,
      concealedFrames: this.#concealedFrames,
      insertedFrames: this.#inserted,
      skippedFrames: this.#skipped,
    };
  }

  /** Changes the least delay during a call; the playout point follows as it may. */
  setMinDelay(minDelayMs: number): void {
    this.#minDelayMs = minDelayMs;
  }

  /** Adds to whatever the jitter asks for: a frame's length lets the packet after a lost one come in time for FEC. */
  setExtraDelay(extraDelayMs: number): void {
    this.#extraDelayMs = extraDelayMs;
  }

  /**
   * Keeps a packet for playout.
   *
   * @param arrivalMs - monotonic milliseconds, never decreasing
   * @param isSilent - whether the packet holds no speech, if that is known: the playout point moves there
   */
  push(packet: IncomingPacket, arrivalMs: number, isSilent = false): PushResult {
    const { payload, start = 0, end = payload.length } = packet;
    const duration = this.#durationOf(payload, start, end);
    if (duration <= 0) {
      this.#dropped += 1;
      return 'malformed';
    }
    const place = this.#timeline.place(packet, arrivalMs);
    if (place === 'unexpected') {
      this.#dropped += 1;
      return 'unexpected';
    }
    const { sequence, timestamp } = this.#timeline;
    if (place === 'restarted') this.#restart(sequence);
    const stored = this.#stored;
    stored.sequence = sequence;
    stored.timestamp = timestamp;
    stored.duration = duration;
    stored.isSilent = isSilent;
    if (this.#ring.has(sequence)) {
      this.#duplicates += 1;
      return 'duplicate';
    }
    this.#received += 1;
    this.#receivedHere += 1;
    this.#observe(this.#timeline.transitMs);
    if (sequence < this.#lowest) this.#lowest = sequence;
    if (this.#isLate(sequence)) return this.#countLate(sequence);
    this.#makeRoom(sequence);
    this.#ring.store(stored, payload, start, end);
    if (sequence > this.#highest) this.#highest = sequence;
    return 'queued';
  }

  /**
   * Notes a packet of the same source that carries no audio (a telephone-event), so that its sequence number does not
   * count as lost. Its place in time is heard as silence.
   */
  skip(packet: Omit<PlacedHeader, 'rtpTimestamp'>): void {
    const sequence = this.#timeline.placeWithoutAudio(packet);
    if (sequence === undefined || this.#ring.has(sequence)) return;
    this.#receivedHere += 1;
    if (sequence > this.#highest) this.#highest = sequence;
    if (sequence <= this.#played) return;
    this.#makeRoom(sequence);
    this.#ring.store({ sequence, timestamp: 0, duration: 0, isSilent: true }, NO_AUDIO, 0, 0);
  }

  /**
   * What to play next. Call it every 20 ms until a frame of 20 ms is at hand.
   *
   * @param nowMs - the same clock as `arrivalMs`; the due time of the frame rather than the time of day
   * @param heldMs - audio already pulled and not yet played
   */
  pull(nowMs: number, heldMs = 0): Playout {
    if (!this.#isPlaying && !this.#start(nowMs, heldMs)) {
      return { kind: 'buffering', samples: this.#lastDuration };
    }
    const next = this.#nextSequence();
    const excessMs = this.#excess(this.#position, this.#lastDuration, nowMs, heldMs);
    if (next === undefined) return this.#underrun(excessMs);
    const gap = this.#ring.timestamp(next) - this.#position;
    if (gap > 0) {
      return next === this.#played + 1
        ? this.#senderPause(gap, excessMs)
        : this.#lostBefore(next, gap);
    }
    return this.#playNext(next, { nowMs, heldMs, excessMs });
  }

  /**
   * Stops playing without forgetting: packets go on being kept, the latest ones only, and the next `pull` begins again
   * where the playout point ought to be by then.
   */
  release(): void {
    this.#isPlaying = false;
    this.#position = -Infinity;
    this.#played = -1;
  }

  /** Up to `count` of the latest packets, oldest first, whether they have been played or not. */
  latest(count: number): Uint8Array[] {
    return this.#before(this.#highest, count);
  }

  /** Up to `count` packets from before the one that `pull` gave last, oldest first: what a cold decoder is primed with. */
  history(count: number): Uint8Array[] {
    return this.#before(this.#played - 1, count);
  }

  /** Packets without a gap up to and including `last`. */
  #before(last: number, count: number): Uint8Array[] {
    const packets: Uint8Array[] = [];
    for (let sequence = last; packets.length < count && sequence >= 0; sequence--) {
      if (!this.#ring.has(sequence)) break;
      if (this.#ring.duration(sequence) > 0) packets.unshift(this.#ring.payload(sequence));
    }
    return packets;
  }

  /** A new source or a new clock: the delay that was needed is still a good guess. */
  #restart(sequence: number): void {
    if (!this.#histogram.isEmpty) {
      const needed = this.#targetMs - this.#histogram.quantile(0.5);
      this.#initialMarginMs = Math.max(INITIAL_MARGIN_MS, Math.min(needed, this.#maxDelayMs));
    }
    this.#expectedBefore += this.#expectedHere();
    this.#receivedHere = 0;
    this.#highest = sequence;
    this.#lowest = sequence;
    this.#sinceReset = 0;
    this.#ring.clear();
    this.#histogram.clear();
    this.release();
  }

  #expectedHere(): number {
    if (this.#highest < 0) return 0;
    return Math.max(0, this.#highest - this.#lowest + 1 - this.#receivedHere);
  }

  #observe(transitMs: number): void {
    this.#histogram.add(transitMs);
    this.#sinceReset += 1;
    if (this.#sinceReset > INITIAL_PACKETS && this.#sinceReset % TARGET_EVERY !== 0) return;
    const fastest = this.#histogram.quantile(0);
    const margin = this.#initialMarginMs * Math.max(0, 1 - this.#sinceReset / INITIAL_PACKETS);
    const jitter = this.#histogram.quantile(this.#quantile) - fastest;
    const wanted = jitter + margin + this.#extraDelayMs;
    const bounded = Math.max(this.#minDelayMs, Math.min(this.#maxDelayMs, wanted));
    this.#targetMs = fastest + bounded + GUARD_MS;
  }

  #isLate(sequence: number): boolean {
    if (sequence <= this.#played) return true;
    const { timestamp, duration } = this.#stored;
    return timestamp + duration <= this.#position;
  }

  #countLate(sequence: number): PushResult {
    this.#late += 1;
    this.#lateRun += 1;
    if (sequence > this.#highest) this.#highest = sequence;
    if (sequence > this.#played) this.#played = sequence;
    return 'late';
  }

  /** While playing, what has not been played yet is not overwritten, up to the limit of the ring. */
  #makeRoom(sequence: number): void {
    if (!this.#isPlaying) return;
    while (sequence - this.#played >= this.#ring.capacity && this.#ring.grow());
    this.#played = Math.max(this.#played, sequence - this.#ring.capacity);
  }

  #toMs(timestamp: number): number {
    return (timestamp * 1000) / this.#clockRateHz;
  }

  /**
   * How much later than the target a packet plays, in milliseconds; negative when it is short. A frame that takes
   * several packets cannot be played before the last of them is there.
   */
  #excess(timestamp: number, duration: number, nowMs: number, heldMs: number): number {
    const lengthMs = this.#toMs(duration);
    const more = Math.max(0, Math.ceil((FRAME_MS - heldMs) / lengthMs - 1));
    return nowMs - this.#toMs(timestamp) - more * lengthMs - this.#targetMs;
  }

  /** Begins with the latest packet whose time has come; false while there is none. */
  #start(nowMs: number, heldMs: number): boolean {
    const from = Math.max(this.#played + 1, this.#highest - this.#ring.capacity + 1, this.#lowest);
    for (let sequence = this.#highest; sequence >= from && sequence >= 0; sequence--) {
      if (!this.#ring.has(sequence) || this.#ring.duration(sequence) === 0) continue;
      const timestamp = this.#ring.timestamp(sequence);
      const excess = this.#excess(timestamp, this.#ring.duration(sequence), nowMs, heldMs);
      if (excess < 0) continue;
      if (timestamp < this.#position || excess > STALE_MS) return false;
      this.#isPlaying = true;
      this.#played = sequence - 1;
      this.#position = timestamp;
      this.#concealed = 0;
      this.#lateRun = 0;
      this.#withoutPauseMs = 0;
      this.#wasSilent = true;
      return true;
    }
    return false;
  }

  /** The next packet with audio; those without are passed over where they are in order. */
  #nextSequence(): number | undefined {
    while (this.#ring.has(this.#played + 1) && this.#ring.duration(this.#played + 1) === 0) {
      this.#played += 1;
      this.#wasSilent = true;
    }
    for (let sequence = this.#played + 1; sequence <= this.#highest; sequence++) {
      if (this.#ring.has(sequence) && this.#ring.duration(sequence) > 0) return sequence;
    }
    return undefined;
  }

  #underrun(excessMs: number): Playout {
    const samples = this.#lastDuration;
    if (this.#concealed >= MAX_CONCEALED_FRAMES) {
      this.#isPlaying = false;
      return { kind: 'buffering', samples };
    }
    this.#concealed += 1;
    if (this.#wasSilent) {
      if (excessMs >= 0) this.#position += samples;
      else this.#inserted += 1;
      return { kind: 'silence', samples };
    }
    this.#concealedFrames += 1;
    if (this.#mustWait(excessMs)) {
      this.#inserted += 1;
      return { kind: 'stretch', samples };
    }
    this.#position += samples;
    return { kind: 'missing', samples, next: undefined };
  }

  /** Whether what is missing is only late: the packets before it were, so it is better to wait than to give it up. */
  #mustWait(excessMs: number): boolean {
    return -excessMs > SHORT_IN_SPEECH_MS || this.#lateRun >= LATE_RUN;
  }

  /** The sender sent nothing for `gap`: silence, which is shortened or stretched as the target wants. */
  #senderPause(gap: number, excessMs: number): Playout {
    this.#wasSilent = true;
    this.#withoutPauseMs = 0;
    const samples = Math.min(gap, this.#lastDuration);
    if (excessMs < 0) {
      this.#inserted += 1;
      return { kind: 'silence', samples: this.#lastDuration };
    }
    const surplus = Math.floor(((excessMs - SHRINK_MARGIN_MS) * this.#clockRateHz) / 1000);
    const cut = Math.min(gap - samples, surplus - (surplus % this.#lastDuration));
    if (cut > 0) this.#skipped += Math.round(cut / this.#lastDuration);
    this.#position += samples + Math.max(0, cut);
    return { kind: 'silence', samples };
  }

  #lostBefore(next: number, gap: number): Playout {
    const samples = Math.min(gap, this.#lastDuration);
    this.#played += 1;
    this.#position += samples;
    this.#concealed += 1;
    this.#concealedFrames += 1;
    if (this.#concealed > MAX_CONCEALED_FRAMES) return { kind: 'silence', samples };
    return {
      kind: 'missing',
      samples,
      next: samples === gap ? this.#ring.payload(next) : undefined,
    };
  }

  #playNext(
    next: number,
    { nowMs, heldMs, excessMs }: { nowMs: number; heldMs: number; excessMs: number },
  ): Playout {
    const isSilent = this.#ring.isSilent(next);
    const samples = this.#ring.duration(next);
    if (isSilent || this.#wasSilent) this.#withoutPauseMs = 0;
    else this.#withoutPauseMs += this.#toMs(samples);
    if (isSilent && excessMs < 0) {
      this.#inserted += 1;
      return { kind: 'silence', samples: this.#lastDuration };
    }
    if (isSilent && this.#canDrop(next, excessMs)) {
      this.#take(next, samples);
      this.#skipped += 1;
      return this.pull(nowMs, heldMs);
    }
    if (!isSilent && this.#mustStretch(excessMs)) {
      this.#withoutPauseMs = 0;
      this.#sinceMove = 0;
      this.#inserted += 1;
      return { kind: 'stretch', samples: this.#lastDuration };
    }
    const kind = !isSilent && this.#mustSkip(next, excessMs) ? 'skip' : 'frame';
    this.#wasSilent = isSilent;
    this.#concealed = 0;
    this.#lateRun = 0;
    this.#sinceMove += 1;
    this.#noteDelay(nowMs + heldMs, next);
    this.#take(next, samples);
    if (kind === 'skip') {
      this.#skipped += 1;
      this.#withoutPauseMs = 0;
      this.#sinceMove = 0;
    }
    return { kind, samples, payload: this.#ring.payload(next) };
  }

  #take(sequence: number, samples: number): void {
    this.#played = sequence;
    this.#position = this.#ring.timestamp(sequence) + samples;
    this.#lastDuration = samples;
  }

  /** A silent packet may go when the delay is still enough without it and another one is there to play instead. */
  #canDrop(sequence: number, excessMs: number): boolean {
    const lengthMs = this.#toMs(this.#ring.duration(sequence));
    return excessMs >= lengthMs + SHRINK_MARGIN_MS && this.#ring.has(sequence + 1);
  }

  #mustStretch(excessMs: number): boolean {
    if (-excessMs > SHORT_IN_SPEECH_MS) return this.#sinceMove >= MOVE_EVERY;
    return -excessMs > STRETCH_MARGIN_MS && this.#withoutPauseMs >= WITHOUT_PAUSE_MS;
  }

  #mustSkip(sequence: number, excessMs: number): boolean {
    if (!this.#ring.has(sequence + 1)) return false;
    if (excessMs >= CATCH_UP_MS) return this.#sinceMove >= MOVE_EVERY;
    return excessMs >= EXCESS_IN_SPEECH_MS && this.#withoutPauseMs >= WITHOUT_PAUSE_MS;
  }

  #noteDelay(atMs: number, sequence: number): void {
    const waited = atMs - this.#toMs(this.#ring.timestamp(sequence)) - this.#histogram.quantile(0);
    this.#playoutDelayMs += (Math.max(0, waited) - this.#playoutDelayMs) / 16;
  }
}
