import assert from 'node:assert/strict';
import { BackOff } from '../../../../softphone/ua/back-off.ts';
import { KeepAlive } from '../../../../softphone/ua/keep-alive.ts';
import { judgeReply, refreshDelayMs } from '../../../../softphone/ua/registration.ts';
import type { Reply } from '../../../../softphone/ua/requests.ts';

describe('keep-alive of a connection (RFC 5626 §3.5.1)', () => {
  const options = { intervalMs: 30_000, pongLimitMs: 10_000, random: () => 0.5 };

  it('pings at 80 to 100 % of the interval', () => {
    for (const [random, dueMs] of [
      [0, 24_000],
      [0.999999, 30_000],
    ] as const) {
      const keepAlive = new KeepAlive({ ...options, random: () => random }, 0);
      assert.ok(Math.abs(keepAlive.deadlineMs - dueMs) < 1);
      assert.equal(keepAlive.poll(dueMs - 10), undefined);
      assert.equal(keepAlive.poll(dueMs), 'ping');
    }
  });

  it('MUST find a peer dead that used to answer and does not any more', () => {
    const keepAlive = new KeepAlive(options, 0);
    assert.equal(keepAlive.poll(27_000), 'ping');
    keepAlive.received(true);
    assert.equal(keepAlive.poll(54_000), 'ping');
    assert.equal(keepAlive.deadlineMs, 64_000);
    assert.equal(keepAlive.poll(63_999), undefined);
    assert.equal(keepAlive.poll(64_000), 'dead');
  });

  it('MUST NOT find a peer dead that has never answered a ping', () => {
    const keepAlive = new KeepAlive(options, 0);
    for (let nowMs = 27_000; nowMs < 600_000; nowMs += 27_000) {
      assert.equal(keepAlive.poll(nowMs), 'ping');
    }
  });

  it('takes any message as a sign of life', () => {
    const keepAlive = new KeepAlive(options, 0);
    keepAlive.poll(27_000);
    keepAlive.received(true);
    keepAlive.poll(54_000);
    keepAlive.received(false);
    assert.equal(keepAlive.poll(70_000), undefined);
  });

  it('takes a line end that nobody asked for as no pong', () => {
    const keepAlive = new KeepAlive(options, 0);
    keepAlive.received(true);
    keepAlive.poll(27_000);
    assert.equal(keepAlive.poll(40_000), undefined);
  });
});

describe('waiting before the next attempt (RFC 5626 §4.5)', () => {
  it('doubles up to the limit, and spreads over the upper half', () => {
    for (const [random, factor] of [
      [0, 0.5],
      [1, 1],
    ] as const) {
      const backOff = new BackOff({ firstMs: 1000, maximumMs: 30_000, random: () => random });
      const delays = Array.from({ length: 7 }, () => backOff.next());
      const bounds = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
      assert.deepEqual(
        delays,
        bounds.map((bound) => bound * factor),
      );
    }
  });

  it('begins again after a success, and never overflows', () => {
    const backOff = new BackOff({ firstMs: 1000, maximumMs: 30_000, random: () => 1 });
    for (let failure = 0; failure < 5000; failure += 1) backOff.next();
    assert.equal(backOff.next(), 30_000);
    backOff.reset();
    assert.equal(backOff.next(), 1000);
  });
});

describe('the answer to REGISTER (RFC 3261 §10.2)', () => {
  const reply = (statusCode: number, headers: Record<string, string[]> = {}): Reply => ({
    statusCode,
    reasonPhrase: 'Because',
    headers: (name) => headers[name] ?? [],
  });

  it('finds the lifetime of our own binding among those of all devices', () => {
    const contact = [
      '<sip:other@192.0.2.9:5060>;expires=3600, "Me" <sip:me1@192.0.2.1:4000;transport=tcp>;expires=90;q=1',
      '<sip:third@192.0.2.3>;expires=7',
    ];
    assert.deepEqual(judgeReply(reply(200, { contact, expires: ['600'] }), 300, 'me1'), {
      kind: 'registered',
      expiresSeconds: 90,
    });
  });

  it('takes the Expires header, or what was asked for, where the binding says nothing', () => {
    const contact = ['<sip:me1@192.0.2.1>'];
    const general = judgeReply(reply(200, { contact, expires: ['600'] }), 300, 'me1');
    assert.deepEqual(general, { kind: 'registered', expiresSeconds: 600 });
    for (const headers of [{}, { contact: ['<<<broken'] }, { expires: ['soon'] }]) {
      const asked = judgeReply(reply(200, headers), 300, 'me1');
      assert.deepEqual(asked, { kind: 'registered', expiresSeconds: 300 });
    }
  });

  it('MUST ask for more when told so, but never for ever (423)', () => {
    assert.deepEqual(judgeReply(reply(423, { 'min-expires': ['3600'] }), 300, 'me1'), {
      kind: 'again',
      wantedSeconds: 3600,
    });
    for (const least of ['300', '10', 'x', '99999999999']) {
      const step = judgeReply(reply(423, { 'min-expires': [least] }), 300, 'me1');
      assert.deepEqual(step, { kind: 'later', afterMs: undefined });
    }
    assert.equal(judgeReply(reply(423), 300, 'me1').kind, 'later');
  });

  it('MUST NOT try a wrong password again and again', () => {
    for (const statusCode of [400, 401, 403, 404, 407, 603]) {
      assert.deepEqual(judgeReply(reply(statusCode), 300, 'me1'), { kind: 'refused' });
    }
  });

  it('MUST come back after what passes, when the server says', () => {
    for (const statusCode of [408, 480, 500, 503, 504]) {
      const step = judgeReply(reply(statusCode, { 'retry-after': ['17 (busy)'] }), 300, 'me1');
      assert.deepEqual(step, { kind: 'later', afterMs: 17_000 });
      assert.deepEqual(judgeReply(reply(statusCode), 300, 'me1'), {
        kind: 'later',
        afterMs: undefined,
      });
    }
  });

  it('refreshes in time', () => {
    assert.equal(refreshDelayMs(300), 255_000);
    assert.equal(refreshDelayMs(20), 15_000);
    assert.equal(refreshDelayMs(3), 1000);
  });
});
