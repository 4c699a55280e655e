/** One copy of a proxied request on its way to one destination. */

import type { Kernel } from '../kernel.ts';
import type { RequestDraft } from '../request-draft.ts';
import type { Route, Router } from '../router.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import {
  ClientTransaction,
  type ClientFailure,
  type ClientUser,
  type ReceivedResponse,
} from '../transaction/client.ts';
import { sendCancel } from '../uac/cancel.ts';
import { failureStatus } from '../uac/invented.ts';

/** Whoever gathers what the branches come to. */
export type BranchOwner = {
  /** 101 to 199, and every 2xx however late. */
  branchProgressed(branch: Branch, response: ReceivedResponse): void;
  /** A final response above 299, or `undefined` and a status that stands for silence. Told once. */
  branchFailed(branch: Branch, status: number, response: ReceivedResponse | undefined): void;
  /** The first 1xx did not come in time, and the search may go on elsewhere. */
  branchSilent(branch: Branch): void;
};

export type BranchTimeouts = {
  /** Until any provisional response; 0 is for ever. */
  readonly provisionalMs: number;
  /** Until the final response; 0 is for ever. */
  readonly finalMs: number;
  /** Since the last provisional response but 100, for INVITE (RFC 3261 §16.6 step 11, §16.7 step 2). */
  readonly timerCMs: number;
};

export class Branch implements ClientUser, TimerOwner {
  readonly destination: string;
  /** Its part of the Max-Breadth of the request, until it is done (RFC 5393 §5.3.3). */
  readonly breadth: number;
  isDone = false;
  isSuccessful = false;
  readonly #kernel: Kernel;
  readonly #owner: BranchOwner;
  readonly #timeouts: BranchTimeouts;
  readonly #isInvite: boolean;
  #transaction: ClientTransaction | undefined;
  #isCancelWanted = false;
  #isCancelSent = false;
  #provisionalTimer: TimerHandle | undefined;
  #finalTimer: TimerHandle | undefined;
  #timerC: TimerHandle | undefined;
  #cancelTimer: TimerHandle | undefined;

  constructor(
    kernel: Kernel,
    owner: BranchOwner,
    parts: { destination: string; breadth: number; timeouts: BranchTimeouts; isInvite: boolean },
  ) {
    this.#kernel = kernel;
    this.#owner = owner;
    this.destination = parts.destination;
    this.breadth = parts.breadth;
    this.#timeouts = parts.timeouts;
    this.#isInvite = parts.isInvite;
  }

  /** The request as it went out, or as it will but for our Via once a name is resolved. */
  get sent(): Buffer | undefined {
    return this.#transaction?.text;
  }

  /** True once nobody wants it any more. */
  get isCancelled(): boolean {
    return this.#isCancelWanted;
  }

  start(router: Router, draft: RequestDraft, route: Route): void {
    const { provisionalMs, finalMs } = this.#timeouts;
    this.#transaction = new ClientTransaction(this.#kernel, draft, this);
    if (provisionalMs > 0) this.#provisionalTimer = this.#timer('provisional', provisionalMs);
    if (finalMs > 0) this.#finalTimer = this.#timer('final', finalMs);
    this.#restartTimerC();
    router.send(this.#transaction, route);
  }

  /** Asks the destination to stop, as soon as that is allowed. */
  cancel(): void {
    if (this.isDone || this.#isCancelWanted || !this.#isInvite) return;
    this.#isCancelWanted = true;
    this.#transaction?.stay();
    if (this.#transaction?.hasProvisional === true) this.#sendCancel();
  }

  clientResponse(_transaction: ClientTransaction, response: ReceivedResponse): void {
    const { statusCode } = response.message;
    if (statusCode < 200) {
      this.#stop(this.#provisionalTimer);
      if (this.#isCancelWanted) this.#sendCancel();
      if (statusCode === 100) return;
      if (!this.#isCancelWanted) this.#restartTimerC();
      this.#owner.branchProgressed(this, response);
      return;
    }
    if (statusCode < 300) {
      this.#finish();
      this.isSuccessful = true;
      this.#owner.branchProgressed(this, response);
      return;
    }
    if (this.isDone) return;
    this.#finish();
    this.#owner.branchFailed(this, statusCode, response);
  }

  clientFailed(_transaction: ClientTransaction, failure: ClientFailure): void {
    if (this.isDone) return;
    this.#finish();
    this.#owner.branchFailed(this, failureStatus(failure).status, undefined);
  }

  clientEnded(): void {
    this.#finish();
  }

  onTimer(name: string): void {
    if (this.isDone) return;
    switch (name) {
      case 'provisional':
        this.#owner.branchSilent(this);
        return;
      case 'cancel':
        this.#giveUp();
        return;
      default:
        // Nobody has decided in time: a CANCEL where it may be sent, silence otherwise.
        this.cancel();
        if (!this.#isCancelSent) this.#giveUp();
    }
  }

  #giveUp(): void {
    this.#finish();
    this.#transaction?.abandon();
    this.#owner.branchFailed(this, 408, undefined);
  }

  #sendCancel(): void {
    if (this.#isCancelSent || this.#transaction === undefined) return;
    this.#isCancelSent = true;
    sendCancel(this.#kernel, this.#transaction, []);
    this.#cancelTimer = this.#timer('cancel', this.#kernel.sipTimers.timerBMs);
  }

  #restartTimerC(): void {
    if (!this.#isInvite) return;
    this.#stop(this.#timerC);
    this.#timerC = this.#timer('timerC', this.#timeouts.timerCMs);
  }

  #timer(name: string, delayMs: number): TimerHandle {
    return this.#kernel.setTimer(this, name, delayMs);
  }

  #stop(timer: TimerHandle | undefined): void {
    this.#kernel.clearTimer(timer);
  }

  #finish(): void {
    this.isDone = true;
    this.#stop(this.#provisionalTimer);
    this.#stop(this.#finalTimer);
    this.#stop(this.#timerC);
    this.#stop(this.#cancelTimer);
  }
}
