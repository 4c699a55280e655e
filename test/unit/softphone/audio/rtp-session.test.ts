import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeScore, isAbsent, judge, scoreSound } from '../../../../core/audio/score.ts';
import { synthesizeVoice } from '../../../../core/audio/voice.ts';
import { agreementFrom, answerFor, buildOffer } from '../../../../core/sdp/offer-answer.ts';
import type { Capabilities, Codec } from '../../../../core/sdp/offer-answer.ts';
import { systemClock } from '../../../../softphone/audio/device.ts';
import { createNullDevice } from '../../../../softphone/audio/null-device.ts';
import { RtpSession } from '../../../../softphone/audio/rtp-session.ts';
import { SoundDesk } from '../../../../softphone/audio/sound-desk.ts';
import { measureAwake } from '../../../support/stalls.ts';

const OPUS: Codec = { encoding: 'opus', clockRateHz: 48_000, channels: 2, payloadType: 111 };
const PCMU: Codec = { encoding: 'PCMU', clockRateHz: 8000, channels: 1, payloadType: 0 };
const PCMA: Codec = { encoding: 'PCMA', clockRateHz: 8000, channels: 1, payloadType: 8 };

const SECONDS = 3;

class Ear {
  readonly #pieces: Int16Array[] = [];

  write(samples: Int16Array): void {
    this.#pieces.push(samples.slice());
  }

  get sound(): { samples: Float32Array; sampleRateHz: number } {
    const samples = new Float32Array(this.#pieces.length * 960);
    this.#pieces.forEach((piece, index) => {
      piece.forEach((value, at) => {
        samples[index * 960 + at] = value / 32768;
      });
    });
    return { samples, sampleRateHz: 48_000 };
  }
}

function soundOf(pcm: Int16Array): { samples: Float32Array; sampleRateHz: number } {
  return { samples: Float32Array.from(pcm, (value) => value / 32768), sampleRateHz: 48_000 };
}

type End = { session: RtpSession; desk: SoundDesk; ear: Ear; voice: Int16Array; digits: string[] };

async function openEnd(pitchHz: number): Promise<End> {
  const digits: string[] = [];
  const session = await RtpSession.open({
    address: '127.0.0.1',
    ports: { lowest: 20_000, highest: 30_000 },
    encoder: { bitrate: 32_000, fec: true, expectedLossPercent: 0 },
    minDelayMs: 0,
    clock: systemClock,
    onDigit: (digit) => digits.push(digit),
  });
  const desk = new SoundDesk(createNullDevice(), systemClock);
  const voice = synthesizeVoice({
    seed: pitchHz,
    pitchHz,
    formantScale: pitchHz / 150,
    seconds: SECONDS,
    sampleRateHz: 48_000,
  });
  const ear = new Ear();
  desk.record(ear);
  desk.play(voice, false);
  desk.attach({
    isHeard: true,
    isTalking: true,
    isMuted: false,
    exchange: (captured, heard, dueMs) => {
      session.exchange(captured, heard, dueMs);
    },
  });
  return { session, desk, ear, voice, digits };
}

function connect(a: End, b: End, codecs: readonly Codec[]): void {
  const capabilities = (end: End): Capabilities => ({
    codecs,
    hasTelephoneEvent: true,
    sessionId: '1',
    sessionVersion: '1',
    address: '127.0.0.1',
    port: end.session.port,
  });
  const offer = buildOffer(capabilities(a));
  const { sdp, agreement } = answerFor(offer, capabilities(b));
  b.session.apply(agreement);
  a.session.apply(agreementFrom(offer, sdp));
}

async function closeEnd(end: End): Promise<void> {
  await end.desk.close();
  end.session.close();
}

describe('the media of a call', () => {
  for (const codec of [OPUS, PCMU, PCMA]) {
    it(`MUST let both sides hear each other, and neither itself, in ${codec.encoding}`, async () => {
      await measureAwake([], async () => {
        const a = await openEnd(120);
        const b = await openEnd(210);
        try {
          connect(a, b, [codec]);
          await sleep(SECONDS * 1000 + 600);
        } finally {
          await closeEnd(a);
          await closeEnd(b);
        }
        for (const [speaker, listener] of [
          [a, b],
          [b, a],
        ] as const) {
          const heard = scoreSound(soundOf(speaker.voice), listener.ear.sound);
          assert.ok(heard.ncc >= 0.9 && judge(heard, 'call').isHeard, describeScore(heard));
          const own = scoreSound(soundOf(speaker.voice), speaker.ear.sound);
          assert.ok(isAbsent(own), describeScore(own));
        }
        assert.equal(a.session.figures.receivingCodec, codec.encoding);
        assert.ok(a.session.figures.lossPercent < 1);
      });
    }).timeout(60_000);
  }

  it('MUST carry keys in order, each once, and go on with sound after them', async () => {
    const a = await openEnd(120);
    const b = await openEnd(210);
    try {
      connect(a, b, [OPUS, PCMU]);
      assert.equal(a.session.sendDigits('x'), false);
      assert.equal(a.session.sendDigits('12#*9'), true);
      for (let turn = 0; turn < 100 && b.digits.length < 5; turn += 1) await sleep(50);
    } finally {
      await closeEnd(a);
      await closeEnd(b);
    }
    assert.equal(b.digits.join(''), '12#*9');
  });

  it('MUST change the codec in a call without losing it', async () => {
    await measureAwake([], async () => {
      const a = await openEnd(120);
      const b = await openEnd(210);
      try {
        connect(a, b, [PCMU]);
        await sleep(1500);
        connect(a, b, [OPUS]);
        await sleep(SECONDS * 1000 - 900);
      } finally {
        await closeEnd(a);
        await closeEnd(b);
      }
      assert.equal(b.session.figures.receivingCodec, 'opus');
      const heard = scoreSound(soundOf(a.voice), b.ear.sound);
      assert.ok(heard.ncc >= 0.9 && heard.cover >= 0.9, describeScore(heard));
    });
  }).timeout(60_000);
});
