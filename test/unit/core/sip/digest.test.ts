import assert from 'node:assert/strict';
import { ParseError } from '../../../../core/errors.ts';
import {
  answerChallenge,
  computeHa1,
  computeResponse,
  formatDigestChallenge,
  formatDigestCredentials,
  parseAuthValues,
  parseDigestChallenges,
  parseDigestCredentials,
  type DigestCredentials,
} from '../../../../core/sip/digest.ts';

describe('digest arithmetic (RFC 7616 §3.4)', () => {
  const mufasa = {
    nonce: '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v',
    method: 'GET',
    uri: '/dir/index.html',
    qop: 'auth',
    nonceCount: 1,
    cnonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ',
  } as const;

  for (const [algorithm, response] of [
    ['MD5', '8ca523f5e9506fed4657c9700eebdbec'],
    ['SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'],
  ] as const) {
    it(`gives the ${algorithm} response of RFC 7616 §3.9.1`, () => {
      const ha1 = computeHa1(algorithm, 'Mufasa', 'http-auth@example.org', 'Circle of Life');
      assert.equal(computeResponse({ ...mufasa, algorithm, ha1 }), response);
    });
  }

  const legacy = {
    algorithm: 'MD5',
    ha1: computeHa1('MD5', 'Mufasa', 'testrealm@host.com', 'Circle Of Life'),
    nonce: 'dcd98b7102dd2f0e8b11d0f600bfb0c093',
    method: 'GET',
    uri: '/dir/index.html',
  } as const;

  it('gives the response of RFC 2617 §3.5', () => {
    const response = computeResponse({ ...legacy, qop: 'auth', cnonce: '0a4f113b', nonceCount: 1 });
    assert.equal(response, '6629fae49393a05397450978507c4ef1');
  });

  it('gives the response without qop of RFC 2069', () => {
    // Worked with openssl: MD5(HA1:nonce:MD5(GET:/dir/index.html)).
    assert.equal(computeResponse(legacy), '670fd8c2df070c60b045671b8b24ff02');
  });

  it('gives the response of SHA-512-256 with a hashed session and a body', () => {
    const ha1 = computeHa1('SHA-512-256-sess', 'a', 'r', 'p');
    const input = {
      algorithm: 'SHA-512-256-sess',
      ha1,
      nonce: 'n',
      method: 'INVITE',
      uri: 'sip:b',
    } as const;
    const other = { ...input, qop: 'auth-int', cnonce: 'c', nonceCount: 2 } as const;
    const response = computeResponse({ ...other, body: Buffer.from('v=0') });
    // Worked with openssl.
    assert.equal(response, '859a9216ea7ad720c89f08f60d13117a12a13532549abcff50e4ab2384191a2e');
    assert.notEqual(response, computeResponse({ ...other, body: Buffer.from('v=1') }));
    assert.notEqual(response, computeResponse({ ...other, cnonce: 'd', body: Buffer.from('v=0') }));
    assert.notEqual(
      response,
      computeResponse({ ...other, algorithm: 'SHA-512-256', body: Buffer.from('v=0') }),
    );
  });
});

describe('digest headers (RFC 7616 §3.3, §3.4, RFC 8760)', () => {
  it('parses a challenge, quoted pairs and commas included', () => {
    const [challenge] = parseDigestChallenges(
      'digest  realm="a, \\"b\\"", qop="auth,auth-int,new", Nonce = "x,=y" ,opaque="", stale=TRUE, algorithm=md5, domain="sip:a"',
    );
    assert.deepEqual(challenge, {
      realm: 'a, "b"',
      nonce: 'x,=y',
      opaque: '',
      algorithm: 'MD5',
      qop: ['auth', 'auth-int'],
      isStale: true,
    });
  });

  it('takes several challenges out of one line, the strongest first, leaving out what it cannot answer', () => {
    const header =
      'Digest realm="r", nonce="1", algorithm=MD5, Basic realm="r", Digest realm="r", nonce="2", algorithm=SHA-256, Digest realm="r", nonce="3", algorithm=X, NTLM, Digest realm="r", nonce="4", qop="new"';
    assert.deepEqual(
      parseDigestChallenges(header).map(({ nonce }) => nonce),
      ['2', '1'],
    );
    assert.equal(parseAuthValues(header).length, 6);
  });

  it('means MD5 when there is no algorithm, and RFC 2069 when there is no qop', () => {
    const [challenge] = parseDigestChallenges('Digest realm="r", nonce="n"');
    assert.equal(challenge?.algorithm, 'MD5');
    assert.deepEqual(challenge.qop, []);
  });

  for (const header of [
    'realm="r"',
    'Digest realm="r',
    'Digest realm="r", realm="s"',
    'Digest ="x"',
    '"x"',
    'Digest @',
  ]) {
    it(`refuses ${header}`, () => {
      assert.throws(() => parseDigestChallenges(header), ParseError);
    });
  }

  it('writes a challenge that parses to the same', () => {
    const challenge = {
      realm: 'a "b"',
      nonce: 'n',
      opaque: 'o',
      algorithm: 'SHA-256',
      qop: ['auth'],
      isStale: true,
    } as const;
    assert.deepEqual(parseDigestChallenges(formatDigestChallenge(challenge)), [challenge]);
    const plain = { ...challenge, opaque: undefined, qop: [], isStale: false } as const;
    assert.deepEqual(parseDigestChallenges(formatDigestChallenge(plain)), [plain]);
  });

  it('writes credentials that parse to the same', () => {
    const credentials: DigestCredentials = {
      username: 'a"b',
      realm: 'r',
      nonce: 'n',
      uri: 'sip:b',
      response: '0a',
      algorithm: 'SHA-256-sess',
      opaque: 'o',
      qop: 'auth',
      cnonce: 'c"',
      nonceCount: 0x1f,
    };
    assert.deepEqual(parseDigestCredentials(formatDigestCredentials(credentials)), [credentials]);
    const legacy = {
      ...credentials,
      opaque: undefined,
      qop: undefined,
      cnonce: undefined,
      nonceCount: undefined,
    };
    assert.deepEqual(parseDigestCredentials(formatDigestCredentials(legacy)), [legacy]);
    assert.match(formatDigestCredentials(credentials), /qop=auth, nc=0000001f, cnonce="c\\""/);
  });

  const whole =
    'Digest username="a", realm="r", nonce="n", uri="sip:b", response="0A", qop=auth, nc=00000001, cnonce="c"';
  it('reads credentials with two spaces behind the scheme, as Linphone writes them', () => {
    const [credentials] = parseDigestCredentials(whole.replace('Digest ', 'Digest  '));
    assert.equal(credentials?.nonceCount, 1);
    assert.equal(credentials.response, '0a');
  });

  for (const [part, replacement] of [
    ['username="a", ', ''],
    [', nonce="n"', ''],
    [', uri="sip:b"', ''],
    [', response="0A"', ''],
    [', nc=00000001', ''],
    ['nc=00000001', 'nc=1'],
    ['nc=00000001', 'nc=0000000x'],
    [', cnonce="c"', ''],
    ['qop=auth', 'qop=new'],
    ['qop=auth', 'qop=auth, algorithm=ROT13'],
  ] as const) {
    it(`refuses credentials with "${part}" changed to "${replacement}"`, () => {
      assert(whole.includes(part));
      assert.throws(() => parseDigestCredentials(whole.replace(part, replacement)), ParseError);
    });
  }

  it('answers a challenge so that the server computes the same', () => {
    for (const algorithm of [
      'MD5',
      'MD5-sess',
      'SHA-256',
      'SHA-256-sess',
      'SHA-512-256',
    ] as const) {
      for (const qop of [[], ['auth'], ['auth-int', 'auth']] as const) {
        const challenge = {
          realm: 'r',
          nonce: 'n',
          opaque: undefined,
          algorithm,
          qop,
          isStale: false,
        };
        const answer = {
          username: 'a',
          password: 'p',
          method: 'INVITE',
          uri: 'sip:b',
          cnonce: 'c',
          nonceCount: 7,
        };
        const [credentials] = parseDigestCredentials(answerChallenge(challenge, answer));
        assert(credentials !== undefined);
        assert.equal(credentials.qop, qop.length === 0 ? undefined : 'auth');
        // A session needs the cnonce, which RFC 2069 does not carry; such a server computes without one.
        if (algorithm.endsWith('-sess') && qop.length === 0) continue;
        const ha1 = computeHa1(algorithm, 'a', 'r', 'p');
        assert.equal(
          computeResponse({ ...credentials, ha1, method: 'INVITE' }),
          credentials.response,
        );
      }
    }
  });
});
