import assert from 'node:assert/strict';
import fc from 'fast-check';
import { NativeOpusDecoder, OpusEncoder } from '../../../../core/audio/opus.ts';
import {
  hasOpusFec,
  isOpusDtx,
  mergeOpusPackets,
  opusDuration,
  opusMode,
  opusVoiceActivity,
} from '../../../../core/audio/opus-packet.ts';
import { syntheticSpeech } from '../../../support/speech.ts';
import { concatenated, pcmOf } from '../../../support/virtual-room.ts';

const FRAME = 960;
const speech = pcmOf(syntheticSpeech('bruno', 3), 48000);

function packetsOf(
  settings: ConstructorParameters<typeof OpusEncoder>[0],
  frames = 140,
): Uint8Array[] {
  const encoder = new OpusEncoder(settings);
  return Array.from({ length: frames }, (_, index) =>
    Uint8Array.from(encoder.encode(speech.subarray(index * FRAME, (index + 1) * FRAME))),
  );
}

const durationOf = (packet: Uint8Array): number => opusDuration(packet, 0, packet.length);

describe('Opus packets without decoding (RFC 6716 §3)', () => {
  it('have the length that their configuration and count say', () => {
    const cases: [number[], number][] = [
      [[0 << 3, 1], 480],
      [[3 << 3, 1], 2880],
      [[12 << 3, 1], 480],
      [[15 << 3, 1], 960],
      [[16 << 3, 1], 120],
      [[31 << 3, 1], 960],
      [[(31 << 3) | 1, 1, 2], 1920],
      [[(31 << 3) | 2, 1, 2, 3], 1920],
      [[(31 << 3) | 3, 6, 1, 1, 1, 1, 1, 1], 5760],
    ];
    for (const [bytes, samples] of cases) assert.equal(durationOf(Uint8Array.from(bytes)), samples);
  });

  it('are malformed when empty, too long in time, or impossible in size', () => {
    for (const bytes of [[], [0xff], [0xff, 7], [0xf9, 1], [0xfa], [0xfb, 0], [0x1b, 3, 1]]) {
      assert.equal(durationOf(Uint8Array.from(bytes)), 0, bytes.join(' '));
    }
  });

  it('agree with the decoder on their length, whatever the bytes', () => {
    const decoder = new NativeOpusDecoder();
    const out = new Int16Array(5760);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (packet) => {
        const samples = decoder.decode(packet, out);
        if (samples > 0) assert.equal(samples, durationOf(packet));
      }),
      { seed: 6716, numRuns: 2000 },
    );
  });

  it('tell speech from silence in SILK', () => {
    const encoder = new OpusEncoder({ application: 'voip', bitrate: 24000 });
    const spoken: boolean[] = [];
    const silent: boolean[] = [];
    for (let index = 0; index < 250; index++) {
      const isSpeech = index >= 100 && index < 140;
      const pcm = isSpeech
        ? speech.subarray((index - 100) * FRAME, (index - 99) * FRAME)
        : new Int16Array(FRAME);
      const packet = encoder.encode(pcm);
      assert.notEqual(opusMode(packet[0] ?? 0), 'celt');
      const isActive = opusVoiceActivity(packet, 0, packet.length) ?? false;
      if (isSpeech) spoken.push(isActive);
      else if (index < 100 || index >= 160) silent.push(isActive);
    }
    assert.ok(spoken.filter(Boolean).length >= 36, String(spoken.filter(Boolean).length));
    assert.equal(silent.filter(Boolean).length, 0);
  });

  it('tell nothing of speech in CELT', () => {
    const [packet] = packetsOf({ application: 'audio', bitrate: 32000, complexity: 5 }, 1);
    assert.ok(packet);
    assert.equal(opusMode(packet[0] ?? 0), 'celt');
    assert.equal(opusVoiceActivity(packet, 0, packet.length), undefined);
    assert.equal(hasOpusFec(packet), false);
  });

  it('show whether they carry FEC', () => {
    const settings = { application: 'voip', bitrate: 24000 } as const;
    const without = packetsOf(settings).filter((packet) => hasOpusFec(packet)).length;
    const fec = { ...settings, fec: true, expectedLossPercent: 20 };
    const withFec = packetsOf(fec).filter((packet) => hasOpusFec(packet)).length;
    assert.equal(without, 0);
    assert.ok(withFec > 100, String(withFec));
  });

  it('are DTX when there is nothing but the TOC', () => {
    assert.equal(isOpusDtx(5, 6), true);
    assert.equal(isOpusDtx(5, 8), false);
  });

  it('are joined without changing what is heard', () => {
    for (const settings of [
      { application: 'audio', bitrate: 32000 },
      { application: 'audio', bitrate: 500000 },
      { application: 'voip', bitrate: 20000 },
    ] as const) {
      const packets = packetsOf(settings, 60);
      const apart = new NativeOpusDecoder();
      const together = new NativeOpusDecoder();
      const out = new Int16Array(5760);
      const expected: Int16Array[] = [];
      const got: Int16Array[] = [];
      for (let index = 0; index + 3 <= packets.length; index += 3) {
        const three = packets.slice(index, index + 3);
        const merged = mergeOpusPackets(three);
        if (merged === undefined) continue;
        assert.equal(durationOf(merged), 2880);
        for (const packet of three) expected.push(out.slice(0, apart.decode(packet, out)));
        got.push(out.slice(0, together.decode(merged, out)));
      }
      assert.ok(got.length >= 10);
      assert.deepEqual(concatenated(got), concatenated(expected));
    }
  });

  it('are not joined when they differ in configuration or hold several frames', () => {
    assert.equal(mergeOpusPackets([Uint8Array.of(0xf8, 1), Uint8Array.of(0xf0, 1)]), undefined);
    assert.equal(
      mergeOpusPackets([Uint8Array.of(0xf9, 1, 1), Uint8Array.of(0xf9, 1, 1)]),
      undefined,
    );
    assert.equal(
      mergeOpusPackets(new Array<Uint8Array>(7).fill(Uint8Array.of(0xf8, 1))),
      undefined,
    );
    assert.equal(mergeOpusPackets([]), undefined);
  });
});
