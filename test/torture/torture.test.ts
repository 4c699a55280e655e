import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ParseError } from '../../core/errors.ts';
import { SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { StreamFramer } from '../../core/sip/stream-framer.ts';
import { serverTransactionKey } from '../../core/sip/transaction/key.ts';
import { validateRequest, validateResponse } from '../../core/sip/validate.ts';
import { RFC4475, RFC5118, type Row } from './rows.ts';

const FOLDERS = [
  ['rfc4475', 'RFC 4475', RFC4475],
  ['rfc5118', 'RFC 5118', RFC5118],
] as const;

function read(folder: string, file: string): Buffer {
  return readFileSync(path.join(import.meta.dirname, folder, `${file}.dat`));
}

function message(file: string, folder = 'rfc4475'): SipMessage {
  return SipMessage.parse(read(folder, file));
}

/** What parser and validation make of a message, in the words of the table. */
function outcomeOf(bytes: Buffer): Row['expect'] {
  let parsed: SipMessage;
  try {
    parsed = SipMessage.parse(bytes);
  } catch (error) {
    assert(error instanceof ParseError);
    return 'drop';
  }
  const problem = parsed.isRequest ? validateRequest(parsed) : validateResponse(parsed);
  if (problem === undefined) return 'accept';
  return problem.isAnswerable ? problem.status : 'drop';
}

for (const [folder, title, rows] of FOLDERS) {
  describe(`torture messages of ${title}`, () => {
    it('has one row for each file, and one file for each row', () => {
      const files = readdirSync(path.join(import.meta.dirname, folder));
      assert.deepEqual(files.sort(), rows.map(({ file }) => `${file}.dat`).sort());
    });

    for (const { file, section, layer, expect } of rows) {
      const isForParser = layer === 'parser';
      const title = isForParser ? `${expect}` : `accept, for the ${layer} to decide`;

      it(`§${section} ${file}: ${title}`, () => {
        assert.equal(outcomeOf(read(folder, file)), isForParser ? expect : 'accept');
      });

      if (isForParser && typeof expect === 'number') {
        it(`§${section} ${file}: can be answered with ${expect}`, () => {
          const request = message(file, folder);
          const answer = OutgoingMessage.responseTo(request, expect, {
            toTag: 'x',
            source: { address: '192.0.2.1', port: 5060 },
          });
          const response = SipMessage.parse(answer.serialise());
          assert.equal(response.statusCode, expect);
          assert.equal(response.defect, undefined);
          assert.equal(response.headerFields('Via').length, request.headerFields('Via').length);
          for (const name of ['CSeq', 'Call-ID', 'From']) {
            assert.deepEqual(response.headerFields(name), request.headerFields(name));
          }
        });
      }

      if (isForParser && expect === 'accept') {
        it(`§${section} ${file}: stays the same when it is written and read again`, () => {
          const once = OutgoingMessage.from(message(file, folder)).serialise();
          const again = SipMessage.parse(once);
          assert.equal(outcomeOf(once), 'accept');
          assert(OutgoingMessage.from(again).serialise().equals(once));
          assert(again.body.equals(message(file, folder).body));
        });
      }
    }
  });
}

describe('what is in the valid messages of RFC 4475', () => {
  it('§3.1.1.1 wsinv: folded, spaced, escaped and unknown headers', () => {
    const invite = message('wsinv');
    assert.equal(invite.requestUri, 'sip:vivekg@chair-dnrc.example.com;unknownparam');
    assert.equal(invite.toTag, '1918181833n');
    assert.equal(invite.from().displayName, 'J Rosenberg \\"');
    assert.equal(invite.fromTag, '98asjd8');
    assert.equal(invite.maxForwards, 68);
    assert.deepEqual(invite.cseq, { sequence: 9, method: 'INVITE' });
    assert.deepEqual(
      invite.vias.map(({ transport, host, branch }) => [transport, host, branch]),
      [
        ['UDP', '192.0.2.2', '390skdjuw'],
        ['TCP', 'spindle.example.com', 'z9hG4bK9ikj8'],
        ['UDP', '192.168.255.111', 'z9hG4bK30239'],
      ],
    );
    assert.equal(invite.header('Subject'), '');
    assert.equal(invite.header('NewFangledHeader'), 'newfangled value continued newfangled value');
    assert.equal(invite.header('UnknownHeaderWithUnusualValue'), ';;,,;;,;');
    const [route] = invite.routes;
    assert(route?.uri.kind === 'sip');
    assert.equal(route.uri.params.has('lr'), true);
    assert.equal(route.uri.params.raw('unknown-no-value'), undefined);
    const [contact] = invite.contacts;
    assert.equal(contact?.displayName, 'Quoted string ""');
    assert.equal(contact.params.get('newparam'), 'newvalue');
    assert.equal(contact.params.get('secondparam'), '');
    assert.equal(contact.params.get('q'), '0.33');
    assert.equal(invite.contentLength, 150);
    assert.equal(invite.body.length, 150);
  });

  it('§3.1.1.2 intmeth: every character that each place may hold', () => {
    const request = message('intmeth');
    assert.equal(request.method, "!interesting-Method0123456789_*+`.%indeed'~");
    assert.equal(request.cseq.method, request.method);
    assert(request.uri.kind === 'sip');
    assert.equal(request.uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
    assert.equal(request.uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
    assert.equal(request.to().displayName, 'BEL:\u0007 NUL:\u0000 DEL:\u007f');
    assert.equal(request.from().displayName, "token1~` token2'+_ token3*%!.-");
    assert.equal(request.from().params.get("fromParam''~+*_!.-%"), 'работающий');
    assert.equal(request.fromTag, "_token~1'+`*%!-.");
    assert.equal(request.header("extensionHeader-!.%*+_`'~"), '\ufeff大停電');
    assert.equal(request.maxForwards, 255);
  });

  it('§3.1.1.3 esc01: escapes are part of names and values', () => {
    const invite = message('esc01');
    assert(invite.uri.kind === 'sip');
    assert.equal(invite.uri.userText, 'sips:user@example.com');
    assert.equal(invite.uri.host, 'example.net');
    const to = invite.to().uri;
    assert(to.kind === 'sip');
    assert.equal(to.userText, 'user');
    const contact = invite.contacts[0]?.uri;
    assert(contact?.kind === 'sip');
    assert.equal(contact.userText, 'caller');
    assert.equal(contact.params.raw('n%61me'), 'v%61lue%25%34%31');
  });

  it('§3.1.1.4 escnull: an escaped NUL is a character like others', () => {
    const users = message('escnull').contacts.map(({ uri }) =>
      uri.kind === 'sip' ? uri.userText : '',
    );
    assert.deepEqual(users, ['\0', '\0\0']);
  });

  it('§3.1.1.5 esc02: a percent sign escapes nothing outside URIs', () => {
    const request = message('esc02');
    assert.equal(request.method, 'RE%47IST%45R');
    assert.equal(request.to().displayName, '%Z%45');
    assert.equal(request.topVia().branch, 'z9hG4bK209%fzsnel234');
    assert.equal(request.contacts.length, 2);
    assert.equal(request.header('C%6Fntact'), '<sip:alias2@host2.example.com>');
  });

  it('§3.1.1.6 lwsdisp: no space between display name and <', () => {
    assert.equal(message('lwsdisp').from().displayName, 'caller');
  });

  it('§3.1.1.7 longreq: many and long values', () => {
    const invite = message('longreq');
    assert.equal(invite.vias.length, 34);
    assert.equal(invite.vias[33]?.received, '192.0.2.5');
    assert.equal(invite.body.length, 150);
    assert((invite.to().displayName ?? '').length > 100);
  });

  it('§3.1.1.8 dblreq: what follows the message in its datagram is ignored', () => {
    const register = message('dblreq');
    assert.equal(register.method, 'REGISTER');
    assert.equal(register.body.length, 0);
    assert(register.bytesBehindHeaders > 0);
  });

  it('§3.1.1.9 semiuri: a semicolon in the user part begins no parameter', () => {
    const { uri } = message('semiuri');
    assert(uri.kind === 'sip');
    assert.equal(uri.userText, 'user;par=u@example.net');
    assert.equal(uri.params.size, 0);
  });

  it('§3.1.1.10 transports: any token is a transport', () => {
    const transports = message('transports').vias.map(({ transport }) => transport);
    assert.deepEqual(transports, ['UDP', 'SCTP', 'TLS', 'UNKNOWN', 'TCP']);
  });

  it('§3.1.1.11 mpart01: binary parts pass byte for byte', () => {
    const bytes = read('rfc4475', 'mpart01');
    const { body } = SipMessage.parse(bytes);
    assert(body.equals(bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)));
    assert(body.includes(Buffer.from([0])));
  });

  it('§3.1.1.12 unreason and §3.1.1.13 noreason: any phrase, or none', () => {
    const unusual = '= 2**3 * 5**2 но сто девяносто девять - простое';
    assert.equal(message('unreason').reasonPhrase, unusual);
    assert.equal(message('noreason').reasonPhrase, '');
  });

  it('§3.3.12 to §3.3.14: parameters inside <> belong to the URI, outside to the contact', () => {
    const [outside] = message('cparam01').contacts;
    assert.equal(outside?.params.has('unknownparam'), true);
    assert.equal(outside.uriText, 'sip:+19725552222@gw1.example.net');
    const [inside] = message('cparam02').contacts;
    assert.equal(inside?.params.size, 0);
    assert(inside.uri.kind === 'sip');
    assert.equal(inside.uri.params.has('unknownparam'), true);
    const escaped = message('regescrt').contacts[0]?.uri;
    assert(escaped?.kind === 'sip');
    assert.equal(escaped.headers, 'Route=%3Csip:sip.example.com%3E');
  });

  it('§3.4.1 inv2543: no branch, no tag, no Max-Forwards, no Contact', () => {
    const invite = message('inv2543');
    assert.equal(invite.topVia().branch, '');
    assert.equal(invite.fromTag, undefined);
    assert.equal(invite.maxForwards, undefined);
    assert(invite.body.length > 0);
  });
});

describe('transaction layer (RFC 4475 §3.2, §3.3.10)', () => {
  it('§3.2.1 badbranch: a bare magic cookie does not name a transaction', () => {
    const options = message('badbranch');
    assert.equal(options.topVia().hasCookie, false);
    // So that another request of the same sender, equally without branch, is not taken for a retransmission.
    const text = options.bytes.toString();
    const other = SipMessage.parse(Buffer.from(text.replace('CSeq: 8', 'CSeq: 9')));
    assert.notEqual(serverTransactionKey(options), serverTransactionKey(other));
    assert.equal(
      serverTransactionKey(options),
      serverTransactionKey(SipMessage.parse(options.bytes)),
    );
  });

  it('§3.3.10 bcast: the response is ours only if we sent its branch', () => {
    const response = message('bcast');
    assert.equal(response.topVia().branch, 'z9hG4bK1324923');
    assert.equal(response.vias[1]?.host, '255.255.255.255');
  });
});

describe('the same messages on a stream (RFC 3261 §18.3)', () => {
  const STREAM_ERRORS: Readonly<Record<string, string>> = {
    ncl: 'sip.contentlength.malformed',
    mcl01: 'sip.contentlength.malformed',
    inv2543: 'sip.contentlength.missing',
  };

  for (const [folder, title, rows] of FOLDERS) {
    it(`${title}: each is cut out whole, or the stream is given up`, () => {
      for (const { file } of rows) {
        const bytes = read(folder, file);
        const framer = new StreamFramer();
        for (const byte of bytes) framer.push(Buffer.from([byte]));
        const frame = framer.next();
        const error = STREAM_ERRORS[file];
        if (error !== undefined)
          assert(frame?.kind === 'error' && frame.error.code === error, file);
        // Its Content-Length promises more than there is.
        else if (file === 'clerr') assert(frame === undefined && framer.isMidMessage);
        else assert(frame?.kind === 'message' && bytes.indexOf(frame.bytes) === 0, file);
      }
    });
  }
});

describe('IPv6 in the messages of RFC 5118', () => {
  it('§4.3 and §4.4: a port is behind the bracket', () => {
    const inside = message('port-ambiguous', 'rfc5118').uri;
    assert(inside.kind === 'sip');
    assert.deepEqual([inside.host, inside.port], ['2001:db8::10:5070', undefined]);
    const outside = message('port-unambiguous', 'rfc5118').uri;
    assert(outside.kind === 'sip');
    assert.deepEqual([outside.host, outside.port], ['2001:db8::10', 5070]);
  });

  it('§4.5: received with and without brackets', () => {
    for (const file of ['via-received-param-with-delim', 'via-received-param-no-delim']) {
      assert.equal(message(file, 'rfc5118').topVia().received, '2001:db8::9:255');
    }
  });

  it('§4.7: both families in one message', () => {
    const vias = message('mult-ip-in-header', 'rfc5118').vias.map(({ host, received }) => [
      host,
      received,
    ]);
    assert.deepEqual(vias, [
      ['2001:db8::9:1', undefined],
      ['192.0.2.1', undefined],
      ['2001:db8::9:255', '192.0.2.200'],
    ]);
  });

  it('§4.9: mapped IPv4 addresses', () => {
    const invite = message('ipv4-mapped-ipv6', 'rfc5118');
    assert.equal(invite.topVia().host, '::ffff:192.0.2.10');
    assert.equal(invite.topVia().port, 19823);
    const contact = invite.contacts[0]?.uri;
    assert(contact?.kind === 'sip');
    assert.equal(contact.host, '::ffff:192.0.2.2');
  });

  it('§4.10: three colons before an IPv4 part mean two', () => {
    for (const file of ['ipv6-bug-abnf-3-colons', 'ipv6-correct-abnf-2-colons']) {
      const { uri } = message(file, 'rfc5118');
      assert(uri.kind === 'sip');
      assert.equal(uri.host, '2001:db8::192.0.2.1');
    }
  });
});
