/**
 * Packet loss concealment for waveform codecs after ITU-T G.711 Appendix I: the last pitch periods go on, fading.
 *
 * Deviation: the Appendix delays the output by 3.75 ms to smooth the seam before the loss as well; here nothing is
 * delayed, and only the seams inside and after the loss are smoothed.
 */

import { clampSample } from './pcm.ts';

/** The Appendix counts in samples of this rate; other rates in whole multiples of it. */
const RATE_HZ = 8000;
/** 66 to 200 Hz. */
const MIN_PITCH = 40;
const MAX_PITCH = 120;
const CORRELATION = 160;
const MAX_PERIODS = 3;
/** Three periods and the quarter before them. */
const HISTORY = MAX_PERIODS * MAX_PITCH + MAX_PITCH / 4;
const STEP = RATE_HZ / 100;
const FADE_PER_STEP = 0.2;
/** Nothing is left after 60 ms: full for 10, then a fifth less in each 10. */
const MAX_STEPS = 6;
const OVERLAP_PER_STEP = 32;

/** Follows one stream. */
export class Concealment {
  /** Samples of the stream for one at 8 kHz. */
  readonly #scale: number;
  readonly #step: number;
  readonly #history: Float32Array;
  /** The history as it was when the loss began; made-up sound joins the other one. */
  readonly #original: Float32Array;
  readonly #cycle: Float32Array;
  readonly #seam: Float32Array;
  #pitch: number;
  #cycleLength: number;
  #phase = 0;
  #seamAt = 0;
  #concealed = 0;

  /** @param sampleRateHz - a multiple of 8,000 */
  constructor(sampleRateHz = RATE_HZ) {
    this.#scale = sampleRateHz / RATE_HZ;
    this.#step = STEP * this.#scale;
    this.#history = new Float32Array(HISTORY * this.#scale);
    this.#original = new Float32Array(HISTORY * this.#scale);
    this.#cycle = new Float32Array(HISTORY * this.#scale);
    this.#seam = new Float32Array((MAX_PITCH * this.#scale) / 4);
    this.#pitch = MIN_PITCH * this.#scale;
    this.#cycleLength = this.#pitch;
  }

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
    this.#pitch = findPitch(this.#original, this.#scale);
    this.#phase = 0;
    this.#build(1);
  }

  /** One more made-up sample, faded. */
  #next(): number {
    const step = this.#step;
    if (this.#concealed >= MAX_STEPS * step) return 0;
    if (this.#concealed === step || this.#concealed === 2 * step) this.#lengthen();
    const value = this.#advance();
    const faded = (FADE_PER_STEP * Math.max(0, this.#concealed - step)) / step;
    const fade = Math.max(0, 1 - faded);
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
      this.#cycle[index] = this.#original[this.#original.length - length + index] ?? 0;
    }
    for (let index = 0; index < quarter; index++) {
      const weight = (index + 1) / (quarter + 1);
      const at = length - quarter + index;
      const before = this.#original[this.#original.length - length - quarter + index] ?? 0;
      this.#cycle[at] = (this.#cycle[at] ?? 0) * (1 - weight) + before * weight;
    }
    this.#cycleLength = length;
    this.#seamAt = quarter;
  }

  #join(pcm: Int16Array, length: number): void {
    const steps = Math.max(0, Math.ceil(this.#concealed / this.#step) - 1);
    const wanted = (this.#pitch >> 2) + OVERLAP_PER_STEP * this.#scale * steps;
    const overlap = Math.min(length, this.#step, wanted);
    for (let index = 0; index < overlap; index++) {
      const weight = (index + 1) / (overlap + 1);
      const made = this.#next();
      pcm[index] = clampSample(Math.round((pcm[index] ?? 0) * weight + made * (1 - weight)));
    }
  }

  #remember(pcm: Int16Array, length: number): void {
    const history = this.#history;
    const kept = Math.min(length, history.length);
    history.copyWithin(0, kept);
    for (let index = 0; index < kept; index++) {
      history[history.length - kept + index] = pcm[length - kept + index] ?? 0;
    }
  }
}

/** The lag at which the last 20 ms look most like what came before: coarse on some of the samples, then fine. */
function findPitch(history: Float32Array, scale: number): number {
  const least = MIN_PITCH * scale;
  const most = MAX_PITCH * scale;
  const window = CORRELATION * scale;
  const step = 2 * scale;
  const coarse = bestLag(history, window, { from: least, to: most, step });
  return bestLag(history, window, {
    from: Math.max(least, coarse - step + 1),
    to: Math.min(most, coarse + step - 1),
    step: 1,
  });
}

function bestLag(
  history: Float32Array,
  window: number,
  lags: { from: number; to: number; step: number },
): number {
  let best = lags.to;
  let bestScore = -Infinity;
  for (let lag = lags.to; lag >= lags.from; lag -= lags.step) {
    const score = similarity(history, window, lag, lags.step);
    if (score > bestScore) {
      bestScore = score;
      best = lag;
    }
  }
  return best;
}

/** Normalised cross-correlation of the end of the history with itself, `lag` samples earlier. */
function similarity(history: Float32Array, window: number, lag: number, step: number): number {
  let product = 0;
  let energy = 1;
  for (let index = history.length - window; index < history.length; index += step) {
    const earlier = history[index - lag] ?? 0;
    product += (history[index] ?? 0) * earlier;
    energy += earlier * earlier;
  }
  return product / Math.sqrt(energy);
}
