/**
 * Calls every room each 20 ms, on one schedule that never drifts: due times are counted from one zero, not from each
 * other. Rooms are spread over ten phases of 2 ms, so that they do not all work at the same moment.
 */

const TICK_MS = 20;
const PHASES = 10;
const PHASE_MS = TICK_MS / PHASES;
/** Waking up so much too early is as good as in time: Node's timers are no finer, and waiting turn by turn is dear. */
const EARLY_MS = 0.5;
/** Late ticks are made up for, at most so many of them in one go. */
const MAX_CATCH_UP = 3;

export type Tickable = {
  tick(dueMs: number): void;
  /** So many ticks will never happen. */
  miss(ticks: number): void;
};

/** How the clock sleeps; replaced in tests. */
export type Sleep = {
  /** Calls back after about `delayMs`, or as soon as possible for 0; returns how to cancel that. */
  after(delayMs: number, callback: () => void): () => void;
};

export type ClockStatistics = {
  readonly ticks: number;
  readonly missedTicks: number;
  /** How late ticks began: how many by less than 1, 2, 5, 10, 20 ms, and more. */
  readonly lateness: readonly number[];
  readonly worstLatenessMs: number;
};

const LATENESS_MS = [1, 2, 5, 10, 20] as const;

type Phase = { readonly members: Set<Tickable>; dueMs: number };

export class MixClock {
  readonly #now: () => number;
  readonly #sleep: Sleep;
  /** Before the rooms of a phase are called. */
  readonly #onPhase: (dueMs: number) => void;
  readonly #phases: Phase[] = Array.from({ length: PHASES }, () => ({
    members: new Set<Tickable>(),
    dueMs: 0,
  }));
  #zeroMs = 0;
  #cancel: (() => void) | undefined;
  #ticks = 0;
  #missed = 0;
  #worstMs = 0;
  readonly #lateness = new Array<number>(LATENESS_MS.length + 1).fill(0);

  constructor(options: {
    readonly now: () => number;
    readonly sleep?: Sleep;
    readonly onPhase?: (dueMs: number) => void;
  }) {
    this.#now = options.now;
    this.#sleep = options.sleep ?? timers;
    this.#onPhase = options.onPhase ?? ((): void => undefined);
  }

  get statistics(): ClockStatistics {
    return {
      ticks: this.#ticks,
      missedTicks: this.#missed,
      lateness: [...this.#lateness],
      worstLatenessMs: this.#worstMs,
    };
  }

  /** Begins to call a room, in the phase that has the fewest. */
  add(room: Tickable): void {
    const isIdle = this.#phases.every((phase) => phase.members.size === 0);
    if (isIdle) this.#zeroMs = this.#now();
    const phase = this.#phases.reduce((best, other) =>
      other.members.size < best.members.size ? other : best,
    );
    if (phase.members.size === 0) phase.dueMs = this.#nextDue(this.#phases.indexOf(phase));
    phase.members.add(room);
    this.#schedule();
  }

  remove(room: Tickable): void {
    for (const phase of this.#phases) phase.members.delete(room);
    this.#schedule();
  }

  stop(): void {
    for (const phase of this.#phases) phase.members.clear();
    this.#schedule();
  }

  /** The first moment after now that belongs to a phase. */
  #nextDue(index: number): number {
    const first = this.#zeroMs + index * PHASE_MS;
    const passed = Math.max(0, Math.floor((this.#now() - first) / TICK_MS) + 1);
    return first + passed * TICK_MS;
  }

  #schedule(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const next = this.#next();
    if (next === undefined) return;
    const delayMs = next.dueMs - this.#now();
    this.#cancel = this.#sleep.after(Math.max(0, delayMs), () => {
      this.#cancel = undefined;
      this.#wake();
    });
  }

  #next(): Phase | undefined {
    let next: Phase | undefined;
    for (const phase of this.#phases) {
      if (phase.members.size > 0 && (next === undefined || phase.dueMs < next.dueMs)) next = phase;
    }
    return next;
  }

  /** Runs what is due, each phase once at most, so that packets get in between even when it is too much to do. */
  #wake(): void {
    for (let count = 0; count < PHASES; count++) {
      const phase = this.#next();
      if (phase === undefined || phase.dueMs > this.#now() + EARLY_MS) break;
      this.#run(phase);
    }
    this.#schedule();
  }

  #run(phase: Phase): void {
    const lateMs = Math.max(0, this.#now() - phase.dueMs);
    this.#note(lateMs);
    const due = 1 + Math.floor(lateMs / TICK_MS);
    const run = Math.min(due, MAX_CATCH_UP);
    this.#missed += due - run;
    for (let tick = due - run; tick < due; tick++) {
      this.#onPhase(phase.dueMs + tick * TICK_MS);
      for (const room of phase.members) {
        if (tick === due - run && due > run) room.miss(due - run);
        room.tick(phase.dueMs + tick * TICK_MS);
      }
    }
    phase.dueMs += due * TICK_MS;
  }

  #note(lateMs: number): void {
    this.#ticks += 1;
    this.#worstMs = Math.max(this.#worstMs, lateMs);
    const index = LATENESS_MS.findIndex((limit) => lateMs < limit);
    const bucket = index < 0 ? LATENESS_MS.length : index;
    this.#lateness[bucket] = (this.#lateness[bucket] ?? 0) + 1;
  }
}

const timers: Sleep = {
  after(delayMs, callback) {
    if (delayMs === 0) {
      const immediate = setImmediate(callback);
      return () => {
        clearImmediate(immediate);
      };
    }
    const timer = setTimeout(callback, Math.floor(delayMs));
    return () => {
      clearTimeout(timer);
    };
  },
};
