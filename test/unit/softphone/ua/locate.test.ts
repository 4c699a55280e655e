import assert from 'node:assert/strict';
import type { SrvRecord } from 'node:dns';
import { locateServer } from '../../../../softphone/ua/locate.ts';

const RECORDS: Readonly<Record<string, readonly SrvRecord[]>> = {
  '_sip._tcp.example.test': [
    { name: 'late.example.test', port: 5062, priority: 20, weight: 100 },
    { name: 'light.example.test', port: 5060, priority: 10, weight: 10 },
    { name: 'heavy.example.test', port: 5064, priority: 10, weight: 90 },
  ],
  '_sips._tcp.example.test': [{ name: 'tls.example.test', port: 443, priority: 0, weight: 0 }],
  '_sip._tcp.closed.test': [{ name: '', port: 0, priority: 0, weight: 0 }],
  '_sip._tcp.even.test': [
    { name: 'a.even.test', port: 1, priority: 0, weight: 0 },
    { name: 'b.even.test', port: 2, priority: 0, weight: 0 },
  ],
};

/** What is found, as `host:port`, and what was asked. */
async function locate(
  host: string,
  port?: number,
  options: { isSecure?: boolean; lot?: number } = {},
): Promise<{ readonly found: readonly string[]; readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const servers = await locateServer(host, port, options.isSecure ?? false, {
    srv: (name) => {
      asked.push(name);
      const records = RECORDS[name];
      return records === undefined
        ? Promise.reject(new Error('ENOTFOUND'))
        : Promise.resolve(records);
    },
    random: () => options.lot ?? 0.5,
  });
  return { found: servers.map(({ host: name, port: at }) => `${name}:${at}`), asked };
}

describe("where the softphone's server is", () => {
  it('is what was typed when that says it all: nobody is asked', async () => {
    for (const [host, port, isSecure, found] of [
      ['example.test', 5070, false, 'example.test:5070'],
      ['192.0.2.1', undefined, false, '192.0.2.1:5060'],
      ['2001:db8::1', undefined, true, '2001:db8::1:5061'],
      ['localhost', undefined, false, 'localhost:5060'],
      ['localhost', undefined, true, 'localhost:5061'],
    ] as const) {
      assert.deepEqual(await locate(host, port, { isSecure }), { found: [found], asked: [] });
    }
  });

  it('is in the SRV records for TCP, or for TLS, else at the usual port', async () => {
    const { asked } = await locate('example.test');
    assert.deepEqual(asked, ['_sip._tcp.example.test']);
    assert.deepEqual(await locate('example.test', undefined, { isSecure: true }), {
      found: ['tls.example.test:443'],
      asked: ['_sips._tcp.example.test'],
    });
    assert.deepEqual((await locate('nowhere.test')).found, ['nowhere.test:5060']);
    assert.deepEqual((await locate('nowhere.test', undefined, { isSecure: true })).found, [
      'nowhere.test:5061',
    ]);
    assert.deepEqual((await locate('closed.test')).found, ['closed.test:5060']);
  });

  it('is tried by priority, and among equals by lot, the heavier ones more often (RFC 2782)', async () => {
    const count = { light: 0, heavy: 0 };
    for (let lot = 0; lot < 1; lot += 0.001) {
      const { found } = await locate('example.test', undefined, { lot });
      const [first = '', second = '', third = ''] = found;
      assert.equal(third, 'late.example.test:5062');
      assert.deepEqual([first, second].sort(), [
        'heavy.example.test:5064',
        'light.example.test:5060',
      ]);
      count[first.startsWith('heavy') ? 'heavy' : 'light'] += 1;
    }
    assert.ok(count.heavy > 850 && count.light > 80, JSON.stringify(count));
    assert.deepEqual((await locate('even.test')).found, ['a.even.test:1', 'b.even.test:2']);
  });
});
