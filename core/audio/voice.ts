/**
 * Voices that say nothing: signals with the pitch, formants, syllables and pauses of speech, each its own.
 *
 * For measuring what is heard where, without recordings: codecs treat them as speech, and two of them have no more in
 * common than two people who read different texts.
 */

import { clampSample } from './pcm.ts';

export type VoiceOptions = {
  /** What is said: another seed, another text. */
  readonly seed: number;
  /** 80 to 300. */
  readonly pitchHz: number;
  /** Length of the vocal tract: 0.85 (a large man) to 1.25 (a child). */
  readonly formantScale: number;
  readonly seconds: number;
  readonly sampleRateHz: number;
};

/** First three formants of some vowels in Hz (Peterson and Barney 1952, rounded). */
const VOWELS = [
  [270, 2290, 3010],
  [390, 1990, 2550],
  [530, 1840, 2480],
  [660, 1720, 2410],
  [730, 1090, 2440],
  [570, 840, 2410],
  [440, 1020, 2240],
  [300, 870, 2240],
  [640, 1190, 2390],
] as const;
const BANDWIDTHS_HZ = [80, 110, 160] as const;
const STEP_SECONDS = 0.005;
const PEAK = 14_000;

type Syllable = {
  readonly from: number;
  readonly to: number;
  readonly vowel: readonly [number, number, number];
  readonly next: readonly [number, number, number];
  readonly pitchHz: number;
  readonly loudness: number;
  /** Share of noise in the sound, for a breathy beginning. */
  readonly noise: number;
};

/** Mono, with a peak of 14,000: about as loud as a person on the phone. The same options give the same samples. */
export function synthesizeVoice(options: VoiceOptions): Int16Array {
  const random = randomNumbers(options.seed);
  const length = Math.round(options.seconds * options.sampleRateHz);
  const sound = new Float64Array(length);
  const tract = new VocalTract(options.sampleRateHz);
  let pulse = 0;
  let glottis = 0;
  for (const syllable of syllablesOf(options, random)) {
    const step = Math.round(STEP_SECONDS * options.sampleRateHz);
    for (let at = syllable.from; at < Math.min(syllable.to, length); at += 1) {
      const progress = (at - syllable.from) / (syllable.to - syllable.from);
      if ((at - syllable.from) % step === 0) tract.shape(syllable, progress, options.formantScale);
      // A little jitter of the pitch, as no voice is without.
      pulse +=
        (syllable.pitchHz * (1.08 - 0.16 * progress) * (0.99 + 0.02 * random())) /
        options.sampleRateHz;
      const beat = pulse >= 1 ? 1 : 0;
      if (beat === 1) pulse -= 1;
      glottis = 0.95 * glottis + beat + syllable.noise * 0.3 * (random() - 0.5);
      const envelope = Math.min(1, progress / 0.15, (1 - progress) / 0.25);
      sound[at] = tract.filter(glottis) * envelope * syllable.loudness;
    }
  }
  return normalized(sound);
}

function syllablesOf(options: VoiceOptions, random: () => number): Syllable[] {
  const { seconds, sampleRateHz, pitchHz } = options;
  const syllables: Syllable[] = [];
  const vowelNow = (): Syllable['vowel'] =>
    VOWELS[Math.floor(random() * VOWELS.length)] ?? VOWELS[0];
  let at = 0.05;
  for (let count = 1; at < seconds; count += 1) {
    const duration = 0.13 + 0.16 * random();
    syllables.push({
      from: Math.round(at * sampleRateHz),
      to: Math.round((at + duration) * sampleRateHz),
      vowel: vowelNow(),
      next: vowelNow(),
      pitchHz: pitchHz * (0.82 + 0.36 * random()),
      loudness: 0.55 + 0.45 * random(),
      noise: random() < 0.3 ? 0.6 : 0.05,
    });
    const pause = random() < 0.25 ? 0.05 + 0.06 * random() : 0.005;
    at += duration + (count % 9 === 0 ? 0.25 : pause);
  }
  return syllables;
}

/** Three resonators in a row, whose frequencies glide from one vowel to the next. */
class VocalTract {
  readonly #sampleRateHz: number;
  readonly #coefficients = new Float64Array(9);
  readonly #state = new Float64Array(6);

  constructor(sampleRateHz: number) {
    this.#sampleRateHz = sampleRateHz;
  }

  shape(syllable: Syllable, progress: number, scale: number): void {
    for (let formant = 0; formant < 3; formant += 1) {
      const from = syllable.vowel[formant] ?? 500;
      const to = syllable.next[formant] ?? 500;
      const frequency = (from + (to - from) * progress) * scale;
      const bandwidth = BANDWIDTHS_HZ[formant] ?? 100;
      const radius = Math.exp((-Math.PI * bandwidth) / this.#sampleRateHz);
      const first = 2 * radius * Math.cos((2 * Math.PI * frequency) / this.#sampleRateHz);
      const second = -radius * radius;
      this.#coefficients.set([1 - first - second, first, second], formant * 3);
    }
  }

  filter(input: number): number {
    let value = input;
    for (let formant = 0; formant < 3; formant += 1) {
      const state = formant * 2;
      const previous = this.#state[state] ?? 0;
      value =
        (this.#coefficients[formant * 3] ?? 0) * value +
        (this.#coefficients[formant * 3 + 1] ?? 0) * previous +
        (this.#coefficients[formant * 3 + 2] ?? 0) * (this.#state[state + 1] ?? 0);
      this.#state[state + 1] = previous;
      this.#state[state] = value;
    }
    return value;
  }
}

function normalized(sound: Float64Array): Int16Array {
  let peak = 1e-9;
  // The mean is taken off first: pulses have one, and it would only cost headroom.
  let mean = 0;
  for (const value of sound) mean += value / Math.max(1, sound.length);
  for (const value of sound) peak = Math.max(peak, Math.abs(value - mean));
  return Int16Array.from(sound, (value) =>
    value === 0 ? 0 : clampSample(Math.round(((value - mean) / peak) * PEAK)),
  );
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
