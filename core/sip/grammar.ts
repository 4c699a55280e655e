/** The small pieces of the SIP grammar that every header shares: tokens, quoted strings, lists (RFC 3261 §25.1). */
import { ParseError } from '../errors.ts';

const TOKEN_PUNCTUATION = "-.!%*_+`'~";

/** 1 for every ASCII character that a token may contain. */
const IS_TOKEN = new Uint8Array(128);
for (let code = 0; code < 128; code++) {
  const letter = String.fromCharCode(code);
  IS_TOKEN[code] = /[A-Za-z0-9]/.test(letter) || TOKEN_PUNCTUATION.includes(letter) ? 1 : 0;
}

export function isTokenCode(code: number): boolean {
  return code < 128 && IS_TOKEN[code] === 1;
}

/** True when the text is one token: one or more letters, digits or `-.!%*_+\`'~`. */
export function isToken(text: string): boolean {
  if (text === '') return false;
  for (let i = 0; i < text.length; i++) {
    if (!isTokenCode(text.charCodeAt(i))) return false;
  }
  return true;
}

export function isDigitCode(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Space, tab, and what is left of a folded line; what LWS may consist of once a header is unfolded. */
export function isSpaceCode(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** The first index at or after `from` that is no space or tab. */
export function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && isSpaceCode(text.charCodeAt(i))) i++;
  return i;
}

/** `text.slice(from, to)` without spaces and tabs at its ends; other white space stays, unlike `String.trim`. */
export function trimmedSlice(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isSpaceCode(text.charCodeAt(start))) start++;
  while (end > start && isSpaceCode(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

/**
 * Reads a decimal number of digits only.
 *
 * @returns `undefined` for anything else; values above `max` (at most 2^53 - 1) give `Infinity`
 */
export function parseDigits(text: string, max: number): number | undefined {
  if (text === '') return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (!isDigitCode(code)) return undefined;
    value = value * 10 + (code - 0x30);
    if (value > max) value = Infinity;
  }
  return value;
}

/**
 * The index just behind the closing quote of the quoted string that begins at `start`.
 *
 * @throws ParseError `sip.quoted.unterminated`
 */
export function endOfQuoted(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x5c) i++;
    else if (code === 0x22) return i + 1;
  }
  throw new ParseError('sip.quoted.unterminated', 'quoted string without closing quote', start);
}

/** The content of a quoted string, quotes included in the argument, with its quoted pairs resolved. */
export function unquote(quoted: string): string {
  const inner = quoted.slice(1, -1);
  if (!inner.includes('\\')) return inner;
  let result = '';
  for (let i = 0; i < inner.length; i++) {
    if (inner.charCodeAt(i) === 0x5c) i++;
    result += inner.charAt(i);
  }
  return result;
}

/** A quoted string with this content; control characters that would end the line become spaces. */
export function quote(content: string): string {
  let result = '"';
  for (let i = 0; i < content.length; i++) {
    const letter = content.charAt(i);
    if (letter === '"' || letter === '\\') result += '\\' + letter;
    else result += letter === '\r' || letter === '\n' ? ' ' : letter;
  }
  return result + '"';
}

/**
 * Splits a list header at its commas, but not inside quotes or angle brackets; elements are trimmed, empty ones dropped.
 * Not for WWW-Authenticate, Authorization, their Proxy- forms and Date, whose commas mean something else.
 *
 * @throws ParseError `sip.quoted.unterminated`
 */
export function splitList(value: string): string[] {
  if (!value.includes(',')) return value === '' ? [] : [value];
  const elements: string[] = [];
  let start = 0;
  let isInAngle = false;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    // Inside <> a quote is no delimiter: a URI may not hold one, and a stray one must not swallow the rest.
    if (code === 0x22 && !isInAngle) i = endOfQuoted(value, i) - 1;
    else if (code === 0x3c) isInAngle = true;
    else if (code === 0x3e) isInAngle = false;
    else if (code === 0x2c && !isInAngle) {
      const element = trimmedSlice(value, start, i);
      if (element !== '') elements.push(element);
      start = i + 1;
    }
  }
  const last = trimmedSlice(value, start, value.length);
  if (last !== '') elements.push(last);
  return elements;
}
