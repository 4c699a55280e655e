import assert from 'node:assert/strict';
import { bandPass } from '../../../../core/audio/band-pass.ts';
import { describeScore, isAbsent, judge, scoreSound } from '../../../../core/audio/score.ts';
import type { Sound, SoundScore } from '../../../../core/audio/score.ts';
import { seededRandom } from '../../../support/random.ts';
import { padded, resampled, syntheticSpeech } from '../../../support/speech.ts';

const FRAME_48K = 960;

const mapped = (
  { samples, sampleRateHz }: Sound,
  change: (sample: number, at: number) => number,
) => ({
  samples: samples.map(change),
  sampleRateHz,
});

/** Every voice where only some 20 ms frames arrive; `fill` says what the others become. */
function withLostFrames(sound: Sound, share: number, fill: (at: number) => number): Sound {
  const random = seededRandom(7);
  const frames = Math.ceil(sound.samples.length / FRAME_48K);
  const isLost = Array.from({ length: frames }, () => random() < share);
  return mapped(sound, (sample, at) => (isLost[Math.floor(at / FRAME_48K)] ? fill(at) : sample));
}

function encodeMuLaw(sample: number): number {
  const linear = Math.max(-32635, Math.min(32635, Math.round(sample * 32768)));
  const magnitude = Math.abs(linear) + 132;
  const exponent = Math.max(0, Math.floor(Math.log2(magnitude)) - 7);
  const mantissa = (magnitude >> (exponent + 3)) & 15;
  return ~((linear < 0 ? 128 : 0) | (exponent << 4) | mantissa) & 255;
}

function decodeMuLaw(byte: number): number {
  const code = ~byte & 255;
  const magnitude = (((code & 15) << 3) + 132) << ((code >> 4) & 7);
  return ((code & 128 ? -1 : 1) * (magnitude - 132)) / 32768;
}

function decodeALaw(byte: number): number {
  const code = byte ^ 0x55;
  const exponent = (code >> 4) & 7;
  const mantissa = ((code & 15) << 4) + 8;
  const magnitude = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
  return ((code & 128 ? 1 : -1) * magnitude) / 32768;
}

/** A clock that is `ppm` slower: the recording is longer than it should be by that. */
function skewed({ samples, sampleRateHz }: Sound, ppm: number): Sound {
  const rate = Math.round(sampleRateHz * (1 + ppm / 1e6));
  const band = { lowHz: 0, highHz: sampleRateHz, edgeHz: 2000 };
  return { samples: bandPass(samples, sampleRateHz, rate, band), sampleRateHz };
}

function mixed(...sounds: readonly Sound[]): Sound {
  const [first] = sounds;
  assert.ok(first);
  return mapped(first, (_, at) => sounds.reduce((sum, { samples }) => sum + (samples[at] ?? 0), 0));
}

function verdictOf(score: SoundScore, profile: 'call' | 'loose' | 'mix' = 'call'): string {
  const { isHeard, failures } = judge(score, profile);
  return isHeard ? 'heard' : `fails ${failures.join(' ')}`;
}

describe('audio score', function () {
  this.timeout(60_000);
  const voice = syntheticSpeech('bruno', 6);
  const narrow = resampled(voice, 8000);
  const score = (recording: Sound) => scoreSound(voice, recording);

  it('gives a clean copy everything', () => {
    const result = score(voice);
    assert.equal(verdictOf(result), 'heard', describeScore(result));
    assert.ok(
      result.ncc > 0.995 && result.ncc10 > 0.99 && result.cover === 1,
      describeScore(result),
    );
    assert.ok(result.segmentSnrDb > 20 && result.drop === 0, describeScore(result));
    assert.equal(result.lagSeconds, 0);
    assert.equal(result.skewPpm, 0);
    assert.ok(Math.abs(result.levelChangeDb) < 1.5, describeScore(result));
  });

  it('finds the delay, at any rate of the recording, in front and behind', () => {
    for (const rate of [8000, 16_000, 44_100, 48_000]) {
      const late = score(resampled(padded(voice, 1.234, 0.5), rate));
      assert.ok(Math.abs(late.lagSeconds - 1.234) < 0.0005, describeScore(late));
      assert.equal(verdictOf(late), 'heard', describeScore(late));
    }
    const cut = { samples: voice.samples.slice(24_000), sampleRateHz: 48_000 };
    assert.ok(Math.abs(score(cut).lagSeconds + 0.5) < 0.0005);
  });

  it('does not mind a delay of a part of its own samples', () => {
    for (const samples48k of [1, 2, 3, 4, 5]) {
      const late = score(padded(voice, 0.3 + samples48k / 48_000, 0.5));
      assert.ok(late.ncc > 0.995 && late.segmentSnrDb > 20, describeScore(late));
    }
  });

  it('is free of gain and of sign, but not of a level that nobody can hear', () => {
    assert.equal(verdictOf(score(mapped(voice, (sample) => -0.3 * sample))), 'heard');
    const faint = score(mapped(voice, (sample) => 0.02 * sample));
    assert.deepEqual(judge(faint, 'call').failures, ['levelDbfs', 'levelChangeDb']);
  });

  it('passes G.711, at a signal-to-noise ratio that tells it from the original', () => {
    const coded = score(mapped(narrow, (sample) => decodeMuLaw(encodeMuLaw(sample))));
    assert.equal(verdictOf(coded), 'heard', describeScore(coded));
    assert.ok(coded.ncc > 0.99 && coded.segmentSnrDb < 40, describeScore(coded));
  });

  it('fails mu-law decoded as A-law', () => {
    const wrong = score(mapped(narrow, (sample) => decodeALaw(encodeMuLaw(sample))));
    assert.notEqual(verdictOf(wrong), 'heard', describeScore(wrong));
  });

  it('counts lost frames: 1 % passes, 10 % does not, and repeating the last frame does not hide it', () => {
    const onePercent = score(withLostFrames(voice, 0.01, () => 0));
    assert.equal(verdictOf(onePercent), 'heard', describeScore(onePercent));
    const tenPercent = score(withLostFrames(voice, 0.1, () => 0));
    assert.ok(judge(tenPercent, 'call').failures.includes('drop'), describeScore(tenPercent));
    assert.ok(tenPercent.drop > onePercent.drop);
    const repeated = score(withLostFrames(voice, 0.1, (at) => voice.samples[at - FRAME_48K] ?? 0));
    assert.ok(repeated.ncc10 < onePercent.ncc10 - 0.05, describeScore(repeated));
  });

  it('fails a recording of which the second half is missing', () => {
    const half = score(mapped(voice, (sample, at) => (at < voice.samples.length / 2 ? sample : 0)));
    assert.ok(half.drop > 0.35 && half.cover < 0.65, describeScore(half));
    assert.notEqual(verdictOf(half, 'loose'), 'heard');
  });

  it('fails adjacent frames that were swapped', () => {
    const swapped = mapped(voice, (_, at) => {
      const frame = Math.floor(at / FRAME_48K);
      return voice.samples[(frame ^ 1) * FRAME_48K + (at % FRAME_48K)] ?? 0;
    });
    const result = score(swapped);
    assert.ok(result.ncc < 0.85, describeScore(result));
  });

  it('reads the drift of a clock', () => {
    const little = score(skewed(voice, 125));
    assert.equal(verdictOf(little), 'heard', describeScore(little));
    assert.ok(little.skewPpm !== undefined && Math.abs(little.skewPpm - 125) < 40);
    const much = score(skewed(voice, 1000));
    assert.ok(much.skewPpm !== undefined && Math.abs(much.skewPpm - 1000) < 60);
    assert.ok(judge(much, 'call').failures.includes('skewPpm'), describeScore(much));
    const other = score(skewed(voice, -1000));
    assert.ok(other.skewPpm !== undefined && Math.abs(other.skewPpm + 1000) < 60);
  });

  it('reports a step of a jitter buffer and still passes', () => {
    const middle = voice.samples.length / 2;
    const stepped = mapped(voice, (sample, at) =>
      at < middle ? sample : (voice.samples[at - 2400] ?? 0),
    );
    const result = score(stepped);
    assert.equal(result.jumps, 1, describeScore(result));
    assert.ok(Math.abs(result.largestJumpMs - 50) < 2, describeScore(result));
    assert.equal(verdictOf(result), 'heard', describeScore(result));
  });

  it('finds what a jitter buffer cut in two, wherever the step is', () => {
    for (let step = 1; step <= 8; step++) {
      const at20ms = 960;
      const place = 2 * voice.sampleRateHz + step * 2400;
      const stepped = mapped(voice, (sample, at) =>
        at < place ? sample : (voice.samples[at + at20ms] ?? 0),
      );
      const result = score(stepped);
      assert.equal(result.cover, 1, describeScore(result));
    }
  });

  it('does not take a pitch period that was cut out for the drift of a clock', () => {
    const third = voice.samples.length / 3;
    const shortened = mapped(voice, (sample, at) =>
      at < third ? sample : (voice.samples[at + 336] ?? 0),
    );
    const result = score(shortened);
    assert.deepEqual([result.skewPpm, result.jumps], [0, 0], describeScore(result));
    assert.equal(verdictOf(result), 'heard', describeScore(result));
  });

  it('fails hard clipping', () => {
    const clipped = score(mapped(voice, (sample) => Math.max(-0.99, Math.min(0.99, 30 * sample))));
    assert.ok(judge(clipped, 'call').failures.includes('levelChangeDb'), describeScore(clipped));
  });

  it('passes an echo of itself, and noise 10 dB below', () => {
    const echo = score(
      mapped(voice, (sample, at) => sample + 0.25 * (voice.samples[at - 5760] ?? 0)),
    );
    assert.equal(verdictOf(echo), 'heard', describeScore(echo));
    const random = seededRandom(3);
    // White over 24 kHz at -20 dBFS: an eighth of it, -29 dBFS, is inside the telephone band.
    const noisy = score(mapped(voice, (sample) => sample + 0.1 * Math.sqrt(12) * (random() - 0.5)));
    assert.ok(noisy.ncc > 0.9 && noisy.segmentSnrDb < 15, describeScore(noisy));
  });

  it('hears every talker of a mix of two and of three, and no one who is not in it', () => {
    const others = [padded(syntheticSpeech('anna', 6), 0.3, 0), syntheticSpeech('david', 6)];
    for (const count of [1, 2]) {
      const mix = mixed(voice, ...others.slice(0, count));
      for (const talker of [voice, ...others.slice(0, count)]) {
        const result = scoreSound(talker, mix);
        assert.equal(verdictOf(result, 'mix'), 'heard', describeScore(result));
        assert.equal(isAbsent(result), false);
      }
      const stranger = scoreSound(syntheticSpeech('felix', 6), mix);
      assert.ok(isAbsent(stranger), describeScore(stranger));
    }
  });

  it('says absent of another voice, of noise, of silence and of next to nothing', () => {
    const random = seededRandom(9);
    const noise = mapped(voice, () => 0.2 * (random() - 0.5));
    const silence = mapped(voice, () => 0);
    const short = { samples: voice.samples.slice(0, 9600), sampleRateHz: 48_000 };
    const nothing = { samples: new Float32Array(0), sampleRateHz: 8000 };
    for (const recording of [syntheticSpeech('anna', 6), noise, silence, short, nothing]) {
      const result = score(recording);
      assert.ok(isAbsent(result), describeScore(result));
      assert.notEqual(verdictOf(result, 'mix'), 'heard', describeScore(result));
    }
    assert.equal(isAbsent(score(mapped(voice, (sample) => 0.1 * sample))), false);
  });

  it('throws when the reference says nothing: no recording can be judged by it', () => {
    assert.throws(
      () =>
        scoreSound(
          mapped(voice, () => 0),
          voice,
        ),
      RangeError,
    );
    assert.throws(
      () =>
        scoreSound(
          mapped(voice, () => 0),
          mapped(voice, () => 0),
        ),
      RangeError,
    );
  });
});
