/** A call with ourselves before the first real one: code that has never run makes the first packets of a call late. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { CODEC_NAMES, type CodecName } from '../../core/audio/codec.ts';
import { RtpHeader } from '../../core/rtp/packet.ts';
import { DEVICE_RATE_HZ, FRAME_MS, FRAME_SAMPLES } from './device.ts';
import { RtpReceiver, createDecoders } from './rtp-receiver.ts';
import { RtpSender } from './rtp-sender.ts';
import type { EncoderSettings } from './rtp-sender.ts';

/** A second of sound of each codec. */
const FRAMES = 50;
/** So few at a time that nothing else waits. */
const FRAMES_AT_ONCE = 5;
const TONE_HZ = 200;
const AMPLITUDE = 8000;

/**
 * Encodes, sends to itself, decodes and plays a second of sound with each codec, between other work.
 *
 * @param isWanted - asked before each frame; the rehearsal ends at once when it is not
 * @returns the codecs it came to
 */
export async function rehearse(
  encoder: EncoderSettings,
  isWanted: () => boolean,
): Promise<readonly CodecName[]> {
  const rehearsed: CodecName[] = [];
  const receiver = new RtpReceiver(await createDecoders());
  const sender = new RtpSender(encoder, () => 0.5);
  const captured = new Int16Array(FRAME_SAMPLES);
  const heard = new Int16Array(FRAME_SAMPLES);
  const header = new RtpHeader();
  let nowMs = 0;
  const beat = (): void => {
    for (let index = 0; index < FRAME_SAMPLES; index++) {
      const seconds = nowMs / 1000 + index / DEVICE_RATE_HZ;
      captured[index] = AMPLITUDE * Math.sin(2 * Math.PI * TONE_HZ * seconds);
    }
    const packet = sender.packetFor(captured, nowMs);
    if (packet !== undefined && header.read(packet)) receiver.push(header, packet, nowMs);
    receiver.pull(nowMs, heard);
    nowMs += FRAME_MS;
  };
  try {
    for (let frame = 0; frame < FRAMES * CODEC_NAMES.length && isWanted(); frame++) {
      const payloadType = Math.floor(frame / FRAMES);
      const codec = CODEC_NAMES[payloadType];
      if (codec !== undefined && frame % FRAMES === 0) {
        rehearsed.push(codec);
        receiver.setFormats([{ codec, payloadType }]);
        sender.setFormat({ codec, payloadType, telephoneEvent: undefined });
      }
      beat();
      if (frame % FRAMES_AT_ONCE === 0) await nextTurn();
    }
  } finally {
    sender.close();
    receiver.close();
  }
  return rehearsed;
}
