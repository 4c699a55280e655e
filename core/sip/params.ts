/** The `;name=value` parameters of SIP headers and URIs, in wire order (RFC 3261 §25.1 generic-param). */
import { ParseError } from '../errors.ts';
import { endOfQuoted, isTokenCode, skipSpace, unquote } from './grammar.ts';

/**
 * An immutable ordered list of parameters. Names compare without case; values are kept as written, quotes included.
 */
export class Params {
  static readonly none = new Params([]);

  /** name as written, name in lower case, raw value or undefined; three entries each. */
  readonly #flat: readonly (string | undefined)[];

  private constructor(flat: readonly (string | undefined)[]) {
    this.#flat = flat;
  }

  /**
   * Parses header parameters from `start`, which is at the first semicolon (or white space before it), to the end.
   *
   * @throws ParseError `sip.param.malformed`, `sip.quoted.unterminated`
   */
  static parse(text: string, start = 0): Params {
    let i = skipSpace(text, start);
    if (i >= text.length) return Params.none;
    const flat: (string | undefined)[] = [];
    while (i < text.length) {
      if (text.charCodeAt(i) !== 0x3b) throw malformed('expected ";" before a parameter', i);
      i = parseOne(text, skipSpace(text, i + 1), flat);
    }
    return new Params(flat);
  }

  /** Builds parameters from pairs; a value that is no token must come already quoted. */
  static of(pairs: Iterable<readonly [name: string, value: string | undefined]>): Params {
    const flat: (string | undefined)[] = [];
    for (const [name, value] of pairs) flat.push(name, name.toLowerCase(), value);
    return flat.length === 0 ? Params.none : new Params(flat);
  }

  get size(): number {
    return this.#flat.length / 3;
  }

  has(name: string): boolean {
    return this.#indexOf(name) >= 0;
  }

  /** The value without quotes; `''` for a parameter without value, `undefined` when there is none of that name. */
  get(name: string): string | undefined {
    const index = this.#indexOf(name);
    if (index < 0) return undefined;
    const raw = this.#flat[index + 2] ?? '';
    return raw.startsWith('"') ? unquote(raw) : raw;
  }

  /** The value as written, quotes included; `undefined` also for a parameter without value. */
  raw(name: string): string | undefined {
    const index = this.#indexOf(name);
    return index < 0 ? undefined : this.#flat[index + 2];
  }

  /** Names in lower case and raw values, in wire order. */
  *entries(): IterableIterator<[name: string, value: string | undefined]> {
    for (let i = 0; i < this.#flat.length; i += 3) {
      yield [this.#flat[i + 1] ?? '', this.#flat[i + 2]];
    }
  }

  /** The name of a parameter that occurs twice, if any. */
  get duplicate(): string | undefined {
    for (let i = 4; i < this.#flat.length; i += 3) {
      for (let j = 1; j < i; j += 3) {
        if (this.#flat[i] === this.#flat[j]) return this.#flat[i];
      }
    }
    return undefined;
  }

  /** A copy with this parameter set: in place where it was, else at the end. */
  with(name: string, value: string | undefined): Params {
    const flat = [...this.#flat];
    const index = this.#indexOf(name);
    if (index >= 0) flat[index + 2] = value;
    else flat.push(name, name.toLowerCase(), value);
    return new Params(flat);
  }

  /** A copy without any parameter of this name. */
  without(name: string): Params {
    const lower = name.toLowerCase();
    const flat: (string | undefined)[] = [];
    for (let i = 0; i < this.#flat.length; i += 3) {
      if (this.#flat[i + 1] === lower) continue;
      flat.push(this.#flat[i], this.#flat[i + 1], this.#flat[i + 2]);
    }
    return flat.length === 0 ? Params.none : new Params(flat);
  }

  /** As on the wire, each with its semicolon. */
  toString(): string {
    let text = '';
    for (let i = 0; i < this.#flat.length; i += 3) {
      const value = this.#flat[i + 2];
      text += ';' + (this.#flat[i] ?? '');
      if (value !== undefined) text += '=' + value;
    }
    return text;
  }

  #indexOf(name: string): number {
    const flat = this.#flat;
    for (let i = 1; i < flat.length; i += 3) {
      if (flat[i] === name) return i - 1;
    }
    const lower = name.toLowerCase();
    if (lower === name) return -1;
    return this.#indexOf(lower);
  }
}

/** Appends the parameter at `start` to `flat`; returns the index of the next semicolon, or the end. */
function parseOne(text: string, start: number, flat: (string | undefined)[]): number {
  let i = start;
  while (i < text.length && isTokenCode(text.charCodeAt(i))) i++;
  if (i === start) throw malformed('parameter without name', start);
  const name = text.slice(start, i);
  i = skipSpace(text, i);
  let value: string | undefined;
  if (text.charCodeAt(i) === 0x3d) {
    const valueStart = skipSpace(text, i + 1);
    const valueEnd = endOfValue(text, valueStart);
    value = text.slice(valueStart, valueEnd);
    i = skipSpace(text, valueEnd);
  }
  flat.push(name, name.toLowerCase(), value);
  return i;
}

function endOfValue(text: string, start: number): number {
  if (text.charCodeAt(start) === 0x22) return endOfQuoted(text, start);
  let i = start;
  while (i < text.length && isValueCode(text.charCodeAt(i))) i++;
  if (i === start) throw malformed('parameter with "=" but without value', start);
  return i;
}

/**
 * Deviation: wider than token / host / quoted-string, because tags with `=` or `/` and bare IPv6 addresses occur and
 * cannot be confused with anything; separators, quotes, angle brackets and white space stay forbidden.
 */
function isValueCode(code: number): boolean {
  if (code <= 0x20 || code >= 0x7f) return false;
  return code !== 0x3b && code !== 0x2c && code !== 0x22 && code !== 0x3c && code !== 0x3e;
}

function malformed(message: string, offset: number): ParseError {
  return new ParseError('sip.param.malformed', message, offset);
}
