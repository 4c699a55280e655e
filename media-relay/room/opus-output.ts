/**
 * Opus for a room: one encode for all who listen, one more for each who talks.
 *
 * Who begins to talk must not hear himself, so his stream leaves the shared one in the middle. A fresh encoder would
 * be heard for a tenth of a second. So a spare one encodes the same sound as the shared one all the time: it is in the
 * same state and continues his stream as if nothing had happened. Who stops talking keeps his encoder until it has
 * followed the shared mix for a while, and then goes back to the shared stream.
 */

import type { AudioEncoder } from '../../core/audio/coder.ts';
import { EncoderStream } from './encoder-stream.ts';
import { MediaFrame } from './media-frame.ts';

/** After so many frames of the same sound two encoders are nearly in the same state. */
const CONVERGED_FRAMES = 10;

/** The stream of one who talks or talked a moment ago. */
export class PrivateOpusStream {
  readonly frame = new MediaFrame();
  readonly stream: EncoderStream;
  /** Frames of the shared mix that it has followed since its owner fell silent. */
  sharedFrames = 0;

  constructor(stream: EncoderStream) {
    this.stream = stream;
  }
}

export class OpusOutput {
  readonly sharedFrame = new MediaFrame();
  readonly #createEncoder: (bitrate: number) => AudioEncoder;
  readonly #shared: EncoderStream;
  #spare: EncoderStream;
  /** Frames that the spare encoder has in common with the shared one. */
  #spareFrames = CONVERGED_FRAMES;
  #bitrate: number;

  /** @param createEncoder - gives encoders that are equal but for the bit rate */
  constructor(createEncoder: (bitrate: number) => AudioEncoder, bitrate: number) {
    this.#createEncoder = createEncoder;
    this.#bitrate = bitrate;
    this.#shared = new EncoderStream(createEncoder(bitrate));
    this.#spare = new EncoderStream(createEncoder(bitrate));
  }

  /** The bit rate of all streams from now on. */
  setBitrate(bitrate: number): void {
    if (bitrate === this.#bitrate) return;
    this.#bitrate = bitrate;
    this.#shared.setBitrate(bitrate);
    this.#spare.setBitrate(bitrate);
  }

  /** Encodes this tick's sum for all who only listen; undefined when nobody talks. */
  encodeShared(mix: Int32Array | undefined, voices: number): void {
    this.sharedFrame.setPayload(encode(this.#shared, mix, voices));
    encode(this.#spare, mix, voices);
    this.#spareFrames = this.#shared.isResting ? CONVERGED_FRAMES : this.#spareFrames + 1;
  }

  /** A stream for one who begins to talk, which continues what he heard until now. Call it before `encodeShared`. */
  openPrivate(): PrivateOpusStream {
    const stream = this.#spare;
    this.#spare = new EncoderStream(this.#createEncoder(this.#bitrate));
    this.#spareFrames = this.#shared.isResting ? CONVERGED_FRAMES : 0;
    return new PrivateOpusStream(stream);
  }

  /** Encodes this tick's sum without his own voice; undefined when nobody else talks. */
  encodePrivate(own: PrivateOpusStream, mix: Int32Array | undefined, voices: number): void {
    own.sharedFrames = 0;
    own.frame.setPayload(encode(own.stream, mix, voices));
  }

  /**
   * Encodes the shared mix for one who has fallen silent.
   *
   * @returns whether he can hear the shared stream from the next tick on
   */
  followShared(own: PrivateOpusStream, mix: Int32Array | undefined, voices: number): boolean {
    own.sharedFrames += 1;
    own.frame.setPayload(encode(own.stream, mix, voices));
    if (this.#shared.isResting) return own.stream.isResting;
    return own.sharedFrames >= CONVERGED_FRAMES;
  }

  /** Its encoder becomes the spare one where it is nearer to the shared one. */
  closePrivate(own: PrivateOpusStream): void {
    if (own.sharedFrames <= this.#spareFrames) {
      own.stream.close();
      return;
    }
    this.#spare.close();
    this.#spare = own.stream;
    this.#spareFrames = own.sharedFrames;
  }

  close(): void {
    this.#shared.close();
    this.#spare.close();
  }
}

function encode(stream: EncoderStream, mix: Int32Array | undefined, voices: number): Uint8Array {
  return mix === undefined ? stream.encodeSilence() : stream.encode(mix, voices);
}
