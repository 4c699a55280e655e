/** The sound of one who talks, tick by tick, at the rates that the room mixes at. */

import { AUDIO_CODECS, type AudioDecoder, type CodecName } from '../../core/audio/codec.ts';
import { levelDbov } from '../../core/audio/level.ts';
import type { PacketActivity } from '../../core/audio/packet-activity.ts';
import { applyGain } from '../../core/audio/pcm.ts';
import { AudioPlayout } from '../../core/audio/playout.ts';
import { Resampler } from '../../core/audio/resample.ts';
import type { JitterBuffer } from '../../core/rtp/jitter-buffer.ts';

export const NARROW_HZ = 8000;
export const WIDE_HZ = 48000;
/** The rates of the mix: narrow for G.711, wide for Opus. */
export type MixRate = typeof NARROW_HZ | typeof WIDE_HZ;

const FRAME_MS = 20;
/** A voice comes and goes over so much of its first and last frame. */
const FADE_IN_SHARE = 0.1;

/** Decoders that were used before and can be used again; one pool for a worker. */
export class DecoderPool {
  readonly #free = new Map<CodecName, AudioDecoder[]>();
  readonly #limit: number;

  /** @param limit - how many idle decoders of each codec are kept */
  constructor(limit = 32) {
    this.#limit = limit;
  }

  take(codec: CodecName): AudioDecoder {
    return this.#free.get(codec)?.pop() ?? AUDIO_CODECS[codec].createDecoder();
  }

  give(codec: CodecName, decoder: AudioDecoder): void {
    const free = this.#free.get(codec) ?? [];
    this.#free.set(codec, free);
    if (free.length < this.#limit) {
      decoder.reset();
      free.push(decoder);
    } else {
      decoder.close();
    }
  }
}

export class Voice {
  readonly #codec: CodecName;
  readonly #decoder: AudioDecoder;
  readonly #pool: DecoderPool;
  readonly #playout: AudioPlayout;
  readonly #nativeRate: MixRate;
  readonly #native: Int16Array;
  #other: Int16Array | undefined;
  #resampler: Resampler | undefined;
  #hasOther = false;
  #isFirst = true;

  /** Of the latest frame, -127 to 0. */
  levelDbov = -127;

  constructor(
    codec: CodecName,
    kept: { readonly jitterBuffer: JitterBuffer; readonly activity: PacketActivity },
    pool: DecoderPool,
  ) {
    this.#codec = codec;
    this.#pool = pool;
    this.#decoder = pool.take(codec);
    this.#playout = new AudioPlayout({
      codec: AUDIO_CODECS[codec],
      decoder: this.#decoder,
      kept,
    });
    this.#nativeRate = codec === 'opus' ? WIDE_HZ : NARROW_HZ;
    this.#native = new Int16Array((this.#nativeRate * FRAME_MS) / 1000);
  }

  /**
   * Decodes the frame for this tick.
   *
   * @param isLast - the voice leaves the mix after this frame, so it fades out
   */
  pull(dueMs: number, isLast: boolean): void {
    this.#hasOther = false;
    this.#playout.pull(dueMs, this.#native);
    this.levelDbov = levelDbov(this.#native);
    if (this.#isFirst) {
      const length = Math.round(this.#native.length * FADE_IN_SHARE);
      applyGain(this.#native.subarray(0, length), 0, 1);
      this.#isFirst = false;
    }
    if (isLast) applyGain(this.#native, 1, 0);
  }

  /** This tick's frame at a rate; converted when first asked for. Ask for a rate in every tick or never. */
  frame(rate: MixRate): Int16Array {
    if (rate === this.#nativeRate) return this.#native;
    this.#other ??= new Int16Array((rate * FRAME_MS) / 1000);
    this.#resampler ??= new Resampler(this.#nativeRate, rate);
    if (!this.#hasOther) this.#resampler.process(this.#native, this.#other);
    this.#hasOther = true;
    return this.#other;
  }

  close(): void {
    this.#playout.release();
    this.#pool.give(this.#codec, this.#decoder);
  }
}
