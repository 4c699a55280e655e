/**
 * One mix on its way to listeners who speak Opus: limiter, encoder, and rest while there is nothing to hear.
 *
 * Silence is encoded until the encoder itself has come to rest; then its last packet is repeated and nothing is
 * encoded any more. A listener's decoder comes to rest in the same way, so that every stream at rest can be continued
 * by every encoder at rest.
 */

import type { AudioEncoder } from '../../core/audio/coder.ts';
import { Limiter } from '../../core/audio/limiter.ts';

const FRAME_SAMPLES = 960;
/** Opus codes exact silence in so few bytes. */
const RESTING_BYTES = 3;
const RESTING_FRAMES = 3;

export class EncoderStream {
  readonly limiter = new Limiter();
  readonly #encoder: AudioEncoder;
  readonly #pcm = new Int16Array(FRAME_SAMPLES);
  #restingPacket: Uint8Array = new Uint8Array(0);
  #restingRun = 0;

  constructor(encoder: AudioEncoder) {
    this.#encoder = encoder;
    for (let frame = 0; frame < RESTING_FRAMES; frame++) this.encodeSilence();
  }

  /** Nothing is encoded until there is something to hear. */
  get isResting(): boolean {
    return this.#restingRun >= RESTING_FRAMES;
  }

  /** @param voices - how many are in the mix of 960 samples */
  encode(mix: Int32Array, voices: number): Uint8Array {
    this.#restingRun = 0;
    this.limiter.process(mix, this.#pcm, voices);
    return this.#encoder.encode(this.#pcm);
  }

  encodeSilence(): Uint8Array {
    if (this.isResting) return this.#restingPacket;
    this.limiter.reset();
    this.#pcm.fill(0);
    const packet = this.#encoder.encode(this.#pcm);
    this.#restingRun = packet.length <= RESTING_BYTES ? this.#restingRun + 1 : 0;
    this.#restingPacket = packet;
    return packet;
  }

  setBitrate(bitrate: number): void {
    this.#encoder.configure({ bitrate });
  }

  close(): void {
    this.#encoder.close();
  }
}
