/** Real-time programs on machines that have other things to do: goes before those, and tells starved from faulty. */

import { readdirSync, readFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';

/** Niceness of what sound depends on. */
export const URGENT = -10;
const ATTEMPTS = 4;
/** On a machine that has time, phones in a call wait for less than a hundredth of it. */
const HARMLESS_SHARE = 0.03;

/** Threads that are started in `start` go before whatever else the machine does, where we may say so. */
export async function withUrgentThreads<T>(start: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return start();
  setPriority(URGENT);
  try {
    return await start();
  } finally {
    setPriority(constants.priority.PRIORITY_NORMAL);
  }
}

/** A process and those that it has started. */
function family(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const children = threads.flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
    );
    return [pid, ...children.flatMap((child) => family(Number(child)))];
  } catch {
    // It has ended, or Linux does not say.
    return [pid];
  }
}

/** Milliseconds that all threads of a process have been ready to run and were not let run; 0 where Linux does not say. */
function waitedMs(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const waits = threads.map((thread) => {
      const counts = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
      return Number(counts[1] ?? 0) / 1e6;
    });
    return waits.reduce((sum, wait) => sum + wait, 0);
  } catch {
    // It has ended.
    return 0;
  }
}

/**
 * Measures again, up to four times in all, when a measurement fails and this process or one of `pids` (or one that it
 * has started) had to wait for a processor meanwhile; a failure on a machine that had time counts at once.
 */
export async function measureAwake(
  pids: readonly number[],
  measurement: () => Promise<void>,
): Promise<void> {
  const waited = (): Map<number, number> =>
    new Map([process.pid, ...pids.flatMap(family)].map((pid) => [pid, waitedMs(pid)]));
  for (let attempt = 1; ; attempt++) {
    const before = waited();
    const startedMs = performance.now();
    try {
      await measurement();
      return;
    } catch (error) {
      const elapsedMs = performance.now() - startedMs;
      const waits = Array.from(waited(), ([pid, ms]) => ms - (before.get(pid) ?? 0));
      const share = Math.max(...waits) / elapsedMs;
      if (share <= HARMLESS_SHARE) throw error;
      if (attempt === ATTEMPTS) {
        const percent = Math.round(share * 100);
        const why = `could not be measured in ${ATTEMPTS} attempts: the machine is too busy (a program waited ${percent} % of the time)`;
        throw new Error(`${why}; at last: ${String(error)}`, { cause: error });
      }
    }
  }
}
