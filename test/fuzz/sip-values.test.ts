import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError } from '../../core/errors.ts';
import { formatCSeq, formatRAck, parseCSeq, parseRAck } from '../../core/sip/cseq.ts';
import {
  computeHa1,
  computeResponse,
  answerChallenge,
  DIGEST_ALGORITHMS,
  formatDigestChallenge,
  parseAuthValues,
  parseDigestChallenges,
  parseDigestCredentials,
} from '../../core/sip/digest.ts';
import { quote, splitList, unquote } from '../../core/sip/grammar.ts';
import { isIPv6 } from '../../core/sip/host.ts';
import { NameAddr } from '../../core/sip/name-addr.ts';
import { Params } from '../../core/sip/params.ts';
import { formatReason, parseReasons } from '../../core/sip/reason.ts';
import { escapeUser, parseUri, SipUri, unescape, type Uri } from '../../core/sip/uri.ts';
import { Via } from '../../core/sip/via.ts';
import { checkProperty } from '../support/fuzz.ts';

const PIECES = [
  ...[
    'sip:',
    'sips:',
    'tel:',
    'urn:',
    '@',
    ':',
    ';',
    '?',
    '&',
    '=',
    '%41',
    '%',
    '%zz',
    '[',
    ']',
    '::',
    '.',
    '-',
  ],
  ...[
    'a',
    'host',
    'example.com',
    '192.0.2.1',
    '[2001:db8::1]',
    '5060',
    '70000',
    'transport',
    'lr',
    'tag',
    'branch',
  ],
  ...[
    '"',
    '\\',
    '<',
    '>',
    ',',
    ' ',
    '\t',
    'SIP',
    '/',
    '2.0',
    'UDP',
    'z9hG4bK',
    'INVITE',
    '1',
    '4294967296',
    'ü',
    '\0',
  ],
  ...[
    'Digest',
    'realm',
    'nonce',
    'qop',
    'auth',
    'nc',
    '00000001',
    'MD5',
    'response',
    'username',
    'uri',
    'cause',
  ],
];
const text = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .array(fc.constantFrom(...PIECES), { maxLength: 24 })
      .map((parts) => parts.join('')),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 60 }) },
);

/** What `read` gives, or undefined when it refuses as it should. */
function attempt<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    assert(error instanceof ParseError, String(error));
    return undefined;
  }
}

describe('SIP header values, any text', () => {
  /** Each reads a text and writes it in its own way. */
  const CODECS: Readonly<Record<string, (value: string) => string>> = {
    URI: (value) => parseUri(value).toString(),
    'name-addr': (value) => NameAddr.parse(value).toString(),
    Via: (value) => Via.parse(value).toString(),
    parameters: (value) => Params.parse(value).toString(),
    CSeq: (value) => formatCSeq(parseCSeq(value)),
    RAck: (value) => formatRAck(parseRAck(value)),
    Reason: (value) => parseReasons(value).map(formatReason).join(', '),
    list: (value) => splitList(value).join(', '),
    challenge: (value) => parseDigestChallenges(value).map(formatDigestChallenge).join(', '),
  };

  for (const [name, codec] of Object.entries(CODECS)) {
    it(`${name}: throws only ParseError, and what it wrote it reads as the same`, () => {
      checkProperty(
        fc.property(text, (value) => {
          const once = attempt(() => codec(value));
          if (once === undefined) return;
          assert.equal(codec(once), once);
        }),
        1500,
      );
    });
  }

  it('credentials: throw only ParseError', () => {
    checkProperty(
      fc.property(text, (value) => {
        attempt(() => parseAuthValues(value));
        attempt(() => parseDigestCredentials(`Digest ${value}`));
      }),
      700,
    );
  });

  it('IPv6 and escapes: throw nothing', () => {
    checkProperty(
      fc.property(text, (value) => {
        isIPv6(value);
        unescape(value);
      }),
    );
  });
});

describe('SIP URIs', () => {
  const host = fc.constantFrom('h', 'example.com', '192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1');
  const param = fc.tuple(
    fc.constantFrom('transport', 'lr', 'maddr', 'user', 'x', 'method'),
    fc.option(fc.constantFrom('tcp', 'TCP', 'a%41b', '[::1]', 'phone'), { nil: undefined }),
  );
  const sipUri = fc
    .record({
      scheme: fc.constantFrom('sip' as const, 'sips' as const),
      user: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), {
        nil: undefined,
      }),
      host,
      port: fc.option(fc.integer({ min: 0, max: 65535 }), { nil: undefined }),
      params: fc.array(param, { maxLength: 3 }),
      headers: fc.option(fc.constantFrom('a=b', 'a=b&c=d', 'c=d&a=b'), { nil: undefined }),
    })
    .map(({ user, params, ...rest }) =>
      SipUri.of(rest.host, {
        ...rest,
        user: user === undefined ? undefined : escapeUser(user),
        params: Params.of(params),
      }),
    );
  const uri: fc.Arbitrary<Uri> = fc.oneof(
    sipUri,
    fc.constantFrom('tel:+1-2', 'tel:+12', 'urn:a').map((value) => parseUri(value)),
  );

  it('survive being written and read', () => {
    checkProperty(
      fc.property(sipUri, (given) => {
        const read = SipUri.parse(given.toString());
        assert.equal(read.user, given.user);
        assert.equal(read.host, given.host);
        assert.equal(read.port, given.port);
        assert.equal(read.params.toString(), given.params.toString());
        assert.equal(read.headers, given.headers);
        assert.equal(read.equals(given), true);
      }),
      700,
    );
  });

  it('equal themselves, and each other in both directions', () => {
    checkProperty(
      fc.property(uri, uri, (a, b) => {
        if (a.kind === 'other' || b.kind === 'other') return;
        assert.equal(a.equals(a), true);
        assert.equal(a.equals(b), b.equals(a));
      }),
      1500,
    );
  });

  it('give back any user part that was escaped', () => {
    checkProperty(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (user) => {
        assert.equal(
          SipUri.parse(`sip:${escapeUser(user)}@h`).userText,
          Buffer.from(user).toString(),
        );
      }),
    );
  });
});

describe('quoting and digest', () => {
  const anyText = fc.string({ unit: 'grapheme', maxLength: 30 });

  it('a quoted text comes back, but for line ends', () => {
    checkProperty(
      fc.property(anyText, (value) => {
        assert.equal(unquote(quote(value)), value.replaceAll(/[\r\n]/g, ' '));
      }),
    );
  });

  it('an answer to any challenge is what the server computes', () => {
    const challenge = fc.record({
      realm: anyText,
      nonce: anyText,
      opaque: fc.option(anyText, { nil: undefined }),
      algorithm: fc.constantFrom(...DIGEST_ALGORITHMS),
      qop: fc.constantFrom(['auth'] as const, ['auth', 'auth-int'] as const, [] as const),
      isStale: fc.boolean(),
    });
    checkProperty(
      fc.property(
        challenge,
        anyText,
        anyText,
        fc.nat(),
        (given, username, password, nonceCount) => {
          const [read] = parseDigestChallenges(formatDigestChallenge(given));
          assert(read !== undefined);
          const clean = (value: string): string => value.replaceAll(/[\r\n]/g, ' ');
          assert.equal(read.realm, clean(given.realm));
          assert.deepEqual(read.qop, given.qop);
          const answer = {
            username: clean(username),
            password,
            method: 'INVITE',
            uri: 'sip:b',
            cnonce: 'c',
            nonceCount,
          };
          const [credentials] = parseDigestCredentials(answerChallenge(read, answer));
          assert(credentials !== undefined);
          if (credentials.qop === undefined && credentials.algorithm.endsWith('-sess')) return;
          const ha1 = computeHa1(credentials.algorithm, clean(username), read.realm, password);
          assert.equal(
            computeResponse({ ...credentials, ha1, method: 'INVITE' }),
            credentials.response,
          );
        },
      ),
      400,
    );
  });
});
