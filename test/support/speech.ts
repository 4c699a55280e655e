/** Voices for tests: spoken by espeak-ng where it is installed, otherwise made in code; always the same samples. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { bandPass } from '../../core/audio/band-pass.ts';
import type { Sound } from '../../core/audio/score.ts';
import { isInstalled } from './peers.ts';
import { seededRandom } from './random.ts';
import { readWav } from './wav.ts';

export const VOICES = ['anna', 'bruno', 'clara', 'david', 'emma', 'felix'] as const;
export type Voice = (typeof VOICES)[number];

type Manner = {
  readonly espeak: readonly string[];
  readonly text: string;
  /** Of the voice that is made in code: middle of its pitch, and length of the vocal tract against the usual one. */
  readonly pitchHz: number;
  readonly formantScale: number;
};

const MANNERS: Readonly<Record<Voice, Manner>> = {
  anna: {
    espeak: ['-v', 'en-us+f2', '-p', '55', '-s', '165'],
    text: 'The ferry leaves the harbour at seven, and whoever wants breakfast on board had better be there a quarter of an hour before. Bring a coat, for the wind out on the water is colder than the sun lets you believe.',
    pitchHz: 205,
    formantScale: 1.12,
  },
  bruno: {
    espeak: ['-v', 'en-gb+m3', '-p', '30', '-s', '155'],
    text: 'My grandfather kept eleven clocks in a single room, and no two of them ever agreed. When we asked him for the time he would listen to all of them, close his eyes, and name an hour that none of them showed.',
    pitchHz: 105,
    formantScale: 0.95,
  },
  clara: {
    espeak: ['-v', 'en-us+f4', '-p', '75', '-s', '175'],
    text: 'Take two onions, a spoon of butter and a handful of flour. Stir without haste until the kitchen smells like Sunday, pour in the broth, and do not answer the telephone while it is boiling, whatever anybody may want.',
    pitchHz: 235,
    formantScale: 1.18,
  },
  david: {
    espeak: ['-v', 'en-gb+m7', '-p', '45', '-s', '170'],
    text: 'Number nineteen has left the tunnel and passes the signal box in four minutes. The points on the northern side are frozen again, so please send somebody with a lamp and a shovel before the night train arrives.',
    pitchHz: 130,
    formantScale: 1,
  },
  emma: {
    espeak: ['-v', 'en-us+f5', '-p', '65', '-s', '160'],
    text: 'We counted forty swallows on the wire this morning, and only thirty nine in the evening. The boys are sure that the cat knows more about it, but she sleeps in the hay and says nothing at all.',
    pitchHz: 190,
    formantScale: 1.08,
  },
  felix: {
    espeak: ['-v', 'en-gb+m1', '-p', '15', '-s', '150'],
    text: 'Under the old bridge somebody has painted a blue elephant, taller than a bus and very polite about it. Every spring a gardener climbs up with a bucket and gives the animal a fresh pair of shoes.',
    pitchHz: 90,
    formantScale: 0.9,
  },
};

const SAMPLE_RATE_HZ = 48_000;
/** RMS of the loud parts, -20 dBFS. */
const LEVEL = 0.1;

/** First, second and third resonance of some vowels, Hz, and how loud they are spoken. */
const VOWELS = [
  [730, 1090, 2440],
  [270, 2290, 3010],
  [300, 870, 2240],
  [530, 1840, 2480],
  [570, 840, 2410],
  [440, 1020, 2240],
  [390, 1990, 2550],
  [660, 1720, 2410],
] as const;

type Resonator = { before: number; beforeThat: number };

function resonate(state: Resonator, input: number, hz: number, widthHz: number): number {
  const radius = Math.exp((-Math.PI * widthHz) / SAMPLE_RATE_HZ);
  const turn = 2 * radius * Math.cos((2 * Math.PI * hz) / SAMPLE_RATE_HZ);
  const output =
    (1 - turn + radius * radius) * input + turn * state.before - radius * radius * state.beforeThat;
  state.beforeThat = state.before;
  state.before = output;
  return output;
}

type Sounding = {
  readonly seconds: number;
  readonly vowel: readonly [number, number, number];
  readonly loudness: number;
  readonly pitch: number;
  readonly isVoiced: boolean;
};

function nextSounding(random: () => number, index: number): Sounding {
  const vowel = VOWELS[Math.floor(random() * VOWELS.length)] ?? VOWELS[0];
  const isPause = index % 11 === 10;
  const isVoiced = random() > 0.22;
  return {
    seconds: isPause ? 0.25 + 0.15 * random() : isVoiced ? 0.08 + 0.14 * random() : 0.05,
    vowel,
    loudness: isPause ? 0 : isVoiced ? 0.6 + 0.4 * random() : 0.5,
    pitch: 0.8 + 0.45 * random(),
    isVoiced: isPause || isVoiced,
  };
}

/** A buzz and a hiss through three moving resonances: speech in everything that a codec or a score looks at. */
function synthesize(
  { pitchHz, formantScale }: Manner,
  seconds: number,
  seed: number,
): Float32Array {
  const random = seededRandom(seed);
  const samples = new Float32Array(Math.round(seconds * SAMPLE_RATE_HZ));
  const resonators = [0, 1, 2].map((): Resonator => ({ before: 0, beforeThat: 0 }));
  const now = { formants: [500, 1500, 2500], loudness: 0, pitch: 1 };
  let phase = 0;
  let tilted = 0;
  let at = 0;
  for (let index = 0; at < samples.length; index++) {
    const target = nextSounding(random, index);
    const end = Math.min(samples.length, at + Math.round(target.seconds * SAMPLE_RATE_HZ));
    for (; at < end; at++) {
      const glide = 1 / (0.02 * SAMPLE_RATE_HZ);
      now.loudness += (target.loudness - now.loudness) * glide;
      now.pitch += (target.pitch - now.pitch) * glide * 0.3;
      phase += (pitchHz * now.pitch) / SAMPLE_RATE_HZ;
      const pulse = phase >= 1 ? 1 : 0;
      phase -= pulse;
      const hiss = random() - 0.5;
      tilted = 0.97 * tilted + (target.isVoiced ? pulse + 0.01 * hiss : 0);
      const excitation = target.isVoiced ? tilted : 0.25 * hiss;
      let sum = 0;
      for (const [formant, resonator] of resonators.entries()) {
        const wanted = (target.vowel[formant] ?? 0) * formantScale;
        const moved = (now.formants[formant] ?? 0) * (1 - glide) + wanted * glide;
        now.formants[formant] = moved;
        sum += resonate(resonator, excitation, moved, 60 + 40 * formant) / (1 + 0.4 * formant);
      }
      samples[at] = sum * now.loudness;
    }
  }
  return samples;
}

function normalize(samples: Float32Array): Float32Array {
  const energies = samples.map((sample) => sample * sample);
  const power = energies.reduce((a, b) => a + b, 0) / Math.max(1, samples.length);
  const gain = power > 0 ? LEVEL / Math.sqrt(power) : 0;
  return samples.map((sample) => Math.max(-0.95, Math.min(0.95, sample * gain)));
}

/** A voice made in code, whatever is installed. 48 kHz. */
export function syntheticSpeech(voice: Voice, seconds: number): Sound {
  const samples = synthesize(MANNERS[voice], seconds, 1000 + VOICES.indexOf(voice));
  return { samples: normalize(samples), sampleRateHz: SAMPLE_RATE_HZ };
}

async function spoken(voice: Voice): Promise<Float32Array> {
  const folder = await mkdtemp(path.join(tmpdir(), 'parley-speech-'));
  try {
    const file = path.join(folder, 'speech.wav');
    const { espeak, text } = MANNERS[voice];
    await promisify(execFile)('espeak-ng', [...espeak, '-w', file, text]);
    const { samples, sampleRateHz } = readWav(file);
    return resampled({ samples, sampleRateHz }, SAMPLE_RATE_HZ).samples;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const spokenVoices = new Map<Voice, Promise<Float32Array>>();

/** The first `seconds` (up to some ten are there) of what the voice has to say; 48 kHz. */
export async function speech(voice: Voice, seconds: number): Promise<Sound> {
  if (!isInstalled('espeak-ng')) return syntheticSpeech(voice, seconds);
  const whole = spokenVoices.get(voice) ?? spoken(voice);
  spokenVoices.set(voice, whole);
  const samples = (await whole).slice(0, Math.round(seconds * SAMPLE_RATE_HZ));
  return { samples: normalize(samples), sampleRateHz: SAMPLE_RATE_HZ };
}

/** The same sound at another rate. */
export function resampled({ samples, sampleRateHz }: Sound, toHz: number): Sound {
  const lower = Math.min(sampleRateHz, toHz);
  const band = { lowHz: 0, highHz: lower / 2, edgeHz: lower / 40 };
  return { samples: bandPass(samples, sampleRateHz, toHz, band), sampleRateHz: toHz };
}

/** Sound with silence before and after. */
export function padded({ samples, sampleRateHz }: Sound, before: number, after: number): Sound {
  const lead = Math.round(before * sampleRateHz);
  const out = new Float32Array(lead + samples.length + Math.round(after * sampleRateHz));
  out.set(samples, lead);
  return { samples: out, sampleRateHz };
}
