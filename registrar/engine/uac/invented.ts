/** Responses that the engine makes up when a request gets none (RFC 3261 §8.1.3.1); they look like the network's. */

import { reasonPhraseOf } from '../../../core/sip/status.ts';
import type { RequestDraft } from '../request-draft.ts';
import { ownVia } from '../text.ts';
import type { Hop } from '../transport/flow.ts';
import type { ClientFailure, ClientTransaction } from '../transaction/client.ts';

/** Status and phrase of what an application is told instead of an answer. */
export function failureStatus(failure: ClientFailure): { status: number; phrase: string } {
  switch (failure) {
    case 'timeout':
      return { status: 408, phrase: 'Request Timeout' };
    case 'unreachable':
      return { status: 503, phrase: 'Service Unavailable' };
    case 'gone':
      return { status: 410, phrase: 'Gone' };
    case 'flowFailed':
      // RFC 5626 §5.3.
      return { status: 430, phrase: 'Flow Failed' };
    case 'nameNotFound':
      return { status: 503, phrase: 'DNS Error' };
  }
}

/** The bytes of a response to this request, as if somebody had sent it. */
export function inventResponse(
  transaction: ClientTransaction,
  how: { status: number; phrase?: string; tag: string; provisionalHop: Hop | undefined },
): Buffer {
  const { draft, branch } = transaction;
  const hop = transaction.hop ?? how.provisionalHop;
  const via = hop === undefined ? '' : `Via: ${ownVia(hop, branch)}\r\n`;
  const phrase = how.phrase ?? reasonPhraseOf(how.status);
  return Buffer.from(
    `SIP/2.0 ${how.status} ${phrase}\r\n${via}From: ${draft.from}\r\n` +
      `To: ${taggedTo(draft, how.tag)}\r\nCall-ID: ${draft.callId}\r\n` +
      `CSeq: ${draft.sequence} ${draft.method}\r\nContent-Length: 0\r\n\r\n`,
    'utf8',
  );
}

function taggedTo({ to }: RequestDraft, tag: string): string {
  return /;tag=/i.test(to) ? to : `${to};tag=${tag}`;
}
