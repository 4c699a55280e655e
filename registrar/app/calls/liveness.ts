/** Finds out that a phone has gone without hanging up: OPTIONS inside the dialog, when it has been silent for long. */
import type { Clock } from '../clock.ts';
import type { Leg } from './leg.ts';

/**
 * Media proves nothing: phones send none while they are held, muted or silent. Any answer is a sign of life;
 * only 408, 481 and a broken connection are not (RFC 3261 section 12.2.1.2).
 */
export class Liveness {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #vanished: (leg: Leg) => void;
  #cancel: (() => void) | undefined;
  #isStopped = false;

  /** @param intervalSeconds - 0 turns it off */
  constructor(clock: Clock, intervalSeconds: number, vanished: (leg: Leg) => void) {
    this.#clock = clock;
    this.#intervalMs = intervalSeconds * 1000;
    this.#vanished = vanished;
  }

  watch(legs: readonly (Leg | undefined)[]): void {
    if (this.#intervalMs === 0 || this.#isStopped) return;
    const watched = legs
      .filter((leg) => leg !== undefined)
      .map((leg) => ({ leg, heard: leg.heard }));
    this.#cancel = this.#clock.after(this.#intervalMs, () => {
      for (const { leg, heard } of watched) {
        if (leg.heard === heard && !leg.isOver) void this.#ask(leg);
      }
      this.watch(legs);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  async #ask(leg: Leg): Promise<void> {
    const answer = await leg.request('OPTIONS', { Accept: 'application/sdp' });
    if (answer.isDialogGone && !this.#isStopped) this.#vanished(leg);
  }
}
