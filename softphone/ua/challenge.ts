/** Digest challenges (RFC 7616, RFC 8760): all that a response carries, and the one that we answer. */

import { isTokenCode, endOfQuoted, unquote } from '../../core/sip/grammar.ts';
import type { SipMessage } from '../../core/sip/message.ts';

/** One challenge; `parameters` has its names in lower case and its values without quotes. */
export type Challenge = {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
};

/** Hash algorithms by their name in node:crypto, the one we like best first. */
export const DIGEST_ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ['SHA-512-256', 'sha512-256'],
  ['SHA-256', 'sha256'],
  ['MD5', 'md5'],
]);

/**
 * Splits the value of WWW-Authenticate or Proxy-Authenticate, which may hold several challenges with commas both
 * between and within them. What cannot be read ends the list.
 */
export function parseChallenges(value: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = skip(value, 0);
  while (at < value.length) {
    const nameEnd = endOfToken(value, at);
    if (nameEnd === at) break;
    const name = value.slice(at, nameEnd);
    let next = skipBlanks(value, nameEnd);
    if (value[next] !== '=') {
      challenges.push({ scheme: name, parameters: new Map() });
    } else {
      next = skipBlanks(value, next + 1);
      const end = value[next] === '"' ? endOfQuotedOrAll(value, next) : endOfToken(value, next);
      const raw = value.slice(next, end);
      const parameters = challenges.at(-1)?.parameters;
      if (parameters?.has(name.toLowerCase()) === false) {
        parameters.set(name.toLowerCase(), raw.startsWith('"') ? unquote(raw) : raw);
      }
      next = end;
    }
    at = skip(value, next);
  }
  return challenges;
}

/** The strongest Digest challenge whose algorithm and quality of protection we know; the first of equal ones. */
export function chooseChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  let best: Challenge | undefined;
  let bestRank = DIGEST_ALGORITHMS.size;
  for (const challenge of challenges) {
    if (challenge.scheme.toLowerCase() !== 'digest' || !isAnswerable(challenge)) continue;
    const rank = [...DIGEST_ALGORITHMS.keys()].indexOf(baseAlgorithm(challenge));
    if (rank < 0 || rank >= bestRank) continue;
    best = challenge;
    bestRank = rank;
  }
  return best;
}

/** Without `-sess`; MD5 when none is named (RFC 7616 §3.3). */
export function baseAlgorithm({ parameters }: Challenge): string {
  return (parameters.get('algorithm') ?? 'MD5').toUpperCase().replace(/-SESS$/, '');
}

function isAnswerable({ parameters }: Challenge): boolean {
  if (!parameters.has('realm') || (parameters.get('nonce') ?? '') === '') return false;
  const qualities = parameters.get('qop')?.split(',') ?? ['auth'];
  return qualities.some((quality) => /^\s*auth(?:-int)?\s*$/i.test(quality));
}

/** The header line for sip.js with the chosen challenge alone; none when nothing can be answered. */
export function keepOneChallenge(message: SipMessage): readonly string[] {
  const name = message.statusCode === 401 ? 'WWW-Authenticate' : 'Proxy-Authenticate';
  const chosen = chooseChallenge(message.headerFields(name).flatMap(parseChallenges));
  if (chosen === undefined) return [];
  const parts: string[] = [];
  for (const key of ['realm', 'nonce', 'opaque', 'qop']) {
    const value = chosen.parameters.get(key);
    if (value !== undefined) parts.push(`${key}="${value.replace(/[\\"]/g, '\\$&')}"`);
  }
  parts.push(`algorithm=${chosen.parameters.get('algorithm') ?? 'MD5'}`);
  if (/^true$/i.test(chosen.parameters.get('stale') ?? '')) parts.push('stale=true');
  return [`${name}: Digest ${parts.join(', ')}`];
}

function endOfToken(text: string, from: number): number {
  let at = from;
  while (at < text.length && isTokenCode(text.charCodeAt(at))) at += 1;
  return at;
}

function endOfQuotedOrAll(text: string, from: number): number {
  try {
    return endOfQuoted(text, from);
  } catch {
    return text.length;
  }
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t') at += 1;
  return at;
}

function skip(text: string, from: number): number {
  let at = skipBlanks(text, from);
  while (text[at] === ',') at = skipBlanks(text, at + 1);
  return at;
}
