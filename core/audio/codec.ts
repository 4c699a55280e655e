/** The audio codecs by name: what SDP says of them, and how to make their encoders and decoders. */

import type { CodecName } from './codec-name.ts';
import type { AudioDecoder, AudioEncoder } from './coder.ts';
import { G711Decoder, G711Encoder } from './g711-codec.ts';
import { FecOpusDecoder, NativeOpusDecoder, OpusEncoder, type OpusSettings } from './opus.ts';
import { OPUS_CLOCK_HZ, opusDuration } from './opus-packet.ts';

export type { AudioDecoder, AudioEncoder, EncoderAdjustment } from './coder.ts';

export { CODEC_NAMES, type CodecName } from './codec-name.ts';

export type AudioCodec = {
  readonly name: CodecName;
  /** The static payload type of RFC 3551; undefined when it is dynamic. */
  readonly payloadType: number | undefined;
  /** Of the RTP timestamp, and as written in `a=rtpmap`. */
  readonly clockRateHz: number;
  /** Of the PCM that goes in and comes out. */
  readonly sampleRateHz: number;
  /** The last part of `a=rtpmap` (RFC 7587 wants 2 for Opus, always). */
  readonly channels: 1 | 2;
  /** Length of `payload[start, end)` in units of the RTP clock; 0 when it is malformed. */
  readonly durationOf: (payload: Uint8Array, start: number, end: number) => number;
  createEncoder(settings?: Partial<OpusSettings>): AudioEncoder;
  /** Cheap, at once, and without FEC. */
  createDecoder(): AudioDecoder;
  /** With FEC where the codec has it. */
  createFecDecoder(): Promise<AudioDecoder>;
};

const MAX_G711_BYTES = 960;

function g711(name: 'PCMU' | 'PCMA', payloadType: number): AudioCodec {
  const createDecoder = (): AudioDecoder => new G711Decoder(name);
  return {
    name,
    payloadType,
    clockRateHz: 8000,
    sampleRateHz: 8000,
    channels: 1,
    durationOf: (_payload, start, end) => (end - start > MAX_G711_BYTES ? 0 : end - start),
    createEncoder: () => new G711Encoder(name),
    createDecoder,
    createFecDecoder: () => Promise.resolve(createDecoder()),
  };
}

export const AUDIO_CODECS: Readonly<Record<CodecName, AudioCodec>> = {
  opus: {
    name: 'opus',
    payloadType: undefined,
    clockRateHz: OPUS_CLOCK_HZ,
    sampleRateHz: OPUS_CLOCK_HZ,
    channels: 2,
    durationOf: opusDuration,
    createEncoder: (settings) => new OpusEncoder(settings),
    createDecoder: () => new NativeOpusDecoder(),
    createFecDecoder: () => FecOpusDecoder.create(),
  },
  PCMU: g711('PCMU', 0),
  PCMA: g711('PCMA', 8),
};
