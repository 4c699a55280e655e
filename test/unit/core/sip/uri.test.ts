import assert from 'node:assert/strict';
import { ParseError } from '../../../../core/errors.ts';
import { escapeUser, parseUri, SipUri, unescape } from '../../../../core/sip/uri.ts';

describe('SIP URI (RFC 3261 §19.1)', () => {
  for (const [text, parts] of [
    ['sip:alice@atlanta.com', ['sip', 'alice', undefined, 'atlanta.com', undefined, '', undefined]],
    [
      'sip:alice:secretword@atlanta.com;transport=tcp',
      ['sip', 'alice', 'secretword', 'atlanta.com', undefined, ';transport=tcp', undefined],
    ],
    [
      'sips:alice@atlanta.com?subject=project%20x&priority=urgent',
      [
        'sips',
        'alice',
        undefined,
        'atlanta.com',
        undefined,
        '',
        'subject=project%20x&priority=urgent',
      ],
    ],
    [
      'sip:+1-212-555-1212:1234@gateway.com;user=phone',
      ['sip', '+1-212-555-1212', '1234', 'gateway.com', undefined, ';user=phone', undefined],
    ],
    ['sips:1212@Gateway.COM:5071', ['sips', '1212', undefined, 'gateway.com', 5071, '', undefined]],
    ['SIP:alice@192.0.2.4', ['sip', 'alice', undefined, '192.0.2.4', undefined, '', undefined]],
    [
      'sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com',
      [
        'sip',
        undefined,
        undefined,
        'atlanta.com',
        undefined,
        ';method=REGISTER',
        'to=alice%40atlanta.com',
      ],
    ],
    [
      'sip:alice;day=tuesday@atlanta.com',
      ['sip', 'alice;day=tuesday', undefined, 'atlanta.com', undefined, '', undefined],
    ],
    [
      'sip:[2001:DB8::10]:5070;lr',
      ['sip', undefined, undefined, '2001:db8::10', 5070, ';lr', undefined],
    ],
    ['sip:%23turbo@h', ['sip', '%23turbo', undefined, 'h', undefined, '', undefined]],
    ['sip:#turbo@h', ['sip', '#turbo', undefined, 'h', undefined, '', undefined]],
    ['sip:a@h;maddr=[::1];x', ['sip', 'a', undefined, 'h', undefined, ';maddr=[::1];x', undefined]],
    ['sip:a@h.', ['sip', 'a', undefined, 'h.', undefined, '', undefined]],
  ] as const) {
    it(`parses ${text}, and writes it back as it was`, () => {
      const uri = SipUri.parse(text);
      assert.deepEqual(
        [
          uri.scheme,
          uri.user,
          uri.password,
          uri.host,
          uri.port,
          uri.params.toString(),
          uri.headers,
        ],
        parts,
      );
      assert.equal(uri.toString(), text);
    });
  }

  for (const text of [
    '',
    'alice',
    'alice@atlanta.com',
    'sip:',
    'sip:@h',
    'sip:a@',
    'sip:a b@h',
    'sip:a@h h',
    'sip:a@h:',
    'sip:a@h:70000',
    'sip:a@h:5x',
    'sip:a@[::1',
    'sip:a@[zz]',
    'sip:a@[::1]x',
    'sip:a@::1',
    'sip:a@h;',
    'sip:a@h;;lr',
    'sip:a@h;=x',
    'sip:a@h;x=',
    'sip:a@h?',
    'sip:a@h;x="y"',
    'sip:%4@h',
    'sip:%zz@h',
    'sip:ä@h',
    'sip:a@ä',
    'sip:a@b..c',
    'sip:a@.',
    'sip:a"b@h',
    'sip:a<b@h',
    '<sip:a@h>',
    ' sip:a@h',
    'mailto:',
    '9x:y',
    'tel:',
    'tel:+',
    'tel:12x',
    'urn:a b',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseUri(text), ParseError);
    });
  }

  it('makes changed copies', () => {
    const uri = SipUri.parse('sip:alice:pw@Atlanta.com:5070;transport=tcp?a=b');
    const changed = uri.with({ host: '2001:db8::1', port: undefined, headers: undefined });
    assert.equal(changed.toString(), 'sip:alice:pw@[2001:db8::1];transport=tcp');
    assert.equal(
      uri.with({ user: undefined }).toString(),
      'sip:atlanta.com:5070;transport=tcp?a=b',
    );
    assert.equal(
      uri.with({ params: uri.params.without('Transport').with('lr', undefined) }).params.toString(),
      ';lr',
    );
    assert.equal(
      SipUri.of('::1', { user: escapeUser('a b'), port: 5060 }).toString(),
      'sip:a%20b@[::1]:5060',
    );
  });

  it('escapes what may not stand in a user part, and reads it back (§19.1.2)', () => {
    for (const text of ['#turbo', 'a@b', 'ü/ö?', 'a"b<c>', '100%', 'x:y', ' ']) {
      const uri = SipUri.parse(`sip:${escapeUser(text)}@h`);
      assert.equal(uri.userText, text);
    }
    assert.equal(escapeUser('#x@ü'), '%23x%40%C3%BC');
    assert.equal(unescape('%'), '%');
    assert.equal(unescape('%4'), '%4');
    assert.equal(unescape('%zz%41'), '%zzA');
  });
});

describe('SIP URI comparison (RFC 3261 §19.1.4)', () => {
  const EQUAL = [
    ['sip:%61lice@atlanta.com;transport=TCP', 'sip:alice@AtLanTa.CoM;Transport=tcp'],
    ['sip:carol@chicago.com', 'sip:carol@chicago.com;newparam=5'],
    ['sip:carol@chicago.com', 'sip:carol@chicago.com;security=on'],
    [
      'sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com',
      'sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com',
    ],
    [
      'sip:alice@atlanta.com?subject=project%20x&priority=urgent',
      'sip:alice@atlanta.com?priority=urgent&subject=project%20x',
    ],
    ['sip:a@[2001:db8:0:0::1]', 'sip:a@[2001:DB8::1]'],
    ['sip:a@[::ffff:192.0.2.1]', 'sip:a@[::FFFF:c000:201]'],
    ['sip:a%40b@h', 'sip:a%40b@h'],
    ['sip:%23a@h', 'sip:#a@h'],
    ['sip:%c3%bc@h', 'sip:%C3%BC@h'],
  ] as const;
  for (const [a, b] of EQUAL) {
    it(`${a} equals ${b}`, () => {
      assert.equal(parseUri(a).kind === 'sip' && SipUri.parse(a).equals(parseUri(b)), true);
      assert.equal(SipUri.parse(b).equals(SipUri.parse(a)), true);
    });
  }

  const DIFFERENT = [
    ['SIP:ALICE@AtLanTa.CoM;Transport=udp', 'sip:alice@AtLanTa.CoM;Transport=UDP'],
    ['sip:bob@biloxi.com', 'sip:bob@biloxi.com:5060'],
    ['sip:bob@biloxi.com', 'sip:bob@biloxi.com;transport=udp'],
    ['sip:bob@biloxi.com', 'sip:bob@biloxi.com:6000;transport=tcp'],
    ['sip:carol@chicago.com', 'sip:carol@chicago.com?Subject=next%20meeting'],
    ['sip:bob@phone21.boxesbybob.com', 'sip:bob@192.0.2.4'],
    ['sip:carol@chicago.com;security=on', 'sip:carol@chicago.com;security=off'],
    ['sip:alice@atlanta.com', 'sips:alice@atlanta.com'],
    ['sip:alice@atlanta.com', 'sip:atlanta.com'],
    ['sip:alice:a@atlanta.com', 'sip:alice:b@atlanta.com'],
    ['sip:a%40@h', 'sip:a%41@h'],
    ['sip:a@[::1]', 'sip:a@[::2]'],
    ['sip:a@h;user=phone', 'sip:a@h'],
    ['sip:a@h;maddr=1.1.1.1', 'sip:a@h'],
    ['sip:a@h', 'tel:12'],
  ] as const;
  for (const [a, b] of DIFFERENT) {
    it(`${a} does not equal ${b}`, () => {
      assert.equal(SipUri.parse(a).equals(parseUri(b)), false);
      const other = parseUri(b);
      if (other.kind === 'sip') assert.equal(other.equals(SipUri.parse(a)), false);
    });
  }
});

describe('tel and other URIs (RFC 3966)', () => {
  it('parses a global number with separators and parameters', () => {
    const uri = parseUri('tel:+358-(9).123-4567;postd=pp22');
    assert(uri.kind === 'tel');
    assert.equal(uri.dialString, '+35891234567');
    assert.equal(uri.params.get('postd'), 'pp22');
    assert.equal(uri.toString(), 'tel:+358-(9).123-4567;postd=pp22');
  });

  it('compares without separators, with all parameters (§4)', () => {
    const uri = parseUri('tel:*21#;phone-context=+1');
    assert(uri.kind === 'tel');
    assert.equal(uri.equals(parseUri('tel:*2-1#;Phone-Context=+1')), true);
    assert.equal(uri.equals(parseUri('tel:*21#')), false);
    assert.equal(uri.equals(parseUri('sip:a@h')), false);
  });

  it('keeps a scheme that it does not know opaque', () => {
    const uri = parseUri('nobodyKnowsThisScheme:totallyopaquecontent');
    assert(uri.kind === 'other');
    assert.equal(uri.scheme, 'nobodyknowsthisscheme');
    assert.equal(uri.toString(), 'nobodyKnowsThisScheme:totallyopaquecontent');
  });
});
