import assert from 'node:assert/strict';
import { ParseError } from '../../../../core/errors.ts';
import { formatCSeq, formatRAck, parseCSeq, parseRAck } from '../../../../core/sip/cseq.ts';
import { quote, splitList, unquote } from '../../../../core/sip/grammar.ts';
import {
  canonicalHeaderName,
  headerIdOf,
  headerIdOfBytes,
} from '../../../../core/sip/header-names.ts';
import { isIPv4, isIPv6 } from '../../../../core/sip/host.ts';
import { NameAddr } from '../../../../core/sip/name-addr.ts';
import { Params } from '../../../../core/sip/params.ts';
import { formatReason, parseReasons } from '../../../../core/sip/reason.ts';
import { METHODS, reasonPhraseOf } from '../../../../core/sip/status.ts';
import { Via } from '../../../../core/sip/via.ts';

describe('quoted strings and lists (RFC 3261 §25.1)', () => {
  it('quotes and unquotes', () => {
    for (const text of ['', 'a', 'a "b" \\c', '\\', '"']) assert.equal(unquote(quote(text)), text);
    assert.equal(quote('a\r\nb'), '"a  b"');
  });

  it('splits at commas outside quotes and angle brackets, dropping empty elements', () => {
    assert.deepEqual(splitList('a, "b,\\",c" <x,y>;z=",",,d,'), [
      'a',
      '"b,\\",c" <x,y>;z=","',
      'd',
    ]);
    assert.deepEqual(splitList(''), []);
    assert.throws(() => splitList('a, "b'), ParseError);
  });
});

describe('parameters (RFC 3261 §25.1 generic-param)', () => {
  it('keeps order and spelling, and finds names in any case', () => {
    const params = Params.parse(' ; Tag = x1 ;lr; text="a;\\"b\\"" ;+sip.instance="<urn:uuid:1>"');
    assert.equal(params.get('tag'), 'x1');
    assert.equal(params.get('LR'), '');
    assert.equal(params.raw('lr'), undefined);
    assert.equal(params.has('lr'), true);
    assert.equal(params.get('text'), 'a;"b"');
    assert.equal(params.raw('text'), '"a;\\"b\\""');
    assert.equal(params.get('nothing'), undefined);
    assert.equal(params.toString(), ';Tag=x1;lr;text="a;\\"b\\"";+sip.instance="<urn:uuid:1>"');
    assert.deepEqual([...params.entries()].slice(0, 2), [
      ['tag', 'x1'],
      ['lr', undefined],
    ]);
  });

  it('makes changed copies', () => {
    const params = Params.parse(';a=1;b=2;A=3');
    assert.equal(params.duplicate, 'a');
    assert.equal(params.with('B', '9').toString(), ';a=1;b=9;A=3');
    assert.equal(params.without('a').toString(), ';b=2');
    assert.equal(params.without('a').duplicate, undefined);
    assert.equal(params.toString(), ';a=1;b=2;A=3');
  });

  for (const text of [
    ';',
    ';;a',
    ';a=',
    ';a;',
    'a',
    ';a b',
    ';a="b',
    ';a="b"c',
    ';a=b<',
    '; =b',
    ';ä=1',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => Params.parse(text), ParseError);
    });
  }
});

describe('name-addr (RFC 3261 §20.10)', () => {
  for (const [text, name, uri, tag] of [
    [
      '"A. G. Bell" <sip:agb@bell-telephone.com> ;tag=a48s',
      'A. G. Bell',
      'sip:agb@bell-telephone.com',
      'a48s',
    ],
    ['sip:c8oqz84zk7z@privacy.org;tag=hyh8', undefined, 'sip:c8oqz84zk7z@privacy.org', 'hyh8'],
    ['Anonymous <sip:c8@privacy.org>;tag=hyh8', 'Anonymous', 'sip:c8@privacy.org', 'hyh8'],
    ['<sip:a@h;tag=no>', undefined, 'sip:a@h;tag=no', undefined],
    ['Two  Words<sip:a@h>', 'Two  Words', 'sip:a@h', undefined],
    ['"\\"q\\\\\\""  <sip:a@h>', '"q\\"', 'sip:a@h', undefined],
    ['""<sip:a@h>;TAG=x', '', 'sip:a@h', 'x'],
    ['Jürgen <sip:a@h>', 'Jürgen', 'sip:a@h', undefined],
    ['"<sip:no@h>" <sip:a@h>', '<sip:no@h>', 'sip:a@h', undefined],
  ] as const) {
    it(`parses ${text}`, () => {
      const address = NameAddr.parse(text);
      assert.equal(address.displayName, name);
      assert.equal(address.uriText, uri);
      assert.equal(address.tag, tag);
    });
  }

  for (const text of [
    '',
    '<sip:a@h',
    'Bell, Alexander <sip:a@h>',
    '"unclosed <sip:a@h>',
    '"name" sip:a@h',
    '"name"',
    '<>',
    '< sip:a@h >',
    'sip:a@h?Subject=x',
    'sip:a@h,sip:b@h',
    'sip:a@h x',
    '<sip:a@h> x',
    '<sip:a@h>;',
    'a;b <sip:a@h>',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => NameAddr.parse(text), ParseError);
    });
  }

  it('checks the URI when it is read', () => {
    assert.throws(() => NameAddr.parse('<nonsense>').uri, ParseError);
  });

  it('writes angle brackets and quotes always', () => {
    assert.equal(
      NameAddr.parse('A "b" <sip:a@h>'.replace('"b"', 'b')).toString(),
      '"A b" <sip:a@h>',
    );
    assert.equal(
      NameAddr.parse('sip:a@h;tag=1').withParam('q', '0.5').toString(),
      '<sip:a@h>;tag=1;q=0.5',
    );
    assert.equal(NameAddr.parse('<sip:a@h>;tag=1').withoutParam('Tag').toString(), '<sip:a@h>');
  });
});

describe('Via (RFC 3261 §20.42)', () => {
  it('parses white space and line folding around everything (RFC 4475 §3.1.1.1)', () => {
    const via = Via.parse(
      'SIP  / 2.0 /TCP     spindle.example.com : 5070  ; branch  =   z9hG4bK9ikj8  ; maddr=239.255.255.1',
    );
    assert.deepEqual([via.transport, via.host, via.port], ['TCP', 'spindle.example.com', 5070]);
    assert.equal(via.branch, 'z9hG4bK9ikj8');
    assert.equal(
      via.toString(),
      'SIP/2.0/TCP spindle.example.com:5070;branch=z9hG4bK9ikj8;maddr=239.255.255.1',
    );
  });

  it('reads IPv6 sent-by and received, with or without brackets (RFC 5118 §4.5)', () => {
    const via = Via.parse(
      'SIP/2.0/UDP [2001:DB8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3',
    );
    assert.equal(via.host, '2001:db8::9:1');
    assert.equal(via.port, undefined);
    assert.equal(via.received, '2001:db8::9:255');
    assert.equal(Via.parse('SIP/2.0/UDP [::1]:7;received=::2').received, '::2');
    assert.equal(Via.parse('SIP/2.0/UDP [::1]:7').port, 7);
  });

  it('knows branches of RFC 3261 (§8.1.1.7)', () => {
    assert.equal(Via.parse('SIP/2.0/UDP h;branch=z9hG4bKx').hasCookie, true);
    assert.equal(Via.parse('SIP/2.0/UDP h;branch=z9hG4bK').hasCookie, false);
    assert.equal(Via.parse('SIP/2.0/UDP h;branch=1').hasCookie, false);
    assert.equal(Via.parse('SIP/2.0/UDP h').branch, '');
  });

  it('notes where a request came from (§18.2.1, RFC 3581 §4)', () => {
    const stamp = (text: string, isForced = false): string =>
      Via.parse(text).withReceived('192.0.2.1', 9, isForced).toString();
    assert.equal(stamp('SIP/2.0/UDP 192.0.2.1'), 'SIP/2.0/UDP 192.0.2.1');
    assert.equal(stamp('SIP/2.0/UDP h;branch=1'), 'SIP/2.0/UDP h;branch=1;received=192.0.2.1');
    assert.equal(
      stamp('SIP/2.0/UDP 192.0.2.1;rport'),
      'SIP/2.0/UDP 192.0.2.1;rport=9;received=192.0.2.1',
    );
    assert.equal(
      stamp('SIP/2.0/UDP 192.0.2.1', true),
      'SIP/2.0/UDP 192.0.2.1;rport=9;received=192.0.2.1',
    );
    assert.equal(
      stamp('SIP/2.0/UDP h;received=6.6.6.6;rport=1'),
      'SIP/2.0/UDP h;rport=9;received=192.0.2.1',
    );
  });

  it('reads rport', () => {
    assert.equal(Via.parse('SIP/2.0/UDP h;rport=5061').rport, 5061);
    assert.equal(Via.parse('SIP/2.0/UDP h;rport').rport, undefined);
    assert.equal(Via.parse('SIP/2.0/UDP h;rport').hasRport, true);
    assert.equal(Via.parse('SIP/2.0/UDP h;rport=99999').rport, undefined);
  });

  for (const text of [
    '',
    'SIP/2.0',
    'SIP/2.0/UDP',
    'SIP/2.0/UDP ',
    'SIP/7.0/UDP h',
    'HTTP/2.0/UDP h',
    'SIP/2.0/ h',
    'SIP/2.0/UDP 192.0.2.15;;,;,,',
    'SIP/2.0/UDP h x',
    'SIP/2.0/UDP h:x',
    'SIP/2.0/UDP h;branch=',
    'SIP/2.0/UDP ::1',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => Via.parse(text), ParseError);
    });
  }
});

describe('CSeq and RAck (RFC 3261 §20.16, RFC 3262 §7.2)', () => {
  it('parse and write', () => {
    assert.deepEqual(parseCSeq('0009  INVITE'), { sequence: 9, method: 'INVITE' });
    assert.equal(formatCSeq({ sequence: 9, method: 'INVITE' }), '9 INVITE');
    assert.deepEqual(parseRAck('776656 1 INVITE'), { rseq: 776656, sequence: 1, method: 'INVITE' });
    assert.equal(formatRAck({ rseq: 776656, sequence: 1, method: 'INVITE' }), '776656 1 INVITE');
  });

  for (const text of [
    '',
    '1',
    'INVITE',
    '1INVITE',
    '-1 INVITE',
    '2147483648 INVITE',
    '36893488147419103232 REGISTER',
    '1 INV ITE',
    '1 @',
  ]) {
    it(`refuses CSeq ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseCSeq(text), ParseError);
    });
  }

  for (const text of [
    '',
    '1 INVITE',
    '1 2',
    'x 1 INVITE',
    '4294967296 1 INVITE',
    '1 2147483648 INVITE',
  ]) {
    it(`refuses RAck ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseRAck(text), ParseError);
    });
  }
});

describe('Reason (RFC 3326)', () => {
  it('parses several and writes one', () => {
    assert.deepEqual(
      parseReasons('SIP ;cause=200 ;text="Call completed elsewhere", Q.850;cause=16'),
      [
        { protocol: 'SIP', cause: 200, text: 'Call completed elsewhere' },
        { protocol: 'Q.850', cause: 16, text: undefined },
      ],
    );
    assert.equal(
      formatReason({ protocol: 'SIP', cause: 487, text: 'a "b"' }),
      'SIP;cause=487;text="a \\"b\\""',
    );
    assert.equal(formatReason({ protocol: 'SIP', cause: undefined, text: undefined }), 'SIP');
    assert.throws(() => parseReasons(';cause=1'), ParseError);
  });
});

describe('addresses', () => {
  for (const text of [
    '::',
    '::1',
    '1::',
    '2001:db8::9:1',
    '1:2:3:4:5:6:7:8',
    '::ffff:192.0.2.1',
    '1:2:3:4:5:6:1.2.3.4',
  ]) {
    it(`${text} is IPv6 (RFC 4291 §2.2)`, () => {
      assert.equal(isIPv6(text), true);
    });
  }
  for (const text of [
    '',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '12345::',
    '::g',
    '::1.2.3',
    '1:2:3:4:5:6:7::8',
    '1.2.3.4',
    '::1%lo',
    '1.2.3.4::',
  ]) {
    it(`${JSON.stringify(text)} is not IPv6`, () => {
      assert.equal(isIPv6(text), false);
    });
  }

  it('knows IPv4', () => {
    assert.equal(isIPv4('192.0.2.255'), true);
    for (const text of ['192.0.2', '192.0.2.256', '1.2.3.4.5', '1.2.3.', 'a.b.c.d'])
      assert.equal(isIPv4(text), false);
  });
});

describe('header names and reason phrases', () => {
  it('finds every name in any case, as text and as bytes', () => {
    for (const name of [
      'Via',
      'v',
      'WWW-Authenticate',
      'P-Charging-Function-Addresses',
      'x',
      'RAck',
    ]) {
      for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
        const bytes = Buffer.from(`--${spelling}--`);
        assert.equal(headerIdOf(spelling), headerIdOf(name));
        assert.equal(headerIdOfBytes(bytes, 2, 2 + spelling.length), headerIdOf(name));
        assert(headerIdOf(name) >= 0);
      }
    }
    assert.equal(headerIdOf('Vi'), -1);
    // "6" differs from "v" in the one bit that case makes in letters.
    assert.equal(headerIdOfBytes(Buffer.from('6'), 0, 1), -1);
    assert.equal(canonicalHeaderName('MAX-FORWARDS'), 'Max-Forwards');
    assert.equal(canonicalHeaderName('last-notify-version'), 'Last-Notify-Version');
  });

  it('has a phrase for every code', () => {
    assert.equal(reasonPhraseOf(486), 'Busy Here');
    assert.equal(reasonPhraseOf(607), 'Unwanted');
    assert.equal(reasonPhraseOf(499), 'Bad Request');
    assert.equal(reasonPhraseOf(199), 'Early Dialog Terminated');
    for (let code = 100; code < 700; code++) assert.notEqual(reasonPhraseOf(code), '');
    assert.equal(new Set(METHODS).size, 14);
  });
});
