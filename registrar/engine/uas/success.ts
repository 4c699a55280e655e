/** A 2xx to an INVITE that waits for its ACK (RFC 3261 §13.3.1.4). */

import type { Dialog, DialogWatcher } from '../dialog/dialog.ts';
import type { Kernel } from '../kernel.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type { ServerTransaction } from '../transaction/server.ts';

export type SuccessOwner = {
  /** No ACK came within 64·T1. */
  notAcknowledged(success: InviteSuccess): void;
};

/** A BYE that may not go out before the caller has acknowledged the answer, or never will (RFC 3261 §15). */
export type HeldBye = {
  send(): void;
  /** The dialog has ended otherwise. */
  drop(): void;
};

export class InviteSuccess implements TimerOwner, DialogWatcher {
  readonly dialog: Dialog;
  readonly sequence: number;
  /** What applications know the ACK by. */
  readonly transactionId: string;
  /** True for the one that made the dialog. */
  readonly isFirst: boolean;
  readonly heldByes: HeldBye[] = [];
  readonly #kernel: Kernel;
  readonly #owner: SuccessOwner;
  readonly #transaction: ServerTransaction;
  readonly #status: number;
  readonly #bytes: Buffer;
  #repeatTimer: TimerHandle | undefined;
  #giveUpTimer: TimerHandle | undefined;
  #intervalMs: number;

  constructor(
    kernel: Kernel,
    owner: SuccessOwner,
    parts: {
      dialog: Dialog;
      transaction: ServerTransaction;
      transactionId: string;
      sequence: number;
      isFirst: boolean;
      status: number;
      bytes: Buffer;
      /** Whether datagrams carry it on any part of its way; otherwise it is not repeated. */
      isRepeated: boolean;
    },
  ) {
    this.#kernel = kernel;
    this.#owner = owner;
    this.dialog = parts.dialog;
    this.sequence = parts.sequence;
    this.isFirst = parts.isFirst;
    this.transactionId = parts.transactionId;
    this.#transaction = parts.transaction;
    this.#status = parts.status;
    this.#bytes = parts.bytes;
    const { t1Ms, timerHMs } = kernel.sipTimers;
    this.#intervalMs = t1Ms;
    if (parts.isRepeated) this.#repeatTimer = kernel.setTimer(this, 'repeat2xx', t1Ms);
    this.#giveUpTimer = kernel.setTimer(this, 'noAck', timerHMs);
    parts.dialog.watchers.add(this);
  }

  /** The ACK has come: nothing more is sent. */
  acknowledge(): void {
    this.#stop();
    this.dialog.watchers.delete(this);
  }

  dialogEnded(): void {
    this.#stop();
    for (const bye of this.heldByes.splice(0)) bye.drop();
  }

  /** Lets the BYEs go that have waited; false when there is none. */
  sendHeldByes(): boolean {
    const byes = this.heldByes.splice(0);
    for (const bye of byes) bye.send();
    return byes.length > 0;
  }

  onTimer(name: string): void {
    if (name === 'noAck') {
      this.#stop();
      this.dialog.watchers.delete(this);
      this.#owner.notAcknowledged(this);
      return;
    }
    this.#intervalMs = Math.min(this.#intervalMs * 2, this.#kernel.sipTimers.t2Ms);
    this.#repeatTimer = this.#kernel.setTimer(this, 'repeat2xx', this.#intervalMs);
    this.#transaction.respond(this.#status, this.#bytes);
  }

  #stop(): void {
    this.#kernel.clearTimer(this.#repeatTimer);
    this.#kernel.clearTimer(this.#giveUpTimer);
    this.#repeatTimer = undefined;
    this.#giveUpTimer = undefined;
  }
}
