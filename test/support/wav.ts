/** RIFF WAVE files with 16-bit samples, as phones and sound servers read and write them. */

import { readFileSync, writeFileSync } from 'node:fs';
import type { Sound } from '../../core/audio/score.ts';

const PCM = 1;
const EXTENSIBLE = 0xfffe;

type Format = { readonly channels: number; readonly sampleRateHz: number };

function readFormat(chunk: Buffer, file: string): Format {
  const encoding = chunk.readUInt16LE(0);
  const bits = chunk.readUInt16LE(14);
  if ((encoding !== PCM && encoding !== EXTENSIBLE) || bits !== 16) {
    throw new Error(`${file}: encoding ${encoding} with ${bits} bits; 16-bit PCM is needed`);
  }
  return { channels: chunk.readUInt16LE(2), sampleRateHz: chunk.readUInt32LE(4) };
}

/**
 * The file as mono sound; several channels are averaged. A length field that is wrong because the writer was killed
 * (0, or more than there is) means: up to the end of the file. A file without samples gives no samples.
 */
export function readWav(file: string): Sound {
  const bytes = readFileSync(file);
  if (bytes.toString('latin1', 0, 4) !== 'RIFF') throw new Error(`${file}: not a WAVE file`);
  let format: Format | undefined;
  for (let at = 12; at + 8 <= bytes.length;) {
    const id = bytes.toString('latin1', at, at + 4);
    const length = bytes.readUInt32LE(at + 4);
    const body = at + 8;
    if (id === 'fmt ') format = readFormat(bytes.subarray(body, body + length), file);
    if (id === 'data' && format) {
      const end = length === 0 ? bytes.length : Math.min(bytes.length, body + length);
      return toMono(bytes.subarray(body, end), format);
    }
    at = body + length + (length % 2);
  }
  return { samples: new Float32Array(0), sampleRateHz: format?.sampleRateHz ?? 8000 };
}

function toMono(data: Buffer, { channels, sampleRateHz }: Format): Sound {
  const samples = new Float32Array(Math.floor(data.length / (2 * channels)));
  for (let frame = 0; frame < samples.length; frame++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) {
      sum += data.readInt16LE((frame * channels + channel) * 2);
    }
    samples[frame] = sum / channels / 32768;
  }
  return { samples, sampleRateHz };
}

/** Writes mono 16-bit PCM; what is over full scale is clipped. */
export function writeWav(file: string, { samples, sampleRateHz }: Sound): void {
  const bytes = Buffer.alloc(44 + samples.length * 2);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(36 + samples.length * 2, 4);
  bytes.write('WAVEfmt ', 8, 'latin1');
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(PCM, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(sampleRateHz, 24);
  bytes.writeUInt32LE(sampleRateHz * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(samples.length * 2, 40);
  for (const [index, sample] of samples.entries()) {
    const value = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
    bytes.writeInt16LE(value, 44 + index * 2);
  }
  writeFileSync(file, bytes);
}
