/** What every encoder and decoder looks like, whatever the codec. All are mono. */

export type AudioEncoder = {
  /** One frame of PCM at the codec's sample rate to one payload, good until the next call. */
  encode(pcm: Int16Array): Uint8Array;
  /** Changes what the codec can change during a call; the rest is ignored. */
  configure(settings: EncoderAdjustment): void;
  /** After this, anything else is a bug. */
  close(): void;
};

/** Opus settings that may change between two frames. */
export type EncoderAdjustment = {
  /** 6,000 to 510,000 bit/s. */
  readonly bitrate?: number;
  /** 0 to 10. */
  readonly complexity?: number;
  readonly fec?: boolean;
  /** 0 to 100. */
  readonly expectedLossPercent?: number;
  readonly dtx?: boolean;
};

/** `out` has room for 120 ms. Nothing throws because of the bytes. */
export type AudioDecoder = {
  /** Whether `decodeFec` can do more than conceal. */
  readonly hasFec: boolean;
  /** @returns how many samples came out; 0 when the payload is malformed (then conceal) */
  decode(payload: Uint8Array, out: Int16Array): number;
  /** Makes up `samples` of sound for a lost packet, fading into silence when asked again and again. */
  conceal(samples: number, out: Int16Array): number;
  /** Restores `samples` from the packet after the lost one where codec and packet allow it; else conceals. */
  decodeFec(next: Uint8Array, samples: number, out: Int16Array): number;
  /** Forgets the past: another source follows. */
  reset(): void;
  close(): void;
};
