/**
 * Packet loss concealment for waveform codecs after ITU-T G.711 Appendix I: the last pitch periods go on, fading.
 *
 * Deviation: the Appendix delays the output by 3.75 ms to smooth the seam before the loss as well; here nothing is
 * delayed, and only the seams inside and after the loss are smoothed.
 */

import { clampSample } from './pcm.ts';

const RATE_HZ = 8000;
/** 66 to 200 Hz. */
const MIN_PITCH = 40;
const MAX_PITCH = 120;
const CORRELATION = 160;
const MAX_PERIODS = 3;
/** Three periods and the quarter before them. */
const HISTORY = MAX_PERIODS * MAX_PITCH + MAX_PITCH / 4;
const STEP = RATE_HZ / 100;
const FADE_PER_SAMPLE = 0.2 / STEP;
/** Nothing is left after 60 ms: full for 10, then a fifth less in each 10. */
const MAX_CONCEALED = 6 * STEP;
const OVERLAP_PER_STEP = 32;
const MAX_OVERLAP = STEP;

/** Follows one stream at 8 kHz. */
export class Concealment {
  readonly #history = new Float32Array(HISTORY);
  /** The history as it was when the loss began; made-up sound joins the other one. */
  readonly #original = new Float32Array(HISTORY);
  readonly #cycle = new Float32Array(HISTORY);
  readonly #seam = new Float32Array(MAX_PITCH / 4);
  #pitch = MIN_PITCH;
  #cycleLength = MIN_PITCH;
  #phase = 0;
  #seamAt = 0;
  #concealed = 0;

  /** A frame that came: it is smoothed in place where it follows a loss. */
  receive(pcm: Int16Array, length: number): void {
    if (this.#concealed > 0) {
      this.#join(pcm, length);
      this.#concealed = 0;
    }
    this.#remember(pcm, length);
  }

  /** Fills the first `samples` of `out` in place of a frame that did not come. */
  conceal(samples: number, out: Int16Array): void {
    if (this.#concealed === 0) this.#begin();
    for (let index = 0; index < samples; index++) {
      out[index] = clampSample(Math.round(this.#next()));
    }
    this.#remember(out, samples);
  }

  reset(): void {
    this.#history.fill(0);
    this.#concealed = 0;
  }

  #begin(): void {
    this.#original.set(this.#history);
    this.#pitch = findPitch(this.#original);
    this.#phase = 0;
    this.#build(1);
  }

  /** One more made-up sample, faded. */
  #next(): number {
    if (this.#concealed >= MAX_CONCEALED) return 0;
    if (this.#concealed === STEP || this.#concealed === 2 * STEP) this.#lengthen();
    const value = this.#advance();
    const fade = Math.max(0, 1 - Math.max(0, this.#concealed - STEP) * FADE_PER_SAMPLE);
    this.#concealed += 1;
    return value * fade;
  }

  #advance(): number {
    let value = this.#cycle[this.#phase] ?? 0;
    const quarter = this.#pitch >> 2;
    if (this.#seamAt < quarter) {
      const weight = (this.#seamAt + 1) / (quarter + 1);
      value = value * weight + (this.#seam[this.#seamAt] ?? 0) * (1 - weight);
      this.#seamAt += 1;
    }
    this.#phase = (this.#phase + 1) % this.#cycleLength;
    return value;
  }

  /** Repeats one period more than before, which sounds less like a buzz; the change is overlapped. */
  #lengthen(): void {
    const quarter = this.#pitch >> 2;
    const seam = Array.from({ length: quarter }, () => this.#advance());
    this.#phase = (this.#phase - quarter + this.#cycleLength) % this.#pitch;
    this.#build(this.#cycleLength / this.#pitch + 1);
    this.#seam.set(seam);
    this.#seamAt = 0;
  }

  /** Cuts `periods` from the end of the history; their end is overlapped with what came before their beginning. */
  #build(periods: number): void {
    const length = periods * this.#pitch;
    const quarter = this.#pitch >> 2;
    for (let index = 0; index < length; index++) {
      this.#cycle[index] = this.#original[HISTORY - length + index] ?? 0;
    }
    for (let index = 0; index < quarter; index++) {
      const weight = (index + 1) / (quarter + 1);
      const at = length - quarter + index;
      const before = this.#original[HISTORY - length - quarter + index] ?? 0;
      this.#cycle[at] = (this.#cycle[at] ?? 0) * (1 - weight) + before * weight;
    }
    this.#cycleLength = length;
    this.#seamAt = quarter;
  }

  #join(pcm: Int16Array, length: number): void {
    const steps = Math.max(0, Math.ceil(this.#concealed / STEP) - 1);
    const overlap = Math.min(length, MAX_OVERLAP, (this.#pitch >> 2) + OVERLAP_PER_STEP * steps);
    for (let index = 0; index < overlap; index++) {
      const weight = (index + 1) / (overlap + 1);
      const made = this.#next();
      pcm[index] = clampSample(Math.round((pcm[index] ?? 0) * weight + made * (1 - weight)));
    }
  }

  #remember(pcm: Int16Array, length: number): void {
    const kept = Math.min(length, HISTORY);
    this.#history.copyWithin(0, kept);
    for (let index = 0; index < kept; index++) {
      this.#history[HISTORY - kept + index] = pcm[length - kept + index] ?? 0;
    }
  }
}

/** The lag at which the last 20 ms look most like what came before: coarse on every other sample, then fine. */
function findPitch(history: Float32Array): number {
  const coarse = bestLag(history, { from: MIN_PITCH, to: MAX_PITCH, step: 2 });
  return bestLag(history, {
    from: Math.max(MIN_PITCH, coarse - 1),
    to: Math.min(MAX_PITCH, coarse + 1),
    step: 1,
  });
}

function bestLag(history: Float32Array, lags: { from: number; to: number; step: number }): number {
  let best = lags.to;
  let bestScore = -Infinity;
  for (let lag = lags.to; lag >= lags.from; lag -= lags.step) {
    const score = similarity(history, lag, lags.step);
    if (score > bestScore) {
      bestScore = score;
      best = lag;
    }
  }
  return best;
}

/** Normalised cross-correlation of the end of the history with itself, `lag` samples earlier. */
function similarity(history: Float32Array, lag: number, step: number): number {
  let product = 0;
  let energy = 1;
  for (let index = HISTORY - CORRELATION; index < HISTORY; index += step) {
    const earlier = history[index - lag] ?? 0;
    product += (history[index] ?? 0) * earlier;
    energy += earlier * earlier;
  }
  return product / Math.sqrt(energy);
}
