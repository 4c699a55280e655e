/** Bencode, the byte format of the ng control protocol: `4:spam`, `i42e`, `l...e`, `d...e`. */

import { ParseError } from '../../core/errors.ts';
import type { Dictionary, DictionaryValue } from './dictionary.ts';

const MAX_DEPTH = 16;
const MAX_VALUES = 50_000;

const LETTER_D = 0x64;
const LETTER_E = 0x65;
const LETTER_I = 0x69;
const LETTER_L = 0x6c;
const COLON = 0x3a;
const MINUS = 0x2d;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

/**
 * Decodes exactly one value; strings are UTF-8. Keys may come in any order, as most clients write them.
 *
 * @throws ParseError `ng.bencode` with the offset in bytes: not bencode, more than one value, a key twice, nested too
 * deep, or more values than anybody needs
 */
export function decodeBencode(bytes: Buffer): DictionaryValue {
  const decoder = new Decoder(bytes);
  const value = decoder.value(0);
  if (decoder.offset !== bytes.length) throw decoder.error('bytes after the end');
  return value;
}

class Decoder {
  offset = 0;
  readonly #bytes: Buffer;
  #values = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  error(what: string): ParseError {
    return new ParseError('ng.bencode', `bencode: ${what}`, this.offset);
  }

  value(depth: number): DictionaryValue {
    this.#values += 1;
    if (depth > MAX_DEPTH || this.#values > MAX_VALUES) throw this.error('too much');
    const first = this.#bytes[this.offset];
    if (first === LETTER_I) return this.#signed();
    if (first === LETTER_L) return this.#list(depth);
    return first === LETTER_D ? this.#dictionary(depth) : this.#text();
  }

  #signed(): number {
    this.offset += 1;
    if (this.#bytes[this.offset] !== MINUS) return this.#digits(LETTER_E);
    this.offset += 1;
    const value = this.#digits(LETTER_E);
    if (value === 0) throw this.error('minus zero');
    return -value;
  }

  /** Digits without leading zeros, and the terminator. */
  #digits(terminator: number): number {
    const start = this.offset;
    let value = 0;
    for (;;) {
      const byte = this.#bytes[this.offset];
      if (byte === terminator) break;
      if (byte === undefined || byte < DIGIT_0 || byte > DIGIT_9) throw this.error('not a number');
      value = value * 10 + byte - DIGIT_0;
      if (value > Number.MAX_SAFE_INTEGER) throw this.error('number too large');
      this.offset += 1;
    }
    const count = this.offset - start;
    if (count === 0 || (count > 1 && this.#bytes[start] === DIGIT_0)) {
      throw this.error('not a number');
    }
    this.offset += 1;
    return value;
  }

  #text(): string {
    const length = this.#digits(COLON);
    const end = this.offset + length;
    if (end > this.#bytes.length) throw this.error('text longer than what is there');
    const text = this.#bytes.toString('utf8', this.offset, end);
    this.offset = end;
    return text;
  }

  #list(depth: number): DictionaryValue {
    this.offset += 1;
    const list: DictionaryValue[] = [];
    while (this.#bytes[this.offset] !== LETTER_E) list.push(this.value(depth + 1));
    this.offset += 1;
    return list;
  }

  #dictionary(depth: number): Dictionary {
    this.offset += 1;
    // Without a prototype, no key has a meaning of its own.
    const dictionary = Object.create(null) as Record<string, DictionaryValue>;
    while (this.#bytes[this.offset] !== LETTER_E) {
      const key = this.#text();
      if (key in dictionary) throw this.error('a key twice');
      dictionary[key] = this.value(depth + 1);
    }
    this.offset += 1;
    return dictionary;
  }
}

/** Encodes a value; keys sorted by their bytes, undefined left out, true and false as 1 and 0, fractions as text. */
export function encodeBencode(value: DictionaryValue): Buffer {
  const parts: string[] = [];
  encodeInto(parts, value);
  return Buffer.from(parts.join(''), 'utf8');
}

function encodeInto(parts: string[], value: DictionaryValue): void {
  if (typeof value === 'string') {
    parts.push(String(Buffer.byteLength(value)), ':', value);
  } else if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) parts.push('i', String(value), 'e');
    else encodeInto(parts, String(value));
  } else if (typeof value === 'boolean') {
    parts.push(value ? 'i1e' : 'i0e');
  } else if (Array.isArray(value)) {
    parts.push('l');
    for (const item of value as readonly DictionaryValue[]) encodeInto(parts, item);
    parts.push('e');
  } else {
    encodeDictionary(parts, value as Dictionary);
  }
}

function encodeDictionary(parts: string[], dictionary: Dictionary): void {
  parts.push('d');
  const keys = Object.keys(dictionary).sort((a, b) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  for (const key of keys) {
    const value = dictionary[key];
    if (value === undefined) continue;
    encodeInto(parts, key);
    encodeInto(parts, value);
  }
  parts.push('e');
}
