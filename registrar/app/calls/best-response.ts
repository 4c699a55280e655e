/** Which of several devices' refusals the caller gets (RFC 3261 section 16.7 step 6). */
import type { SipResponse } from '../srf.ts';
import type { Refusal } from './checks.ts';
import { reasonText, responseHeaders } from './headers.ts';

export type ForkFailure = {
  readonly status: number;
  /** Nobody there: made up by the engine (408, 410, 430, 503), not said by the device. */
  readonly isUnreachable: boolean;
};

/** They say what to change for the call to succeed. */
const INSTRUCTIVE: ReadonlySet<number> = new Set([401, 407, 415, 420, 484]);

/**
 * 6xx first; then what a device said before what the engine made up; then the lowest class; within 4xx those that
 * say how to do better, then busy. Among equals the earliest.
 *
 * @param failures - in the order in which they came; 487 stands for a branch that we ended ourselves
 */
export function bestFailure<Failure extends ForkFailure>(
  failures: readonly Failure[],
): Failure | undefined {
  let best: Failure | undefined;
  for (const failure of failures) {
    if (best === undefined || rank(failure) < rank(best)) best = failure;
  }
  return best;
}

function rank(failure: ForkFailure): number {
  const { status } = failure;
  if (status >= 600) return 0;
  if (status === 487) return 10_000;
  if (isNobodyThere(failure)) return 9_000;
  const withinClass = INSTRUCTIVE.has(status) ? 0 : status === 486 ? 1 : 2;
  return Math.floor(status / 100) * 10 + withinClass;
}

/** 430 is what a proxy on the way to the device says of a flow that is gone; callers have no use for it (RFC 5626). */
function isNobodyThere({ status, isUnreachable }: ForkFailure): boolean {
  return isUnreachable || status === 430;
}

/**
 * The status for the caller: as the device said, but a device's own challenge cannot be met by the caller, its 503
 * must not make the caller shun the switch (RFC 3261 section 16.7), and a device that is not there is 480.
 */
export function statusForCaller(failure: ForkFailure | undefined): number {
  if (failure === undefined || isNobodyThere(failure)) return 480;
  if (failure.status === 401 || failure.status === 407) return 403;
  return failure.status === 503 ? 500 : failure.status;
}

export type Failure = ForkFailure & { readonly reason: string; readonly response?: SipResponse };

/** The end of a call that nobody took. */
export type Verdict = {
  readonly by: 'callee' | 'switch';
  /** For the record. */
  readonly text: string;
  readonly answer: Refusal;
};

/** @param domain - stands in the place of the device in what it warns of */
export function verdictOf(failures: readonly Failure[], domain: string): Verdict {
  const best = bestFailure(failures);
  const status = statusForCaller(best);
  if (best === undefined || isNobodyThere(best)) {
    return { by: 'switch', text: 'unreachable', answer: { status } };
  }
  const headers = best.response === undefined ? {} : responseHeaders(best.response, domain);
  // The device's own words belong to its own status only.
  const words = best.status === status ? { reason: best.reason } : {};
  return {
    by: 'callee',
    text: reasonText(headers['Reason'] ?? best.reason),
    answer: { status, headers, ...words },
  };
}
