/** A received request made ready to be passed on (RFC 3261 §16.6): everything of it, one hop less. */

import { HEADER, type HeaderId } from '../../../core/sip/header-names.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { Forwarded, RequestDraft } from '../request-draft.ts';
import type { HeaderLine } from '../template.ts';
import { restOfList } from '../text.ts';
import type { Hop } from '../transport/flow.ts';
import { MAX_BREADTH } from './loops.ts';

const MAX_FORWARDS = 70;

/** What has its own place in a draft. */
const PLACED = new Set<HeaderId>([
  HEADER.via,
  HEADER.from,
  HEADER.to,
  HEADER.callId,
  HEADER.cseq,
  HEADER.maxForwards,
  HEADER.route,
  HEADER.contact,
  HEADER.contentLength,
]);

export type ForwardParts = {
  readonly requestUri: string;
  readonly routes: readonly string[];
  readonly stays: Forwarded['stays'];
  /** Headers of the application. */
  readonly extra: readonly HeaderLine[];
  readonly loopMark?: string | undefined;
  /** Instead of the Max-Breadth of the request, for one of several copies. */
  readonly breadth?: number | undefined;
};

/** What no proxy may pass on: a request without hops left, or that wants of it what we cannot do (RFC 3261 §16.3). */
export function refusalOf(
  message: SipMessage,
): { readonly status: 420 | 483; readonly headers: readonly HeaderLine[] } | undefined {
  if (message.maxForwards === 0) return { status: 483, headers: [] };
  const wanted = message.headerValues('Proxy-Require');
  if (wanted.length === 0) return undefined;
  return { status: 420, headers: [['Unsupported', wanted.join(', ')]] };
}

/** The draft of one copy; `topVia` is the sender's, with `received` and `rport` filled in. */
export function draftForward(
  message: SipMessage,
  topVia: string,
  cameBy: Hop,
  { requestUri, routes, stays, extra, loopMark, breadth }: ForwardParts,
): RequestDraft {
  const vias: string[] = [];
  const headers: HeaderLine[] = [];
  message.forEachHeader((id, name, value) => {
    if (id === HEADER.via) vias.push(vias.length === 0 ? topVia + restOfList(value) : value);
    else if (!PLACED.has(id) && (id !== MAX_BREADTH || breadth === undefined)) {
      headers.push([name, value]);
    }
  });
  if (breadth !== undefined) headers.push(['Max-Breadth', String(breadth)]);
  if (stays === 'path') headers.push(['Require', 'path']);
  const contacts = message.headerFields('Contact');
  return {
    method: message.method,
    requestUri,
    maxForwards: (message.maxForwards ?? MAX_FORWARDS + 1) - 1,
    from: message.header('From') ?? '',
    to: message.header('To') ?? '',
    callId: message.callId,
    sequence: message.cseq.sequence,
    routes,
    contact: contacts.length === 0 ? undefined : contacts.join(', '),
    headers: [...headers, ...extra],
    body: message.body,
    forwarded: { vias, stays, cameBy, loopMark },
  };
}
