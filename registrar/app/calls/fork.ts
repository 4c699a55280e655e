/** One branch of a call: the INVITE to one device of the callee, until its final answer. */
import type { Clock } from '../clock.ts';
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';
import type { Failure } from './best-response.ts';
import { EarlyDialogs, isReliable } from './early-dialogs.ts';
import { headerOf } from './headers.ts';
import { Leg } from './leg.ts';
import type { LegEvents } from './leg.ts';
import type { CallMedia } from './media.ts';
import { dialogNames } from './replaces.ts';
import { isInvented, respond } from './transactions.ts';
import type { Acknowledge, Transactions } from './transactions.ts';

/** After CANCEL the engine gives a branch up at 64 times T1; then nothing more comes of it. */
const CANCELLED_LIMIT_MS = 40_000;

export type ForkRequest = {
  readonly uri: string;
  readonly proxy?: string;
  readonly headers: SipHeaders;
  readonly body: string | undefined;
  readonly socket: unknown;
};

export type ForkEvents = {
  /** One of 101 to 199, once; a reliable one has been acknowledged. */
  provisional(fork: Fork, response: SipResponse): void;
  /** `leg` is up; whoever gets this must acknowledge. The fork counts as settled when the promise is. */
  answered(
    fork: Fork,
    answer: { response: SipResponse; leg: Leg; acknowledge: Acknowledge },
  ): Promise<void>;
  failed(fork: Fork, failure: Failure): void;
};

export class Fork {
  /** Resolves when nothing more can come of this branch. */
  readonly settled: Promise<void>;
  /** The session in the relay that this device is offered. */
  readonly media: CallMedia;
  readonly #transactions: Transactions;
  readonly #clock: Clock;
  readonly #events: ForkEvents;
  readonly #legEvents: LegEvents;
  readonly #early = new EarlyDialogs();
  #earlyLeg: Leg | undefined;
  #resolveSettled: () => void = ignore;
  #sent: SipRequest | undefined;
  #isOver = false;
  #cancelHeaders: SipHeaders | undefined;
  #stopWaiting: () => void = ignore;

  constructor(parts: {
    transactions: Transactions;
    clock: Clock;
    events: ForkEvents;
    legEvents: LegEvents;
    media: CallMedia;
  }) {
    this.#transactions = parts.transactions;
    this.#clock = parts.clock;
    this.#events = parts.events;
    this.#legEvents = parts.legEvents;
    this.media = parts.media;
    this.settled = new Promise((resolve) => {
      this.#resolveSettled = resolve;
    });
  }

  /** Has had its final answer. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The device has begun to answer the offer. */
  get hasAnswer(): boolean {
    return this.#early.hasAnswer;
  }

  /** What this device had answered before the 2xx, which need not say it again. */
  earlyAnswer(success: SipResponse): string | undefined {
    return this.#early.answerOf(success);
  }

  /** The early dialog in which our offer has its answer for good (RFC 3262 section 5): UPDATE may follow there. */
  get earlyLeg(): Leg | undefined {
    return this.#earlyLeg?.isOver === false ? this.#earlyLeg : undefined;
  }

  start(invite: ForkRequest): void {
    const { socket } = invite;
    this.#transactions.send(
      { method: 'INVITE', ...invite },
      {
        sent: (request) => {
          this.#sent = request;
          if (this.#cancelHeaders !== undefined) this.#sendCancel(this.#cancelHeaders);
        },
        refused: (error) => {
          this.#fail({ status: 503, reason: error.message, isUnreachable: true });
        },
        response: (response, acknowledge) => {
          this.#receive(response, acknowledge, socket);
        },
        update: (request, response) => {
          if (this.earlyLeg === undefined) answerEarlyUpdate(request, response);
          else this.earlyLeg.handle(request, response);
        },
      },
    );
  }

  /** Stops the ringing; a 2xx that crosses is still told as `answered`. */
  cancel(headers: SipHeaders): void {
    if (this.#isOver || this.#cancelHeaders !== undefined) return;
    this.#cancelHeaders = headers;
    this.#stopWaiting = this.#clock.after(CANCELLED_LIMIT_MS, () => {
      this.abandon();
    });
    if (this.#sent !== undefined) this.#sendCancel(headers);
  }

  /** The engine is gone; nothing more will come. */
  abandon(): void {
    this.#isOver = true;
    this.#stopWaiting();
    this.#earlyLeg?.abandon();
    this.#resolveSettled();
  }

  #sendCancel(headers: SipHeaders): void {
    try {
      this.#sent?.cancel({ headers: { ...headers } }, ignore);
    } catch {
      // drachtio-srf is not connected any more: `abandon` is on its way.
    }
  }

  #receive(response: SipResponse, acknowledge: Acknowledge, socket: unknown): void {
    if (this.#isOver) return;
    if (response.status < 200) {
      this.#provisional(response, acknowledge, socket);
      return;
    }
    if (response.status >= 300) {
      const { status, reason } = response;
      this.#fail({ status, reason, response, isUnreachable: isInvented(response) });
      return;
    }
    this.#isOver = true;
    this.#stopWaiting();
    const leg = this.#confirmedLeg(response, socket);
    void this.#events.answered(this, { response, leg, acknowledge }).finally(this.#resolveSettled);
  }

  #provisional(response: SipResponse, acknowledge: Acknowledge, socket: unknown): void {
    const isNews = this.#early.note(response);
    if (!isNews) return;
    if (isReliable(response)) {
      acknowledge({});
      const hasAnswer = this.#early.answerOf(response) !== undefined;
      if (hasAnswer) this.#earlyLeg ??= this.#legOf(response, socket);
    }
    if (this.#early.count > 1) {
      // A request would reach any of them: all have the same Call-ID and our tag.
      this.#earlyLeg?.abandon();
    }
    this.#events.provisional(this, response);
  }

  #confirmedLeg(response: SipResponse, socket: unknown): Leg {
    const early = this.#earlyLeg;
    const names = dialogNames(response, 'From', 'To');
    if (early?.isOver === false && names !== undefined && early.isNamed(names)) return early;
    early?.abandon();
    return this.#legOf(response, socket);
  }

  #legOf(response: SipResponse, socket: unknown): Leg {
    return new Leg({
      side: 'callee',
      dialogId: response.stackDialogId ?? '',
      contact: this.#sent?.get('Contact'),
      socket,
      names: dialogNames(response, 'From', 'To'),
      allow: headerOf(response, 'Allow'),
      transactions: this.#transactions,
      events: this.#legEvents,
    });
  }

  #fail(failure: Failure): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopWaiting();
    this.#earlyLeg?.abandon();
    this.#events.failed(this, failure);
    this.#resolveSettled();
  }
}

/** RFC 3311 section 5.2: our offer is not answered yet, so another one must wait. */
function answerEarlyUpdate(request: SipRequest, response: SipResponse): void {
  const hasOffer = request.body !== undefined && request.body !== '';
  respond(response, { status: hasOffer ? 491 : 200 });
}

function ignore(): void {
  // Nothing hangs on it.
}
