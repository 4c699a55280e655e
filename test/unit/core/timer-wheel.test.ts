import assert from 'node:assert/strict';
import { TimerWheel } from '../../../core/timer-wheel.ts';

function due<Payload>(wheel: TimerWheel<Payload>, nowMs: number): Payload[] {
  const found: Payload[] = [];
  wheel.advance(nowMs, (payload) => found.push(payload));
  return found;
}

/** A small linear congruential generator, so that every run is the same. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

describe('timer wheel', () => {
  it('hands out timers at their time, not before', () => {
    const wheel = new TimerWheel<string>(1000);
    wheel.schedule(1500, 'a');
    wheel.schedule(1499.2, 'b');
    wheel.schedule(33_000, 'c');
    assert.deepEqual(due(wheel, 1499.9), []);
    assert.equal(wheel.nextDeadline(), 1500);
    assert.deepEqual(due(wheel, 1500), ['a', 'b']);
    assert.deepEqual(due(wheel, 32_999), []);
    assert.deepEqual(due(wheel, 40_000), ['c']);
    assert.equal(wheel.size, 0);
    assert.equal(wheel.nextDeadline(), undefined);
  });

  it('hands them out in order of time, equal ones in order of scheduling, over all levels', () => {
    const wheel = new TimerWheel<number>(0);
    const times = [
      70_000, 5, 300, 70_000, 5, 20_000_000, 300, 65_536, 256, 255, 20_000_000, 5_000_000_000,
    ];
    for (const [at, time] of times.entries()) wheel.schedule(time, at);
    const expected = times
      .map((time, at) => ({ time, at }))
      .sort((a, b) => a.time - b.time || a.at - b.at);
    assert.deepEqual(
      due(wheel, 6_000_000_000),
      expected.map(({ at }) => at),
    );
  });

  it('is due at the next call when its moment has passed', () => {
    const wheel = new TimerWheel<string>(1000);
    wheel.schedule(-5, 'past');
    assert.equal(wheel.nextDeadline(), 1001);
    assert.deepEqual(due(wheel, 1001), ['past']);
  });

  it('shows the earliest, the first of equal ones, whatever the level', () => {
    const wheel = new TimerWheel<string>(0);
    assert.equal(wheel.peek(), undefined);
    const late = wheel.schedule(70_000, 'late');
    wheel.schedule(69_990, 'early');
    wheel.schedule(69_990, 'second');
    wheel.schedule(69_991, 'third');
    assert.equal(wheel.peek(), 'early');
    const first = wheel.schedule(5, 'first');
    assert.equal(wheel.peek(), 'first');
    wheel.cancel(first);
    wheel.cancel(late);
    assert.equal(wheel.peek(), 'early');
    assert.equal(wheel.size, 3);
  });

  it('cancels once', () => {
    const wheel = new TimerWheel<string>(0);
    const a = wheel.schedule(10, 'a');
    const b = wheel.schedule(10, 'b');
    const c = wheel.schedule(10, 'c');
    assert.equal(wheel.cancel(b), true);
    assert.equal(wheel.cancel(b), false);
    assert.deepEqual(due(wheel, 10), ['a', 'c']);
    assert.equal(wheel.cancel(a), false);
    assert.equal(wheel.cancel(c), false);
  });

  it('does not take an old handle for the timer that has its place now', () => {
    const wheel = new TimerWheel<string>(0);
    const old = wheel.schedule(10, 'old');
    assert.equal(wheel.cancel(old), true);
    wheel.schedule(10, 'new');
    assert.equal(wheel.cancel(old), false);
    assert.deepEqual(due(wheel, 10), ['new']);
  });

  it('lets a due timer schedule and cancel others', () => {
    const wheel = new TimerWheel<string>(0);
    const found: string[] = [];
    const victim = wheel.schedule(20, 'victim');
    const sameMoment = wheel.schedule(11, 'x');
    wheel.cancel(sameMoment);
    wheel.schedule(10, 'first');
    const second = wheel.schedule(10, 'second');
    wheel.advance(10, (payload) => {
      found.push(payload);
      wheel.cancel(victim);
      wheel.cancel(second);
      wheel.schedule(10, 'again');
    });
    assert.deepEqual(found, ['first']);
    assert.deepEqual(due(wheel, 30), ['again']);
  });

  it('ignores a clock that goes back', () => {
    const wheel = new TimerWheel<string>(1000);
    assert.deepEqual(due(wheel, 2000), []);
    assert.deepEqual(due(wheel, 1500), []);
    wheel.schedule(2100, 'a');
    assert.deepEqual(due(wheel, 2100), ['a']);
  });

  it('keeps a moment that is decades away', () => {
    const wheel = new TimerWheel<string>(0);
    wheel.schedule(1e15, 'far');
    assert.deepEqual(due(wheel, 1e12), []);
    assert.equal(wheel.size, 1);
  });

  for (const seed of [1, 2, 3]) {
    it(`agrees with a sorted list over 20,000 random operations (seed ${seed})`, () => {
      const roll = dice(seed);
      const wheel = new TimerWheel<number>(0);
      const expected = new Map<number, { at: number; handle: number }>();
      let now = 0;
      for (let id = 0; id < 20_000; id++) {
        const action = roll(10);
        if (action < 6) {
          const at = now + 1 + roll([10, 600, 40_000, 4_000_000][roll(4)] ?? 1);
          expected.set(id, { at, handle: wheel.schedule(at, id) });
        } else if (action < 8) {
          const [first] = expected.keys();
          if (first === undefined) continue;
          assert.equal(wheel.cancel(expected.get(first)?.handle ?? -1), true);
          expected.delete(first);
        } else {
          now += roll([3, 300, 70_000][roll(3)] ?? 1);
          const ready = [...expected].filter(([, { at }]) => at <= now);
          ready.sort(([idA, a], [idB, b]) => a.at - b.at || idA - idB);
          assert.deepEqual(
            due(wheel, now),
            ready.map(([id]) => id),
          );
          for (const [id] of ready) expected.delete(id);
        }
        assert.equal(wheel.size, expected.size);
        const next = wheel.nextDeadline() ?? Infinity;
        assert(next > now);
        // Only checked now and then: the list is slow.
        if (id % 100 === 0) assert(next <= Math.min(...[...expected.values()].map(({ at }) => at)));
      }
    });
  }

  it('gives the exact next deadline when nothing was cancelled', () => {
    const roll = dice(7);
    const wheel = new TimerWheel<number>(0);
    const times: number[] = [];
    for (let id = 0; id < 500; id++) {
      const at = 1 + roll(10_000_000);
      times.push(at);
      wheel.schedule(at, at);
      assert.equal(wheel.nextDeadline(), Math.min(...times));
    }
    let steps = 0;
    for (let next = wheel.nextDeadline(); next !== undefined; next = wheel.nextDeadline()) {
      assert(due(wheel, next).every((at) => at === next));
      steps++;
    }
    assert.equal(steps, new Set(times).size);
  });
});
