import assert from 'node:assert/strict';
import { EarlyDialogs, isReliable } from '../../../../../registrar/app/calls/early-dialogs.ts';

type Response = { get(name: string): string | undefined; body: string | undefined };

function response(
  tag: string,
  body = '',
  headers: Readonly<Record<string, string>> = {},
): Response {
  const all: Readonly<Record<string, string>> = { To: `<sip:bob@x>;tag=${tag}`, ...headers };
  return { get: (name) => all[name], body };
}

const reliable = (rseq: string): Readonly<Record<string, string>> => ({
  Require: 'timer, 100rel',
  RSeq: rseq,
});

describe('early dialogs of one INVITE', () => {
  it('keep the first session description of each', () => {
    const early = new EarlyDialogs();
    early.note(response('a'));
    assert.equal(early.hasAnswer, false);
    early.note(response('b', 'first of b'));
    early.note(response('b', 'second of b'));
    early.note(response('a', 'of a'));
    assert.equal(early.count, 2);
    assert.equal(early.answerOf(response('a')), 'of a');
    assert.equal(early.answerOf(response('b')), 'first of b');
    assert.equal(early.answerOf(response('c')), undefined);
  });

  it('know the repetition of a reliable answer, each by its own numbers (RFC 3262 section 4)', () => {
    const early = new EarlyDialogs();
    const news = [
      ['a', '10'],
      ['a', '10'],
      ['b', '10'],
      ['a', '11'],
      ['a', '9'],
    ].map(([tag = '', rseq = '']) => early.note(response(tag, '', reliable(rseq))));
    assert.deepEqual(news, [true, false, true, true, false]);
  });

  it('are not kept without bound', () => {
    const early = new EarlyDialogs();
    for (let index = 0; index < 1000; index++) early.note(response(`tag${index}`, 'v=0'));
    assert.ok(early.count <= 32);
    assert.equal(early.note(response('more')), true);
  });

  it('are reliable with both headers only', () => {
    assert.equal(isReliable(response('a', '', reliable('1'))), true);
    assert.equal(isReliable(response('a', '', { Require: '100rel' })), false);
    assert.equal(isReliable(response('a', '', { RSeq: '1' })), false);
    assert.equal(isReliable(response('a', '', reliable('x'))), false);
  });
});
