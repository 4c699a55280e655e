/** The tones that a phone makes by itself: it rings, and it lets the caller hear that it rings there. */

import { DEVICE_RATE_HZ } from './device.ts';

/** `ring`: somebody calls. `ringback`: we call. */
export type Tone = 'ring' | 'ringback';

type Pattern = {
  readonly frequenciesHz: readonly number[];
  readonly onMs: number;
  readonly periodMs: number;
};

/** ITU-T E.180: 425 Hz, one second in five, for ringback; the ring is our own. */
const PATTERNS: Readonly<Record<Tone, Pattern>> = {
  ring: { frequenciesHz: [660, 880], onMs: 800, periodMs: 3000 },
  ringback: { frequenciesHz: [425], onMs: 1000, periodMs: 5000 },
};
const AMPLITUDE = 3000;
const RAMP_SAMPLES = DEVICE_RATE_HZ / 200;

export class TonePlayer {
  #tone: Tone | undefined;
  #at = 0;

  get tone(): Tone | undefined {
    return this.#tone;
  }

  set tone(tone: Tone | undefined) {
    if (tone !== this.#tone) this.#at = 0;
    this.#tone = tone;
  }

  /** Adds the tone to a frame. */
  addTo(frame: Int32Array): void {
    if (this.#tone === undefined) return;
    const { frequenciesHz, onMs, periodMs } = PATTERNS[this.#tone];
    const on = (onMs * DEVICE_RATE_HZ) / 1000;
    const period = (periodMs * DEVICE_RATE_HZ) / 1000;
    for (let index = 0; index < frame.length; index += 1) {
      const at = (this.#at + index) % period;
      if (at >= on) continue;
      const ramp = Math.min(1, at / RAMP_SAMPLES, (on - at) / RAMP_SAMPLES);
      let value = 0;
      for (const frequency of frequenciesHz) {
        value += Math.sin((2 * Math.PI * frequency * at) / DEVICE_RATE_HZ);
      }
      frame[index] =
        (frame[index] ?? 0) + Math.round((AMPLITUDE * ramp * value) / frequenciesHz.length);
    }
    this.#at += frame.length;
  }
}
