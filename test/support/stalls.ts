/** Tells a starved machine from a faulty one: how late this process was let run while something was measured. */

const EVERY_MS = 5;

export class StallWatch {
  #worstMs = 0;
  #last = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#worstMs = Math.max(this.#worstMs, now - this.#last - EVERY_MS);
      this.#last = now;
    }, EVERY_MS);
  }

  /** Ends the watch and says how late the latest turn was, in milliseconds. */
  stop(): number {
    clearInterval(this.#timer);
    return this.#worstMs;
  }
}

const ATTEMPTS = 3;
/** What a phone's own jitter buffer bridges. */
const HARMLESS_MS = 60;

/**
 * Measures again, up to three times in all, when a measurement fails and the machine had stalled meanwhile; a failure
 * on a machine that was awake counts at once.
 */
export async function measureAwake(measurement: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const watch = new StallWatch();
    try {
      await measurement();
      return;
    } catch (error) {
      const stalledMs = watch.stop();
      if (stalledMs <= HARMLESS_MS || attempt === ATTEMPTS) throw error;
    } finally {
      watch.stop();
    }
  }
}
