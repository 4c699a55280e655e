/** Time that stands still until a test moves it. */
import type { Clock } from '../../registrar/app/clock.ts';

export type ManualClock = Clock & {
  /** Moves time, running what falls due on the way, in order. */
  advance(ms: number): void;
};

export function manualClock(wallStartMs = 1_790_000_000_000): ManualClock {
  let nowMs = 0;
  let timers: { readonly atMs: number; readonly callback: () => void }[] = [];
  return {
    nowMs: () => nowMs,
    wallMs: () => wallStartMs + nowMs,
    activeTimers: () => timers.length,
    after: (delayMs, callback) => {
      const timer = { atMs: nowMs + delayMs, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance: (ms) => {
      const end = nowMs + ms;
      for (;;) {
        const [next] = [...timers].sort((a, b) => a.atMs - b.atMs);
        if (next === undefined || next.atMs > end) break;
        timers = timers.filter((other) => other !== next);
        nowMs = Math.max(nowMs, next.atMs);
        next.callback();
      }
      nowMs = end;
    },
  };
}
