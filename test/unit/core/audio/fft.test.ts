import assert from 'node:assert/strict';
import { bandPass } from '../../../../core/audio/band-pass.ts';
import { crossCorrelate } from '../../../../core/audio/correlate.ts';
import { transform, transformSize } from '../../../../core/audio/fft.ts';
import { melCorrelation } from '../../../../core/audio/mel.ts';
import { seededRandom } from '../../../support/random.ts';

const noise = (length: number, seed: number): Float32Array => {
  const random = seededRandom(seed);
  return Float32Array.from({ length }, () => random() - 0.5);
};

const near = (actual: number | undefined, expected: number, tolerance = 1e-6): void => {
  assert.ok(actual !== undefined && Math.abs(actual - expected) <= tolerance, `${actual ?? ''}`);
};

describe('Fourier transform', () => {
  it('agrees with the definition', () => {
    const size = 16;
    const re = Float64Array.from(noise(size, 1));
    const im = Float64Array.from(noise(size, 2));
    const [outRe, outIm] = [re.slice(), im.slice()];
    transform(outRe, outIm);
    for (let bin = 0; bin < size; bin++) {
      let [sumRe, sumIm] = [0, 0];
      for (let at = 0; at < size; at++) {
        const angle = (-2 * Math.PI * bin * at) / size;
        sumRe += (re[at] ?? 0) * Math.cos(angle) - (im[at] ?? 0) * Math.sin(angle);
        sumIm += (re[at] ?? 0) * Math.sin(angle) + (im[at] ?? 0) * Math.cos(angle);
      }
      near(outRe[bin], sumRe, 1e-12);
      near(outIm[bin], sumIm, 1e-12);
    }
  });

  it('gives its input back', () => {
    for (const size of [2, 64, 4096]) {
      const re = Float64Array.from(noise(size, 3));
      const im = Float64Array.from(noise(size, 4));
      const [outRe, outIm] = [re.slice(), im.slice()];
      transform(outRe, outIm);
      transform(outRe, outIm, true);
      re.forEach((value, at) => {
        near(outRe[at], value, 1e-12);
      });
      im.forEach((value, at) => {
        near(outIm[at], value, 1e-12);
      });
    }
  });

  it('refuses lengths that are no power of two, or differ', () => {
    assert.throws(() => {
      transform(new Float64Array(12), new Float64Array(12));
    }, RangeError);
    assert.throws(() => {
      transform(new Float64Array(8), new Float64Array(16));
    }, RangeError);
    assert.deepEqual([1, 2, 3, 1024, 1025].map(transformSize), [2, 2, 4, 1024, 2048]);
  });
});

describe('cross-correlation', () => {
  it('is the sum of products at every lag, negative lags at the end', () => {
    const [a, b] = [noise(20, 5), noise(30, 6)];
    const size = 64;
    const out = crossCorrelate(a, b, size);
    for (let lag = -19; lag < 30; lag++) {
      let sum = 0;
      for (let at = 0; at < 20; at++) sum += (a[at] ?? 0) * (b[at + lag] ?? 0);
      near(out[(lag + size) % size], sum, 1e-9);
    }
  });

  it('lets frequencies be weighted', () => {
    const a = noise(32, 7);
    const out = crossCorrelate(a, a, 64, (magnitudes) => magnitudes.map(() => 0));
    out.forEach((value) => {
      near(value, 0);
    });
  });
});

describe('band-pass and change of rate', () => {
  const tone = (hz: number, rate: number): Float32Array =>
    Float32Array.from({ length: rate }, (_, at) => Math.sin((2 * Math.PI * hz * at) / rate));
  const band = { lowHz: 300, highHz: 3400 };

  for (const [from, to] of [
    [48_000, 8000],
    [44_100, 8000],
    [8000, 8000],
    [8000, 48_000],
  ] as const) {
    it(`${from} to ${to} Hz keeps the band in place and in size, and nothing else`, () => {
      const heard = bandPass(tone(1000, from), from, to, band);
      const expected = tone(1000, to);
      assert.equal(heard.length, expected.length);
      const middle = [Math.floor(to * 0.2), Math.floor(to * 0.8)] as const;
      for (let at = middle[0]; at < middle[1]; at++) near(heard[at], expected[at] ?? 0, 1e-3);
      for (const outside of [60, 3700]) {
        const rest = bandPass(tone(outside, from), from, to, band).subarray(...middle);
        assert.ok(Math.max(...rest.map(Math.abs)) < 2e-3, `${outside} Hz`);
      }
    });
  }
});

describe('mel spectra', () => {
  it('are alike for the same sound at any level, and not for other sound', () => {
    const sound = bandPass(noise(8000, 8), 8000, 8000, { lowHz: 500, highHz: 900 });
    const other = bandPass(noise(8000, 9), 8000, 8000, { lowHz: 1500, highHz: 2500 });
    near(
      melCorrelation(
        sound,
        sound.map((value) => value * 0.1),
      ),
      1,
      0.01,
    );
    assert.ok(melCorrelation(sound, other) < 0.3);
    assert.equal(melCorrelation(new Float32Array(10), new Float32Array(10)), 0);
  });
});
