/** Timers of the engine: every one has an owner and a name, and none of them costs a closure. */

/** Whoever is called when a timer runs out. */
export type TimerOwner = { onTimer(name: string): void };

/** One running timer; `ticket` is the clock's own. */
export type TimerHandle = { readonly owner: TimerOwner; readonly name: string; ticket: number };

export type TimerContext = {
  setTimer(owner: TimerOwner, name: string, delayMs: number): TimerHandle;
  /** Stopping what has run out or was stopped before changes nothing. */
  clearTimer(handle: TimerHandle | undefined): void;
};

/** The timers of one transaction, of which no more than two run at a time. */
export class TimerPair {
  readonly #context: TimerContext;
  readonly #owner: TimerOwner;
  #first: TimerHandle | undefined;
  #second: TimerHandle | undefined;

  constructor(context: TimerContext, owner: TimerOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /** Starts a timer, or starts it anew. */
  start(name: string, delayMs: number): void {
    this.stop(name);
    const handle = this.#context.setTimer(this.#owner, name, delayMs);
    if (this.#first === undefined) this.#first = handle;
    else this.#second = handle;
  }

  stop(name: string): void {
    if (this.#first?.name === name) {
      this.#context.clearTimer(this.#first);
      this.#first = undefined;
    } else if (this.#second?.name === name) {
      this.#context.clearTimer(this.#second);
      this.#second = undefined;
    }
  }

  /** To be called by the owner when a timer has run out. */
  fired(name: string): void {
    if (this.#first?.name === name) this.#first = undefined;
    else if (this.#second?.name === name) this.#second = undefined;
  }

  stopAll(): void {
    this.#context.clearTimer(this.#first);
    this.#context.clearTimer(this.#second);
    this.#first = undefined;
    this.#second = undefined;
  }
}
