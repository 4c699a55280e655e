/** Answers to digest challenges (RFC 7616, RFC 8760), in the shape that sip.js asks for. */

import { createHash, randomBytes } from 'node:crypto';
import { DIGEST_ALGORITHMS } from './challenge.ts';

export type Account = { readonly username: string; readonly password: string };

/** A challenge as sip.js parses it. */
export type ParsedChallenge = {
  readonly realm?: string;
  readonly nonce?: string;
  readonly opaque?: string;
  readonly algorithm?: string;
  readonly qop?: readonly string[];
};

/** A request as far as a digest covers it. */
export type DigestRequest = {
  readonly method: string;
  readonly ruri: { toRaw(): string };
  readonly body?: string | { readonly body: string } | undefined;
};

/** Counts how often each nonce was used, over all requests of one phone; the oldest nonces are forgotten. */
export class NonceCounter {
  readonly #counts = new Map<string, number>();

  next(nonce: string): number {
    const count = (this.#counts.get(nonce) ?? 0) + 1;
    this.#counts.delete(nonce);
    this.#counts.set(nonce, count);
    if (this.#counts.size > 100) {
      for (const oldest of this.#counts.keys()) {
        this.#counts.delete(oldest);
        break;
      }
    }
    return count;
  }
}

/** The credentials of one request: `authenticate` computes them, `toString` gives the header's value. */
export class DigestCredentials {
  readonly #account: Account;
  readonly #nonces: NonceCounter;
  readonly #newCnonce: () => string;
  #value = '';

  /** @param newCnonce - a fresh random token each time; tests supply their own */
  constructor(
    account: Account,
    nonces: NonceCounter,
    newCnonce: () => string = () => randomBytes(16).toString('hex'),
  ) {
    this.#account = account;
    this.#nonces = nonces;
    this.#newCnonce = newCnonce;
  }

  /** @returns whether the challenge can be answered */
  authenticate(request: DigestRequest, challenge: ParsedChallenge): boolean {
    const { realm, nonce, algorithm = 'MD5', opaque } = challenge;
    const name = algorithm.toUpperCase();
    const hashName = DIGEST_ALGORITHMS.get(name.replace(/-SESS$/, ''));
    if (realm === undefined || nonce === undefined || hashName === undefined) return false;
    const quality = chooseQuality(challenge.qop);
    if (quality === 'unknown') return false;
    const cnonce = this.#newCnonce();
    const count = this.#nonces.next(nonce).toString(16).padStart(8, '0');
    const isSession = name.endsWith('-SESS');
    const proof = { hashName, isSession, realm, nonce, quality, cnonce, count };
    // Quoted values are echoed as they came, escapes and all.
    const parts = [
      `username="${this.#account.username.replace(/[\\"]/g, '\\$&')}"`,
      `realm="${realm}"`,
      `nonce="${nonce}"`,
      `uri="${request.ruri.toRaw()}"`,
      `response="${responseTo(request, this.#account, proof)}"`,
      `algorithm=${algorithm}`,
    ];
    if (opaque !== undefined) parts.push(`opaque="${opaque}"`);
    if (quality !== undefined) parts.push(`qop=${quality}`, `nc=${count}`);
    if (quality !== undefined || isSession) parts.push(`cnonce="${cnonce}"`);
    this.#value = `Digest ${parts.join(', ')}`;
    return true;
  }

  toString(): string {
    return this.#value;
  }
}

type Proof = {
  readonly hashName: string;
  readonly isSession: boolean;
  readonly realm: string;
  readonly nonce: string;
  readonly quality: 'auth' | 'auth-int' | undefined;
  readonly cnonce: string;
  readonly count: string;
};

/** RFC 7616 §3.4.1. */
function responseTo(request: DigestRequest, account: Account, proof: Proof): string {
  const { realm, nonce, quality, cnonce, count } = proof;
  const hash = (text: string): string => createHash(proof.hashName).update(text).digest('hex');
  let ha1 = hash(`${account.username}:${realm}:${account.password}`);
  if (proof.isSession) ha1 = hash(`${ha1}:${nonce}:${cnonce}`);
  const covered = quality === 'auth-int' ? `:${hash(bodyOf(request))}` : '';
  const ha2 = hash(`${request.method}:${request.ruri.toRaw()}${covered}`);
  const middle = quality === undefined ? nonce : `${nonce}:${count}:${cnonce}:${quality}`;
  return hash(`${ha1}:${middle}:${ha2}`);
}

/** Plain `auth` if it is offered; undefined means the form without `qop` of RFC 2617. */
function chooseQuality(
  offered: readonly string[] | undefined,
): 'auth' | 'auth-int' | 'unknown' | undefined {
  if (offered === undefined || offered.length === 0) return undefined;
  const lower = offered.map((quality) => quality.trim().toLowerCase());
  if (lower.includes('auth')) return 'auth';
  return lower.includes('auth-int') ? 'auth-int' : 'unknown';
}

function bodyOf({ body }: DigestRequest): string {
  if (body === undefined) return '';
  return typeof body === 'string' ? body : body.body;
}
