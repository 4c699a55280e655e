/** Fourier transform of complex sequences whose length is a power of two, in place. */

type Plan = { readonly cosines: Float64Array; readonly sines: Float64Array };

const plans = new Map<number, Plan>();

function planFor(size: number): Plan {
  let plan = plans.get(size);
  if (plan === undefined) {
    const cosines = new Float64Array(size / 2);
    const sines = new Float64Array(size / 2);
    for (let index = 0; index < size / 2; index++) {
      cosines[index] = Math.cos((2 * Math.PI * index) / size);
      sines[index] = Math.sin((2 * Math.PI * index) / size);
    }
    plan = { cosines, sines };
    plans.set(size, plan);
  }
  return plan;
}

function reverseBits(re: Float64Array, im: Float64Array): void {
  const size = re.length;
  for (let index = 1, reversed = 0; index < size; index++) {
    let bit = size >> 1;
    for (; (reversed & bit) !== 0; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (index < reversed) {
      const real = re[index] ?? 0;
      re[index] = re[reversed] ?? 0;
      re[reversed] = real;
      const imaginary = im[index] ?? 0;
      im[index] = im[reversed] ?? 0;
      im[reversed] = imaginary;
    }
  }
}

/** The smallest power of two that is not below `length`. */
export function transformSize(length: number): number {
  let size = 2;
  while (size < length) size *= 2;
  return size;
}

/**
 * Replaces `re + i im` by its transform, unscaled; `isInverse` turns the sign of the exponent and divides by the
 * length, so that forward and inverse give the input back.
 *
 * @throws RangeError when the lengths differ or are no power of two
 */
// eslint-disable-next-line complexity -- the branches counted are the `?? 0` that typed arrays ask for
export function transform(re: Float64Array, im: Float64Array, isInverse = false): void {
  const size = re.length;
  if (im.length !== size || size < 2 || (size & (size - 1)) !== 0) {
    throw new RangeError(`transform of ${size} and ${im.length} numbers: not one power of two`);
  }
  reverseBits(re, im);
  const { cosines, sines } = planFor(size);
  const sign = isInverse ? 1 : -1;
  for (let half = 1; half < size; half *= 2) {
    const stride = size / (2 * half);
    for (let start = 0; start < size; start += 2 * half) {
      for (let step = 0; step < half; step++) {
        const c = cosines[step * stride] ?? 0;
        const s = sign * (sines[step * stride] ?? 0);
        const upper = start + step;
        const lower = upper + half;
        const lowerRe = re[lower] ?? 0;
        const lowerIm = im[lower] ?? 0;
        const turnedRe = lowerRe * c - lowerIm * s;
        const turnedIm = lowerRe * s + lowerIm * c;
        const upperRe = re[upper] ?? 0;
        const upperIm = im[upper] ?? 0;
        re[lower] = upperRe - turnedRe;
        im[lower] = upperIm - turnedIm;
        re[upper] = upperRe + turnedRe;
        im[upper] = upperIm + turnedIm;
      }
    }
  }
  if (isInverse) {
    for (let index = 0; index < size; index++) {
      re[index] = (re[index] ?? 0) / size;
      im[index] = (im[index] ?? 0) / size;
    }
  }
}
