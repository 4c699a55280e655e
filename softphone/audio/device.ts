/** The sound device as the softphone sees it: every 20 ms one frame from the microphone for one to the speaker. */

/** Everything between device and codec runs at this rate, mono, 16 bit. */
export const DEVICE_RATE_HZ = 48_000;
export const FRAME_MS = 20;
/** Samples of one frame: 20 ms at 48 kHz. */
export const FRAME_SAMPLES = (DEVICE_RATE_HZ / 1000) * FRAME_MS;

/**
 * Called by the device every 20 ms.
 *
 * @param captured - 960 samples from the microphone; valid only during the call
 * @returns 960 samples to play; copied before the next call
 */
export type Exchange = (captured: Int16Array) => Int16Array;

/** Keeps the pace of a call. A device can be started again after it was stopped. */
export type AudioDevice = {
  /** For the person, for example `sound card`. */
  readonly description: string;
  /** Begins to call `exchange`; the first call may take two seconds to come. */
  start(exchange: Exchange): void;
  /** Resolves when `exchange` will not be called again and the hardware is released. */
  stop(): Promise<void>;
};

/** Monotonic time and timers, so that tests can supply their own. */
export type Clock = {
  nowMs(): number;
  /**
   * Runs `callback` once after `delayMs`; the returned function cancels it.
   *
   * @param isBackground - whether the program may end without it
   */
  setTimer(callback: () => void, delayMs: number, isBackground?: boolean): () => void;
};

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer: (callback, delayMs, isBackground = false) => {
    let due: NodeJS.Immediate | undefined;
    // Whatever has come by then is taken in first: after a stall of the program it is not late.
    const timer = setTimeout(() => {
      due = setImmediate(callback);
    }, delayMs);
    if (isBackground) timer.unref();
    return () => {
      clearTimeout(timer);
      clearImmediate(due);
    };
  },
};
