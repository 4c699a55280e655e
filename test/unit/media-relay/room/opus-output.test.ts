import assert from 'node:assert/strict';
import { NativeOpusDecoder, OpusEncoder } from '../../../../core/audio/opus.ts';
import { OpusOutput } from '../../../../media-relay/room/opus-output.ts';
import { syntheticSpeech } from '../../../support/speech.ts';
import { concatenated, pcmOf } from '../../../support/virtual-room.ts';

const FRAME = 960;
const speech = pcmOf(syntheticSpeech('anna', 4), 48000);

function newOutput(): OpusOutput {
  return new OpusOutput((bitrate) => new OpusEncoder({ bitrate }), 32000);
}

function frameOf(index: number): Int32Array {
  return Int32Array.from(speech.subarray(index * FRAME, (index + 1) * FRAME));
}

function decoded(packets: readonly Uint8Array[]): Int16Array[] {
  const decoder = new NativeOpusDecoder();
  return packets.map((packet) => {
    const out = new Int16Array(5760);
    return out.slice(0, decoder.decode(packet, out));
  });
}

/** Signal to noise of one frame against another, in dB. */
function snr(wanted: Int16Array, got: Int16Array): number {
  let signal = 0;
  let noise = 0;
  for (const [index, sample] of wanted.entries()) {
    signal += sample * sample;
    noise += (sample - (got[index] ?? 0)) ** 2;
  }
  return noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
}

describe('Opus for a room', () => {
  it('continues the shared stream bit for bit when a listener begins to talk', () => {
    const output = newOutput();
    const shared: Uint8Array[] = [];
    const heard: Uint8Array[] = [];
    let own: ReturnType<typeof output.openPrivate> | undefined;
    for (let index = 0; index < 120; index++) {
      // From frame 80 on he has a mix of his own; his voice is not in it, so it is the same sound.
      if (index === 80) own = output.openPrivate();
      if (own !== undefined) output.encodePrivate(own, frameOf(index), 1);
      output.encodeShared(frameOf(index), 1);
      shared.push(Uint8Array.from(output.sharedFrame.payload));
      heard.push(Uint8Array.from((own?.frame ?? output.sharedFrame).payload));
    }
    assert.deepEqual(heard, shared);
  });

  it('gives the second who begins in the same moment a stream too', () => {
    const output = newOutput();
    for (let index = 0; index < 50; index++) output.encodeShared(frameOf(index), 1);
    const [first, second] = [output.openPrivate(), output.openPrivate()];
    output.encodePrivate(first, frameOf(50), 1);
    output.encodePrivate(second, frameOf(50), 1);
    assert.ok(first.frame.payload.length > 10 && second.frame.payload.length > 10);
  });

  it('goes back to the shared stream without a click', () => {
    const output = newOutput();
    const shared: Uint8Array[] = [];
    const heard: Uint8Array[] = [];
    const silence = new Int32Array(FRAME);
    let own: ReturnType<typeof output.openPrivate> | undefined = output.openPrivate();
    let switchedAt = -1;
    for (let index = 0; index < 120; index++) {
      let payload: Uint8Array | undefined;
      if (own !== undefined && index < 60) {
        // While he talks, somebody else says something quite different to him.
        output.encodePrivate(own, index < 20 ? silence : frameOf(index + 60), 1);
        payload = Uint8Array.from(own.frame.payload);
      } else if (own !== undefined) {
        const isBack = output.followShared(own, frameOf(index), 1);
        payload = Uint8Array.from(own.frame.payload);
        if (isBack) {
          output.closePrivate(own);
          own = undefined;
          switchedAt = index + 1;
        }
      }
      output.encodeShared(frameOf(index), 1);
      shared.push(Uint8Array.from(output.sharedFrame.payload));
      heard.push(payload ?? Uint8Array.from(output.sharedFrame.payload));
    }
    assert.ok(switchedAt >= 65 && switchedAt <= 75, String(switchedAt));
    const uninterrupted = decoded(shared);
    const listened = decoded(heard);
    const first = snr(uninterrupted[switchedAt] ?? speech, listened[switchedAt] ?? speech);
    assert.ok(first >= 15, `${first.toFixed(1)} dB`);
  });

  it('rests when nobody talks, and wakes up as if nothing had been', () => {
    const resting = newOutput();
    const awake = new OpusEncoder();
    const restingPackets: Uint8Array[] = [];
    const awakePackets: Uint8Array[] = [];
    for (let index = 0; index < 300; index++) {
      const isSpeech = index < 50 || index >= 250;
      const frame = frameOf(index % 150);
      resting.encodeShared(isSpeech ? frame : undefined, 1);
      restingPackets.push(Uint8Array.from(resting.sharedFrame.payload));
      awakePackets.push(
        Uint8Array.from(awake.encode(isSpeech ? Int16Array.from(frame) : new Int16Array(FRAME))),
      );
    }
    assert.ok(restingPackets.slice(200, 250).every((packet) => packet.length <= 3));
    const wanted = decoded(awakePackets).slice(250);
    const got = decoded(restingPackets).slice(250);
    const ratio = snr(concatenated(wanted), concatenated(got));
    assert.ok(ratio >= 15, `${ratio.toFixed(1)} dB`);
  });

  it('costs no encode at rest', () => {
    let encodes = 0;
    const output = new OpusOutput((bitrate) => {
      const encoder = new OpusEncoder({ bitrate });
      return {
        encode: (pcm) => {
          encodes += 1;
          return encoder.encode(pcm);
        },
        configure: (settings) => {
          encoder.configure(settings);
        },
        close: () => {
          encoder.close();
        },
      };
    }, 32000);
    for (let index = 0; index < 50; index++) output.encodeShared(frameOf(index), 1);
    for (let index = 0; index < 200; index++) output.encodeShared(undefined, 0);
    const before = encodes;
    for (let index = 0; index < 500; index++) output.encodeShared(undefined, 0);
    assert.equal(encodes, before);
  });
});
