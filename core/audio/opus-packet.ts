/** What an Opus packet tells without being decoded (RFC 6716 §3, §4.2.3): length, voice activity, FEC; and merging. */

/** The RTP clock and the rate that we decode at (RFC 7587 §4.1). */
export const OPUS_CLOCK_HZ = 48000;
/** 120 ms, the longest packet there is. */
export const OPUS_MAX_SAMPLES = 5760;

const CELT_FROM_CONFIG = 16;
const HYBRID_FROM_CONFIG = 12;
const SILK_SAMPLES = [480, 960, 1920, 2880];
const HYBRID_SAMPLES = [480, 960];
const CELT_SAMPLES = [120, 240, 480, 960];
const MAX_FRAMES = 48;
const VBR_FLAG = 0x80;
const PADDING_FLAG = 0x40;
const STEREO_FLAG = 0x04;

/** Samples per channel at 48 kHz in `bytes[start, end)`, 120 to 5760; 0 when it cannot be an Opus packet. */
export function opusDuration(bytes: Uint8Array, start: number, end: number): number {
  if (end <= start) return 0;
  const toc = bytes[start] ?? 0;
  const frames = frameCount(bytes, start, end);
  const samples = frames * frameSamples(toc);
  return samples > OPUS_MAX_SAMPLES ? 0 : samples;
}

/** `celt` packets carry neither voice activity nor FEC. */
export function opusMode(toc: number): 'silk' | 'hybrid' | 'celt' {
  const config = toc >> 3;
  if (config >= CELT_FROM_CONFIG) return 'celt';
  return config >= HYBRID_FROM_CONFIG ? 'hybrid' : 'silk';
}

/** Whether the sender stopped transmitting: a packet of the TOC alone, or one byte more (RFC 6716 §2.1.9). */
export function isOpusDtx(start: number, end: number): boolean {
  return end - start <= 2;
}

/**
 * The voice activity flags of SILK, which lie in front and are coded as plain bits.
 *
 * @returns undefined when the packet has none (CELT)
 */
export function opusVoiceActivity(
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean | undefined {
  if (isOpusDtx(start, end)) return false;
  const toc = bytes[start] ?? 0;
  if (opusMode(toc) === 'celt') return undefined;
  const offset = firstFrameOffset(bytes, start, end);
  if (offset >= end) return false;
  const flags = silkFrames(toc);
  return (bytes[offset] ?? 0) >> (8 - flags) !== 0;
}

/** Whether the packet repeats the one before it at a lower rate (LBRR), so that `decodeFec` can restore that one. */
export function hasOpusFec(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
  if (isOpusDtx(start, end)) return false;
  const toc = bytes[start] ?? 0;
  if (opusMode(toc) === 'celt') return false;
  const offset = firstFrameOffset(bytes, start, end);
  if (offset >= end) return false;
  const flags = silkFrames(toc);
  const first = bytes[offset] ?? 0;
  if (((first >> (7 - flags)) & 1) === 1) return true;
  if ((toc & STEREO_FLAG) === 0) return false;
  // Side channel: its voice activity flags and then its LBRR flag follow those of the middle.
  return ((first >> (6 - 2 * flags)) & 1) === 1;
}

/**
 * Joins packets of one frame each and the same configuration into one packet (RFC 6716 §3.2.5), without coding anew.
 *
 * @returns undefined when they do not fit together
 */
export function mergeOpusPackets(packets: readonly Uint8Array[]): Uint8Array | undefined {
  const toc = packets[0]?.[0];
  if (toc === undefined || packets.length * frameSamples(toc) > OPUS_MAX_SAMPLES) return undefined;
  if (packets.some((packet) => packet[0] !== toc || (packet[0] & 3) !== 0)) return undefined;
  const parts: Uint8Array[] = [Uint8Array.of(toc | 3, VBR_FLAG | packets.length)];
  for (const packet of packets.slice(0, -1)) parts.push(frameLength(packet.length - 1));
  for (const packet of packets) parts.push(packet.subarray(1));
  return Buffer.concat(parts);
}

function frameLength(length: number): Uint8Array {
  if (length < 252) return Uint8Array.of(length);
  const low = 252 + (length & 3);
  return Uint8Array.of(low, (length - low) >> 2);
}

function frameSamples(toc: number): number {
  const config = toc >> 3;
  if (config >= CELT_FROM_CONFIG) return CELT_SAMPLES[config & 3] ?? 0;
  if (config >= HYBRID_FROM_CONFIG) return HYBRID_SAMPLES[config & 1] ?? 0;
  return SILK_SAMPLES[config & 3] ?? 0;
}

/** How many 20 ms SILK frames (or one of 10 ms) lie in one Opus frame: so many voice activity flags there are. */
function silkFrames(toc: number): number {
  return Math.max(1, frameSamples(toc) / 960);
}

function frameCount(bytes: Uint8Array, start: number, end: number): number {
  switch ((bytes[start] ?? 0) & 3) {
    case 0:
      return 1;
    case 1:
      return (end - start - 1) % 2 === 0 ? 2 : 0;
    case 2:
      return end - start < 2 ? 0 : 2;
    default: {
      const frames = end - start < 2 ? 0 : (bytes[start + 1] ?? 0) & 0x3f;
      return frames > MAX_FRAMES ? 0 : frames;
    }
  }
}

function firstFrameOffset(bytes: Uint8Array, start: number, end: number): number {
  const code = (bytes[start] ?? 0) & 3;
  if (code < 2) return start + 1;
  if (code === 2) return start + 1 + lengthBytes(bytes[start + 1] ?? 0);
  const flags = bytes[start + 1] ?? 0;
  let offset = start + 2;
  if ((flags & PADDING_FLAG) !== 0) {
    while (offset < end && bytes[offset] === 255) offset += 1;
    offset += 1;
  }
  if ((flags & VBR_FLAG) !== 0) {
    for (let frame = 1; frame < (flags & 0x3f); frame++) offset += lengthBytes(bytes[offset] ?? 0);
  }
  return offset;
}

function lengthBytes(first: number): number {
  return first < 252 ? 1 : 2;
}
