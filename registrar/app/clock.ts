/** Time as the application sees it, so that tests can supply their own. */

export type Clock = {
  /** Monotonic, milliseconds, never decreases. */
  nowMs(): number;
  /** Milliseconds since 1970, for what is kept or shown. */
  wallMs(): number;
  /** Calls back once after `delayMs`; returns the function that cancels it. Timers are counted by `activeTimers`. */
  after(delayMs: number, callback: () => void): () => void;
  /** How many `after` timers have neither fired nor been cancelled: zero when all is quiet. */
  activeTimers(): number;
};

/** The real one. Its timers keep the process alive no longer than its sockets do. */
export function systemClock(): Clock {
  const active = new Set<NodeJS.Timeout>();
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    activeTimers: () => active.size,
    after: (delayMs, callback) => {
      const timer = setTimeout(() => {
        active.delete(timer);
        callback();
      }, delayMs);
      timer.unref();
      active.add(timer);
      return () => {
        clearTimeout(timer);
        active.delete(timer);
      };
    },
  };
}
