/** A request outside dialogs as an application wants it: what is refused, and what is made up where it says nothing. */

import { ParseError } from '../../../core/errors.ts';
import { parseDigits } from '../../../core/sip/grammar.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import { METHODS } from '../../../core/sip/status.ts';
import { parseUri, type SipUri } from '../../../core/sip/uri.ts';
import { routeRequest, routeUri } from '../dialog/dialog.ts';
import type { Ids } from '../ids.ts';
import type { RequestDraft } from '../request-draft.ts';
import { sipUri } from '../router.ts';
import {
  looksLikeSdp,
  sequenceOf,
  startLineOf,
  templateBody,
  templateHeaders,
} from '../template.ts';
import { bracketed, OWN_ADDRESS, tagOf } from '../text.ts';

const MAX_FORWARDS = 70;
const MAX_FIRST_SEQUENCE = 100_000_000;
const MISSING_TYPE = 'missing content-type';

/** Where the request goes: its own URI, and the next hop where the application names one. */
export type Destination = { readonly uri: SipUri; readonly nextHop: SipUri | undefined };

/** The destination, or the text with which the request is refused. */
export function destinationOf(
  template: SipMessage,
  nextHopText: string | undefined,
): Destination | string {
  const uri = requestUriOf(template);
  const nextHop = nextHopText === undefined ? undefined : sipUri(nextHopText);
  const isBadHop = nextHopText !== undefined && nextHop === undefined;
  if (uri === undefined || isBadHop || !METHODS.some((known) => known === template.method)) {
    return `invalid request-uri: ${startLineOf(template.bytes)}`;
  }
  return lacksContentType(template) ? MISSING_TYPE : { uri, nextHop };
}

/** A body must say what it is, except a session description, which shows. */
export function lacksContentType(template: SipMessage): boolean {
  const body = templateBody(template);
  return body.length > 0 && !template.has('Content-Type') && !looksLikeSdp(body);
}

/** True for the requests that make a dialog when they are accepted. */
export function makesDialog(method: string): boolean {
  return method === 'INVITE' || method === 'SUBSCRIBE';
}

/** The request with everything that the application left out. */
export function draftOutside(
  ids: Ids,
  template: SipMessage,
  { uri, nextHop }: Destination,
): RequestDraft {
  const { method } = template;
  const { requestUri, routes } = routeRequest(uri.toString(), routesOf(template, nextHop));
  const value = (name: string, otherwise: string): string => template.header(name) ?? otherwise;
  const from = bracketed(value('From', OWN_ADDRESS));
  return {
    method,
    requestUri,
    maxForwards: parseDigits(value('Max-Forwards', ''), 255) ?? MAX_FORWARDS,
    from: tagOf(from) === undefined ? `${from};tag=${ids.tag()}` : from,
    to: bracketed(value('To', `<${uri.toString()}>`)),
    callId: template.header('Call-ID') ?? ids.callId(),
    sequence: sequenceOf(template.header('CSeq')) ?? ids.number(MAX_FIRST_SEQUENCE),
    routes,
    contact: contactOf(template),
    headers: templateHeaders(template),
    body: templateBody(template),
  };
}

/**
 * A route set that is known beforehand (RFC 3261 §8.1.1.1), such as the Path of a registration (RFC 3327 §5.4). An
 * application means it when its first entry is the next hop that it names; other Routes may have been copied from
 * anywhere.
 */
function routesOf(template: SipMessage, nextHop: SipUri | undefined): readonly string[] {
  const routes = template.headerValues('Route');
  const [first] = routes;
  if (nextHop === undefined || first === undefined) return [];
  return routeUri(first)?.equals(nextHop) === true ? routes : [];
}

function contactOf(template: SipMessage): RequestDraft['contact'] {
  const given = template.headerFields('Contact');
  if (given.length > 0) return bracketed(given.join(', '));
  return makesDialog(template.method) ? true : undefined;
}

/** Request-URI of a template; a bare number is meant for us. */
function requestUriOf(template: SipMessage): SipUri | undefined {
  const text = template.requestUri;
  if (/^[+\d]\d*$/.test(text)) return sipUri(`sip:${text}@localhost`);
  try {
    const uri = parseUri(text);
    return uri.kind === 'sip' ? uri : undefined;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
