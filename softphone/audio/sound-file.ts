/** Sound files for the microphone's place. */

import { readFile } from 'node:fs/promises';
import { Resampler } from '../../core/audio/resample.ts';
import { parseWav } from '../../core/audio/wav.ts';
import { ConfigError, ParseError } from '../../core/errors.ts';
import { DEVICE_RATE_HZ } from './device.ts';

/** What the resampler's filters are made for: 8, 11.025, 16, 22.05, 24, 32, 44.1, 48, 96 kHz and the like. */
const MAXIMUM_TERM = 640;

/**
 * Reads a 16-bit WAV file of any usual rate, mono or stereo, as mono at the device's rate.
 *
 * @throws ConfigError `softphone.file.unreadable`, `softphone.file.unsupported`
 */
export async function readSoundFile(path: string): Promise<Int16Array> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new ConfigError('softphone.file.unreadable', `The file ${path} cannot be read.`, {
      cause: error,
    });
  }
  try {
    const { sampleRateHz, pcm } = parseWav(bytes);
    return toDeviceRate(pcm, sampleRateHz);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    const message = `The file ${path} cannot be played: ${error.message}.`;
    throw new ConfigError('softphone.file.unsupported', message, { cause: error });
  }
}

/** @throws ParseError `wav.unsupported` for rates with no simple ratio to 48 kHz */
export function toDeviceRate(pcm: Int16Array, sampleRateHz: number): Int16Array {
  if (sampleRateHz === DEVICE_RATE_HZ) return pcm;
  const divisor = greatestCommonDivisor(sampleRateHz, DEVICE_RATE_HZ);
  if (DEVICE_RATE_HZ / divisor > MAXIMUM_TERM || sampleRateHz / divisor > MAXIMUM_TERM) {
    throw new ParseError('wav.unsupported', `a rate of ${sampleRateHz} Hz`);
  }
  const resampler = new Resampler(sampleRateHz, DEVICE_RATE_HZ);
  const output = new Int16Array(resampler.outputLength(pcm.length) + 1);
  let written = 0;
  // In pieces, because the resampler keeps a copy of each.
  for (let at = 0; at < pcm.length; at += sampleRateHz) {
    const piece = pcm.subarray(at, at + sampleRateHz);
    written += resampler.process(piece, output.subarray(written));
  }
  return output.subarray(0, written);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
