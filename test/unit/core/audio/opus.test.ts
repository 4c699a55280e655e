import assert from 'node:assert/strict';
import { InvariantError } from '../../../../core/invariant.ts';
import { FecOpusDecoder, NativeOpusDecoder, OpusEncoder } from '../../../../core/audio/opus.ts';
import { seededRandom } from '../../../support/random.ts';
import { VOICES, syntheticSpeech } from '../../../support/speech.ts';
import { pcmOf } from '../../../support/virtual-room.ts';

const FRAME = 960;
const out = new Int16Array(5760);

function packetsOf(
  pcm: Int16Array,
  settings: ConstructorParameters<typeof OpusEncoder>[0],
): Uint8Array[] {
  const encoder = new OpusEncoder(settings);
  return Array.from({ length: Math.floor(pcm.length / FRAME) }, (_, index) =>
    Uint8Array.from(encoder.encode(pcm.subarray(index * FRAME, (index + 1) * FRAME))),
  );
}

describe('Opus encoder', () => {
  it('refuses frames that would end the process', () => {
    const encoder = new OpusEncoder();
    for (const length of [0, 1, 100, 959, 961, 5760]) {
      assert.throws(() => encoder.encode(new Int16Array(length)), InvariantError);
    }
    for (const length of [120, 240, 480, 960, 1920, 2880]) {
      assert.ok(encoder.encode(new Int16Array(length)).length >= 1);
    }
  });

  it('refuses settings out of range, and work after it was closed', () => {
    const encoder = new OpusEncoder();
    for (const wrong of [
      { bitrate: 100 },
      { bitrate: NaN },
      { complexity: 11 },
      { expectedLossPercent: 101 },
    ]) {
      assert.throws(() => {
        encoder.configure(wrong);
      }, InvariantError);
    }
    encoder.close();
    assert.throws(() => encoder.encode(new Int16Array(FRAME)), InvariantError);
  });

  it('follows bit rate and application', () => {
    const pcm = pcmOf(syntheticSpeech('anna', 2), 48000);
    const bytes = (settings: ConstructorParameters<typeof OpusEncoder>[0]): number =>
      packetsOf(pcm, settings).reduce((sum, packet) => sum + packet.length, 0);
    assert.ok(bytes({ bitrate: 64000 }) > 1.6 * bytes({ bitrate: 24000 }));
    const [voip] = packetsOf(pcm, { application: 'voip', bitrate: 20000 });
    const [audio] = packetsOf(pcm, { application: 'audio', bitrate: 32000 });
    assert.ok((voip?.[0] ?? 255) >> 3 < 16 && (audio?.[0] ?? 0) >> 3 >= 16);
    assert.equal(new OpusEncoder({ complexity: 3 }).settings.complexity, 3);
  });

  it('stops sending with DTX and starts anew after a reset', () => {
    const encoder = new OpusEncoder({ application: 'voip', bitrate: 20000, dtx: true });
    const sizes = Array.from({ length: 60 }, () => encoder.encode(new Int16Array(FRAME)).length);
    assert.ok(sizes.filter((size) => size <= 2).length > 20, sizes.join(' '));
    const pcm = pcmOf(syntheticSpeech('anna', 1), 48000).subarray(0, FRAME);
    const first = new OpusEncoder({ bitrate: 24000 });
    const again = new OpusEncoder({ bitrate: 24000 });
    for (let frame = 0; frame < 5; frame++) again.encode(pcm);
    again.reset();
    assert.deepEqual(Buffer.from(again.encode(pcm)), Buffer.from(first.encode(pcm)));
  });
});

for (const name of ['native', 'FEC'] as const) {
  describe(`Opus decoder (${name})`, () => {
    const create = (): Promise<NativeOpusDecoder | FecOpusDecoder> =>
      name === 'native' ? Promise.resolve(new NativeOpusDecoder()) : FecOpusDecoder.create();

    it('decodes 20 ms, and stereo as mono', async () => {
      const decoder = await create();
      const [packet] = packetsOf(new Int16Array(FRAME), {});
      assert.ok(packet);
      assert.equal(decoder.decode(packet, out), FRAME);
      assert.equal(decoder.decode(Uint8Array.of(0xfc, 0xff, 0xfe), out), FRAME);
      decoder.close();
    });

    it('gives nothing for what is malformed, and goes on after it', async () => {
      const decoder = await create();
      const random = seededRandom(4);
      assert.equal(decoder.decode(new Uint8Array(0), out), 0);
      assert.equal(decoder.decode(Uint8Array.of(0xff, 0xff, 1, 2), out), 0);
      for (let round = 0; round < 500; round++) {
        const bytes = Uint8Array.from(
          { length: 1 + Math.floor(random() * 40) },
          () => random() * 256,
        );
        const samples = decoder.decode(bytes, out);
        assert.ok(samples >= 0 && samples <= 5760);
        decoder.decodeFec(bytes, FRAME, out);
      }
      const [packet] = packetsOf(new Int16Array(FRAME), {});
      assert.ok(packet);
      assert.equal(decoder.decode(packet, out), FRAME);
      decoder.close();
    });

    it('conceals what is asked for, and silence before anything came', async () => {
      const decoder = await create();
      out.fill(99);
      assert.equal(decoder.conceal(FRAME, out), FRAME);
      assert.ok(out.subarray(0, FRAME).every((sample) => sample === 0));
      const packets = packetsOf(pcmOf(syntheticSpeech('bruno', 1), 48000), { bitrate: 24000 });
      for (const packet of packets.slice(10, 30)) decoder.decode(packet, out);
      for (const samples of [480, 960, 1920, 2880]) {
        assert.equal(decoder.conceal(samples, out), samples);
      }
      decoder.close();
    });
  });
}

describe('loss of Opus packets', () => {
  it('is concealed by the native decoder better than by silence', () => {
    const packets = packetsOf(pcmOf(syntheticSpeech('anna', 5), 48000), { bitrate: 24000 });
    const reference = new NativeOpusDecoder();
    const decoder = new NativeOpusDecoder();
    const wanted = new Int16Array(5760);
    let signal = 0;
    let noise = 0;
    for (const [index, packet] of packets.entries()) {
      reference.decode(packet, wanted);
      if (index % 10 !== 7) {
        decoder.decode(packet, out);
        continue;
      }
      decoder.conceal(FRAME, out);
      for (let at = 0; at < FRAME; at++) {
        signal += (wanted[at] ?? 0) ** 2;
        noise += ((wanted[at] ?? 0) - (out[at] ?? 0)) ** 2;
      }
    }
    const ratio = 10 * Math.log10(signal / noise);
    assert.ok(ratio >= 0.5, `${ratio.toFixed(2)} dB`);
  });

  it('of 10 % is restored by FEC to 7 dB or more over the lost frames', async () => {
    let signal = 0;
    let noise = 0;
    for (const voice of VOICES.slice(0, 3)) {
      const pcm = pcmOf(syntheticSpeech(voice, 5), 48000);
      const settings = {
        application: 'voip',
        bitrate: 24000,
        fec: true,
        expectedLossPercent: 10,
      } as const;
      const packets = packetsOf(pcm, settings);
      const reference = new NativeOpusDecoder();
      const decoder = await FecOpusDecoder.create();
      const random = seededRandom(5);
      const wanted = new Int16Array(5760);
      for (const [index, packet] of packets.entries()) {
        const next = packets[index + 1];
        reference.decode(packet, wanted);
        if (random() >= 0.1 || next === undefined) {
          decoder.decode(packet, out);
          continue;
        }
        decoder.decodeFec(next, FRAME, out);
        for (let at = 0; at < FRAME; at++) {
          signal += (wanted[at] ?? 0) ** 2;
          noise += ((wanted[at] ?? 0) - (out[at] ?? 0)) ** 2;
        }
      }
      decoder.close();
    }
    const ratio = 10 * Math.log10(signal / noise);
    assert.ok(ratio >= 7, `${ratio.toFixed(1)} dB`);
  });
});
