/** One participant of a room: takes in packets without decoding them, and knows what goes out. */

import { AUDIO_CODECS } from '../../core/audio/codec.ts';
import { SILENCE_DBOV } from '../../core/audio/level.ts';
import { PacketActivity } from '../../core/audio/packet-activity.ts';
import { JitterBuffer, type IncomingPacket } from '../../core/rtp/jitter-buffer.ts';
import { RtpHeader } from '../../core/rtp/packet.ts';
import { TelephoneEventReceiver, type ReceivedEvent } from '../../core/rtp/telephone-event.ts';
import type { PrivateG711Stream } from './g711-output.ts';
import type { PrivateOpusStream } from './opus-output.ts';
import { OutgoingStream } from './outgoing-stream.ts';
import type { MixerStatistics, Participant, ParticipantMedia, ParticipantPort } from './seam.ts';
import type { Candidate } from './talker-selection.ts';
import type { Voice } from './voice.ts';

/** Weight of the newest packet in the smoothed level. */
const LEVEL_WEIGHT = 0.3;
/** Comfort noise of RFC 3389, whoever negotiated it. */
const STATIC_COMFORT_NOISE = 13;

/** What a participant tells his room. */
export type ParticipantOwner = {
  onSpeech(participant: RoomParticipant): void;
  /** Nobody can tell whether he speaks without decoding. */
  onDoubt(participant: RoomParticipant): void;
  onEvents(participant: RoomParticipant, events: readonly ReceivedEvent[]): void;
  onUpdate(participant: RoomParticipant, before: ParticipantMedia): void;
  onMuted(participant: RoomParticipant): void;
  onLeave(participant: RoomParticipant): void;
};

/** Shared by all participants of a thread: packets are taken in one at a time. */
const header = new RtpHeader();
const incoming: { -readonly [Field in keyof IncomingPacket]-?: IncomingPacket[Field] } = {
  ssrc: 0,
  sequenceNumber: 0,
  rtpTimestamp: 0,
  payload: new Uint8Array(0),
  start: 0,
  end: 0,
};

export class RoomParticipant implements Participant, Candidate {
  readonly port: ParticipantPort;
  readonly stream: OutgoingStream;
  readonly #owner: ParticipantOwner;
  media: ParticipantMedia;
  jitterBuffer: JitterBuffer;
  activity: PacketActivity;
  #events: TelephoneEventReceiver | undefined;
  #hasLeft = false;
  #countersBefore = { latePackets: 0, lostPackets: 0 };

  isMuted = false;
  levelDbov = SILENCE_DBOV;
  lastSpeechMs = -Infinity;
  /** While he talks, and for the frame in which he fades out. */
  voice: Voice | undefined;
  privateOpus: PrivateOpusStream | undefined;
  privateG711: PrivateG711Stream | undefined;
  /** Waits to be decoded on probation. */
  isDoubted = false;
  /** His place in the room's list. */
  index = -1;

  constructor(port: ParticipantPort, media: ParticipantMedia, owner: ParticipantOwner) {
    this.port = port;
    this.#owner = owner;
    this.media = media;
    this.stream = new OutgoingStream(port);
    this.stream.configure(media);
    this.jitterBuffer = newJitterBuffer(media);
    this.activity = new PacketActivity(media.codec);
  }

  get canBeHeard(): boolean {
    return this.media.canTalk && !this.isMuted;
  }

  onRtp(packet: Buffer, arrivalMs: number): void {
    if (this.#hasLeft || !header.read(packet)) return;
    const { payloadType } = header;
    if (payloadType === this.media.receivePayloadType) this.#onAudio(packet, arrivalMs);
    else if (payloadType === this.media.telephoneEvent?.receivePayloadType) {
      this.#onEvent(packet.subarray(header.payloadStart, header.payloadEnd), arrivalMs);
    } else if (
      payloadType === STATIC_COMFORT_NOISE ||
      payloadType === this.media.comfortNoisePayloadType
    ) {
      this.jitterBuffer.skip(header);
    }
  }

  update(media: ParticipantMedia): void {
    if (this.#hasLeft) return;
    const before = this.media;
    this.media = media;
    this.stream.configure(media);
    if (media.codec !== before.codec) {
      const { latePackets, lostPackets } = this.jitterBuffer.counters;
      this.#countersBefore.latePackets += latePackets;
      this.#countersBefore.lostPackets += lostPackets;
      this.jitterBuffer = newJitterBuffer(media);
      this.activity = new PacketActivity(media.codec);
    }
    if (media.telephoneEvent?.clockRateHz !== before.telephoneEvent?.clockRateHz) {
      this.#events = undefined;
    }
    this.#owner.onUpdate(this, before);
  }

  setMuted(isMuted: boolean): void {
    if (this.#hasLeft || isMuted === this.isMuted) return;
    this.isMuted = isMuted;
    this.#owner.onMuted(this);
  }

  statistics(): MixerStatistics {
    const { latePackets, lostPackets } = this.jitterBuffer.counters;
    const { playoutDelayMs, targetDelayMs } = this.jitterBuffer;
    return {
      codec: this.media.codec,
      isMuted: this.isMuted,
      isTalking: this.voice !== undefined,
      levelDbov: Math.round(this.levelDbov),
      latePackets: this.#countersBefore.latePackets + latePackets,
      lostPackets: this.#countersBefore.lostPackets + lostPackets,
      playoutDelayMs: Math.round(playoutDelayMs === 0 ? targetDelayMs : playoutDelayMs),
    };
  }

  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#owner.onLeave(this);
  }

  /** The true level of what he sends, from whoever decoded it. */
  noteLevel(levelDbov: number): void {
    this.levelDbov += (levelDbov - this.levelDbov) * LEVEL_WEIGHT;
  }

  /** Ends an event whose last packets were lost. */
  pollEvents(nowMs: number): void {
    const ended = this.#events?.poll(nowMs);
    if (ended !== undefined) this.#owner.onEvents(this, [ended]);
  }

  #onAudio(packet: Buffer, arrivalMs: number): void {
    if (!this.media.canTalk) return;
    const { activity } = this;
    activity.observe(packet, header.payloadStart, header.payloadEnd);
    incoming.ssrc = header.ssrc;
    incoming.sequenceNumber = header.sequenceNumber;
    incoming.rtpTimestamp = header.rtpTimestamp;
    incoming.payload = packet;
    incoming.start = header.payloadStart;
    incoming.end = header.payloadEnd;
    const result = this.jitterBuffer.push(incoming, arrivalMs, !activity.isSpeech);
    if (result !== 'queued') return;
    if (this.voice === undefined) this.noteLevel(activity.levelDbov);
    if (activity.isSpeech) {
      this.lastSpeechMs = arrivalMs;
      if (!this.isMuted) this.#owner.onSpeech(this);
    } else if (activity.wantsDecoding !== 'no' && this.voice === undefined && !this.isMuted) {
      this.#owner.onDoubt(this);
    }
  }

  #onEvent(payload: Uint8Array, arrivalMs: number): void {
    this.jitterBuffer.skip(header);
    const clockRateHz = this.media.telephoneEvent?.clockRateHz;
    if (clockRateHz === undefined) return;
    this.#events ??= new TelephoneEventReceiver(clockRateHz);
    const told = this.#events.push(payload, header.rtpTimestamp, arrivalMs);
    if (told.length > 0) this.#owner.onEvents(this, told);
  }
}

function newJitterBuffer(media: ParticipantMedia): JitterBuffer {
  const { clockRateHz, durationOf } = AUDIO_CODECS[media.codec];
  return new JitterBuffer({ clockRateHz, durationOf });
}
