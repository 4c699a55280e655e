import assert from 'node:assert/strict';
import { StreamFramer, type StreamFrame } from '../../../../core/sip/stream-framer.ts';

const LIMITS = { maxHeaderBytes: 400, maxHeaderCount: 100, maxBodyBytes: 100 };

const FOLDED = Buffer.from(
  'MESSAGE sip:b@h SIP/2.0\r\nSubject: one\r\n two\r\nFrom: "Jürgen" <sip:j@h>\r\nContent-Length : 8\r\n\r\nGrüße\n',
);
const COMPACT = Buffer.from('OPTIONS sip:b@h SIP/2.0\r\nl:0\r\nCall-ID: 1\r\n\r\n');
const PING = Buffer.from('\r\n\r\n');

function frames(framer: StreamFramer): StreamFrame[] {
  const found: StreamFrame[] = [];
  for (let frame = framer.next(); frame !== undefined; frame = framer.next()) found.push(frame);
  return found;
}

function show(found: readonly StreamFrame[]): string[] {
  return found.map((frame) => {
    if (frame.kind === 'message') return frame.bytes.toString();
    return frame.kind === 'error' ? frame.error.code : frame.kind;
  });
}

function feed(pieces: readonly Buffer[]): string[] {
  const framer = new StreamFramer(LIMITS);
  const found: StreamFrame[] = [];
  for (const piece of pieces) {
    framer.push(piece);
    found.push(...frames(framer));
  }
  return show(found);
}

describe('SIP over streams (RFC 3261 §18.3, RFC 5626 §3.5.1)', () => {
  const stream = Buffer.concat([FOLDED, COMPACT, FOLDED]);
  const whole = [FOLDED.toString(), COMPACT.toString(), FOLDED.toString()];

  it('cuts several messages out of one piece', () => {
    assert.deepEqual(feed([stream]), whole);
  });

  it('MUST give the same messages wherever the stream is cut in two', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      assert.deepEqual(feed([stream.subarray(0, cut), stream.subarray(cut)]), whole, `at ${cut}`);
    }
  });

  it('MUST give the same messages byte by byte', () => {
    assert.deepEqual(feed([...stream].map((byte) => Buffer.from([byte]))), whole);
  });

  it('does not change messages it gave away when more bytes come', () => {
    const framer = new StreamFramer(LIMITS);
    const kept: Buffer[] = [];
    for (const byte of Buffer.concat([stream, stream, stream])) {
      framer.push(Buffer.from([byte]));
      for (const frame of frames(framer)) if (frame.kind === 'message') kept.push(frame.bytes);
    }
    assert.deepEqual(kept.map(String), [...whole, ...whole, ...whole]);
  });

  it('reports a double CRLF as ping, a single one as pong', () => {
    assert.deepEqual(feed([PING]), ['ping']);
    assert.deepEqual(feed([Buffer.from('\r\n')]), ['pong']);
    assert.deepEqual(feed([PING, COMPACT, PING, PING]), [
      'ping',
      COMPACT.toString(),
      'ping',
      'ping',
    ]);
    assert.deepEqual(feed([Buffer.concat([PING, PING, COMPACT])]), [
      'ping',
      'ping',
      COMPACT.toString(),
    ]);
    assert.deepEqual(feed([Buffer.from('\r\n'), COMPACT]), ['pong', COMPACT.toString()]);
    assert.deepEqual(feed([Buffer.concat([Buffer.from('\r\n'), COMPACT])]), [
      'pong',
      COMPACT.toString(),
    ]);
  });

  for (const cuts of [[1], [2], [3], [1, 2], [1, 2, 3]]) {
    it(`reports a ping that is cut at ${cuts.join(' and ')} as ping`, () => {
      const pieces = [0, ...cuts].map((from, i) => PING.subarray(from, cuts[i] ?? 4));
      const found = feed([...pieces, COMPACT]);
      assert.deepEqual(
        found.filter((frame) => frame !== 'pong'),
        ['ping', COMPACT.toString()],
      );
    });
  }

  it('does not make a ping of two pongs with a message between', () => {
    const lineEnd = Buffer.from('\r\n');
    assert.deepEqual(feed([lineEnd, COMPACT, lineEnd]), ['pong', COMPACT.toString(), 'pong']);
  });

  it('MUST have a Content-Length (§18.3)', () => {
    assert.deepEqual(feed([Buffer.from('OPTIONS sip:b@h SIP/2.0\r\nCall-ID: 1\r\n\r\n')]), [
      'sip.contentlength.missing',
    ]);
  });

  for (const value of ['-1', '1x', '', '1, 1', '0x10', '1\r\nl: 2']) {
    it(`refuses Content-Length ${JSON.stringify(value)}`, () => {
      const head = `OPTIONS sip:b@h SIP/2.0\r\nContent-Length: ${value}\r\n\r\n`;
      assert.deepEqual(feed([Buffer.from(head)]), ['sip.contentlength.malformed']);
    });
  }

  it('is not misled by headers that begin like Content-Length, or by the body', () => {
    const text =
      'OPTIONS sip:b@h SIP/2.0\r\nContent-Lengthy: 9\r\nContact: l: 3\r\nlo: 3\r\nSubject: x\r\n l: 4\r\nl:\r\n 6\r\n\r\nl: 3\r\n';
    assert.deepEqual(feed([Buffer.from(text)]), [text]);
  });

  it('reports headers that are too long as soon as they are, once, and takes nothing more', () => {
    const framer = new StreamFramer(LIMITS);
    framer.push(Buffer.from('OPTIONS sip:b@h SIP/2.0\r\nVia: 1\r\n'));
    for (let i = 0; i < 40; i++) {
      framer.push(Buffer.from('X-A: 0123456789\r\n'));
      const found = frames(framer);
      if (found.length === 0) continue;
      assert.deepEqual(show(found), ['sip.limit.headerBytes']);
      assert(found[0]?.kind === 'error' && found[0].head.toString().startsWith('OPTIONS'));
      framer.push(COMPACT);
      assert.deepEqual(frames(framer), []);
      assert.equal(framer.isMidMessage, false);
      return;
    }
    assert.fail('no limit');
  });

  it('reports a body that is too long before it comes, with the headers to answer', () => {
    const head = 'MESSAGE sip:b@h SIP/2.0\r\nl: 101\r\n\r\n';
    const framer = new StreamFramer(LIMITS);
    framer.push(Buffer.from(head + 'x'));
    const [frame] = frames(framer);
    assert(frame?.kind === 'error');
    assert.equal(frame.error.code, 'sip.limit.bodyBytes');
    assert.equal(frame.head.toString(), head);
  });

  it('knows whether a message has begun and not ended', () => {
    const framer = new StreamFramer(LIMITS);
    assert.equal(framer.isMidMessage, false);
    framer.push(COMPACT.subarray(0, 10));
    assert.deepEqual(frames(framer), []);
    assert.equal(framer.isMidMessage, true);
    framer.push(COMPACT.subarray(10));
    assert.equal(frames(framer).length, 1);
    assert.equal(framer.isMidMessage, false);
  });

  it('takes a large message in single bytes in linear time', () => {
    const limits = { maxHeaderBytes: 200_000, maxHeaderCount: 100, maxBodyBytes: 200_000 };
    const head = Buffer.from(`A b SIP/2.0\r\nX: ${'y'.repeat(100_000)}\r\nl: 100000\r\n\r\n`);
    const bytes = Buffer.concat([head, Buffer.alloc(100_000, 'z')]);
    const framer = new StreamFramer(limits);
    let found = 0;
    for (let at = 0; at < bytes.length; at++) {
      framer.push(bytes.subarray(at, at + 1));
      if (framer.next() !== undefined) found++;
    }
    // Quadratic work would be 10^10 steps here and run into the time limit of the test.
    assert.equal(found, 1);
  });
});
