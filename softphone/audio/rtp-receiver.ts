/** The receiving half of a call: RTP packets to frames for the speaker, whatever got lost or came late. */

import { AUDIO_CODECS } from '../../core/audio/codec.ts';
import type { AudioDecoder, CodecName } from '../../core/audio/codec.ts';
import { AudioPlayout } from '../../core/audio/playout.ts';
import { Resampler } from '../../core/audio/resample.ts';
import type { JitterBufferCounters } from '../../core/rtp/jitter-buffer.ts';
import type { RtpHeader } from '../../core/rtp/packet.ts';
import { ReceptionStats } from '../../core/rtp/reception-stats.ts';
import { DEVICE_RATE_HZ, FRAME_MS, FRAME_SAMPLES } from './device.ts';

/** Decoders are made before a call, because the one for Opus loads in its own time. */
export type Decoders = Readonly<Record<CodecName, AudioDecoder>>;

export async function createDecoders(): Promise<Decoders> {
  const [opus, PCMU, PCMA] = await Promise.all([
    AUDIO_CODECS.opus.createFecDecoder(),
    AUDIO_CODECS.PCMU.createFecDecoder(),
    AUDIO_CODECS.PCMA.createFecDecoder(),
  ]);
  return { opus, PCMU, PCMA };
}

/** One codec of the stream: only one is heard at a time. */
type Source = {
  readonly codec: CodecName;
  readonly playout: AudioPlayout;
  readonly statistics: ReceptionStats;
  readonly resampler: Resampler | undefined;
  /** 20 ms at the codec's sample rate. */
  readonly frame: Int16Array;
};

export type ReceptionFigures = JitterBufferCounters & {
  readonly codec: CodecName;
  readonly jitterMs: number;
  readonly playoutDelayMs: number;
};

export class RtpReceiver {
  readonly #decoders: Decoders;
  readonly #minDelayMs: number;
  readonly #codecs = new Map<number, CodecName>();
  readonly #sources = new Map<CodecName, Source>();
  #active: Source | undefined;

  constructor(decoders: Decoders, minDelayMs = 0) {
    this.#decoders = decoders;
    this.#minDelayMs = minDelayMs;
  }

  /** What each payload type means from now on. */
  setFormats(
    formats: readonly { readonly codec: CodecName; readonly payloadType: number }[],
  ): void {
    this.#codecs.clear();
    for (const { codec, payloadType } of formats) this.#codecs.set(payloadType, codec);
  }

  /** The figures of what is heard now; undefined before the first packet. */
  get figures(): ReceptionFigures | undefined {
    const source = this.#active;
    if (source === undefined) return undefined;
    const { counters, jitterBuffer } = source.playout;
    return {
      ...counters,
      codec: source.codec,
      jitterMs: source.statistics.summary().jitterMs,
      playoutDelayMs: jitterBuffer.playoutDelayMs,
    };
  }

  get statistics(): ReceptionStats | undefined {
    return this.#active?.statistics;
  }

  /** @returns false when the payload type was not agreed */
  push(header: RtpHeader, datagram: Uint8Array, arrivalMs: number): boolean {
    const codec = this.#codecs.get(header.payloadType);
    if (codec === undefined) return false;
    const source = this.#sourceFor(codec);
    if (source !== this.#active) this.#activate(source);
    source.statistics.receive(header, arrivalMs);
    source.playout.push(
      {
        ssrc: header.ssrc,
        sequenceNumber: header.sequenceNumber,
        rtpTimestamp: header.rtpTimestamp,
        payload: datagram,
        start: header.payloadStart,
        end: header.payloadEnd,
      },
      arrivalMs,
    );
    return true;
  }

  /** A packet of the same source without sound (a telephone-event). */
  skip(header: RtpHeader, arrivalMs: number): void {
    this.#active?.statistics.receive(header, arrivalMs);
    this.#active?.playout.jitterBuffer.skip(header);
  }

  /**
   * The next 20 ms.
   *
   * @param nowMs - when the frame is due, on the clock of `arrivalMs`
   * @param out - 960 samples; silence where nothing came
   */
  pull(nowMs: number, out: Int16Array): void {
    const source = this.#active;
    if (source === undefined) {
      out.fill(0, 0, FRAME_SAMPLES);
    } else if (source.resampler === undefined) {
      source.playout.pull(nowMs, out);
    } else {
      source.playout.pull(nowMs, source.frame);
      source.resampler.process(source.frame, out);
    }
  }

  /** The figures stay; `pull` is a bug after this. */
  close(): void {
    for (const decoder of Object.values(this.#decoders)) decoder.close();
  }

  #sourceFor(name: CodecName): Source {
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const codec = AUDIO_CODECS[name];
    const { clockRateHz, sampleRateHz } = codec;
    const source: Source = {
      codec: name,
      playout: new AudioPlayout({
        codec,
        decoder: this.#decoders[name],
        jitter: { minDelayMs: this.#minDelayMs },
      }),
      statistics: new ReceptionStats(clockRateHz),
      resampler:
        sampleRateHz === DEVICE_RATE_HZ ? undefined : new Resampler(sampleRateHz, DEVICE_RATE_HZ),
      frame: new Int16Array((sampleRateHz * FRAME_MS) / 1000),
    };
    this.#sources.set(name, source);
    return source;
  }

  /** The sender has changed its codec. */
  #activate(source: Source): void {
    this.#active?.playout.release();
    source.resampler?.reset();
    this.#active = source;
  }
}
