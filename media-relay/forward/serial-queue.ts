/** Runs the jobs of one key one after another, and those of different keys at the same time. */

export class SerialQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Rejects as the job does; a failed job does not stop those behind it. */
  run<Result>(key: string, job: () => Promise<Result> | Result): Promise<Result> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(job);
    const tail = result.then(ignore, ignore).then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    this.#tails.set(key, tail);
    return result;
  }
}

function ignore(): void {
  // The caller has the result.
}
