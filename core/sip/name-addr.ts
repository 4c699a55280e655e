/** name-addr / addr-spec with parameters: From, To, Contact, Route and their kin (RFC 3261 §20.10, §25.1). */
import { ParseError } from '../errors.ts';
import { endOfQuoted, isTokenCode, quote, skipSpace, trimmedSlice, unquote } from './grammar.ts';
import { Params } from './params.ts';
import { parseUri, type Uri } from './uri.ts';

/** Immutable. The URI is kept as text and parsed when asked for. */
export class NameAddr {
  /** Without quotes and escapes; `undefined` when there is none. */
  readonly displayName: string | undefined;
  /** What stands between the angle brackets, as written. */
  readonly uriText: string;
  /** Parameters of the header, not of the URI. */
  readonly params: Params;
  #uri: Uri | undefined;

  constructor(displayName: string | undefined, uri: string | Uri, params: Params = Params.none) {
    this.displayName = displayName;
    this.params = params;
    if (typeof uri === 'string') this.uriText = uri;
    else {
      this.uriText = uri.toString();
      this.#uri = uri;
    }
  }

  /**
   * Parses one element; the URI itself is checked only when `uri` is read.
   *
   * @throws ParseError `sip.nameaddr.malformed`, `sip.quoted.unterminated`, `sip.param.malformed`
   */
  static parse(value: string): NameAddr {
    if (value.startsWith('"')) {
      const end = endOfQuoted(value, 0);
      const open = skipSpace(value, end);
      if (value.charCodeAt(open) !== 0x3c) throw malformed('display name without <URI>', end);
      return parseBracketed(value, unquote(value.slice(0, end)), open);
    }
    const open = value.indexOf('<');
    if (open < 0) return parseAddrSpec(value);
    const displayName = trimmedSlice(value, 0, open);
    if (!isTokenList(displayName)) throw malformed('display name must be quoted', 0);
    return parseBracketed(value, displayName === '' ? undefined : displayName, open);
  }

  /** @throws ParseError `sip.uri.malformed`, `sip.host.malformed` */
  get uri(): Uri {
    return (this.#uri ??= parseUri(this.uriText));
  }

  get tag(): string | undefined {
    return this.params.get('tag');
  }

  withParam(name: string, value: string | undefined): NameAddr {
    return new NameAddr(this.displayName, this.#uri ?? this.uriText, this.params.with(name, value));
  }

  withoutParam(name: string): NameAddr {
    return new NameAddr(this.displayName, this.#uri ?? this.uriText, this.params.without(name));
  }

  /** Always in the form with angle brackets, the display name quoted. */
  toString(): string {
    const display = this.displayName === undefined ? '' : quote(this.displayName) + ' ';
    return `${display}<${this.uriText}>${this.params.toString()}`;
  }
}

function parseBracketed(value: string, displayName: string | undefined, open: number): NameAddr {
  const close = value.indexOf('>', open);
  if (close < 0) throw malformed('"<" without ">"', open);
  const uri = value.slice(open + 1, close);
  // RFC 4475 §3.1.2.14 has white space inside the brackets.
  if (!isUriText(uri)) {
    throw malformed('no URI between "<" and ">"', open);
  }
  const params = close + 1 === value.length ? Params.none : Params.parse(value, close + 1);
  return new NameAddr(displayName, uri, params);
}

/** Without brackets every semicolon begins a header parameter, and "," and "?" may not occur (RFC 3261 §20). */
function parseAddrSpec(value: string): NameAddr {
  const semicolon = value.indexOf(';');
  const uri = trimmedSlice(value, 0, semicolon < 0 ? value.length : semicolon);
  if (!isUriText(uri) || uri.includes(',') || uri.includes('?')) {
    throw malformed('URI must be in angle brackets', 0);
  }
  const params = semicolon < 0 ? Params.none : Params.parse(value, semicolon);
  return new NameAddr(undefined, uri, params);
}

/** True for text that may be a URI; what `parseUri` says of it is another matter. */
function isUriText(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code === 0x22 || code === 0x3c || code === 0x3e || code === 0x7f) {
      return false;
    }
  }
  return text !== '';
}

/**
 * Tokens and white space, as an unquoted display name must be.
 * Deviation: letters beyond ASCII are let through, since phones send names in UTF-8 without quotes.
 */
function isTokenList(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (!isTokenCode(code) && code !== 0x20 && code !== 0x09 && code < 0x80) return false;
  }
  return true;
}

function malformed(message: string, offset: number): ParseError {
  return new ParseError('sip.nameaddr.malformed', message, offset);
}
