/** RIFF/WAVE files with 16-bit samples: read whole, written as they grow. */

import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { ConfigError, ParseError } from '../../core/errors.ts';

/** Sound in memory; several channels are mixed to one. */
export type WavSound = { readonly rateHz: number; readonly samples: Int16Array };

const FORMAT_PCM = 1;
const FORMAT_EXTENSIBLE = 0xfffe;
const HEADER_BYTES = 44;

type WavFormat = { readonly channels: number; readonly rateHz: number };

/**
 * Reads a 16-bit PCM file of any rate and 1 to 8 channels. Sizes that promise more than is there (a recording that
 * was cut off, a pipe) are taken to mean "to the end".
 *
 * @throws ParseError `wav.malformed`, `wav.unsupported`
 */
export function readWav(bytes: Buffer): WavSound {
  if (bytes.length < 12 || tag(bytes, 0) !== 'RIFF' || tag(bytes, 8) !== 'WAVE') {
    throw new ParseError('wav.malformed', 'not a RIFF/WAVE file', 0);
  }
  let format: WavFormat | undefined;
  for (let offset = 12; offset + 8 <= bytes.length;) {
    const size = bytes.readUInt32LE(offset + 4);
    const start = offset + 8;
    const end = Math.min(start + size, bytes.length);
    if (tag(bytes, offset) === 'fmt ') format = readFormat(bytes.subarray(start, end), start);
    if (tag(bytes, offset) === 'data') {
      if (format === undefined) {
        throw new ParseError('wav.malformed', 'sound before its format', offset);
      }
      return {
        rateHz: format.rateHz,
        samples: toMono(bytes.subarray(start, end), format.channels),
      };
    }
    // Chunks are padded to an even length.
    offset = start + size + (size & 1);
  }
  throw new ParseError('wav.malformed', 'no sound in the file', bytes.length);
}

function tag(bytes: Buffer, offset: number): string {
  return bytes.toString('latin1', offset, offset + 4);
}

function readFormat(chunk: Buffer, offset: number): WavFormat {
  if (chunk.length < 16) {
    throw new ParseError('wav.malformed', `format of ${chunk.length} < 16 bytes`, offset);
  }
  let encoding = chunk.readUInt16LE(0);
  // The extensible form keeps the true encoding in the first two bytes of a GUID.
  if (encoding === FORMAT_EXTENSIBLE && chunk.length >= 26) encoding = chunk.readUInt16LE(24);
  const channels = chunk.readUInt16LE(2);
  const rateHz = chunk.readUInt32LE(4);
  const bits = chunk.readUInt16LE(14);
  if (encoding !== FORMAT_PCM || bits !== 16) {
    throw new ParseError(
      'wav.unsupported',
      `needs 16-bit PCM, not ${bits} bits of encoding ${encoding}`,
    );
  }
  if (channels < 1 || channels > 8 || rateHz < 4000 || rateHz > 384_000) {
    throw new ParseError('wav.unsupported', `${channels} channels at ${rateHz} Hz`);
  }
  return { channels, rateHz };
}

function toMono(bytes: Buffer, channels: number): Int16Array {
  const samples = new Int16Array(Math.floor(bytes.length / (2 * channels)));
  for (let index = 0; index < samples.length; index += 1) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) {
      sum += bytes.readInt16LE((index * channels + channel) * 2);
    }
    samples[index] = Math.round(sum / channels);
  }
  return samples;
}

/** The 44 bytes before the samples of a mono file. */
export function wavHeader(rateHz: number, dataBytes: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(36 + dataBytes, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(FORMAT_PCM, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rateHz, 24);
  header.writeUInt32LE(rateHz * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(dataBytes, 40);
  return header;
}

/** Largest file that the 32-bit sizes can name, kept even; recording stops there (12 hours at 48 kHz). */
const MAXIMUM_DATA_BYTES = 0xffff_ff00 - HEADER_BYTES;

/**
 * Writes a mono recording. Samples go to disk about once a second with the header brought up to date in the same
 * step, so a recording whose program was killed is a valid file that lacks at most its last second.
 */
export class WavWriter {
  readonly #file: FileHandle;
  readonly #rateHz: number;
  readonly #onFault: (error: unknown) => void;
  readonly #pending: Buffer[] = [];
  #pendingBytes = 0;
  #writtenBytes = 0;
  #queue: Promise<void> = Promise.resolve();
  #isFaulty = false;

  private constructor(file: FileHandle, rateHz: number, onFault: (error: unknown) => void) {
    this.#file = file;
    this.#rateHz = rateHz;
    this.#onFault = onFault;
  }

  /**
   * @param onFault - told once when the disk refuses; nothing is written after that
   * @throws ConfigError `wav.notWritable`
   */
  static async create(
    path: string,
    rateHz: number,
    onFault: (error: unknown) => void,
  ): Promise<WavWriter> {
    let file: FileHandle;
    try {
      file = await open(path, 'w');
      await file.write(wavHeader(rateHz, 0), 0, HEADER_BYTES, 0);
    } catch (error) {
      throw new ConfigError('wav.notWritable', `${path} cannot be written`, { cause: error });
    }
    return new WavWriter(file, rateHz, onFault);
  }

  /** Seconds of sound taken so far. */
  get seconds(): number {
    return (this.#writtenBytes + this.#pendingBytes) / 2 / this.#rateHz;
  }

  /** @param samples - copied */
  write(samples: Int16Array): void {
    if (this.#isFaulty) return;
    if (this.#writtenBytes + this.#pendingBytes + samples.length * 2 > MAXIMUM_DATA_BYTES) return;
    const bytes = Buffer.allocUnsafe(samples.length * 2);
    for (let index = 0; index < samples.length; index += 1) {
      bytes.writeInt16LE(samples[index] ?? 0, index * 2);
    }
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= this.#rateHz * 2) this.#flush();
  }

  #flush(): void {
    const bytes = Buffer.concat(this.#pending.splice(0));
    this.#pendingBytes = 0;
    const position = HEADER_BYTES + this.#writtenBytes;
    this.#writtenBytes += bytes.length;
    const header = wavHeader(this.#rateHz, this.#writtenBytes);
    this.#queue = this.#queue.then(async () => {
      if (this.#isFaulty) return;
      try {
        await this.#file.write(bytes, 0, bytes.length, position);
        await this.#file.write(header, 0, HEADER_BYTES, 0);
      } catch (error) {
        this.#isFaulty = true;
        this.#onFault(error);
      }
    });
  }

  /** Writes what is left and closes the file. */
  async close(): Promise<void> {
    this.#flush();
    await this.#queue;
    await this.#file.close();
  }
}
