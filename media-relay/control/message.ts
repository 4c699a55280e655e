/** A message of the ng control protocol on a datagram: `cookie SP dictionary`, in bencode or in JSON. */

import { ParseError } from '../../core/errors.ts';
import { decodeBencode, encodeBencode } from './bencode.ts';
import { isDictionary } from './dictionary.ts';
import type { Dictionary } from './dictionary.ts';

export type Encoding = 'bencode' | 'json';

const SPACE = 0x20;
const OPEN_BRACE = 0x7b;
const MAX_COOKIE_LENGTH = 255;

/** The cookie and the bytes behind it; undefined when the datagram has none and nobody can be answered. */
export function splitCookie(
  datagram: Buffer,
): { readonly cookie: string; readonly body: Buffer } | undefined {
  const space = datagram.indexOf(SPACE);
  if (space < 1 || space > MAX_COOKIE_LENGTH) return undefined;
  const cookie = datagram.toString('latin1', 0, space);
  if (!/^[!-~]+$/u.test(cookie)) return undefined;
  return { cookie, body: datagram.subarray(space + 1) };
}

/** The encoding that the sender used, and is answered in. */
export function encodingOf(body: Buffer): Encoding {
  return body[0] === OPEN_BRACE ? 'json' : 'bencode';
}

/** @throws ParseError `ng.bencode` or `ng.json` */
export function decodeBody(body: Buffer): Dictionary {
  const value = encodingOf(body) === 'json' ? parseJson(body) : decodeBencode(body);
  if (!isDictionary(value)) throw new ParseError('ng.bencode', 'not a dictionary', 0);
  return value;
}

export function encodeMessage(cookie: string, dictionary: Dictionary, encoding: Encoding): Buffer {
  const head = Buffer.from(`${cookie} `, 'latin1');
  const body =
    encoding === 'json' ? Buffer.from(JSON.stringify(dictionary)) : encodeBencode(dictionary);
  return Buffer.concat([head, body]);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new ParseError('ng.json', 'not JSON', 0);
  }
}
