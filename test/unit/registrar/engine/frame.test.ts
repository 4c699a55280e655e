import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError } from '../../../../core/errors.ts';
import {
  encodeFrame,
  FrameReader,
  splitPayload,
} from '../../../../registrar/engine/control/frame.ts';

function drain(reader: FrameReader): string[] {
  const payloads: string[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next()) {
    payloads.push(next.toString('utf8'));
  }
  return payloads;
}

describe('control protocol framing', () => {
  it('counts bytes, not characters', () => {
    assert.equal(encodeFrame('a|héllo').toString('utf8'), '8#a|héllo');
    const withSip = encodeFrame('ü', Buffer.from('é'));
    assert.equal(withSip.toString('utf8'), '6#ü\r\né');
  });

  it('gives back what was written, however the stream is cut', () => {
    const message = fc.tuple(fc.string({ minLength: 1 }), fc.uint8Array({ maxLength: 300 }));
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (messages, cuts) => {
          const frames = messages.map(([leader, sip]) =>
            encodeFrame(leader.replaceAll(/[\r\n]/g, ''), Buffer.from(sip)),
          );
          const stream = Buffer.concat(frames);
          const reader = new FrameReader();
          const got: Buffer[] = [];
          for (let at = 0, turn = 0; at < stream.length; turn += 1) {
            const length = cuts[turn % cuts.length] ?? 1;
            reader.push(stream.subarray(at, at + length));
            for (let next = reader.next(); next; next = reader.next()) got.push(next);
            at += length;
          }
          const wanted = frames.map((frame) => frame.subarray(frame.indexOf('#') + 1));
          assert.deepEqual(got, wanted);
        },
      ),
    );
  });

  it('takes an empty payload', () => {
    const reader = new FrameReader();
    reader.push(Buffer.from('0#3#abc'));
    assert.deepEqual(drain(reader), ['', 'abc']);
  });

  it('takes five digits and no more', () => {
    const reader = new FrameReader();
    reader.push(Buffer.from('00003#abc'));
    assert.deepEqual(drain(reader), ['abc']);
    assert.throws(() => {
      reader.push(Buffer.from('000003#abc'));
    }, ParseError);
  });

  it('refuses what is no length, also when it comes in pieces', () => {
    for (const text of ['#', 'x', ' 3#abc', '3 #abc', '-3#', '1a#']) {
      const reader = new FrameReader();
      assert.throws(() => {
        for (const byte of Buffer.from(text)) reader.push(Buffer.of(byte));
      }, ParseError);
    }
  });

  it('costs no more than its length when a payload comes byte by byte', () => {
    const reader = new FrameReader();
    const frame = encodeFrame('x'.repeat(90_000));
    for (const byte of frame) reader.push(Buffer.of(byte));
    assert.equal(drain(reader)[0]?.length, 90_000);
  });

  it('splits the leader from the SIP text at the first line end', () => {
    const { fields, sip } = splitPayload(Buffer.from('a|sip||\r\nBYE x SIP/2.0\r\n\r\n'));
    assert.deepEqual(fields, ['a', 'sip', '', '']);
    assert.equal(sip?.toString(), 'BYE x SIP/2.0\r\n\r\n');
    assert.equal(splitPayload(Buffer.from('a|ping')).sip, undefined);
  });
});
