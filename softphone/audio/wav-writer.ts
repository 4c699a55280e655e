/** A recording on disk that stays a valid WAV file while it grows. */

import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { WAV_HEADER_BYTES, wavHeader } from '../../core/audio/wav.ts';
import { pcmToBytes } from '../../core/audio/pcm.ts';
import { ConfigError } from '../../core/errors.ts';

/** Largest file that the 32-bit sizes can name, kept even; recording stops there (12 hours at 48 kHz). */
const MAXIMUM_DATA_BYTES = 0xffff_ff00 - WAV_HEADER_BYTES;

/**
 * Writes a mono recording. Samples go to disk about once a second with the header brought up to date in the same
 * step, so a recording whose program was killed is a valid file that lacks at most its last second.
 */
export class WavWriter {
  readonly #file: FileHandle;
  readonly #sampleRateHz: number;
  readonly #onFault: (error: unknown) => void;
  readonly #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #writtenBytes = 0;
  #queue: Promise<void> = Promise.resolve();
  #isFaulty = false;

  private constructor(file: FileHandle, sampleRateHz: number, onFault: (error: unknown) => void) {
    this.#file = file;
    this.#sampleRateHz = sampleRateHz;
    this.#onFault = onFault;
  }

  /**
   * @param onFault - told once when the disk refuses; nothing is written after that
   * @throws ConfigError `wav.notWritable`
   */
  static async create(
    path: string,
    sampleRateHz: number,
    onFault: (error: unknown) => void,
  ): Promise<WavWriter> {
    let file: FileHandle;
    try {
      file = await open(path, 'w');
      await file.write(wavHeader({ sampleRateHz, channels: 1 }, 0), 0, WAV_HEADER_BYTES, 0);
    } catch (error) {
      throw new ConfigError('wav.notWritable', `The file ${path} cannot be written.`, {
        cause: error,
      });
    }
    return new WavWriter(file, sampleRateHz, onFault);
  }

  /** Seconds of sound taken so far. */
  get seconds(): number {
    return (this.#writtenBytes + this.#pendingBytes) / 2 / this.#sampleRateHz;
  }

  /** @param samples - copied */
  write(samples: Int16Array): void {
    if (this.#isFaulty) return;
    if (this.#writtenBytes + this.#pendingBytes + samples.length * 2 > MAXIMUM_DATA_BYTES) return;
    const bytes = pcmToBytes(samples);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= this.#sampleRateHz * 2) this.#flush();
  }

  #flush(): void {
    const bytes = Buffer.concat(this.#pending.splice(0));
    this.#pendingBytes = 0;
    const position = WAV_HEADER_BYTES + this.#writtenBytes;
    this.#writtenBytes += bytes.length;
    const header = wavHeader({ sampleRateHz: this.#sampleRateHz, channels: 1 }, this.#writtenBytes);
    this.#queue = this.#queue.then(async () => {
      if (this.#isFaulty) return;
      try {
        await this.#file.write(bytes, 0, bytes.length, position);
        await this.#file.write(header, 0, WAV_HEADER_BYTES, 0);
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
