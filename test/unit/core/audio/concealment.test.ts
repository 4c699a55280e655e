import assert from 'node:assert/strict';
import { AUDIO_CODECS } from '../../../../core/audio/codec.ts';
import { Concealment } from '../../../../core/audio/concealment.ts';
import { transform } from '../../../../core/audio/fft.ts';
import { seededRandom } from '../../../support/random.ts';
import { VOICES, syntheticSpeech } from '../../../support/speech.ts';
import { pcmOf } from '../../../support/virtual-room.ts';

const FRAME = 160;

function rms(pcm: Int16Array): number {
  return Math.sqrt(pcm.reduce((sum, sample) => sum + sample * sample, 0) / pcm.length);
}

function logSpectrum(pcm: Int16Array): Float64Array {
  const size = 256;
  const re = Float64Array.from({ length: size }, (_, index) => {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / (FRAME - 1));
    return index < FRAME ? (pcm[index] ?? 0) * window : 0;
  });
  const im = new Float64Array(size);
  transform(re, im);
  return Float64Array.from(
    { length: size / 2 },
    (_, index) => 10 * Math.log10((re[index] ?? 0) ** 2 + (im[index] ?? 0) ** 2 + 1),
  );
}

function logSpectralDistance(a: Int16Array, b: Int16Array): number {
  const [one, two] = [logSpectrum(a), logSpectrum(b)];
  return Math.sqrt(
    one.reduce((sum, value, index) => sum + (value - (two[index] ?? 0)) ** 2, 0) / one.length,
  );
}

/** Distance and SNR over lost frames of speech, for a way to fill them. */
function lossFigures(fill: 'conceal' | 'repeat'): { readonly lsd: number; readonly snr: number } {
  let distance = 0;
  let frames = 0;
  let signal = 0;
  let noise = 0;
  for (const voice of VOICES.slice(0, 4)) {
    const pcm = pcmOf(syntheticSpeech(voice, 8), 8000);
    const encoder = AUDIO_CODECS.PCMU.createEncoder();
    const reference = AUDIO_CODECS.PCMU.createDecoder();
    const decoder = AUDIO_CODECS.PCMU.createDecoder();
    const random = seededRandom(5);
    const wanted = new Int16Array(FRAME);
    const got = new Int16Array(FRAME);
    for (let at = 0; at + FRAME <= pcm.length; at += FRAME) {
      const payload = encoder.encode(pcm.subarray(at, at + FRAME));
      reference.decode(payload, wanted);
      if (random() >= 0.05) {
        decoder.decode(payload, got);
        continue;
      }
      if (fill === 'conceal') decoder.conceal(FRAME, got);
      else got.forEach((sample, index) => (got[index] = sample >> 1));
      if (rms(wanted) < 300) continue;
      distance += logSpectralDistance(wanted, got);
      frames += 1;
      for (const [index, sample] of wanted.entries()) {
        signal += sample * sample;
        noise += (sample - (got[index] ?? 0)) ** 2;
      }
    }
  }
  return { lsd: distance / frames, snr: 10 * Math.log10(signal / noise) };
}

describe('concealment of lost G.711 (Appendix I)', () => {
  it('of 5 % random loss stays within 11.5 dB of the spectrum and 1 dB of SNR, better than repeating', () => {
    const concealed = lossFigures('conceal');
    const repeated = lossFigures('repeat');
    assert.ok(concealed.lsd <= 11.5, `LSD ${concealed.lsd.toFixed(1)} dB`);
    assert.ok(concealed.snr >= 1, `SNR ${concealed.snr.toFixed(2)} dB`);
    assert.ok(concealed.lsd < repeated.lsd && concealed.snr > repeated.snr + 1);
  });

  for (const rateHz of [8000, 48_000]) {
    it(`continues a tone at ${rateHz} Hz almost as if nothing was lost`, () => {
      const frame = rateHz / 50;
      const tone = (from: number): Int16Array =>
        Int16Array.from({ length: frame }, (_, index) =>
          Math.round(8000 * Math.sin((2 * Math.PI * 100 * (from + index)) / rateHz)),
        );
      const concealment = new Concealment(rateHz);
      for (let count = 0; count < 10; count++) concealment.receive(tone(count * frame), frame);
      const made = new Int16Array(frame);
      concealment.conceal(frame, made);
      const wanted = tone(10 * frame);
      const worst = Math.max(
        ...made
          .subarray(0, frame / 2)
          .map((sample, index) => Math.abs(sample - (wanted[index] ?? 0))),
      );
      assert.ok(worst < 900, String(worst));
    });
  }

  it('fades from 10 ms on and is silent after 60 ms', () => {
    const concealment = new Concealment();
    const pcm = pcmOf(syntheticSpeech('bruno', 2), 8000);
    const start = 8000;
    for (let at = 0; at < start; at += FRAME) {
      concealment.receive(pcm.slice(at, at + FRAME), FRAME);
    }
    const made = new Int16Array(8 * 80);
    concealment.conceal(made.length, made);
    const levels = Array.from({ length: 8 }, (_, step) =>
      rms(made.subarray(step * 80, step * 80 + 80)),
    );
    assert.ok((levels[0] ?? 0) > 100);
    assert.ok((levels[4] ?? 0) < (levels[1] ?? 0));
    assert.deepEqual(levels.slice(6), [0, 0]);
  });

  it('joins what comes after a loss without a step, and leaves the rest of it alone', () => {
    const concealment = new Concealment();
    const constant = new Int16Array(FRAME).fill(3000);
    for (let frame = 0; frame < 5; frame++) concealment.receive(constant.slice(), FRAME);
    concealment.conceal(FRAME, new Int16Array(FRAME));
    const opposite = new Int16Array(FRAME).fill(-3000);
    concealment.receive(opposite, FRAME);
    assert.ok((opposite[0] ?? 0) > 1500, String(opposite[0]));
    assert.equal(opposite.at(-1), -3000);
    const next = new Int16Array(FRAME).fill(-3000);
    concealment.receive(next, FRAME);
    assert.ok(next.every((sample) => sample === -3000));
  });

  it('makes silence of silence', () => {
    const concealment = new Concealment();
    const made = new Int16Array(FRAME).fill(7);
    concealment.conceal(FRAME, made);
    assert.ok(made.every((sample) => sample === 0));
    concealment.receive(new Int16Array(FRAME).fill(1000), FRAME);
    concealment.reset();
    concealment.conceal(FRAME, made);
    assert.ok(made.every((sample) => sample === 0));
  });
});
