/** Log-mel spectra of 8 kHz speech, compared. */

import { transform } from './fft.ts';

const RATE_HZ = 8000;
const WINDOW = 256;
const STEP = 160;
const BANDS = 20;
const LOW_HZ = 300;
const HIGH_HZ = 3400;
const FLOOR_DB = 40;

const toMel = (hz: number): number => 2595 * Math.log10(1 + hz / 700);
const fromMel = (mel: number): number => 700 * (10 ** (mel / 2595) - 1);

/** Triangular weights of each band over the bins of the transform. */
const FILTERS: readonly Float64Array[] = Array.from({ length: BANDS }, (_, band) => {
  const edge = (index: number): number =>
    fromMel(toMel(LOW_HZ) + ((toMel(HIGH_HZ) - toMel(LOW_HZ)) * index) / (BANDS + 1));
  const [low, centre, high] = [edge(band), edge(band + 1), edge(band + 2)];
  return Float64Array.from({ length: WINDOW / 2 + 1 }, (_bin, bin) => {
    const hz = (bin * RATE_HZ) / WINDOW;
    return Math.max(0, Math.min((hz - low) / (centre - low), (high - hz) / (high - centre)));
  });
});

const HANN = Float64Array.from(
  { length: WINDOW },
  (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / (WINDOW - 1)),
);

/** Decibels per band and frame, in one row, floored 40 dB below the loudest, with the mean taken off. */
function logMel(samples: Float32Array): Float64Array {
  const frames = Math.max(0, Math.floor((samples.length - WINDOW) / STEP) + 1);
  const out = new Float64Array(frames * BANDS);
  const re = new Float64Array(WINDOW);
  const im = new Float64Array(WINDOW);
  for (let frame = 0; frame < frames; frame++) {
    for (let at = 0; at < WINDOW; at++) {
      re[at] = (samples[frame * STEP + at] ?? 0) * (HANN[at] ?? 0);
    }
    im.fill(0);
    transform(re, im);
    for (const [band, filter] of FILTERS.entries()) {
      let power = 0;
      for (let bin = 0; bin < filter.length; bin++) {
        power += (filter[bin] ?? 0) * ((re[bin] ?? 0) ** 2 + (im[bin] ?? 0) ** 2);
      }
      out[frame * BANDS + band] = 10 * Math.log10(power + 1e-7);
    }
  }
  const floor = out.reduce((a, b) => Math.max(a, b), -Infinity) - FLOOR_DB;
  const floored = out.map((value) => Math.max(value, floor));
  const average = floored.reduce((a, b) => a + b, 0) / floored.length;
  return floored.map((value) => value - average);
}

/** Correlation, -1 to 1, of the log-mel spectra of two pieces of 8 kHz sound of equal length. */
export function melCorrelation(left: Float32Array, right: Float32Array): number {
  const a = logMel(left);
  const b = logMel(right);
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let at = 0; at < a.length; at++) {
    ab += (a[at] ?? 0) * (b[at] ?? 0);
    aa += (a[at] ?? 0) ** 2;
    bb += (b[at] ?? 0) ** 2;
  }
  const scale = Math.sqrt(aa * bb);
  return scale > 1e-6 ? ab / scale : 0;
}
