/** WAV files on disk as mono sound, as phones and sound servers read and write them. */

import { readFileSync, writeFileSync } from 'node:fs';
import type { Sound } from '../../core/audio/score.ts';
import { parseWav, wavHeader } from '../../core/audio/wav.ts';

/** Throws when there is no file, or no header in it yet. */
export function readWav(file: string): Sound {
  const { pcm, sampleRateHz } = parseWav(readFileSync(file));
  return { samples: Float32Array.from(pcm, (sample) => sample / 32768), sampleRateHz };
}

/** Writes 16-bit PCM; what is over full scale is clipped. */
export function writeWav(file: string, { samples, sampleRateHz }: Sound): void {
  const pcm = Int16Array.from(samples, (sample) =>
    Math.max(-32768, Math.min(32767, Math.round(sample * 32768))),
  );
  const header = wavHeader({ sampleRateHz, channels: 1 }, pcm.byteLength);
  writeFileSync(file, Buffer.concat([header, Buffer.from(pcm.buffer)]));
}
