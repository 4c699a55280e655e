import assert from 'node:assert/strict';
import { SipMessage } from '../../../../core/sip/message.ts';
import { OutgoingMessage } from '../../../../core/sip/outgoing-message.ts';

const INVITE = SipMessage.parse(
  Buffer.from(
    [
      'INVITE sip:bob@biloxi.example.com SIP/2.0',
      'v: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK1;rport, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK2',
      'Record-route: <sip:p1;lr>',
      't: Bob <sip:bob@biloxi.example.com>',
      'f: Alice <sip:alice@atlanta.example.com>;tag=19',
      'call-id: 1@h',
      'CSEQ: 3 INVITE',
      'TimeStamp: 54',
      'subject: hi',
      'l: 4',
      '',
      'body',
    ].join('\r\n'),
  ),
);

function lines(message: OutgoingMessage): string[] {
  return message.serialise().toString().split('\r\n');
}

describe('outgoing SIP message (RFC 3261 §7)', () => {
  it('writes every known header name in its registered spelling', () => {
    const message = OutgoingMessage.request('OPTIONS', 'sip:a@b');
    const spellings = {
      'call-id': 'Call-ID',
      i: 'Call-ID',
      CSEQ: 'CSeq',
      'www-authenticate': 'WWW-Authenticate',
      'mime-version': 'MIME-Version',
      rack: 'RAck',
      rseq: 'RSeq',
      'sip-etag': 'SIP-ETag',
      'sip-if-match': 'SIP-If-Match',
      'p-asserted-identity': 'P-Asserted-Identity',
      'record-route': 'Record-Route',
      'min-se': 'Min-SE',
      'user-to-user': 'User-to-User',
      'geolocation-error': 'Geolocation-Error',
      k: 'Supported',
      'some-new-header': 'Some-New-Header',
      'x-lower-case': 'x-lower-case',
      'X-RTP-Stat': 'X-RTP-Stat',
    };
    for (const [given, written] of Object.entries(spellings)) {
      assert.deepEqual(
        [
          ...OutgoingMessage.from(
            SipMessage.parse(message.add(given, '1').serialise()),
          ).headerEntries(),
        ].at(-1),
        [written, '1'],
      );
      message.remove(given);
    }
  });

  it('counts Content-Length in bytes, writes it last, and ignores any other', () => {
    const message = OutgoingMessage.request('MESSAGE', 'sip:a@b')
      .add('Content-Length', '3')
      .setBody('Größe 🎧', 'text/plain')
      .add('Subject', 'ü');
    assert.deepEqual(lines(message), [
      'MESSAGE sip:a@b SIP/2.0',
      'Content-Type: text/plain',
      'Subject: ü',
      'Content-Length: 12',
      '',
      'Größe 🎧',
    ]);
  });

  it('carries a body byte for byte', () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const bytes = OutgoingMessage.request('MESSAGE', 'sip:a@b').setBody(body).serialise();
    assert(SipMessage.parse(bytes).body.equals(body));
  });

  it('adds, sets, prepends, removes and takes', () => {
    const message = OutgoingMessage.request('OPTIONS', 'sip:a@b')
      .add('Route', '<sip:1>, <sip:2>')
      .add('To', 'x')
      .add('route', '<sip:3>')
      .prepend('Route', '<sip:0>')
      .prepend('v', 'top');
    assert.equal(message.header('Via'), 'top');
    assert.deepEqual(message.headerFields('ROUTE'), ['<sip:0>', '<sip:1>, <sip:2>', '<sip:3>']);
    assert.equal(message.takeFirst('Route'), '<sip:0>');
    assert.equal(message.takeFirst('Route'), '<sip:1>');
    assert.deepEqual(message.headerFields('Route'), ['<sip:2>', '<sip:3>']);
    message.set('Route', '<sip:9>');
    assert.deepEqual(message.headerFields('Route'), ['<sip:9>']);
    message.set('Subject', 'new').remove('Route');
    assert.equal(message.takeFirst('Route'), undefined);
    assert.equal(message.has('route'), false);
    assert.deepEqual(
      [...message.headerEntries()].map(([name]) => name),
      ['Via', 'To', 'Subject'],
    );
  });

  it('compares names that it does not know without case (RFC 3261 §7.3.1)', () => {
    const message = OutgoingMessage.request('OPTIONS', 'sip:a@b').add('x-a', '1').add('X-A', '2');
    assert.deepEqual(message.headerFields('x-A'), ['1', '2']);
    assert.deepEqual(message.set('X-a', '3').headerFields('X-A'), ['3']);
    assert.equal(message.remove('X-A').has('x-a'), false);
  });

  it('lets no value add a header', () => {
    const message = OutgoingMessage.response(200, 'O\r\nK: 1').add(
      'To',
      'a\r\nContact: <sip:evil>\n\n',
    );
    const parsed = SipMessage.parse(message.serialise());
    assert.equal(parsed.has('Contact'), false);
    assert.equal(parsed.has('K'), false);
    assert.equal(parsed.header('To'), 'a Contact: <sip:evil>');
  });

  it('copies a received message with canonical names', () => {
    const copy = OutgoingMessage.from(INVITE);
    assert.deepEqual(lines(copy).slice(0, 4), [
      'INVITE sip:bob@biloxi.example.com SIP/2.0',
      'Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK1;rport, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK2',
      'Record-Route: <sip:p1;lr>',
      'To: Bob <sip:bob@biloxi.example.com>',
    ]);
    const bytes = copy.serialise();
    assert(OutgoingMessage.from(SipMessage.parse(bytes)).serialise().equals(bytes));
  });
});

describe('response to a request (RFC 3261 §8.2.6)', () => {
  it('MUST copy Via, From, To, Call-ID and CSeq, and add a tag to To', () => {
    assert.deepEqual(lines(OutgoingMessage.responseTo(INVITE, 486, { toTag: 'ab' })), [
      'SIP/2.0 486 Busy Here',
      'Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK1;rport, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK2',
      'To: Bob <sip:bob@biloxi.example.com>;tag=ab',
      'From: Alice <sip:alice@atlanta.example.com>;tag=19',
      'Call-ID: 1@h',
      'CSeq: 3 INVITE',
      'Content-Length: 0',
      '',
      '',
    ]);
  });

  it('MUST copy Timestamp into a 100, which needs no tag (§8.2.6.1)', () => {
    const trying = OutgoingMessage.responseTo(INVITE, 100, { toTag: 'ab' });
    assert.equal(trying.header('Timestamp'), '54');
    assert.equal(trying.header('To'), 'Bob <sip:bob@biloxi.example.com>');
  });

  for (const [status, isCopied] of [
    [100, false],
    [180, true],
    [200, true],
    [302, false],
    [487, false],
  ] as const) {
    it(`copies Record-Route into a ${status}: ${isCopied} (§12.1.1)`, () => {
      assert.equal(OutgoingMessage.responseTo(INVITE, status).has('Record-Route'), isCopied);
    });
  }

  it('keeps a To tag that is there', () => {
    const bytes = Buffer.from('BYE sip:a@b SIP/2.0\r\nTo: <sip:b;tag=no>\t; Tag = yes\r\n\r\n');
    const response = OutgoingMessage.responseTo(SipMessage.parse(bytes), 481, { toTag: 'ab' });
    assert.equal(response.header('To'), '<sip:b;tag=no>\t; Tag = yes');
  });

  it('does not take a tag inside the URI for one', () => {
    const bytes = Buffer.from('BYE sip:a@b SIP/2.0\r\nTo: <sip:b;tag=no>\r\n\r\n');
    const response = OutgoingMessage.responseTo(SipMessage.parse(bytes), 481, { toTag: 'ab' });
    assert.equal(response.header('To'), '<sip:b;tag=no>;tag=ab');
  });

  it('MUST note the source in the top Via only (§18.2.1, RFC 3581 §4)', () => {
    const source = { address: '192.0.2.1', port: 9 };
    assert.equal(
      OutgoingMessage.responseTo(INVITE, 200, { source }).header('Via'),
      'SIP/2.0/UDP pc33.example.com;branch=z9hG4bK1;rport=9;received=192.0.2.1, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK2',
    );
  });

  it('answers a request whose Via and To are malformed', () => {
    const bytes = Buffer.from('BYE sip:a@b SIP/2.0\r\nVia: ;;"\r\nTo: "x <sip:b>\r\n\r\n');
    const source = { address: '192.0.2.1', port: 9 };
    const response = OutgoingMessage.responseTo(SipMessage.parse(bytes), 400, {
      toTag: 'a',
      source,
    });
    assert.equal(response.header('Via'), ';;"');
    assert.equal(response.header('To'), '"x <sip:b>;tag=a');
  });
});
