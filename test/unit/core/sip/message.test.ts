import assert from 'node:assert/strict';
import { ParseError } from '../../../../core/errors.ts';
import { isKeepAlive, SipMessage } from '../../../../core/sip/message.ts';

function parse(lines: readonly string[], body: string | Buffer = ''): SipMessage {
  const head = Buffer.from([...lines, '', ''].join('\r\n'), 'utf8');
  return SipMessage.parse(Buffer.concat([head, Buffer.from(body)]));
}

const INVITE = [
  'INVITE sip:bob@biloxi.example.com SIP/2.0',
  'Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds, SIP/2.0/TCP 192.0.2.9',
  'v: SIP/2.0/TLS [2001:db8::9]:5061;branch=z9hG4bKlast',
  'MAX-FORWARDS: 70',
  't: "Bob \\"B\\"" <sip:bob@biloxi.example.com>',
  'From: Alice <sip:alice@atlanta.example.com;transport=tcp>;tag=1928301774',
  'i: a84b4c76e66710@pc33.atlanta.example.com',
  'CSeq: 314159 INVITE',
  'm: <sip:alice@pc33.atlanta.example.com>;q=0.5, "x, y" <sip:a,b@h>',
  'Route: <sip:p1;lr>, <sip:p2;lr>',
  'Route: <sip:p3;lr>',
  'x-Odd: one',
  'X-ODD: two, "three, four" , five',
  'Expires: 60',
];

describe('received SIP message (RFC 3261 §7)', () => {
  it('reads the request line', () => {
    const message = parse(INVITE);
    assert.equal(message.isRequest, true);
    assert.equal(message.method, 'INVITE');
    assert.equal(message.requestUri, 'sip:bob@biloxi.example.com');
    assert.equal(message.version, 'SIP/2.0');
    assert.equal(message.statusCode, 0);
    assert.equal(message.defect, undefined);
  });

  for (const [line, code, phrase] of [
    ['SIP/2.0 200 OK', 200, 'OK'],
    ['SIP/2.0 183 Session  Progress', 183, 'Session  Progress'],
    ['SIP/2.0 100 ', 100, ''],
    ['SIP/2.0 486', 486, ''],
    ['sip/2.0 200 Gut Größe', 200, 'Gut Größe'],
  ] as const) {
    it(`reads the status line "${line}"`, () => {
      const message = parse([line, 'Call-ID: 1']);
      assert.equal(message.isRequest, false);
      assert.equal(message.statusCode, code);
      assert.equal(message.reasonPhrase, phrase);
      assert.equal(message.method, '');
    });
  }

  it('finds headers in any case and in compact form (§7.3.1, §7.3.3)', () => {
    const message = parse(INVITE);
    for (const name of ['To', 'TO', 'to', 't', 'T', 'tO']) {
      assert.equal(message.header(name), '"Bob \\"B\\"" <sip:bob@biloxi.example.com>', name);
    }
    assert.equal(message.header('X-odd'), 'one');
    assert.equal(message.header('Content-Type'), undefined);
    assert.equal(message.has('c'), false);
    assert.equal(message.has('x-odd'), true);
    assert.equal(message.has('x-od'), false);
  });

  it('keeps lines apart, and splits lists outside quotes and brackets (§7.3.1)', () => {
    const message = parse(INVITE);
    assert.deepEqual(message.headerFields('route'), ['<sip:p1;lr>, <sip:p2;lr>', '<sip:p3;lr>']);
    assert.deepEqual(message.headerValues('Route'), ['<sip:p1;lr>', '<sip:p2;lr>', '<sip:p3;lr>']);
    assert.deepEqual(message.headerValues('x-odd'), ['one', 'two', '"three, four"', 'five']);
    assert.deepEqual(message.headerValues('Contact'), [
      '<sip:alice@pc33.atlanta.example.com>;q=0.5',
      '"x, y" <sip:a,b@h>',
    ]);
  });

  it('lists all headers in wire order as they were spelt', () => {
    const names = [...parse(INVITE).headerEntries()].map(([name]) => name);
    assert.deepEqual(names, [
      ...['Via', 'v', 'MAX-FORWARDS', 't', 'From', 'i', 'CSeq', 'm', 'Route', 'Route'],
      ...['x-Odd', 'X-ODD', 'Expires'],
    ]);
  });

  it('unfolds values, and ignores white space around them (§7.3.1)', () => {
    const message = parse([
      'OPTIONS sip:a@b SIP/2.0',
      'Subject \t : I know \t',
      '\t you are there,',
      '   pick up  ',
      'Call-ID:   1  ',
      'Empty:',
      'Blank:   ',
    ]);
    assert.equal(message.header('Subject'), 'I know you are there, pick up');
    assert.equal(message.callId, '1');
    assert.equal(message.header('Empty'), '');
    assert.equal(message.header('Blank'), '');
    assert.equal(message.defect, undefined);
  });

  it('reads UTF-8 (§7)', () => {
    const message = parse([
      'MESSAGE sip:a@b SIP/2.0',
      'From: "Jürgen 🎧" <sip:j@h>;tag=1',
      'Subject: ü',
    ]);
    assert.equal(message.from().displayName, 'Jürgen 🎧');
    assert.equal(message.header('s'), 'ü');
  });

  it('gives typed views of what routing needs', () => {
    const message = parse(INVITE);
    assert.equal(message.topVia().host, 'pc33.atlanta.example.com');
    assert.deepEqual(
      message.vias.map((via) => [via.transport, via.host, via.port]),
      [
        ['UDP', 'pc33.atlanta.example.com', undefined],
        ['TCP', '192.0.2.9', undefined],
        ['TLS', '2001:db8::9', 5061],
      ],
    );
    assert.equal(message.to().displayName, 'Bob "B"');
    assert.equal(message.toTag, undefined);
    assert.equal(message.fromTag, '1928301774');
    assert.deepEqual(message.cseq, { sequence: 314159, method: 'INVITE' });
    assert.equal(message.callId, 'a84b4c76e66710@pc33.atlanta.example.com');
    assert.equal(message.maxForwards, 70);
    assert.equal(message.expires, 60);
    assert.equal(message.contentLength, undefined);
    assert.equal(message.contacts.length, 2);
    assert.equal(message.contacts[0]?.params.get('q'), '0.5');
    assert.deepEqual(
      message.routes.map(({ uriText }) => uriText),
      ['sip:p1;lr', 'sip:p2;lr', 'sip:p3;lr'],
    );
    assert.deepEqual(message.recordRoutes, []);
    assert.equal(message.uri.kind, 'sip');
  });

  it('throws ParseError from the typed views when a required header is missing', () => {
    const message = parse(['OPTIONS sip:a@b SIP/2.0', 'Subject: x']);
    for (const read of [
      () => message.topVia(),
      () => message.from(),
      () => message.to(),
      () => message.callId,
      () => message.cseq,
    ]) {
      assert.throws(
        read,
        (error) => error instanceof ParseError && error.code === 'sip.header.missing',
      );
    }
    assert.equal(message.maxForwards, undefined);
    assert.equal(message.expires, undefined);
  });

  for (const [header, read] of [
    ['Max-Forwards: 256', (m: SipMessage) => m.maxForwards],
    ['Max-Forwards: -1', (m: SipMessage) => m.maxForwards],
    ['Content-Length: -999', (m: SipMessage) => m.contentLength],
    ['Content-Length: 5\r\nContent-Length: 6', (m: SipMessage) => m.contentLength],
    ['Expires: soon', (m: SipMessage) => m.expires],
    ['CSeq: 2147483648 OPTIONS', (m: SipMessage) => m.cseq],
    ['CSeq: 1', (m: SipMessage) => m.cseq],
    ['Call-ID: a b', (m: SipMessage) => m.callId],
    ['Call-ID:', (m: SipMessage) => m.callId],
    ['Via: SIP/2.0/UDP', (m: SipMessage) => m.topVia()],
  ] as const) {
    it(`throws ParseError for "${header.replace('\r\n', ' / ')}"`, () => {
      const message = parse(['OPTIONS sip:a@b SIP/2.0', header]);
      assert.throws(() => read(message), ParseError);
    });
  }

  it('takes an Expires that is too large for the largest (§20.19)', () => {
    const message = parse(['OPTIONS sip:a@b SIP/2.0', 'Expires: 99999999999999999999999']);
    assert.equal(message.expires, 2 ** 32 - 1);
  });

  it('tells the Contact wildcard from contacts (§10.2.2)', () => {
    assert.equal(parse(['REGISTER sip:b SIP/2.0', 'Contact: *']).isContactWildcard, true);
    assert.deepEqual(parse(['REGISTER sip:b SIP/2.0', 'Contact: *']).contacts, []);
    assert.equal(parse(['REGISTER sip:b SIP/2.0', 'Contact: <sip:*@h>']).isContactWildcard, false);
  });

  describe('body (§7.4, §18.3)', () => {
    it('is a view, byte for byte', () => {
      const body = Buffer.from([0, 13, 10, 13, 10, 255, 128]);
      const message = parse(['MESSAGE sip:a@b SIP/2.0', 'l: 7'], body);
      assert(message.body.equals(body));
      assert.equal(message.body.buffer, message.bytes.buffer);
    });

    it('ends where Content-Length says', () => {
      assert.equal(parse(['MESSAGE sip:a@b SIP/2.0', 'l: 3'], 'abcdef').body.toString(), 'abc');
    });

    it('goes to the end of the datagram without Content-Length', () => {
      assert.equal(parse(['MESSAGE sip:a@b SIP/2.0'], 'abcdef').body.toString(), 'abcdef');
    });

    it('is what there is when Content-Length promises more, or nonsense', () => {
      assert.equal(parse(['MESSAGE sip:a@b SIP/2.0', 'l: 99'], 'abc').body.toString(), 'abc');
      assert.equal(parse(['MESSAGE sip:a@b SIP/2.0', 'l: x'], 'abc').body.toString(), 'abc');
    });
  });

  describe('faults', () => {
    for (const text of ['', '\r\n\r\n', '\r\n']) {
      it(`refuses ${JSON.stringify(text)} as empty`, () => {
        assert.throws(
          () => SipMessage.parse(Buffer.from(text)),
          (error) => error instanceof ParseError && error.code === 'sip.message.empty',
        );
      });
    }

    for (const line of [
      'hello',
      'GET / HTTP/1.1',
      'INVITE SIP/2.0',
      'INV@TE sip:a@b SIP/2.0',
      'SIP/2.0 4294967301 better not break the receiver',
      'SIP/2.0 20 OK',
      'SIP/2.0',
      ' INVITE sip:a@b SIP/2.0',
    ]) {
      it(`refuses "${line}" as no SIP start line`, () => {
        assert.throws(
          () => parse([line, 'Call-ID: 1']),
          (error) => error instanceof ParseError && error.code === 'sip.message.notSip',
        );
      });
    }

    for (const [name, head, code] of [
      [
        'two spaces in the request line',
        'OPTIONS  sip:a@b SIP/2.0\r\nTo: x\r\n\r\n',
        'sip.requestline.malformed',
      ],
      [
        'a space in the Request-URI',
        'OPTIONS sip:a@b; lr SIP/2.0\r\nTo: x\r\n\r\n',
        'sip.requestline.malformed',
      ],
      [
        'a space behind the version',
        'OPTIONS sip:a@b SIP/2.0 \r\nTo: x\r\n\r\n',
        'sip.requestline.malformed',
      ],
      [
        'a line without colon',
        'OPTIONS sip:a@b SIP/2.0\r\nTo: x\r\nnonsense\r\n\r\n',
        'sip.header.malformed',
      ],
      [
        'a name with a space inside',
        'OPTIONS sip:a@b SIP/2.0\r\nTo: x\r\nA b: c\r\n\r\n',
        'sip.header.malformed',
      ],
      [
        'a line without name',
        'OPTIONS sip:a@b SIP/2.0\r\nTo: x\r\n: c\r\n\r\n',
        'sip.header.malformed',
      ],
      ['no empty line', 'OPTIONS sip:a@b SIP/2.0\r\nTo: x\r\n', 'sip.message.truncated'],
      ['a bare LF', 'OPTIONS sip:a@b SIP/2.0\r\nTo: x\nFrom: y\r\n\r\n', 'sip.header.strayLineEnd'],
      ['a bare CR', 'OPTIONS sip:a@b SIP/2.0\r\nTo: x\rFrom: y\r\n\r\n', 'sip.header.strayLineEnd'],
    ] as const) {
      it(`notes ${name}, and can still be answered`, () => {
        const message = SipMessage.parse(Buffer.from(head));
        assert.equal(message.defect?.code, code);
        assert.equal(message.method, 'OPTIONS');
        assert.match(message.header('To') ?? '', /^x/);
        assert.doesNotMatch(message.header('To') ?? '', /[\r\n]/);
      });
    }

    it('notes more headers than allowed, and more bytes', () => {
      const head = ['OPTIONS sip:a@b SIP/2.0', ...Array<string>(20).fill('X-A: b'), '', 'body'];
      const bytes = Buffer.from(head.join('\r\n'));
      const limits = { maxHeaderBytes: 1000, maxHeaderCount: 20, maxBodyBytes: 1000 };
      assert.equal(SipMessage.parse(bytes, limits).defect, undefined);
      const few = SipMessage.parse(bytes, { ...limits, maxHeaderCount: 19 });
      assert.equal(few.defect?.code, 'sip.limit.headerCount');
      assert.equal(few.headerFields('x-a').length, 19);
      assert.equal(few.body.toString(), 'body');
      const short = SipMessage.parse(bytes, { ...limits, maxHeaderBytes: 100 });
      assert.equal(short.defect?.code, 'sip.limit.headerBytes');
    });
  });

  it('ignores line ends before the start line (§7.5)', () => {
    const message = SipMessage.parse(
      Buffer.from('\r\n\r\nOPTIONS sip:a@b SIP/2.0\r\nTo: x\r\n\r\n'),
    );
    assert.equal(message.method, 'OPTIONS');
    assert.equal(message.header('To'), 'x');
  });

  it('tells keep-alives from messages (RFC 5626 §3.5.1)', () => {
    for (const text of ['', '\r\n', '\r\n\r\n', '\0', '\0\0\0\0']) {
      assert.equal(isKeepAlive(Buffer.from(text)), true);
    }
    assert.equal(isKeepAlive(Buffer.from('\r\n\r\nOPTIONS')), false);
  });
});
