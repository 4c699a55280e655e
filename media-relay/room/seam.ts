/**
 * What passes between a room participant's port (`forward/participant.ts`) and the mixer: packets both ways, as bytes.
 *
 * The port owns sockets, latching, RTCP and the counters of `LegStatistics`; the mixer owns codecs, jitter buffers,
 * the mix and its clock. Time is monotonic milliseconds (`performance.now()` of the worker), never decreasing.
 */

import type { LegStatistics, RoomStatistics } from '../messages.ts';

/** The codecs that a room speaks; the first is what `answerFor` prefers when the offerer leaves the choice to us. */
export const ROOM_CODECS = ['opus', 'PCMU', 'PCMA'] as const;
export type RoomCodec = (typeof ROOM_CODECS)[number];

/** What offer and answer agreed on for one participant (RFC 3264): exactly one audio codec. */
export type ParticipantMedia = {
  readonly codec: RoomCodec;
  /** What to write into packets to them, and what their packets carry; the same unless both sides chose otherwise. */
  readonly sendPayloadType: number;
  readonly receivePayloadType: number;
  /** RTP clock: 8000 for G.711, 48000 for Opus (whatever they really sample at). */
  readonly clockRateHz: number;
  /** Their format parameters, keys in lower case, for example `useinbandfec` -> `1`, `maxaveragebitrate` -> `28000`. */
  readonly formatParameters: ReadonlyMap<string, string>;
  /** Milliseconds of audio per packet that they ask for (`a=ptime`, within `a=maxptime`), 10 to 60; 20 when they say nothing. */
  readonly ptimeMs: number;
  /** RFC 4733; the clock may differ from the codec's. */
  readonly telephoneEvent:
    | {
        readonly sendPayloadType: number;
        readonly receivePayloadType: number;
        readonly clockRateHz: number;
      }
    | undefined;
  /** Payload type of RFC 3389 comfort noise (8000 Hz), when they offered it. */
  readonly comfortNoisePayloadType: number | undefined;
  /** Whether they may be heard, and whether they want to hear (on hold: neither or one). */
  readonly canTalk: boolean;
  readonly canHear: boolean;
};

/** The mixer's counters of one participant; the rest of its line in `RoomStatistics` comes from the port. */
export type MixerStatistics = Omit<
  RoomStatistics['participants'][number],
  keyof LegStatistics | 'callId'
>;

/** Given by the port to the mixer. */
export type ParticipantPort = {
  readonly callId: string;
  readonly fromTag: string;
  /**
   * Sends one whole RTP packet: the first `length` bytes of `packet`. The bytes are gone when this returns, so the
   * buffer may be reused. Never throws; without a known destination the packet is dropped.
   */
  send(packet: Uint8Array, length: number): void;
};

/** Given by the mixer to the port. None of these throws, whatever the bytes are. */
export type Participant = {
  /**
   * One datagram that came from the latched source and looks like RTP version 2 of 12 bytes or more: any payload
   * type, sequence or SSRC. `packet` is the mixer's only until this returns: copy what is to be kept.
   */
  onRtp(packet: Buffer, arrivalMs: number): void;
  /** A re-offer or a re-answer: codec, payload types or direction changed. SSRC, sequence and timestamp go on. */
  update(media: ParticipantMedia): void;
  setMuted(isMuted: boolean): void;
  statistics(): MixerStatistics;
  leave(): void;
};

/** What the mixer tells; the worker adds what it knows and passes it on as `RelayEvent`. */
export type MixerListener = {
  /** Loudest first, call-ids; at most once every 300 ms for each room. */
  onTalkers(room: string, callIds: readonly string[]): void;
  /** A telephone-event of a participant has ended; once for each event. */
  onDigit(room: string, callId: string, fromTag: string, digit: string): void;
};

/**
 * All rooms of one worker. A room comes into being with its first participant and is gone with its last.
 * The mixer runs its own 20 ms clock from the first `join` until the last `leave`, and not a timer otherwise.
 */
export type RoomMixer = {
  /** @throws ResourceError `room.full` or `room.too-many` when the mixer's limits are reached */
  join(room: string, port: ParticipantPort, media: ParticipantMedia): Participant;
  readonly roomCount: number;
  readonly participantCount: number;
  /** Stops the clock and forgets every room. */
  close(): void;
};

/** `media-relay/room/mixer.ts` exports `createRoomMixer` of this type. */
export type CreateRoomMixer = (options: {
  readonly listener: MixerListener;
  /** Monotonic milliseconds, with fractions. */
  readonly now: () => number;
}) => RoomMixer;
