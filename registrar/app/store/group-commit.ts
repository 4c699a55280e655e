/** Gathers writes for a few milliseconds and commits them in one transaction, so that durability costs little each. */

type Waiting = {
  readonly write: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
};

export type GroupCommitOptions = {
  /** Runs `body` in one transaction: all of it or nothing. */
  readonly transact: (body: () => void) => void;
  /** Calls back a little later; returns the function that cancels. */
  readonly after: (delayMs: number, callback: () => void) => () => void;
  /** How long the first write of a group waits for others. */
  readonly delayMs: number;
  /** A group this large is committed at once. */
  readonly maxWrites: number;
};

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #waiting: Waiting[] = [];
  #cancelTimer: (() => void) | undefined;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Resolves when committed; rejects when this write threw, or the commit failed. */
  enqueue(write: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      if (this.#waiting.length >= this.#options.maxWrites) this.flush();
      else
        this.#cancelTimer ??= this.#options.after(this.#options.delayMs, () => {
          this.flush();
        });
    });
  }

  /** Commits what waits, now. */
  flush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    try {
      this.#commit(group);
      for (const { resolve } of group) resolve();
    } catch {
      this.#commitEachAlone(group);
    }
  }

  #commit(group: readonly Waiting[]): void {
    this.#options.transact(() => {
      for (const { write } of group) write();
    });
  }

  /** One bad write must not take its neighbours with it. */
  #commitEachAlone(group: readonly Waiting[]): void {
    for (const waiting of group) {
      try {
        this.#commit([waiting]);
        waiting.resolve();
      } catch (error) {
        waiting.reject(error);
      }
    }
  }
}
