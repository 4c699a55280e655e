import assert from 'node:assert/strict';
import { Resampler } from '../../../../core/audio/resample.ts';

const SECOND = 1;

function sine(hz: number, rate: number, amplitude = 10000): Int16Array {
  return Int16Array.from({ length: SECOND * rate }, (_, index) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hz * index) / rate)),
  );
}

/** Converts in chunks of 20 ms, or as given. */
function converted(pcm: Int16Array, from: number, to: number, chunk = from / 50): Int16Array {
  const resampler = new Resampler(from, to);
  const all: number[] = [];
  const out = new Int16Array(resampler.outputLength(chunk));
  for (let at = 0; at < pcm.length; at += chunk) {
    const written = resampler.process(pcm.subarray(at, at + chunk), out);
    all.push(...out.subarray(0, written));
  }
  return Int16Array.from(all);
}

/** Gain at a frequency and ratio of that tone to everything else, in dB, after the filter has filled. */
function tone(pcm: Int16Array, hz: number, rate: number): { gain: number; purity: number } {
  const settled = pcm.subarray(rate / 10);
  const periods = settled.subarray(0, settled.length - (settled.length % (rate / 20)));
  let [cosine, sine, power] = [0, 0, 0];
  for (const [index, sample] of periods.entries()) {
    cosine += sample * Math.cos((2 * Math.PI * hz * index) / rate);
    sine += sample * Math.sin((2 * Math.PI * hz * index) / rate);
    power += sample * sample;
  }
  const amplitude = (2 * Math.hypot(cosine, sine)) / periods.length;
  const rest = power / periods.length - amplitude ** 2 / 2;
  return {
    gain: 20 * Math.log10(amplitude / 10000),
    purity: 10 * Math.log10(amplitude ** 2 / 2 / Math.max(1e-9, rest)),
  };
}

describe('resampling', () => {
  for (const [from, to] of [
    [8000, 48000],
    [48000, 8000],
    [44100, 48000],
    [48000, 44100],
    [8000, 16000],
  ] as const) {
    it(`from ${from} to ${to} Hz keeps the telephone band as it is`, () => {
      for (const hz of [300, 1000, 3400]) {
        const { gain, purity } = tone(converted(sine(hz, from), from, to), hz, to);
        assert.ok(Math.abs(gain) < 0.1, `${hz} Hz: ${gain.toFixed(2)} dB`);
        assert.ok(purity > 55, `${hz} Hz: ${purity.toFixed(1)} dB`);
      }
    });

    it(`from ${from} to ${to} Hz gives as many samples as the rates say`, () => {
      const length = converted(sine(500, from), from, to).length;
      assert.ok(Math.abs(length - to) <= 1, String(length));
    });
  }

  it('lets nothing fold back from above the lower band', () => {
    for (const hz of [4700, 5000, 7000, 12000]) {
      const out = converted(sine(hz, 48000), 48000, 8000).subarray(800);
      const power = out.reduce((sum, sample) => sum + sample * sample, 0) / out.length;
      assert.ok(10 * Math.log10(power / 5e7) < -55, `${hz} Hz`);
    }
  });

  it('gives the same samples whatever the chunks are', () => {
    const pcm = sine(700, 44100);
    const whole = converted(pcm, 44100, 48000, pcm.length);
    for (const chunk of [1, 37, 441, 882]) {
      const pieces = converted(pcm.subarray(0, 4410), 44100, 48000, chunk);
      assert.deepEqual(pieces, whole.subarray(0, pieces.length));
    }
  });

  it('gives equal chunks for equal chunks where the ratio allows', () => {
    const resampler = new Resampler(8000, 48000);
    const out = new Int16Array(960);
    for (let chunk = 0; chunk < 10; chunk++) {
      assert.equal(resampler.process(new Int16Array(160), out), 960);
    }
  });

  it('forgets the past on reset', () => {
    const resampler = new Resampler(8000, 48000);
    const out = new Int16Array(960);
    resampler.process(new Int16Array(160).fill(10000), out);
    resampler.reset();
    resampler.process(new Int16Array(160), out);
    assert.ok(out.every((sample) => sample === 0));
  });

  it('clips instead of wrapping', () => {
    const loud = Int16Array.from({ length: 800 }, (_, index) => (index % 40 < 20 ? 32767 : -32768));
    const out = converted(loud, 8000, 48000);
    for (let index = 1; index < out.length; index++) {
      assert.ok(Math.abs((out[index] ?? 0) - (out[index - 1] ?? 0)) < 40000);
    }
  });
});
