import assert from 'node:assert/strict';
import { SipMessage } from '../../../../core/sip/message.ts';
import { SipUri } from '../../../../core/sip/uri.ts';
import { Applications } from '../../../../registrar/engine/control/applications.ts';
import { RequestHandlers } from '../../../../registrar/engine/control/request-handlers.ts';
import { routeRequest } from '../../../../registrar/engine/dialog/dialog.ts';
import { Ids } from '../../../../registrar/engine/ids.ts';
import { RequestBudget, retryAfterSeconds } from '../../../../registrar/engine/overload.ts';
import {
  bestResult,
  otherChallenges,
  type BranchResult,
} from '../../../../registrar/engine/proxy/best-response.ts';
import {
  endpointOf,
  numericTarget,
  targetOf,
} from '../../../../registrar/engine/transport/target.ts';
import { seededRandom } from '../../../support/engine-lab.ts';

describe('engine ids', () => {
  it('are different each time, made of token characters, and long enough', () => {
    const ids = new Ids(seededRandom('ids'));
    const tags = new Set(Array.from({ length: 5_000 }, () => ids.tag()));
    assert.equal(tags.size, 5_000);
    for (const tag of tags) assert.match(tag, /^[0-9a-z]{13}$/);
    assert.match(ids.branch(), /^z9hG4bK[0-9a-z]{15}$/);
    assert.match(ids.transactionId(), /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.match(ids.messageId(), /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    const numbers = Array.from({ length: 1_000 }, () => ids.number(10));
    assert.deepEqual([Math.min(...numbers), Math.max(...numbers)], [1, 10]);
  });
});

describe('round robin among applications', () => {
  it('stays fair when one joins or leaves in the middle of a turn', () => {
    const applications = new Applications(
      { maxUnread: 100, givenUpAfterMs: 1_000 },
      new RequestHandlers([]),
      undefined,
    );
    const [one, two, three] = [1, 2, 3].map((id) => applications.open(id, false));
    assert.ok(one && two && three);
    for (const application of [one, two, three]) applications.route(application, 'invite');
    assert.equal(applications.select('invite', 0), one);
    assert.equal(applications.select('invite', 0), two);
    applications.close(1);
    assert.equal(applications.select('invite', 0), three);
    assert.equal(applications.select('invite', 0), two);
    applications.removeRoute(two, 'invite');
    applications.removeRoute(two, 'invite');
    assert.equal(applications.select('invite', 0), three);
    applications.close(3);
    assert.equal(applications.select('invite', 0), undefined);
    assert.ok(!applications.hasRoute('invite'));
    assert.equal(applications.size, 1);
  });
});

describe('Retry-After', () => {
  it('is the time that it takes, a second at least and a minute at most, and up to half as much again', () => {
    const cases: [waitMs: number, least: number, most: number][] = [
      [0, 1, 2],
      [999, 1, 2],
      [1_001, 2, 4],
      [10_000, 10, 16],
      [3_600_000, 60, 91],
      [Infinity, 60, 91],
    ];
    for (const [waitMs, least, most] of cases) {
      assert.equal(
        retryAfterSeconds(waitMs, () => 1),
        least,
      );
      assert.equal(
        retryAfterSeconds(waitMs, (max) => max),
        most,
      );
    }
  });

  it('of an address is until its next token', () => {
    const limits = {
      requestsPerSecondPerAddress: 0.5,
      requestBurstPerAddress: 1,
      unboundAddresses: [],
    };
    const budget = new RequestBudget(limits);
    assert.equal(budget.waitMs('10.0.0.1', 0), 0);
    assert.equal(budget.admit('10.0.0.1', 0), 'served');
    assert.equal(budget.waitMs('10.0.0.1', 0), 2_000);
    assert.equal(budget.admit('10.0.0.1', 500), 'refused');
    assert.equal(budget.waitMs('10.0.0.1', 500), 1_500);
    assert.equal(budget.waitMs('10.0.0.1', 9_000), 0);
  });
});

describe('request budget', () => {
  const limits = {
    requestsPerSecondPerAddress: 10,
    requestBurstPerAddress: 5,
    unboundAddresses: ['127.0.0.1'],
  };

  it('refuses beyond the burst, drops when even refusals are too many, and refills with time', () => {
    const budget = new RequestBudget(limits);
    const admissions = Array.from({ length: 12 }, () => budget.admit('10.0.0.1', 0));
    assert.deepEqual(admissions.slice(0, 5), new Array(5).fill('served'));
    assert.deepEqual(admissions.slice(5, 10), new Array(5).fill('refused'));
    assert.deepEqual(admissions.slice(10), ['dropped', 'dropped']);
    assert.equal(budget.admit('10.0.0.2', 0), 'served');
    assert.equal(budget.admit('10.0.0.1', 700), 'served');
    assert.equal(budget.admit('10.0.0.1', 10_000), 'served');
  });

  it('does not bound trusted addresses, nor anybody when it is off', () => {
    const budget = new RequestBudget(limits);
    for (let i = 0; i < 100; i += 1) assert.equal(budget.admit('127.0.0.1', 0), 'served');
    const off = new RequestBudget({ ...limits, requestsPerSecondPerAddress: 0 });
    for (let i = 0; i < 100; i += 1) assert.equal(off.admit('10.0.0.1', 0), 'served');
  });

  it('remembers no more addresses than it has to, even when a flood invents them', () => {
    const budget = new RequestBudget(limits);
    for (let i = 0; i < 20_000; i += 1) budget.admit(`10.0.${i >> 8}.${i & 255}`, 0);
    assert.equal(budget.admit('192.0.2.1', 0), 'dropped');
    assert.equal(budget.admit('192.0.2.1', 1_000), 'served');
  });
});

describe('best response of a proxy (RFC 3261 §16.7)', () => {
  function result(status: number, headers = ''): BranchResult {
    const text =
      `SIP/2.0 ${status} x\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n` +
      `To: <sip:b@c>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n${headers}\r\n`;
    return { status, message: SipMessage.parse(Buffer.from(text)) };
  }

  it('is a 6xx, then a redirection, then what can be repaired, then other refusals, then failures', () => {
    const order = [603, 302, 407, 486, 487, 408, 500];
    for (let count = order.length; count > 0; count -= 1) {
      const results = order
        .slice(order.length - count)
        .reverse()
        .map((status) => result(status));
      assert.equal(bestResult(results).status, order[order.length - count]);
    }
    assert.equal(bestResult([]).status, 408);
  });

  it('carries the challenges of all branches', () => {
    const one = result(401, 'WWW-Authenticate: Digest realm="1"\r\n');
    const two = result(407, 'Proxy-Authenticate: Digest realm="2"\r\n');
    const best = bestResult([one, result(404), two]);
    assert.equal(best, one);
    assert.deepEqual(otherChallenges([one, two], best), [
      ['Proxy-Authenticate', 'Digest realm="2"'],
    ]);
    assert.deepEqual(otherChallenges([one, two], result(404)), []);
  });
});

describe('targets of URIs', () => {
  function place(text: string): string {
    const target = targetOf(SipUri.parse(text));
    if (target === undefined) return 'none';
    const numeric = numericTarget(target);
    if (numeric === undefined) return `name ${target.host} ${target.port ?? ''}`;
    return `${numeric.transport} ${numeric.remote.address} ${numeric.remote.port}`;
  }

  it('follow scheme, transport, port and maddr', () => {
    const cases: [string, string][] = [
      ['sip:192.0.2.1', 'udp 192.0.2.1 5060'],
      ['sip:a@192.0.2.1:5070;transport=TCP', 'tcp 192.0.2.1 5070'],
      ['sips:a@192.0.2.1', 'tls 192.0.2.1 5061'],
      ['sip:a@[2001:DB8:0:0::1];transport=ws', 'ws 2001:db8::1 80'],
      ['sips:a@192.0.2.1;transport=ws', 'wss 192.0.2.1 443'],
      ['sip:a@example.test;maddr=192.0.2.7', 'udp 192.0.2.7 5060'],
      ['sip:a@example.test:5080', 'name example.test 5080'],
      ['sip:a@192.0.2.1;transport=pigeon', 'none'],
    ];
    for (const [given, wanted] of cases) assert.equal(place(given), wanted, given);
  });

  it('compare with our own addresses', () => {
    const target = targetOf(SipUri.parse('sip:a@[0:0:0:0:0:0:0:1]'));
    assert.ok(target);
    assert.deepEqual(endpointOf(target), { address: '::1', port: 5060 });
  });
});

describe('routing in dialogs (RFC 3261 §12.2.1.1)', () => {
  it('leaves Request-URI and Route as they are before a loose router', () => {
    const routes = ['<sip:p1;lr>', '<sip:p2>'];
    assert.deepEqual(routeRequest('sip:t@h', routes), { requestUri: 'sip:t@h', routes });
    assert.deepEqual(routeRequest('sip:t@h', []), { requestUri: 'sip:t@h', routes: [] });
  });

  it('puts a strict router into the Request-URI and the target last', () => {
    assert.deepEqual(routeRequest('sip:t@h', ['<sip:p1;method=INVITE?x=1>', '<sip:p2;lr>']), {
      requestUri: 'sip:p1',
      routes: ['<sip:p2;lr>', '<sip:t@h>'],
    });
  });
});
