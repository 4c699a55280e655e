/** Wrong answers, counted per key; after some free ones each costs a pause that doubles. Bounded in memory. */

export type PenaltyOptions = {
  /** That many wrong answers cost nothing. */
  readonly free: number;
  readonly maxKeys?: number;
};

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
/** After so long without a wrong answer everything is forgiven. */
const FORGET_AFTER_MS = 600_000;
const DEFAULT_MAX_KEYS = 50_000;

type Entry = { failures: number; pausedUntilMs: number; lastMs: number };

export class Penalties {
  readonly #free: number;
  readonly #maxKeys: number;
  /** In the order of the last wrong answer, so that the first is the one to forget. */
  readonly #entries = new Map<string, Entry>();

  constructor({ free, maxKeys = DEFAULT_MAX_KEYS }: PenaltyOptions) {
    this.#free = free;
    this.#maxKeys = maxKeys;
  }

  /** Milliseconds until an answer of this key will be looked at again; 0 is now. */
  pauseMs(key: string, nowMs: number): number {
    const entry = this.#entries.get(key);
    return entry === undefined ? 0 : Math.max(0, entry.pausedUntilMs - nowMs);
  }

  /** Counts a wrong answer. */
  fail(key: string, nowMs: number): void {
    const before = this.#entries.get(key);
    const isForgiven = before === undefined || nowMs - before.lastMs > FORGET_AFTER_MS;
    const failures = isForgiven ? 1 : before.failures + 1;
    this.#entries.delete(key);
    this.#entries.set(key, {
      failures,
      lastMs: nowMs,
      pausedUntilMs: nowMs + this.#pauseAfter(failures),
    });
    if (this.#entries.size > this.#maxKeys) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
  }

  /** A right answer: nothing is held against this key any more. */
  forgive(key: string): void {
    this.#entries.delete(key);
  }

  #pauseAfter(failures: number): number {
    const over = failures - this.#free;
    return over <= 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** Math.min(over - 1, 16), LONGEST_PAUSE_MS);
  }
}
