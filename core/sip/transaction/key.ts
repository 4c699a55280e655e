/** Which transaction a message belongs to, as a text for use in a map (RFC 3261 §17.1.3, §17.2.3). */
import { flatText } from '../../flat-text.ts';
import type { SipMessage } from '../message.ts';
import type { Via } from '../via.ts';

/**
 * The server transaction of a request. An ACK has the key of the INVITE that it acknowledges, if its branch is that of
 * a non-2xx; a CANCEL has its own key (see `cancelledTransactionKey`).
 *
 * @throws ParseError when the top Via is malformed or missing
 */
export function serverTransactionKey(request: SipMessage): string {
  return keyOf(request, request.topVia(), request.method === 'ACK' ? 'INVITE' : request.method);
}

/**
 * The server transaction that a CANCEL cancels: the same branch and sent-by with the method INVITE (RFC 3261 §9.2).
 *
 * @throws ParseError when the top Via is malformed or missing
 */
export function cancelledTransactionKey(cancel: SipMessage): string {
  return keyOf(cancel, cancel.topVia(), 'INVITE');
}

/**
 * The client transaction of a response: our own branch and the method of CSeq.
 *
 * @throws ParseError when Via or CSeq is malformed or missing
 */
export function clientTransactionKey(response: SipMessage): string {
  return clientKeyOf(response.topVia().branch, response.cseq.method);
}

/** The key under which a request that we send is to be found by its responses. */
export function clientKeyOf(branch: string, method: string): string {
  return flatText(`${branch}\n${method}`);
}

function keyOf(request: SipMessage, via: Via, method: string): string {
  // Branches compare without case like all parameters, but nobody changes the case of another's branch.
  if (!via.hasCookie) return flatText(legacyKeyOf(request, via, method));
  return flatText(`${via.branch}\n${via.host}:${via.port ?? 5060}\n${method}`);
}

/**
 * RFC 2543 clients have no unique branch, so all that names the request goes in; but not the To tag, in which an ACK
 * differs from its INVITE, nor the method of CSeq.
 */
function legacyKeyOf(request: SipMessage, via: Via, method: string): string {
  const from = request.header('From') ?? '';
  const callId = request.header('Call-ID') ?? '';
  const sequence = (request.header('CSeq') ?? '').split(' ', 1)[0] ?? '';
  const { requestUri } = request;
  return `${via.toString()}\n${requestUri}\n${from}\n${callId}\n${sequence}\n${method}`;
}
