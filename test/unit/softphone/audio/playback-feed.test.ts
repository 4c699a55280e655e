import assert from 'node:assert/strict';
import { FRAME_MS, FRAME_SAMPLES } from '../../../../softphone/audio/device.ts';
import { PlaybackFeed } from '../../../../softphone/audio/playback-feed.ts';

/** A 200 Hz tone: sample `at` of a stream. */
const toneAt = (at: number): number =>
  Math.round(8000 * Math.sin((2 * Math.PI * 200 * at) / 48_000));

/** A card that takes a frame when it is told to, and a caller that brings one when it is told to. */
class Card {
  readonly played: number[] = [];
  readonly frames: number[] = [];
  nowMs = 1000;
  #pushed = 0;
  #done: (() => void) | undefined;
  readonly feed = new PlaybackFeed(
    (frame, done) => {
      this.played.push(...frame);
      this.frames.push(frame[0] ?? NaN);
      this.#done = done;
    },
    () => this.nowMs,
  );

  take(): void {
    const done = this.#done;
    assert.ok(done, 'the feed has nothing for the card');
    this.#done = undefined;
    done();
  }

  push(value: number): void {
    this.feed.push(new Int16Array(FRAME_SAMPLES).fill(value));
  }

  pushTone(): void {
    const from = this.#pushed * FRAME_SAMPLES;
    this.feed.push(Int16Array.from({ length: FRAME_SAMPLES }, (_, at) => toneAt(from + at)));
    this.#pushed += 1;
  }

  /** One beat of 20 ms: a frame comes `lateMs` after it began, and the card takes one at its end. */
  beat(lateMs = 0): void {
    this.nowMs += lateMs;
    this.pushTone();
    this.nowMs += FRAME_MS - lateMs;
    this.take();
  }

  /** The largest step between two samples that were played. */
  get largestStep(): number {
    return this.played.reduce(
      (most, sample, at) => Math.max(most, Math.abs(sample - (this.played[at - 1] ?? sample))),
      0,
    );
  }
}

/** The tone alone has steps of up to this much. */
const SMOOTH = 8000 * ((2 * Math.PI * 200) / 48_000) * 1.5;

/** Frames that the card takes until one that comes now is played. */
function framesUntilPlayed(card: Card): number {
  card.push(20_000);
  for (let frames = 1; frames <= 20; frames += 1) {
    card.nowMs += FRAME_MS;
    card.take();
    if (card.played.slice(-FRAME_SAMPLES).includes(20_000)) return frames;
  }
  return Infinity;
}

describe('the feed of a sound card', () => {
  it('MUST write silence when nothing has come, so that the card never waits', () => {
    const card = new Card();
    card.feed.start();
    card.take();
    card.take();
    assert.deepEqual(card.frames, [0, 0, 0]);
    assert.ok(card.played.every((sample) => sample === 0));
    assert.equal(card.feed.filled, 3);
  });

  it('MUST give frames in order, one at a time', () => {
    const card = new Card();
    card.feed.start();
    card.push(1000);
    card.push(2000);
    assert.deepEqual(card.frames, [0]);
    card.take();
    card.take();
    assert.deepEqual([card.played.at(2 * FRAME_SAMPLES - 1), card.played.at(-1)], [1000, 2000]);
  });

  it('MUST drop what waited for a card that starts late: it is not late for ever', () => {
    const card = new Card();
    card.feed.start();
    for (let value = 1; value <= 50; value += 1) card.push(value * 100);
    card.take();
    card.take();
    assert.equal(card.feed.dropped, 48);
    assert.deepEqual([card.played.at(2 * FRAME_SAMPLES - 1), card.played.at(-1)], [4900, 5000]);
  });

  it('MUST NOT lose a sample of a burst that comes after a pause', () => {
    const card = new Card();
    card.feed.start();
    for (let beat = 0; beat < 10; beat += 1) card.beat(2);
    for (let beat = 0; beat < 4; beat += 1) {
      card.nowMs += FRAME_MS;
      card.take();
    }
    for (let beat = 0; beat < 4; beat += 1) card.pushTone();
    for (let beat = 0; beat < 50; beat += 1) card.beat(2);
    assert.equal(card.feed.dropped, 0);
    // The first one was silence before anything came.
    assert.equal(card.feed.filled, 5);
  });

  it('fills a gap with what the voice did before, without a click', () => {
    const card = new Card();
    card.feed.start();
    for (let beat = 0; beat < 20; beat += 1) card.beat(2);
    card.nowMs += FRAME_MS;
    card.take();
    const made = card.played.slice(-FRAME_SAMPLES);
    assert.ok(Math.max(...made) > 6000, 'the gap is silent');
    for (let beat = 0; beat < 20; beat += 1) card.beat(2);
    assert.equal(card.feed.filled, 2);
    assert.ok(card.largestStep < SMOOTH, `a step of ${card.largestStep}`);
  });

  it('gives back a delay that has not been needed for ten seconds, without a click', () => {
    const card = new Card();
    card.feed.start();
    for (let beat = 0; beat < 20; beat += 1) card.beat(2);
    for (let frame = 0; frame < 3; frame += 1) card.pushTone();
    for (let beat = 0; beat < 100; beat += 1) card.beat(2);
    const before = card.played.length;
    const beats = 1500;
    for (let beat = 0; beat < beats; beat += 1) card.beat(2);
    assert.equal(card.played.length - before, beats * FRAME_SAMPLES);
    assert.deepEqual([card.feed.filled, card.feed.dropped], [1, 0]);
    assert.ok(card.largestStep < SMOOTH, `a step of ${card.largestStep}`);
    assert.equal(framesUntilPlayed(card), 1);
  });

  it('MUST keep the delay that bursts need', () => {
    const card = new Card();
    card.feed.start();
    const burst = (): void => {
      for (let frame = 0; frame < 4; frame += 1) card.pushTone();
      for (let frame = 0; frame < 4; frame += 1) {
        card.nowMs += FRAME_MS;
        card.take();
      }
    };
    burst();
    const atFirst = card.feed.filled;
    for (let count = 0; count < 400; count += 1) burst();
    assert.equal(card.feed.filled, atFirst);
    assert.equal(card.feed.dropped, 0);
  });

  it('says that a card is stuck, but not while it opens', () => {
    const card = new Card();
    card.feed.start();
    card.nowMs += 3000;
    assert.equal(card.feed.isStuck, false);
    for (let beat = 0; beat < 20; beat += 1) card.beat();
    assert.equal(card.feed.isStuck, false);
    card.nowMs += 2000;
    assert.equal(card.feed.isStuck, true);
    card.take();
    assert.equal(card.feed.isStuck, false);
  });
});
