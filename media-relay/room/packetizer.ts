/** Packets of other than 20 ms, for those who ask for them: frames are joined or cut, never coded again. */

import { mergeOpusPackets } from '../../core/audio/opus-packet.ts';
import type { RoomCodec } from './seam.ts';

const FRAME_MS = 20;
const G711_BYTES_PER_MS = 8;
const OPUS_FRAME = 960;

/** A payload and the length of its sound in units of the RTP clock. */
export type Packetized = { readonly payload: Uint8Array; readonly duration: number };

export type Packetizer = {
  /** Length of the sound that waits for more. */
  readonly held: number;
  /** Takes 20 ms and gives the packets that are complete now, none, one or two. */
  add(payload: Uint8Array): readonly Packetized[];
  /** Forgets what waits: something else follows. */
  clear(): void;
};

/** @returns undefined for packets of 20 ms, which need none */
export function packetizerFor(codec: RoomCodec, ptimeMs: number): Packetizer | undefined {
  if (ptimeMs === FRAME_MS) return undefined;
  if (codec !== 'opus') return new G711Packetizer(ptimeMs);
  // Opus frames can be joined but not cut; 20 ms are right for anybody who wants less.
  const frames = Math.floor(ptimeMs / FRAME_MS);
  return frames > 1 ? new OpusPacketizer(frames) : undefined;
}

class G711Packetizer implements Packetizer {
  readonly #bytes: number;
  #held = Buffer.alloc(0);

  constructor(ptimeMs: number) {
    this.#bytes = Math.round(ptimeMs * G711_BYTES_PER_MS);
  }

  get held(): number {
    return this.#held.length;
  }

  clear(): void {
    this.#held = Buffer.alloc(0);
  }

  add(payload: Uint8Array): readonly Packetized[] {
    this.#held = Buffer.concat([this.#held, payload]);
    const packets: Packetized[] = [];
    while (this.#held.length >= this.#bytes) {
      packets.push({ payload: this.#held.subarray(0, this.#bytes), duration: this.#bytes });
      this.#held = this.#held.subarray(this.#bytes);
    }
    return packets;
  }
}

class OpusPacketizer implements Packetizer {
  readonly #frames: number;
  #held: Uint8Array[] = [];

  constructor(frames: number) {
    this.#frames = frames;
  }

  get held(): number {
    return this.#held.length * OPUS_FRAME;
  }

  clear(): void {
    this.#held = [];
  }

  add(payload: Uint8Array): readonly Packetized[] {
    this.#held.push(Uint8Array.from(payload));
    if (this.#held.length < this.#frames) return [];
    const frames = this.#held;
    this.#held = [];
    const merged = mergeOpusPackets(frames);
    if (merged !== undefined) return [{ payload: merged, duration: frames.length * OPUS_FRAME }];
    return frames.map((frame) => ({ payload: frame, duration: OPUS_FRAME }));
  }
}
