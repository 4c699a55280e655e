import assert from 'node:assert/strict';
import type { Clock } from '../../../../softphone/audio/device.ts';
import { createNullDevice } from '../../../../softphone/audio/null-device.ts';
import { startPacer } from '../../../../softphone/audio/pacer.ts';

/** Time that passes when told to; timers fire late by `latenessMs`. */
class ManualClock implements Clock {
  latenessMs = 0;
  #nowMs = 1000;
  readonly #timers: { atMs: number; callback: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    const timer = { atMs: this.#nowMs + delayMs + this.latenessMs, callback };
    this.#timers.push(timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  get timers(): number {
    return this.#timers.length;
  }

  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers
        .filter(({ atMs }) => atMs <= endMs)
        .sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** The process is stopped for a while: no timer runs meanwhile. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }
}

describe('the 20 ms beat', () => {
  it('MUST keep its rate over an hour although every timer is late', () => {
    const clock = new ManualClock();
    clock.latenessMs = 3.7;
    let beats = 0;
    const stop = startPacer(clock, 20, () => (beats += 1));
    clock.advance(3_600_000);
    stop();
    assert.ok(Math.abs(beats - 180_000) <= 1, `${beats} beats`);
  });

  it('MUST make up for a short stall at once', () => {
    const clock = new ManualClock();
    let beats = 0;
    const stop = startPacer(clock, 20, () => (beats += 1));
    clock.advance(100);
    clock.stall(300);
    clock.advance(20);
    stop();
    assert.equal(beats, 21);
  });

  it('MUST NOT make up for a long one, and go on with its rhythm', () => {
    const clock = new ManualClock();
    let beats = 0;
    const stop = startPacer(clock, 20, () => (beats += 1));
    clock.stall(60_000);
    clock.advance(0);
    assert.equal(beats, 25);
    clock.advance(1000);
    stop();
    assert.equal(beats, 75);
  });

  it('MUST leave no timer behind, also when it is stopped from within', () => {
    const clock = new ManualClock();
    let beats = 0;
    const stop = startPacer(clock, 20, () => {
      beats += 1;
      if (beats === 3) stop();
    });
    clock.advance(1000);
    assert.equal(beats, 3);
    assert.equal(clock.timers, 0);
  });

  it('paces a machine without sound, with silence from its microphone', async () => {
    const clock = new ManualClock();
    const device = createNullDevice(clock);
    let frames = 0;
    device.start((captured) => {
      assert.ok(captured.length === 960 && captured.every((sample) => sample === 0));
      frames += 1;
      captured.fill(1);
      return captured;
    });
    clock.advance(200);
    await device.stop();
    clock.advance(200);
    assert.equal(frames, 10);
    assert.equal(clock.timers, 0);
  });
});
