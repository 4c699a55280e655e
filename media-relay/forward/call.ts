/** One call: two legs that forward to each other, and the offers and answers that move them (RFC 3264). */

import { ProtocolError, RefusedError } from '../../core/errors.ts';
import { rewrite } from '../../core/sdp/rewrite.ts';
import { activeAudioIndex } from '../../core/sdp/session-description.ts';
import type {
  MediaDescription,
  Profile,
  SessionDescription,
} from '../../core/sdp/session-description.ts';
import { isUnicast } from '../../core/sdp/address.ts';
import type { Leg, LegRemote } from './leg.ts';
import type { AnswerRequest, CallStatistics, OfferRequest } from '../messages.ts';

/** One party: its leg, and the tags it has gone by; the last one counts. */
export type Side = {
  readonly leg: Leg;
  readonly tags: string[];
};

/** What the answer must fit. */
type OpenOffer = {
  readonly offerer: Side;
  readonly answerer: Side;
  readonly mediaIndex: number;
  readonly profile: Profile;
  readonly isRtcpMux: boolean;
};

/** Two sides, each other's peers. A second answer with another tag, a fork, takes the place of the first. */
export class Conversation {
  readonly sides: readonly [Side, Side];
  #offer: OpenOffer | undefined;

  constructor(offerer: Leg, answerer: Leg) {
    this.sides = [
      { leg: offerer, tags: [] },
      { leg: answerer, tags: [] },
    ];
    forward(offerer, answerer);
    forward(answerer, offerer);
  }

  sideOf(tag: string): Side | undefined {
    return this.sides.find(({ tags }) => tags.includes(tag));
  }

  other(side: Side): Side {
    return this.sides[0] === side ? this.sides[1] : this.sides[0];
  }

  /** Who offers: the side of `fromTag`, else the one opposite `toTag`, else the first (and it takes the tag). */
  offererOf(fromTag: string, toTag: string | undefined): Side {
    const known = this.sideOf(fromTag);
    if (known !== undefined) return known;
    const opposite = toTag === undefined ? undefined : this.sideOf(toTag);
    return opposite === undefined ? this.sides[0] : this.other(opposite);
  }

  /**
   * @returns the offer for the answerer
   * @throws ProtocolError as `rewrite` does; nothing has changed then
   */
  applyOffer(request: OfferRequest, session: SessionDescription): string {
    const offerer = this.offererOf(request.fromTag, request.toTag);
    const answerer = this.other(offerer);
    const { mediaIndex, media } = offeredAudio(session);
    const { leg } = answerer;
    const sdp = rewrite(session, {
      address: leg.address,
      port: leg.port,
      rtcpPort: leg.rtcpPort,
      profile: request.transportProtocol,
      mediaIndex,
      replacesOrigin: request.replacesOrigin,
    });
    addTag(offerer, request.fromTag);
    if (request.toTag !== undefined) addTag(answerer, request.toTag);
    // rtcp-mux is taken up for the offerer and not offered on: whoever answers needs no second negotiation.
    const { isRtcpMux } = media;
    const profile = media.profile as Profile;
    this.#offer = { offerer, answerer, mediaIndex, profile, isRtcpMux };
    offerer.leg.setRemote(this.#remoteOf(offerer, media, isRtcpMux));
    return sdp;
  }

  /**
   * @returns the answer for the offerer, in the profile that was offered
   * @throws RefusedError 481 `relay.offer.unknown`, ProtocolError 488 when the streams are not those of the offer
   */
  applyAnswer(request: AnswerRequest, session: SessionDescription): string {
    const offer = this.#offer;
    const { fromTag, toTag } = request;
    const tags = offer?.offerer.tags ?? [];
    if (offer === undefined || (!tags.includes(fromTag) && !tags.includes(toTag))) {
      throw new RefusedError('relay.offer.unknown', 'no offer with that from-tag', 481);
    }
    const { offerer, answerer, mediaIndex, profile, isRtcpMux } = offer;
    const media = session.media[mediaIndex];
    if (media?.kind !== 'audio') {
      throw new ProtocolError('sdp.answer.mismatch', 'the answer has other streams', 488);
    }
    const sdp = rewrite(session, {
      address: offerer.leg.address,
      port: media.port === 0 ? 0 : offerer.leg.port,
      rtcpPort: offerer.leg.rtcpPort,
      isRtcpMux,
      profile,
      mediaIndex,
      replacesOrigin: request.replacesOrigin,
    });
    addTag(answerer, tags.includes(fromTag) ? toTag : fromTag);
    answerer.leg.setRemote(this.#remoteOf(answerer, media, media.isRtcpMux));
    return sdp;
  }

  #remoteOf(side: Side, media: MediaDescription, isRtcpMux: boolean): LegRemote {
    const { address, port, rtcp } = media;
    const isUsable =
      address !== undefined && isUnicast(address) && !this.#isOurs(side, address, port);
    return {
      address: isUsable ? address : undefined,
      port,
      rtcpPort: isRtcpMux ? port : rtcp.port,
      isRtcpMux,
      isHeld: media.isHeldByAddress || port === 0,
    };
  }

  /** A leg that was told to send to its own call would feed itself. */
  #isOurs(side: Side, address: string, port: number): boolean {
    return [side.leg, this.other(side).leg].some(
      (leg) =>
        (port === leg.port || port === leg.rtcpPort) &&
        (address === leg.address || address === leg.boundAddress || address.startsWith('127.')),
    );
  }
}

function forward(from: Leg, to: Leg): void {
  from.sink = {
    onRtp: (packet) => {
      to.sendRtp(packet);
    },
    onRtcp: (packet) => {
      to.sendRtcp(packet);
    },
  };
}

/** The newest tag goes last; a known one moves there. */
function addTag({ tags }: Side, tag: string): void {
  const at = tags.indexOf(tag);
  if (at >= 0) tags.splice(at, 1);
  tags.push(tag);
}

/** @throws ProtocolError 488 `sdp.audio.missing` */
export function offeredAudio(session: SessionDescription): {
  readonly mediaIndex: number;
  readonly media: MediaDescription;
} {
  const mediaIndex = activeAudioIndex(session);
  const media = mediaIndex === undefined ? undefined : session.media[mediaIndex];
  if (mediaIndex === undefined || media === undefined) {
    throw new ProtocolError('sdp.audio.missing', 'no audio stream over RTP is offered', 488);
  }
  return { mediaIndex, media };
}

/** All conversations of one Call-ID; nearly always one. */
export class Call {
  readonly callId: string;
  readonly conversations: Conversation[] = [];
  readonly createdMs: number;

  constructor(callId: string, createdMs: number) {
    this.callId = callId;
    this.createdMs = createdMs;
  }

  /** The conversation of these tags; with both known, only one that has both or could. */
  find(fromTag: string, toTag: string | undefined): Conversation | undefined {
    const byBoth = this.conversations.find((conversation) => {
      const side = conversation.sideOf(fromTag);
      return (
        side !== undefined && toTag !== undefined && conversation.other(side).tags.includes(toTag)
      );
    });
    if (byBoth !== undefined) return byBoth;
    return this.conversations.findLast(
      (conversation) =>
        conversation.sideOf(fromTag) !== undefined ||
        (toTag !== undefined && conversation.sideOf(toTag) !== undefined),
    );
  }

  statistics(conversations: readonly Conversation[] = this.conversations): CallStatistics {
    return {
      callId: this.callId,
      legs: conversations.flatMap(({ sides }) =>
        sides.map(({ leg, tags }) => leg.statistics(tags.at(-1) ?? '')),
      ),
    };
  }

  /** When the last packet came, or the call was made. */
  get lastActiveMs(): number {
    let last = this.createdMs;
    for (const { sides } of this.conversations) {
      for (const { leg } of sides) last = Math.max(last, leg.lastPacketMs ?? 0);
    }
    return last;
  }
}
