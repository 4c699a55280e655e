/** SIP, SIPS and tel URIs: parsing, writing, escaping, comparison (RFC 3261 §19.1, RFC 3966, RFC 5954). */
import { ParseError } from '../errors.ts';
import { isDigitCode, isTokenCode } from './grammar.ts';
import { formatHostPort, parseHostPort } from './host.ts';
import { Params } from './params.ts';

/** Tell them apart by `kind`. */
export type Uri = SipUri | TelUri | OtherUri;

/** A scheme that we do not know, for example `mailto:` or `urn:`; `opaque` is all behind the colon. */
export type OtherUri = {
  readonly kind: 'other';
  readonly scheme: string;
  readonly opaque: string;
  toString(): string;
};

/** Parts to replace in a copy of a URI; a key that is present with `undefined` removes that part. */
export type SipUriChanges = {
  readonly scheme?: 'sip' | 'sips';
  readonly user?: string | undefined;
  readonly host?: string;
  readonly port?: number | undefined;
  readonly params?: Params;
  readonly headers?: string | undefined;
};

/** Deviation: `#` must be escaped in a user part, but phones that dial `#room` do not all do so. */
const USER_EXTRA = "-_.!~*'()&=+$,;?/#";
const PASSWORD_EXTRA = "-_.!~*'()&=+$,";
const PARAM_EXTRA = "-_.!~*'()[]/:&+$";
const HEADERS_EXTRA = "-_.!~*'()[]/?:+$=&";

/** For each ASCII character, bits of the parts of a URI in which it may stand unescaped. */
const ALLOWED = new Uint8Array(128);
const IN_USER = 1;
const IN_PASSWORD = 2;
const IN_PARAM = 4;
const IN_HEADERS = 8;
for (let code = 0; code < 128; code++) {
  const letter = String.fromCharCode(code);
  const isAlphanumeric = /[A-Za-z0-9]/.test(letter);
  const allow = (extra: string, bit: number): number =>
    isAlphanumeric || extra.includes(letter) ? bit : 0;
  ALLOWED[code] =
    allow(USER_EXTRA, IN_USER) |
    allow(PASSWORD_EXTRA, IN_PASSWORD) |
    allow(PARAM_EXTRA, IN_PARAM) |
    allow(HEADERS_EXTRA, IN_HEADERS);
}

/** RFC 3261 §19.1.4: a URI with one of these does not equal one without it. */
const PARAMS_THAT_DISTINGUISH = ['transport', 'user', 'ttl', 'method', 'maddr'] as const;

/**
 * An immutable SIP or SIPS URI. `user` and `password` are kept as written (escaped); `host` is in lower case, IPv6
 * without brackets. `toString()` of a parsed URI gives back the text that was parsed.
 */
export class SipUri {
  readonly kind = 'sip';
  readonly scheme: 'sip' | 'sips';
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly host: string;
  readonly port: number | undefined;
  readonly params: Params;
  /** Everything behind `?`, as written. */
  readonly headers: string | undefined;
  readonly #text: string;

  private constructor(parts: Omit<SipUri, 'kind' | 'userText' | 'with' | 'equals'>, text: string) {
    this.scheme = parts.scheme;
    this.user = parts.user;
    this.password = parts.password;
    this.host = parts.host;
    this.port = parts.port;
    this.params = parts.params;
    this.headers = parts.headers;
    this.#text = text === '' ? format(parts) : text;
  }

  /** Builds a URI; `user` must be escaped already (see `escapeUser`), `host` comes without brackets. */
  static of(host: string, changes: SipUriChanges = {}): SipUri {
    return new SipUri(
      {
        scheme: changes.scheme ?? 'sip',
        user: changes.user,
        password: undefined,
        host: changes.host ?? host,
        port: changes.port,
        params: changes.params ?? Params.none,
        headers: changes.headers,
      },
      '',
    );
  }

  /** @throws ParseError `sip.uri.malformed`, `sip.host.malformed` for anything but a whole `sip:` or `sips:` URI */
  static parse(text: string): SipUri {
    const uri = parseUri(text);
    if (uri.kind !== 'sip') throw malformed('URI is neither sip nor sips', 0);
    return uri;
  }

  /** For `parseUri`: parses what follows the colon at `start - 1`. */
  static parseRest(text: string, scheme: 'sip' | 'sips', start: number): SipUri {
    const at = text.indexOf('@', start);
    let user: string | undefined;
    let password: string | undefined;
    if (at >= 0) {
      const colon = text.indexOf(':', start);
      const userEnd = colon >= 0 && colon < at ? colon : at;
      user = checked(text, start, userEnd, IN_USER);
      if (user === '') throw malformed('URI with empty user part', start);
      password = userEnd < at ? checked(text, userEnd + 1, at, IN_PASSWORD) : undefined;
    }
    const hostStart = at < 0 ? start : at + 1;
    const question = text.indexOf('?', hostStart);
    const paramsEnd = question < 0 ? text.length : question;
    const semicolon = text.indexOf(';', hostStart);
    const hostEnd = semicolon < 0 || semicolon > paramsEnd ? paramsEnd : semicolon;
    const { host, port } = parseHostPort(text.slice(hostStart, hostEnd));
    const params = hostEnd < paramsEnd ? parseParams(text, hostEnd, paramsEnd) : Params.none;
    const headers = question < 0 ? undefined : checkedHeaders(text, question + 1);
    return new SipUri({ scheme, user, password, host, port, params, headers }, text);
  }

  /** The user part with its escapes resolved, or `''`; what a person reads. */
  get userText(): string {
    return this.user === undefined ? '' : unescape(this.user);
  }

  /** A copy with some parts replaced. */
  with(changes: SipUriChanges): SipUri {
    return new SipUri(
      {
        scheme: changes.scheme ?? this.scheme,
        user: 'user' in changes ? changes.user : this.user,
        password: 'user' in changes ? undefined : this.password,
        host: changes.host ?? this.host,
        port: 'port' in changes ? changes.port : this.port,
        params: changes.params ?? this.params,
        headers: 'headers' in changes ? changes.headers : this.headers,
      },
      '',
    );
  }

  /** RFC 3261 §19.1.4, with RFC 5954 §4.1 for the text forms of IPv6 addresses. */
  equals(other: Uri): boolean {
    if (other === this) return true;
    if (other.kind !== 'sip') return false;
    if (this.#text === other.#text) return true;
    return (
      this.scheme === other.scheme &&
      this.port === other.port &&
      (this.host === other.host || equalIPv6(this.host, other.host)) &&
      equalEscaped(this.user, other.user) &&
      equalEscaped(this.password, other.password) &&
      equalParams(this.params, other.params) &&
      equalHeaders(this.headers, other.headers)
    );
  }

  toString(): string {
    return this.#text;
  }
}

/** An immutable tel URI (RFC 3966); `number` as written, with its visual separators. */
export class TelUri {
  readonly kind = 'tel';
  readonly scheme = 'tel';
  readonly number: string;
  readonly params: Params;
  readonly #text: string;

  private constructor(number: string, params: Params, text: string) {
    this.number = number;
    this.params = params;
    this.#text = text;
  }

  /** For `parseUri`: parses what follows the colon at `start - 1`. */
  static parseRest(text: string, start: number): TelUri {
    const semicolon = text.indexOf(';', start);
    const end = semicolon < 0 ? text.length : semicolon;
    const number = text.slice(start, end);
    if (!isTelephoneNumber(number)) throw malformed('tel URI without a telephone number', start);
    const params = semicolon < 0 ? Params.none : parseParams(text, semicolon, text.length);
    return new TelUri(number, params, text);
  }

  /** The number without visual separators: digits, `*`, `#`, `A`-`D` and a leading `+`. */
  get dialString(): string {
    let digits = '';
    for (const letter of this.number) {
      if (!'-.()'.includes(letter)) digits += letter.toUpperCase();
    }
    return digits;
  }

  /** RFC 3966 §4: separators do not count, parameters in any order. */
  equals(other: Uri): boolean {
    if (other.kind !== 'tel' || this.dialString !== other.dialString) return false;
    if (this.params.size !== other.params.size) return false;
    for (const [name, value] of this.params.entries()) {
      if (!other.params.has(name)) return false;
      if (other.params.raw(name)?.toLowerCase() !== value?.toLowerCase()) return false;
    }
    return true;
  }

  toString(): string {
    return this.#text;
  }
}

/**
 * Parses an absolute URI, nothing around it.
 *
 * @throws ParseError `sip.uri.malformed`, `sip.host.malformed`
 */
export function parseUri(text: string): Uri {
  // Almost every URI on the wire is written in lower case.
  if (text.startsWith('sip:')) return SipUri.parseRest(text, 'sip', 4);
  if (text.startsWith('sips:')) return SipUri.parseRest(text, 'sips', 5);
  const colon = text.indexOf(':');
  if (colon <= 0 || !isScheme(text, colon)) throw malformed('URI without scheme', 0);
  const scheme = text.slice(0, colon).toLowerCase();
  if (scheme === 'sip' || scheme === 'sips') return SipUri.parseRest(text, scheme, colon + 1);
  if (scheme === 'tel') return TelUri.parseRest(text, colon + 1);
  for (let i = colon + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f) throw malformed('character that no URI may contain', i);
  }
  const opaque = text.slice(colon + 1);
  if (opaque === '') throw malformed('URI with nothing behind its scheme', colon);
  return { kind: 'other', scheme, opaque, toString: () => text };
}

/** Writes text as a user part: escapes all that may not stand there (RFC 3261 §19.1.2), and `#`. */
export function escapeUser(text: string): string {
  let result = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const isPlain = byte < 128 && byte !== 0x23 && ((ALLOWED[byte] ?? 0) & IN_USER) !== 0;
    result += isPlain
      ? String.fromCharCode(byte)
      : '%' + byte.toString(16).toUpperCase().padStart(2, '0');
  }
  return result;
}

/** Resolves `%hh` escapes; octets above 127 are read as UTF-8. A `%` without two digits stays. */
export function unescape(text: string): string {
  if (!text.includes('%')) return text;
  const source = Buffer.from(text, 'utf8');
  const bytes = Buffer.alloc(source.length);
  let length = 0;
  for (let i = 0; i < source.length; i++) {
    const byte = source[i] ?? 0;
    const escaped = byte === 0x25 ? hexPair(source[i + 1], source[i + 2]) : -1;
    bytes[length++] = escaped < 0 ? byte : escaped;
    if (escaped >= 0) i += 2;
  }
  return bytes.toString('utf8', 0, length);
}

type SipUriParts = Pick<SipUri, 'scheme' | 'user' | 'password' | 'host' | 'port' | 'params'> & {
  readonly headers: string | undefined;
};

function format(parts: SipUriParts): string {
  const password = parts.password === undefined ? '' : ':' + parts.password;
  const userinfo = parts.user === undefined ? '' : `${parts.user}${password}@`;
  const headers = parts.headers === undefined ? '' : '?' + parts.headers;
  const hostPort = formatHostPort(parts.host, parts.port);
  return `${parts.scheme}:${userinfo}${hostPort}${parts.params.toString()}${headers}`;
}

/** `text.slice(start, end)` after a check that every character may stand in that part of a URI. */
function checked(text: string, start: number, end: number, part: number): string {
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code < 128 && ((ALLOWED[code] ?? 0) & part) !== 0) continue;
    const isEscape = code === 0x25 && isHexPairAt(text, i, end);
    if (!isEscape) throw malformed('character that must be escaped in this part of a URI', i);
    i += 2;
  }
  return text.slice(start, end);
}

function isHexPairAt(text: string, percent: number, end: number): boolean {
  return (
    percent + 2 < end && hexPair(text.charCodeAt(percent + 1), text.charCodeAt(percent + 2)) >= 0
  );
}

function checkedHeaders(text: string, start: number): string {
  const headers = checked(text, start, text.length, IN_HEADERS);
  if (headers === '') throw malformed('URI with "?" but without headers', start);
  return headers;
}

function parseParams(text: string, start: number, end: number): Params {
  const pairs: [string, string | undefined][] = [];
  let i = start;
  while (i < end) {
    const next = text.indexOf(';', i + 1);
    const pairEnd = next < 0 || next > end ? end : next;
    const equals = text.indexOf('=', i + 1);
    const nameEnd = equals < 0 || equals > pairEnd ? pairEnd : equals;
    const name = checked(text, i + 1, nameEnd, IN_PARAM);
    const value = nameEnd < pairEnd ? checked(text, nameEnd + 1, pairEnd, IN_PARAM) : undefined;
    if (name === '' || value === '') throw malformed('URI parameter without name or value', i);
    pairs.push([name, value]);
    i = pairEnd;
  }
  return Params.of(pairs);
}

function isScheme(text: string, colon: number): boolean {
  const first = text.charCodeAt(0) | 0x20;
  if (first < 0x61 || first > 0x7a) return false;
  for (let i = 1; i < colon; i++) {
    const code = text.charCodeAt(i);
    if (!isTokenCode(code) || "!%*_`'~".includes(text.charAt(i))) return false;
  }
  return true;
}

function isTelephoneNumber(number: string): boolean {
  let digits = 0;
  for (let i = number.startsWith('+') ? 1 : 0; i < number.length; i++) {
    const letter = number.charAt(i);
    const isDigit = isDigitCode(number.charCodeAt(i));
    const isLocalDigit = !number.startsWith('+') && 'abcdefABCDEF*#'.includes(letter);
    if (isDigit || isLocalDigit) digits++;
    else if (!'-.()'.includes(letter)) return false;
  }
  return digits > 0;
}

function hexPair(high: number | undefined, low: number | undefined): number {
  const upper = hexDigit(high ?? 0);
  const lower = hexDigit(low ?? 0);
  return upper < 0 || lower < 0 ? -1 : upper * 16 + lower;
}

function hexDigit(code: number): number {
  if (isDigitCode(code)) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function equalEscaped(a: string | undefined, b: string | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return (a.includes('%') || b.includes('%')) && normaliseEscapes(a) === normaliseEscapes(b);
}

/**
 * RFC 3261 §19.1.4: an escape equals its character unless that character is reserved, so `%61` equals `a` but `%40`
 * does not equal `@`. `#` is not reserved there.
 */
function normaliseEscapes(text: string): string {
  let result = '';
  for (let i = 0; i < text.length; i++) {
    const value =
      text.charCodeAt(i) === 0x25 ? hexPair(text.charCodeAt(i + 1), text.charCodeAt(i + 2)) : -1;
    if (value < 0) {
      result += text.charAt(i);
      continue;
    }
    const letter = String.fromCharCode(value);
    const isReserved = ';/?:@&=+$,%'.includes(letter);
    result +=
      isReserved || value > 0x7e || value < 0x21 ? text.slice(i, i + 3).toUpperCase() : letter;
    i += 2;
  }
  return result;
}

function equalParams(a: Params, b: Params): boolean {
  if (a.size === 0 && b.size === 0) return true;
  for (const name of PARAMS_THAT_DISTINGUISH) {
    if (a.has(name) !== b.has(name)) return false;
  }
  for (const [name, value] of a.entries()) {
    if (!b.has(name)) continue;
    const other = b.raw(name);
    if (!equalEscaped(value?.toLowerCase(), other?.toLowerCase())) return false;
  }
  return true;
}

/** Header components are never ignored, but their order is (RFC 3261 §19.1.4). */
function equalHeaders(a: string | undefined, b: string | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return sortedHeaders(a) === sortedHeaders(b);
}

function sortedHeaders(headers: string): string {
  return headers
    .split('&')
    .map((pair) => {
      const equals = pair.indexOf('=');
      const name = equals < 0 ? pair : pair.slice(0, equals);
      return name.toLowerCase() + normaliseEscapes(pair.slice(name.length));
    })
    .sort()
    .join('&');
}

function equalIPv6(a: string, b: string): boolean {
  return a.includes(':') && b.includes(':') && expandIPv6(a) === expandIPv6(b);
}

/** The eight groups of a valid IPv6 address without leading zeros, joined by colons. */
function expandIPv6(address: string): string {
  const lastColon = address.lastIndexOf(':');
  const tail = address.slice(lastColon + 1);
  const octets = tail.split('.').map(Number);
  const hex =
    octets.length === 4
      ? `${address.slice(0, lastColon + 1)}${pairOf(octets[0], octets[1])}:${pairOf(octets[2], octets[3])}`
      : address;
  const [head = '', rest] = hex.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = rest === undefined || rest === '' ? [] : rest.split(':');
  const zeros = rest === undefined ? [] : Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].map((group) => parseInt(group, 16).toString(16)).join(':');
}

function pairOf(high: number | undefined, low: number | undefined): string {
  return ((high ?? 0) * 256 + (low ?? 0)).toString(16);
}

function malformed(message: string, offset: number): ParseError {
  return new ParseError('sip.uri.malformed', message, offset);
}
