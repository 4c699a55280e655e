/** Which of the answers of several branches goes back to the caller (RFC 3261 §16.7 step 6). */

import type { SipMessage } from '../../../core/sip/message.ts';

/** What one branch came to; without a message when nobody answered or could be reached. */
export type BranchResult = { readonly status: number; readonly message: SipMessage | undefined };

/** Those that let the caller try again with a better request. */
const REPAIRABLE: readonly number[] = [401, 407, 415, 420, 484];

/** The best final response of those above 299; 408 when there is none. */
export function bestResult(results: readonly BranchResult[]): BranchResult {
  const [best] = [...results].sort((a, b) => rank(a.status) - rank(b.status));
  return best ?? { status: 408, message: undefined };
}

/** Lower is better: decisions for everybody, redirections, what can be repaired, other refusals, failures. */
function rank(status: number): number {
  if (status >= 600) return 0;
  if (status < 400) return 1;
  if (REPAIRABLE.includes(status)) return 2;
  // What a branch says because it was called off, and silence, are the least that it can say.
  if (status === 487) return 4;
  if (status === 408) return 5;
  return status < 500 ? 3 : 6;
}

/** The challenges of the other branches, for a caller who must answer all of them (RFC 3261 §16.7 step 7). */
export function otherChallenges(
  results: readonly BranchResult[],
  best: BranchResult,
): readonly (readonly [name: string, value: string])[] {
  if (best.status !== 401 && best.status !== 407) return [];
  return results
    .filter((result) => result !== best && (result.status === 401 || result.status === 407))
    .flatMap(({ message }) =>
      ['WWW-Authenticate', 'Proxy-Authenticate'].flatMap((name) =>
        (message?.headerFields(name) ?? []).map((value): [string, string] => [name, value]),
      ),
    );
}
