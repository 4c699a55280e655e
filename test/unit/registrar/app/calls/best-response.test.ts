import assert from 'node:assert/strict';
import {
  bestFailure,
  statusForCaller,
  verdictOf,
} from '../../../../../registrar/app/calls/best-response.ts';
import type { Failure } from '../../../../../registrar/app/calls/best-response.ts';
import type { SipResponse } from '../../../../../registrar/app/srf.ts';

const said = (status: number): { status: number; isUnreachable: boolean } => ({
  status,
  isUnreachable: false,
});
const gone = (status: number): { status: number; isUnreachable: boolean } => ({
  status,
  isUnreachable: true,
});

describe('the best of several refusals (RFC 3261 section 16.7)', () => {
  const table: [
    name: string,
    failures: { status: number; isUnreachable: boolean }[],
    best: number,
  ][] = [
    ['6xx before everything', [said(486), said(302), said(603)], 603],
    ['the lowest class', [said(500), said(486), said(302)], 302],
    ['what says how to do better', [said(404), said(486), said(484), said(480)], 484],
    ['busy before not available', [said(480), said(486)], 486],
    ['the earliest among equals', [said(404), said(403)], 404],
    ['a word before silence', [gone(408), said(500)], 500],
    ['a word before a lost flow', [said(430), said(500)], 500],
    ['anything before our own CANCEL', [said(487), gone(503)], 503],
  ];
  for (const [name, failures, best] of table) {
    it(`is ${name}`, () => {
      assert.equal(bestFailure(failures)?.status, best);
    });
  }

  it('is none of none', () => {
    const none: readonly Failure[] = [];
    assert.equal(bestFailure(none), undefined);
  });
});

describe('the status that the caller gets', () => {
  it('is what the device said', () => {
    for (const status of [302, 404, 480, 486, 488, 600, 603, 607]) {
      assert.equal(statusForCaller(said(status)), status);
    }
  });

  it('is 480 when nobody was there', () => {
    assert.equal(statusForCaller(undefined), 480);
    assert.equal(statusForCaller(gone(408)), 480);
    assert.equal(statusForCaller(gone(503)), 480);
    assert.equal(statusForCaller(said(430)), 480);
  });

  it('hides a challenge that the caller cannot meet, and a 503 that is not ours', () => {
    assert.equal(statusForCaller(said(401)), 403);
    assert.equal(statusForCaller(said(407)), 403);
    assert.equal(statusForCaller(said(503)), 500);
  });
});

describe('the verdict on a call that nobody took', () => {
  const failure = (status: number, phrase: string, headers: Record<string, string>): Failure => ({
    status,
    reason: phrase,
    isUnreachable: false,
    response: {
      status,
      get: (name: string) => headers[name],
      body: '',
    } as unknown as SipResponse,
  });

  it('keeps phrase and Reason of the device', () => {
    const headers = { Reason: 'Q.850;cause=21;text="Call rejected"' };
    assert.deepEqual(verdictOf([failure(603, 'Not now', headers)], 'example.net'), {
      by: 'callee',
      text: 'Call rejected',
      answer: { status: 603, headers, reason: 'Not now' },
    });
  });

  it('does not put the words of one status to another', () => {
    const { answer } = verdictOf([failure(503, 'Overloaded', {})], 'example.net');
    assert.deepEqual(answer, { status: 500, headers: {} });
  });

  it('blames the switch when no device was there', () => {
    const unreachable = { status: 408, reason: 'Request Timeout', isUnreachable: true };
    assert.deepEqual(verdictOf([unreachable], 'example.net'), {
      by: 'switch',
      text: 'unreachable',
      answer: { status: 480 },
    });
  });
});
