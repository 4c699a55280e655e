import assert from 'node:assert/strict';
import { SipMessage } from '../../../../core/sip/message.ts';
import { encodeResponse } from '../../../../registrar/engine/response.ts';
import type { Transport } from '../../../../registrar/engine/seam.ts';
import {
  parseTemplate,
  sequenceMethodOf,
  sequenceOf,
  templateBody,
  templateHeaders,
} from '../../../../registrar/engine/template.ts';
import {
  bracketed,
  encodeForwardedResponse,
  encodeReceived,
  localised,
  ownContact,
  ownVia,
} from '../../../../registrar/engine/text.ts';
import type { Hop } from '../../../../registrar/engine/transport/flow.ts';

function hop(transport: Transport, address = '192.0.2.1'): Hop {
  const local = { address, port: 5060 };
  const listener = { id: 1, transport, local, external: undefined };
  return { transport, listener, local, remote: { address: '192.0.2.9', port: 9 }, flow: undefined };
}

describe('SIP text of the engine', () => {
  it('fills in localhost where a host stands, and nowhere else', () => {
    const cases: [string, Transport, string][] = [
      ['<sip:a@localhost>', 'udp', '<sip:a@192.0.2.1:5060>'],
      [
        '"A" <sip:a@localhost;x=1>;tag=2',
        'tcp',
        '"A" <sip:a@192.0.2.1:5060;transport=tcp;x=1>;tag=2',
      ],
      ['sip:a@localhost;tag=2', 'ws', '<sip:a@192.0.2.1:5060;transport=ws>;tag=2'],
      ['<sip:localhost>', 'udp', '<sip:192.0.2.1:5060>'],
      ['<sip:a@localhost;transport=udp>', 'tcp', '<sip:a@192.0.2.1:5060;transport=udp>'],
      ['<sip:a@localhost.example>', 'udp', '<sip:a@localhost.example>'],
      ['<sip:a@localhost:5070>', 'udp', '<sip:a@localhost:5070>'],
      ['"localhost" <sip:localhost@example>', 'udp', '"localhost" <sip:localhost@example>'],
      ['<sip:a@example>', 'udp', '<sip:a@example>'],
    ];
    for (const [given, transport, wanted] of cases) {
      assert.equal(localised(given, hop(transport)), wanted);
    }
  });

  it('writes its own address with brackets for IPv6 and the transport unless it is UDP', () => {
    assert.equal(ownContact(hop('udp', '2001:db8::1')), '<sip:[2001:db8::1]:5060>');
    assert.equal(ownContact(hop('wss')), '<sip:192.0.2.1:5060;transport=ws>');
    assert.equal(ownVia(hop('udp'), 'b'), 'SIP/2.0/UDP 192.0.2.1:5060;rport;branch=b');
    assert.equal(ownVia(hop('tcp'), 'b'), 'SIP/2.0/TCP 192.0.2.1:5060;branch=b');
  });

  it('puts bare addresses into brackets, and leaves alone what it does not understand', () => {
    assert.equal(bracketed('sip:a@b;tag=1'), '<sip:a@b>;tag=1');
    assert.equal(bracketed('"A" <sip:a@b>'), '"A" <sip:a@b>');
    assert.equal(bracketed('"open'), '"open');
  });

  it('passes a message on with canonical names, unfolded, its length made anew', () => {
    const text =
      'MESSAGE sip:b@c SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b\r\nf: <sip:a@b>;tag=1\r\n' +
      't: <sip:b@c>\r\ni: x\r\nCSEQ: 1 MESSAGE\r\nsubject: one\r\n two\r\nx-Own: 1\r\n\r\nhé';
    const encoded = encodeReceived(SipMessage.parse(Buffer.from(text)), 'TOP').toString();
    assert.match(encoded, /\r\nVia: TOP, SIP\/2\.0\/UDP b\r\nFrom: /);
    assert.match(encoded, /\r\nSubject: one two\r\nx-Own: 1\r\nContent-Length: 3\r\n\r\nhé$/);
  });

  it('takes its own Via from a response, whether it stands alone or in a list', () => {
    const head = 'SIP/2.0 200 OK\r\n';
    const rest =
      'From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n\r\n';
    const vias = (text: string): string[] =>
      SipMessage.parse(
        encodeForwardedResponse(SipMessage.parse(Buffer.from(head + text + rest))),
      ).headerValues('Via');
    assert.deepEqual(vias('Via: ours\r\nVia: theirs\r\n'), ['theirs']);
    assert.deepEqual(vias('Via: ours, theirs\r\n'), ['theirs']);
    assert.deepEqual(vias('Via: ours\r\n'), []);
  });

  it('copies into a response what must be copied (RFC 3261 §8.2.6)', () => {
    const request = SipMessage.parse(
      Buffer.from(
        'INVITE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b\r\n' +
          'From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n' +
          'Record-Route: <sip:p;lr>\r\nTimestamp: 54\r\nX-Other: 1\r\n\r\n',
      ),
    );
    const response = (parts: Parameters<typeof encodeResponse>[2]): string =>
      encodeResponse(request, 'TOP', parts).toString();
    const ok = response({ status: 200, toTag: 't', makesDialog: true });
    assert.match(
      ok,
      /^SIP\/2\.0 200 OK\r\nVia: TOP\r\nVia: SIP\/2\.0\/UDP b\r\nFrom: <sip:a@b>;tag=1\r\n/,
    );
    assert.match(ok, /\r\nTo: <sip:b@c>;tag=t\r\n/);
    assert.match(ok, /\r\nRecord-Route: <sip:p;lr>\r\n/);
    assert.doesNotMatch(ok, /Timestamp|X-Other/);
    const trying = response({ status: 100, toTag: 't' });
    assert.match(trying, /\r\nTo: <sip:b@c>\r\n/);
    assert.match(trying, /\r\nTimestamp: 54\r\n/);
    assert.doesNotMatch(trying, /Record-Route/);
  });

  it('takes from an application only what is its business', () => {
    const template = parseTemplate(
      Buffer.from(
        'SIP/2.0 200 OK\r\nvia: x\r\nfrom: x\r\nto: x\r\ncall-id: x\r\ncseq: 1 INVITE\r\nroute: x\r\n' +
          'record-route: x\r\nrseq: 1\r\ncontent-length: 900\r\ncontact: <sip:a@b>\r\nmax-forwards: 1\r\n' +
          'www-authenticate: Digest a,Digest b\r\nx-lower: 1\r\nP-Foo: 2\r\nsome-header: 3\r\n\r\nv=0\r\n\r\nmore',
      ),
    );
    assert.ok(template);
    assert.deepEqual(templateHeaders(template), [
      ['WWW-Authenticate', 'Digest a,Digest b'],
      ['x-lower', '1'],
      ['P-Foo', '2'],
      ['Some-Header', '3'],
      ['Content-Type', 'application/sdp'],
    ]);
    assert.equal(templateBody(template).toString(), 'v=0\r\n\r\nmore');
    assert.equal(parseTemplate(Buffer.from('no SIP at all')), undefined);
  });

  it('reads CSeq as applications write it', () => {
    assert.equal(sequenceOf('42 INVITE'), 42);
    assert.equal(sequenceOf('42'), 42);
    assert.equal(sequenceOf('99999999999 X'), undefined);
    assert.equal(sequenceOf('2147483648 X'), undefined);
    assert.equal(sequenceOf(undefined), undefined);
    assert.equal(sequenceMethodOf('1 update'), 'UPDATE');
    assert.equal(sequenceMethodOf('1'), undefined);
  });
});
