import assert from 'node:assert/strict';
import { deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { ConfigError } from '../../../../core/errors.ts';
import {
  aorOf,
  readableUser,
  roomName,
  roomUri,
  targetUri,
} from '../../../../softphone/ua/address.ts';
import { endFromReason, endFromStatus } from '../../../../softphone/ua/call-end.ts';
import { parseCpim } from '../../../../softphone/ua/cpim.ts';
import { readContent, withoutSenderPrefix } from '../../../../softphone/ua/texts.ts';

const TEXT = 'Grüße, 日本 and 🎉';

const read = (contentType: string, body: Buffer, contentEncoding?: string) =>
  readContent({ contentType, contentEncoding, body });

const plain = (text: string) => ({
  kind: 'text',
  content: { text, fromName: undefined, fromUri: undefined },
});

describe('texts that come (RFC 3428)', () => {
  it('MUST read UTF-8, which is also meant when nothing is said', () => {
    for (const type of [
      'text/plain',
      'text/plain;charset=UTF-8',
      'Text/Plain; charset="utf-8"',
      '',
    ]) {
      assert.deepEqual(read(type, Buffer.from(TEXT)), plain(TEXT));
    }
  });

  it('reads other character sets, and takes an unknown one for UTF-8', () => {
    assert.deepEqual(read('text/plain;charset=iso-8859-1', Buffer.from([0xe6, 0xf8])), plain('æø'));
    assert.deepEqual(read('text/plain;charset=klingon', Buffer.from('a')), plain('a'));
  });

  it('unpacks deflate and gzip, but no bombs', () => {
    assert.deepEqual(read('text/plain', deflateSync(TEXT), 'deflate'), plain(TEXT));
    assert.deepEqual(read('text/plain', gzipSync(TEXT), 'gzip'), plain(TEXT));
    const bomb = deflateSync(Buffer.alloc(1 << 24));
    for (const [body, encoding] of [
      [bomb, 'deflate'],
      [Buffer.from('x'), 'gzip'],
      [Buffer.from('x'), 'br'],
    ] as const) {
      assert.deepEqual(read('text/plain', body, encoding), { kind: 'unsupported' });
    }
  });

  it('MUST NOT show receipts and typing notices as texts', () => {
    const imdn = deflateSync('<imdn/>');
    assert.deepEqual(read('message/imdn+xml', imdn, 'deflate'), { kind: 'silent' });
    assert.deepEqual(read('application/im-iscomposing+xml', Buffer.from('<a/>')), {
      kind: 'silent',
    });
  });

  it('MUST refuse what it cannot show', () => {
    assert.deepEqual(read('image/png', Buffer.from([1])), { kind: 'unsupported' });
    assert.deepEqual(read('message/cpim', Buffer.from('nothing')), { kind: 'unsupported' });
  });

  it('takes the true sender from CPIM (RFC 3862)', () => {
    const body = `From: "Anna \\"A\\" Berg" <sip:anna@x>\r\nTo: <sip:%23lobby@x>\r\nDateTime: 2026-11-20T10:00:00Z\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${TEXT}\r\n\r\nend`;
    assert.deepEqual(read('message/cpim', Buffer.from(body)), {
      kind: 'text',
      content: { text: `${TEXT}\r\n\r\nend`, fromName: 'Anna "A" Berg', fromUri: 'sip:anna@x' },
    });
    assert.equal(parseCpim(Buffer.from('From: Bob <sip:b@x>\n\n\n\nhi'))?.text, 'hi');
    assert.equal(parseCpim(Buffer.from('From: <sip:b@x>\n\nA: b\n\nhi'))?.fromName, undefined);
  });

  it('MUST NOT break on any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom('text/plain', 'message/cpim', 'text/plain;charset=utf-16', ';;'),
        fc.constantFrom(undefined, 'deflate', 'gzip'),
        (bytes, type, encoding) => {
          read(type, Buffer.from(bytes), encoding);
        },
      ),
      { seed: 3428, numRuns: 1000 },
    );
  });

  it('takes the name off that a room puts in front', () => {
    assert.equal(withoutSenderPrefix('Anna: hello', 'Anna'), 'hello');
    assert.equal(withoutSenderPrefix('Anna hello', 'Anna'), 'Anna hello');
  });
});

describe('what a person types as an address', () => {
  for (const [typed, uri] of [
    ['bob', 'sip:bob@lab.test'],
    ['bjørn', 'sip:bj%C3%B8rn@lab.test'],
    ['#turbo', 'sip:%23turbo@lab.test'],
    ['9000', 'sip:9000@lab.test'],
    ['bob@example.com', 'sip:bob@example.com'],
    ['<sip:bob@example.com;transport=tcp>', 'sip:bob@example.com;transport=tcp'],
    [' bob ', 'sip:bob@lab.test'],
  ] as const) {
    it(`${typed} is ${uri}`, () => {
      assert.equal(targetUri(typed, 'lab.test'), uri);
    });
  }

  for (const typed of ['', ' ', 'two words', 'a"b', 'sip:', 'bob@', 'sip:b@[::1', 'bob@a b']) {
    it(`MUST refuse ${JSON.stringify(typed)}`, () => {
      assert.throws(() => targetUri(typed, 'lab.test'), ConfigError);
    });
  }

  it('knows rooms by all their spellings', () => {
    for (const spelling of [
      'lobby',
      '#lobby',
      'LOBBY',
      'sip:%23lobby@lab.test',
      'sip:lobby@lab.test',
    ]) {
      assert.equal(roomName(spelling), 'lobby');
    }
    assert.equal(roomUri('lobby', 'lab.test'), 'sip:%23lobby@lab.test');
    assert.equal(roomUri('#lobby', 'lab.test'), 'sip:%23lobby@lab.test');
    assert.equal(roomUri('sip:meet@conf.test', 'lab.test'), 'sip:meet@conf.test');
  });

  it('shows the user of a URI, whatever the nickname', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 32, unit: 'grapheme' }), (nickname) => {
        assert.equal(readableUser(aorOf(nickname, 'lab.test')), nickname);
      }),
      { seed: 3261, numRuns: 300 },
    );
    assert.equal(readableUser('sip:lab.test'), 'lab.test');
    assert.equal(readableUser('not a uri'), 'not a uri');
  });
});

describe('why a call ended', () => {
  for (const [statusCode, kind] of [
    [486, 'busy'],
    [600, 'busy'],
    [603, 'declined'],
    [607, 'declined'],
    [404, 'unknown'],
    [480, 'unavailable'],
    [408, 'noAnswer'],
    [487, 'cancelled'],
    [488, 'refused'],
    [499, 'refused'],
  ] as const) {
    it(`${statusCode} means ${kind}`, () => {
      const end = endFromStatus(statusCode, 'Odd');
      assert.equal(end.kind, kind);
      assert.equal(end.statusCode, statusCode);
      assert.equal(end.text, statusCode === 499 ? 'Odd' : end.text);
    });
  }

  it('takes the words of a Reason header (RFC 3326)', () => {
    const end = endFromReason('hungUp', 'Q.850;cause=16, SIP;cause=503;text="Going, for now"');
    assert.deepEqual(end, { kind: 'hungUp', byUs: false, statusCode: 503, text: 'Going, for now' });
  });

  it('tells a call that somebody else has answered from one that was given up', () => {
    assert.equal(
      endFromReason('cancelled', 'SIP;cause=200;text="Call completed elsewhere"').kind,
      'elsewhere',
    );
    assert.equal(endFromReason('cancelled', undefined).kind, 'cancelled');
    assert.equal(endFromReason('cancelled', ';;;broken"').kind, 'cancelled');
  });
});
