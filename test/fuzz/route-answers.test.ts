import assert from 'node:assert/strict';
import fc from 'fast-check';
import { EngineLab } from '../support/engine-lab.ts';
import { checkProperty } from '../support/fuzz.ts';
import { requestFrom, SDP } from '../support/sip-texts.ts';

/** Names and values that mean something, among others that do not. */
const word = fc.oneof(
  fc.constantFrom('reject', 'redirect', 'proxy', 'route', 'blue', '5s', '1ms', '', '486 Busy'),
  fc.constantFrom('sip:bob@127.0.0.1:5091', 'sip:bob@127.0.0.1:5060', '<sip:a@b>;q=1', 'tel:+1'),
  fc.constantFrom('127.0.0.1:3001', 'tls://h', 'h:1;transport=tls', 'sip:a@b\r\nX-Evil: 1'),
  fc.string({ unit: 'binary' }),
);
const value = fc.oneof(
  word,
  fc.array(word, { maxLength: 40 }),
  fc.integer({ min: 290, max: 710 }),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
);
const action = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('reject', 'redirect', 'proxy', 'route') },
  { weight: 1, arbitrary: word },
);
const data = fc.record(
  Object.fromEntries(
    ['status', 'reason', 'contact', 'destination', 'recordRoute', 'simultaneous', 'uri', 'tag']
      .concat('followRedirects', 'provisionalTimeout', 'finalTimeout')
      .map((name) => [name, value]),
  ),
  { requiredKeys: [] },
);
const answer = fc.oneof(
  { weight: 6, arbitrary: fc.record({ action, data }).map((all) => JSON.stringify(all)) },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
);
const request = fc.record({
  method: fc.constantFrom('INVITE', 'MESSAGE', 'REGISTER', 'SUBSCRIBE', 'STRANGE'),
  uri: fc.constantFrom('sip:a@b.test;x=y;method=Z', 'sips:b.test', 'sip:%23r@127.0.0.1:5060'),
  from: fc.constantFrom('<sip:a@b>', 'sip:%@', 'tel:+1', '"\u{1F600}" <sip:\u{1F600}@b>'),
});

describe('fuzz: what web servers say about requests', () => {
  it('ends every request, puts nothing into a header that is none, and leaves nothing behind', () => {
    checkProperty(
      fc.property(fc.array(fc.tuple(request, answer), { minLength: 1, maxLength: 6 }), (steps) => {
        const lab = new EngineLab({ requestHandlers: [{ uri: 'http://127.0.0.1:3000' }] });
        const phone = lab.udpPeer(5090);
        const bob = lab.udpPeer(5091);
        for (const [index, [fields, words]] of steps.entries()) {
          const { method, ...others } = fields;
          const callId = `call-${index}`;
          phone.send(requestFrom(phone, method, { ...others, callId, fromTag: callId, body: SDP }));
          if (lab.questions.length > 0) lab.answerQuestion(words);
          while (lab.dials.length > 0) lab.refuseDial();
          const isOver = (): boolean =>
            phone.received.some((seen) => seen.callId === callId && seen.statusCode >= 200);
          if (!isOver()) {
            for (const copy of bob.received.splice(0)) bob.respond(copy, '404 Not Found');
          }
          if (!isOver()) lab.advance(200_000);
          // What nobody can answer has no answer; everything else has exactly one.
          const wasHeard = phone.received.some((seen) => seen.callId === callId);
          assert.ok(isOver() || !wasHeard, `${method} was not ended`);
        }
        for (const { message } of lab.sent) assert.ok(!message.has('X-Evil'));
        assert.equal(lab.engine.stats().applications, 0);
        lab.assertIdle();
      }),
      400,
    );
  });
});
