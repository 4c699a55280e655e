import assert from 'node:assert/strict';
import { AUDIO_CODECS, type CodecName } from '../../../../core/audio/codec.ts';
import { AudioPlayout, type FrameKind } from '../../../../core/audio/playout.ts';
import { describeScore, scoreSound } from '../../../../core/audio/score.ts';
import { JitterBuffer } from '../../../../core/rtp/jitter-buffer.ts';
import { PacketActivity } from '../../../../core/audio/packet-activity.ts';
import { delayTrace, type TraceName } from '../../../support/arrival-traces.ts';
import { seededRandom } from '../../../support/random.ts';
import { syntheticSpeech } from '../../../support/speech.ts';
import { concatenated, pcmOf, soundOf } from '../../../support/virtual-room.ts';

const SPEECH = syntheticSpeech('clara', 8);

type Run = {
  readonly codec: CodecName;
  readonly trace?: TraceName;
  readonly lossPercent?: number;
  readonly ptimeMs?: number;
  readonly isFec?: boolean;
};

/** Sends speech through a network into a playout; gives what came out and how. */
async function play(
  run: Run,
): Promise<{ pcm: Int16Array; kinds: FrameKind[]; playout: AudioPlayout }> {
  const codec = AUDIO_CODECS[run.codec];
  const { ptimeMs = 20, lossPercent = 0 } = run;
  const fec = { application: 'voip', bitrate: 24000, fec: true, expectedLossPercent: 20 } as const;
  const encoder = codec.createEncoder(run.isFec ? fec : {});
  const pcm = pcmOf(SPEECH, codec.sampleRateHz);
  const frame = (codec.sampleRateHz * ptimeMs) / 1000;
  const delay = delayTrace(run.trace ?? 'lan');
  const random = seededRandom(11);
  const packets = Array.from({ length: Math.floor(pcm.length / frame) }, (_, index) => ({
    arrivalMs: (index + 1) * ptimeMs + delay(index),
    isLost: random() * 100 < lossPercent,
    packet: {
      ssrc: 5,
      sequenceNumber: (65000 + index) & 0xffff,
      rtpTimestamp: (index * codec.clockRateHz * ptimeMs) / 1000,
      payload: Uint8Array.from(encoder.encode(pcm.subarray(index * frame, (index + 1) * frame))),
    },
  })).filter(({ isLost }) => !isLost);
  const decoder = run.isFec ? await codec.createFecDecoder() : codec.createDecoder();
  const playout = new AudioPlayout({ codec, decoder });
  const pieces: Int16Array[] = [];
  const kinds: FrameKind[] = [];
  let next = 0;
  for (let nowMs = 0; nowMs < 8400; nowMs += 20) {
    for (; (packets[next]?.arrivalMs ?? Infinity) <= nowMs; next++) {
      const { packet, arrivalMs } = packets[next] ?? assert.fail();
      playout.push(packet, arrivalMs);
    }
    const out = new Int16Array(codec.sampleRateHz / 50);
    kinds.push(playout.pull(nowMs, out));
    pieces.push(out);
  }
  playout.close();
  return { pcm: concatenated(pieces), kinds, playout };
}

async function scoreOf(run: Run): Promise<ReturnType<typeof scoreSound>> {
  const { pcm } = await play(run);
  return scoreSound(SPEECH, soundOf(pcm, AUDIO_CODECS[run.codec].sampleRateHz));
}

describe('playout', () => {
  for (const codec of ['PCMU', 'PCMA', 'opus'] as const) {
    it(`gives ${codec} back as it was on a good network`, async () => {
      const score = await scoreOf({ codec });
      assert.ok(score.ncc >= 0.95 && score.drop <= 0.01, describeScore(score));
    });
  }

  for (const ptimeMs of [10, 40, 60]) {
    it(`plays Opus packets of ${ptimeMs} ms in frames of 20 ms`, async () => {
      const score = await scoreOf({ codec: 'opus', ptimeMs });
      assert.ok(score.ncc >= 0.95 && score.jumps <= 1, describeScore(score));
    });
  }

  it('plays G.711 packets of 30 ms in frames of 20 ms', async () => {
    const score = await scoreOf({ codec: 'PCMU', ptimeMs: 30 });
    assert.ok(score.ncc >= 0.95 && score.drop <= 0.01, describeScore(score));
  });

  for (const trace of ['wan', 'wifi', 'lte'] as const) {
    it(`keeps speech whole over ${trace}`, async () => {
      const score = await scoreOf({ codec: 'PCMU', trace });
      assert.ok(score.ncc >= 0.9 && score.drop <= 0.05, describeScore(score));
    });
  }

  it('restores lost Opus from FEC', async () => {
    const withFec = await scoreOf({ codec: 'opus', lossPercent: 10, isFec: true });
    const without = await scoreOf({ codec: 'opus', lossPercent: 10 });
    assert.ok(withFec.ncc >= 0.85, describeScore(withFec));
    assert.ok(without.ncc >= 0.7, describeScore(without));
  });

  it('says of each frame what it is made of', async () => {
    const { kinds } = await play({ codec: 'PCMU', lossPercent: 5 });
    assert.equal(kinds[0], 'silence');
    const concealed = kinds.filter((kind) => kind === 'concealed').length;
    assert.ok(concealed >= 8 && concealed <= 45, String(concealed));
    assert.equal(kinds.at(-1), 'silence');
  });

  it('takes over packets that were kept before and primes its decoder with them', () => {
    const codec = AUDIO_CODECS.opus;
    const encoder = codec.createEncoder({ application: 'voip', bitrate: 24000 });
    const pcm = pcmOf(SPEECH, 48000);
    const { clockRateHz, durationOf } = codec;
    const kept = {
      jitterBuffer: new JitterBuffer({ clockRateHz, durationOf }),
      activity: new PacketActivity('opus'),
    };
    const reference = codec.createDecoder();
    const wanted: Int16Array[] = [];
    const scratch = new Int16Array(5760);
    for (let index = 0; index < 100; index++) {
      const payload = encoder.encode(pcm.subarray(index * 960, (index + 1) * 960));
      const packet = { ssrc: 1, sequenceNumber: index, rtpTimestamp: index * 960, payload };
      kept.jitterBuffer.push(packet, index * 20);
      reference.decode(payload, scratch);
      wanted.push(scratch.slice(0, 960));
    }
    const playout = new AudioPlayout({ codec, decoder: codec.createDecoder(), kept });
    const out = new Int16Array(960);
    assert.equal(playout.pull(99 * 20 + 10, out), 'voice');
    let best = -Infinity;
    for (const frame of wanted.slice(-3)) {
      let [signal, noise] = [1, 1];
      for (const [index, sample] of frame.entries()) {
        signal += sample * sample;
        noise += (sample - (out[index] ?? 0)) ** 2;
      }
      best = Math.max(best, 10 * Math.log10(signal / noise));
    }
    assert.ok(best >= 13, `${best.toFixed(1)} dB`);
  });

  it('goes on after malformed payloads', () => {
    const codec = AUDIO_CODECS.opus;
    const playout = new AudioPlayout({ codec, decoder: codec.createDecoder() });
    const random = seededRandom(3);
    const out = new Int16Array(960);
    for (let index = 0; index < 500; index++) {
      const payload = Uint8Array.from({ length: Math.floor(random() * 50) }, () => random() * 256);
      playout.push(
        { ssrc: 1, sequenceNumber: index, rtpTimestamp: index * 960, payload },
        index * 20,
      );
      playout.pull(index * 20 + 5, out);
    }
    assert.ok(playout.counters.receivedPackets > 100);
  });
});
