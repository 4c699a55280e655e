import assert from 'node:assert/strict';
import { AUDIO_CODECS, type CodecName } from '../../../../core/audio/codec.ts';
import type { OpusSettings } from '../../../../core/audio/opus.ts';
import { levelDbov } from '../../../../core/audio/level.ts';
import { PacketActivity } from '../../../../core/audio/packet-activity.ts';
import { seededRandom } from '../../../support/random.ts';
import { syntheticSpeech } from '../../../support/speech.ts';
import { pcmOf } from '../../../support/virtual-room.ts';

type Observed = {
  readonly isSpeech: boolean;
  readonly levelDbov: number;
  readonly trueDbov: number;
};

/** Four seconds of quiet noise, then speech over it, then noise again. */
function observed(codec: CodecName, settings: Partial<OpusSettings> = {}, noise = 30): Observed[] {
  const { sampleRateHz } = AUDIO_CODECS[codec];
  const random = seededRandom(6);
  const pcm = Int16Array.from({ length: sampleRateHz * 10 }, () =>
    Math.round(noise * (random() - 0.5)),
  );
  const speech = pcmOf(syntheticSpeech('anna', 2), sampleRateHz);
  for (const [index, sample] of speech.entries()) {
    const at = sampleRateHz * 4 + index;
    pcm[at] = (pcm[at] ?? 0) + (sample >> 1);
  }
  const frame = sampleRateHz / 50;
  const encoder = AUDIO_CODECS[codec].createEncoder(settings);
  const decoder = AUDIO_CODECS[codec].createDecoder();
  const activity = new PacketActivity(codec);
  const out = new Int16Array(5760);
  return Array.from({ length: 500 }, (_, index) => {
    const part = pcm.subarray(index * frame, (index + 1) * frame);
    const payload = encoder.encode(part);
    activity.observe(payload, 0, payload.length);
    const samples = decoder.decode(payload, out);
    // Who is heard is decoded anyway.
    if (activity.wantsDecoding !== 'no' || activity.isSpeech)
      activity.correct(levelDbov(out, samples));
    const { isSpeech } = activity;
    return { isSpeech, levelDbov: activity.levelDbov, trueDbov: levelDbov(part) };
  });
}

const share = (packets: readonly Observed[]): number =>
  packets.filter(({ isSpeech }) => isSpeech).length / packets.length;

describe('activity of packets that nobody decodes', () => {
  const STREAMS: readonly (readonly [string, CodecName, Partial<OpusSettings>])[] = [
    ['PCMU', 'PCMU', {}],
    ['PCMA', 'PCMA', {}],
    ['Opus as SILK', 'opus', { application: 'voip', bitrate: 24000 }],
    ['Opus as CELT', 'opus', { application: 'audio', bitrate: 32000 }],
  ];
  for (const [name, codec, settings] of STREAMS) {
    it(`tells speech from noise: ${name}`, () => {
      const packets = observed(codec, settings);
      const loud = packets.filter(({ trueDbov }) => trueDbov > -35);
      assert.ok(loud.length > 40);
      assert.ok(share(loud) >= 0.9, `of speech ${share(loud)}`);
      assert.ok(share(packets.slice(100, 200)) <= 0.05, `before ${share(packets.slice(100, 200))}`);
      assert.ok(share(packets.slice(400)) <= 0.1, `after ${share(packets.slice(400))}`);
    });
  }

  it('knows the level of G.711 to a few decibels', () => {
    const packets = observed('PCMU').filter(({ trueDbov }) => trueDbov > -50);
    const error = packets.reduce(
      (sum, { levelDbov: level, trueDbov }) => sum + level - trueDbov,
      0,
    );
    assert.ok(Math.abs(error / packets.length) < 3, String(error / packets.length));
  });

  it('takes a loud hum for speech, for it must be heard, and a quiet one for noise', () => {
    const hum = (amplitude: number): boolean => {
      const activity = new PacketActivity('PCMU');
      const pcm = Int16Array.from({ length: 160 }, (_, index) => amplitude * Math.sin(index / 3));
      const payload = AUDIO_CODECS.PCMU.createEncoder().encode(pcm);
      for (let packet = 0; packet < 3000; packet++) activity.observe(payload, 0, payload.length);
      return activity.isSpeech;
    };
    assert.equal(hum(6000), true);
    assert.equal(hum(60), false);
  });

  it('hears nothing in DTX and in digital silence', () => {
    const activity = new PacketActivity('opus');
    activity.observe(Uint8Array.of(0x78), 0, 1);
    assert.deepEqual([activity.isSpeech, activity.levelDbov], [false, -127]);
    const silence = new PacketActivity('PCMU');
    const bytes = new Uint8Array(160).fill(0xff);
    silence.observe(bytes, 0, 160);
    assert.deepEqual([silence.isSpeech, silence.levelDbov], [false, -127]);
    silence.observe(bytes, 0, 0);
    assert.equal(silence.levelDbov, -127);
  });
});
