import assert from 'node:assert/strict';
import { SipMessage } from '../../../../../core/sip/message.ts';
import {
  cancelledTransactionKey,
  clientKeyOf,
  clientTransactionKey,
  serverTransactionKey,
} from '../../../../../core/sip/transaction/key.ts';

function request(method: string, changes: Readonly<Record<string, string>> = {}): SipMessage {
  const headers = {
    Via: 'SIP/2.0/UDP h:5060;branch=z9hG4bK1',
    From: '<sip:a@h>;tag=1',
    To: '<sip:b@h>',
    'Call-ID': 'c',
    CSeq: `1 ${method}`,
    ...changes,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return SipMessage.parse(
    Buffer.from([`${method} sip:b@h SIP/2.0`, ...lines, '', ''].join('\r\n')),
  );
}

const LEGACY = { Via: 'SIP/2.0/UDP h;branch=1' };

describe('matching requests to server transactions (RFC 3261 §17.2.3)', () => {
  const invite = serverTransactionKey(request('INVITE'));

  it('MUST match by branch, sent-by and method', () => {
    assert.equal(
      serverTransactionKey(request('INVITE', { 'Call-ID': 'x', To: '<sip:b@h>;tag=2' })),
      invite,
    );
    for (const Via of [
      'SIP/2.0/UDP h:5060;branch=z9hG4bK2',
      'SIP/2.0/UDP h:5061;branch=z9hG4bK1',
      'SIP/2.0/UDP i:5060;branch=z9hG4bK1',
    ]) {
      assert.notEqual(serverTransactionKey(request('INVITE', { Via })), invite);
    }
    assert.notEqual(serverTransactionKey(request('OPTIONS')), invite);
  });

  it('takes a missing port of sent-by for 5060, and names in any case', () => {
    assert.equal(
      serverTransactionKey(request('INVITE', { Via: 'SIP/2.0/UDP H;branch=z9hG4bK1' })),
      invite,
    );
  });

  it('MUST match an ACK to its INVITE', () => {
    assert.equal(serverTransactionKey(request('ACK', { To: '<sip:b@h>;tag=2' })), invite);
  });

  it('finds what a CANCEL cancels (§9.2), which is a transaction of its own', () => {
    const cancel = request('CANCEL');
    assert.equal(cancelledTransactionKey(cancel), invite);
    assert.notEqual(serverTransactionKey(cancel), invite);
  });

  it('MUST match requests of RFC 2543 by what names them together', () => {
    const legacy = serverTransactionKey(request('INVITE', LEGACY));
    assert.equal(
      serverTransactionKey(request('ACK', { ...LEGACY, To: '<sip:b@h>;tag=2' })),
      legacy,
    );
    assert.equal(cancelledTransactionKey(request('CANCEL', LEGACY)), legacy);
    for (const change of [{ 'Call-ID': 'x' }, { From: '<sip:a@h>;tag=2' }, { CSeq: '2 INVITE' }]) {
      assert.notEqual(serverTransactionKey(request('INVITE', { ...LEGACY, ...change })), legacy);
    }
    assert.notEqual(legacy, invite);
  });
});

describe('matching responses to client transactions (RFC 3261 §17.1.3)', () => {
  it('MUST match by branch and CSeq method', () => {
    const text = 'SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCSeq: 1 BYE\r\n\r\n';
    const key = clientTransactionKey(SipMessage.parse(Buffer.from(text)));
    assert.equal(key, clientKeyOf('z9hG4bK1', 'BYE'));
    assert.notEqual(key, clientKeyOf('z9hG4bK1', 'CANCEL'));
  });
});
