import assert from 'node:assert/strict';
import { MixClock } from '../../../../media-relay/room/mix-clock.ts';

/** Time that only passes when a test says so; sleepers wake late by `latenessMs`. */
class FakeTime {
  nowMs = 100;
  latenessMs = 0;
  sleeping: { readonly atMs: number; readonly callback: () => void } | undefined;

  after(delayMs: number, callback: () => void): () => void {
    const sleeper = { atMs: this.nowMs + delayMs, callback };
    this.sleeping = sleeper;
    return () => {
      if (this.sleeping === sleeper) this.sleeping = undefined;
    };
  }

  run(untilMs: number): void {
    for (;;) {
      const sleeper = this.sleeping;
      if (sleeper === undefined || sleeper.atMs > untilMs) break;
      this.sleeping = undefined;
      this.nowMs = Math.max(this.nowMs, sleeper.atMs) + this.latenessMs;
      sleeper.callback();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }
}

class FakeRoom {
  readonly dues: number[] = [];
  missed = 0;

  tick(dueMs: number): void {
    this.dues.push(dueMs);
  }

  miss(ticks: number): void {
    this.missed += ticks;
  }
}

function clockOf(time: FakeTime): MixClock {
  return new MixClock({
    now: () => time.nowMs,
    sleep: { after: (delayMs, callback) => time.after(delayMs, callback) },
  });
}

describe('mix clock', () => {
  it('keeps one schedule without drift, however late it wakes up', () => {
    const time = new FakeTime();
    time.latenessMs = 1.7;
    const clock = clockOf(time);
    const room = new FakeRoom();
    clock.add(room);
    time.run(100 + 60_000);
    const [first = 0] = room.dues;
    assert.equal(room.dues.length, 3000);
    assert.ok(room.dues.every((due, index) => Math.abs(due - first - 20 * index) < 1e-6));
    assert.equal(clock.statistics.missedTicks, 0);
    assert.equal(clock.statistics.lateness[1], 3000);
  });

  it('spreads rooms over ten phases of 2 ms', () => {
    const time = new FakeTime();
    const clock = clockOf(time);
    const rooms = Array.from({ length: 20 }, () => new FakeRoom());
    for (const room of rooms) clock.add(room);
    time.run(1100);
    const phases = rooms.map(({ dues }) => ((dues[5] ?? 0) - 100) % 20);
    assert.deepEqual(
      [...new Set(phases)].sort((a, b) => a - b),
      [0, 2, 4, 6, 8, 10, 12, 14, 16, 18],
    );
  });

  it('makes up for two late ticks, and gives up more than that', () => {
    for (const [stallMs, expectedTicks, missed] of [
      [45, 3, 0],
      [205, 3, 8],
    ] as const) {
      const time = new FakeTime();
      const clock = clockOf(time);
      const room = new FakeRoom();
      clock.add(room);
      time.run(1000);
      const before = room.dues.length;
      const due = (room.dues.at(-1) ?? 0) + 20;
      time.nowMs = due + stallMs;
      time.run(time.nowMs);
      assert.equal(room.dues.length - before, expectedTicks);
      assert.equal(room.missed, missed);
      assert.equal(clock.statistics.missedTicks, missed);
      assert.equal(room.dues.at(-1), due + 20 * Math.floor(stallMs / 20));
      time.run(time.nowMs + 100);
      assert.equal((room.dues.at(-1) ?? 0) % 20, due % 20);
    }
  });

  it('lets others in between when there is always something due', () => {
    const time = new FakeTime();
    const clock = clockOf(time);
    let ticks = 0;
    clock.add({
      tick: () => {
        ticks += 1;
        time.nowMs += 30;
      },
      miss: () => undefined,
    });
    time.run(time.nowMs + 20);
    for (let turn = 0; turn < 50; turn++) {
      const before = ticks;
      const sleeper = time.sleeping;
      assert.ok(sleeper, 'asleep');
      time.sleeping = undefined;
      sleeper.callback();
      assert.ok(ticks - before <= 30);
    }
  });

  it('sleeps only while it has rooms', () => {
    const time = new FakeTime();
    const clock = clockOf(time);
    assert.equal(time.sleeping, undefined);
    const room = new FakeRoom();
    clock.add(room);
    assert.ok(time.sleeping);
    clock.remove(room);
    assert.equal(time.sleeping, undefined);
    clock.add(room);
    clock.stop();
    assert.equal(time.sleeping, undefined);
  });

  it('runs on Node timers within a few milliseconds', async () => {
    const clock = new MixClock({ now: () => performance.now() });
    const room = new FakeRoom();
    const startMs = performance.now();
    clock.add(room);
    await new Promise((resolve) => {
      setTimeout(resolve, 250);
    });
    clock.stop();
    const lastedMs = performance.now() - startMs;
    const { missedTicks } = clock.statistics;
    assert.ok(Math.abs(room.dues.length + missedTicks - lastedMs / 20) <= 2);
  });
});
