/** Cross-correlation of real sequences over all lags, by Fourier transform. */

import { transform } from './fft.ts';

/** What each frequency counts, from the magnitudes of the first sequence's spectrum (bins 0 to size / 2). */
export type Weighting = (magnitudes: Float64Array) => Float64Array;

/**
 * `out[k]` is the sum over `i` of `a[i] * b[i + k]`, for `k` modulo `size`: negative lags are at the end. A `size`
 * (power of two) of at least both lengths together keeps the ends apart; with `size >= b.length` only the lags from 0
 * to `b.length - a.length` are meaningful.
 */
export function crossCorrelate(
  a: Float32Array,
  b: Float32Array,
  size: number,
  weighting?: Weighting,
): Float64Array {
  // One transform serves two real sequences: one as the real, one as the imaginary part.
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  re.set(a);
  im.set(b);
  transform(re, im);
  const half = size / 2;
  const productRe = new Float64Array(size);
  const productIm = new Float64Array(size);
  const magnitudes = new Float64Array(half + 1);
  for (let bin = 0; bin <= half; bin++) {
    const { aRe, aIm, bRe, bIm } = separate(re, im, bin);
    magnitudes[bin] = Math.hypot(aRe, aIm);
    productRe[bin] = bRe * aRe + bIm * aIm;
    productIm[bin] = bIm * aRe - bRe * aIm;
  }
  if (weighting) scale(productRe, productIm, weighting(magnitudes));
  for (let bin = 1; bin < half; bin++) {
    productRe[size - bin] = productRe[bin] ?? 0;
    productIm[size - bin] = -(productIm[bin] ?? 0);
  }
  transform(productRe, productIm, true);
  return productRe;
}

type Separated = {
  readonly aRe: number;
  readonly aIm: number;
  readonly bRe: number;
  readonly bIm: number;
};

/** The spectra of the real and of the imaginary part at one bin. */
function separate(re: Float64Array, im: Float64Array, bin: number): Separated {
  const mirror = (re.length - bin) % re.length;
  const [re1 = 0, re2 = 0, im1 = 0, im2 = 0] = [re[bin], re[mirror], im[bin], im[mirror]];
  return {
    aRe: (re1 + re2) / 2,
    aIm: (im1 - im2) / 2,
    bRe: (im1 + im2) / 2,
    bIm: (re2 - re1) / 2,
  };
}

function scale(re: Float64Array, im: Float64Array, weights: Float64Array): void {
  for (let bin = 0; bin < weights.length; bin++) {
    const weight = weights[bin] ?? 0;
    re[bin] = (re[bin] ?? 0) * weight;
    im[bin] = (im[bin] ?? 0) * weight;
  }
}
