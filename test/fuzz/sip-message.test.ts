import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { ParseError } from '../../core/errors.ts';
import { isKeepAlive, SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { StreamFramer, type StreamFrame } from '../../core/sip/stream-framer.ts';
import { serverTransactionKey } from '../../core/sip/transaction/key.ts';
import { validateRequest, validateResponse } from '../../core/sip/validate.ts';
import { checkProperty } from '../support/fuzz.ts';

const TORTURE = path.resolve(import.meta.dirname, '../torture');
const SEEDS: readonly Buffer[] = ['rfc4475', 'rfc5118'].flatMap((folder) =>
  readdirSync(path.join(TORTURE, folder))
    .sort()
    .map((file) => readFileSync(path.join(TORTURE, folder, file))),
);

/** What is worth putting anywhere. */
const MORSELS = [
  ...[
    '\r\n',
    '\r',
    '\n',
    '\0',
    ' ',
    '\t',
    ':',
    ';',
    ',',
    '"',
    '<',
    '>',
    '\\',
    '@',
    '%',
    '=',
    '?',
    '[',
    ']',
    '*',
    '/',
  ],
  ...[
    '\r\n ',
    '\r\n\r\n',
    'Via: ',
    'l: 5\r\n',
    'Content-Length: 0\r\n',
    'SIP/2.0',
    'sip:',
    'tag=',
    '\u00fc',
    '\u{1f3a7}',
  ],
  ...[
    '99999999999999999999',
    '-1',
    '"unclosed',
    '<sip:',
    'To: *\r\n',
    'Contact: *\r\n',
    'tel:+1',
    '::',
    '%00',
    '%',
  ],
];

type Edit =
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'remove'; readonly at: number; readonly count: number }
  | { readonly kind: 'flip'; readonly at: number; readonly mask: number }
  | { readonly kind: 'repeat'; readonly at: number; readonly count: number };

/** Positions are fractions of the length, so that they stay meaningful when a case is made smaller. */
const position = fc.double({ min: 0, max: 1, noNaN: true });
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({
    kind: fc.constant('insert' as const),
    at: position,
    bytes: fc.oneof(
      fc.constantFrom(...MORSELS).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
    ),
  }),
  fc.record({
    kind: fc.constant('remove' as const),
    at: position,
    count: fc.integer({ min: 1, max: 40 }),
  }),
  fc.record({
    kind: fc.constant('flip' as const),
    at: position,
    mask: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({
    kind: fc.constant('repeat' as const),
    at: position,
    count: fc.integer({ min: 1, max: 60 }),
  }),
);

function applyEdit(bytes: Buffer, change: Edit): Buffer {
  const at = Math.floor(change.at * bytes.length);
  const before = bytes.subarray(0, at);
  const after = bytes.subarray(at);
  switch (change.kind) {
    case 'insert':
      return Buffer.concat([before, change.bytes, after]);
    case 'remove':
      return Buffer.concat([before, after.subarray(change.count)]);
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy.writeUInt8(copy.readUInt8(at) ^ change.mask, at);
      return copy;
    }
    case 'repeat':
      return Buffer.concat([before, after.subarray(0, change.count), after]);
  }
}

/** A torture message with a few things done to it. */
const spoiled = fc
  .tuple(fc.constantFrom(...SEEDS), fc.array(edit, { maxLength: 6 }))
  .map(([seed, edits]) => edits.reduce(applyEdit, seed));
const anything = fc.oneof(
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.constantFrom(...MORSELS), { maxLength: 60 })
      .map((parts) => Buffer.from(parts.join(''))),
  },
  { weight: 4, arbitrary: spoiled },
);

const TYPED: readonly ((message: SipMessage) => unknown)[] = [
  (message) => message.topVia().withReceived('192.0.2.1', 1).toString(),
  (message) => message.from().uri,
  (message) => message.to().uri,
  (message) => message.callId,
  (message) => message.cseq,
  (message) => message.maxForwards,
  (message) => message.contentLength,
  (message) => message.contacts.map(({ uri }) => uri),
  (message) => message.recordRoutes.map(({ uri }) => uri),
  (message) => message.fromTag,
  (message) => message.toTag,
];
const TYPED_IN_REQUESTS: typeof TYPED = [
  (message) => message.uri,
  (message) => message.routes.map(({ uri }) => uri),
  (message) => message.expires,
  (message) => serverTransactionKey(message),
];

/** The message, or undefined when it is refused as it should be. */
function parse(bytes: Buffer): SipMessage | undefined {
  try {
    return SipMessage.parse(bytes);
  } catch (error) {
    assert(error instanceof ParseError);
    return undefined;
  }
}

function onlyParseError(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    assert(error instanceof ParseError, String(error));
  }
}

describe('SIP parser, any bytes', () => {
  it('throws nothing but ParseError, from whatever is asked', () => {
    checkProperty(
      fc.property(anything, (bytes) => {
        isKeepAlive(bytes);
        const message = parse(bytes);
        if (message === undefined) return;
        for (const read of [...TYPED, ...TYPED_IN_REQUESTS]) onlyParseError(() => read(message));
        onlyParseError(() => message.vias);
        for (const [name, value] of message.headerEntries()) {
          assert.doesNotMatch(value, /[\r\n]/);
          assert(message.has(name));
          message.headerValues(name);
        }
        assert(message.body.length <= bytes.length);
      }),
      1500,
    );
  });

  it('throws nothing at all from a message that passed validation', () => {
    checkProperty(
      fc.property(anything, (bytes) => {
        const message = parse(bytes);
        if (message === undefined) return;
        const problem = message.isRequest ? validateRequest(message) : validateResponse(message);
        if (problem !== undefined) {
          assert(problem.status >= 400 && problem.reasonPhrase !== '');
          return;
        }
        for (const read of TYPED) read(message);
        if (message.isRequest) for (const read of TYPED_IN_REQUESTS) read(message);
      }),
      1500,
    );
  });

  it('answers every request that can be parsed with a message that can be parsed', () => {
    checkProperty(
      fc.property(anything, fc.integer({ min: 100, max: 699 }), (bytes, status) => {
        const message = parse(bytes);
        if (message?.isRequest !== true) return;
        const source = { address: '2001:db8::1', port: 5060, isRportForced: true };
        const answer = OutgoingMessage.responseTo(message, status, {
          toTag: 'x',
          source,
        }).serialise();
        const response = SipMessage.parse(answer);
        assert.equal(response.defect, undefined);
        assert.equal(response.statusCode, status);
        assert.equal(response.body.length, 0);
      }),
      700,
    );
  });

  it('writes what it read so that it reads the same', () => {
    checkProperty(
      fc.property(anything, (bytes) => {
        const message = parse(bytes);
        // Where the start line itself is malformed, writing it again changes it.
        if (message === undefined || message.defect !== undefined) return;
        const once = OutgoingMessage.from(message).serialise();
        const again = SipMessage.parse(once);
        assert.equal(again.defect, undefined);
        assert(OutgoingMessage.from(again).serialise().equals(once));
        assert.equal(again.method, message.method);
        assert.equal(again.requestUri, message.requestUri);
        assert.equal(again.statusCode, message.statusCode);
        assert(again.body.equals(message.body));
        for (const name of ['To', 'Contact', 'X-A']) {
          assert.deepEqual(again.headerFields(name), message.headerFields(name));
        }
      }),
      1000,
    );
  });

  it('reads every header that it wrote', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9\-.!%*_+`'~]{1,20}$/);
    const value = fc.string({ unit: 'grapheme', maxLength: 40 });
    checkProperty(
      fc.property(
        fc.array(fc.tuple(name, value), { maxLength: 20 }),
        fc.uint8Array(),
        (headers, body) => {
          const message = OutgoingMessage.request('MESSAGE', 'sip:a@b').setBody(Buffer.from(body));
          for (const [key, text] of headers) message.add(key, text);
          const read = SipMessage.parse(message.serialise());
          assert.equal(read.defect, undefined);
          assert(read.body.equals(Buffer.from(body)));
          for (const [key] of headers) {
            if (/^(l|content-length)$/i.test(key)) continue;
            assert.deepEqual(
              read.headerFields(key),
              message
                .headerFields(key)
                .map((text) => Buffer.from(text.replace(/^[ \t]+|[ \t]+$/g, '')).toString()),
            );
          }
        },
      ),
      300,
    );
  });
});

function framesOf(pieces: readonly Buffer[]): StreamFrame[] {
  const framer = new StreamFramer({
    maxHeaderBytes: 4000,
    maxHeaderCount: 100,
    maxBodyBytes: 2000,
  });
  const found: StreamFrame[] = [];
  for (const piece of pieces) {
    framer.push(piece);
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) found.push(frame);
  }
  return found;
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((fraction) => Math.floor(fraction * bytes.length)), bytes.length];
  at.sort((a, b) => a - b);
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

/** Without pongs, which a cut ping makes; of an error only its code, since it may be seen earlier. */
function essence(frames: readonly StreamFrame[]): string[] {
  return frames
    .filter(({ kind }) => kind !== 'pong')
    .map((frame) => {
      if (frame.kind === 'message') return frame.bytes.toString('latin1');
      return frame.kind === 'error' ? frame.error.code : frame.kind;
    });
}

describe('SIP stream cutting, any bytes', () => {
  const element = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...SEEDS) },
    { weight: 2, arbitrary: fc.constantFrom('\r\n\r\n', '\r\n').map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: anything },
  );

  it('gives the same wherever the pieces are cut', () => {
    checkProperty(
      fc.property(
        fc.array(element, { maxLength: 5 }),
        fc.array(position, { maxLength: 12 }),
        (parts, cuts) => {
          const stream = Buffer.concat(parts);
          assert.deepEqual(essence(framesOf(cut(stream, cuts))), essence(framesOf([stream])));
        },
      ),
      1000,
    );
  });

  it('finds every message and ping that was put in, at any cut', () => {
    const good = fc
      .record({ subject: fc.string({ maxLength: 20 }), body: fc.uint8Array({ maxLength: 60 }) })
      .map(({ subject, body }) =>
        OutgoingMessage.request('MESSAGE', 'sip:a@b')
          .add('Subject', subject)
          .setBody(Buffer.from(body))
          .serialise(),
      );
    const ping = fc.constant(Buffer.from('\r\n\r\n'));
    checkProperty(
      fc.property(
        fc.array(fc.oneof(good, ping), { maxLength: 8 }),
        fc.array(position, { maxLength: 20 }),
        (parts, cuts) => {
          const expected = parts.map((part) =>
            part.length === 4 ? 'ping' : part.toString('latin1'),
          );
          assert.deepEqual(essence(framesOf(cut(Buffer.concat(parts), cuts))), expected);
        },
      ),
      700,
    );
  });

  it('gives nothing more after an error', () => {
    checkProperty(
      fc.property(fc.array(anything, { maxLength: 6 }), (parts) => {
        const frames = framesOf(parts);
        const at = frames.findIndex(({ kind }) => kind === 'error');
        assert(at < 0 || at === frames.length - 1);
      }),
    );
  });
});
