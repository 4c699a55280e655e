/** One side of a call: a dialog (RFC 3261 section 12) with a phone, in which the switch is the other end. */
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';
import { headerOf, listsToken } from './headers.ts';
import type { HeaderSource } from './headers.ts';
import type { Side } from './media.ts';
import { isInvented, respond } from './transactions.ts';
import type { Acknowledge, DialogEntry, Transactions } from './transactions.ts';

/** What we can do in a dialog, for Allow. */
export const ALLOW =
  'INVITE, ACK, CANCEL, BYE, PRACK, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, UPDATE';

/** What phones can use in a call beyond RFC 3261, for Supported. */
export const SUPPORTED = 'replaces, 100rel';

/**
 * The same when the other side makes the offer: it would do so in a reliable provisional answer (RFC 3262 section 5),
 * and want ours in the PRACK, long before whoever calls has said anything.
 */
export const SUPPORTED_WITHOUT_OFFER = 'replaces';

export type LegEvents = {
  /** The phone hung up, or the engine gave the dialog up; answered already. */
  ended(leg: Leg, request: SipRequest): void;
  acknowledged(leg: Leg, request: SipRequest): void;
  /** PRACK: a reliable provisional answer of ours has arrived (RFC 3262); answered already. */
  provisionalAcknowledged?(leg: Leg): void;
  /** Any other request; whoever gets it answers it. */
  requested(leg: Leg, request: SipRequest, response: SipResponse): void;
};

/** The end of a request that we sent inside the dialog; also when nothing came back. */
export type LegAnswer = {
  readonly status: number;
  readonly reason: string;
  readonly response: SipResponse | undefined;
  readonly acknowledge: Acknowledge;
  /** RFC 3261 section 12.2.1.2: the dialog is no more on the other side, or nobody is there. */
  readonly isDialogGone: boolean;
};

export type LegOptions = {
  readonly side: Side;
  readonly dialogId: string;
  /** Contact that the phone knows us by, as the engine wrote it. */
  readonly contact: string | undefined;
  readonly socket: unknown;
  /** What names the dialog on the wire, for Replaces (RFC 3891). */
  readonly names?: DialogNames | undefined;
  /** Allow, as the phone wrote it when the dialog began. */
  readonly allow?: string | undefined;
  readonly transactions: Transactions;
  readonly events: LegEvents;
};

/** Seen from us. */
export type DialogNames = {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
};

export class Leg implements DialogEntry {
  readonly id: string;
  readonly side: Side;
  readonly #options: LegOptions;
  #isOver = false;
  #heard = 0;
  #allow: string | undefined;
  #inviteSent: SipRequest | undefined;

  constructor(options: LegOptions) {
    this.id = options.dialogId;
    this.side = options.side;
    this.#options = options;
    this.#allow = options.allow;
    options.transactions.addDialog(this);
  }

  /** Hung up from either end, or hanging up. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Grows with every sign of life. */
  get heard(): number {
    return this.#heard;
  }

  get contact(): string | undefined {
    return this.#options.contact;
  }

  /** Whether the phone has said that it takes requests of this method. */
  allows(method: string): boolean {
    return listsToken(this.#allow, method);
  }

  isNamed({ callId, localTag, remoteTag }: DialogNames): boolean {
    const { names } = this.#options;
    return names?.callId === callId && names.localTag === localTag && names.remoteTag === remoteTag;
  }

  /** From drachtio-srf: a request of this dialog. */
  handle(request: SipRequest, response: SipResponse): void {
    const { events } = this.#options;
    this.#heard++;
    this.#noteAllow(request);
    switch (request.method) {
      case 'ACK':
        events.acknowledged(this, request);
        break;
      case 'BYE':
        this.#remove();
        respond(response, { status: 200 });
        if (!this.#isOver) {
          this.#isOver = true;
          events.ended(this, request);
        }
        break;
      case 'PRACK':
        respond(response, { status: 200 });
        events.provisionalAcknowledged?.(this);
        break;
      case 'OPTIONS':
        respond(response, { status: 200, headers: { Allow: ALLOW } });
        break;
      default:
        if (this.#isOver) respond(response, { status: 481 });
        else events.requested(this, request, response);
    }
  }

  /** Sends a request in the dialog and waits for its final answer; never rejects. */
  request(method: string, headers: SipHeaders, body?: string): Promise<LegAnswer> {
    return new Promise((resolve) => {
      const { transactions, socket } = this.#options;
      const settle = (answer: LegAnswer): void => {
        if (method === 'INVITE') this.#inviteSent = undefined;
        resolve(answer);
      };
      transactions.send(
        { method, dialogId: this.id, headers, body, socket },
        {
          sent: (request) => {
            if (method === 'INVITE') this.#inviteSent = request;
          },
          refused: (error) => {
            settle(refusedAnswer(error));
          },
          response: (response, acknowledge) => {
            if (!isInvented(response)) this.#heard++;
            if (response.status < 300) this.#noteAllow(response);
            if (response.status >= 200) settle(answerOf(response, acknowledge));
          },
          update: (request, response) => {
            this.handle(request, response);
          },
        },
      );
    });
  }

  /** re-INVITE; without `sdp` the phone makes the offer. The 2xx is for the caller of this to acknowledge. */
  invite(sdp: string | undefined, more: SipHeaders = {}): Promise<LegAnswer> {
    return this.request('INVITE', { ...this.#refreshHeaders(sdp), ...more }, sdp);
  }

  /** UPDATE with an offer (RFC 3311); only for a phone that allows it. */
  update(sdp: string, more: SipHeaders = {}): Promise<LegAnswer> {
    return this.request('UPDATE', { ...this.#refreshHeaders(sdp), ...more }, sdp);
  }

  /** Gives up a re-INVITE that is on its way, because its originator did. */
  cancelInvite(): void {
    this.#inviteSent?.cancel(ignore);
  }

  /** Hangs up; resolves when the phone has answered or the engine has given up. Once only, later calls do nothing. */
  async bye(headers: SipHeaders): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    await this.request('BYE', headers);
    this.#remove();
  }

  /** The engine is gone, and the dialog with it. */
  abandon(): void {
    this.#isOver = true;
    this.#remove();
  }

  #refreshHeaders(sdp: string | undefined): SipHeaders {
    const contact = this.#options.contact;
    const headers: SipHeaders = contact === undefined ? {} : { Contact: contact };
    return { ...headers, Allow: ALLOW, ...sdpType(sdp) };
  }

  #noteAllow(message: HeaderSource): void {
    this.#allow = headerOf(message, 'Allow') ?? this.#allow;
  }

  #remove(): void {
    this.#options.transactions.removeDialog(this);
  }
}

/** For a message with a session description in it. */
export function sdpType(sdp: string | undefined): SipHeaders {
  return sdp === undefined || sdp === '' ? {} : { 'Content-Type': 'application/sdp' };
}

function answerOf(response: SipResponse, acknowledge: Acknowledge): LegAnswer {
  const { status, reason } = response;
  const isUnreachable = isInvented(response) && status >= 300;
  return {
    status,
    reason,
    response,
    acknowledge,
    isDialogGone: status === 481 || status === 408 || isUnreachable,
  };
}

/** drachtio-srf marks an unknown dialog with this code. */
function refusedAnswer(error: Error & { code?: unknown }): LegAnswer {
  const isGone = error.code === 'ENODIALOG' || error.code === 'ESOCKETDESTROYED';
  return {
    status: isGone ? 481 : 500,
    reason: isGone ? 'Call Leg/Transaction Does Not Exist' : 'Server Internal Error',
    response: undefined,
    acknowledge: ignore,
    isDialogGone: isGone,
  };
}

function ignore(): void {
  // There is nothing to acknowledge, or nobody to tell.
}
