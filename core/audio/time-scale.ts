/** Cuts a pitch period or more out of speech so that the seam cannot be heard (a single WSOLA step). */

const WINDOW_MS = 5;
const MIN_CUT_MS = 2.5;

/**
 * Shortens the first `length` samples by as much as sounds best, from 2.5 ms up to `maxCut`, and moves the rest up.
 *
 * @param maxCut - samples; the cut never leaves less than the two windows that overlap
 * @returns the new length; the same when there is too little to cut from
 */
export function shorten(
  pcm: Int16Array,
  length: number,
  maxCut: number,
  sampleRateHz: number,
): number {
  const window = Math.round((WINDOW_MS * sampleRateHz) / 1000);
  const least = Math.round((MIN_CUT_MS * sampleRateHz) / 1000);
  const most = Math.min(maxCut, length - 2 * window);
  if (most < least) return length;
  const from = Math.floor((length - most - window) / 2);
  const cut = bestCut(pcm, from, { window, least, most });
  for (let index = 0; index < window; index++) {
    const weight = (index + 1) / (window + 1);
    const before = pcm[from + index] ?? 0;
    const after = pcm[from + cut + index] ?? 0;
    pcm[from + index] = Math.round(before * (1 - weight) + after * weight);
  }
  pcm.copyWithin(from + window, from + window + cut, length);
  return length - cut;
}

/** The lag at which the window looks most like itself; coarse steps first, then each sample around the best. */
function bestCut(
  pcm: Int16Array,
  from: number,
  search: { readonly window: number; readonly least: number; readonly most: number },
): number {
  const stride = Math.max(1, Math.round(search.window / 40));
  const coarse = scan(pcm, from, { ...search, step: stride });
  return scan(pcm, from, {
    window: search.window,
    least: Math.max(search.least, coarse - stride),
    most: Math.min(search.most, coarse + stride),
    step: 1,
  });
}

function scan(
  pcm: Int16Array,
  from: number,
  range: { window: number; least: number; most: number; step: number },
): number {
  let best = range.most;
  let bestScore = -Infinity;
  for (let lag = range.most; lag >= range.least; lag -= range.step) {
    let product = 0;
    let energy = 1;
    for (let index = 0; index < range.window; index += range.step) {
      const later = pcm[from + lag + index] ?? 0;
      product += (pcm[from + index] ?? 0) * later;
      energy += later * later;
    }
    const score = product / Math.sqrt(energy);
    if (score > bestScore) {
      bestScore = score;
      best = lag;
    }
  }
  return best;
}
