import assert from 'node:assert/strict';
import { Provisionals } from '../../../../../registrar/app/calls/provisionals.ts';
import type { SipRequest, SipResponse } from '../../../../../registrar/app/srf.ts';

type Sent = { status: number; isReliable: boolean; sdp: string | undefined };

function provisionals(
  headers: Readonly<Record<string, string>> = {},
  body = 'v=0',
): { it: Provisionals; sent: Sent[] } {
  const sent: Sent[] = [];
  const request = { get: (name: string) => headers[name], body };
  const response = {
    finalResponseSent: false,
    send: (
      status: number,
      _reason: string,
      options: { headers: Record<string, string>; body?: string },
    ) => {
      const isReliable = options.headers['Require'] === '100rel';
      sent.push({ status, isReliable, sdp: options.body });
    },
  };
  const events = { sent: () => undefined, unsent: () => undefined };
  return {
    it: new Provisionals(
      request as unknown as SipRequest,
      response as unknown as SipResponse,
      events,
    ),
    sent,
  };
}

const ring = (
  status: number,
  sdp?: string,
  isReliable = false,
): Parameters<Provisionals['pass']>[0] => ({ status, reason: '', headers: {}, sdp, isReliable });

describe('what the caller is told while it rings', () => {
  it('is told once, and not again by the next device', () => {
    const { it: passing, sent } = provisionals();
    for (const status of [180, 180, 199, 183, 180]) passing.pass(ring(status));
    assert.deepEqual(
      sent.map(({ status }) => status),
      [180, 183, 180],
    );
  });

  it('is not ringing any more after early media', () => {
    const { it: passing, sent } = provisionals();
    passing.pass(ring(183, 'v=0'));
    passing.pass(ring(180));
    assert.deepEqual(sent, [{ status: 183, isReliable: false, sdp: 'v=0' }]);
  });

  it('MUST be reliable when the caller requires 100rel, one at a time (RFC 3262 section 3)', () => {
    const { it: passing, sent } = provisionals({ Require: 'timer, 100rel' });
    passing.pass(ring(180));
    passing.pass(ring(181));
    passing.pass(ring(183, 'v=0'));
    passing.pass(ring(182));
    assert.deepEqual(sent, [{ status: 180, isReliable: true, sdp: undefined }]);
    passing.acknowledged();
    assert.deepEqual(sent[1], { status: 183, isReliable: true, sdp: 'v=0' });
    passing.acknowledged();
    assert.equal(sent.length, 2);
  });

  it('MUST be acknowledged before 200 when it has a session description', () => {
    const { it: passing } = provisionals({ Require: '100rel' });
    let isAllowed = false;
    passing.pass(ring(183, 'v=0'));
    passing.beforeFinal(() => {
      isAllowed = true;
    });
    assert.equal(isAllowed, false);
    passing.acknowledged();
    assert.equal(isAllowed, true);
  });

  it('is as reliable as the device was to a caller who supports that, and agrees with the PRACK', () => {
    const { it: passing, sent } = provisionals({ Supported: 'replaces,100rel' });
    passing.pass(ring(180));
    passing.pass(ring(183, 'v=0', true));
    assert.deepEqual(
      sent.map(({ isReliable }) => isReliable),
      [false, true],
    );
    assert.equal(passing.answer, 'v=0');
    assert.equal(passing.isAgreed, false);
    passing.acknowledged();
    assert.equal(passing.isAgreed, true);
  });

  it('is never reliable for a caller who does not support that', () => {
    const { it: passing, sent } = provisionals({ Supported: 'replaces' });
    passing.pass(ring(183, 'v=0', true));
    assert.deepEqual(sent, [{ status: 183, isReliable: false, sdp: 'v=0' }]);
    assert.equal(passing.answer, undefined);
  });

  it('is nothing where the first reliable one would have to be the offer (RFC 3262 section 5)', () => {
    const { it: passing, sent } = provisionals({ Require: '100rel' }, '');
    passing.pass(ring(180));
    assert.deepEqual(sent, []);
    const supporting = provisionals({ Supported: '100rel' }, '');
    supporting.it.pass(ring(180, undefined, true));
    assert.deepEqual(supporting.sent, [{ status: 180, isReliable: false, sdp: undefined }]);
  });

  it('is dropped when it has not gone out before somebody takes the call', () => {
    const { it: passing, sent } = provisionals({ Require: '100rel' });
    passing.pass(ring(180));
    passing.pass(ring(183, 'v=0'));
    passing.stop();
    passing.acknowledged();
    assert.equal(sent.length, 1);
    assert.equal(passing.answer, undefined);
  });

  it('holds 200 up in no other case', () => {
    for (const headers of [{}, { Require: '100rel' }]) {
      const { it: passing } = provisionals(headers);
      passing.pass(ring(180));
      let isAllowed = false;
      passing.beforeFinal(() => {
        isAllowed = true;
      });
      assert.equal(isAllowed, true);
    }
  });
});
