import assert from 'node:assert/strict';
import { DelayHistogram } from '../../../../core/rtp/delay-histogram.ts';
import { seededRandom } from '../../../support/random.ts';

function filled(transits: readonly number[]): DelayHistogram {
  const histogram = new DelayHistogram();
  for (const transit of transits) histogram.add(transit);
  return histogram;
}

describe('histogram of arrival delays', () => {
  it('is exact to a fraction of a bucket when there is no jitter', () => {
    const histogram = filled(new Array<number>(200).fill(-12345.6));
    assert.ok(Math.abs(histogram.quantile(0.99) + 12345.6) < 0.01);
    assert.ok(Math.abs(histogram.quantile(0) + 12345.6) < 0.01);
  });

  it('finds the quantiles of an even spread', () => {
    const random = seededRandom(5);
    const histogram = filled(Array.from({ length: 5000 }, () => 1000 + 100 * random()));
    assert.ok(Math.abs(histogram.quantile(0.95) - 1095) < 5);
    assert.ok(Math.abs(histogram.quantile(0.5) - 1050) < 8);
  });

  it('rises within a few packets and falls within a minute', () => {
    const histogram = filled(new Array<number>(600).fill(30));
    for (let count = 0; count < 15; count++) histogram.add(110);
    assert.ok(histogram.quantile(0.985) > 100);
    for (let count = 0; count < 3000; count++) histogram.add(30);
    assert.ok(histogram.quantile(0.985) < 35);
  });

  it('follows a clock that drifts for hours', () => {
    const histogram = new DelayHistogram();
    for (let count = 0; count < 400_000; count++) histogram.add(count * 0.002);
    const span = histogram.quantile(0.99) - histogram.quantile(0);
    assert.ok(Math.abs(histogram.quantile(0.99) - 800) < 3, String(histogram.quantile(0.99)));
    assert.ok(span < 12, String(span));
  });

  it('takes faster packets than ever, and delays beyond its range', () => {
    const histogram = filled([500, 500, 20, 5000]);
    assert.ok(histogram.quantile(0) <= 25);
    assert.ok(histogram.quantile(1) >= 600);
    histogram.add(-100_000);
    assert.ok(histogram.quantile(1) <= -99_990);
  });

  it('is empty after it was cleared', () => {
    const histogram = filled([1, 2, 3]);
    histogram.clear();
    assert.equal(histogram.isEmpty, true);
    assert.equal(histogram.quantile(0.5) >= 0, true);
  });
});
