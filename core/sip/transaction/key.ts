/** Which transaction a message belongs to, as a text for use in a map (RFC 3261 §17.1.3, §17.2.3). */
import type { SipMessage } from '../message.ts';
import type { Via } from '../via.ts';

/**
 * The server transaction of a request. An ACK has the key of the INVITE that it acknowledges, if its branch is that of
 * a non-2xx; a CANCEL has its own key (see `cancelledTransactionKey`).
 *
 * @throws ParseError when Via, CSeq, From, To or Call-ID is malformed or missing
 */
export function serverTransactionKey(request: SipMessage): string {
  return keyOf(request, request.method === 'ACK' ? 'INVITE' : request.method);
}

/** The server transaction that a CANCEL cancels: the same branch and sent-by with the method INVITE (RFC 3261 §9.2). */
export function cancelledTransactionKey(cancel: SipMessage): string {
  return keyOf(cancel, 'INVITE');
}

/**
 * The client transaction of a response: our own branch and the method of CSeq.
 *
 * @throws ParseError when Via or CSeq is malformed or missing
 */
export function clientTransactionKey(response: SipMessage): string {
  return `${response.topVia().branch}|${response.cseq.method}`;
}

/** The key under which a request that we send is to be found by its responses. */
export function clientKeyOf(branch: string, method: string): string {
  return `${branch}|${method}`;
}

function keyOf(request: SipMessage, method: string): string {
  const via = request.topVia();
  // Branches compare without case like all parameters, but they are ours to repeat and nobody changes their case.
  if (via.hasCookie) return `${via.branch}|${sentByOf(via)}|${method}`;
  return legacyKeyOf(request, via, method);
}

/** RFC 2543 clients: no unique branch, so all that names the request together; the To tag differs between INVITE and ACK. */
function legacyKeyOf(request: SipMessage, via: Via, method: string): string {
  const { sequence } = request.cseq;
  const from = request.fromTag ?? '';
  const parts = [via.branch, sentByOf(via), method, request.requestUri, from, request.callId];
  return `${parts.join('|')}|${sequence}`;
}

function sentByOf(via: Via): string {
  return `${via.host}:${via.port ?? 5060}`;
}
