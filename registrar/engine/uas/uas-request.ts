/** One received request in the hands of an application, from the moment it is offered to its final answer. */

import type { SipMessage } from '../../../core/sip/message.ts';
import type { Application } from '../control/applications.ts';
import { dialogIdOf, type Dialog } from '../dialog/dialog.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type { ServerTransaction, ServerUser } from '../transaction/server.ts';
import type { Hop } from '../transport/flow.ts';
import type { ReliableResponses } from './reliable.ts';

/** Whoever is told what happens to the request besides answers. */
export type UasRequestOwner = {
  answerOverdue(request: UasRequest): void;
  /** A minute has passed since the last provisional answer. */
  stillRinging(request: UasRequest): void;
  transactionEnded(request: UasRequest): void;
};

export class UasRequest implements TimerOwner, ServerUser {
  readonly transactionId: string;
  readonly transaction: ServerTransaction;
  readonly message: SipMessage;
  readonly hop: Hop;
  /** Changes while a web server is asked to whom the request goes. */
  application: Application;
  /** Set when the request came in a dialog, or as soon as an answer has made one. */
  dialog: Dialog | undefined;
  readonly isInDialog: boolean;
  readonly isInvite: boolean;
  /** Our tag in To; made with the first answer above 100. */
  localTag: string | undefined;
  hasAnswer = false;
  isFinal = false;
  /** An UPDATE that came while this first INVITE is open shares its transaction id with it. */
  update: UasRequest | undefined;
  /** The first INVITE that this UPDATE shares its id with. */
  invite: UasRequest | undefined;
  reliable: ReliableResponses | undefined;
  /** The session timer that its 2xx promises (RFC 4028). */
  session: { readonly seconds: number; readonly isRefresher: boolean } | undefined;
  timer: TimerHandle | undefined;
  readonly #owner: UasRequestOwner;

  constructor(
    owner: UasRequestOwner,
    parts: {
      transactionId: string;
      transaction: ServerTransaction;
      message: SipMessage;
      application: Application;
      dialog: Dialog | undefined;
    },
  ) {
    this.#owner = owner;
    this.transactionId = parts.transactionId;
    this.transaction = parts.transaction;
    this.message = parts.message;
    this.hop = parts.transaction.hop;
    this.application = parts.application;
    this.dialog = parts.dialog;
    this.isInDialog = parts.dialog !== undefined;
    this.isInvite = parts.message.method === 'INVITE';
    this.localTag = parts.dialog?.localTag;
    parts.transaction.user = this;
  }

  /** True for the requests that make a dialog when they are accepted. */
  get makesDialog(): boolean {
    return !this.isInDialog && (this.isInvite || this.message.method === 'SUBSCRIBE');
  }

  /** As applications know the dialog that this request belongs to or will make; `''` when there is none. */
  get dialogId(): string {
    if (this.dialog !== undefined) return this.dialog.id;
    return this.makesDialog ? dialogIdOf(this.message.callId, this.message.fromTag ?? '') : '';
  }

  /** Whether this answer ends the wait for one: only an INVITE may go on for long after a provisional response. */
  isDoneWaiting(status: number): boolean {
    return this.isInvite || status >= 200;
  }

  onTimer(name: string): void {
    this.timer = undefined;
    if (name === 'ringing') this.#owner.stillRinging(this);
    else this.#owner.answerOverdue(this);
  }

  serverEnded(): void {
    this.#owner.transactionEnded(this);
  }
}
