import assert from 'node:assert/strict';
import { DEFAULT_MESSAGE_LIMITS, SipMessage } from '../../../../core/sip/message.ts';
import { validateRequest, validateResponse } from '../../../../core/sip/validate.ts';

const HEADERS = {
  Via: 'SIP/2.0/UDP h;branch=z9hG4bK1',
  From: '<sip:a@h>;tag=1',
  To: '<sip:b@h>',
  'Call-ID': 'c',
  CSeq: '1 OPTIONS',
  'Max-Forwards': '70',
};
type Changes = Readonly<Record<string, string | undefined>>;

function message(start: string, changes: Changes = {}, body = ''): SipMessage {
  const lines: string[] = [start];
  const headers: Changes = { ...HEADERS, ...changes };
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) lines.push(`${name}: ${value}`);
  }
  return SipMessage.parse(Buffer.from([...lines, '', body].join('\r\n')));
}

const OPTIONS = 'OPTIONS sip:b@h SIP/2.0';

describe('validation of requests (RFC 3261 §8.2, §16.3)', () => {
  it('accepts what is right', () => {
    assert.equal(validateRequest(message(OPTIONS)), undefined);
    assert.equal(validateRequest(message(OPTIONS, { 'Max-Forwards': undefined })), undefined);
    assert.equal(validateRequest(message('OPTIONS urn:service:sos sip/2.0')), undefined);
    assert.equal(
      validateRequest(message('REGISTER sip:h SIP/2.0', { CSeq: '1 REGISTER', Contact: '*' })),
      undefined,
    );
  });

  for (const [changes, status, phrase] of [
    [{ From: undefined }, 400, 'Missing From Header'],
    [{ To: undefined }, 400, 'Missing To Header'],
    [{ 'Call-ID': undefined }, 400, 'Missing Call-ID Header'],
    [{ CSeq: undefined }, 400, 'Missing CSeq Header'],
    [{ Via: 'SIP/2.0/UDP' }, 400, 'Malformed Via Header'],
    [{ From: '"x <sip:a@h>' }, 400, 'Malformed From Header'],
    [{ From: '<nonsense>' }, 400, 'Malformed From Header'],
    [{ To: '<sip:a@h' }, 400, 'Malformed To Header'],
    [{ CSeq: '99999999999 OPTIONS' }, 400, 'Malformed CSeq Header'],
    [{ CSeq: '1 INVITE' }, 400, 'CSeq Method Does Not Match'],
    [{ 'Max-Forwards': '300' }, 400, 'Malformed Max-Forwards Header'],
    [{ 'Content-Length': 'x' }, 400, 'Malformed Content-Length Header'],
    [{ 'Content-Length': '1' }, 400, 'Content-Length Larger Than Message'],
    [{ 'Content-Length': '999999999' }, 413, 'Request Entity Too Large'],
    [{ Contact: 'sip:a@h?x=y' }, 400, 'Malformed Contact Header'],
    [{ Contact: '<sip:a@h>, <nonsense>' }, 400, 'Malformed Contact Header'],
    [{ Contact: '*' }, 400, 'Misplaced Contact Wildcard'],
    [{ Route: '<sip:a@h>, b' }, 400, 'Malformed Route Header'],
    [{ 'Record-Route': '"x' }, 400, 'Malformed Record-Route Header'],
    [{ Expires: 'never' }, 400, 'Malformed Expires Header'],
    [{ t: '<sip:c@h>' }, 400, 'More Than One To Header'],
    [{ i: 'c' }, 400, 'More Than One Call-ID Header'],
    [{ CSEQ: '1 OPTIONS' }, 400, 'More Than One CSeq Header'],
  ] as const) {
    it(`refuses ${JSON.stringify(changes)} with "${status} ${phrase}"`, () => {
      const problem = validateRequest(message(OPTIONS, changes));
      assert.equal(problem?.status, status);
      assert.equal(problem.reasonPhrase, phrase);
      assert.equal(problem.isAnswerable, true);
    });
  }

  for (const [start, status, phrase] of [
    ['OPTIONS sip:b@h SIP/7.0', 505, 'Version Not Supported'],
    ['OPTIONS  sip:b@h SIP/2.0', 400, 'Malformed Request-Line'],
    ['OPTIONS <sip:b@h> SIP/2.0', 400, 'Malformed Request-URI'],
    ['OPTIONS sip:b@h?Route=x SIP/2.0', 400, 'Headers in Request-URI'],
    ['OPTIONS b SIP/2.0', 400, 'Malformed Request-URI'],
  ] as const) {
    it(`refuses "${start}" with "${status} ${phrase}"`, () => {
      const problem = validateRequest(message(start));
      assert.equal(problem?.status, status);
      assert.equal(problem.reasonPhrase, phrase);
    });
  }

  it('refuses a Contact wildcard with other contacts (§10.3)', () => {
    const register = message('REGISTER sip:h SIP/2.0', {
      CSeq: '1 REGISTER',
      Contact: '*, <sip:a@h>',
    });
    assert.equal(validateRequest(register)?.reasonPhrase, 'Misplaced Contact Wildcard');
  });

  it('refuses to register what is no SIP URI (§10.2)', () => {
    const changes = { CSeq: '1 REGISTER', To: 'tel:+12' };
    const problem = validateRequest(message('REGISTER sip:h SIP/2.0', changes));
    assert.equal(problem?.status, 400);
    assert.equal(problem.reasonPhrase, 'No SIP URI in To');
    assert.equal(validateRequest(message(OPTIONS, { To: 'tel:+12' })), undefined);
  });

  it('refuses faults of framing', () => {
    const bytes = message(OPTIONS).bytes.toString();
    for (const [changed, phrase] of [
      [bytes.replace('Max-', 'Max '), 'Malformed Header Line'],
      [bytes.replace('70\r\n', '70\n'), 'CR or LF Inside Header'],
      [bytes.slice(0, -2), 'No Empty Line Behind Headers'],
    ] as const) {
      const problem = validateRequest(SipMessage.parse(Buffer.from(changed)));
      assert.equal(problem?.status, 400);
      assert.equal(problem.reasonPhrase, phrase);
    }
  });

  it('refuses what is larger than the limits: 513 for headers, 413 for bodies', () => {
    const limits = { ...DEFAULT_MESSAGE_LIMITS, maxBodyBytes: 3, maxHeaderCount: 6 };
    assert.equal(validateRequest(message(OPTIONS, {}, 'abc'), limits), undefined);
    assert.equal(validateRequest(message(OPTIONS, {}, 'abcd'), limits)?.status, 413);
    const many = SipMessage.parse(message(OPTIONS, { Subject: 'x' }).bytes, limits);
    assert.equal(validateRequest(many, limits)?.status, 513);
    const wide = SipMessage.parse(message(OPTIONS).bytes, { ...limits, maxHeaderBytes: 50 });
    assert.equal(validateRequest(wide, limits)?.status, 513);
  });

  it('MUST NOT have an ACK answered, nor what has no Via', () => {
    const ack = message('ACK sip:b@h SIP/2.0', { From: undefined, CSeq: '1 ACK' });
    assert.equal(validateRequest(ack)?.isAnswerable, false);
    const lost = message(OPTIONS, { Via: undefined });
    assert.equal(validateRequest(lost)?.isAnswerable, false);
    assert.equal(validateRequest(lost)?.reasonPhrase, 'Missing Via Header');
  });

  it('is not for responses', () => {
    assert.equal(validateRequest(message('SIP/2.0 200 OK'))?.isAnswerable, false);
  });
});

describe('validation of responses (RFC 3261 §8.1.3, §18.1.2)', () => {
  it('accepts what is right', () => {
    assert.equal(validateResponse(message('SIP/2.0 200 OK')), undefined);
    assert.equal(validateResponse(message('SIP/2.0 699 ')), undefined);
  });

  for (const [start, changes] of [
    ['SIP/2.0 099 Early', {}],
    ['SIP/2.0 700 Late', {}],
    ['SIP/3.0 200 OK', {}],
    ['SIP/2.0 200 OK', { Via: undefined }],
    ['SIP/2.0 200 OK', { CSeq: undefined }],
    ['SIP/2.0 200 OK', { To: '<' }],
    ['SIP/2.0 200 OK', { 'Content-Length': '5' }],
    ['SIP/2.0 200 OK', { Contact: '<nonsense>' }],
    ['SIP/2.0 200 OK', { f: '<sip:x@h>' }],
  ] as const) {
    it(`drops "${start}" with ${JSON.stringify(changes)}`, () => {
      assert.equal(validateResponse(message(start, changes))?.isAnswerable, false);
    });
  }

  it('is not for requests', () => {
    assert.notEqual(validateResponse(message(OPTIONS)), undefined);
  });
});
