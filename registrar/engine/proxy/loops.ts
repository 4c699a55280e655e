/** Requests that come back to a proxy that has forked them, and how wide they may be forked (RFC 5393). */

import { createHash } from 'node:crypto';
import { parseDigits } from '../../../core/sip/grammar.ts';
import { headerIdOf } from '../../../core/sip/header-names.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { Via } from '../../../core/sip/via.ts';
import { ParseError } from '../../../core/errors.ts';

export const MAX_BREADTH = headerIdOf('Max-Breadth');
/** RFC 5393 §5.3.3.1: what a request is given that says nothing. */
const DEFAULT_BREADTH = 60;
const MARK_DIGITS = 12;

/** The end of our branches: the same for a request that has come back with nothing changed that we route by. */
export function loopMarkOf(message: SipMessage): string {
  const routedBy = [message.requestUri, ...message.headerValues('Route')].join('\n');
  return `-${createHash('sha256').update(routedBy).digest('hex').slice(0, MARK_DIGITS)}`;
}

/** True when we have forwarded this very request before (RFC 5393 §4.2.2); not when it has changed: that is a spiral. */
export function isLoop(message: SipMessage, isOwn: (via: Via) => boolean): boolean {
  const mark = loopMarkOf(message);
  try {
    return message.vias.slice(1).some((via) => via.branch.endsWith(mark) && isOwn(via));
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
}

/** How many branches there may be of a request in all, here and further on (RFC 5393 §5.3.3). */
export function breadthOf(message: SipMessage): number {
  return parseDigits(message.header('Max-Breadth') ?? '', 2 ** 31) ?? DEFAULT_BREADTH;
}

/** The part of what is left for the next branch, so that those behind it get as much. */
export function shareOf(available: number, branchesToCome: number): number {
  if (available <= 0) return 0;
  return Math.max(1, Math.floor(available / Math.max(1, branchesToCome)));
}
