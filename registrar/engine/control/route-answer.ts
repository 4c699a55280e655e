/** What a web server is asked about a new request, and what it may answer (drachtio's call routing over HTTP). */

import { ParseError } from '../../../core/errors.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import { NameAddr } from '../../../core/sip/name-addr.ts';
import { Params } from '../../../core/sip/params.ts';
import { parseUri, type SipUri, type Uri } from '../../../core/sip/uri.ts';
import type { Hop } from '../transport/flow.ts';
import { protoName } from './report.ts';
import { placeFromAnswer, type ApplicationPlace } from './request-handlers.ts';

/** Where the search of a proxied request goes, and how. */
export type ProxyAnswer = {
  readonly action: 'proxy';
  readonly destinations: readonly string[];
  readonly staysInDialog: boolean;
  readonly followsRedirects: boolean;
  readonly isSimultaneous: boolean;
  readonly provisionalTimeout: string;
  readonly finalTimeout: string;
};

export type RouteAnswer =
  | { readonly action: 'reject'; readonly status: number; readonly reason: string | undefined }
  | { readonly action: 'redirect'; readonly contacts: readonly string[] }
  | ProxyAnswer
  | { readonly action: 'connect'; readonly place: ApplicationPlace }
  | { readonly action: 'tag'; readonly tag: string };

/** Servers give up reading a request line at 8 or 16 kB. */
const MAX_URL_LENGTH = 8_000;
const MAX_TARGETS = 32;
const MAX_REASON_LENGTH = 128;
const DURATION = /^\d{1,9}(?:ms|s)$/;
// eslint-disable-next-line no-control-regex -- which must not get into a start line
const CONTROL_CHARACTERS = /[\u0000-\u001F\u007F]/;

/**
 * The URL to ask, with the fields that drachtio-server sends and the parameters of the Request-URI; of those not the ones
 * that would pass for a field.
 *
 * @returns undefined when it would be too long to be answered
 */
export function questionUrl(base: URL, request: SipMessage, hop: Hop): string | undefined {
  const url = new URL(base);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  const target = targetOf(request);
  const fields = [
    ['method', request.method],
    ['domain', target.host],
    ['protocol', protoName(hop.transport)],
    ['source_address', hop.remote.address],
    ['fromUser', userOf(() => request.from().uri)],
    ['toUser', userOf(() => request.to().uri)],
    ['uriUser', userOf(() => request.uri)],
    ['contentType', mediaTypeOf(request)],
    ['uri', request.requestUri],
  ] as const;
  for (const [name, value] of fields) url.searchParams.append(name, value);
  const taken = new Set<string>(fields.map(([name]) => name.toLowerCase()));
  for (const [name, value] of target.params.entries()) {
    if (!taken.has(name)) url.searchParams.append(name, value ?? '');
  }
  return url.href.length > MAX_URL_LENGTH ? undefined : url.href;
}

/** Host and parameters of the Request-URI; nothing when it is no SIP URI. */
function targetOf(request: SipMessage): Pick<SipUri, 'host' | 'params'> {
  const uri = uriOf(() => request.uri);
  return uri?.kind === 'sip' ? uri : { host: '', params: Params.none };
}

/** Without parameters. */
function mediaTypeOf(request: SipMessage): string {
  const [type = ''] = (request.header('Content-Type') ?? '').split(';');
  return type.trim();
}

/** As written, or nothing; of a tel URI the number. */
function userOf(read: () => Uri): string {
  const uri = uriOf(read);
  if (uri?.kind === 'tel') return uri.number;
  return uri?.kind === 'sip' ? (uri.user ?? '') : '';
}

/** @param read - may throw ParseError, for a header that the message brings malformed */
function uriOf(read: () => Uri): Uri | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/** @returns undefined for anything that says nothing clear */
export function parseRouteAnswer(body: Buffer): RouteAnswer | undefined {
  const answer = parseObject(body);
  const data = answer?.['data'];
  if (answer === undefined || !isObject(data)) return undefined;
  switch (answer['action']) {
    case 'reject':
      return parseReject(data);
    case 'redirect': {
      const contacts = listOf(data['contact'], isContact);
      return contacts && { action: 'redirect', contacts };
    }
    case 'proxy':
      return parseProxy(data);
    case 'route':
      return parseRoute(data);
    default:
      return undefined;
  }
}

type Json = Readonly<Record<string, unknown>>;

function parseObject(body: Buffer): Json | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseReject({ status, reason }: Json): RouteAnswer | undefined {
  if (typeof status !== 'number' || !Number.isInteger(status)) return undefined;
  if (status < 300 || status > 699) return undefined;
  if (reason === undefined || reason === null || reason === '') {
    return { action: 'reject', status, reason: undefined };
  }
  const isReason =
    typeof reason === 'string' &&
    reason.length <= MAX_REASON_LENGTH &&
    !CONTROL_CHARACTERS.test(reason);
  return isReason ? { action: 'reject', status, reason } : undefined;
}

function parseProxy(data: Json): RouteAnswer | undefined {
  const destinations = listOf(data['destination'], (text) => !CONTROL_CHARACTERS.test(text));
  if (destinations === undefined) return undefined;
  return {
    action: 'proxy',
    destinations,
    staysInDialog: data['recordRoute'] === true,
    followsRedirects: data['followRedirects'] !== false,
    isSimultaneous: data['simultaneous'] === true,
    provisionalTimeout: durationOf(data['provisionalTimeout'], '5s'),
    finalTimeout: durationOf(data['finalTimeout'], '60s'),
  };
}

function durationOf(value: unknown, fallback: string): string {
  return typeof value === 'string' && DURATION.test(value) ? value : fallback;
}

function parseRoute({ uri, tag }: Json): RouteAnswer | undefined {
  if (typeof uri === 'string') {
    const place = placeFromAnswer(uri);
    return place && { action: 'connect', place };
  }
  return typeof tag === 'string' && tag !== '' ? { action: 'tag', tag } : undefined;
}

/** One text or a list of them; `undefined` unless each fits. */
function listOf(value: unknown, fits: (text: string) => boolean): readonly string[] | undefined {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > MAX_TARGETS) return undefined;
  const texts = list.filter((item) => typeof item === 'string' && fits(item));
  return texts.length === list.length ? (texts as string[]) : undefined;
}

function isContact(text: string): boolean {
  if (CONTROL_CHARACTERS.test(text)) return false;
  try {
    parseUri(NameAddr.parse(text).uriText);
    return true;
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
}
