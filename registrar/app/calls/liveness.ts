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

  /** From now on these, and no others. */
  watch(legs: readonly (Leg | undefined)[]): void {
    this.#cancel?.();
    const watched = legs.filter((leg) => leg !== undefined);
    this.#tick(watched.map((leg) => ({ leg, heard: leg.heard, isAsked: false })));
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  #tick(watched: readonly Watched[]): void {
    if (this.#intervalMs === 0 || this.#isStopped) return;
    this.#cancel = this.#clock.after(this.#intervalMs, () => {
      for (const one of watched) {
        const isSilent = one.leg.heard === one.heard;
        one.heard = one.leg.heard;
        if (isSilent && !one.isAsked && !one.leg.isOver) void this.#ask(one);
      }
      this.#tick(watched);
    });
  }

  async #ask(one: Watched): Promise<void> {
    one.isAsked = true;
    const answer = await one.leg.request('OPTIONS', { Accept: 'application/sdp' });
    one.isAsked = false;
    one.heard = one.leg.heard;
    if (answer.isDialogGone && !this.#isStopped) this.#vanished(one.leg);
  }
}

/** How much had been heard of a leg when it was looked at last, and whether an answer of it is awaited. */
type Watched = { readonly leg: Leg; heard: number; isAsked: boolean };
