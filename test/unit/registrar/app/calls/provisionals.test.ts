import assert from 'node:assert/strict';
import { Provisionals } from '../../../../../registrar/app/calls/provisionals.ts';
import type { SipRequest, SipResponse } from '../../../../../registrar/app/srf.ts';

type Sent = { status: number; isReliable: boolean; sdp: string | undefined };

function provisionals(require?: string): { it: Provisionals; sent: Sent[] } {
  const sent: Sent[] = [];
  const request = { get: (name: string) => (name === 'Require' ? require : undefined) };
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

const ring = (status: number, sdp?: string): Parameters<Provisionals['pass']>[0] => ({
  status,
  reason: '',
  headers: {},
  sdp,
});

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
    const { it: passing, sent } = provisionals('timer, 100rel');
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
    const { it: passing } = provisionals('100rel');
    let isAllowed = false;
    passing.pass(ring(183, 'v=0'));
    passing.beforeFinal(() => {
      isAllowed = true;
    });
    assert.equal(isAllowed, false);
    passing.acknowledged();
    assert.equal(isAllowed, true);
  });

  it('holds 200 up in no other case', () => {
    for (const require of [undefined, '100rel']) {
      const { it: passing } = provisionals(require);
      passing.pass(ring(180));
      let isAllowed = false;
      passing.beforeFinal(() => {
        isAllowed = true;
      });
      assert.equal(isAllowed, true);
    }
  });
});
