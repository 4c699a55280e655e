/** Offers and answers inside a call that is up: re-INVITE and UPDATE pass from one side to the other, one at a time. */
import { ProtocolError } from '../../../core/errors.ts';
import type { Log } from '../../../core/log.ts';
import type { SipHeaders, SipMessage, SipRequest, SipResponse } from '../srf.ts';
import { headerOf, responseHeaders } from './headers.ts';
import { ALLOW, sdpType } from './leg.ts';
import type { Leg, LegAnswer } from './leg.ts';
import { otherSide } from './media.ts';
import type { CallMedia, Side } from './media.ts';
import { refusalOf } from './refusal.ts';
import { respond } from './transactions.ts';
import type { Acknowledge } from './transactions.ts';

/** What a phone says that named UPDATE in Allow and does not know it. */
const NOT_ALLOWED: ReadonlySet<number> = new Set([405, 501]);

export type ExchangeOptions = {
  /** The call's session in the relay. */
  readonly media: () => CallMedia;
  readonly domain: string;
  readonly log: Log;
  /** 0 to 1, for the spread of Retry-After. */
  readonly random: () => number;
  readonly legOf: (side: Side) => Leg | undefined;
  /** The call is answered: re-INVITE is allowed (RFC 3261 section 14.1), and a side that is gone ends the call. */
  readonly isUp: () => boolean;
  /** The other end of this leg is no more. */
  readonly vanished: (leg: Leg) => void;
  /** No agreement was reached on a session that is already up: the call cannot go on. */
  readonly broken: (cause: number, text: string) => void;
};

/** A 2xx with an offer has gone to `answerer`; the answer comes in the ACK and belongs to who made the offer. */
type AwaitedAnswer = { readonly answerer: Side; readonly acknowledge: Acknowledge };

/** Who asks for a change: one side of the call, or somebody who takes its place. */
export type Asker = {
  readonly side: Side;
  /** For our answer to him. */
  readonly headers: SipHeaders;
  /** For the request to the other side, when it is somebody new. */
  readonly identity?: SipHeaders;
  readonly accepted?: (sent: SipMessage) => void;
};

type Asked = {
  readonly asker: Asker;
  readonly peer: Leg;
  readonly response: SipResponse;
  /** What the side of the asker had said before. */
  readonly before: string | undefined;
};

export class Exchange {
  readonly #options: ExchangeOptions;
  /** The exchange that goes on now, by who began it; each has its own object. */
  #current: { readonly offerer: Side } | undefined;
  #awaited: AwaitedAnswer | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  /**
   * A re-INVITE or UPDATE from `leg`. While another exchange goes on it is refused: 491 when the other side is asking,
   * 500 with Retry-After when the same side is (RFC 3261 section 14.2, RFC 3311 section 5.2).
   */
  handle(leg: Leg, request: SipRequest, response: SipResponse): void {
    const headers = contactOf(leg);
    const hasOffer = request.body !== undefined && request.body !== '';
    if (request.method === 'UPDATE' && !hasOffer) respond(response, { status: 200, headers });
    else this.#begin({ side: leg.side, headers }, request, response);
  }

  /**
   * An INVITE of somebody who takes the place of one side (RFC 3891): the other side gets a re-INVITE with his offer.
   *
   * @param joiner - `accepted` is told when his 200 has gone out
   */
  join(joiner: Required<Asker>, request: SipRequest, response: SipResponse): void {
    this.#begin(joiner, request, response);
  }

  #begin(asker: Asker, request: SipRequest, response: SipResponse): void {
    const type = headerOf(request, 'Content-Type') ?? 'application/sdp';
    if ((request.body ?? '') !== '' && !isSdp(type)) {
      respond(response, { status: 415, headers: { Accept: 'application/sdp' } });
      return;
    }
    if (this.#current !== undefined) {
      const seconds = Math.floor(this.#options.random() * 10);
      const isSameSide = this.#current.offerer === asker.side;
      respond(response, {
        status: isSameSide ? 500 : 491,
        headers: isSameSide ? { 'Retry-After': String(seconds) } : {},
      });
      return;
    }
    const current = { offerer: asker.side };
    this.#current = current;
    void this.#passOn(asker, request, response).finally(() => {
      if (this.#current === current) this.#finish();
    });
  }

  /** A 2xx with the other side's offer goes to `answerer`; whoever sends it calls this first. */
  awaitAnswer(answerer: Side, acknowledge: Acknowledge): void {
    this.#current = { offerer: otherSide(answerer) };
    this.#awaited = { answerer, acknowledge };
  }

  /** An ACK from `leg`; it matters only when an answer is expected in it. */
  acknowledged(leg: Leg, request: SipRequest): void {
    const awaited = this.#awaited;
    if (awaited?.answerer !== leg.side) return;
    this.#awaited = undefined;
    const current = this.#current;
    void this.#answerLate(leg.side, request.body ?? '', awaited.acknowledge).finally(() => {
      if (this.#current === current) this.#finish();
    });
  }

  /** The call is over: a 2xx that still waits for its ACK gets it, so that it is not sent for ever. */
  close(): void {
    this.#awaited?.acknowledge({});
    this.#awaited = undefined;
  }

  /** Another exchange may begin, unless the answer of this one is still to come in the ACK. */
  #finish(): void {
    if (this.#awaited === undefined) this.#current = undefined;
  }

  async #passOn(asker: Asker, request: SipRequest, response: SipResponse): Promise<void> {
    const { vanished, legOf, isUp } = this.#options;
    const media = this.#options.media();
    const peer = legOf(otherSide(asker.side));
    if (peer === undefined || peer.isOver) {
      respond(response, { status: 481 });
      return;
    }
    if (request.method === 'INVITE') {
      request.once('cancel', () => {
        peer.cancelInvite();
      });
    }
    const asked: Asked = { asker, peer, response, before: media.agreedSdp(asker.side) };
    try {
      const hasOffer = request.body !== undefined && request.body !== '';
      const offer = hasOffer ? await media.offer(asker.side, request.body) : undefined;
      const answer = await this.#ask(request.method, asked, offer);
      if (answer.status >= 300) {
        if (hasOffer) await media.restore();
        this.#passRefusal(response, answer);
        if (answer.isDialogGone && isUp()) vanished(peer);
      } else if (hasOffer) await this.#completeAnswered(asked, answer);
      else await this.#completeOffered(asked, answer);
    } catch (error) {
      this.#logFailure('call.exchange.failed', error);
      await media.restore().catch((cause: unknown) => {
        this.#logFailure('call.restore.failed', cause);
      });
      this.#refuse(response, error);
    }
  }

  /**
   * An UPDATE goes on as an UPDATE to a phone that allows it, else as a re-INVITE, which every phone takes; nothing but
   * UPDATE can change a session before the call is answered.
   */
  async #ask(
    method: string,
    { asker, peer }: Asked,
    offer: string | undefined,
  ): Promise<LegAnswer> {
    if (method !== 'UPDATE' || offer === undefined) return peer.invite(offer, asker.identity);
    if (peer.allows('UPDATE')) {
      const answer = await peer.update(offer, asker.identity);
      if (!NOT_ALLOWED.has(answer.status)) return answer;
    }
    if (this.#options.isUp()) return peer.invite(offer, asker.identity);
    throw new ProtocolError('call.update.impossible', 'not before the call is answered', 504);
  }

  /** The peer has answered our offer in its 2xx. */
  async #completeAnswered(asked: Asked, answer: LegAnswer): Promise<void> {
    answer.acknowledge({});
    const theirs = answer.response?.body ?? '';
    const sdp = await this.#answerOf(asked.peer.side, theirs);
    const isSent = await this.#accept(asked, sdp);
    if (!isSent) await this.#takeBack(asked);
  }

  /** @throws ProtocolError 502 for what is no answer: the fault is not that of the one who asks */
  async #answerOf(side: Side, sdp: string): Promise<string> {
    try {
      return await this.#options.media().answer(side, sdp);
    } catch (error) {
      if (refusalOf(error, this.#options.domain)?.status !== 400) throw error;
      throw new ProtocolError('call.answer.malformed', 'no answer from the other phone', 502);
    }
  }

  /** The peer has made an offer in its 2xx; the answer will come in the ACK. */
  async #completeOffered(asked: Asked, answer: LegAnswer): Promise<void> {
    try {
      const theirs = answer.response?.body ?? '';
      const sdp = await this.#options.media().offer(asked.peer.side, theirs);
      this.#awaited = { answerer: asked.asker.side, acknowledge: answer.acknowledge };
      if (await this.#accept(asked, sdp)) return;
    } catch (error) {
      answer.acknowledge({});
      throw error;
    }
    this.close();
    await this.#takeBack(asked);
  }

  /** @returns whether the 200 has left; false when the phone has cancelled meanwhile */
  #accept({ asker, response }: Asked, sdp: string): Promise<boolean> {
    return new Promise((resolve) => {
      const headers = { ...asker.headers, ...sdpType(sdp), Allow: ALLOW };
      respond(response, { status: 200, headers, body: sdp }, (_error, sent) => {
        // At once: the next request of the phone may be right behind this in the same piece of the stream.
        if (sent !== undefined) {
          asker.accepted?.(sent);
          this.#finish();
        }
        resolve(sent !== undefined);
      });
    });
  }

  /** The offer was given up when the peer had accepted it already: tells the peer what held before. */
  async #takeBack({ asker, peer, before }: Asked): Promise<void> {
    const { legOf } = this.#options;
    const media = this.#options.media();
    const leg = legOf(asker.side);
    if (before === undefined || peer.isOver || leg === undefined || leg.isOver) return;
    const answer = await peer.invite(await media.offer(asker.side, before));
    if (answer.status >= 300) return;
    answer.acknowledge({});
    await media.answer(peer.side, answer.response?.body ?? '');
  }

  async #answerLate(side: Side, sdp: string, acknowledge: Acknowledge): Promise<void> {
    try {
      acknowledge({ body: await this.#options.media().answer(side, sdp) });
    } catch (error) {
      acknowledge({});
      this.#logFailure('call.answer.failed', error);
      this.#options.broken(488, 'no answer to the offer');
    }
  }

  #passRefusal(response: SipResponse, { status, reason, response: theirs }: LegAnswer): void {
    const headers = theirs === undefined ? {} : responseHeaders(theirs, this.#options.domain);
    // The asking phone must not take its own dialog for dead; it gets BYE if the call ends.
    const passed = status === 481 || status === 408 ? 480 : status;
    this.#finish();
    respond(response, { status: passed, reason: passed === status ? reason : '', headers });
  }

  #refuse(response: SipResponse, error: unknown): void {
    const refusal = refusalOf(error, this.#options.domain);
    this.#finish();
    respond(response, refusal ?? { status: 500 });
  }

  #logFailure(event: string, error: unknown): void {
    this.#options.log.warn(event, () => ({ error }));
  }
}

export function isSdp(contentType: string): boolean {
  return /^\s*application\/sdp\s*(;|$)/i.test(contentType);
}

function contactOf(leg: Leg): Record<string, string> {
  return leg.contact === undefined ? {} : { Contact: leg.contact };
}
