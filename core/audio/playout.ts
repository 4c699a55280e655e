/** From RTP packets to an even stream of sound: jitter buffer, decoder, concealment, in frames of 20 ms. */

import {
  JitterBuffer,
  type IncomingPacket,
  type JitterBufferCounters,
  type JitterBufferOptions,
  type Playout,
  type PushResult,
} from '../rtp/jitter-buffer.ts';
import type { AudioDecoder } from './coder.ts';
import type { AudioCodec } from './codec.ts';
import { levelDbov } from './level.ts';
import { hasOpusFec } from './opus-packet.ts';
import { PacketActivity } from './packet-activity.ts';
import { shorten } from './time-scale.ts';

/** Room for a frame being played and one of 120 ms behind it. */
const HELD_MS = 160;
const FRAME_MS = 20;
/** So many losses that came too early for FEC within the time below are worth a frame of delay. */
const FEC_LOSSES = 2;
const FEC_FRAMES = 500;
/** Without loss for so long, the delay is given back. */
const FEC_IDLE_FRAMES = 3000;
/** Packets that a cold decoder follows before it is heard. */
const PRIMING_PACKETS = 4;

export type PlayoutOptions = {
  readonly codec: AudioCodec;
  /** From `codec.createDecoder()` or `createFecDecoder()`; closed by `close`. */
  readonly decoder: AudioDecoder;
  readonly jitter?: Pick<JitterBufferOptions, 'quantile' | 'minDelayMs' | 'maxDelayMs'>;
  /** Where packets have been kept until now, when they were before anybody wanted to play them. */
  readonly kept?: { readonly jitterBuffer: JitterBuffer; readonly activity: PacketActivity };
};

/** What a frame is made of: `voice` of packets, `concealed` wholly or in part, `silence` of nothing. */
export type FrameKind = 'voice' | 'concealed' | 'silence';

export class AudioPlayout {
  readonly jitterBuffer: JitterBuffer;
  /** Of the packet last pushed. */
  readonly activity: PacketActivity;
  readonly #codec: AudioCodec;
  readonly #decoder: AudioDecoder;
  readonly #frameSamples: number;
  readonly #samplesPerTick: number;
  readonly #held: Int16Array;
  #heldSamples = 0;
  readonly #fec = { isOffered: false, losses: 0, framesSinceLoss: 0 };
  /** The decoder has not followed the stream. */
  #isCold = true;

  constructor(options: PlayoutOptions) {
    const { codec } = options;
    this.#codec = codec;
    this.#decoder = options.decoder;
    this.#frameSamples = (FRAME_MS * codec.sampleRateHz) / 1000;
    this.#samplesPerTick = codec.sampleRateHz / codec.clockRateHz;
    this.activity = options.kept?.activity ?? new PacketActivity(codec.name);
    this.#held = new Int16Array((HELD_MS * codec.sampleRateHz) / 1000);
    this.jitterBuffer =
      options.kept?.jitterBuffer ??
      new JitterBuffer({
        ...options.jitter,
        clockRateHz: codec.clockRateHz,
        durationOf: codec.durationOf,
      });
  }

  get counters(): JitterBufferCounters {
    return this.jitterBuffer.counters;
  }

  /** @param arrivalMs - monotonic milliseconds, never decreasing */
  push(packet: IncomingPacket, arrivalMs: number): PushResult {
    const { payload, start = 0, end = payload.length } = packet;
    this.activity.observe(payload, start, end);
    if (this.#decoder.hasFec) this.#fec.isOffered = hasOpusFec(payload, start, end);
    return this.jitterBuffer.push(packet, arrivalMs, this.#isPause());
  }

  /**
   * The next 20 ms of sound. Call it every 20 ms.
   *
   * @param nowMs - when it plays, on the clock of `arrivalMs`
   * @param out - 20 ms at the codec's sample rate
   */
  pull(nowMs: number, out: Int16Array): FrameKind {
    let kind: FrameKind = this.#heldSamples > 0 ? 'voice' : 'silence';
    while (this.#heldSamples < this.#frameSamples) {
      const heldMs = (this.#heldSamples * 1000) / this.#codec.sampleRateHz;
      const part = this.#append(this.jitterBuffer.pull(nowMs, heldMs));
      if (part === 'concealed' || kind === 'silence') kind = part;
    }
    out.set(this.#held.subarray(0, this.#frameSamples));
    this.#held.copyWithin(0, this.#frameSamples, this.#heldSamples);
    this.#heldSamples -= this.#frameSamples;
    if (this.#fec.losses > 0) this.#forgetLoss();
    return kind;
  }

  /** Stops playing without forgetting: `pull` begins again where the playout point ought to be by then. */
  release(): void {
    this.jitterBuffer.release();
    this.#heldSamples = 0;
    this.#isCold = true;
  }

  close(): void {
    this.#decoder.close();
  }

  /** Adds a piece to what is held. */
  #append(piece: Playout): FrameKind {
    const room = this.#held.subarray(this.#heldSamples);
    const wanted = Math.min(Math.ceil(piece.samples * this.#samplesPerTick), room.length);
    switch (piece.kind) {
      case 'frame':
      case 'skip':
        return this.#decode(piece, room, wanted);
      case 'missing':
        if (piece.next === undefined) this.#decoder.conceal(wanted, room);
        else this.#decoder.decodeFec(piece.next, wanted, room);
        this.#noteLoss();
        this.#heldSamples += wanted;
        return 'concealed';
      case 'stretch':
        this.#decoder.conceal(wanted, room);
        this.#heldSamples += wanted;
        return 'concealed';
      case 'silence':
      case 'buffering':
        // Only as much as the frame lacks: that brings frames and packets into step again.
        room.fill(0, 0, this.#frameSamples - this.#heldSamples);
        this.#heldSamples = this.#frameSamples;
        return 'silence';
    }
  }

  #decode(
    piece: { readonly kind: 'frame' | 'skip'; readonly payload: Uint8Array },
    room: Int16Array,
    wanted: number,
  ): FrameKind {
    if (this.#isCold) this.#prime(room);
    const samples = this.#decoder.decode(piece.payload, room);
    if (samples > 0) this.activity.correct(levelDbov(room, samples));
    if (samples === 0) this.#decoder.conceal(wanted, room);
    this.#heldSamples += samples === 0 ? wanted : samples;
    if (piece.kind === 'skip') {
      const length = this.#heldSamples;
      const maxCut = Math.min(samples, length - 1);
      this.#heldSamples = shorten(this.#held, length, maxCut, this.#codec.sampleRateHz);
    }
    return samples === 0 ? 'concealed' : 'voice';
  }

  /** Lets the decoder follow the packets from before the first one that is heard, into the void. */
  #prime(scratch: Int16Array): void {
    this.#isCold = false;
    this.#decoder.reset();
    for (const payload of this.jitterBuffer.history(PRIMING_PACKETS)) {
      this.#decoder.decode(payload, scratch);
    }
  }

  /** FEC restores a lost packet from the next one, so that must be here when the lost one would have been played. */
  #noteLoss(): void {
    if (!this.#fec.isOffered) return;
    this.#fec.losses += 1;
    this.#fec.framesSinceLoss = 0;
    if (this.#fec.losses === FEC_LOSSES) this.jitterBuffer.setExtraDelay(FRAME_MS);
  }

  #forgetLoss(): void {
    const fec = this.#fec;
    fec.framesSinceLoss += 1;
    const limit = fec.losses < FEC_LOSSES ? FEC_FRAMES : FEC_IDLE_FRAMES;
    if (fec.framesSinceLoss < limit) return;
    fec.losses = 0;
    this.jitterBuffer.setExtraDelay(0);
  }

  #isPause(): boolean {
    return !this.activity.isSpeech;
  }
}
