/** Why a call ended, in a word for programs and a sentence for people. */

import { ParseError } from '../../core/errors.ts';
import { parseReasons } from '../../core/sip/reason.ts';

export const CALL_END_KINDS = [
  'hungUp',
  'cancelled',
  'declined',
  'busy',
  'noAnswer',
  'unavailable',
  'unknown',
  'elsewhere',
  'refused',
  'lost',
] as const;
export type CallEndKind = (typeof CALL_END_KINDS)[number];

export type CallEnd = {
  readonly kind: CallEndKind;
  /** Whether this side ended it. */
  readonly byUs: boolean;
  /** The final status of the INVITE, or the cause in a Reason header. */
  readonly statusCode: number | undefined;
  /** A sentence without a full stop, for example `busy`, or what the other side wrote. */
  readonly text: string;
};

const KINDS: ReadonlyMap<number, readonly [CallEndKind, string]> = new Map([
  [401, ['refused', 'the password is wrong']],
  [403, ['refused', 'not allowed']],
  [404, ['unknown', 'nobody has that name']],
  [407, ['refused', 'the password is wrong']],
  [408, ['noAnswer', 'no answer']],
  [410, ['unknown', 'nobody has that name any more']],
  [480, ['unavailable', 'not available']],
  [484, ['unknown', 'that address is not complete']],
  [486, ['busy', 'busy']],
  [487, ['cancelled', 'cancelled']],
  [488, ['refused', 'no codec in common']],
  [503, ['unavailable', 'the server cannot take the call']],
  [600, ['busy', 'busy']],
  [603, ['declined', 'declined']],
  [604, ['unknown', 'nobody has that name']],
  [606, ['refused', 'no codec in common']],
  [607, ['declined', 'declined']],
]);

/** The end that a final status of the other side means. */
export function endFromStatus(statusCode: number, reasonPhrase: string): CallEnd {
  const known = KINDS.get(statusCode);
  const [kind, text] = known ?? ['refused', reasonPhrase === '' ? 'refused' : reasonPhrase];
  return { kind, byUs: false, statusCode, text };
}

/** The end that a BYE or CANCEL means, by its Reason header (RFC 3326). */
export function endFromReason(kind: 'hungUp' | 'cancelled', reason: string | undefined): CallEnd {
  const first = reason === undefined ? undefined : readReason(reason);
  const text = first?.text ?? (kind === 'hungUp' ? 'hung up' : 'the caller gave up');
  const statusCode = first?.cause;
  // RFC 3326 §2: 200 in the CANCEL to the phones that were too late.
  const isElsewhere = kind === 'cancelled' && statusCode === 200;
  if (!isElsewhere) return { kind, byUs: false, statusCode, text };
  return { kind: 'elsewhere', byUs: false, statusCode, text: 'answered elsewhere' };
}

function readReason(
  value: string,
): { cause: number | undefined; text: string | undefined } | undefined {
  try {
    return parseReasons(value).find(({ protocol }) => protocol.toUpperCase() === 'SIP');
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
