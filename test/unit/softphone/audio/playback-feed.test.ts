import assert from 'node:assert/strict';
import { FRAME_MS, FRAME_SAMPLES } from '../../../../softphone/audio/device.ts';
import { PlaybackFeed } from '../../../../softphone/audio/playback-feed.ts';

const PIECE_SAMPLES = FRAME_SAMPLES / 2;

/** A 200 Hz tone: sample `at` of a stream. */
const toneAt = (at: number): number =>
  Math.round(8000 * Math.sin((2 * Math.PI * 200 * at) / 48_000));

/** A card that takes pieces of 10 ms when it is told to, and a caller that brings frames of 20 ms. */
class Card {
  readonly played: number[] = [];
  nowMs = 1000;
  #pushed = 0;
  #done: (() => void) | undefined;
  readonly feed = new PlaybackFeed(
    (piece, done) => {
      this.played.push(...piece);
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

  /** 20 ms in which the card takes two pieces, and nothing comes. */
  pause(): void {
    for (let piece = 0; piece < 2; piece += 1) {
      this.nowMs += FRAME_MS / 2;
      this.take();
    }
  }

  /** 20 ms with a frame, 2 ms after the last piece was taken. */
  beat(): void {
    this.nowMs += 2;
    this.pushTone();
    this.nowMs -= 2;
    this.pause();
  }

  beats(count: number): void {
    for (let beat = 0; beat < count; beat += 1) this.beat();
  }

  /** The largest step between two samples that were played. */
  get largestStep(): number {
    return this.played.reduce(
      (most, sample, at) => Math.max(most, Math.abs(sample - (this.played[at - 1] ?? sample))),
      0,
    );
  }

  /** Milliseconds until a sample that comes now has been given to the card. */
  delayMs(): number {
    this.push(20_000);
    for (let pieces = 1; pieces <= 40; pieces += 1) {
      this.nowMs += FRAME_MS / 2;
      this.take();
      if (this.played.slice(-PIECE_SAMPLES).includes(20_000)) return (pieces * FRAME_MS) / 2;
    }
    return Infinity;
  }
}

/** The tone alone has steps of up to this much. */
const SMOOTH = 8000 * ((2 * Math.PI * 200) / 48_000) * 1.5;

describe('the feed of a sound card', () => {
  it('MUST write silence when nothing has come, so that the card never waits', () => {
    const card = new Card();
    card.feed.start();
    card.take();
    card.take();
    assert.deepEqual(card.played, new Array<number>(3 * PIECE_SAMPLES).fill(0));
    assert.equal(card.feed.filled, 3);
  });

  it('MUST give everything in order, one piece at a time', () => {
    const card = new Card();
    card.feed.start();
    card.push(1000);
    card.push(2000);
    assert.equal(card.played.length, PIECE_SAMPLES);
    for (let piece = 0; piece < 4; piece += 1) card.take();
    const ends = [1, 2, 3, 4].map((piece) => card.played[(piece + 1) * PIECE_SAMPLES - 1]);
    assert.deepEqual(ends, [1000, 1000, 2000, 2000]);
  });

  it('MUST drop what waited for a card that starts late: it is not late for ever', () => {
    const card = new Card();
    card.feed.start();
    for (let value = 1; value <= 50; value += 1) card.push(value * 100);
    for (let piece = 0; piece < 4; piece += 1) card.take();
    assert.equal(card.feed.dropped, 48);
    const ends = [1, 2, 3, 4].map((piece) => card.played[(piece + 1) * PIECE_SAMPLES - 1]);
    assert.deepEqual(ends, [4900, 4900, 5000, 5000]);
  });

  it('MUST NOT lose a sample of a burst that comes after a pause', () => {
    const card = new Card();
    card.feed.start();
    card.beats(10);
    for (let beat = 0; beat < 4; beat += 1) card.pause();
    for (let beat = 0; beat < 4; beat += 1) card.pushTone();
    card.beats(50);
    assert.equal(card.feed.dropped, 0);
    // One piece before anything had come, and the pause.
    assert.equal(card.feed.filled, 9);
  });

  it('fills a gap with what the voice did before, without a click', () => {
    const card = new Card();
    card.feed.start();
    card.beats(20);
    card.pause();
    assert.ok(Math.max(...card.played.slice(-PIECE_SAMPLES)) > 6000, 'the gap is silent');
    card.beats(20);
    assert.equal(card.feed.filled, 3);
    assert.ok(card.largestStep < SMOOTH, `a step of ${card.largestStep}`);
  });

  it('gives back a delay that has not been needed for ten seconds, without a click', () => {
    const card = new Card();
    card.feed.start();
    card.beats(20);
    const before = card.feed.filled;
    for (let frame = 0; frame < 3; frame += 1) card.pushTone();
    card.beats(100);
    assert.ok(delayAfter(card, 0) >= 70);
    const other = new Card();
    other.feed.start();
    other.beats(20);
    for (let frame = 0; frame < 3; frame += 1) other.pushTone();
    assert.ok(delayAfter(other, 1400) <= 30);
    assert.deepEqual([other.feed.filled, other.feed.dropped], [before, 0]);
    assert.ok(other.largestStep < SMOOTH, `a step of ${other.largestStep}`);
  });

  it('MUST keep the delay that bursts need', () => {
    const card = new Card();
    card.feed.start();
    const burst = (): void => {
      for (let frame = 0; frame < 4; frame += 1) card.pushTone();
      for (let frame = 0; frame < 4; frame += 1) card.pause();
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
    card.beats(20);
    assert.equal(card.feed.isStuck, false);
    card.nowMs += 2000;
    assert.equal(card.feed.isStuck, true);
    card.take();
    assert.equal(card.feed.isStuck, false);
  });

  it('says that a card loses sound, and takes it back when it no longer does', () => {
    const card = new Card();
    card.feed.start();
    card.beats(600);
    assert.equal(card.feed.hasGaps, false);
    for (let gap = 0; gap < 4; gap += 1) {
      card.nowMs += 50;
      card.beats(125);
    }
    card.beats(10);
    assert.equal(card.feed.hasGaps, true);
    card.beats(1000);
    assert.equal(card.feed.hasGaps, false);
  });
});

/** What is the delay when so many frames more have come, measured without a trace in `played`? */
function delayAfter(card: Card, beats: number): number {
  card.beats(beats);
  const { length } = card.played;
  const delayMs = card.delayMs();
  card.played.length = length;
  return delayMs;
}
