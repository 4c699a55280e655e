import assert from 'node:assert/strict';
import {
  DIGEST_ALGORITHMS,
  computeHa1,
  computeResponse,
  parseDigestCredentials,
} from '../../../../core/sip/digest.ts';
import { SipMessage } from '../../../../core/sip/message.ts';
import { chooseChallenge, keepOneChallenge } from '../../../../softphone/ua/challenge.ts';
import { NonceCounter, RequestCredentials } from '../../../../softphone/ua/digest.ts';

const MD5 = 'Digest realm="lab", nonce="m1", algorithm=MD5, qop="auth"';
const SHA256 = 'Digest realm="lab", nonce="s1", algorithm=SHA-256, qop="auth"';
const SHA512 = 'Digest realm="lab", nonce="t1", algorithm=SHA-512-256, qop="auth"';
const UNKNOWN = 'Digest realm="lab", nonce="x1", algorithm=SHA3-256, qop="auth"';

function response(statusCode: number, challenges: readonly string[]): SipMessage {
  const name = statusCode === 401 ? 'WWW-Authenticate' : 'Proxy-Authenticate';
  const lines = challenges.map((challenge) => `${name}: ${challenge}\r\n`).join('');
  return SipMessage.parse(
    Buffer.from(`SIP/2.0 ${statusCode} Unauthorized\r\n${lines}Content-Length: 0\r\n\r\n`),
  );
}

describe('the choice of a challenge (RFC 8760 §2.4)', () => {
  for (const [title, challenges, nonce] of [
    ['SHA-256 before MD5', [SHA256, MD5], 's1'],
    ['SHA-256 behind MD5', [MD5, SHA256], 's1'],
    ['SHA-512-256 in the middle', [MD5, SHA512, SHA256], 't1'],
    ['MD5 alone', [MD5], 'm1'],
    ['MD5 without its name', ['Digest realm="lab", nonce="m2"'], 'm2'],
    ['an algorithm that nobody knows first', [UNKNOWN, MD5], 'm1'],
    ['another scheme first', ['Bearer realm="lab"', SHA256], 's1'],
    ['all in one line', [`${MD5}, ${SHA256}, ${UNKNOWN}`], 's1'],
    ['a broken line first', ['Digest realm="lab, nonce=', SHA256], 's1'],
  ] as const) {
    it(`MUST find the best one: ${title}`, () => {
      for (const statusCode of [401, 407]) {
        assert.equal(chooseChallenge(response(statusCode, challenges))?.nonce, nonce);
        const kept = keepOneChallenge(response(statusCode, challenges));
        assert.equal(kept.length, 1);
        assert.match(kept[0] ?? '', new RegExp(`nonce="${nonce}"`));
      }
    });
  }

  it('MUST find none where none can be answered', () => {
    for (const challenges of [[], [UNKNOWN], ['Bearer realm="lab"'], ['Digest realm="lab"']]) {
      assert.deepEqual(keepOneChallenge(response(401, challenges)), []);
    }
  });

  it('keeps what says that only the nonce is old', () => {
    const [line = ''] = keepOneChallenge(response(401, [`${SHA256}, stale=TRUE`]));
    assert.match(line, /stale=true/i);
  });
});

describe('credentials (RFC 7616)', () => {
  const account = { username: 'anna', password: 'geheim' };
  const request = (method = 'REGISTER', body?: string) => ({
    method,
    ruri: { toRaw: () => 'sip:lab.test' },
    ...(body === undefined ? {} : { body }),
  });

  for (const algorithm of DIGEST_ALGORITHMS) {
    for (const qop of [['auth'], ['auth-int', 'auth'], ['auth-int'], undefined] as const) {
      it(`MUST answer ${algorithm} with qop ${qop?.join(',') ?? 'absent'}`, () => {
        const credentials = new RequestCredentials(account, new NonceCounter());
        const challenge = { realm: 'lab', nonce: 'n1', opaque: 'o1', algorithm };
        const body = 'v=0';
        const isDone = credentials.authenticate(
          request('INVITE', body),
          qop === undefined ? challenge : { ...challenge, qop },
        );
        assert.equal(isDone, true);
        const [sent] = parseDigestCredentials(credentials.toString());
        assert.ok(sent);
        assert.equal(sent.username, 'anna');
        assert.equal(sent.opaque, 'o1');
        assert.equal(sent.uri, 'sip:lab.test');
        assert.equal(sent.qop, qop === undefined ? undefined : qop.at(-1));
        const expected = computeResponse({
          algorithm,
          ha1: computeHa1(algorithm, 'anna', 'lab', 'geheim'),
          nonce: 'n1',
          method: 'INVITE',
          uri: 'sip:lab.test',
          qop: sent.qop,
          cnonce: sent.cnonce,
          nonceCount: sent.nonceCount,
          body: Buffer.from(body),
        });
        // Without qop the session algorithms have no cnonce to send; servers offer qop with them.
        if (qop !== undefined || !algorithm.endsWith('-sess')) {
          assert.equal(sent.response, expected);
        }
      });
    }
  }

  it('MUST count the uses of a nonce over all requests, and take a new cnonce each time', () => {
    const nonces = new NonceCounter();
    const seen = [1, 2, 3].map(() => {
      const credentials = new RequestCredentials(account, nonces);
      credentials.authenticate(request(), {
        realm: 'lab',
        nonce: 'n1',
        algorithm: 'SHA-256',
        qop: ['auth'],
      });
      return parseDigestCredentials(credentials.toString())[0];
    });
    assert.deepEqual(
      seen.map((credentials) => credentials?.nonceCount),
      [1, 2, 3],
    );
    assert.equal(new Set(seen.map((credentials) => credentials?.cnonce)).size, 3);
  });

  it('MUST refuse what it cannot answer', () => {
    const credentials = new RequestCredentials(account, new NonceCounter());
    for (const challenge of [
      {},
      { realm: 'lab' },
      { realm: 'lab', nonce: 'n1', algorithm: 'SHA3-256' },
      { realm: 'lab', nonce: 'n1', qop: ['auth-conf'] },
    ]) {
      assert.equal(credentials.authenticate(request(), challenge), false);
    }
  });

  it('remembers a limited number of nonces', () => {
    const nonces = new NonceCounter();
    assert.equal(nonces.next('first'), 1);
    for (let index = 0; index < 200; index += 1) nonces.next(`n${index}`);
    assert.equal(nonces.next('first'), 1);
  });
});
