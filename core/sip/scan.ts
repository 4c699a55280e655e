/** The one pass over the bytes of a message that finds its start line, its header lines and its body. */
import { ParseError } from '../errors.ts';
import { isTokenCode } from './grammar.ts';
import { headerIdOfBytes, type HeaderId } from './header-names.ts';

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const TAB = 0x09;
const COLON = 0x3a;

/** Where everything is. Offsets are bytes; `end` offsets are exclusive. */
export type HeaderIndex = {
  startLineStart: number;
  startLineEnd: number;
  /** Number of header lines; folded lines count once. */
  count: number;
  /** One id per line. */
  readonly ids: HeaderId[];
  /** Four offsets per line: name start, name end, value start, value end; white space around both left out. */
  readonly offsets: number[];
  bodyStart: number;
  /** No byte above 127 in start line and headers. */
  isAscii: boolean;
  /** At least one value contains line ends that must be unfolded. */
  isFolded: boolean;
  /** The first fault, if any; what can be indexed is indexed all the same, so that the message can be answered. */
  defect: ParseError | undefined;
};

/**
 * Indexes start line and headers.
 *
 * @throws ParseError `sip.message.empty` when there is nothing but line ends
 */
export function scanHeaders(bytes: Buffer, maxHeaderCount: number): HeaderIndex {
  // RFC 3261 §7.5: line ends before the start line are ignored.
  let start = 0;
  while (start < bytes.length && (bytes[start] === CR || bytes[start] === LF)) start++;
  if (start === bytes.length) throw new ParseError('sip.message.empty', 'message without content');
  const index: HeaderIndex = {
    startLineStart: start,
    startLineEnd: bytes.length,
    count: 0,
    ids: [],
    offsets: [],
    bodyStart: bytes.length,
    isAscii: true,
    isFolded: false,
    defect: undefined,
  };
  const lineEnd = findLineEnd(bytes, start, index);
  index.startLineEnd = lineEnd;
  scanLines(bytes, lineEnd + 2, maxHeaderCount, index);
  return index;
}

function scanLines(bytes: Buffer, from: number, maxHeaderCount: number, index: HeaderIndex): void {
  let at = from;
  while (at < bytes.length) {
    if (bytes[at] === CR && bytes[at + 1] === LF) {
      index.bodyStart = at + 2;
      return;
    }
    if (index.count >= maxHeaderCount) {
      note(index, 'sip.limit.headerCount', `more than ${maxHeaderCount} headers`, at);
      index.bodyStart = endOfHeaders(bytes, at);
      return;
    }
    at = scanField(bytes, at, index);
  }
  note(index, 'sip.message.truncated', 'no empty line behind the headers', bytes.length);
}

/** Indexes the field at `start` with its folded lines; returns where the next line begins. */
function scanField(bytes: Buffer, start: number, index: HeaderIndex): number {
  let end = findLineEnd(bytes, start, index);
  let next = end + 2;
  while (next < bytes.length && (bytes[next] === SP || bytes[next] === TAB)) {
    index.isFolded = true;
    end = findLineEnd(bytes, next, index);
    next = end + 2;
  }
  const colon = endOfName(bytes, start, end);
  const nameEnd = trimEnd(bytes, start, colon);
  if (colon === end || nameEnd === start) {
    note(index, 'sip.header.malformed', 'header line without name and colon', start);
    return next;
  }
  let valueStart = colon + 1;
  while (valueStart < end && isBlank(bytes[valueStart])) valueStart++;
  index.ids.push(headerIdOfBytes(bytes, start, nameEnd));
  index.offsets.push(start, nameEnd, valueStart, trimEnd(bytes, valueStart, end));
  index.count++;
  return next;
}

/** The offset of the colon behind a header name (RFC 3261 §25.1 HCOLON), or `end` when the name is malformed. */
function endOfName(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && isTokenCode(bytes[at] ?? 0)) at++;
  while (at < end && (bytes[at] === SP || bytes[at] === TAB)) at++;
  return bytes[at] === COLON ? at : end;
}

/**
 * The offset of the CR of the CRLF that ends the line, or the end of the bytes. A CR or LF on its own ends no line: who
 * reads it as one sees other headers than who does not, so it makes the message malformed.
 */
function findLineEnd(bytes: Buffer, start: number, index: HeaderIndex): number {
  let seen = 0;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    seen |= byte;
    if (byte > CR) continue;
    if (byte === CR && bytes[at + 1] === LF) {
      if (seen > 127) index.isAscii = false;
      return at;
    }
    if (byte === CR || byte === LF) {
      index.isFolded = true;
      note(index, 'sip.header.strayLineEnd', 'CR or LF on its own in a header', at);
    }
  }
  if (seen > 127) index.isAscii = false;
  return bytes.length;
}

function endOfHeaders(bytes: Buffer, from: number): number {
  const end = bytes.indexOf('\r\n\r\n', from, 'latin1');
  return end < 0 ? bytes.length : end + 4;
}

function trimEnd(bytes: Buffer, start: number, end: number): number {
  let at = end;
  while (at > start && isBlank(bytes[at - 1])) at--;
  return at;
}

function isBlank(byte: number | undefined): boolean {
  return byte === SP || byte === TAB || byte === CR || byte === LF;
}

function note(index: HeaderIndex, code: string, message: string, offset: number): void {
  index.defect ??= new ParseError(code, message, offset);
}
