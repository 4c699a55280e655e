import assert from 'node:assert/strict';
import { nullLog } from '../../../../../core/log.ts';
import type { Config } from '../../../../../config/schema.ts';
import { SipUri } from '../../../../../core/sip/uri.ts';
import { createDomain } from '../../../../../registrar/app/domain.ts';
import type { BindingRows } from '../../../../../registrar/app/location/binding-rows.ts';
import type { Binding } from '../../../../../registrar/app/location/location.ts';
import { LocationBook } from '../../../../../registrar/app/location/location-book.ts';
import { routeOf, targetOf } from '../../../../../registrar/app/location/target.ts';
import { installRegistration } from '../../../../../registrar/app/registration/registration.ts';
import type { BindingChange } from '../../../../../registrar/app/location/update-bindings.ts';
import { RequestRouter } from '../../../../../registrar/app/requests.ts';
import type { Middleware } from '../../../../../registrar/app/srf.ts';
import {
  fakeExchange,
  type FakeAnswer,
  type FakeRequestOptions,
} from '../../../../support/fake-request.ts';
import { manualClock, type ManualClock } from '../../../../support/manual-clock.ts';

const POLICY = {
  minExpiresSeconds: 60,
  defaultExpiresSeconds: 3600,
  maxExpiresSeconds: 7200,
  maxBindingsPerAccount: 10,
};

describe('REGISTER (RFC 3261 section 10.3)', () => {
  let clock: ManualClock;
  let location: LocationBook;
  let kept: Binding[];
  let written: BindingChange[][];
  let storeFailure: Error | undefined;
  let told: string[];
  let handle: Middleware | undefined;
  let serviceRoutes: string[];

  beforeEach(() => {
    clock = manualClock();
    kept = [];
    written = [];
    told = [];
    storeFailure = undefined;
    serviceRoutes = [];
    const rows: BindingRows = {
      write: (changes) => {
        if (storeFailure !== undefined) return Promise.reject(storeFailure);
        written.push([...changes]);
        return Promise.resolve();
      },
      load: () => Promise.resolve(kept),
      loadOf: () => Promise.resolve(kept),
    };
    location = new LocationBook({
      rows,
      policy: POLICY,
      clock,
      log: nullLog,
      hasLostFlows: true,
    });
    location.on('bindingAdded', ({ contactUri }, isFirst) =>
      told.push(`added ${contactUri} ${isFirst}`),
    );
    location.on('bindingRefreshed', ({ contactUri }) => told.push(`refreshed ${contactUri}`));
    location.on('bindingRemoved', ({ contactUri }, reason) => told.push(`${reason} ${contactUri}`));
    const domain = createDomain({ name: 'example.org', aliases: () => new Set() });
    const srf = {
      use: (method: string, middleware: Middleware) => {
        if (method === 'register') handle = middleware;
      },
    };
    const requests = new RequestRouter({ srf, domain, log: nullLog });
    const account = { nickname: 'alice', spelling: 'alice', displayName: '', createdAtMs: 0 };
    const authenticator = { authenticate: () => Promise.resolve(account) };
    const config = { registration: { ...POLICY, serviceRoutes } } as unknown as Config;
    installRegistration({ requests, authenticator, domain, config, clock }, location);
  });

  const register = async (
    headers: Readonly<Record<string, string>>,
    options: FakeRequestOptions = {},
  ): Promise<FakeAnswer> => {
    const { request, response, answers } = fakeExchange({ ...options, headers });
    handle?.(request, response, () => undefined);
    for (let i = 0; i < 50 && answers.length === 0; i++) await Promise.resolve();
    assert.equal(answers.length, 1);
    const [answer] = answers;
    assert.ok(answer);
    return answer;
  };

  it('answers with every binding, its parameters and what is left of its life, and with Date', async () => {
    const first = await register({
      Contact:
        '"Phone" <sip:alice-0x1@192.0.2.1:5062;ob>;+sip.instance="<urn:uuid:1>";expires=120;q=0.5',
    });
    assert.equal(first.status, 200);
    assert.equal(
      first.headers['Contact'],
      '<sip:alice-0x1@192.0.2.1:5062;ob>;+sip.instance="<urn:uuid:1>";q=0.5;expires=120',
    );
    assert.match(first.headers['Date'] ?? '', /GMT$/);
    assert.ok(!('Require' in first.headers));
    clock.advance(20_000);
    const second = await register({ 'Call-ID': 'b', Contact: '<sip:b@h>', Expires: '300' });
    assert.match(
      second.headers['Contact'] ?? '',
      /^<sip:b@h>;expires=300, <sip:alice-0x1@.*;expires=100$/,
    );
  });

  it('answers a question without Contact, and a REGISTER that removes the last one', async () => {
    assert.ok(!('Contact' in (await register({})).headers));
    await register({ Contact: '<sip:a@h>' });
    assert.match((await register({ CSeq: '2 REGISTER' })).headers['Contact'] ?? '', /^<sip:a@h>/);
    const gone = await register({ CSeq: '3 REGISTER', Contact: '*', Expires: '0' });
    assert.equal(gone.status, 200);
    assert.ok(!('Contact' in gone.headers));
    assert.deepEqual(told, ['added sip:a@h true', 'unregistered sip:a@h']);
  });

  it('tells the minimum with 423', async () => {
    const { status, headers } = await register({ Contact: '<sip:a@h>;expires=10' });
    assert.deepEqual([status, headers['Min-Expires']], [423, '60']);
  });

  it('says that it understood reg-id, and when the device should ping (RFC 5626 sections 5.4 and 6)', async () => {
    const Contact = '<sip:a@h;transport=tcp>;reg-id=1;+sip.instance="<urn:uuid:1>"';
    const Supported = 'path, Outbound';
    const of = async (
      cseq: number,
      more: Readonly<Record<string, string>>,
      transport: string,
    ): Promise<unknown[]> => {
      const request = { Contact, CSeq: `${cseq} REGISTER`, ...more };
      const { status, headers } = await register(request, { transport });
      return [status, headers['Require'], headers['Flow-Timer']];
    };
    assert.deepEqual(await of(1, { Supported }, 'tcp'), [200, 'outbound', '120']);
    assert.deepEqual(await of(2, { Supported }, 'tls'), [200, 'outbound', '120']);
    // By UDP the device knows better itself.
    assert.deepEqual(await of(3, { Supported }, 'udp'), [200, 'outbound', undefined]);
    // Nobody asked for it: no word of it.
    assert.deepEqual(await of(4, {}, 'tcp'), [200, undefined, undefined]);
    const plain = { Supported, Contact: '<sip:b@h>', 'Call-ID': 'other' };
    assert.deepEqual(await of(1, plain, 'tcp'), [200, undefined, undefined]);
  });

  describe('through a proxy that keeps no flow (RFC 5626 section 6)', () => {
    const Contact = '<sip:a@h;transport=tcp>;reg-id=1;+sip.instance="<urn:uuid:1>"';
    const twoVias = 'SIP/2.0/TCP p1;branch=z9hG4bK1, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK2';
    const Supported = 'path, outbound';
    const status = async (headers: Readonly<Record<string, string>>): Promise<number> =>
      (await register({ Contact, Supported, Via: twoVias, ...headers })).status;

    it('gets 439 for reg-id, and nothing is bound', async () => {
      assert.equal(await status({}), 439);
      assert.equal(await status({ Path: '<sip:p1;lr>' }), 439);
      assert.equal(await status({ Path: 'nonsense' }), 400);
      assert.deepEqual(location.bindingsOf('alice'), []);
    });

    it('is taken without reg-id when outbound is not asked for', async () => {
      const answer = await register({ Contact, Via: twoVias });
      assert.deepEqual([answer.status, answer.headers['Require']], [200, undefined]);
      assert.equal(location.bindingsOf('alice')[0]?.regId, undefined);
    });

    it('is as good as direct when the proxy says that it keeps one, or reg-id is not used', async () => {
      assert.equal(await status({ Path: '<sip:p2;lr>, <sip:token@p1;lr;ob>' }), 200);
      assert.equal(location.bindingsOf('alice')[0]?.regId, 1);
      assert.equal(await status({ Contact: '<sip:b@h>', 'Call-ID': 'b' }), 200);
      assert.equal(await status({ Contact: '*', Expires: '0', CSeq: '9 REGISTER' }), 200);
    });
  });

  describe('with a Path (RFC 3327)', () => {
    const twoVias = 'SIP/2.0/UDP p1;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2';
    const Path = '<sip:token@p1:5070;lr>, <sip:p2;lr>';
    const Contact = '<sip:a@192.0.2.9>';

    it('keeps it for requests to the device, and shows what it has understood', async () => {
      const Supported = 'outbound, path';
      const { headers } = await register({ Contact, Path, Via: twoVias, Supported });
      assert.equal(headers['Path'], Path);
      const [binding] = location.bindingsOf('alice');
      assert.ok(binding);
      assert.deepEqual(targetOf(binding), {
        uri: 'sip:a@192.0.2.9',
        proxy: 'sip:token@p1:5070;lr',
      });
      assert.deepEqual(routeOf(binding), { Route: Path });
      const again = await register({ Contact, Via: twoVias, CSeq: '2 REGISTER' });
      assert.equal(again.headers['Path'], undefined);
      const [direct] = location.bindingsOf('alice');
      assert.ok(direct);
      assert.deepEqual(routeOf(direct), {});
    });

    it('keeps it for a device that does not know of it, and says nothing of it then', async () => {
      const { status, headers } = await register({ Contact, Path, Via: twoVias });
      assert.deepEqual([status, headers['Path']], [200, undefined]);
      assert.equal(location.bindingsOf('alice')[0]?.path, Path);
    });

    it('believes a proxy that keeps the Via of the device to itself', async () => {
      await register({ Contact, Path: ` ${Path} , ` });
      assert.equal(location.bindingsOf('alice')[0]?.path, Path);
      await register({ Contact, Path: ' , ', CSeq: '2 REGISTER' });
      assert.equal(location.bindingsOf('alice')[0]?.path, undefined);
    });

    it('leaves it to the proxy how long its flow lasts, and asks for reg-id only what it can keep', async () => {
      const flow = { Contact: `${Contact};reg-id=1;+sip.instance="<urn:uuid:1>"` };
      const Supported = 'path, outbound';
      let sequence = 0;
      const of = async (path: string, Via: string): Promise<unknown[]> => {
        const CSeq = `${++sequence} REGISTER`;
        const { status, headers } = await register(
          { ...flow, Supported, CSeq, Path: path, Via },
          { transport: 'tcp' },
        );
        return [status, headers['Require'], headers['Flow-Timer']];
      };
      const oneVia = 'SIP/2.0/TCP p1;branch=z9hG4bK1';
      assert.deepEqual(await of(Path, oneVia), [439, undefined, undefined]);
      assert.deepEqual(location.bindingsOf('alice'), []);
      const outbound = '<sip:token@p1;lr;ob>';
      assert.deepEqual(await of(outbound, oneVia), [200, 'outbound', undefined]);
      assert.deepEqual(await of(outbound, twoVias), [200, 'outbound', undefined]);
    });

    it('names what is wrong with it', async () => {
      for (const bad of ['nonsense', '<tel:+4930>', '<sip:a@b', `<sip:${'a'.repeat(2_100)}@b>`]) {
        const { status, reason } = await register({ Contact, Path: bad, Via: twoVias });
        assert.equal(status, 400, bad);
        assert.match(reason ?? '', /Bad Path/);
      }
      assert.deepEqual(location.bindingsOf('alice'), []);
    });
  });

  it('tells the way for other requests that the operator wants (RFC 3608)', async () => {
    const of = async (headers: Readonly<Record<string, string>>): Promise<string | undefined> =>
      (await register(headers)).headers['Service-Route'];
    assert.equal(await of({ Contact: '<sip:a@h>' }), undefined);
    serviceRoutes.push('sip:p1;lr', 'sip:p2:5070;transport=tcp;lr');
    const way = '<sip:p1;lr>, <sip:p2:5070;transport=tcp;lr>';
    assert.equal(await of({ Contact: '<sip:a@h>', CSeq: '2 REGISTER' }), way);
    assert.equal(await of({ CSeq: '3 REGISTER' }), way);
    assert.equal(await of({ Contact: '<sip:a@h>;expires=1', CSeq: '4 REGISTER' }), undefined);
  });

  it('reads a lifetime that is nonsense as an hour', async () => {
    const { headers } = await register({ Contact: '<sip:a@h>;expires=soon' });
    assert.match(headers['Contact'] ?? '', /;expires=3600$/);
  });

  it('names what is wrong with a bad one', async () => {
    const bad: readonly (readonly [contact: string, reason: RegExp])[] = [
      ['bogus', /Bad Contact/],
      ['<sip:a@h', /Bad Contact/],
      ['<sip:>', /Bad Contact/],
      ['<mailto:a@h>', /not a SIP URI/],
      ['<sip:a@h>;q=7', /Bad Contact: q/],
      ['<sip:a@h>;reg-id=x;+sip.instance="<u>"', /reg-id/],
      ['<sip:a@h>, *', /beside others/],
      [`<sip:a@h;x=${'y'.repeat(2000)}>`, /too long/],
      [Array.from({ length: 11 }, (_, i) => `<sip:a${i}@h>`).join(','), /too many/],
    ];
    for (const [Contact, reason] of bad) {
      const answer = await register({ Contact });
      assert.equal(answer.status, 400, Contact);
      assert.match(answer.reason ?? '', reason);
    }
    assert.equal((await register({ Contact: '<sip:a@h>', CSeq: 'x REGISTER' })).status, 400);
    assert.equal(
      (await register({ Contact: '<sip:a@h>', Expires: '1', 'Call-ID': '' })).status,
      400,
    );
    assert.deepEqual(location.bindingsOf('alice'), []);
  });

  it('lets nobody register somebody else', async () => {
    const { status } = await register({
      From: '<sip:bob@example.org>;tag=1',
      Contact: '<sip:a@h>',
    });
    assert.equal(status, 403);
  });

  it('acknowledges nothing that is not kept, and then remembers nothing either', async () => {
    storeFailure = new Error('disk full');
    assert.equal((await register({ Contact: '<sip:a@h>' })).status, 500);
    assert.deepEqual(location.bindingsOf('alice'), []);
    assert.deepEqual(told, []);
  });

  it('forgets bindings when their time is over, and says so', async () => {
    await register({ Contact: '<sip:a@h>', Expires: '60' });
    await register({ 'Call-ID': 'b', Contact: '<sip:b@h>', Expires: '120' });
    clock.advance(60_000);
    assert.deepEqual(
      location.bindingsOf('alice').map(({ contactUri }) => contactUri),
      ['sip:b@h'],
    );
    clock.advance(1500);
    assert.deepEqual(told.slice(2), ['expired sip:a@h']);
    clock.advance(60_000);
    assert.deepEqual(told.slice(2), ['expired sip:a@h', 'expired sip:b@h']);
    assert.deepEqual(location.registeredNicknames(), []);
    assert.equal(clock.activeTimers(), 0);
    assert.equal(written.length, 4);
  });

  it('brings bindings back after a restart', async () => {
    await register({ Contact: '<sip:a@h>' });
    kept = location.bindingsOf('alice').slice();
    const policy = POLICY;
    const rows: BindingRows = {
      write: () => Promise.resolve(),
      load: () => Promise.resolve(kept),
      loadOf: () => Promise.resolve(kept),
    };
    const restarted = new LocationBook({ rows, policy, clock, log: nullLog });
    await restarted.load();
    assert.deepEqual(restarted.bindingsOf('alice'), kept);
    clock.advance(3_602_000);
    assert.deepEqual(restarted.bindingsOf('alice'), []);
    restarted.close();
  });

  describe('after a restart', () => {
    const restart = async (hasLostFlows: boolean): Promise<LocationBook> => {
      kept = location.bindingsOf('alice').slice();
      const rows: BindingRows = {
        write: () => Promise.resolve(),
        load: () => Promise.resolve(kept),
        loadOf: () => Promise.resolve(kept),
      };
      const restarted = new LocationBook({
        rows,
        policy: POLICY,
        clock,
        log: nullLog,
        hasLostFlows,
      });
      await restarted.load();
      restarted.close();
      return restarted;
    };
    const outbound = ';+sip.instance="<urn:uuid:1>";reg-id=1';
    const at = { address: '192.0.2.1', port: 5062 };

    for (const [name, contact, transport, isReachable] of [
      ['by UDP', '<sip:a@10.0.0.1:1>', 'udp', true],
      ['that listens for TCP', '<sip:a@192.0.2.1;transport=tcp>', 'tcp', true],
      ['by TCP behind a NAT', '<sip:a@10.0.0.1:5060;transport=tcp>', 'tcp', false],
      ['with its own end of a TCP connection', '<sip:a@192.0.2.1:5062>', 'tcp', false],
      ['by TCP with a flow', `<sip:a@192.0.2.1;transport=tcp>${outbound}`, 'tcp', false],
      ['by TLS', '<sip:a@192.0.2.1;transport=tls>', 'tls', false],
      ['by WebSocket', '<sip:a@x.invalid;transport=ws>', 'tcp', false],
      ['by WebSocket with an address', '<sip:a@192.0.2.1;transport=WSS>', 'tcp', false],
    ] as const) {
      it(`can${isReachable ? '' : 'not'} reach a device ${name} before it registers again`, async () => {
        await register({ Contact: contact }, { ...at, transport });
        assert.equal(location.reachableBindingsOf('alice').length, 1);
        const restarted = await restart(true);
        assert.equal(restarted.bindingsOf('alice').length, 1);
        assert.equal(restarted.reachableBindingsOf('alice').length, isReachable ? 1 : 0);
      });
    }

    it('tells of a device that is back as of a new one, once', async () => {
      await register({ Contact: '<sip:a@x.invalid;transport=ws>' }, { ...at, transport: 'tcp' });
      const restarted = await restart(true);
      const news: unknown[] = [];
      restarted.on('bindingAdded', (_binding, isFirst) => news.push(['added', isFirst]));
      restarted.on('bindingRefreshed', () => news.push('refreshed'));
      const again = {
        nickname: 'alice',
        contacts: [
          {
            uri: SipUri.parse('sip:a@x.invalid;transport=ws'),
            parameters: '',
            expiresSeconds: undefined,
            q: 1,
            instanceId: undefined,
            regId: undefined,
          },
        ],
        expiresSeconds: undefined,
        callId: 'another',
        userAgent: undefined,
        sourceAddress: at.address,
        sourcePort: at.port,
        transport: 'tcp',
      } as const;
      await restarted.register({ ...again, cseq: 1 });
      assert.equal(restarted.reachableBindingsOf('alice').length, 1);
      await restarted.register({ ...again, cseq: 2 });
      assert.deepEqual(news, [['added', true], 'refreshed']);
      restarted.close();
    });

    it('can reach all of them when the engine lives on elsewhere', async () => {
      await register({ Contact: '<sip:a@x.invalid;transport=ws>' }, { ...at, transport: 'tcp' });
      const restarted = await restart(false);
      assert.equal(restarted.reachableBindingsOf('alice').length, 1);
    });
  });

  it('forgets a device that proved to be gone, unless it has come back meanwhile', async () => {
    await register({ Contact: '<sip:a@h>' });
    const [binding] = location.bindingsOf('alice');
    assert.ok(binding);
    await register({ CSeq: '2 REGISTER', Contact: '<sip:a@h>' });
    location.forget(binding);
    const [refreshed] = location.bindingsOf('alice');
    assert.ok(refreshed);
    location.forget(refreshed);
    assert.deepEqual(location.bindingsOf('alice'), []);
    assert.equal(told.at(-1), 'unreachable sip:a@h');
  });

  describe('target of a binding', () => {
    const targetFor = async (transport: string, address: string): Promise<unknown> => {
      await register(
        { Contact: `<sip:a-0x1@10.0.0.9:1111;transport=${transport}>` },
        { transport, address, port: 4444 },
      );
      const [binding] = location.bindingsOf('alice');
      assert.ok(binding);
      return targetOf(binding);
    };

    it('is the Contact, by way of where the REGISTER came from', async () => {
      const uri = 'sip:a-0x1@10.0.0.9:1111;transport=udp';
      assert.deepEqual(await targetFor('udp', '198.51.100.4'), {
        uri,
        proxy: 'sip:198.51.100.4:4444',
      });
    });

    it('writes IPv6 in brackets', async () => {
      const uri = 'sip:a-0x1@10.0.0.9:1111;transport=udp';
      assert.deepEqual(await targetFor('udp', '2001:db8::1'), {
        uri,
        proxy: 'sip:[2001:db8::1]:4444',
      });
    });

    it('leaves streams to the connection that the device opened', async () => {
      assert.deepEqual(await targetFor('tcp', '198.51.100.4'), {
        uri: 'sip:a-0x1@10.0.0.9:1111;transport=tcp',
      });
    });
  });
});
