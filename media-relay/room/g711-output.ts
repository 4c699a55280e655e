/** G.711 for a room: one mix and one encode for each law for all who listen, and a private mix for each who talks. */

import { encodeG711, type G711Law } from '../../core/audio/g711.ts';
import { fromDbov } from '../../core/audio/level.ts';
import { Limiter } from '../../core/audio/limiter.ts';
import { RTP_HEADER_BYTES } from '../../core/rtp/packet.ts';
import { MediaFrame } from './media-frame.ts';

const FRAME_SAMPLES = 160;
const LAWS: readonly G711Law[] = ['PCMU', 'PCMA'];
/** Comfort noise while nobody talks: barely to be heard, so that the line does not seem dead. */
const NOISE_DBOV = -65;
const NOISE_FRAMES = 32;
const FULL_SCALE = 32768;

/** The stream of one who talks. */
export class PrivateG711Stream {
  readonly frame = new MediaFrame();
  readonly limiter = new Limiter();
  readonly law: G711Law;

  constructor(law: G711Law) {
    this.law = law;
  }
}

export class G711Output {
  readonly sharedFrames: Readonly<Record<G711Law, MediaFrame>> = {
    PCMU: new MediaFrame(),
    PCMA: new MediaFrame(),
  };
  readonly #limiter = new Limiter();
  readonly #pcm = new Int16Array(FRAME_SAMPLES);
  #noise = 0;

  /** Encodes this tick's sum for all who only listen; undefined when nobody talks. */
  encodeShared(mix: Int32Array | undefined, voices: number): void {
    this.#noise = (this.#noise + 1) % NOISE_FRAMES;
    if (mix === undefined) this.#limiter.reset();
    else this.#limiter.process(mix, this.#pcm, voices);
    for (const law of LAWS) this.#write(this.sharedFrames[law], law, mix !== undefined);
  }

  openPrivate(law: G711Law): PrivateG711Stream {
    const own = new PrivateG711Stream(law);
    own.limiter.copyFrom(this.#limiter);
    return own;
  }

  /** Encodes this tick's sum without his own voice; undefined when nobody else talks. */
  encodePrivate(own: PrivateG711Stream, mix: Int32Array | undefined, voices: number): void {
    if (mix === undefined) own.limiter.reset();
    else own.limiter.process(mix, this.#pcm, voices);
    this.#write(own.frame, own.law, mix !== undefined);
  }

  #write(frame: MediaFrame, law: G711Law, isSound: boolean): void {
    frame.length = RTP_HEADER_BYTES + FRAME_SAMPLES;
    if (isSound) encodeG711(law, this.#pcm, frame.packet.subarray(RTP_HEADER_BYTES));
    else frame.packet.set(noiseFrames[law][this.#noise] ?? [], RTP_HEADER_BYTES);
  }
}

const noiseFrames: Readonly<Record<G711Law, readonly Uint8Array[]>> = {
  PCMU: encodedNoise('PCMU'),
  PCMA: encodedNoise('PCMA'),
};

/** White noise, coded once: the same in every room. */
function encodedNoise(law: G711Law): Uint8Array[] {
  let state = 0x2545f491;
  const peak = Math.sqrt(3) * FULL_SCALE * fromDbov(NOISE_DBOV);
  return Array.from({ length: NOISE_FRAMES }, () => {
    const pcm = Int16Array.from({ length: FRAME_SAMPLES }, () => {
      // Xorshift (Marsaglia 2003): spread evenly, which is all that noise needs.
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return Math.round((state / 0x80000000) * peak);
    });
    const bytes = new Uint8Array(FRAME_SAMPLES);
    encodeG711(law, pcm, bytes);
    return bytes;
  });
}
