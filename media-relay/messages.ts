/** What goes to the relay and what comes back, typed: the ng control protocol and our extension of it. */

/** SDP comes back with the relay's own addresses and ports in it. */
export type SdpReply = { readonly sdp: string };

/** A leg of a call, by the tags of its dialog; the same offer repeated is a re-offer and keeps the ports. */
export type OfferRequest = {
  readonly callId: string;
  readonly fromTag: string;
  /** Given for a re-offer inside a call that is up. */
  readonly toTag?: string | undefined;
  readonly sdp: string;
  /** What the receiver of the offer gets; left alone when absent. The relay does not encrypt nor decrypt: AVP <-> AVPF only. */
  readonly transportProtocol?: 'RTP/AVP' | 'RTP/AVPF' | 'RTP/SAVP' | 'RTP/SAVPF' | undefined;
  /** Where the request came from, and where the offer is going: numeric addresses, to choose the relay's own by. */
  readonly receivedFrom?: string | undefined;
  readonly towards?: string | undefined;
  /** The family of the receiver, when `towards` is not known; the offerer's when absent. */
  readonly ipVersion?: 4 | 6 | undefined;
  /** Whether the address in `o=` is replaced as well; yes when absent. */
  readonly replacesOrigin?: boolean | undefined;
};

export type AnswerRequest = {
  readonly callId: string;
  readonly fromTag: string;
  readonly toTag: string;
  readonly sdp: string;
  /** Has no effect: the offerer gets the profile that it offered. */
  readonly transportProtocol?: OfferRequest['transportProtocol'];
  readonly replacesOrigin?: boolean | undefined;
};

export type RoomJoinRequest = {
  readonly room: string;
  /** Names the participant together with `fromTag`; joining again with both the same is a re-offer. */
  readonly callId: string;
  readonly fromTag: string;
  /** Their offer. Absent: the reply is our offer, to be completed by `roomAnswer` (INVITE without SDP). */
  readonly sdp?: string | undefined;
  /** Where the packets will go, to choose the relay's own address by; from `sdp` when absent. */
  readonly towards?: string | undefined;
};

export type ParticipantKey = { readonly callId: string; readonly fromTag: string };

/** Counters of one leg; `received` and `sent` are RTP packets, RTCP apart. */
export type LegStatistics = {
  readonly fromTag: string;
  readonly localPort: number;
  /** What SDP promised, and where packets really come from once latched. */
  readonly promised: string | undefined;
  readonly latched: string | undefined;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly receivedRtcpPackets: number;
  readonly sentRtcpPackets: number;
  /** Dropped: not RTP, or from an address that is not the latched one. */
  readonly droppedMalformed: number;
  readonly droppedStranger: number;
  /** Dropped: more in one second than anybody sends. */
  readonly droppedExcess?: number;
  /** Milliseconds since the last RTP or RTCP packet came in; undefined when none ever came. */
  readonly silentMs: number | undefined;
};

export type CallStatistics = { readonly callId: string; readonly legs: readonly LegStatistics[] };

export type RoomStatistics = {
  readonly room: string;
  readonly participants: readonly (LegStatistics & {
    readonly callId: string;
    readonly codec: string;
    readonly isMuted: boolean;
    readonly isTalking: boolean;
    /** Level of what they send, 0 (loudest) to -127 dBov. */
    readonly levelDbov: number;
    readonly latePackets: number;
    readonly lostPackets: number;
    readonly playoutDelayMs: number;
  })[];
};

/** For leak checks and overload decisions. */
export type RelayStatistics = {
  readonly calls: number;
  readonly rooms: number;
  readonly participants: number;
  readonly portsInUse: number;
  readonly portsTotal: number;
};

/** What the relay tells unasked (MessageChannel only). */
export type RelayEvent =
  /** The talkers of a room changed; loudest first, at most one event every 300 ms per room. */
  | { readonly kind: 'talkers'; readonly room: string; readonly callIds: readonly string[] }
  /** A telephone-event ended (RFC 4733); `digit` is one of 0-9 * # A-D. */
  | {
      readonly kind: 'dtmf';
      readonly callId: string;
      readonly fromTag: string;
      readonly room: string | undefined;
      readonly digit: string;
    }
  /** The relay's worker died; every call and room in it is gone. */
  | { readonly kind: 'lost'; readonly reason: string };

/** Every method rejects with `ControlError` (`relay.closed`, `relay.timeout`) or `RefusedError`/`ResourceError` with its code. */
export type MediaRelay = {
  /** Where the relay itself listens for ng over UDP, when it was asked to. */
  readonly ngEndpoint?: { readonly host: string; readonly port: number } | undefined;
  ping(): Promise<void>;
  offer(request: OfferRequest): Promise<SdpReply>;
  answer(request: AnswerRequest): Promise<SdpReply>;
  /** Ends a call (or one leg of it). Deleting what does not exist is no error: it answers `undefined`. */
  delete(request: {
    readonly callId: string;
    readonly fromTag?: string | undefined;
    readonly toTag?: string | undefined;
  }): Promise<CallStatistics | undefined>;
  query(callId: string): Promise<CallStatistics | undefined>;
  list(): Promise<readonly string[]>;
  statistics(): Promise<RelayStatistics>;
  roomJoin(request: RoomJoinRequest): Promise<SdpReply>;
  /** Completes a `roomJoin` without SDP. */
  roomAnswer(
    request: ParticipantKey & { readonly room: string; readonly sdp: string },
  ): Promise<void>;
  roomLeave(request: ParticipantKey & { readonly room: string }): Promise<void>;
  roomMute(
    request: ParticipantKey & { readonly room: string; readonly isMuted: boolean },
  ): Promise<void>;
  roomQuery(room: string): Promise<RoomStatistics | undefined>;
  onEvent(listener: (event: RelayEvent) => void): () => void;
  /** Frees every port and stops the worker, if there is one. */
  close(): Promise<void>;
};
