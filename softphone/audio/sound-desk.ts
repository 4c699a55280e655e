/** Where device, files and calls meet: every 20 ms the microphone goes to those who may hear it, and they are mixed. */

import { levelDbov } from '../../core/audio/level.ts';
import { clampSample } from '../../core/audio/pcm.ts';
import { FRAME_MS, FRAME_SAMPLES } from './device.ts';
import type { AudioDevice, Clock } from './device.ts';
import { TonePlayer } from './tones.ts';
import type { Tone } from './tones.ts';

/** One call, as the desk sees it. */
export type DeskChannel = {
  /** Whether it is heard. Like the others, read at every beat. */
  readonly isHeard: boolean;
  /** Whether it may have the microphone; otherwise it gets silence. */
  readonly isTalking: boolean;
  /** The microphone is switched off for it. */
  readonly isMuted: boolean;
  /** As `RtpSession.exchange`. */
  exchange(captured: Int16Array, heard: Int16Array, dueMs: number): void;
};

/** What takes a copy of everything that is heard. */
export type Recorder = { write(samples: Int16Array): void };

/** A device stays open for so long after the last call, because opening takes a second or two. */
const LINGER_MS = 3000;
/** How far the beat may be from the clock before it is set anew: a stall, or a device that was stopped. */
const RESYNC_MS = 500;
/** The beat follows the clock with this share of the difference each time, so that jitter of timers is smoothed. */
const BEAT_GAIN = 0.02;

export class SoundDesk {
  #device: AudioDevice;
  readonly #clock: Clock;
  readonly #channels = new Set<DeskChannel>();
  readonly #tones = new TonePlayer();
  readonly #silence = new Int16Array(FRAME_SAMPLES);
  readonly #microphone = new Int16Array(FRAME_SAMPLES);
  readonly #heard = new Int16Array(FRAME_SAMPLES);
  readonly #mix = new Int32Array(FRAME_SAMPLES);
  readonly #output = new Int16Array(FRAME_SAMPLES);
  #source: { readonly samples: Int16Array; readonly isLooped: boolean } | undefined;
  #sourceAt = 0;
  #recorder: Recorder | undefined;
  #isRunning = false;
  #cancelLinger: (() => void) | undefined;
  /** When the last beat was due; undefined before the first one of a device. */
  #dueMs: number | undefined;
  #level = -127;
  #gain = 1;

  constructor(device: AudioDevice, clock: Clock) {
    this.#device = device;
    this.#clock = clock;
  }

  /** Level of the microphone (or the file in its place) in the last frame, in dBov: -127 is silence. */
  get microphoneLevelDbov(): number {
    return this.#level;
  }

  /** Amplification of the microphone, 0 to 4. */
  set microphoneGain(gain: number) {
    this.#gain = Math.min(4, Math.max(0, gain));
  }

  get microphoneGain(): number {
    return this.#gain;
  }

  /** A sound in the microphone's place, at 48 kHz; undefined gives the microphone back. It begins at once. */
  play(samples: Int16Array | undefined, isLooped: boolean): void {
    this.#source = samples === undefined ? undefined : { samples, isLooped };
    this.#sourceAt = 0;
  }

  /** The sound in the microphone's place begins again. */
  rewind(): void {
    this.#sourceAt = 0;
  }

  /** Writes down what the calls let us hear, as long as there is one; tones are left out. */
  record(recorder: Recorder | undefined): void {
    this.#recorder = recorder;
  }

  setTone(tone: Tone | undefined): void {
    this.#tones.tone = tone;
    this.#update();
  }

  attach(channel: DeskChannel): void {
    this.#channels.add(channel);
    this.#update();
  }

  detach(channel: DeskChannel): void {
    this.#channels.delete(channel);
    this.#update();
  }

  /** Stops at once. */
  async close(): Promise<void> {
    this.#channels.clear();
    this.#tones.tone = undefined;
    this.#cancelLinger?.();
    this.#isRunning = false;
    await this.#device.stop();
  }

  #update(): void {
    this.#cancelLinger?.();
    this.#cancelLinger = undefined;
    const isNeeded = this.#channels.size > 0 || this.#tones.tone !== undefined;
    if (isNeeded && !this.#isRunning) {
      this.#isRunning = true;
      this.#dueMs = undefined;
      this.#device.start((captured) => this.#beat(captured));
    } else if (!isNeeded && this.#isRunning) {
      this.#cancelLinger = this.#clock.setTimer(() => {
        this.#isRunning = false;
        void this.#device.stop();
      }, LINGER_MS);
    }
  }

  #beat(captured: Int16Array): Int16Array {
    const dueMs = this.#nextBeat();
    this.#takeMicrophone(captured);
    const mix = this.#mix.fill(0);
    for (const channel of this.#channels) {
      const isOpen = channel.isTalking && !channel.isMuted;
      channel.exchange(isOpen ? this.#microphone : this.#silence, this.#heard, dueMs);
      if (channel.isHeard) addTo(mix, this.#heard);
    }
    if (this.#recorder !== undefined && this.#channels.size > 0) {
      this.#recorder.write(clamped(mix, this.#output));
    }
    this.#tones.addTo(mix);
    return clamped(mix, this.#output);
  }

  #nextBeat(): number {
    const nowMs = this.#clock.nowMs();
    const dueMs = (this.#dueMs ?? nowMs - FRAME_MS) + FRAME_MS;
    const difference = nowMs - dueMs;
    const isLost = Math.abs(difference) > RESYNC_MS;
    this.#dueMs = isLost ? nowMs : dueMs + difference * BEAT_GAIN;
    return this.#dueMs;
  }

  #takeMicrophone(captured: Int16Array): void {
    const microphone = this.#microphone;
    if (this.#source === undefined) {
      for (let index = 0; index < FRAME_SAMPLES; index += 1) {
        microphone[index] = clampSample(Math.round((captured[index] ?? 0) * this.#gain));
      }
    } else {
      this.#takeFromSource(this.#source.samples, this.#source.isLooped);
    }
    this.#level = levelDbov(microphone);
  }

  /** The file is at its beginning until somebody can hear it. */
  #takeFromSource(samples: Int16Array, isLooped: boolean): void {
    const microphone = this.#microphone.fill(0);
    if (![...this.#channels].some(({ isTalking }) => isTalking)) return;
    let filled = 0;
    while (filled < FRAME_SAMPLES) {
      if (this.#sourceAt >= samples.length) {
        if (!isLooped || samples.length === 0) return;
        this.#sourceAt = 0;
      }
      const piece = samples.subarray(this.#sourceAt, this.#sourceAt + FRAME_SAMPLES - filled);
      microphone.set(piece, filled);
      filled += piece.length;
      this.#sourceAt += piece.length;
    }
  }
}

function addTo(mix: Int32Array, frame: Int16Array): void {
  for (let index = 0; index < FRAME_SAMPLES; index += 1) {
    mix[index] = (mix[index] ?? 0) + (frame[index] ?? 0);
  }
}

function clamped(mix: Int32Array, output: Int16Array): Int16Array {
  for (let index = 0; index < FRAME_SAMPLES; index += 1) {
    output[index] = clampSample(mix[index] ?? 0);
  }
  return output;
}
