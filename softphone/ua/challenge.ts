/** Of all the challenges that a response carries (RFC 8760 §2.4), the one that we answer. */

import { ParseError } from '../../core/errors.ts';
import {
  DIGEST_ALGORITHMS,
  formatDigestChallenge,
  parseDigestChallenges,
} from '../../core/sip/digest.ts';
import type { DigestChallenge } from '../../core/sip/digest.ts';
import type { SipMessage } from '../../core/sip/message.ts';

/** The strongest digest challenge of a 401 or 407; undefined when there is none that we can answer. */
export function chooseChallenge(response: SipMessage): DigestChallenge | undefined {
  const challenges = response.headerFields(challengeHeader(response)).flatMap(readableChallenges);
  const [first, ...others] = challenges;
  if (first === undefined) return undefined;
  // Each list is sorted by strength, but there may be several lists: one for each header line.
  return others.reduce((best, other) => (isStronger(other, best) ? other : best), first);
}

function challengeHeader(response: SipMessage): string {
  return response.statusCode === 401 ? 'WWW-Authenticate' : 'Proxy-Authenticate';
}

function readableChallenges(field: string): readonly DigestChallenge[] {
  try {
    return parseDigestChallenges(field);
  } catch (error) {
    if (error instanceof ParseError) return [];
    throw error;
  }
}

function isStronger(a: DigestChallenge, b: DigestChallenge): boolean {
  return rankOf(a) < rankOf(b);
}

function rankOf({ algorithm }: DigestChallenge): number {
  return DIGEST_ALGORITHMS.indexOf(algorithm);
}

/** The header line for sip.js with the chosen challenge alone; none when nothing can be answered. */
export function keepOneChallenge(response: SipMessage): readonly string[] {
  const chosen = chooseChallenge(response);
  if (chosen === undefined) return [];
  return [`${challengeHeader(response)}: ${formatDigestChallenge(chosen)}`];
}
