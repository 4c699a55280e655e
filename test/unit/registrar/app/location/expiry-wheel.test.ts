import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ExpiryWheel } from '../../../../../registrar/app/location/expiry-wheel.ts';

describe('expiry wheel', () => {
  it('gives each back once, when its moment has come and not before', () => {
    const wheel = new ExpiryWheel(10_000);
    wheel.set('a', 12_300);
    wheel.set('b', 12_900);
    wheel.set('c', 20_000);
    assert.deepEqual(wheel.due(12_999), []);
    assert.deepEqual(wheel.due(13_000), ['a', 'b']);
    assert.deepEqual(wheel.due(13_500), []);
    assert.deepEqual(wheel.due(20_000), ['c']);
    assert.equal(wheel.size, 0);
  });

  it('moves and removes', () => {
    const wheel = new ExpiryWheel(0);
    wheel.set('a', 5_000);
    wheel.set('a', 9_000);
    wheel.set('b', 5_000);
    wheel.set('b', undefined);
    assert.deepEqual(wheel.due(5_000), []);
    assert.deepEqual(wheel.due(9_000), ['a']);
  });

  it('does not lose what is due already, nor hang when the clock jumps by years', () => {
    const wheel = new ExpiryWheel(1_000_000);
    wheel.set('late', 5);
    assert.deepEqual(wheel.due(1_001_000), ['late']);
    wheel.set('x', 1_005_000);
    assert.deepEqual(wheel.due(1_000_000 + 100 * 365 * 86_400_000), ['x']);
  });

  it('agrees with a plain map', () => {
    const action = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      inMs: fc.option(fc.integer({ min: 1, max: 9_000 }), { nil: undefined }),
      passMs: fc.integer({ min: 0, max: 4_000 }),
    });
    fc.assert(
      fc.property(fc.array(action), (actions) => {
        let nowMs = 0;
        const wheel = new ExpiryWheel(nowMs);
        const model = new Map<string, number>();
        for (const { name, inMs, passMs } of actions) {
          if (inMs === undefined) model.delete(name);
          else
            model.set(name, Math.max(Math.ceil((nowMs + inMs) / 1000), Math.floor(nowMs / 1000)));
          wheel.set(name, inMs === undefined ? undefined : nowMs + inMs);
          nowMs += passMs;
          const expected = [...model].filter(([, at]) => at * 1000 <= nowMs).map(([key]) => key);
          for (const key of expected) model.delete(key);
          assert.deepEqual(wheel.due(nowMs).sort(), expected.sort());
          assert.equal(wheel.size, model.size);
        }
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});
