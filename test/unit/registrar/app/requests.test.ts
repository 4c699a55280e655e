import assert from 'node:assert/strict';
import { ControlError, RefusedError, ResourceError } from '../../../../core/errors.ts';
import type { Log } from '../../../../core/log.ts';
import { createDomain } from '../../../../registrar/app/domain.ts';
import { installOptions } from '../../../../registrar/app/options.ts';
import { METHODS, RequestRouter } from '../../../../registrar/app/requests.ts';
import type { Middleware } from '../../../../registrar/app/srf.ts';
import {
  fakeExchange,
  type FakeAnswer,
  type FakeRequestOptions,
} from '../../../support/fake-request.ts';

describe('new requests', () => {
  let router: RequestRouter;
  let routes: Map<string, Middleware>;
  let errors: string[];

  beforeEach(() => {
    routes = new Map();
    errors = [];
    const ignore = (): void => undefined;
    const log: Log = {
      error: (event) => void errors.push(event),
      warn: ignore,
      info: ignore,
      debug: ignore,
    };
    const srf = { use: (method: string, handler: Middleware) => routes.set(method, handler) };
    const domain = createDomain({ name: 'example.org', aliases: () => new Set() });
    router = new RequestRouter({ srf, domain, log });
  });

  afterEach(async () => {
    await new Promise(setImmediate);
    assert.equal(router.activeCount, 0);
  });

  const send = async (options: FakeRequestOptions): Promise<FakeAnswer> => {
    const { request, response, answers } = fakeExchange({ uri: 'sip:bob@example.org', ...options });
    routes.get(request.method.toLowerCase())?.(request, response, () => assert.fail('passed on'));
    for (let i = 0; i < 20 && answers.length === 0; i++) await Promise.resolve();
    assert.equal(answers.length, 1);
    const [answer] = answers;
    assert.ok(answer);
    return answer;
  };

  it('have a route for every method', () => {
    assert.deepEqual(
      [...routes.keys()].sort(),
      METHODS.map((method) => method.toLowerCase()).sort(),
    );
  });

  it('go to the first handler that takes them, in the order of adding', async () => {
    const asked: string[] = [];
    router.on('MESSAGE', () => {
      asked.push('first');
      return false;
    });
    router.on('MESSAGE', async (_, response) => {
      await Promise.resolve();
      asked.push('second');
      response.send(202);
      return true;
    });
    router.on('MESSAGE', () => assert.fail('asked although taken'));
    assert.equal((await send({ method: 'MESSAGE' })).status, 202);
    assert.deepEqual(asked, ['first', 'second']);
  });

  it('that nobody takes are refused in the words of their method', async () => {
    assert.equal((await send({ method: 'INVITE' })).status, 404);
    assert.equal((await send({ method: 'MESSAGE' })).status, 404);
    const subscribe = await send({ method: 'SUBSCRIBE' });
    assert.deepEqual(
      [subscribe.status, subscribe.headers],
      [489, { 'Allow-Events': 'conference' }],
    );
    const info = await send({ method: 'INFO' });
    assert.equal(info.status, 405);
    assert.match(info.headers['Allow'] ?? '', /INVITE.*REGISTER/);
  });

  it('are not let in when they cannot be served', async () => {
    router.on('INVITE', () => assert.fail('asked'));
    router.on('REGISTER', () => assert.fail('asked'));
    const cases: readonly (readonly [FakeRequestOptions, number])[] = [
      [{ method: 'INVITE', uri: 'sip:bob@elsewhere.net' }, 403],
      [{ method: 'REGISTER', uri: 'sip:elsewhere.net' }, 403],
      [{ method: 'INVITE', uri: 'tel:+4512345678' }, 416],
      [{ method: 'INVITE', uri: 'sip:' }, 400],
      [{ method: 'INVITE', headers: { To: '<sip:bob@example.org>;tag=old' } }, 481],
      [{ method: 'INVITE', headers: { 'Max-Forwards': '0' } }, 483],
      [{ method: 'INVITE', headers: { Require: '100rel, strange, timer, odd' } }, 420],
      [{ method: 'INVITE', headers: { Accept: 'text/nobodyKnowsThis' } }, 406],
    ];
    for (const [options, status] of cases) {
      assert.equal((await send(options)).status, status, JSON.stringify(options));
    }
    const required = await send({ method: 'INVITE', headers: { Require: '100rel, strange, odd' } });
    assert.equal(required.headers['Unsupported'], 'strange, odd');
  });

  it('get 503 with Retry-After while the switch goes away', async () => {
    router.on('INVITE', () => assert.fail('asked'));
    router.drain();
    const answer = await send({ method: 'INVITE' });
    assert.equal(answer.status, 503);
    assert.ok(Number(answer.headers['Retry-After']) > 0);
  });

  it('are answered with what their handler throws', async () => {
    const thrown: readonly (readonly [Error, number, Readonly<Record<string, string>>])[] = [
      [new RefusedError('x', 'Not you', 403), 403, {}],
      [new ResourceError('x', 'Full', 9), 503, { 'Retry-After': '9' }],
      [new ControlError('relay.closed', 'gone'), 503, { 'Retry-After': '5' }],
    ];
    let current: Error = new Error();
    router.on('INVITE', () => {
      throw current;
    });
    for (const [error, status, headers] of thrown) {
      current = error;
      const answer = await send({ method: 'INVITE' });
      assert.deepEqual([answer.status, answer.headers], [status, headers]);
    }
    assert.deepEqual(errors, []);
  });

  it('that hit a bug of ours get 500 with a number that is in the log', async () => {
    router.on('INVITE', () => Promise.reject(new TypeError('oops')));
    const answer = await send({ method: 'INVITE' });
    assert.equal(answer.status, 500);
    assert.match(answer.reason ?? '', /reference \w+/);
    assert.doesNotMatch(answer.reason ?? '', /oops/);
    assert.deepEqual(errors, ['registrar.request.failed']);
  });

  it('cannot smuggle lines into the answer', async () => {
    router.on('INVITE', () => {
      throw new RefusedError('x', 'a\r\nEvil: yes\u00e9', 400);
    });
    assert.equal((await send({ method: 'INVITE' })).reason, 'a??Evil: yes?');
  });

  describe('OPTIONS (RFC 3261 section 11)', () => {
    let isKnown: boolean;
    beforeEach(() => {
      isKnown = true;
      const account = { nickname: 'alice', spelling: 'alice', displayName: '', createdAtMs: 0 };
      const authenticator = {
        authenticate: (_: unknown, response: { send(status: number): void }) => {
          if (isKnown) return Promise.resolve(account);
          response.send(401);
          return Promise.resolve(undefined);
        },
      };
      const domain = createDomain({ name: 'example.org', aliases: () => new Set() });
      installOptions({ authenticator, domain }, router);
      router.onAvailability((user) => ({ bob: 200, carol: 480, turbo: 200 })[user]);
    });

    it('to the switch says what it can do, to everybody', async () => {
      isKnown = false;
      const { status, headers } = await send({ method: 'OPTIONS', uri: 'sip:example.org' });
      assert.equal(status, 200);
      for (const name of ['Allow', 'Accept', 'Supported', 'Allow-Events'])
        assert.ok(headers[name], name);
    });

    it('to a user says what an INVITE would get, to those who may know', async () => {
      const ask = async (user: string): Promise<number> =>
        (await send({ method: 'OPTIONS', uri: `sip:${user}@example.org` })).status;
      assert.deepEqual(
        await Promise.all(['bob', 'Carol', 'nobody', '%23turbo'].map(ask)),
        [200, 480, 404, 200],
      );
      isKnown = false;
      assert.deepEqual(await Promise.all(['bob', 'nobody'].map(ask)), [401, 401]);
    });
  });
});
