import assert from 'node:assert/strict';
import { levelDbov, toDbov, fromDbov, SILENCE_DBOV } from '../../../../core/audio/level.ts';
import {
  applyGain,
  clampSample,
  pcmFromBytes,
  pcmToBytes,
  samplesIn,
  stereoToMono,
} from '../../../../core/audio/pcm.ts';
import { shorten } from '../../../../core/audio/time-scale.ts';

describe('PCM', () => {
  it('goes to bytes and back, little-endian', () => {
    const pcm = Int16Array.of(0, 1, -1, 32767, -32768);
    const bytes = pcmToBytes(pcm);
    assert.equal(Buffer.from(bytes).toString('hex'), '00000100ffffff7f0080');
    assert.deepEqual(pcmFromBytes(bytes), pcm);
    assert.deepEqual(pcmFromBytes(Uint8Array.of(1, 2, 3)), Int16Array.of(0x0201));
  });

  it('clips at both ends', () => {
    assert.deepEqual([40000, -40000, 5].map(clampSample), [32767, -32768, 5]);
  });

  it('changes gain without a step', () => {
    const pcm = new Int16Array(100).fill(10000);
    applyGain(pcm, 0, 1);
    assert.equal(pcm[99], 10000);
    for (let index = 1; index < 100; index++) {
      assert.ok(Math.abs((pcm[index] ?? 0) - (pcm[index - 1] ?? 0) - 100) <= 1);
    }
    applyGain(pcm, 8, 8);
    assert.equal(pcm[99], 32767);
  });

  it('mixes stereo down and counts samples', () => {
    assert.deepEqual(stereoToMono(Int16Array.of(100, 200, -30, 30)), Int16Array.of(150, 0));
    assert.equal(samplesIn(20, 44100), 882);
  });
});

describe('level', () => {
  it('is 0 dBov for a full square wave, -3 for a full sine, -127 for silence', () => {
    assert.ok(Math.abs(levelDbov(new Int16Array(100).fill(-32768))) < 1e-9);
    const sine = Int16Array.from({ length: 8000 }, (_, index) => 32767 * Math.sin(index / 5));
    assert.ok(Math.abs(levelDbov(sine) + 3.01) < 0.05);
    assert.equal(levelDbov(new Int16Array(10)), SILENCE_DBOV);
    assert.equal(levelDbov(sine, 0), SILENCE_DBOV);
    assert.equal(toDbov(2), 0);
    assert.ok(Math.abs(toDbov(fromDbov(-26)) + 26) < 1e-9);
  });
});

describe('shortening speech', () => {
  it('takes whole periods out of a tone, so that the seam is not heard', () => {
    for (const [hz, rate] of [
      [150, 8000],
      [237, 48000],
    ] as const) {
      const length = (rate * 40) / 1000;
      const pcm = Int16Array.from({ length }, (_, index) =>
        Math.round(10000 * Math.sin((2 * Math.PI * hz * index) / rate)),
      );
      const cut = length - shorten(pcm, length, (rate * 20) / 1000, rate);
      const periods = (cut * hz) / rate;
      assert.ok(cut > 0 && Math.abs(periods - Math.round(periods)) < 0.04, `${periods} periods`);
      const step = (2 * Math.PI * hz * 10000) / rate;
      for (let index = 1; index < length - cut; index++) {
        const difference = Math.abs((pcm[index] ?? 0) - (pcm[index - 1] ?? 0));
        assert.ok(difference < step * 1.3 + 2, `a step of ${difference} at ${index}`);
      }
    }
  });

  it('leaves alone what is too short', () => {
    const pcm = new Int16Array(90).fill(5);
    assert.equal(shorten(pcm, 90, 80, 8000), 90);
  });
});
