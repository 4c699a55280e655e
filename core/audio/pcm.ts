/** 16-bit linear PCM: bytes and samples, gains, clipping. Mono unless said otherwise. */

export const MAX_SAMPLE = 32767;
export const MIN_SAMPLE = -32768;

/** Samples of `milliseconds` at a rate. */
export function samplesIn(milliseconds: number, sampleRateHz: number): number {
  return Math.round((milliseconds * sampleRateHz) / 1000);
}

export function clampSample(value: number): number {
  if (value > MAX_SAMPLE) return MAX_SAMPLE;
  return value < MIN_SAMPLE ? MIN_SAMPLE : value;
}

/** The samples of little-endian bytes, copied; an odd last byte is left out. */
export function pcmFromBytes(bytes: Uint8Array): Int16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Int16Array.from({ length: bytes.length >> 1 }, (_, index) =>
    view.getInt16(2 * index, true),
  );
}

/** Little-endian bytes of the samples, copied. */
export function pcmToBytes(pcm: Int16Array): Uint8Array {
  const bytes = new Uint8Array(2 * pcm.length);
  const view = new DataView(bytes.buffer);
  pcm.forEach((sample, index) => {
    view.setInt16(2 * index, sample, true);
  });
  return bytes;
}

/** Multiplies in place with a gain that moves evenly from `from` to `to`, so that changes make no click. */
export function applyGain(pcm: Int16Array, from: number, to: number): void {
  if (from === 1 && to === 1) return;
  const step = (to - from) / pcm.length;
  let gain = from;
  for (let index = 0; index < pcm.length; index++) {
    gain += step;
    pcm[index] = clampSample(Math.round((pcm[index] ?? 0) * gain));
  }
}

/** The mean of left and right of interleaved stereo. */
export function stereoToMono(stereo: Int16Array): Int16Array {
  return Int16Array.from(
    { length: stereo.length >> 1 },
    (_, index) => ((stereo[2 * index] ?? 0) + (stereo[2 * index + 1] ?? 0)) >> 1,
  );
}
