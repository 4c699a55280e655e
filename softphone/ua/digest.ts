/** Answers to digest challenges (RFC 7616, RFC 8760), in the shape that sip.js asks for. */

import { randomBytes } from 'node:crypto';
import {
  DIGEST_ALGORITHMS,
  computeHa1,
  computeResponse,
  formatDigestCredentials,
} from '../../core/sip/digest.ts';

export type Account = { readonly username: string; readonly password: string };

/** A challenge as sip.js parses it: values without quotes. */
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
  readonly callId?: string;
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
export class RequestCredentials {
  readonly #account: Account;
  readonly #nonces: NonceCounter;
  readonly #isWanted: (request: DigestRequest) => boolean;
  #value = '';

  /** @param isWanted - whether the request shall be sent again at all */
  constructor(
    account: Account,
    nonces: NonceCounter,
    isWanted: (request: DigestRequest) => boolean = () => true,
  ) {
    this.#account = account;
    this.#nonces = nonces;
    this.#isWanted = isWanted;
  }

  /** @returns whether the challenge can be answered */
  authenticate(request: DigestRequest, challenge: ParsedChallenge): boolean {
    if (!this.#isWanted(request)) return false;
    const { realm, nonce, opaque } = challenge;
    const wanted = (challenge.algorithm ?? 'MD5').toLowerCase();
    const algorithm = DIGEST_ALGORITHMS.find((name) => name.toLowerCase() === wanted);
    if (realm === undefined || nonce === undefined || algorithm === undefined) return false;
    const offered = challenge.qop?.map((quality) => quality.trim().toLowerCase()) ?? [];
    const qop = (['auth', 'auth-int'] as const).find((quality) => offered.includes(quality));
    if (qop === undefined && offered.length > 0) return false;
    const { username, password } = this.#account;
    const common = {
      algorithm,
      nonce,
      uri: request.ruri.toRaw(),
      qop,
      cnonce: randomBytes(16).toString('hex'),
      nonceCount: this.#nonces.next(nonce),
    };
    const ha1 = computeHa1(algorithm, username, realm, password);
    const body = Buffer.from(bodyOf(request));
    const response = computeResponse({ ...common, ha1, method: request.method, body });
    this.#value = formatDigestCredentials({ ...common, username, realm, opaque, response });
    return true;
  }

  toString(): string {
    return this.#value;
  }
}

function bodyOf({ body }: DigestRequest): string {
  if (body === undefined) return '';
  return typeof body === 'string' ? body : body.body;
}
