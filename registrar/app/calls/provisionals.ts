/** What the caller is told while it rings: 180, 183 and early media, reliably when he asks for that (RFC 3262). */
import type { SipHeaders, SipMessage, SipRequest, SipResponse } from '../srf.ts';
import { headerOf } from './headers.ts';
import { sdpType } from './leg.ts';
import { respond } from './transactions.ts';

export type Provisional = {
  readonly status: number;
  readonly reason: string;
  readonly headers: SipHeaders;
  readonly sdp: string | undefined;
};

export type ProvisionalEvents = {
  sent(response: SipMessage): void;
  /** The engine knows no INVITE that this could answer any more. */
  unsent(error: unknown): void;
};

/** Reliable ones go one at a time: the next when the PRACK of the one before has come (RFC 3262 section 3). */
export class Provisionals {
  readonly #response: SipResponse;
  readonly #isReliable: boolean;
  readonly #events: ProvisionalEvents;
  #lastStatus = 0;
  #isEarlyMedia = false;
  #unacknowledged: Provisional | undefined;
  #next: Provisional | undefined;
  #whenAcknowledged: (() => void) | undefined;

  constructor(request: SipRequest, response: SipResponse, events: ProvisionalEvents) {
    this.#response = response;
    this.#isReliable = /(?:^|[\s,])100rel(?:$|[\s,])/i.test(headerOf(request, 'Require') ?? '');
    this.#events = events;
  }

  /**
   * Passes one on, unless it tells nothing new: the same again, or ringing after early media, which it would silence.
   * 199 tells of the end of one of several early dialogs (RFC 6228); the caller sees one only.
   */
  pass(provisional: Provisional): void {
    const { status, sdp } = provisional;
    const isNews = sdp !== undefined || (!this.#isEarlyMedia && status !== this.#lastStatus);
    if (!isNews || status === 199) return;
    this.#lastStatus = status;
    this.#isEarlyMedia ||= sdp !== undefined;
    if (this.#unacknowledged === undefined) this.#send(provisional);
    else if (this.#next?.sdp === undefined) this.#next = provisional;
  }

  /** Calls back when 200 may go: not before the PRACK to a session description (RFC 3262 section 3). */
  beforeFinal(callback: () => void): void {
    this.#next = undefined;
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
    const reliability: SipHeaders = this.#isReliable ? { Require: '100rel' } : {};
    const headers = { ...provisional.headers, ...reliability, ...sdpType(sdp) };
    if (this.#isReliable) this.#unacknowledged = provisional;
    respond(this.#response, { status, reason, headers, body: sdp }, (error, sent) => {
      if (sent === undefined) this.#events.unsent(error);
      else this.#events.sent(sent);
    });
  }
}
