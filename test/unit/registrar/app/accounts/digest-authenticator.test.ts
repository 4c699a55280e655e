import assert from 'node:assert/strict';
import { nullLog } from '../../../../../core/log.ts';
import {
  answerChallenge,
  computeHa1,
  parseDigestChallenges,
  type DigestChallenge,
} from '../../../../../core/sip/digest.ts';
import type { Account, AccountSecrets } from '../../../../../registrar/app/accounts/accounts.ts';
import { DigestAuthenticator } from '../../../../../registrar/app/accounts/digest-authenticator.ts';
import { createDomain } from '../../../../../registrar/app/domain.ts';
import type { Binding } from '../../../../../registrar/app/location/location.ts';
import {
  fakeExchange,
  type FakeAnswer,
  type FakeRequestOptions,
} from '../../../../support/fake-request.ts';
import { manualClock, type ManualClock } from '../../../../support/manual-clock.ts';

const REALM = 'example.org';
const PASSWORDS: Readonly<Record<string, string>> = { alice: 'secret', bob: 'hidden' };

const accounts: AccountSecrets = {
  refresh: () => Promise.resolve(),
  secretOf: (username, algorithm) => {
    const password = PASSWORDS[username];
    if (password === undefined) return undefined;
    const account: Account = {
      nickname: username,
      spelling: username,
      displayName: '',
      createdAtMs: 0,
    };
    return { account, ha1: computeHa1(algorithm, username, REALM, password) };
  },
};

type Tried = { account: Account | undefined; answer: FakeAnswer | undefined };

describe('digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760)', () => {
  let clock: ManualClock;
  let authenticator: DigestAuthenticator;
  let bindings: Pick<Binding, 'sourceAddress'>[];

  beforeEach(() => {
    clock = manualClock();
    bindings = [];
    authenticator = new DigestAuthenticator({
      accounts,
      domain: createDomain({ name: REALM, aliases: () => new Set(['192.0.2.99']) }),
      location: { bindingsOf: () => bindings as Binding[] },
      clock,
      log: nullLog,
      algorithms: ['SHA-256', 'MD5'],
      nonceLifetimeSeconds: 300,
      freeFailures: 3,
    });
  });

  const attempt = async (options: FakeRequestOptions = {}): Promise<Tried> => {
    const { request, response, answers } = fakeExchange(options);
    const account = await authenticator.authenticate(request, response);
    assert.ok(answers.length <= 1);
    assert.equal(
      account === undefined,
      answers.length === 1,
      'answered exactly when there is no account',
    );
    return { account, answer: answers[0] };
  };
  const challenged = async (options: FakeRequestOptions = {}): Promise<DigestChallenge[]> => {
    const { answer } = await attempt(options);
    assert.equal(answer?.status, 401);
    return (answer.headers['WWW-Authenticate'] ?? '')
      .split('\r\nWWW-Authenticate: ')
      .flatMap(parseDigestChallenges);
  };
  const pick = (all: readonly DigestChallenge[], algorithm: string): DigestChallenge => {
    const found = all.find((challenge) => challenge.algorithm === algorithm);
    assert.ok(found, `no challenge for ${algorithm}`);
    return found;
  };
  type Answering = {
    challenge: DigestChallenge;
    username?: string;
    password?: string;
    nonceCount?: number;
    uri?: string;
  };
  const authorized = (
    {
      challenge,
      username = 'alice',
      password = 'secret',
      nonceCount = 1,
      uri = 'sip:example.org',
    }: Answering,
    options: FakeRequestOptions = {},
  ): FakeRequestOptions => {
    const { method = 'REGISTER' } = options;
    const answer = { username, password, method, uri, cnonce: 'c0ffee', nonceCount };
    const headers = { ...options.headers, Authorization: answerChallenge(challenge, answer) };
    return { ...options, headers };
  };

  it('challenges with SHA-256 first and MD5 last, one header line each, in the realm of the domain', async () => {
    const { answer } = await attempt();
    const lines = (answer?.headers['WWW-Authenticate'] ?? '').split('\r\n');
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? '', /algorithm=SHA-256/);
    assert.match(lines[1] ?? '', /^WWW-Authenticate: Digest .*algorithm=MD5/);
    for (const { realm, qop, isStale } of await challenged()) {
      assert.deepEqual({ realm, qop, isStale }, { realm: REALM, qop: ['auth'], isStale: false });
    }
  });

  for (const algorithm of ['SHA-256', 'MD5']) {
    it(`accepts the right password with ${algorithm}`, async () => {
      const challenge = pick(await challenged(), algorithm);
      const { account } = await attempt(authorized({ challenge }));
      assert.equal(account?.nickname, 'alice');
    });
  }

  it('accepts answers without algorithm (MD5) and without qop (RFC 2069)', async () => {
    const challenge = pick(await challenged(), 'MD5');
    const bare = authorized({ challenge: { ...challenge, qop: [] } });
    const header = bare.headers?.['Authorization']?.replace(/, algorithm=MD5/, '') ?? '';
    assert.doesNotMatch(header, /qop|algorithm|nc=/);
    const { account } = await attempt({ headers: { Authorization: header } });
    assert.equal(account?.nickname, 'alice');
  });

  it('accepts a nonce again with higher counts, as phones do, but no count twice', async () => {
    const challenge = pick(await challenged(), 'MD5');
    for (const nonceCount of [1, 2, 3]) {
      const { account } = await attempt(authorized({ challenge, nonceCount }));
      assert.ok(account);
    }
    const [again] = await challenged(authorized({ challenge, nonceCount: 2 }));
    assert.equal(again?.isStale, true);
  });

  it('says stale, not wrong, when only the nonce is too old', async () => {
    const challenge = pick(await challenged(), 'SHA-256');
    clock.advance(301_000);
    const [again] = await challenged(authorized({ challenge }));
    assert.equal(again?.isStale, true);
    assert.ok(
      (await attempt(authorized({ challenge: pick(await challenged(), 'SHA-256') }))).account,
    );
  });

  it('tolerates another digest-uri than the request-URI', async () => {
    const challenge = pick(await challenged(), 'MD5');
    const { account } = await attempt(
      authorized({ challenge, uri: 'sip:192.0.2.99:5060;transport=udp' }),
    );
    assert.ok(account);
  });

  it('cannot be told by its answers who exists', async () => {
    const challenge = pick(await challenged(), 'MD5');
    const asAlice = await attempt(authorized({ challenge, password: 'wrong' }));
    const headers = { To: '<sip:nobody@example.org>', From: '<sip:nobody@example.org>;tag=1' };
    const asNobody = await attempt(authorized({ challenge, username: 'nobody' }, { headers }));
    const shape = ({ answer }: Tried): unknown => ({
      status: answer?.status,
      reason: answer?.reason,
      headers: JSON.stringify(answer?.headers).replace(/nonce=\\"[^"]*\\"/g, 'nonce'),
    });
    assert.deepEqual(shape(asNobody), shape(asAlice));
    assert.equal((await attempt({ headers })).answer?.status, 401);
  });

  it('checks that From (REGISTER: To) is the account itself', async () => {
    const challenge = pick(await challenged(), 'MD5');
    const others = [
      { method: 'REGISTER', headers: { To: '<sip:bob@example.org>' } },
      {
        method: 'MESSAGE',
        headers: { From: '"Bob" <sip:bob@example.org>;tag=1', To: '<sip:alice@example.org>' },
      },
      { method: 'MESSAGE', headers: { From: '<sip:alice@elsewhere.net>;tag=1' } },
    ];
    let nonceCount = 0;
    for (const options of others) {
      nonceCount++;
      const { answer } = await attempt(authorized({ challenge, nonceCount }, options));
      assert.equal(answer?.status, 403, JSON.stringify(options));
    }
    const own = { method: 'MESSAGE', headers: { From: 'ALICE <sip:Alice@192.0.2.99:5062>;tag=1' } };
    assert.ok((await attempt(authorized({ challenge, nonceCount: 9 }, own))).account);
  });

  it('answers 400 that names the header to what cannot be read', async () => {
    const bad = [
      { Authorization: 'Digest realm="example.org", nonce="x' },
      { Authorization: 'Digest realm="example.org", username="alice"' },
      { Authorization: 'Digest =' },
      { To: '<sip:alice@example.org' },
    ];
    for (const headers of bad) {
      const { answer } = await attempt({ headers });
      assert.equal(answer?.status, 400, JSON.stringify(headers));
    }
  });

  it('ignores credentials for other realms and schemes', async () => {
    const challenge = pick(await challenged(), 'MD5');
    const foreign =
      authorized({ challenge: { ...challenge, realm: 'other.net' } }).headers?.['Authorization'] ??
      '';
    assert.equal((await attempt({ headers: { Authorization: foreign } })).answer?.status, 401);
    assert.equal((await attempt({ headers: { Authorization: 'Basic YTpi' } })).answer?.status, 401);
    const own = authorized({ challenge }).headers?.['Authorization'] ?? '';
    assert.ok((await attempt({ headers: { Authorization: `${foreign},${own}` } })).account);
  });

  describe('wrong answers', () => {
    const wrong = async (times: number, address: string): Promise<FakeAnswer | undefined> => {
      let last: FakeAnswer | undefined;
      for (let i = 0; i < times; i++) {
        const challenge = pick(await challenged({ address: '192.0.2.200' }), 'MD5');
        last = (await attempt(authorized({ challenge, password: `guess${i}` }, { address })))
          .answer;
      }
      return last;
    };
    const right = async (address: string, username = 'alice'): Promise<Tried> => {
      const challenge = pick(await challenged({ address: '192.0.2.200' }), 'MD5');
      const aor = `<sip:${username}@example.org>`;
      const headers = { To: aor, From: `${aor};tag=1` };
      const password = PASSWORDS[username] ?? '';
      return attempt(authorized({ challenge, username, password }, { address, headers }));
    };

    it('are not looked at for a growing time, from anywhere, for that account', async () => {
      assert.equal((await wrong(4, '192.0.2.66'))?.status, 401);
      const { answer } = await right('192.0.2.77');
      assert.equal(answer?.status, 503);
      assert.equal(answer.headers['Retry-After'], '1');
      clock.advance(1000);
      assert.ok((await right('192.0.2.77')).account);
    });

    it('do not lock out a device that is registered already', async () => {
      await wrong(8, '192.0.2.66');
      bindings = [{ sourceAddress: '192.0.2.77' }];
      assert.ok((await right('192.0.2.77')).account);
    });

    it('of one address stop it from trying other accounts', async () => {
      for (let i = 0; i < 13; i++) {
        const challenge = pick(await challenged({ address: '192.0.2.200' }), 'MD5');
        await attempt(authorized({ challenge, username: `user${i}` }, { address: '192.0.2.66' }));
      }
      assert.equal((await right('192.0.2.66', 'bob')).answer?.status, 503);
      assert.ok((await right('192.0.2.78', 'bob')).account);
    });

    it('are counted, challenges are not', async () => {
      for (let i = 0; i < 100; i++) await challenged({ address: '192.0.2.66' });
      assert.ok((await right('192.0.2.66')).account);
    });
  });

  it('answers once when two parts ask about one request', async () => {
    const { request, response, answers } = fakeExchange();
    await authenticator.authenticate(request, response);
    await authenticator.authenticate(request, response);
    assert.equal(answers.length, 1);
  });
});
