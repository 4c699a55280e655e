/** One request that an application sent: what is needed until the last thing has been heard of it. */

import type { Application } from '../control/applications.ts';
import type { Dialog } from '../dialog/dialog.ts';
import type { HeaderLine } from '../template.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type {
  ClientFailure,
  ClientTransaction,
  ClientUser,
  ReceivedResponse,
} from '../transaction/client.ts';
import type { Hop } from '../transport/flow.ts';
import type { SentAck } from './ack.ts';

/** Where responses and failures go. */
export type UacRequestOwner = {
  responseReceived(request: UacRequest, response: ReceivedResponse): void;
  requestFailed(request: UacRequest, failure: ClientFailure): void;
  requestEnded(request: UacRequest): void;
  /** 64·T1 have passed since the CANCEL. */
  cancelOverdue(request: UacRequest): void;
};

export class UacRequest implements ClientUser, TimerOwner {
  readonly transactionId: string;
  readonly application: Application;
  /** As applications know the dialog that the request belongs to or may make; `''` when there is none. */
  readonly dialogId: string;
  /** Set for requests in a dialog. */
  readonly dialog: Dialog | undefined;
  readonly method: string;
  transaction: ClientTransaction | undefined;
  isFinal = false;
  /** How the request was shown to its application while its way was not known. */
  provisionalHop: Hop | undefined;
  /** Early dialogs of an INVITE, and those that a 2xx or a NOTIFY has made, by the tag of the other side. */
  readonly forks = new Map<string, Dialog>();
  /** The fork whose 2xx the application was given. */
  winner: Dialog | undefined;
  /** ACKs that have been sent, by the tag of the other side, for repetitions of the 2xx (RFC 3261 §13.2.2.4). */
  readonly acks = new Map<string, SentAck>();
  /** The last RSeq of each fork, to drop repetitions (RFC 3262 §4). */
  readonly lastRseq = new Map<string, number>();
  /** Forks whose last reliable response the application has not acknowledged yet, with its number, in their order. */
  readonly unacknowledged = new Map<string, number>();
  /** Told 491 instead of being sent, because another INVITE of the dialog is open. */
  glare = false;
  cancel: 'none' | 'wanted' | 'sent' = 'none';
  cancelHeaders: readonly HeaderLine[] = [];
  timer: TimerHandle | undefined;
  readonly #owner: UacRequestOwner;

  constructor(
    owner: UacRequestOwner,
    parts: {
      transactionId: string;
      application: Application;
      dialogId: string;
      dialog: Dialog | undefined;
      method: string;
    },
  ) {
    this.#owner = owner;
    this.transactionId = parts.transactionId;
    this.application = parts.application;
    this.dialogId = parts.dialogId;
    this.dialog = parts.dialog;
    this.method = parts.method;
  }

  get isInvite(): boolean {
    return this.method === 'INVITE';
  }

  clientResponse(_transaction: ClientTransaction, response: ReceivedResponse): void {
    this.#owner.responseReceived(this, response);
  }

  clientFailed(_transaction: ClientTransaction, failure: ClientFailure): void {
    this.#owner.requestFailed(this, failure);
  }

  clientEnded(): void {
    this.#owner.requestEnded(this);
  }

  onTimer(): void {
    this.timer = undefined;
    this.#owner.cancelOverdue(this);
  }
}
