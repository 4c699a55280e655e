/** Digest credentials: reading the Authorization header and checking the answer to a challenge (RFC 7616, RFC 8760). */
import { hash, timingSafeEqual } from 'node:crypto';
import { ProtocolError } from '../../../core/errors.ts';
import { endOfQuoted, isTokenCode, skipSpace, unquote } from '../../../core/sip/grammar.ts';

export const DIGEST_ALGORITHMS = ['SHA-256', 'MD5'] as const;
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];

/** One set of digest credentials; everything as the client wrote it, without quotes. */
export type Credentials = {
  readonly username: string;
  readonly realm: string;
  readonly nonce: string;
  readonly uri: string;
  readonly response: string;
  readonly algorithm: DigestAlgorithm;
  /** `undefined`: the client answers in the manner of RFC 2069, without qop, nc and cnonce. */
  readonly qop:
    { readonly nc: number; readonly ncText: string; readonly cnonce: string } | undefined;
};

/**
 * The credentials for one realm out of an Authorization header; several headers may come joined by commas.
 *
 * @returns `undefined` when there are none for that realm
 * @throws ProtocolError `digest.malformed` 400, which names what is wrong
 * @throws ParseError `sip.quoted.unterminated`
 */
export function parseCredentials(header: string, realm: string): Credentials | undefined {
  for (const { scheme, parameters } of parseAuthorization(header)) {
    if (scheme.toLowerCase() !== 'digest') continue;
    if (parameters.get('realm')?.toLowerCase() !== realm) continue;
    return credentialsOf(parameters);
  }
  return undefined;
}

type Authorization = { readonly scheme: string; readonly parameters: Map<string, string> };

function parseAuthorization(header: string): Authorization[] {
  const found: Authorization[] = [];
  let i = 0;
  while ((i = skipSeparators(header, i)) < header.length) {
    const nameEnd = endOfToken(header, i);
    if (nameEnd === i) throw malformed('an unexpected character');
    const name = header.slice(i, nameEnd);
    i = skipSpace(header, nameEnd);
    if (header[i] !== '=') {
      found.push({ scheme: name, parameters: new Map() });
      continue;
    }
    const valueStart = skipSpace(header, i + 1);
    const isQuoted = header[valueStart] === '"';
    i = isQuoted ? endOfQuoted(header, valueStart) : endOfValue(header, valueStart);
    const value = header.slice(valueStart, i);
    found.at(-1)?.parameters.set(name.toLowerCase(), isQuoted ? unquote(value) : value);
  }
  return found;
}

function skipSeparators(text: string, from: number): number {
  let i = skipSpace(text, from);
  while (text[i] === ',') i = skipSpace(text, i + 1);
  return i;
}

function endOfToken(text: string, from: number): number {
  let i = from;
  while (i < text.length && isTokenCode(text.charCodeAt(i))) i++;
  return i;
}

function endOfValue(text: string, from: number): number {
  let i = from;
  while (i < text.length && text[i] !== ',' && text[i] !== ' ' && text[i] !== '\t') i++;
  return i;
}

function credentialsOf(parameters: ReadonlyMap<string, string>): Credentials {
  const need = (name: string): string => {
    const value = parameters.get(name);
    if (value === undefined || value === '') throw malformed(`no ${name}`);
    return value;
  };
  return {
    username: need('username'),
    realm: need('realm'),
    nonce: need('nonce'),
    uri: need('uri'),
    response: need('response').toLowerCase(),
    algorithm: algorithmOf(parameters.get('algorithm')),
    qop: qopOf(parameters, need),
  };
}

function algorithmOf(written: string | undefined): DigestAlgorithm {
  if (written === undefined) return 'MD5';
  const algorithm = DIGEST_ALGORITHMS.find((known) => known === written.toUpperCase());
  if (algorithm === undefined) throw malformed('an algorithm that was not offered');
  return algorithm;
}

function qopOf(
  parameters: ReadonlyMap<string, string>,
  need: (name: string) => string,
): Credentials['qop'] {
  const qop = parameters.get('qop');
  if (qop === undefined) return undefined;
  if (qop.toLowerCase() !== 'auth') throw malformed('a qop that was not offered');
  const ncText = need('nc');
  if (!/^[0-9a-f]{8}$/i.test(ncText)) throw malformed('an nc that is not 8 hexadecimal digits');
  return { nc: Number.parseInt(ncText, 16), ncText, cnonce: need('cnonce') };
}

function malformed(what: string): ProtocolError {
  return new ProtocolError('digest.malformed', `Authorization header with ${what}`, 400);
}

/** H(username:realm:password) in lower-case hexadecimal: all that is kept of a password. */
export function ha1Of(
  algorithm: DigestAlgorithm,
  username: string,
  realm: string,
  password: string,
): string {
  return digest(algorithm, `${username}:${realm}:${password}`);
}

/**
 * Whether the response was made by somebody who knows the password.
 *
 * Deviation: the `uri` parameter need not equal the Request-URI; phones and proxies rewrite the latter, and the nonce
 * count keeps an answer from being used twice.
 *
 * @param ha1 - for the credentials' own algorithm
 */
export function isRightResponse(credentials: Credentials, method: string, ha1: string): boolean {
  const { algorithm, nonce, uri, qop, response } = credentials;
  const ha2 = digest(algorithm, `${method}:${uri}`);
  const middle = qop === undefined ? nonce : `${nonce}:${qop.ncText}:${qop.cnonce}:auth`;
  const expected = Buffer.from(digest(algorithm, `${ha1}:${middle}:${ha2}`), 'latin1');
  const given = Buffer.from(response, 'latin1');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function digest(algorithm: DigestAlgorithm, text: string): string {
  return hash(algorithm === 'MD5' ? 'md5' : 'sha256', text, 'hex');
}
