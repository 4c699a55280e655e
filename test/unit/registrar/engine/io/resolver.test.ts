import assert from 'node:assert/strict';
import { Resolver, type DnsQuestions } from '../../../../../registrar/engine/io/resolver.ts';
import type { ResolvedTarget } from '../../../../../registrar/engine/seam.ts';

type Zone = {
  readonly naptr?: Awaited<ReturnType<DnsQuestions['naptr']>>;
  readonly srv?: Awaited<ReturnType<DnsQuestions['srv']>>;
  readonly addresses?: readonly string[];
};

function answersOf(zones: Readonly<Record<string, Zone>>): DnsQuestions {
  const ask = <T>(value: T | undefined): Promise<T> =>
    value === undefined ? Promise.reject(new Error('ENOTFOUND')) : Promise.resolve(value);
  return {
    naptr: (name) => ask(zones[name]?.naptr),
    srv: (name) => ask(zones[name]?.srv),
    addresses: (name) => ask(zones[name]?.addresses),
  };
}

function resolverFor(zones: Readonly<Record<string, Zone>>, random = 0.5): Resolver {
  return new Resolver(answersOf(zones), new Set(['udp', 'tcp', 'tls']), () => random);
}

function written(targets: readonly ResolvedTarget[]): string[] {
  return targets.map(({ transport, remote }) => `${transport} ${remote.address} ${remote.port}`);
}

const PLAIN = { port: undefined, transport: undefined, secure: false };

describe('locating SIP servers (RFC 3263)', () => {
  it('takes a numeric address as it is, with the default port of its transport', async () => {
    const resolver = resolverFor({});
    const cases = [
      [{ host: '192.0.2.1', ...PLAIN }, 'udp 192.0.2.1 5060'],
      [{ host: '2001:db8::1', ...PLAIN, port: 5070 }, 'udp 2001:db8::1 5070'],
      [{ host: '192.0.2.1', ...PLAIN, transport: 'tcp' as const }, 'tcp 192.0.2.1 5060'],
      [{ host: '192.0.2.1', ...PLAIN, secure: true }, 'tls 192.0.2.1 5061'],
    ] as const;
    for (const [request, expected] of cases) {
      assert.deepEqual(written(await resolver.resolve(request, 0)), [expected]);
    }
  });

  it('with a port, asks for addresses only (section 4.2)', async () => {
    const resolver = resolverFor({
      'a.test': { addresses: ['192.0.2.1', '2001:db8::1'] },
      '_sip._udp.a.test': { srv: [{ name: 'b.test', port: 1, priority: 0, weight: 0 }] },
    });
    assert.deepEqual(written(await resolver.resolve({ host: 'a.test', ...PLAIN, port: 5080 }, 0)), [
      'udp 192.0.2.1 5080',
      'udp 2001:db8::1 5080',
    ]);
  });

  it('follows NAPTR by order and preference, then SRV by priority', async () => {
    const resolver = resolverFor({
      'a.test': {
        naptr: [
          { order: 20, preference: 1, service: 'SIP+D2U', replacement: 'u.a.test' },
          { order: 10, preference: 5, service: 'SIP+D2T', replacement: 't.a.test' },
          { order: 1, preference: 1, service: 'E2U+email', replacement: 'mail.test' },
        ],
      },
      't.a.test': {
        srv: [
          { name: 'second.test', port: 5062, priority: 2, weight: 1 },
          { name: 'first.test', port: 5061, priority: 1, weight: 1 },
        ],
      },
      'u.a.test': { srv: [{ name: 'first.test', port: 5060, priority: 1, weight: 1 }] },
      'first.test': { addresses: ['192.0.2.1'] },
      'second.test': { addresses: ['192.0.2.2'] },
    });
    assert.deepEqual(written(await resolver.resolve({ host: 'a.test', ...PLAIN }, 0)), [
      'tcp 192.0.2.1 5061',
      'tcp 192.0.2.2 5062',
      'udp 192.0.2.1 5060',
    ]);
  });

  it('draws among equal priorities by weight (RFC 2782)', async () => {
    const zones = {
      '_sip._udp.a.test': {
        srv: [
          { name: '192.0.2.1', port: 1, priority: 1, weight: 10 },
          { name: '192.0.2.2', port: 1, priority: 1, weight: 90 },
        ],
      },
    };
    const first = async (random: number): Promise<string | undefined> =>
      (await resolverFor(zones, random).resolve({ host: 'a.test', ...PLAIN }, 0))[0]?.remote
        .address;
    assert.equal(await first(0.05), '192.0.2.1');
    assert.equal(await first(0.5), '192.0.2.2');
  });

  it('sips MUST go by TLS only', async () => {
    const resolver = resolverFor({
      '_sip._udp.a.test': { srv: [{ name: '192.0.2.1', port: 1, priority: 1, weight: 1 }] },
      '_sips._tcp.a.test': { srv: [{ name: '192.0.2.2', port: 2, priority: 1, weight: 1 }] },
    });
    const targets = await resolver.resolve({ host: 'a.test', ...PLAIN, secure: true }, 0);
    assert.deepEqual(written(targets), ['tls 192.0.2.2 2']);
  });

  it('falls back to the addresses of the name itself, and to nothing', async () => {
    const resolver = resolverFor({ 'a.test': { addresses: ['192.0.2.9'] } });
    assert.deepEqual(written(await resolver.resolve({ host: 'a.test', ...PLAIN }, 0)), [
      'udp 192.0.2.9 5060',
    ]);
    assert.deepEqual(await resolver.resolve({ host: 'nowhere.test', ...PLAIN }, 0), []);
  });

  it('tries a dead target last for 30 seconds', async () => {
    const resolver = resolverFor({ 'a.test': { addresses: ['192.0.2.1', '192.0.2.2'] } });
    const request = { host: 'a.test', ...PLAIN, port: 5060 };
    resolver.markDead({ transport: 'udp', remote: { address: '192.0.2.1', port: 5060 } }, 1000);
    const order = async (nowMs: number): Promise<string[]> =>
      (await resolver.resolve(request, nowMs)).map(({ remote }) => remote.address);
    assert.deepEqual(await order(30_999), ['192.0.2.2', '192.0.2.1']);
    assert.deepEqual(await order(31_000), ['192.0.2.1', '192.0.2.2']);
  });
});
