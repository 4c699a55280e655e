import assert from 'node:assert/strict';
import { TalkerSelection } from '../../../../media-relay/room/talker-selection.ts';

type Speaker = { readonly name: string; levelDbov: number; lastSpeechMs: number };

const speaker = (name: string, levelDbov: number): Speaker => ({
  name,
  levelDbov,
  lastSpeechMs: 0,
});

/** Lets `speakers` speak for so many ticks. */
function speak(
  selection: TalkerSelection<Speaker>,
  speakers: readonly Speaker[],
  { fromMs, ticks }: { readonly fromMs: number; readonly ticks: number },
): number {
  let nowMs = fromMs;
  for (let tick = 0; tick < ticks; tick++, nowMs += 20) {
    for (const one of speakers) {
      one.lastSpeechMs = nowMs;
      selection.note(one);
    }
    selection.update(nowMs);
  }
  return nowMs;
}

const names = (selection: TalkerSelection<Speaker>): string[] =>
  [...selection.talkers].map(({ name }) => name).sort();

describe('who is heard', () => {
  it('is everybody who speaks while there are places', () => {
    const selection = new TalkerSelection<Speaker>(3);
    speak(selection, [speaker('a', -30), speaker('b', -60)], { fromMs: 0, ticks: 1 });
    assert.deepEqual(names(selection), ['a', 'b']);
  });

  it('are the loudest when there are more than places', () => {
    const selection = new TalkerSelection<Speaker>(2);
    const speakers = [speaker('a', -50), speaker('b', -20), speaker('c', -30)];
    speak(selection, speakers, { fromMs: 0, ticks: 1 });
    assert.deepEqual(names(selection), ['b', 'c']);
  });

  it('keeps a talker for half a second of pause and no longer', () => {
    const selection = new TalkerSelection<Speaker>(3);
    const end = speak(selection, [speaker('a', -30)], { fromMs: 0, ticks: 10 });
    selection.update(end + 460);
    assert.deepEqual(names(selection), ['a']);
    selection.update(end + 520);
    assert.deepEqual(names(selection), []);
  });

  it('gives a place to who is 3 dB louder at once, 2 dB after 100 ms, alike never', () => {
    for (const [lead, ticks] of [
      [4, 1],
      [2, 5],
      [0.5, Infinity],
    ] as const) {
      const selection = new TalkerSelection<Speaker>(1);
      const first = speaker('first', -30);
      const newcomer = speaker('newcomer', -30 + lead);
      let nowMs = speak(selection, [first], { fromMs: 0, ticks: 10 });
      let taken = Infinity;
      for (let tick = 1; tick <= 50 && taken === Infinity; tick++) {
        nowMs = speak(selection, [first, newcomer], { fromMs: nowMs, ticks: 1 });
        if (names(selection).includes('newcomer')) taken = tick;
      }
      assert.equal(taken, ticks, `${lead} dB`);
    }
  });

  it('gives the place of one who pauses to anybody who speaks', () => {
    const selection = new TalkerSelection<Speaker>(1);
    const nowMs = speak(selection, [speaker('loud', -10)], { fromMs: 0, ticks: 10 });
    speak(selection, [speaker('soft', -50)], { fromMs: nowMs, ticks: 10 });
    assert.deepEqual(names(selection), ['soft']);
  });

  it('forgets who was removed', () => {
    const selection = new TalkerSelection<Speaker>(1);
    const one = speaker('one', -10);
    const nowMs = speak(selection, [one], { fromMs: 0, ticks: 2 });
    selection.remove(one);
    selection.update(nowMs);
    assert.equal(selection.talkers.size, 0);
  });
});
