/** Cuts a TCP or TLS stream into SIP messages and keep-alives (RFC 3261 §18.3, RFC 5626 §3.5.1, §4.4.1). */
import { ParseError } from '../errors.ts';
import { parseDigits } from './grammar.ts';
import { HEADER, headerIdOfBytes } from './header-names.ts';
import { DEFAULT_MESSAGE_LIMITS, type MessageLimits } from './message.ts';

const CR = 0x0d;
const LF = 0x0a;
const COLON = 0x3a;
const SMALLEST_BUFFER = 1024;
const EMPTY = Buffer.alloc(0);

export type StreamFrame =
  /** One whole message for `SipMessage.parse`. */
  | { readonly kind: 'message'; readonly bytes: Buffer }
  /** Double CRLF: answer with one CRLF. */
  | { readonly kind: 'ping' }
  /** One CRLF: the answer to our ping, or a line end before a message. Also the first half of a ping that was cut. */
  | { readonly kind: 'pong' }
  /**
   * The stream can no longer be cut; close it. `head` is start line and headers as far as they came, and may be parsed
   * to answer first: 413 for `sip.limit.bodyBytes`, 513 for `sip.limit.headerBytes`, 400 for
   * `sip.contentlength.missing` and `sip.contentlength.malformed`.
   */
  | { readonly kind: 'error'; readonly error: ParseError; readonly head: Buffer };

const PING: StreamFrame = { kind: 'ping' };
const PONG: StreamFrame = { kind: 'pong' };

/**
 * Call `push` with each piece, then `next` until it gives `undefined`. Work is linear in the bytes received, however
 * small the pieces are.
 */
export class StreamFramer {
  readonly #limits: MessageLimits;
  #buffer: Buffer = EMPTY;
  /** Unconsumed bytes are `#start..#end` of `#buffer`. */
  #start = 0;
  #end = 0;
  /** Whether `#buffer` is ours to append to, and not a piece that somebody gave us. */
  #isOwned = false;
  /** How far the search for the end of the headers has come. */
  #scanned = 0;
  /** Where the message at `#start` ends, once its headers are complete; 0 before. */
  #messageEnd = 0;
  /** A CRLF was reported as pong, and another one makes it a ping. */
  #isHalfPing = false;
  #isBroken = false;

  constructor(limits: MessageLimits = DEFAULT_MESSAGE_LIMITS) {
    this.#limits = limits;
  }

  /** True while part of a message has come and the rest has not: what a peer that stalls leaves behind. */
  get isMidMessage(): boolean {
    return !this.#isBroken && this.#end > this.#start;
  }

  /** Takes the next piece of the stream, which is kept by reference: its bytes must not change afterwards. */
  push(piece: Buffer): void {
    if (this.#isBroken || piece.length === 0) return;
    if (this.#start === this.#end) this.#adopt(piece);
    else this.#append(piece);
  }

  /** The next frame, or `undefined` when more bytes are needed. After an error there are no more. */
  next(): StreamFrame | undefined {
    if (this.#isBroken) return undefined;
    if (this.#messageEnd === 0) {
      const keepAlive = this.#scanned === this.#start ? this.#takeKeepAlive() : undefined;
      if (keepAlive !== undefined) return keepAlive;
      const headEnd = this.#findHeadEnd();
      const error = this.#checkHead(headEnd);
      if (error !== undefined) return this.#break(error, headEnd);
      if (headEnd < 0) return undefined;
    }
    if (this.#end < this.#messageEnd) return undefined;
    const bytes = this.#buffer.subarray(this.#start, this.#messageEnd);
    this.#consumeTo(this.#messageEnd);
    return { kind: 'message', bytes };
  }

  #adopt(piece: Buffer): void {
    this.#buffer = piece;
    this.#start = 0;
    this.#scanned = 0;
    this.#end = piece.length;
    this.#isOwned = false;
  }

  #append(piece: Buffer): void {
    const needed = this.#end + piece.length;
    if (!this.#isOwned || needed > this.#buffer.length) this.#grow(piece.length);
    piece.copy(this.#buffer, this.#end);
    this.#end += piece.length;
  }

  /**
   * Moves what is unconsumed into a buffer of twice its size, so that copying stays linear, but not beyond the end of
   * the message, and not all at once for a length that is only promised.
   */
  #grow(extra: number): void {
    const pending = this.#end - this.#start;
    const whole = this.#messageEnd === 0 ? Infinity : this.#messageEnd - this.#start;
    const doubled = Math.max((pending + extra) * 2, SMALLEST_BUFFER);
    const size = Math.max(Math.min(whole, doubled), pending + extra);
    // Never reused for other streams, so that views of it stay valid.
    const grown = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(grown, 0, this.#start, this.#end);
    this.#scanned -= this.#start;
    if (this.#messageEnd !== 0) this.#messageEnd -= this.#start;
    this.#buffer = grown;
    this.#start = 0;
    this.#end = pending;
    this.#isOwned = true;
  }

  #consumeTo(offset: number): void {
    this.#start = offset;
    this.#scanned = offset;
    this.#messageEnd = 0;
    if (offset !== this.#end) return;
    // An idle connection holds no memory.
    this.#buffer = EMPTY;
    this.#start = this.#scanned = this.#end = 0;
    this.#isOwned = false;
  }

  /** Consumes one keep-alive at the start of what is unconsumed, if there is one. */
  #takeKeepAlive(): StreamFrame | undefined {
    if (!this.#isLineEndAt(this.#start)) {
      const isCut = this.#end - this.#start === 1 && this.#buffer[this.#start] === CR;
      if (this.#start < this.#end && !isCut) this.#isHalfPing = false;
      return undefined;
    }
    const isPing = this.#isHalfPing || this.#isLineEndAt(this.#start + 2);
    const length = isPing && !this.#isHalfPing ? 4 : 2;
    this.#consumeTo(this.#start + length);
    this.#isHalfPing = !isPing;
    return isPing ? PING : PONG;
  }

  #isLineEndAt(offset: number): boolean {
    return (
      offset + 2 <= this.#end && this.#buffer[offset] === CR && this.#buffer[offset + 1] === LF
    );
  }

  /** The offset behind the empty line, or -1; goes on where the last search ended. */
  #findHeadEnd(): number {
    const buffer = this.#buffer;
    const end = this.#end;
    for (let at = Math.max(this.#scanned, this.#start + 3); at < end; at++) {
      if (buffer[at] !== LF || buffer[at - 2] !== LF) continue;
      if (buffer[at - 1] === CR && buffer[at - 3] === CR) {
        this.#scanned = at + 1;
        return at + 1;
      }
    }
    // A start that may still turn out to be a keep-alive must be looked at again.
    if (end - this.#start > 1 || buffer[this.#start] !== CR) this.#scanned = end;
    return -1;
  }

  /** Sets `#messageEnd` when the headers are complete and within limits. */
  #checkHead(headEnd: number): ParseError | undefined {
    const limits = this.#limits;
    const headBytes = (headEnd < 0 ? this.#end : headEnd) - this.#start;
    if (headBytes > limits.maxHeaderBytes) {
      const message = `header bytes ${headBytes} > ${limits.maxHeaderBytes}`;
      return new ParseError('sip.limit.headerBytes', message, limits.maxHeaderBytes);
    }
    if (headEnd < 0) return undefined;
    const length = contentLengthOf(this.#buffer, this.#start, headEnd);
    if (length instanceof ParseError) return length;
    if (length > limits.maxBodyBytes) {
      const message = `Content-Length ${length} > ${limits.maxBodyBytes}`;
      return new ParseError('sip.limit.bodyBytes', message);
    }
    this.#messageEnd = headEnd + length;
    return undefined;
  }

  #break(error: ParseError, headEnd: number): StreamFrame {
    const head = this.#buffer.subarray(this.#start, headEnd < 0 ? this.#end : headEnd);
    this.#isBroken = true;
    this.#buffer = EMPTY;
    return { kind: 'error', error, head };
  }
}

/** The one Content-Length between `start` and `end`, which is behind the empty line. */
function contentLengthOf(bytes: Buffer, start: number, end: number): number | ParseError {
  let found: number | undefined;
  for (let line = nextLine(bytes, start, end); line < end; line = nextLine(bytes, line, end)) {
    const first = (bytes[line] ?? 0) | 0x20;
    // Only "Content-Length" and "l" can be meant.
    if (first !== 0x63 && first !== 0x6c) continue;
    const length = valueIfContentLength(bytes, line, end);
    if (length === undefined) continue;
    if (length < 0 || (found !== undefined && found !== length)) {
      return new ParseError(
        'sip.contentlength.malformed',
        'Content-Length is not one number',
        line,
      );
    }
    found = length;
  }
  return (
    found ??
    new ParseError('sip.contentlength.missing', 'message on a stream without Content-Length', start)
  );
}

/** The value when the line at `line` is a Content-Length; -1 when it is one but no number. */
function valueIfContentLength(bytes: Buffer, line: number, end: number): number | undefined {
  let colon = line;
  while (colon < end && bytes[colon] !== COLON && bytes[colon] !== LF) colon++;
  let nameEnd = colon;
  while (nameEnd > line && isBlank(bytes[nameEnd - 1])) nameEnd--;
  if (headerIdOfBytes(bytes, line, nameEnd) !== HEADER.contentLength) return undefined;
  const lineEnd = nextLine(bytes, line, end);
  const isFolded = isBlank(bytes[lineEnd]);
  const value = bytes.toString(
    'latin1',
    colon + 1,
    isFolded ? nextLine(bytes, lineEnd, end) : lineEnd,
  );
  return parseDigits(value.trim(), Number.MAX_SAFE_INTEGER) ?? -1;
}

function nextLine(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== LF) at++;
  return at + 1;
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09;
}
