/** G.711 as encoder and decoder, with concealment of lost packets. */

import type { AudioDecoder, AudioEncoder } from './coder.ts';
import { Concealment } from './concealment.ts';
import { decodeG711, encodeG711, type G711Law } from './g711.ts';

export class G711Encoder implements AudioEncoder {
  readonly #law: G711Law;
  #bytes = new Uint8Array(160);

  constructor(law: G711Law) {
    this.#law = law;
  }

  encode(pcm: Int16Array): Uint8Array {
    if (this.#bytes.length !== pcm.length) this.#bytes = new Uint8Array(pcm.length);
    encodeG711(this.#law, pcm, this.#bytes);
    return this.#bytes;
  }

  configure(): void {
    // G.711 has nothing to choose.
  }

  close(): void {
    // Nothing is held.
  }
}

export class G711Decoder implements AudioDecoder {
  readonly hasFec = false;
  readonly #law: G711Law;
  readonly #concealment = new Concealment();

  constructor(law: G711Law) {
    this.#law = law;
  }

  decode(payload: Uint8Array, out: Int16Array): number {
    const end = Math.min(payload.length, out.length);
    const samples = decodeG711(this.#law, payload, out, { start: 0, end });
    this.#concealment.receive(out, samples);
    return samples;
  }

  conceal(samples: number, out: Int16Array): number {
    this.#concealment.conceal(samples, out);
    return samples;
  }

  decodeFec(_next: Uint8Array, samples: number, out: Int16Array): number {
    return this.conceal(samples, out);
  }

  reset(): void {
    this.#concealment.reset();
  }

  close(): void {
    // Nothing is held.
  }
}
