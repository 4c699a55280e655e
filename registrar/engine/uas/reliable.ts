/** Provisional responses that are repeated until a PRACK comes (RFC 3262 §3), one INVITE's worth. */

import type { TimerContext, TimerHandle, TimerOwner } from '../timers.ts';

type Unacknowledged = { readonly rseq: number; readonly status: number; readonly bytes: Buffer };

/** What whoever answers the INVITE does on our behalf. */
export type ReliableOwner = {
  /** Sends a response of the INVITE again, or for the first time. */
  sendProvisional(status: number, bytes: Buffer): void;
  /** Nobody acknowledged within 64·T1: the INVITE must be refused (RFC 3262 §3). */
  unacknowledged(): void;
  /** Everything sent so far is acknowledged. */
  allAcknowledged(): void;
};

/** RSeq of the first one is from 1 to 2^31 - 1 (RFC 3262 §3). */
export const MAX_FIRST_RSEQ = 2 ** 31 - 1;

export class ReliableResponses implements TimerOwner {
  readonly #context: TimerContext & { readonly sipTimers: { readonly t1Ms: number } };
  readonly #owner: ReliableOwner;
  /** The number of the last one. */
  #rseq: number;
  /** Only the first is being repeated; the others wait for its PRACK. */
  #queue: Unacknowledged[] = [];
  #repeatTimer: TimerHandle | undefined;
  #giveUpTimer: TimerHandle | undefined;
  #intervalMs = 0;
  #isOver = false;

  constructor(
    context: TimerContext & { readonly sipTimers: { readonly t1Ms: number } },
    owner: ReliableOwner,
    firstRseq: number,
  ) {
    this.#context = context;
    this.#owner = owner;
    this.#rseq = firstRseq - 1;
  }

  get isWaiting(): boolean {
    return this.#queue.length > 0;
  }

  /** The number for the next response. */
  nextRseq(): number {
    this.#rseq += 1;
    return this.#rseq;
  }

  /** Sends a response, now or once those before it are acknowledged. */
  send(response: Unacknowledged): void {
    this.#queue.push(response);
    if (this.#queue.length === 1) this.#sendFirst();
  }

  /** @returns false when no response with this number waits for a PRACK, which then gets 481 */
  acknowledge(rseq: number): boolean {
    if (this.#isOver) return this.#acknowledgeLate(rseq);
    if (this.#queue[0]?.rseq !== rseq) return false;
    this.#queue.shift();
    this.#stopTimers();
    if (this.#queue.length > 0) this.#sendFirst();
    else this.#owner.allAcknowledged();
    return true;
  }

  /** The INVITE has its final answer: nothing is repeated, but what was sent may still be acknowledged. */
  finish(): void {
    this.#isOver = true;
    // Those behind the first were never sent.
    this.#queue = this.#queue.slice(0, 1);
    this.#stopTimers();
  }

  onTimer(name: string): void {
    const [first] = this.#queue;
    if (name === 'giveUp' || first === undefined) {
      this.#stopTimers();
      if (first !== undefined) this.#owner.unacknowledged();
      return;
    }
    this.#owner.sendProvisional(first.status, first.bytes);
    this.#intervalMs *= 2;
    this.#repeatTimer = this.#context.setTimer(this, 'repeat', this.#intervalMs);
  }

  #acknowledgeLate(rseq: number): boolean {
    const isKnown = this.#queue.some((response) => response.rseq === rseq);
    this.#queue = this.#queue.filter((response) => response.rseq !== rseq);
    return isKnown;
  }

  #sendFirst(): void {
    const [first] = this.#queue;
    if (first === undefined) return;
    const { t1Ms } = this.#context.sipTimers;
    this.#intervalMs = t1Ms;
    this.#owner.sendProvisional(first.status, first.bytes);
    this.#repeatTimer = this.#context.setTimer(this, 'repeat', t1Ms);
    this.#giveUpTimer = this.#context.setTimer(this, 'giveUp', 64 * t1Ms);
  }

  #stopTimers(): void {
    this.#context.clearTimer(this.#repeatTimer);
    this.#context.clearTimer(this.#giveUpTimer);
    this.#repeatTimer = undefined;
    this.#giveUpTimer = undefined;
  }
}
