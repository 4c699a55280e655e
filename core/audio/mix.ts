/** Sums of voices in 32 bits, and the same sums without one voice: exact, because nothing is clipped before the end. */

/** Adds the first `length` samples of a voice. */
export function addTo(sum: Int32Array, voice: Int16Array, length = voice.length): void {
  for (let index = 0; index < length; index++) {
    sum[index] = (sum[index] ?? 0) + (voice[index] ?? 0);
  }
}

/** `out` = `sum` without `own`, which is part of it. */
export function mixMinusSelf(sum: Int32Array, own: Int16Array, out: Int32Array): void {
  for (let index = 0; index < out.length; index++) {
    out[index] = (sum[index] ?? 0) - (own[index] ?? 0);
  }
}
