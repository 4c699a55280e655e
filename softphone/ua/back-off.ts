/** How long to wait before the next attempt to connect or register. */

export type BackOffOptions = {
  readonly firstMs: number;
  readonly maximumMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
};

/**
 * Doubling delays, each between 50 and 100 % of its upper bound (the rule of RFC 5626 §4.5).
 *
 * Deviation: with bounds of seconds, not of minutes, because a person waits in front of it.
 */
export class BackOff {
  readonly #options: BackOffOptions;
  #failures = 0;

  constructor(options: BackOffOptions) {
    this.#options = options;
  }

  /** The delay after one more failure. */
  next(): number {
    const { firstMs, maximumMs, random } = this.#options;
    const bound = Math.min(maximumMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return bound * (0.5 + 0.5 * random());
  }

  /** It worked: the next failure starts from the beginning. */
  reset(): void {
    this.#failures = 0;
  }
}
