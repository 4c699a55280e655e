/** Requests that wait for their replies, each with a deadline; closing rejects them all. */

import { ControlError } from '../../core/errors.ts';
import type { Dictionary } from './dictionary.ts';

type Pending = {
  readonly resolve: (reply: Dictionary) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
};

export class PendingRequests {
  readonly #pending = new Map<string, Pending>();
  #closedBecause: string | undefined;

  /**
   * Waits for the reply with this cookie.
   *
   * @throws ControlError `relay.timeout` after `deadlineMs`, `relay.closed` when the link is or gets closed
   */
  wait(cookie: string, deadlineMs: number): Promise<Dictionary> {
    return new Promise((resolve, reject) => {
      if (this.#closedBecause !== undefined) {
        reject(new ControlError('relay.closed', this.#closedBecause));
        return;
      }
      const timer = setTimeout(() => {
        this.#pending.delete(cookie);
        reject(new ControlError('relay.timeout', `the relay did not answer in ${deadlineMs} ms`));
      }, deadlineMs);
      this.#pending.set(cookie, { resolve, reject, timer });
    });
  }

  has(cookie: string): boolean {
    return this.#pending.has(cookie);
  }

  /** A reply that nobody waits for, being late or repeated, changes nothing. */
  settle(cookie: string, reply: Dictionary): void {
    const pending = this.#pending.get(cookie);
    if (pending === undefined) return;
    this.#pending.delete(cookie);
    clearTimeout(pending.timer);
    pending.resolve(reply);
  }

  close(reason: string): void {
    if (this.#closedBecause !== undefined) return;
    this.#closedBecause = reason;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new ControlError('relay.closed', reason));
    }
    this.#pending.clear();
  }
}
