/**
 * Keeps a sound card fed: it never waits for samples, and what waits for it is as little as both sides are steady.
 *
 * The headroom of a frame is the time between its coming and its being taken: so much later it could have come. When
 * it runs out, made-up sound fills the gap, and all that follows is a frame later; when there has been too much of it
 * for ten seconds, pitch periods are cut out until the delay is gone.
 */

import { Concealment } from '../../core/audio/concealment.ts';
import { shorten } from '../../core/audio/time-scale.ts';
import { DEVICE_RATE_HZ, FRAME_MS, FRAME_SAMPLES } from './device.ts';

/** Frames that may wait; above that the oldest goes. */
const MAXIMUM_WAITING = 12;
/** A card that takes nothing for so many frames (it opens, or hangs) has broken the sound: what waited is not played late. */
const STALLED_FRAMES = 5;
/** Frames that are kept after that. */
const KEPT_FRAMES = 2;
/** The card gets half frames, so that less waits inside of the sound library. */
const PIECE_SAMPLES = FRAME_SAMPLES / 2;
const PIECE_MS = FRAME_MS / 2;
/** Ten seconds in which the headroom was enough show how much of it can go. */
const CALM_PIECES = 1000;
/** Headroom that stays, because tomorrow is not quite like today. */
const RESERVE_MS = 8;
/** Pieces between two cuts, and the most that one takes, so that nobody hears them. */
const CUT_EVERY = 10;
const MOST_CUT = FRAME_SAMPLES / 2;
/** What is too short to be cut out well: 2.5 ms. */
const LEAST_CUT = FRAME_SAMPLES / 8;

/** A card that has taken nothing for so long will not take anything again; at first it may take a while. */
const STUCK_MS = 1500;
const STUCK_OPENING_MS = 6000;
/** Pieces that the sound library takes before the card plays anything. */
const QUEUED_PIECES = 5;
/** A card that takes a hundredth less than the clock says has gaps of its own. */
const TOLERATED_LOSS = 0.01;

/** Hands 480 samples to the card, which copies them; `done` when it has taken them. */
type Write = (piece: Int16Array, done: () => void) => void;

/** Sits between frames that come at one pace and a card that takes them at its own. */
export class PlaybackFeed {
  readonly #write: Write;
  readonly #nowMs: () => number;
  readonly #concealment = new Concealment(DEVICE_RATE_HZ);
  readonly #queue = new Int16Array(MAXIMUM_WAITING * FRAME_SAMPLES);
  readonly #piece = new Int16Array(PIECE_SAMPLES);
  /** When the frames in the queue came, the oldest first. */
  readonly #arrivalsMs: number[] = [];
  /** Samples in the queue. */
  #waiting = 0;
  #pushedMeanwhile = 0;
  #writingSinceMs: number | undefined;
  #written = 0;
  #calmPieces = 0;
  #leastHeadroomMs = Infinity;
  /** Samples that are to be cut out, and how long ago the last cut was. */
  #surplus = 0;
  #sinceCut = 0;
  /** Where the comparison with the clock began. */
  #paceFrom = { atMs: 0, written: 0 };
  /** Whether the card has lost time in the last ten seconds: gaps that no feed can mend. */
  hasGaps = false;
  /** Frames dropped because the card was slower than the caller. */
  dropped = 0;
  /** Pieces made up because nothing had come. */
  filled = 0;

  /** @param nowMs - monotonic milliseconds */
  constructor(write: Write, nowMs: () => number) {
    this.#write = write;
    this.#nowMs = nowMs;
  }

  start(): void {
    this.#next();
  }

  /** @param frame - 960 samples, copied */
  push(frame: Int16Array): void {
    if (this.#writingSinceMs !== undefined) this.#pushedMeanwhile += 1;
    if (this.#waiting + FRAME_SAMPLES > this.#queue.length) this.#dropTo(MAXIMUM_WAITING - 1);
    this.#queue.set(frame, this.#waiting);
    this.#waiting += FRAME_SAMPLES;
    this.#arrivalsMs.push(this.#nowMs());
    if (this.#arrivalsMs.length > MAXIMUM_WAITING) this.#arrivalsMs.shift();
  }

  /** Whether the card takes nothing any more: sound servers can lose a stream and say nothing. */
  get isStuck(): boolean {
    if (this.#writingSinceMs === undefined) return false;
    const limitMs = this.#written > QUEUED_PIECES ? STUCK_MS : STUCK_OPENING_MS;
    return this.#nowMs() - this.#writingSinceMs > limitMs;
  }

  #next(): void {
    if (this.#writingSinceMs !== undefined) return;
    if (this.#pushedMeanwhile > STALLED_FRAMES) this.#dropTo(KEPT_FRAMES);
    this.#pushedMeanwhile = 0;
    if (this.#waiting >= PIECE_SAMPLES) this.#take();
    else this.#makeUp();
    this.#writingSinceMs = this.#nowMs();
    this.#write(this.#piece, () => {
      this.#writingSinceMs = undefined;
      this.#written += 1;
      this.#watchPace();
      this.#next();
    });
  }

  /** Compares the card with the clock, ten seconds at a time. */
  #watchPace(): void {
    if (this.#written <= QUEUED_PIECES) return;
    const nowMs = this.#nowMs();
    const pieces = this.#written - this.#paceFrom.written;
    if (this.#paceFrom.written > 0 && pieces < CALM_PIECES) return;
    const expectedMs = pieces * PIECE_MS;
    if (this.#paceFrom.written > 0) {
      this.hasGaps = nowMs - this.#paceFrom.atMs > expectedMs * (1 + TOLERATED_LOSS);
    }
    this.#paceFrom = { atMs: nowMs, written: this.#written };
  }

  #take(): void {
    this.#noteHeadroom();
    this.#cut();
    this.#piece.set(this.#queue.subarray(0, PIECE_SAMPLES));
    this.#remove(PIECE_SAMPLES);
    this.#concealment.receive(this.#piece, PIECE_SAMPLES);
  }

  /** Samples of less than a piece go on waiting. */
  #makeUp(): void {
    this.#concealment.conceal(PIECE_SAMPLES, this.#piece);
    this.filled += 1;
    this.#surplus = 0;
    this.#watchAgain();
  }

  #watchAgain(): void {
    this.#calmPieces = 0;
    this.#leastHeadroomMs = Infinity;
  }

  #noteHeadroom(): void {
    const behind = Math.floor((this.#waiting - PIECE_SAMPLES) / FRAME_SAMPLES);
    const arrivalMs = this.#arrivalsMs.at(-1 - behind);
    if (arrivalMs === undefined) return;
    this.#leastHeadroomMs = Math.min(this.#leastHeadroomMs, this.#nowMs() - arrivalMs);
    this.#calmPieces += 1;
    if (this.#calmPieces < CALM_PIECES) return;
    // Less than a piece gains nothing: who waits for a part of one waits for all of it.
    const pieces = Math.floor((this.#leastHeadroomMs - RESERVE_MS) / PIECE_MS);
    if (pieces > 0) this.#surplus = pieces * PIECE_SAMPLES;
    this.#watchAgain();
  }

  #cut(): void {
    this.#sinceCut += 1;
    const most = Math.min(this.#surplus, this.#waiting - PIECE_SAMPLES, MOST_CUT);
    if (most < LEAST_CUT || this.#sinceCut < CUT_EVERY) return;
    this.#sinceCut = 0;
    const length = shorten(this.#queue, this.#waiting, most, DEVICE_RATE_HZ);
    this.#surplus -= this.#waiting - length;
    this.#waiting = length;
    this.#watchAgain();
  }

  #dropTo(frames: number): void {
    const excess = this.#waiting - frames * FRAME_SAMPLES;
    if (excess <= 0) return;
    this.dropped += Math.ceil(excess / FRAME_SAMPLES);
    this.#remove(excess);
  }

  #remove(samples: number): void {
    this.#queue.copyWithin(0, samples, this.#waiting);
    this.#waiting -= samples;
  }
}
