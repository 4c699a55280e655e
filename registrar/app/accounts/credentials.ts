/** Digest credentials as a server sees them: which of them are meant for us, and whether the answer is right (RFC 7616). */
import { timingSafeEqual } from 'node:crypto';
import { ProtocolError } from '../../../core/errors.ts';
import {
  computeResponse,
  parseDigestCredentials,
  type DigestCredentials,
} from '../../../core/sip/digest.ts';

/** What we offer, strongest first. */
export type OfferedAlgorithm = 'SHA-256' | 'MD5';

export type Credentials = DigestCredentials & { readonly algorithm: OfferedAlgorithm };

/**
 * The credentials for one realm out of an Authorization header; several headers may come joined by commas.
 *
 * @param realm - lower case
 * @returns `undefined` when there are none for that realm
 * @throws ParseError `sip.auth.malformed`, `sip.quoted.unterminated`
 * @throws ProtocolError `digest.algorithm` 400, `digest.qop` 400 when they use what was not offered
 */
export function credentialsFor(header: string, realm: string): Credentials | undefined {
  const found = parseDigestCredentials(header).find(
    (credentials) => credentials.realm.toLowerCase() === realm,
  );
  if (found === undefined) return undefined;
  if (found.qop === 'auth-int') {
    throw new ProtocolError('digest.qop', 'Authorization with a qop that was not offered', 400);
  }
  const { algorithm } = found;
  if (algorithm !== 'MD5' && algorithm !== 'SHA-256') {
    throw new ProtocolError(
      'digest.algorithm',
      'Authorization with an algorithm that was not offered',
      400,
    );
  }
  return { ...found, algorithm };
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
  const expected = Buffer.from(computeResponse({ ...credentials, method, ha1 }), 'latin1');
  const given = Buffer.from(credentials.response, 'latin1');
  return given.length === expected.length && timingSafeEqual(given, expected);
}
