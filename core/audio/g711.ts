/** G.711 mu-law and A-law by table (ITU-T G.711; RFC 3551 §4.5.14), between one byte and 16-bit linear PCM. */

export type G711Law = 'PCMU' | 'PCMA';

const MULAW_BIAS = 0x84;
const MULAW_CLIP = 32635;

const decodeTables: Readonly<Record<G711Law, Int16Array>> = {
  PCMU: Int16Array.from({ length: 256 }, (_, code) => mulawToLinear(code)),
  PCMA: Int16Array.from({ length: 256 }, (_, code) => alawToLinear(code)),
};

/** Indexed by the sample plus 32768. */
const encodeTables: Readonly<Record<G711Law, Uint8Array>> = {
  PCMU: Uint8Array.from({ length: 65536 }, (_, index) => linearToMulaw(index - 32768)),
  PCMA: Uint8Array.from({ length: 65536 }, (_, index) => linearToAlaw(index - 32768)),
};

/** Decodes `bytes[start, end)` into `pcm` from its beginning; returns the number of samples. */
export function decodeG711(
  law: G711Law,
  bytes: Uint8Array,
  pcm: Int16Array,
  range: { readonly start: number; readonly end: number } = { start: 0, end: bytes.length },
): number {
  const table = decodeTables[law];
  let count = 0;
  for (let index = range.start; index < range.end; index++) {
    pcm[count++] = table[bytes[index] ?? 0] ?? 0;
  }
  return count;
}

/** Encodes the first `length` samples into `bytes` from its beginning. */
export function encodeG711(
  law: G711Law,
  pcm: Int16Array,
  bytes: Uint8Array,
  length = pcm.length,
): void {
  const table = encodeTables[law];
  for (let index = 0; index < length; index++) {
    bytes[index] = table[(pcm[index] ?? 0) + 32768] ?? 0;
  }
}

/** The linear values of all 256 codes, for those who look at levels without decoding. */
export function g711Table(law: G711Law): Int16Array {
  return decodeTables[law];
}

function mulawToLinear(code: number): number {
  const inverted = ~code & 0xff;
  const exponent = (inverted >> 4) & 7;
  const magnitude = (((inverted & 0x0f) << 3) + MULAW_BIAS) << exponent;
  return (inverted & 0x80) === 0 ? magnitude - MULAW_BIAS : MULAW_BIAS - magnitude;
}

function linearToMulaw(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), MULAW_CLIP) + MULAW_BIAS;
  const exponent = Math.max(0, 31 - Math.clz32(magnitude) - 7);
  const mantissa = (magnitude >> (exponent + 3)) & 0x0f;
  return ~(sign | (exponent << 4) | mantissa) & 0xff;
}

function alawToLinear(code: number): number {
  const toggled = code ^ 0x55;
  const exponent = (toggled >> 4) & 7;
  const mantissa = (toggled & 0x0f) << 4;
  const magnitude = exponent === 0 ? mantissa + 8 : (mantissa + 0x108) << (exponent - 1);
  return (toggled & 0x80) === 0 ? -magnitude : magnitude;
}

function linearToAlaw(sample: number): number {
  const sign = sample < 0 ? 0 : 0x80;
  // Negative values are counted from -1 down, so that the steps of both signs meet at zero (G.711 table 1).
  const magnitude = Math.min(sample < 0 ? ~sample : sample, 32767);
  const exponent = Math.max(0, 31 - Math.clz32(magnitude | 1) - 7);
  const mantissa = (magnitude >> (exponent === 0 ? 4 : exponent + 3)) & 0x0f;
  return (sign | (exponent << 4) | mantissa) ^ 0x55;
}
