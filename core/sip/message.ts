/** A received SIP message: the bytes as they came, indexed in one pass and decoded only where somebody looks. */
import { ParseError } from '../errors.ts';
import { parseCSeq, type CSeq } from './cseq.ts';
import { isToken, parseDigits, splitList, trimmedSlice } from './grammar.ts';
import {
  canonicalNameOf,
  HEADER,
  headerIdOf,
  UNKNOWN_HEADER,
  type HeaderId,
} from './header-names.ts';
import { NameAddr } from './name-addr.ts';
import { scanHeaders, type HeaderIndex } from './scan.ts';
import { parseUri, type Uri } from './uri.ts';
import { Via } from './via.ts';

/** How much of a message we are willing to look at. */
export type MessageLimits = {
  /** Start line and headers, in bytes. */
  readonly maxHeaderBytes: number;
  /** Header lines; folded lines count once. */
  readonly maxHeaderCount: number;
  /** Content-Length, in bytes. */
  readonly maxBodyBytes: number;
};

export const DEFAULT_MESSAGE_LIMITS: MessageLimits = {
  maxHeaderBytes: 32_768,
  maxHeaderCount: 200,
  maxBodyBytes: 131_072,
};

/** Larger expirations mean this many seconds, RFC 3261 §20.19. */
const MAX_EXPIRES = 2 ** 32 - 1;
const NO_NAME_ADDRS: readonly NameAddr[] = [];

/**
 * An immutable request or response.
 *
 * The accessors by header name never throw. The typed ones (`from()`, `topVia()`, `cseq`, `contacts`, ...) throw
 * `ParseError` when the header is malformed, or missing although RFC 3261 §8.1.1 requires it; none of them throws on a
 * message that passed `validateRequest` or `validateResponse`.
 *
 * `bytes` is kept by reference, so whoever made it must not write into it again.
 */
export class SipMessage {
  readonly bytes: Buffer;
  readonly isRequest: boolean;
  /** Of a request, in the case it was sent in; `''` in a response (there, see `cseq.method`). */
  readonly method: string;
  /** Of a request, as written; `''` in a response. */
  readonly requestUri: string;
  /** 100 to 699 in a response that passes validation; 0 in a request. */
  readonly statusCode: number;
  readonly reasonPhrase: string;
  /** `SIP/2.0` unless the sender is wrong. */
  readonly version: string;
  /** The first fault of the framing itself, if any; `validateRequest` turns it into an answer. */
  readonly defect: ParseError | undefined;

  readonly #index: HeaderIndex;
  readonly #text: string | undefined;
  #vias: readonly Via[] | undefined;
  #topVia: Via | undefined;
  #from: NameAddr | undefined;
  #to: NameAddr | undefined;
  #cseq: CSeq | undefined;
  #callId: string | undefined;
  #uri: Uri | undefined;
  #contacts: readonly NameAddr[] | undefined;
  #routes: readonly NameAddr[] | undefined;
  #recordRoutes: readonly NameAddr[] | undefined;
  #body: Buffer | undefined;

  private constructor({ bytes, index, text, start }: Scanned, limits: MessageLimits) {
    this.bytes = bytes;
    this.#index = index;
    this.#text = text;
    this.isRequest = start.method !== '';
    this.method = start.method;
    this.requestUri = start.requestUri;
    this.statusCode = start.statusCode;
    this.reasonPhrase = start.reasonPhrase;
    this.version = start.version;
    this.defect = start.defect ?? index.defect ?? limitDefect(index, limits);
  }

  /**
   * Indexes one whole message: a datagram, a WebSocket message, or what `StreamFramer` cut out of a stream.
   *
   * @throws ParseError `sip.message.empty` for keep-alives, `sip.message.notSip` when the first line is no SIP start
   * line: nothing that could be answered. Lesser faults are kept in `defect`.
   */
  static parse(bytes: Buffer, limits: MessageLimits = DEFAULT_MESSAGE_LIMITS): SipMessage {
    const index = scanHeaders(bytes, limits.maxHeaderCount);
    // One copy of an ASCII head as a string makes every value a slice of it; else each is decoded on its own.
    const text = index.isAscii ? bytes.toString('latin1', 0, index.bodyStart) : undefined;
    const { startLineStart, startLineEnd } = index;
    const line =
      text === undefined
        ? bytes.toString('utf8', startLineStart, startLineEnd)
        : text.slice(startLineStart, startLineEnd);
    return new SipMessage({ bytes, index, text, start: parseStartLine(line) }, limits);
  }

  /** The first value of this header, unfolded and trimmed; any case, full or compact name. */
  header(name: string): string | undefined {
    const id = headerIdOf(name);
    if (id !== UNKNOWN_HEADER) return this.#first(id);
    const at = this.#nextUnknown(name.toLowerCase(), 0);
    return at < 0 ? undefined : this.#valueAt(at);
  }

  has(name: string): boolean {
    const id = headerIdOf(name);
    return (
      (id === UNKNOWN_HEADER ? this.#nextUnknown(name.toLowerCase(), 0) : this.#next(id, 0)) >= 0
    );
  }

  /** The values of all lines of this header, in order; lists are not split. */
  headerFields(name: string): string[] {
    const id = headerIdOf(name);
    if (id !== UNKNOWN_HEADER) return this.#all(id);
    const lower = name.toLowerCase();
    const values: string[] = [];
    for (let at = this.#nextUnknown(lower, 0); at >= 0; at = this.#nextUnknown(lower, at + 1)) {
      values.push(this.#valueAt(at));
    }
    return values;
  }

  /**
   * The elements of a list header over all its lines, split at commas outside quotes and angle brackets.
   * Not for WWW-Authenticate, Authorization, their Proxy- forms and Date, whose commas mean something else.
   * An unclosed quote makes the rest of its line one element.
   */
  headerValues(name: string): string[] {
    const values: string[] = [];
    for (const field of this.headerFields(name)) values.push(...splitLeniently(field));
    return values;
  }

  /** All header lines in wire order: name as written, value unfolded and trimmed. */
  *headerEntries(): IterableIterator<[name: string, value: string]> {
    for (let at = 0; at < this.#index.count; at++) yield [this.#nameAt(at), this.#valueAt(at)];
  }

  /** The same for whoever writes the message again: known names in canonical spelling, without a generator. */
  forEachHeader(visit: (id: HeaderId, name: string, value: string) => void): void {
    for (let at = 0; at < this.#index.count; at++) {
      const id = this.#index.ids[at] ?? UNKNOWN_HEADER;
      const name = id === UNKNOWN_HEADER ? this.#nameAt(at) : canonicalNameOf(id);
      visit(id, name, this.#valueAt(at));
    }
  }

  /**
   * A view of the body: as long as Content-Length says, or to the end of `bytes` when there is none or it is too large
   * (validation reports the latter).
   */
  get body(): Buffer {
    if (this.#body !== undefined) return this.#body;
    const start = this.#index.bodyStart;
    const length = parseDigits(this.#first(HEADER.contentLength) ?? '', this.bytes.length);
    const end = Math.min(this.bytes.length, start + (length ?? this.bytes.length));
    this.#body = this.bytes.subarray(start, end);
    return this.#body;
  }

  /** Bytes behind the headers, whatever Content-Length says. */
  get bytesBehindHeaders(): number {
    return this.bytes.length - this.#index.bodyStart;
  }

  /** Request-URI of a request, parsed. */
  get uri(): Uri {
    return (this.#uri ??= parseUri(this.requestUri));
  }

  topVia(): Via {
    return (this.#topVia ??= Via.parse(firstElement(this.#required(HEADER.via))));
  }

  /** All Via values, the top one first. */
  get vias(): readonly Via[] {
    return (this.#vias ??= this.#all(HEADER.via)
      .flatMap(splitList)
      .map((v) => Via.parse(v)));
  }

  /** Whether somebody else's Via is below the top one; commas separate them and occur in none of them. */
  get hasSeveralVias(): boolean {
    const first = this.#next(HEADER.via, 0);
    if (first < 0) return false;
    return this.#next(HEADER.via, first + 1) >= 0 || this.#valueAt(first).includes(',');
  }

  from(): NameAddr {
    return (this.#from ??= NameAddr.parse(this.#required(HEADER.from)));
  }

  to(): NameAddr {
    return (this.#to ??= NameAddr.parse(this.#required(HEADER.to)));
  }

  get fromTag(): string | undefined {
    return this.from().tag;
  }

  get toTag(): string | undefined {
    return this.to().tag;
  }

  get callId(): string {
    if (this.#callId !== undefined) return this.#callId;
    const callId = this.#required(HEADER.callId);
    if (callId === '' || callId.includes(' ')) {
      throw new ParseError('sip.callid.malformed', 'Call-ID is not one word');
    }
    this.#callId = callId;
    return callId;
  }

  get cseq(): CSeq {
    return (this.#cseq ??= parseCSeq(this.#required(HEADER.cseq)));
  }

  /** 0 to 255, or `undefined` when there is none. */
  get maxForwards(): number | undefined {
    const value = this.#first(HEADER.maxForwards);
    if (value === undefined) return undefined;
    const hops = parseDigits(value, 255);
    if (hops !== undefined && hops <= 255) return hops;
    throw new ParseError('sip.maxforwards.malformed', 'Max-Forwards is not a number up to 255');
  }

  /** Octets, or `undefined` when there is none. */
  get contentLength(): number | undefined {
    const first = this.#next(HEADER.contentLength, 0);
    if (first < 0) return undefined;
    const value = this.#valueAt(first);
    const length = parseDigits(value, Number.MAX_SAFE_INTEGER);
    let other = this.#next(HEADER.contentLength, first + 1);
    while (other >= 0 && this.#valueAt(other) === value) {
      other = this.#next(HEADER.contentLength, other + 1);
    }
    if (length !== undefined && other < 0) return length;
    throw new ParseError('sip.contentlength.malformed', 'Content-Length is not one number');
  }

  /** Seconds of the Expires header, at most 2^32 - 1; `undefined` when there is none. */
  get expires(): number | undefined {
    const value = this.#first(HEADER.expires);
    if (value === undefined) return undefined;
    const seconds = parseDigits(value, MAX_EXPIRES);
    if (seconds === undefined) {
      throw new ParseError('sip.expires.malformed', 'Expires is not a number of seconds');
    }
    return Math.min(seconds, MAX_EXPIRES);
  }

  /** True for `Contact: *` (RFC 3261 §10.2.2), whatever other contacts there are. */
  get isContactWildcard(): boolean {
    return this.#all(HEADER.contact).some((field) => splitLeniently(field).includes('*'));
  }

  /** All Contact values except `*`. */
  get contacts(): readonly NameAddr[] {
    return (this.#contacts ??= this.#nameAddrs(HEADER.contact));
  }

  get routes(): readonly NameAddr[] {
    return (this.#routes ??= this.#nameAddrs(HEADER.route));
  }

  get recordRoutes(): readonly NameAddr[] {
    return (this.#recordRoutes ??= this.#nameAddrs(HEADER.recordRoute));
  }

  /** The first of these headers that has more than one line; ids out of `HEADER` only. */
  duplicateOf(ids: readonly HeaderId[]): HeaderId | undefined {
    // One bit per id: those that matter are among the first in the table.
    let wanted = 0;
    for (const id of ids) wanted |= 1 << id;
    let seen = 0;
    for (let at = 0; at < this.#index.count; at++) {
      const id = this.#index.ids[at] ?? UNKNOWN_HEADER;
      if (id < 0 || id > 30 || (wanted & (1 << id)) === 0) continue;
      if ((seen & (1 << id)) !== 0) return id;
      seen |= 1 << id;
    }
    return undefined;
  }

  #nameAddrs(id: HeaderId): readonly NameAddr[] {
    let at = this.#next(id, 0);
    if (at < 0) return NO_NAME_ADDRS;
    const addresses: NameAddr[] = [];
    for (; at >= 0; at = this.#next(id, at + 1)) {
      for (const element of splitList(this.#valueAt(at))) {
        if (element !== '*') addresses.push(NameAddr.parse(element));
      }
    }
    return addresses;
  }

  #required(id: HeaderId): string {
    const value = this.#first(id);
    if (value !== undefined) return value;
    throw new ParseError('sip.header.missing', `${canonicalNameOf(id)} header missing`);
  }

  #first(id: HeaderId): string | undefined {
    const at = this.#next(id, 0);
    return at < 0 ? undefined : this.#valueAt(at);
  }

  #all(id: HeaderId): string[] {
    const values: string[] = [];
    for (let at = this.#next(id, 0); at >= 0; at = this.#next(id, at + 1)) {
      values.push(this.#valueAt(at));
    }
    return values;
  }

  /** The index of the next line with this id at or after `from`, or -1. */
  #next(id: HeaderId, from: number): number {
    const { ids, count } = this.#index;
    for (let at = from; at < count; at++) if (ids[at] === id) return at;
    return -1;
  }

  #nextUnknown(lowerName: string, from: number): number {
    for (
      let at = this.#next(UNKNOWN_HEADER, from);
      at >= 0;
      at = this.#next(UNKNOWN_HEADER, at + 1)
    ) {
      if (this.#nameAt(at).toLowerCase() === lowerName) return at;
    }
    return -1;
  }

  #nameAt(at: number): string {
    const { offsets } = this.#index;
    return this.#slice(offsets[at * 4] ?? 0, offsets[at * 4 + 1] ?? 0);
  }

  #valueAt(at: number): string {
    const { offsets, isFolded } = this.#index;
    const value = this.#slice(offsets[at * 4 + 2] ?? 0, offsets[at * 4 + 3] ?? 0);
    return isFolded ? unfold(value) : value;
  }

  #slice(start: number, end: number): string {
    return this.#text?.slice(start, end) ?? this.bytes.toString('utf8', start, end);
  }
}

/** True for what phones send to keep NAT bindings open: nothing, line ends, or NUL bytes only. */
export function isKeepAlive(bytes: Buffer): boolean {
  for (const byte of bytes) {
    if (byte !== 0x0d && byte !== 0x0a && byte !== 0) return false;
  }
  return true;
}

type Scanned = {
  readonly bytes: Buffer;
  readonly index: HeaderIndex;
  readonly text: string | undefined;
  readonly start: StartLine;
};

type StartLine = {
  readonly method: string;
  readonly requestUri: string;
  readonly statusCode: number;
  readonly reasonPhrase: string;
  readonly version: string;
  readonly defect: ParseError | undefined;
};

function parseStartLine(line: string): StartLine {
  if (/^SIP\/\d/i.test(line)) return parseStatusLine(line);
  const trimmed = line.trimEnd();
  const first = trimmed.indexOf(' ');
  const last = trimmed.lastIndexOf(' ');
  const method = trimmed.slice(0, Math.max(first, 0));
  const version = trimmed.slice(last + 1);
  if (last <= first || !isToken(method) || !/^SIP\/\d/i.test(version)) throw notSip();
  const between = trimmed.slice(first + 1, last);
  const requestUri = between.trim();
  const isSpaced = trimmed !== line || requestUri !== between || requestUri.includes(' ');
  const defect = isSpaced
    ? new ParseError('sip.requestline.malformed', 'Request-Line has surplus white space', 0)
    : undefined;
  return { method, requestUri, statusCode: 0, reasonPhrase: '', version, defect };
}

function parseStatusLine(line: string): StartLine {
  const space = line.indexOf(' ');
  const version = line.slice(0, Math.max(space, 0));
  const code = line.slice(space + 1, space + 4);
  const statusCode = parseDigits(code, 999);
  const isDelimited = line.length === space + 4 || line.charCodeAt(space + 4) === 0x20;
  if (space < 0 || code.length !== 3 || statusCode === undefined || !isDelimited) throw notSip();
  const reasonPhrase = line.slice(space + 5);
  return { method: '', requestUri: '', statusCode, reasonPhrase, version, defect: undefined };
}

function notSip(): ParseError {
  return new ParseError('sip.message.notSip', 'first line is no SIP start line', 0);
}

function limitDefect(index: HeaderIndex, limits: MessageLimits): ParseError | undefined {
  if (index.bodyStart <= limits.maxHeaderBytes) return undefined;
  return new ParseError(
    'sip.limit.headerBytes',
    `header bytes ${index.bodyStart} > ${limits.maxHeaderBytes}`,
  );
}

/** Line ends and the white space around them become one space (RFC 3261 §7.3.1), stray CR and LF too. */
function unfold(value: string): string {
  if (!value.includes('\r') && !value.includes('\n')) return value;
  let result = '';
  for (const line of value.split(/[\r\n]/)) {
    const piece = trimmedSlice(line, 0, line.length);
    if (piece !== '') result += result === '' ? piece : ' ' + piece;
  }
  return result;
}

/** The first element of a list; cheap for the common list of one. */
function firstElement(value: string): string {
  return value.includes(',') ? (splitList(value)[0] ?? '') : value;
}

function splitLeniently(field: string): string[] {
  try {
    return splitList(field);
  } catch (error) {
    if (error instanceof ParseError) return [field];
    throw error;
  }
}
