/** Arrival times of packets over networks of several kinds, repeatable: for tests of jitter buffers. */

import { seededRandom } from './random.ts';

/** Delay of each packet in milliseconds, in sending order. */
export type DelayTrace = (index: number) => number;

export const TRACE_NAMES = ['lan', 'wan', 'wifi', 'lte', 'steps'] as const;
export type TraceName = (typeof TRACE_NAMES)[number];

const PACKET_MS = 20;

/**
 * - `lan`: a millisecond here and there.
 * - `wan`: gamma distributed, 8 ms on average.
 * - `wifi`: quiet, with a spike of 80 to 200 ms every few seconds behind which packets queue.
 * - `lte`: wanders between 40 and 140 ms.
 * - `steps`: 30 and 110 ms in turns of 30 seconds.
 *
 * Packets never overtake each other.
 */
export function delayTrace(name: TraceName, seed = 1): DelayTrace {
  const random = seededRandom(seed);
  const next = generators[name](random);
  let previous = -Infinity;
  return (index) => {
    // In a queue nobody arrives before who was sent before.
    previous = Math.max(next(index), previous - PACKET_MS);
    return previous;
  };
}

const generators: Readonly<Record<TraceName, (random: () => number) => (index: number) => number>> =
  {
    lan: (random) => () => 1 + 1.5 * random(),
    wan: (random) => () => 30 - 4 * Math.log(1 - random()) - 4 * Math.log(1 - random()),
    wifi: (random) => {
      let untilSpike = 150;
      return () => {
        untilSpike -= 1;
        if (untilSpike > 0) return 3 - 2 * Math.log(1 - random());
        untilSpike = Math.ceil(100 + 300 * random());
        return 80 + 120 * random();
      };
    },
    lte: (random) => {
      let wander = 90;
      return () => {
        wander += 3 * (random() - 0.5) + (90 - wander) * 0.002;
        wander = Math.max(40, Math.min(140, wander));
        return wander - 5 * Math.log(1 - random());
      };
    },
    steps: (random) => (index) => {
      const isHigh = Math.floor((index * PACKET_MS) / 30000) % 2 === 1;
      return (isHigh ? 110 : 30) + 3 * random();
    },
  };
