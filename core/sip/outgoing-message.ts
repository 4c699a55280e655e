/** A SIP message that we write: an ordered, editable list of headers and a body, and its bytes. */
import { ParseError } from '../errors.ts';
import { splitList } from './grammar.ts';
import { canonicalHeaderName, HEADER } from './header-names.ts';
import type { SipMessage } from './message.ts';
import { reasonPhraseOf } from './status.ts';
import { Via } from './via.ts';

const NO_BODY = Buffer.alloc(0);

export type ResponseOptions = {
  readonly reasonPhrase?: string | undefined;
  /** Added to To when the request has none; a 100 never gets one of ours (RFC 3261 §8.2.6.2). */
  readonly toTag?: string | undefined;
  /** Where the request came from: fills in `received` and `rport` of the top Via (RFC 3261 §18.2.1, RFC 3581 §4). */
  readonly source?: Source | undefined;
};

/** An address without brackets; `isRportForced` fills in rport even where the sender did not ask for it. */
export type Source = {
  readonly address: string;
  readonly port: number;
  readonly isRportForced?: boolean | undefined;
};

/**
 * Mutable; every method returns `this` unless it says otherwise.
 *
 * Header names may come in any spelling and are written in canonical form (`Call-ID`, `WWW-Authenticate`, ...); they
 * must be tokens. CR and LF in a value become a space, so that no value can add a header. Content-Length is written by
 * `serialise`, in bytes; one that is added is ignored.
 */
export class OutgoingMessage {
  /** `''` in a response. */
  method: string;
  /** `''` in a response. */
  requestUri: string;
  /** 0 in a request. */
  statusCode: number;
  reasonPhrase: string;
  body: Buffer = NO_BODY;

  readonly #names: string[] = [];
  readonly #values: string[] = [];

  private constructor(method: string, requestUri: string, statusCode: number, reason: string) {
    this.method = method;
    this.requestUri = requestUri;
    this.statusCode = statusCode;
    this.reasonPhrase = reason;
  }

  /** A request without any header yet. */
  static request(method: string, requestUri: string): OutgoingMessage {
    return new OutgoingMessage(method, requestUri, 0, '');
  }

  /** A response without any header yet; the phrase defaults to the registered one. */
  static response(statusCode: number, reasonPhrase = reasonPhraseOf(statusCode)): OutgoingMessage {
    return new OutgoingMessage('', '', statusCode, reasonPhrase);
  }

  /** A copy of a received message: all headers in order, and a view of its body (Content-Length is made anew). */
  static from(message: SipMessage): OutgoingMessage {
    const { method, requestUri, statusCode, reasonPhrase } = message;
    const copy = new OutgoingMessage(method, requestUri, statusCode, reasonPhrase);
    message.forEachHeader((id, name, value) => {
      if (id !== HEADER.contentLength) copy.#push(name, value);
    });
    copy.body = message.body;
    return copy;
  }

  /**
   * A response to a request (RFC 3261 §8.2.6): Via, From, To, Call-ID and CSeq copied; Timestamp in a 100;
   * Record-Route in what makes a dialog, 101 to 299 (§12.1.1). Never throws, however malformed the request.
   */
  static responseTo(
    request: SipMessage,
    statusCode: number,
    options: ResponseOptions = {},
  ): OutgoingMessage {
    const response = OutgoingMessage.response(statusCode, options.reasonPhrase);
    const makesDialog = statusCode > 100 && statusCode < 300;
    request.forEachHeader((id, name, value) => {
      if (id === HEADER.to) response.#push(name, taggedTo(value, statusCode, options.toTag));
      else if (isCopied(id, makesDialog) || (statusCode === 100 && name === 'Timestamp')) {
        response.#push(name, value);
      }
    });
    if (options.source !== undefined) response.stampTopVia(options.source);
    return response;
  }

  get isRequest(): boolean {
    return this.method !== '';
  }

  /** The first value of this header. */
  header(name: string): string | undefined {
    const at = this.#indexOf(canonicalHeaderName(name));
    return at < 0 ? undefined : this.#values[at];
  }

  has(name: string): boolean {
    return this.#indexOf(canonicalHeaderName(name)) >= 0;
  }

  /** The values of all lines of this header; lists are not split. */
  headerFields(name: string): string[] {
    const canonical = canonicalHeaderName(name);
    return this.#values.filter((_, at) => isSameName(this.#names[at] ?? '', canonical));
  }

  /** All headers in order, names canonical. */
  *headerEntries(): IterableIterator<[name: string, value: string]> {
    for (const [at, name] of this.#names.entries()) yield [name, this.#values[at] ?? ''];
  }

  /** Appends a header line. */
  add(name: string, value: string): this {
    this.#push(canonicalHeaderName(name), oneLine(value));
    return this;
  }

  /** Makes this the only line of that name: where the first one was, else at the end. */
  set(name: string, value: string): this {
    const canonical = canonicalHeaderName(name);
    const at = this.#indexOf(canonical);
    if (at < 0) return this.add(name, value);
    this.#values[at] = oneLine(value);
    this.#removeFrom(canonical, at + 1);
    return this;
  }

  /** Adds a line before the first one of that name, or before all headers when there is none. */
  prepend(name: string, value: string): this {
    const canonical = canonicalHeaderName(name);
    const at = Math.max(this.#indexOf(canonical), 0);
    this.#names.splice(at, 0, canonical);
    this.#values.splice(at, 0, oneLine(value));
    return this;
  }

  /** Removes all lines of that name. */
  remove(name: string): this {
    this.#removeFrom(canonicalHeaderName(name), 0);
    return this;
  }

  /**
   * Takes the first element out of a list header (Via, Route), which may share its line with others.
   *
   * @returns that element, or `undefined` when there is none
   * @throws ParseError `sip.quoted.unterminated`
   */
  takeFirst(name: string): string | undefined {
    const at = this.#indexOf(canonicalHeaderName(name));
    if (at < 0) return undefined;
    const [first, ...rest] = splitList(this.#values[at] ?? '');
    if (rest.length > 0) this.#values[at] = rest.join(', ');
    else {
      this.#names.splice(at, 1);
      this.#values.splice(at, 1);
    }
    return first;
  }

  /** Writes into the top Via where the message came from; a malformed Via stays as it is. */
  stampTopVia(source: Source): this {
    const at = this.#indexOf('Via');
    const line = this.#values[at] ?? '';
    try {
      const [top = '', ...rest] = splitList(line);
      const via = Via.parse(top).withReceived(source.address, source.port, source.isRportForced);
      this.#values[at] = [via.toString(), ...rest].join(', ');
    } catch (error) {
      // The answer to a request that is malformed there goes to its source address anyway.
      if (!(error instanceof ParseError)) throw error;
    }
    return this;
  }

  /** Sets the body and, if given, its Content-Type. Text is written in UTF-8; a buffer is kept by reference. */
  setBody(body: Buffer | string, contentType?: string): this {
    this.body = typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
    return contentType === undefined ? this : this.set('Content-Type', contentType);
  }

  /** The message on the wire; Content-Length is its last header. */
  serialise(): Buffer {
    let head =
      this.method === ''
        ? `SIP/2.0 ${this.statusCode} ${oneLine(this.reasonPhrase)}\r\n`
        : `${this.method} ${this.requestUri} SIP/2.0\r\n`;
    const names = this.#names;
    for (let at = 0; at < names.length; at++) {
      head += `${names[at] ?? ''}: ${this.#values[at] ?? ''}\r\n`;
    }
    head += `Content-Length: ${this.body.length}\r\n\r\n`;
    const headLength = Buffer.byteLength(head, 'utf8');
    const bytes = Buffer.allocUnsafe(headLength + this.body.length);
    // As many bytes as characters means ASCII, which is cheaper to write.
    bytes.write(head, 0, headLength, headLength === head.length ? 'latin1' : 'utf8');
    bytes.set(this.body, headLength);
    return bytes;
  }

  #push(canonicalName: string, value: string): void {
    if (canonicalName === 'Content-Length') return;
    this.#names.push(canonicalName);
    this.#values.push(value);
  }

  #indexOf(canonical: string): number {
    for (let at = 0; at < this.#names.length; at++) {
      if (isSameName(this.#names[at] ?? '', canonical)) return at;
    }
    return -1;
  }

  #removeFrom(canonical: string, from: number): void {
    for (let at = this.#names.length - 1; at >= from; at--) {
      if (!isSameName(this.#names[at] ?? '', canonical)) continue;
      this.#names.splice(at, 1);
      this.#values.splice(at, 1);
    }
  }
}

/** Names that we do not know keep the case that they came in, and still compare without it. */
function isSameName(a: string, b: string): boolean {
  return a === b || (a.length === b.length && a.toLowerCase() === b.toLowerCase());
}

function isCopied(id: number, makesDialog: boolean): boolean {
  switch (id) {
    case HEADER.via:
    case HEADER.from:
    case HEADER.callId:
    case HEADER.cseq:
      return true;
    case HEADER.recordRoute:
      return makesDialog;
    default:
      return false;
  }
}

/** Adds the tag by text, so that a To that we cannot parse is answered as well. */
function taggedTo(to: string, statusCode: number, tag: string | undefined): string {
  if (tag === undefined || statusCode === 100) return to;
  const paramsStart = Math.max(to.lastIndexOf('>'), 0);
  return /;[ \t]*tag[ \t]*=/i.test(to.slice(paramsStart)) ? to : `${to};tag=${tag}`;
}

function oneLine(value: string): string {
  return value.includes('\n') || value.includes('\r') ? value.replaceAll(/[\r\n]+/g, ' ') : value;
}
