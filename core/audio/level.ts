/** Sound levels in dBov: 0 is a full-scale square wave, -127 is silence (RFC 6464 §3, RFC 6465). */

export const SILENCE_DBOV = -127;
const FULL_SCALE = 32768;

/** RMS level of the first `length` samples, -127 to 0. */
export function levelDbov(pcm: Int16Array, length = pcm.length): number {
  if (length === 0) return SILENCE_DBOV;
  let sum = 0;
  for (let index = 0; index < length; index++) {
    const sample = pcm[index] ?? 0;
    sum += sample * sample;
  }
  return toDbov(Math.sqrt(sum / length) / FULL_SCALE);
}

/** Level of a ratio to full scale. */
export function toDbov(ratio: number): number {
  if (ratio <= 0) return SILENCE_DBOV;
  return Math.max(SILENCE_DBOV, Math.min(0, 20 * Math.log10(ratio)));
}

/** The ratio to full scale of a level. */
export function fromDbov(dbov: number): number {
  return 10 ** (dbov / 20);
}
