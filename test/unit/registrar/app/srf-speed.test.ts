import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { quickParser, speedUpSrf } from '../../../../registrar/app/srf-speed.ts';

const require = createRequire(import.meta.url);
const parser = require('drachtio-srf/lib/sip-parser/parser.js') as {
  parseSipMessage: (text: string, isLazy: boolean) => object | undefined;
  getHeaderName: (name: string) => string;
};
type Parse = Parameters<typeof quickParser>[0];
type Message = { get(name: string): string | undefined; has(name: string): boolean };
const SipMessage = require('drachtio-srf/lib/sip-parser/message.js') as new (
  text: string,
) => Message;

/** drachtio-srf's own, whether another test has exchanged it or not. */
const original = ((): Parse => {
  const file = require.resolve('drachtio-srf/lib/sip-parser/parser.js');
  const loaded = require.cache[file];
  Reflect.deleteProperty(require.cache, file);
  const { parseSipMessage } = require(file) as { parseSipMessage: Parse };
  require.cache[file] = loaded;
  return parseSipMessage;
})();

const line = fc.oneof(
  fc.constantFrom(
    'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1',
    'v: SIP/2.0/TCP 192.0.2.2',
    'From: "Ünal, A" <sip:a@example.com>;tag=1',
    't:<sip:b@example.com>',
    'Call-ID : abc',
    'CSeq:\t 1 INVITE',
    'Subject: one\r\n two',
    'Subject:\r\n folded at once',
    'Subject:',
    'X-Thing: 1',
    'x-thing: 2',
    'P-Asserted-Identity: <sip:a@example.com>',
    'P-Other: 1',
    'Content-Type: application/sdp',
    'Content-Type: multipart/mixed; boundary="b"',
    'Content-Length: 5',
    'l: 0',
    'Content-Length: -1',
    'no colon here',
    'two words: 1',
    'Name: \u00a0no-break',
    'Näme: 1',
    ' starts with a blank: 1',
    '',
  ),
  fc.string({ maxLength: 12, unit: 'binary' }),
);

const startLine = fc.oneof(
  fc.constantFrom(
    'INVITE sip:b@example.com SIP/2.0',
    'OPTIONS sip:example.com  SIP/2.0',
    'MESSAGE sip:b@example.com SIP / 2.0',
    'a-b.c sip:x SIP/2.0 and more',
    'SIP/2.0 200 OK',
    'SIP/2.0 486 Busy  Here ',
    'SIP/2.0 200 ',
    'SIP/2.0  180 Ringing',
    'SIP/2.0 603 Dé\u2028cline',
    'neither',
  ),
  fc.string({ maxLength: 20, unit: 'binary' }),
);

const text = fc
  .record({
    startLine,
    lines: fc.array(line, { maxLength: 8 }),
    end: fc.constantFrom('', '\r\n', '\r\n\r\n', '\r\n\r\nhello', '\r\n\r\na\r\n\r\nb--b\r\nc'),
  })
  .map((parts) => [parts.startLine, ...parts.lines].join('\r\n') + parts.end);

describe("drachtio-srf's parser, made quick", () => {
  it('gives what the original gives, also for what is no SIP', () => {
    const quick = quickParser(original, parser.getHeaderName);
    fc.assert(
      fc.property(text, (written) => {
        assert.deepEqual(quick(written, true), original(written, true));
      }),
      { seed: 1, numRuns: 5000 },
    );
  });

  it('reads ordinary messages without the original', () => {
    const quick = quickParser(() => assert.fail('asked the original'), parser.getHeaderName);
    const written = 'SIP/2.0 200 OK\r\nl: 5\r\nc: text/plain\r\nSubject: a\r\n b\r\n\r\nhello';
    assert.deepEqual(quick(written, true), original(written, true));
  });

  it('finds headers under every name that drachtio-srf knows them by', () => {
    speedUpSrf();
    speedUpSrf();
    const message = new SipMessage(
      'INVITE sip:b@example.com SIP/2.0\r\ni: 1\r\nX-Thing: 2\r\nSUBJECT: 3\r\nP-Other: 4\r\n\r\n',
    );
    const names = [
      'Call-ID',
      'call-id',
      'i',
      'X-Thing',
      'x-thing',
      'subject',
      's',
      'p-other',
      'To',
    ];
    assert.deepEqual(
      names.map((name) => message.get(name)),
      ['1', '1', '1', '2', '2', '3', '3', '4', undefined],
    );
    assert.equal(message.has('Subject'), true);
    assert.equal(message.has('toString'), false);
  });
});
