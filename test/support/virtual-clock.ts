/** Time that passes only when a test says so, for parts that are driven by inputs and deadlines. */

import type { Deadline } from '../../core/deadline.ts';

export class VirtualClock {
  #nowMs: number;

  constructor(startMs = 1_000) {
    this.#nowMs = startMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /**
   * Lets time pass, stopping at every deadline on the way.
   *
   * @param nextDeadline - asked again after each stop
   * @param wake - called at each deadline, with the clock set to it
   */
  advance(ms: number, nextDeadline: () => Deadline | undefined, wake: () => void): void {
    const end = this.#nowMs + ms;
    for (let next = nextDeadline(); next !== undefined && next.atMs <= end; next = nextDeadline()) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      wake();
    }
    this.#nowMs = end;
    wake();
  }
}
