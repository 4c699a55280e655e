/** A request of ours before its way out is known: everything but Via, with `localhost` still to be replaced. */

import { joinMessage, localised, ownContact, ownVia } from './text.ts';
import type { Hop } from './transport/flow.ts';

export type RequestDraft = {
  readonly method: string;
  readonly requestUri: string;
  readonly maxForwards: number;
  /** Whole values, tags included. */
  readonly from: string;
  readonly to: string;
  readonly callId: string;
  readonly sequence: number;
  readonly routes: readonly string[];
  /** `true`: our own address on the hop; `undefined`: none. */
  readonly contact: string | true | undefined;
  /** Everything else except Content-Length, names in canonical spelling. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
};

/** The draft as it goes out on this hop: addresses filled in. */
export function placed(draft: RequestDraft, hop: Hop): RequestDraft {
  const { contact } = draft;
  return {
    ...draft,
    from: localised(draft.from, hop),
    to: localised(draft.to, hop),
    contact: contact === true ? ownContact(hop) : contact && localised(contact, hop),
    headers: draft.headers.map(([name, value]) =>
      name === 'P-Asserted-Identity' ? [name, localised(value, hop)] : [name, value],
    ),
  };
}

/** The bytes of a placed draft; without `via` the Via line is left out, for a request that has not gone out yet. */
export function encodeRequest(draft: RequestDraft, via: string | undefined): Buffer {
  let head = `${draft.method} ${draft.requestUri} SIP/2.0\r\n`;
  if (via !== undefined) head += `Via: ${via}\r\n`;
  head += `Max-Forwards: ${draft.maxForwards}\r\n`;
  for (const route of draft.routes) head += `Route: ${route}\r\n`;
  head += `From: ${draft.from}\r\nTo: ${draft.to}\r\nCall-ID: ${draft.callId}\r\n`;
  head += `CSeq: ${draft.sequence} ${draft.method}\r\n`;
  if (typeof draft.contact === 'string') head += `Contact: ${draft.contact}\r\n`;
  for (const [name, value] of draft.headers) head += `${name}: ${value}\r\n`;
  head += `Content-Length: ${draft.body.length}\r\n\r\n`;
  return joinMessage(head, draft.body);
}

const NO_BODY = Buffer.alloc(0);

/**
 * The CANCEL or the ACK to a failure of this request (RFC 3261 §9.1, §17.1.1.3): same Request-URI, Via, Call-ID, From,
 * Route and number.
 */
export function encodeHopByHop(
  draft: RequestDraft,
  method: 'ACK' | 'CANCEL',
  how: {
    readonly hop: Hop;
    readonly branch: string;
    readonly to: string;
    readonly headers: RequestDraft['headers'];
  },
): Buffer {
  const { to, headers } = how;
  const derived = { ...draft, method, to, headers, contact: undefined, body: NO_BODY };
  return encodeRequest({ ...derived, maxForwards: 70 }, ownVia(how.hop, how.branch));
}
