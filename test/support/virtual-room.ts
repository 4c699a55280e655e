/** Rooms in virtual time: members who speak and listen over networks of any kind, without sockets or clocks. */

import { AUDIO_CODECS, type AudioEncoder, type CodecName } from '../../core/audio/codec.ts';
import { Resampler } from '../../core/audio/resample.ts';
import type { Sound } from '../../core/audio/score.ts';
import {
  RtpHeader,
  composeRtpPacket,
  parseRtpPacket,
  type RtpPacket,
} from '../../core/rtp/packet.ts';
import { Mixer, type MixerOptions } from '../../media-relay/room/mixer.ts';
import type { Participant, ParticipantMedia } from '../../media-relay/room/seam.ts';

const FRAME_MS = 20;

export type ReceivedPacket = RtpPacket & { readonly atMs: number };

export type MemberOptions = {
  readonly codec: CodecName;
  /** What they say, at the codec's sample rate; silence before and after. None: they send no packets at all. */
  readonly says?: Int16Array;
  /** When they say it, in milliseconds from their joining. */
  readonly saysAtMs?: number;
  /** Where in the 20 ms their packets leave. */
  readonly phaseMs?: number;
  /** Of the network, for each packet. */
  readonly delayMs?: (index: number) => number;
  readonly isLost?: (index: number) => boolean;
  /** How much slower their clock runs. */
  readonly driftPpm?: number;
  readonly opus?: Parameters<(typeof AUDIO_CODECS)['opus']['createEncoder']>[0];
  readonly media?: Partial<ParticipantMedia>;
  readonly room?: string;
};

export type Told =
  | { readonly kind: 'talkers'; readonly atMs: number; readonly callIds: readonly string[] }
  | {
      readonly kind: 'digit';
      readonly atMs: number;
      readonly callId: string;
      readonly digit: string;
    };

export class VirtualRooms {
  readonly mixer: Mixer;
  readonly told: Told[] = [];
  nowMs = 1000;
  #events: { readonly atMs: number; readonly callback: () => void }[] = [];

  constructor(options: Pick<MixerOptions, 'talkers' | 'maxParticipants' | 'maxRooms'> = {}) {
    this.mixer = new Mixer({
      ...options,
      now: () => this.nowMs,
      sleep: { after: (delayMs, callback) => this.after(delayMs, callback) },
      listener: {
        onTalkers: (_room, callIds) => {
          this.told.push({ kind: 'talkers', atMs: this.nowMs, callIds });
        },
        onDigit: (_room, callId, _fromTag, digit) => {
          this.told.push({ kind: 'digit', atMs: this.nowMs, callId, digit });
        },
      },
    });
  }

  after(delayMs: number, callback: () => void): () => void {
    const event = { atMs: this.nowMs + delayMs, callback };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle]?.atMs ?? 0) <= event.atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
    return () => {
      const index = this.#events.indexOf(event);
      if (index >= 0) this.#events.splice(index, 1);
    };
  }

  /** Whether nothing is scheduled any more: no timer left. */
  get isIdle(): boolean {
    return this.#events.length === 0;
  }

  join(callId: string, options: MemberOptions): Member {
    return new Member(this, callId, options);
  }

  run(milliseconds: number): void {
    const endMs = this.nowMs + milliseconds;
    for (;;) {
      const next = this.#events[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#events.shift();
      this.nowMs = next.atMs;
      next.callback();
    }
    this.nowMs = endMs;
  }
}

export function mediaOf(
  codec: CodecName,
  changes: Partial<ParticipantMedia> = {},
): ParticipantMedia {
  const { payloadType, clockRateHz } = AUDIO_CODECS[codec];
  return {
    codec,
    sendPayloadType: payloadType ?? 96,
    receivePayloadType: payloadType ?? 96,
    clockRateHz,
    formatParameters: new Map(),
    ptimeMs: FRAME_MS,
    telephoneEvent: undefined,
    comfortNoisePayloadType: undefined,
    canTalk: true,
    canHear: true,
    ...changes,
  };
}

export class Member {
  readonly callId: string;
  readonly participant: Participant;
  readonly received: ReceivedPacket[] = [];
  ssrc: number;
  readonly #rooms: VirtualRooms;
  readonly #options: MemberOptions;
  readonly #media: ParticipantMedia;
  readonly #encoder: AudioEncoder;
  readonly #frame: Int16Array;
  readonly #startMs: number;
  #index = 0;
  #sequence = 65500;
  #isSending: boolean;
  #hasLeft = false;
  /** Added to the timestamps from now on, as a sender that restarts its clock does. */
  timestampOffset = 0;

  constructor(rooms: VirtualRooms, callId: string, options: MemberOptions) {
    this.#rooms = rooms;
    this.#options = options;
    this.callId = callId;
    const { codec } = options;
    this.#media = mediaOf(codec, options.media);
    this.ssrc = Buffer.from(callId.padEnd(4, '.')).readUInt32BE(0);
    this.#encoder = AUDIO_CODECS[codec].createEncoder(options.opus);
    this.#frame = new Int16Array((AUDIO_CODECS[codec].sampleRateHz * FRAME_MS) / 1000);
    this.#startMs = rooms.nowMs + (options.phaseMs ?? 0);
    this.#isSending = options.says !== undefined;
    const header = new RtpHeader();
    this.participant = rooms.mixer.join(
      options.room ?? 'lobby',
      {
        callId,
        fromTag: `${callId}-tag`,
        send: (packet, length) => {
          if (!header.read(packet, length)) throw new Error('the mixer sent no RTP');
          const parsed = parseRtpPacket(Uint8Array.from(packet.subarray(0, length)));
          if (parsed !== undefined) this.received.push({ ...parsed, atMs: rooms.nowMs });
        },
      },
      this.#media,
    );
    if (this.#isSending) this.#schedule();
  }

  leave(): void {
    this.#hasLeft = true;
    this.#isSending = false;
    this.participant.leave();
  }

  /** Sends nothing from now on, or begins again. */
  setSending(isSending: boolean): void {
    this.#isSending = isSending;
  }

  /** One packet of any kind, at once. */
  sendRaw(packet: RtpPacket): void {
    this.participant.onRtp(Buffer.from(composeRtpPacket(packet)), this.#rooms.nowMs);
  }

  /** Numbers for the next packet of their stream, at this moment of it. */
  takeNumbers(): { readonly sequenceNumber: number; readonly rtpTimestamp: number } {
    const units = (this.#media.clockRateHz * FRAME_MS) / 1000;
    const sequenceNumber = this.#sequence;
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const rtpTimestamp = (4294900000 + this.#index * units + this.timestampOffset) % 4294967296;
    return { sequenceNumber, rtpTimestamp };
  }

  /** What they heard, decoded packet by packet; `fromMs` and `toMs` are virtual time. */
  heard(fromMs = 0, toMs = Infinity): Int16Array {
    const { codec } = this.#options;
    const decoder = AUDIO_CODECS[codec].createDecoder();
    const out = new Int16Array((AUDIO_CODECS[codec].sampleRateHz * 120) / 1000);
    const pieces: Int16Array[] = [];
    for (const packet of this.received) {
      if (packet.payloadType !== this.#media.sendPayloadType) continue;
      const samples = decoder.decode(packet.payload, out);
      if (packet.atMs >= fromMs && packet.atMs < toMs) pieces.push(out.slice(0, samples));
    }
    decoder.close();
    return concatenated(pieces);
  }

  /** The same as sound at 8 kHz or more, for a score. */
  heardSound(fromMs = 0, toMs = Infinity): Sound {
    const { sampleRateHz } = AUDIO_CODECS[this.#options.codec];
    return soundOf(this.heard(fromMs, toMs), sampleRateHz);
  }

  #schedule(): void {
    const drift = 1 + (this.#options.driftPpm ?? 0) / 1e6;
    const sentMs = this.#startMs + (this.#index + 1) * FRAME_MS * drift;
    this.#rooms.after(Math.max(0, sentMs - this.#rooms.nowMs), () => {
      if (this.#hasLeft) return;
      if (this.#isSending) this.#send();
      this.#index += 1;
      this.#schedule();
    });
  }

  #send(): void {
    const frame = this.#encodeFrame(this.#index);
    const numbers = this.takeNumbers();
    if (this.#options.isLost?.(this.#index) ?? false) return;
    this.#rooms.after(this.#options.delayMs?.(this.#index) ?? 0, () => {
      this.#arrive(frame, numbers);
    });
  }

  #arrive(
    payload: Uint8Array,
    numbers: { readonly sequenceNumber: number; readonly rtpTimestamp: number },
  ): void {
    const { receivePayloadType: payloadType } = this.#media;
    this.sendRaw({ ...numbers, payloadType, marker: false, ssrc: this.ssrc, payload });
  }

  #encodeFrame(index: number): Uint8Array {
    const { says, saysAtMs = 0, codec } = this.#options;
    const { sampleRateHz } = AUDIO_CODECS[codec];
    const offset = index * this.#frame.length - Math.round((saysAtMs * sampleRateHz) / 1000);
    for (let at = 0; at < this.#frame.length; at++) this.#frame[at] = says?.[offset + at] ?? 0;
    return Uint8Array.from(this.#encoder.encode(this.#frame));
  }
}

export function concatenated(pieces: readonly Int16Array[]): Int16Array {
  const all = new Int16Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

export function soundOf(pcm: Int16Array, sampleRateHz: number): Sound {
  return { samples: Float32Array.from(pcm, (sample) => sample / 32768), sampleRateHz };
}

/** A sound as PCM at the rate of a codec. */
export function pcmOf(sound: Sound, sampleRateHz: number): Int16Array {
  const pcm = Int16Array.from(sound.samples, (sample) => Math.round(sample * 32767));
  if (sampleRateHz === sound.sampleRateHz) return pcm;
  const resampler = new Resampler(sound.sampleRateHz, sampleRateHz);
  const out = new Int16Array(resampler.outputLength(pcm.length));
  return out.slice(0, resampler.process(pcm, out));
}
