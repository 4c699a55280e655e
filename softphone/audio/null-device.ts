/** The device of a machine without sound: a silent microphone and a speaker that nobody hears, at the right pace. */

import { FRAME_MS, FRAME_SAMPLES, systemClock } from './device.ts';
import type { AudioDevice, Clock } from './device.ts';
import { startPacer } from './pacer.ts';

/** Works everywhere; calls run on files and generated sound. */
export function createNullDevice(clock: Clock = systemClock): AudioDevice {
  const silence = new Int16Array(FRAME_SAMPLES);
  let stopPacer: (() => void) | undefined;
  return {
    description: 'no sound device',
    start(exchange) {
      stopPacer?.();
      stopPacer = startPacer(clock, FRAME_MS, () => {
        exchange(silence.fill(0));
      });
    },
    stop() {
      stopPacer?.();
      stopPacer = undefined;
      return Promise.resolve();
    },
  };
}
