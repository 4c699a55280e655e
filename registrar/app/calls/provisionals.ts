/** What the caller is told while it rings: 180, 183 and early media, reliably when he asks for that (RFC 3262). */
import type { SipHeaders, SipMessage, SipRequest, SipResponse } from '../srf.ts';
import { headerOf, listsToken } from './headers.ts';
import { sdpType } from './leg.ts';
import { respond } from './transactions.ts';

export type Provisional = {
  readonly status: number;
  readonly reason: string;
  readonly headers: SipHeaders;
  readonly sdp: string | undefined;
  /** Goes reliably if the caller knows what that is. */
  readonly isReliable: boolean;
};

export type ProvisionalEvents = {
  sent(response: SipMessage): void;
  /** The engine knows no INVITE that this could answer any more. */
  unsent(error: unknown): void;
};

/** Reliable ones go one at a time: the next when the PRACK of the one before has come (RFC 3262 section 3). */
export class Provisionals {
  readonly #response: SipResponse;
  /** Every one must be reliable (RFC 3262 section 3). */
  readonly isRequired: boolean;
  readonly #isSupported: boolean;
  /** The offer would have to be in the first reliable one (RFC 3262 section 5), and there is none yet. */
  #isMute: boolean;
  readonly #events: ProvisionalEvents;
  #lastStatus = 0;
  #isEarlyMedia = false;
  #unacknowledged: Provisional | undefined;
  #next: Provisional | undefined;
  #whenAcknowledged: (() => void) | undefined;
  #answer: string | undefined;

  constructor(request: SipRequest, response: SipResponse, events: ProvisionalEvents) {
    this.#response = response;
    const hasOffer = request.body !== undefined && request.body !== '';
    this.isRequired = listsToken(headerOf(request, 'Require'), '100rel');
    this.#isSupported = hasOffer && listsToken(headerOf(request, 'Supported'), '100rel');
    this.#isMute = this.isRequired && !hasOffer;
    this.#events = events;
  }

  /** The session description that the caller got reliably, as the answer to his offer: the 200 cannot change it. */
  get answer(): string | undefined {
    return this.#answer;
  }

  /** Whether the caller has said that he got `answer`. */
  get isAgreed(): boolean {
    return this.#answer !== undefined && this.#unacknowledged?.sdp === undefined;
  }

  /**
   * Passes one on, unless it tells nothing new: the same again, or ringing after early media, which it would silence.
   * 199 tells of the end of one of several early dialogs (RFC 6228); the caller sees one only.
   */
  pass(provisional: Provisional): void {
    const { status, sdp } = provisional;
    const isNews = sdp !== undefined || (!this.#isEarlyMedia && status !== this.#lastStatus);
    if (!isNews || status === 199 || this.#isMute) return;
    this.#lastStatus = status;
    this.#isEarlyMedia ||= sdp !== undefined;
    if (this.#unacknowledged === undefined) this.#send(provisional);
    else if (this.#next?.sdp === undefined) this.#next = provisional;
  }

  /** Somebody has taken the call: what has not gone out yet will not. */
  stop(): void {
    this.#next = undefined;
    this.#isMute = true;
  }

  /** Calls back when 200 may go: not before the PRACK to a session description (RFC 3262 section 3). */
  beforeFinal(callback: () => void): void {
    if (this.#unacknowledged?.sdp === undefined) callback();
    else this.#whenAcknowledged = callback;
  }

  /** A PRACK has come. */
  acknowledged(): void {
    this.#unacknowledged = undefined;
    this.#whenAcknowledged?.();
    this.#whenAcknowledged = undefined;
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.#send(next);
  }

  #send(provisional: Provisional): void {
    const { status, reason, sdp } = provisional;
    const isReliable = this.isRequired || (this.#isSupported && provisional.isReliable);
    const reliability: SipHeaders = isReliable ? { Require: '100rel' } : {};
    const headers = { ...provisional.headers, ...reliability, ...sdpType(sdp) };
    if (isReliable) {
      this.#unacknowledged = provisional;
      this.#answer ??= sdp;
    }
    respond(this.#response, { status, reason, headers, body: sdp }, (error, sent) => {
      if (sent === undefined) this.#events.unsent(error);
      else this.#events.sent(sent);
    });
  }
}
