/** WAV files of 16-bit PCM (RIFF/WAVE, format 1): their headers, as pure functions on bytes. */

import { ParseError } from '../errors.ts';
import { pcmFromBytes, stereoToMono } from './pcm.ts';

export const WAV_HEADER_BYTES = 44;
const FORMAT_PCM = 1;
const FORMAT_EXTENSIBLE = 0xfffe;
/** What programs that write to a pipe put for "as long as it goes on". */
const UNKNOWN_LENGTH = 0xffffffff;

export type WavFormat = {
  readonly sampleRateHz: number;
  readonly channels: number;
};

export type WavHeader = WavFormat & {
  /** Where the samples begin, and how many bytes of them there are as far as the bytes at hand go. */
  readonly dataOffset: number;
  readonly dataBytes: number;
};

/**
 * A header for `dataBytes` of samples. While recording, write it for 0 bytes first and again over itself at the end;
 * a reader then takes the rest of the file in between.
 */
export function wavHeader(format: WavFormat, dataBytes: number): Uint8Array {
  const header = Buffer.alloc(WAV_HEADER_BYTES);
  const frameBytes = 2 * format.channels;
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(Math.min(UNKNOWN_LENGTH, WAV_HEADER_BYTES - 8 + dataBytes), 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(FORMAT_PCM, 20);
  header.writeUInt16LE(format.channels, 22);
  header.writeUInt32LE(format.sampleRateHz, 24);
  header.writeUInt32LE(format.sampleRateHz * frameBytes, 28);
  header.writeUInt16LE(frameBytes, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(Math.min(UNKNOWN_LENGTH, dataBytes), 40);
  return header;
}

/**
 * Reads the header of a file, or of its beginning when that holds the whole header.
 *
 * @throws ParseError `wav.malformed` when it is no WAV file, `wav.unsupported` when it is not 16-bit PCM
 */
export function parseWavHeader(bytes: Uint8Array): WavHeader {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (tagAt(buffer, 0) !== 'RIFF' || tagAt(buffer, 8) !== 'WAVE') {
    throw new ParseError('wav.malformed', 'not a WAV file: RIFF and WAVE are missing', 0);
  }
  let format: WavFormat | undefined;
  for (let offset = 12; offset + 8 <= buffer.length;) {
    const tag = tagAt(buffer, offset);
    const size = buffer.readUInt32LE(offset + 4);
    const body = offset + 8;
    if (tag === 'fmt ') format = parseFormat(buffer, body, size);
    if (tag === 'data') {
      if (format === undefined) break;
      const available = buffer.length - body;
      const isUnknown = size === 0 || size === UNKNOWN_LENGTH;
      return { ...format, dataOffset: body, dataBytes: isUnknown ? available : size };
    }
    offset = body + size + (size & 1);
  }
  throw new ParseError('wav.malformed', 'a WAV file without format or samples', buffer.length);
}

/**
 * All samples of a file, mixed down to mono.
 *
 * @throws ParseError as `parseWavHeader`
 */
export function parseWav(bytes: Uint8Array): {
  readonly sampleRateHz: number;
  readonly pcm: Int16Array;
} {
  const { sampleRateHz, channels, dataOffset, dataBytes } = parseWavHeader(bytes);
  const samples = pcmFromBytes(bytes.subarray(dataOffset, dataOffset + dataBytes));
  return { sampleRateHz, pcm: channels === 2 ? stereoToMono(samples) : samples };
}

function tagAt(buffer: Buffer, offset: number): string {
  return buffer.toString('latin1', offset, offset + 4);
}

function parseFormat(buffer: Buffer, offset: number, size: number): WavFormat {
  if (size < 16 || offset + 16 > buffer.length) {
    throw new ParseError('wav.malformed', `a format of ${size} bytes`, offset);
  }
  const format = buffer.readUInt16LE(offset);
  const channels = buffer.readUInt16LE(offset + 2);
  const sampleRateHz = buffer.readUInt32LE(offset + 4);
  const bits = buffer.readUInt16LE(offset + 14);
  const isPcm = format === FORMAT_PCM || format === FORMAT_EXTENSIBLE;
  if (!isPcm || bits !== 16 || channels < 1 || channels > 2 || sampleRateHz === 0) {
    const found = `format ${format}, ${bits} bits, ${channels} channels`;
    throw new ParseError('wav.unsupported', `only 16-bit PCM, mono or stereo: this is ${found}`);
  }
  return { sampleRateHz, channels };
}
