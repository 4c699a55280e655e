/**
 * Opus (RFC 6716) behind two libraries: @discordjs/opus encodes and decodes natively, libopus-wasm decodes with FEC.
 *
 * The native binding kills the process on a getter, on an unknown setter value type and on a frame of odd length, so
 * nothing but checked values reaches it.
 */

import native from '@discordjs/opus';
import { createDecoder, type OpusDecoderHandle } from 'libopus-wasm';
import { invariant } from '../invariant.ts';
import type { AudioDecoder, AudioEncoder, EncoderAdjustment } from './coder.ts';
import { OPUS_CLOCK_HZ, OPUS_MAX_SAMPLES, hasOpusFec, opusDuration } from './opus-packet.ts';

export type OpusSettings = {
  /** 6,000 to 510,000 bit/s. */
  readonly bitrate: number;
  /** 0 to 10; 5 is CELT at half the cost for `audio` at 24 kbit/s and more. */
  readonly complexity: number;
  /** `voip` is SILK, which alone has FEC; `audio` is CELT at low complexity. */
  readonly application: 'voip' | 'audio';
  /** In-band FEC; the encoder adds it only when told a loss of 10 % or more. */
  readonly fec: boolean;
  /** 0 to 100. */
  readonly expectedLossPercent: number;
  /** Send next to nothing while silent. */
  readonly dtx: boolean;
};

export const OPUS_DEFAULTS: OpusSettings = {
  bitrate: 32000,
  complexity: 5,
  application: 'audio',
  fec: false,
  expectedLossPercent: 0,
  dtx: false,
};

const SET = {
  application: 4000,
  bitrate: 4002,
  complexity: 4010,
  fec: 4012,
  expectedLossPercent: 4014,
  dtx: 4016,
  reset: 4028,
} as const;
const APPLICATION = { voip: 2048, audio: 2049 } as const;
/** 2.5, 5, 10, 20, 40 and 60 ms at 48 kHz. */
const FRAME_SAMPLES = new Set([120, 240, 480, 960, 1920, 2880]);
const NO_SAMPLES = 0;

/** A mono encoder at 48 kHz. */
export class OpusEncoder implements AudioEncoder {
  #binding: InstanceType<typeof native.OpusEncoder> | undefined;
  #settings: OpusSettings;

  constructor(settings: Partial<OpusSettings> = {}) {
    this.#settings = checked({ ...OPUS_DEFAULTS, ...settings });
    this.#binding = new native.OpusEncoder(OPUS_CLOCK_HZ, 1);
    // The application can only be chosen before the first frame.
    this.#control('application', APPLICATION[this.#settings.application]);
    this.#apply(this.#settings);
  }

  get settings(): OpusSettings {
    return this.#settings;
  }

  /**
   * @param pcm - 2.5 to 60 ms of mono at 48 kHz: 120, 240, 480, 960, 1920 or 2880 samples
   * @returns one packet, 1 to 1275 bytes
   */
  encode(pcm: Int16Array): Uint8Array {
    invariant(FRAME_SAMPLES.has(pcm.length), `an Opus frame cannot have ${pcm.length} samples`);
    const binding = this.#open();
    return binding.encode(Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength));
  }

  /** Changes settings between two frames; the application stays what it was. */
  configure(settings: EncoderAdjustment): void {
    const { application } = this.#settings;
    this.#settings = checked({ ...this.#settings, ...settings, application });
    this.#apply(this.#settings);
  }

  /** As if it were new, with the same settings. */
  reset(): void {
    this.#control('reset', 0);
  }

  /** The native state goes with the garbage; after this, `encode` is a bug. */
  close(): void {
    this.#binding = undefined;
  }

  #apply(settings: OpusSettings): void {
    this.#control('bitrate', settings.bitrate);
    this.#control('complexity', settings.complexity);
    this.#control('fec', settings.fec ? 1 : 0);
    this.#control('expectedLossPercent', settings.expectedLossPercent);
    this.#control('dtx', settings.dtx ? 1 : 0);
  }

  #control(name: keyof typeof SET, value: number): void {
    this.#open().applyEncoderCTL(SET[name], value);
  }

  #open(): InstanceType<typeof native.OpusEncoder> {
    invariant(this.#binding, 'the Opus encoder is closed');
    return this.#binding;
  }
}

function checked(settings: OpusSettings): OpusSettings {
  const { bitrate, complexity, expectedLossPercent } = settings;
  invariant(isWithin(bitrate, 6000, 510000), `bitrate ${bitrate}`);
  invariant(isWithin(complexity, 0, 10), `complexity ${complexity}`);
  invariant(isWithin(expectedLossPercent, 0, 100), `expectedLossPercent ${expectedLossPercent}`);
  return settings;
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/**
 * A cheap mono decoder at 48 kHz without FEC.
 *
 * Concealment hands libopus a packet of only the last TOC, an empty frame: bit for bit what a lost frame gives. An
 * empty buffer would be concealed as 120 ms and spoil the state.
 */
export class NativeOpusDecoder implements AudioDecoder {
  readonly hasFec = false;
  #binding: InstanceType<typeof native.OpusEncoder> | undefined;
  #lastToc: number | undefined;

  constructor() {
    this.#binding = new native.OpusEncoder(OPUS_CLOCK_HZ, 1);
  }

  decode(payload: Uint8Array, out: Int16Array): number {
    const length = opusDuration(payload, 0, payload.length);
    if (length === 0) return NO_SAMPLES;
    const samples = this.#decode(payload, out);
    if (samples > 0) this.#lastToc = payload[0];
    return samples;
  }

  conceal(samples: number, out: Int16Array): number {
    let done = 0;
    while (done < samples && this.#lastToc !== undefined) {
      const made = this.#decode(Buffer.of(this.#lastToc & 0xfc), out.subarray(done));
      if (made === 0) break;
      done += made;
    }
    out.fill(0, done, samples);
    return samples;
  }

  decodeFec(_next: Uint8Array, samples: number, out: Int16Array): number {
    return this.conceal(samples, out);
  }

  reset(): void {
    this.#open().applyDecoderCTL(SET.reset, 0);
    this.#lastToc = undefined;
  }

  close(): void {
    this.#binding = undefined;
  }

  #decode(payload: Uint8Array, out: Int16Array): number {
    const binding = this.#open();
    try {
      const bytes = binding.decode(
        Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      );
      const pcm = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1);
      return copied(pcm, out);
    } catch {
      return NO_SAMPLES;
    }
  }

  #open(): InstanceType<typeof native.OpusEncoder> {
    invariant(this.#binding, 'the Opus decoder is closed');
    return this.#binding;
  }
}

/** A mono decoder at 48 kHz that restores lost frames from the FEC of the next packet. */
export class FecOpusDecoder implements AudioDecoder {
  readonly hasFec = true;
  readonly #handle: OpusDecoderHandle;
  #hasDecoded = false;

  private constructor(handle: OpusDecoderHandle) {
    this.#handle = handle;
  }

  /** The library loads in its own time; the first seconds of its use are slower, so this warms it up. */
  static async create(): Promise<FecOpusDecoder> {
    const handle = await createDecoder({ channels: 1, sampleRate: OPUS_CLOCK_HZ });
    return new FecOpusDecoder(handle);
  }

  decode(payload: Uint8Array, out: Int16Array): number {
    if (opusDuration(payload, 0, payload.length) === 0) return NO_SAMPLES;
    const samples = this.#run(() => copied(this.#handle.decode(payload), out));
    if (samples > 0) this.#hasDecoded = true;
    return samples;
  }

  conceal(samples: number, out: Int16Array): number {
    const made = this.#hasDecoded
      ? this.#run(() => copied(this.#handle.decodePacketLoss(samples), out))
      : NO_SAMPLES;
    out.fill(0, made, samples);
    return samples;
  }

  decodeFec(next: Uint8Array, samples: number, out: Int16Array): number {
    if (!hasOpusFec(next)) return this.conceal(samples, out);
    const options = { decodeFec: true, frameSize: samples };
    const made = this.#run(() => copied(this.#handle.decode(next, options), out));
    return made === samples ? samples : this.conceal(samples, out);
  }

  /** libopus-wasm has no reset; concealment fades what was left of the old sound. */
  reset(): void {
    this.#hasDecoded = false;
  }

  close(): void {
    this.#handle.free();
  }

  #run(decode: () => number): number {
    try {
      return decode();
    } catch {
      return NO_SAMPLES;
    }
  }
}

function copied(pcm: Int16Array, out: Int16Array): number {
  const samples = Math.min(pcm.length, out.length, OPUS_MAX_SAMPLES);
  out.set(samples === pcm.length ? pcm : pcm.subarray(0, samples));
  return samples;
}
