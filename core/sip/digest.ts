/** Digest access authentication: challenges, credentials, and the arithmetic between (RFC 7616, RFC 8760, RFC 3261 §22). */
import { createHash } from 'node:crypto';
import { ParseError } from '../errors.ts';
import { endOfQuoted, isSpaceCode, isTokenCode, quote, skipSpace, unquote } from './grammar.ts';

/** From the strongest to the weakest; a client prefers the first that it is offered (RFC 8760 §2.4). */
export const DIGEST_ALGORITHMS = [
  'SHA-512-256-sess',
  'SHA-512-256',
  'SHA-256-sess',
  'SHA-256',
  'MD5-sess',
  'MD5',
] as const;
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];

export type Qop = 'auth' | 'auth-int';

const HASH_NAMES: Readonly<Record<DigestAlgorithm, string>> = {
  'SHA-512-256-sess': 'sha512-256',
  'SHA-512-256': 'sha512-256',
  'SHA-256-sess': 'sha256',
  'SHA-256': 'sha256',
  'MD5-sess': 'md5',
  MD5: 'md5',
};

/** A scheme with its parameters: one challenge, or one set of credentials. Names are in lower case, values unquoted. */
export type AuthValue = {
  readonly scheme: string;
  readonly params: ReadonlyMap<string, string>;
};

export type DigestChallenge = {
  readonly realm: string;
  readonly nonce: string;
  readonly opaque: string | undefined;
  readonly algorithm: DigestAlgorithm;
  /** Empty when the server speaks RFC 2069 only; values that we do not know are left out. */
  readonly qop: readonly Qop[];
  /** The answer was right but the nonce has expired: answer again with the same password. */
  readonly isStale: boolean;
};

export type DigestCredentials = {
  readonly username: string;
  readonly realm: string;
  readonly nonce: string;
  readonly uri: string;
  /** Lower-case hexadecimal. */
  readonly response: string;
  readonly algorithm: DigestAlgorithm;
  readonly opaque: string | undefined;
  /** `undefined`: RFC 2069, without the next two. */
  readonly qop: Qop | undefined;
  readonly cnonce: string | undefined;
  /** How often this nonce was used, counting this time. */
  readonly nonceCount: number | undefined;
};

/** What `computeResponse` hashes; texts without quotes. */
export type ResponseInput = {
  readonly algorithm: DigestAlgorithm;
  /** H(username:realm:password) in hexadecimal, also for the -sess algorithms. */
  readonly ha1: string;
  readonly nonce: string;
  readonly method: string;
  /** The digest-uri as written in the credentials. */
  readonly uri: string;
  readonly qop?: Qop | undefined;
  readonly cnonce?: string | undefined;
  readonly nonceCount?: number | undefined;
  /** For `auth-int`. */
  readonly body?: Buffer | undefined;
};

/**
 * Splits WWW-Authenticate, Authorization and their Proxy- forms, several of which may stand in one line (RFC 3261
 * §22.1 forbids that, but drachtio-srf does it).
 *
 * @throws ParseError `sip.auth.malformed`, `sip.quoted.unterminated`
 */
export function parseAuthValues(header: string): AuthValue[] {
  const values: { scheme: string; params: Map<string, string> }[] = [];
  let i = skipSeparators(header, 0);
  while (i < header.length) {
    const nameEnd = endOfToken(header, i);
    if (nameEnd === i) throw malformed('unexpected character', i);
    const name = header.slice(i, nameEnd);
    i = skipSpace(header, nameEnd);
    const current = values.at(-1);
    if (header.charCodeAt(i) !== 0x3d) values.push({ scheme: name, params: new Map() });
    else if (current === undefined) throw malformed('parameter without scheme', i);
    else i = parseAuthParam(header, i, name.toLowerCase(), current.params);
    i = skipSeparators(header, i);
  }
  return values;
}

/** Reads the value behind the "=" at `equals` into `params`; returns where it ends. */
function parseAuthParam(
  header: string,
  equals: number,
  name: string,
  params: Map<string, string>,
): number {
  const start = skipSpace(header, equals + 1);
  if (params.has(name)) throw malformed(`parameter ${name} twice`, equals);
  if (header.charCodeAt(start) === 0x22) {
    const end = endOfQuoted(header, start);
    params.set(name, unquote(header.slice(start, end)));
    return end;
  }
  let end = start;
  while (end < header.length && !isSpaceCode(header.charCodeAt(end)) && header[end] !== ',') end++;
  params.set(name, header.slice(start, end));
  return end;
}

/**
 * The digest challenges in a header that we can answer, strongest algorithm first; others are left out.
 *
 * @throws ParseError `sip.auth.malformed`, `sip.quoted.unterminated`
 */
export function parseDigestChallenges(header: string): DigestChallenge[] {
  const challenges: DigestChallenge[] = [];
  for (const { scheme, params } of parseAuthValues(header)) {
    if (scheme.toLowerCase() !== 'digest') continue;
    const challenge = challengeOf(params);
    if (challenge !== undefined) challenges.push(challenge);
  }
  return challenges.sort((a, b) => rankOf(a.algorithm) - rankOf(b.algorithm));
}

function challengeOf(params: ReadonlyMap<string, string>): DigestChallenge | undefined {
  const realm = params.get('realm');
  const nonce = params.get('nonce');
  const algorithm = algorithmOf(params.get('algorithm'));
  if (realm === undefined || nonce === undefined || algorithm === undefined) return undefined;
  const offered = (params.get('qop') ?? '').split(',').map((name) => name.trim().toLowerCase());
  const qop = offered.filter((name): name is Qop => name === 'auth' || name === 'auth-int');
  // A qop of which we know nothing cannot be answered.
  if (params.has('qop') && qop.length === 0) return undefined;
  const isStale = params.get('stale')?.toLowerCase() === 'true';
  return { realm, nonce, opaque: params.get('opaque'), algorithm, qop, isStale };
}

export function formatDigestChallenge(challenge: DigestChallenge): string {
  const opaque = challenge.opaque === undefined ? '' : `, opaque=${quote(challenge.opaque)}`;
  const qop = challenge.qop.length === 0 ? '' : `, qop="${challenge.qop.join(',')}"`;
  const stale = challenge.isStale ? ', stale=TRUE' : '';
  const { realm, nonce, algorithm } = challenge;
  return `Digest realm=${quote(realm)}, nonce=${quote(nonce)}${opaque}${stale}, algorithm=${algorithm}${qop}`;
}

/**
 * All digest credentials in an Authorization header.
 *
 * @throws ParseError `sip.auth.malformed` when one lacks what RFC 7616 §3.4 requires, or names what we do not know
 */
export function parseDigestCredentials(header: string): DigestCredentials[] {
  return parseAuthValues(header)
    .filter(({ scheme }) => scheme.toLowerCase() === 'digest')
    .map(({ params }) => credentialsOf(params));
}

function credentialsOf(params: ReadonlyMap<string, string>): DigestCredentials {
  const need = (name: string): string => {
    const value = params.get(name);
    if (value === undefined) throw malformed(`credentials without ${name}`, 0);
    return value;
  };
  const algorithm = algorithmOf(params.get('algorithm'));
  if (algorithm === undefined) throw malformed('algorithm that we do not know', 0);
  const qop = params.get('qop')?.toLowerCase();
  if (qop !== undefined && qop !== 'auth' && qop !== 'auth-int') {
    throw malformed('qop that we do not know', 0);
  }
  return {
    username: need('username'),
    realm: need('realm'),
    nonce: need('nonce'),
    uri: need('uri'),
    response: need('response').toLowerCase(),
    algorithm,
    opaque: params.get('opaque'),
    qop,
    cnonce: qop === undefined ? undefined : need('cnonce'),
    nonceCount: qop === undefined ? undefined : parseNonceCount(need('nc')),
  };
}

function parseNonceCount(text: string): number {
  let value = 0;
  for (const letter of text) {
    const digit = parseInt(letter, 16);
    if (Number.isNaN(digit)) throw malformed('nc is not hexadecimal', 0);
    value = value * 16 + digit;
  }
  if (text.length !== 8) throw malformed('nc has not 8 digits', 0);
  return value;
}

export function formatDigestCredentials(credentials: DigestCredentials): string {
  const { username, realm, nonce, uri, response, algorithm, opaque, qop } = credentials;
  const names = `username=${quote(username)}, realm=${quote(realm)}, nonce=${quote(nonce)}`;
  const answer = `uri=${quote(uri)}, response="${response}", algorithm=${algorithm}`;
  const count = formatNonceCount(credentials.nonceCount ?? 0);
  const cnonce = quote(credentials.cnonce ?? '');
  const protection = qop === undefined ? '' : `, qop=${qop}, nc=${count}, cnonce=${cnonce}`;
  const echoed = opaque === undefined ? '' : `, opaque=${quote(opaque)}`;
  return `Digest ${names}, ${answer}${protection}${echoed}`;
}

/** H(username:realm:password) in lower-case hexadecimal. */
export function computeHa1(
  algorithm: DigestAlgorithm,
  username: string,
  realm: string,
  password: string,
): string {
  return hash(algorithm, `${username}:${realm}:${password}`);
}

/** The `response` of RFC 7616 §3.4.1, in lower-case hexadecimal. */
export function computeResponse(input: ResponseInput): string {
  const { algorithm, nonce, method, uri, qop } = input;
  const cnonce = input.cnonce ?? '';
  const isSession = algorithm.endsWith('-sess');
  const ha1 = isSession ? hash(algorithm, `${input.ha1}:${nonce}:${cnonce}`) : input.ha1;
  const entity = qop === 'auth-int' ? ':' + hash(algorithm, input.body ?? Buffer.alloc(0)) : '';
  const ha2 = hash(algorithm, `${method}:${uri}${entity}`);
  if (qop === undefined) return hash(algorithm, `${ha1}:${nonce}:${ha2}`);
  const count = formatNonceCount(input.nonceCount ?? 0);
  return hash(algorithm, `${ha1}:${nonce}:${count}:${cnonce}:${qop}:${ha2}`);
}

/** Who answers a challenge, and with what. */
export type ChallengeAnswer = {
  readonly username: string;
  readonly password: string;
  readonly method: string;
  /** The Request-URI as it goes out. */
  readonly uri: string;
  /** Random text of ours. */
  readonly cnonce: string;
  /** 1 for the first use of this nonce. */
  readonly nonceCount: number;
};

/** The Authorization (or Proxy-Authorization) value for a challenge; `auth` where the server offers it. */
export function answerChallenge(challenge: DigestChallenge, answer: ChallengeAnswer): string {
  const { algorithm, realm, nonce, opaque } = challenge;
  const { username, method, uri, cnonce, nonceCount } = answer;
  const qop = challenge.qop.includes('auth') ? 'auth' : challenge.qop[0];
  const ha1 = computeHa1(algorithm, username, realm, answer.password);
  const input = { algorithm, ha1, nonce, method, uri, qop, cnonce, nonceCount };
  const response = computeResponse(input);
  const tail = { algorithm, opaque, qop, cnonce, nonceCount };
  return formatDigestCredentials({ username, realm, nonce, uri, response, ...tail });
}

function formatNonceCount(count: number): string {
  return count.toString(16).padStart(8, '0');
}

/** Without `algorithm` MD5 is meant (RFC 7616 §3.3). */
function algorithmOf(name: string | undefined): DigestAlgorithm | undefined {
  if (name === undefined) return 'MD5';
  const lower = name.toLowerCase();
  return DIGEST_ALGORITHMS.find((algorithm) => algorithm.toLowerCase() === lower);
}

function rankOf(algorithm: DigestAlgorithm): number {
  return DIGEST_ALGORITHMS.indexOf(algorithm);
}

function hash(algorithm: DigestAlgorithm, content: string | Buffer): string {
  return createHash(HASH_NAMES[algorithm]).update(content).digest('hex');
}

function endOfToken(text: string, from: number): number {
  let i = from;
  while (i < text.length && isTokenCode(text.charCodeAt(i))) i++;
  return i;
}

function skipSeparators(text: string, from: number): number {
  let i = skipSpace(text, from);
  while (text.charCodeAt(i) === 0x2c) i = skipSpace(text, i + 1);
  return i;
}

function malformed(message: string, offset: number): ParseError {
  return new ParseError('sip.auth.malformed', message, offset);
}
