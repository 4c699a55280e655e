/** The sending half of a call: frames from the microphone to RTP packets, with keys in between. */

import { AUDIO_CODECS } from '../../core/audio/codec.ts';
import type { AudioEncoder, CodecName, EncoderAdjustment } from '../../core/audio/codec.ts';
import { Resampler } from '../../core/audio/resample.ts';
import { RTP_HEADER_BYTES, RtpHeader } from '../../core/rtp/packet.ts';
import { advanceSequence, advanceTimestamp } from '../../core/rtp/sequence.ts';
import { TelephoneEventSender, eventOf } from '../../core/rtp/telephone-event.ts';
import { DEVICE_RATE_HZ, FRAME_MS, FRAME_SAMPLES } from './device.ts';

/** How to send, as agreed by offer and answer. */
export type SendingFormat = {
  readonly codec: CodecName;
  readonly payloadType: number;
  readonly telephoneEvent:
    { readonly payloadType: number; readonly clockRateHz: number } | undefined;
};

/** Encoder settings that outlive a change of codec. */
export type EncoderSettings = Required<
  Pick<EncoderAdjustment, 'bitrate' | 'fec' | 'expectedLossPercent'>
>;

export type SenderCounters = {
  readonly packets: number;
  /** Of payload. */
  readonly octets: number;
};

/** A short word of speech is better late by nothing than clear by FEC; but SILK is what phones expect of a call. */
const OPUS_APPLICATION = 'voip';

export class RtpSender {
  readonly #random: () => number;
  readonly #header = new RtpHeader();
  #format: SendingFormat | undefined;
  #settings: EncoderSettings;
  #encoder: AudioEncoder | undefined;
  #resampler: Resampler | undefined;
  #pcm = new Int16Array(FRAME_SAMPLES);
  #clockRateHz = DEVICE_RATE_HZ;
  #keys: TelephoneEventSender | undefined;
  /** Whether the next packet begins a talkspurt (RFC 3551 §4.1). */
  #isFirst = true;
  #packets = 0;
  #octets = 0;

  /** @param random - uniform in [0, 1) */
  constructor(settings: EncoderSettings, random: () => number) {
    this.#settings = settings;
    this.#random = random;
    this.#beginSource();
  }

  get ssrc(): number {
    return this.#header.ssrc;
  }

  /** The RTP timestamp of the next frame. */
  get rtpTimestamp(): number {
    return this.#header.rtpTimestamp;
  }

  get counters(): SenderCounters {
    return { packets: this.#packets, octets: this.#octets };
  }

  get format(): SendingFormat | undefined {
    return this.#format;
  }

  get settings(): EncoderSettings {
    return this.#settings;
  }

  /** Changes the codec between two frames. A codec with another clock begins a new source (RFC 7160 §4.1). */
  setFormat(format: SendingFormat): void {
    const previous = this.#format;
    this.#format = format;
    if (previous?.codec !== format.codec) this.#changeCodec(format.codec, previous !== undefined);
    const clockRateHz = format.telephoneEvent?.clockRateHz;
    if (previous?.telephoneEvent?.clockRateHz === clockRateHz) return;
    this.#keys = clockRateHz === undefined ? undefined : new TelephoneEventSender(clockRateHz);
  }

  #changeCodec(name: CodecName, isSending: boolean): void {
    const codec = AUDIO_CODECS[name];
    const { sampleRateHz, clockRateHz } = codec;
    this.#encoder?.close();
    this.#encoder = codec.createEncoder({ ...this.#settings, application: OPUS_APPLICATION });
    const isSameRate = sampleRateHz === DEVICE_RATE_HZ;
    this.#resampler = isSameRate ? undefined : new Resampler(DEVICE_RATE_HZ, sampleRateHz);
    this.#pcm = new Int16Array((sampleRateHz * FRAME_MS) / 1000);
    if (isSending && this.#clockRateHz !== clockRateHz) this.#beginSource();
    this.#clockRateHz = clockRateHz;
  }

  adjust(settings: Partial<EncoderSettings>): void {
    this.#settings = { ...this.#settings, ...settings };
    this.#encoder?.configure(this.#settings);
  }

  /**
   * Sends keys one after the other, in the sound's place.
   *
   * @returns false when the other side has not agreed to telephone-events, or one is no key
   */
  sendDigits(digits: string): boolean {
    const events = Array.from(digits, (digit) => eventOf(digit));
    const keys = this.#keys;
    if (keys === undefined || events.length === 0) return false;
    if (!events.every((event) => event !== undefined)) return false;
    for (const event of events) keys.enqueue(event);
    return true;
  }

  /**
   * The packet for this frame.
   *
   * @param pcm - 960 samples at 48 kHz
   * @returns undefined before a format is set
   */
  packetFor(pcm: Int16Array, nowMs: number): Buffer | undefined {
    const format = this.#format;
    const encoder = this.#encoder;
    if (format === undefined || encoder === undefined) return undefined;
    const key = this.#keys?.next(this.#header.rtpTimestamp, nowMs, FRAME_MS);
    const packet =
      key === undefined || format.telephoneEvent === undefined
        ? this.#write(encoder.encode(this.#resampled(pcm)), format.payloadType, this.#isFirst)
        : this.#write(key.payload, format.telephoneEvent.payloadType, key.marker, key.rtpTimestamp);
    this.#isFirst = key !== undefined;
    this.#advance();
    return packet;
  }

  #write(
    payload: Uint8Array,
    payloadType: number,
    marker: boolean,
    rtpTimestamp = this.#header.rtpTimestamp,
  ): Buffer {
    const header = this.#header;
    const frameTimestamp = header.rtpTimestamp;
    const packet = Buffer.allocUnsafe(RTP_HEADER_BYTES + payload.length);
    header.payloadType = payloadType;
    header.marker = marker;
    header.rtpTimestamp = rtpTimestamp;
    header.write(packet);
    packet.set(payload, RTP_HEADER_BYTES);
    header.sequenceNumber = advanceSequence(header.sequenceNumber);
    header.rtpTimestamp = frameTimestamp;
    this.#packets += 1;
    this.#octets += payload.length;
    return packet;
  }

  /** A frame passes in which nothing is sent (on hold). */
  pause(): void {
    this.#advance();
    this.#isFirst = true;
  }

  close(): void {
    this.#encoder?.close();
    this.#encoder = undefined;
  }

  #advance(): void {
    const header = this.#header;
    const samples = (this.#clockRateHz * FRAME_MS) / 1000;
    header.rtpTimestamp = advanceTimestamp(header.rtpTimestamp, samples);
  }

  #resampled(pcm: Int16Array): Int16Array {
    if (this.#resampler === undefined) return pcm;
    this.#resampler.process(pcm, this.#pcm);
    return this.#pcm;
  }

  /** Random values, so that the stream cannot be guessed (RFC 3550 §5.1). */
  #beginSource(): void {
    const header = this.#header;
    header.ssrc = Math.floor(this.#random() * 2 ** 32);
    header.sequenceNumber = Math.floor(this.#random() * 2 ** 15);
    header.rtpTimestamp = Math.floor(this.#random() * 2 ** 32);
    this.#isFirst = true;
  }
}
