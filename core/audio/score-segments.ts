/** Where each 400 ms of a reference is in a recording, both at 8 kHz between 300 and 3400 Hz: the first half of the score. */

import { crossCorrelate } from './correlate.ts';
import { transformSize } from './fft.ts';

export const RATE_HZ = 8000;
export const TELEPHONE_BAND = { lowHz: 300, highHz: 3400 };
/** 400 ms. */
export const SEGMENT = 0.4 * RATE_HZ;
const NEAR = 0.12 * RATE_HZ;
const FAR = 0.4 * RATE_HZ;
const COVERED = 0.5;

export type Segment = {
  /** Sample of the reference at which it begins. */
  readonly start: number;
  readonly correlation: number;
  /** Samples by which the recording is late; undefined where the recording has no such time at all. */
  readonly lag: number | undefined;
  /** What the lag is more than that whole number, -0.5 to 0.5. */
  readonly lagFraction: number;
  readonly gain: number;
  readonly rms: number;
};

/** Samples on either side that say what lies between two. */
const REACH = 12;
const FRACTIONS = 16;

/** Windowed sinc weights of the samples `-REACH` to `REACH` for every sixteenth of a sample but the middle. */
const BETWEEN_SAMPLES = Array.from({ length: FRACTIONS + 1 }, (_, index) => {
  const fraction = index / FRACTIONS - 0.5;
  const weights = Array.from({ length: 2 * REACH + 1 }, (_unused, tap) => {
    const x = Math.PI * (tap - REACH - fraction);
    const window = Math.cos(x / (2 * (REACH + 1))) ** 2;
    return x === 0 ? 1 : (Math.sin(x) / x) * window;
  });
  return { fraction, weights };
});

export function rootMeanSquare(samples: Float32Array, from = 0, to = samples.length): number {
  let sum = 0;
  for (let at = from; at < to; at++) sum += (samples[at] ?? 0) ** 2;
  return to > from ? Math.sqrt(sum / (to - from)) : 0;
}

/** Lag of the whole recording: cross-correlation whitened by the reference's own spectrum (GCC). */
function findGlobalLag(reference: Float32Array, recording: Float32Array): number {
  const size = transformSize(reference.length + recording.length);
  const correlation = crossCorrelate(reference, recording, size, (magnitudes) => {
    const peak = magnitudes.reduce((a, b) => Math.max(a, b), 0);
    return magnitudes.map((magnitude, bin) => {
      const hz = (bin * RATE_HZ) / size;
      const isInBand = hz > TELEPHONE_BAND.lowHz && hz < TELEPHONE_BAND.highHz;
      return isInBand ? Math.max(magnitude + 1e-3 * peak, 1e-12) ** -0.7 : 0;
    });
  });
  let best = 0;
  let highest = 0;
  for (let lag = 1 - reference.length; lag < recording.length; lag++) {
    const value = Math.abs(correlation[lag < 0 ? size + lag : lag] ?? 0);
    if (value > highest) {
      highest = value;
      best = lag;
    }
  }
  return best;
}

/**
 * The highest value between two samples of a correlation: recordings are late by any time, not by whole samples, and
 * half a sample alone would cost a clean recording 0.08. What is limited in band, so is its correlation: the values
 * between are exact but for the ends of the window.
 */
function peakNear(
  products: Float64Array,
  offset: number,
): { readonly product: number; readonly fraction: number } {
  let best = { product: products[offset] ?? 0, fraction: 0 };
  for (const row of BETWEEN_SAMPLES) {
    let product = 0;
    for (const [tap, weight] of row.weights.entries()) {
      product += weight * (products.at((offset + tap - REACH) % products.length) ?? 0);
    }
    if (Math.abs(product) > Math.abs(best.product)) best = { product, fraction: row.fraction };
  }
  return best;
}

/** Where around `centre` +- `width` samples of lag the segment at `start` fits best; undefined outside the recording. */
function matchSegment(
  reference: Float32Array,
  recording: Float32Array,
  start: number,
  { centre, width }: { readonly centre: number; readonly width: number },
): Segment | undefined {
  const from = Math.max(start + centre - width, 0);
  const to = Math.min(start + centre + SEGMENT + width, recording.length);
  if (to - from < SEGMENT) return undefined;
  const needle = reference.subarray(start, start + SEGMENT);
  const haystack = recording.subarray(from, to);
  const products = crossCorrelate(needle, haystack, transformSize(haystack.length));
  const offsets = haystack.length - needle.length;
  const needleEnergy = rootMeanSquare(needle) ** 2 * SEGMENT;
  let energy = rootMeanSquare(haystack, 0, SEGMENT) ** 2 * SEGMENT;
  let best = { offset: 0, correlation: -1, energy: 0 };
  for (let offset = 0; offset <= offsets; offset++) {
    const product = Math.abs(products[offset] ?? 0);
    const correlation = product / Math.sqrt(Math.max(energy, 1e-12) * needleEnergy);
    if (correlation > best.correlation) best = { offset, correlation, energy };
    energy += (haystack[offset + SEGMENT] ?? 0) ** 2 - (haystack[offset] ?? 0) ** 2;
  }
  const peak = peakNear(products, best.offset);
  return {
    start,
    correlation: Math.min(
      1,
      Math.abs(peak.product) / Math.sqrt(Math.max(best.energy, 1e-12) * needleEnergy),
    ),
    lag: from + best.offset - start,
    lagFraction: peak.fraction,
    gain: peak.product / needleEnergy,
    rms: Math.sqrt(Math.max(best.energy, 0) / SEGMENT),
  };
}

/** The best match near the lag that is expected, else near the global one, else further off. */
function searchSegment(
  reference: Float32Array,
  recording: Float32Array,
  start: number,
  lags: { readonly previous: number; readonly global: number },
): Segment {
  let best: Segment = {
    start,
    correlation: 0,
    lag: undefined,
    lagFraction: 0,
    gain: 0,
    rms: 0,
  };
  const searches = [
    { centre: lags.previous, width: NEAR },
    { centre: lags.global, width: NEAR },
    { centre: lags.previous, width: FAR },
  ];
  for (const search of searches) {
    const match = matchSegment(reference, recording, start, search);
    // A little better is no reason to believe in another lag.
    const margin = best.lag === undefined ? 0 : 0.02;
    if (match && match.correlation > best.correlation + margin) best = match;
    if (best.correlation > 0.7) break;
  }
  return best;
}

/** Each segment at its own best lag, and the lag of the whole. */
export function matchSegments(
  reference: Float32Array,
  recording: Float32Array,
  starts: readonly number[],
): { readonly segments: readonly Segment[]; readonly globalLag: number } {
  const globalLag = findGlobalLag(reference, recording);
  const segments: Segment[] = [];
  let previousLag = globalLag;
  for (const start of starts) {
    const lags = { previous: previousLag, global: globalLag };
    const best = searchSegment(reference, recording, start, lags);
    if (best.correlation > 0.6) previousLag = best.lag ?? previousLag;
    segments.push(best);
  }
  return { segments, globalLag };
}

/** Share of the segments that are in the recording, in one piece or on both sides of a step of the lag. */
export function coverOf(
  reference: Float32Array,
  recording: Float32Array,
  segments: readonly Segment[],
): number {
  let covered = 0;
  for (const [index, segment] of segments.entries()) {
    const lags = { before: segments[index - 1]?.lag, after: segments[index + 1]?.lag };
    const isThere =
      segment.correlation >= COVERED ||
      correlationInTwo(reference, recording, segment, lags) >= COVERED;
    if (isThere) covered += 1;
  }
  return covered / segments.length;
}

/** A jitter buffer moved the playout point in mid-segment: its beginning is where the one before was, its end where the next is. */
function correlationInTwo(
  reference: Float32Array,
  recording: Float32Array,
  { start }: Segment,
  { before, after }: { readonly before: number | undefined; readonly after: number | undefined },
): number {
  if (before === undefined || after === undefined) return 0;
  let best = 0;
  for (let split = SEGMENT / 8; split < SEGMENT; split += SEGMENT / 8) {
    let product = 0;
    let wanted = 0;
    let heard = 0;
    for (let at = start; at < start + SEGMENT; at++) {
      const sample = reference[at] ?? 0;
      const other = recording[at + (at < start + split ? before : after)] ?? 0;
      product += sample * other;
      wanted += sample ** 2;
      heard += other ** 2;
    }
    best = Math.max(best, Math.abs(product) / Math.sqrt(Math.max(wanted * heard, 1e-12)));
  }
  return best;
}
