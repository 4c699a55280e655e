/** A request of ours before its way out is known: everything but Via, with `localhost` still to be replaced. */

import { joinMessage, localised, ownContact, ownRoute, ownVia } from './text.ts';
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
  /** A request that we pass on for somebody else: nothing is filled in, and below our Via come those of before. */
  readonly forwarded?: Forwarded | undefined;
};

export type Forwarded = {
  readonly vias: readonly string[];
  /** Whether our own address goes into Record-Route, or into Path for REGISTER. */
  readonly stays: 'recordRoute' | 'path' | undefined;
  /** Where the request came in; its address is recorded as well when the two sides are not on the same socket. */
  readonly cameBy: Hop;
  /** The end of our branch, by which the request is known should it come back unchanged (RFC 5393 §4.2). */
  readonly loopMark?: string | undefined;
};

/** The draft as it goes out on this hop: addresses filled in. */
export function placed(draft: RequestDraft, hop: Hop): RequestDraft {
  const { contact, forwarded } = draft;
  if (forwarded !== undefined) {
    return { ...draft, headers: [...ownRoutes(forwarded, hop), ...draft.headers] };
  }
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

/** The Record-Route or Path lines that make later requests come by us (RFC 3261 §16.6 step 4, RFC 5658, RFC 3327). */
function ownRoutes({ stays, cameBy }: Forwarded, hop: Hop): RequestDraft['headers'] {
  if (stays === undefined) return [];
  const name = stays === 'path' ? 'Path' : 'Record-Route';
  const outer: [string, string] = [name, ownRoute(hop)];
  const isSameSocket = cameBy.listener.id === hop.listener.id;
  return isSameSocket ? [outer] : [outer, [name, ownRoute(cameBy)]];
}

/** The bytes of a placed draft; without `via` the Via line is left out, for a request that has not gone out yet. */
export function encodeRequest(draft: RequestDraft, via: string | undefined): Buffer {
  let head = `${draft.method} ${draft.requestUri} SIP/2.0\r\n`;
  if (via !== undefined) head += `Via: ${via}\r\n`;
  for (const lower of draft.forwarded?.vias ?? []) head += `Via: ${lower}\r\n`;
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
  // The CANCEL and the ACK have one Via only: our own.
  const derived = {
    ...draft,
    method,
    to,
    headers,
    contact: undefined,
    body: NO_BODY,
    forwarded: undefined,
  };
  return encodeRequest({ ...derived, maxForwards: 70 }, ownVia(how.hop, how.branch));
}
