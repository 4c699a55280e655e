/** The timers of SIP transactions, derived from T1, T2 and T4 (RFC 3261 §17 table 4, RFC 6026 §8.12, RFC 4320 §4.1). */

/** Round-trip estimate, longest retransmission interval, longest life of a message in the network. */
export type BaseTimers = { readonly t1Ms: number; readonly t2Ms: number; readonly t4Ms: number };

export const DEFAULT_BASE_TIMERS: BaseTimers = { t1Ms: 500, t2Ms: 4000, t4Ms: 5000 };

/** Milliseconds. D, I, J, K are for unreliable transports; over reliable ones they are zero. */
export type Timers = BaseTimers & {
  /** INVITE request retransmission, doubling. */
  readonly timerAMs: number;
  /** INVITE client timeout. */
  readonly timerBMs: number;
  /** Proxy INVITE timeout after the last provisional response; more than three minutes. */
  readonly timerCMs: number;
  /** Wait for retransmitted final responses to INVITE; at least 32 s with the default T1. */
  readonly timerDMs: number;
  /** Non-INVITE request retransmission, doubling up to T2. */
  readonly timerEMs: number;
  /** Non-INVITE client timeout. */
  readonly timerFMs: number;
  /** INVITE response retransmission, doubling up to T2. */
  readonly timerGMs: number;
  /** Wait for ACK. */
  readonly timerHMs: number;
  /** Wait for retransmitted ACK. */
  readonly timerIMs: number;
  /** Wait for retransmitted non-INVITE requests. */
  readonly timerJMs: number;
  /** Wait for retransmitted non-INVITE responses. */
  readonly timerKMs: number;
  /** Wait for retransmitted INVITE after a 2xx was sent. */
  readonly timerLMs: number;
  /** Wait for retransmitted and forked 2xx. */
  readonly timerMMs: number;
  /** When a client's Timer E reaches T2, which is when a slow non-INVITE request must get its 100. */
  readonly tryingDelayMs: number;
};

/** All timers from T1, T2 and T4; frozen. */
export function deriveTimers(base: BaseTimers = DEFAULT_BASE_TIMERS): Timers {
  const { t1Ms, t2Ms, t4Ms } = base;
  const timeout = 64 * t1Ms;
  return Object.freeze({
    t1Ms,
    t2Ms,
    t4Ms,
    timerAMs: t1Ms,
    timerBMs: timeout,
    timerCMs: 185_000,
    timerDMs: timeout,
    timerEMs: t1Ms,
    timerFMs: timeout,
    timerGMs: t1Ms,
    timerHMs: timeout,
    timerIMs: t4Ms,
    timerJMs: timeout,
    timerKMs: t4Ms,
    timerLMs: timeout,
    timerMMs: timeout,
    tryingDelayMs: untilTimerEIsT2(t1Ms, t2Ms),
  });
}

/** 500 + 1000 + 2000 ms with the defaults. */
function untilTimerEIsT2(t1Ms: number, t2Ms: number): number {
  let total = 0;
  for (let interval = t1Ms; interval < t2Ms; interval *= 2) total += interval;
  return total;
}
