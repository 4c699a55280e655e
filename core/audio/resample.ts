/**
 * Sample rate conversion by a polyphase FIR filter, for any two rates with a small ratio, chunk by chunk.
 *
 * Twenty-four taps per phase with a Kaiser window: flat to 0.85 of the lower Nyquist frequency, images and aliases
 * 60 dB down; 1.5 ms of delay at 8 kHz. Equal chunks give equal chunks, and nothing is allocated per chunk.
 */

import { invariant } from '../invariant.ts';
import { clampSample } from './pcm.ts';

const TAPS = 24;
const KAISER_BETA = 5.65;
const MAX_PHASES = 640;

type Filter = { readonly taps: number; readonly coefficients: Float64Array };

/** Filters by "up/down"; there are few ratios. */
const filters = new Map<string, Filter>();

export class Resampler {
  readonly #up: number;
  readonly #down: number;
  readonly #taps: number;
  readonly #coefficients: Float64Array;
  /** The last `taps - 1` input samples, then the chunk at hand. */
  #input: Float64Array;
  #phase = 0;
  /** Index of the newest input sample of the next output, counted in the chunk at hand. */
  #at = 0;

  /** @param inputHz, outputHz - integers; reduced to lowest terms, the output's term is 640 at most */
  constructor(inputHz: number, outputHz: number) {
    const divisor = greatestCommonDivisor(inputHz, outputHz);
    this.#up = outputHz / divisor;
    this.#down = inputHz / divisor;
    invariant(this.#up <= MAX_PHASES, `no resampling from ${inputHz} to ${outputHz} Hz`);
    const filter = filterFor(this.#up, this.#down);
    this.#taps = filter.taps;
    this.#coefficients = filter.coefficients;
    this.#input = new Float64Array(this.#taps - 1);
  }

  /** At most so many samples come out of a chunk of `length`. */
  outputLength(length: number): number {
    return Math.ceil((length * this.#up) / this.#down);
  }

  /**
   * Converts the next chunk of a stream: the first `length` samples.
   *
   * @param output - room for `outputLength(length)` samples
   * @returns how many samples were written
   */
  process(input: Int16Array, output: Int16Array, length = input.length): number {
    const samples = this.#accept(input, length);
    const taps = this.#taps;
    const up = this.#up;
    const down = this.#down;
    const coefficients = this.#coefficients;
    let phase = this.#phase;
    let at = this.#at;
    let written = 0;
    while (at < length) {
      const row = phase * taps;
      // Two sums, because one addition would have to wait for the other.
      let even = 0;
      let odd = 0;
      for (let tap = 0; tap < taps; tap += 2) {
        even += (coefficients[row + tap] ?? 0) * (samples[at + tap] ?? 0);
        odd += (coefficients[row + tap + 1] ?? 0) * (samples[at + tap + 1] ?? 0);
      }
      output[written++] = clampSample(Math.round(even + odd));
      phase += down;
      while (phase >= up) {
        phase -= up;
        at += 1;
      }
    }
    this.#phase = phase;
    this.#at = at - length;
    samples.copyWithin(0, length, length + taps - 1);
    return written;
  }

  /** Forgets the past: another stream follows. */
  reset(): void {
    this.#input.fill(0);
    this.#phase = 0;
    this.#at = 0;
  }

  #accept(input: Int16Array, length: number): Float64Array {
    const past = this.#taps - 1;
    if (this.#input.length < past + length) {
      const larger = new Float64Array(past + length);
      larger.set(this.#input.subarray(0, past));
      this.#input = larger;
    }
    const samples = this.#input;
    for (let index = 0; index < length; index++) samples[past + index] = input[index] ?? 0;
    return samples;
  }
}

function filterFor(up: number, down: number): Filter {
  const key = `${up}/${down}`;
  const known = filters.get(key) ?? design(up, down);
  filters.set(key, known);
  return known;
}

/** A windowed sinc at `up` times the input rate, cut into one row per phase, each row oldest sample first. */
function design(up: number, down: number): Filter {
  const widening = Math.max(1, down / up);
  const taps = 2 * Math.ceil((TAPS * widening) / 2);
  const length = taps * up;
  const centre = (length - 1) / 2;
  const cutoff = 1 / Math.max(up, down);
  const coefficients = new Float64Array(length);
  for (let phase = 0; phase < up; phase++) {
    const row: number[] = [];
    for (let tap = 0; tap < taps; tap++) {
      const distance = (taps - 1 - tap) * up + phase - centre;
      row.push(sinc(distance * cutoff) * kaiser(distance / (length / 2)));
    }
    // Each phase alone has a gain of exactly one, so that a constant stays constant.
    const sum = row.reduce((total, value) => total + value, 0);
    coefficients.set(
      row.map((value) => value / sum),
      phase * taps,
    );
  }
  return { taps, coefficients };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function kaiser(x: number): number {
  return bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - x * x))) / bessel(KAISER_BETA);
}

/** The modified Bessel function of order zero, by its series. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; k < 30; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
