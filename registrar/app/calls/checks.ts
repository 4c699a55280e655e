/** What may stop a call before anything rings: an ordered list of questions, the first refusal counts. */
import type { SipHeaders } from '../srf.ts';
import type { Account } from '../accounts/accounts.ts';

export type Refusal = {
  readonly status: number;
  readonly reason?: string;
  readonly headers?: SipHeaders;
};

export type CallAttempt = {
  readonly caller: Account;
  /** Canonical nickname. */
  readonly callee: string;
  /** Undefined: the devices make the offer. */
  readonly offer: string | undefined;
};

/** @returns why not, or nothing when this check has no objection */
export type CallCheck = (attempt: CallAttempt) => Refusal | undefined;

export function firstRefusal(
  checks: readonly CallCheck[],
  attempt: CallAttempt,
): Refusal | undefined {
  for (const check of checks) {
    const refusal = check(attempt);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}
