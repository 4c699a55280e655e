/** A 20 ms beat that does not drift: each tick is due at start + n × period, whatever happened to those before. */

import type { Clock } from './device.ts';

/** After a stall, at most this many ticks are made up for at once; what is missing beyond that is skipped. */
const MAXIMUM_BURST = 25;

/**
 * Calls `tick` every `periodMs` until the returned function is called.
 *
 * A late timer is made up for with several ticks, so the long-term rate is exact. After a stall of more than
 * `MAXIMUM_BURST` periods (a suspended laptop) the missing ticks are dropped instead.
 */
export function startPacer(clock: Clock, periodMs: number, tick: () => void): () => void {
  const startMs = clock.nowMs();
  let count = 0;
  let isStopped = false;
  let cancel = clock.setTimer(wake, periodMs);

  function wake(): void {
    const due = Math.floor((clock.nowMs() - startMs) / periodMs);
    if (due - count > MAXIMUM_BURST) count = due - MAXIMUM_BURST;
    while (count < due && !isStopped) {
      count += 1;
      tick();
    }
    if (isStopped) return;
    const delayMs = startMs + (count + 1) * periodMs - clock.nowMs();
    cancel = clock.setTimer(wake, Math.max(0, delayMs));
  }

  return () => {
    isStopped = true;
    cancel();
  };
}
