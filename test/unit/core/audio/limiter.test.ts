import assert from 'node:assert/strict';
import { Limiter } from '../../../../core/audio/limiter.ts';
import { addTo, mixMinusSelf } from '../../../../core/audio/mix.ts';
import { seededRandom } from '../../../support/random.ts';

const FRAME = 960;
const CEILING = 32768 * 10 ** (-0.1 / 20);

function tone(frame: number, amplitude: number, hz = 440): Int32Array {
  return Int32Array.from({ length: FRAME }, (_, index) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hz * (frame * FRAME + index)) / 48000)),
  );
}

function peak(pcm: Int16Array): number {
  return pcm.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}

describe('limiter', () => {
  it('keeps everything under -0.1 dBFS, from the first sample on', () => {
    const limiter = new Limiter();
    const random = seededRandom(2);
    const out = new Int16Array(FRAME);
    for (let frame = 0; frame < 300; frame++) {
      limiter.process(tone(frame, random() * 200_000), out, 6);
      assert.ok(peak(out) <= CEILING, `frame ${frame}: ${peak(out)}`);
    }
  });

  it('does not touch a mix that is not too loud, nor a single voice', () => {
    const limiter = new Limiter();
    const out = new Int16Array(FRAME);
    const mix = tone(0, 31000);
    limiter.process(mix, out, 3);
    assert.deepEqual(Int32Array.from(out), mix);
    const full = tone(0, 32767);
    limiter.process(full, out, 1);
    assert.deepEqual(Int32Array.from(out), full);
  });

  it('distorts a steady loud tone by less than 1 % once it has settled', () => {
    const limiter = new Limiter();
    const out = new Int16Array(FRAME);
    for (let frame = 0; frame < 50; frame++) limiter.process(tone(frame, 65000), out, 2);
    let [product, power, reference] = [0, 0, 0];
    for (let index = 0; index < FRAME; index++) {
      const wanted = Math.sin((2 * Math.PI * 440 * (49 * FRAME + index)) / 48000);
      product += wanted * (out[index] ?? 0);
      power += (out[index] ?? 0) ** 2;
      reference += wanted * wanted;
    }
    const distortion = 1 - product ** 2 / power / reference;
    assert.ok(Math.sqrt(Math.max(0, distortion)) < 0.01, String(distortion));
  });

  it('lets go over about a second', () => {
    const limiter = new Limiter();
    const out = new Int16Array(FRAME);
    for (let frame = 0; frame < 10; frame++) limiter.process(tone(frame, 64000), out, 2);
    const after = (frames: number): number => {
      for (let frame = 0; frame < frames; frame++) limiter.process(tone(frame, 10000), out, 2);
      return peak(out);
    };
    const soon = after(5);
    const later = after(50);
    const atLast = after(500);
    assert.ok(
      soon < 7000 && later > 7500 && later < 9900 && atLast > 9900,
      `${soon} ${later} ${atLast}`,
    );
  });

  it('continues as another one would', () => {
    const one = new Limiter();
    const other = new Limiter();
    const [a, b] = [new Int16Array(FRAME), new Int16Array(FRAME)];
    for (let frame = 0; frame < 5; frame++) one.process(tone(frame, 64000), a, 2);
    other.copyFrom(one);
    one.process(tone(5, 30000), a, 2);
    other.process(tone(5, 30000), b, 2);
    assert.deepEqual(a, b);
    other.reset();
    other.process(tone(5, 30000), b, 2);
    assert.equal(peak(b), peak(Int16Array.from(tone(5, 30000))));
  });
});

describe('mix minus self', () => {
  it('is exact however loud the others are: nothing of one is left in his own mix', () => {
    const random = seededRandom(8);
    const voices = Array.from({ length: 7 }, () =>
      Int16Array.from({ length: FRAME }, () => Math.round(65535 * random() - 32768)),
    );
    const sum = new Int32Array(FRAME);
    for (const voice of voices) addTo(sum, voice);
    for (const own of voices) {
      const expected = new Int32Array(FRAME);
      for (const voice of voices) if (voice !== own) addTo(expected, voice);
      const others = new Int32Array(FRAME);
      mixMinusSelf(sum, own, others);
      assert.deepEqual(others, expected);
    }
  });

  it('adds only as much as is asked for', () => {
    const sum = new Int32Array(4).fill(1);
    addTo(sum, Int16Array.of(10, 10, 10, 10), 2);
    assert.deepEqual([...sum], [11, 11, 1, 1]);
  });
});
