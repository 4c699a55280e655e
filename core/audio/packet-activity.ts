/**
 * How loud each packet of a stream is, and whether somebody speaks in it, without decoding it.
 *
 * G.711 tells its level by a table. SILK and hybrid Opus carry voice activity flags. CELT tells little by
 * its size: noise takes as many bytes as speech, so it needs to be decoded now and then.
 */

import type { CodecName } from './codec-name.ts';
import { g711Table } from './g711.ts';
import { SILENCE_DBOV, toDbov } from './level.ts';
import { isOpusDtx, opusVoiceActivity } from './opus-packet.ts';

const FULL_SCALE = 32768;
/** Speech has an RMS of about 3 dB over its mean magnitude. */
const RMS_OVER_MEAN = 1.4;
/** The noise floor follows quiet packets at once and rises by 1.5 dB a second. */
const FLOOR_RISE_DB = 0.03;
const MAX_FLOOR_DBOV = -45;
const SPEECH_OVER_FLOOR_DB = 9;
const MIN_SPEECH_DBOV = -65;
const MIN_FLOOR_DBOV = -100;
/** What Opus says only as yes and no, until it is decoded. */
const SPEAKING_DBOV = -30;
const QUIET_DBOV = -80;
const SIZE_RISE = 1.002;
const SIZE_RATIO = 1.35;
const SIZE_MARGIN = 4;
/** No CELT packet so small holds a voice. */
const SILENT_BYTES = 8;
/** A CELT stream is to be decoded once in so many packets, and at once when they grow by so much: an onset. */
const PROBE_EVERY = 10;
const GROWTH = 1.08;
const GROWTH_BYTES = 3;
/** So many packets of one size may be a constant bit rate, which tells nothing: then more often. */
const CONSTANT_RUN = 100;
const PROBE_CONSTANT = 5;

export class PacketActivity {
  readonly #table: Int16Array | undefined;
  #floorDbov = MAX_FLOOR_DBOV;
  /** Opus: what decoding showed last, and how many packets ago. */
  #knownDbov = SPEAKING_DBOV;
  #isKnownSpeech = false;
  #sinceKnown = 0;
  #floorBytes = 0;
  #lastBytes = 0;
  #sameSize = 0;

  /** Of the packet last observed; for Opus a guess from what was decoded last. */
  levelDbov = SILENCE_DBOV;
  isSpeech = false;
  /** Whether somebody should decode a packet and tell `correct`: `soon` when something seems to have changed. */
  wantsDecoding: 'no' | 'sometime' | 'soon' = 'no';

  constructor(codec: CodecName) {
    this.#table = codec === 'opus' ? undefined : g711Table(codec);
  }

  /** What decoding showed last. */
  get isKnownSpeech(): boolean {
    return this.#isKnownSpeech;
  }

  /** Looks at the packet in `bytes[start, end)`. */
  observe(bytes: Uint8Array, start: number, end: number): void {
    if (this.#table === undefined) {
      this.#observeOpus(bytes, start, end);
    } else {
      this.levelDbov = levelOf(this.#table, bytes, start, end);
      this.isSpeech = this.#isOverFloor(this.levelDbov);
    }
  }

  /** The true level of one of the latest packets, from whoever decoded it. G.711 needs none. */
  correct(levelDbov: number): void {
    if (this.#table !== undefined) return;
    this.#knownDbov = levelDbov;
    this.#isKnownSpeech = this.#isOverFloor(levelDbov);
    this.#sinceKnown = 0;
    this.wantsDecoding = 'no';
  }

  #isOverFloor(levelDbov: number): boolean {
    const risen = Math.min(MAX_FLOOR_DBOV, this.#floorDbov + FLOOR_RISE_DB);
    this.#floorDbov = Math.max(MIN_FLOOR_DBOV, Math.min(levelDbov, risen));
    return levelDbov >= Math.max(MIN_SPEECH_DBOV, this.#floorDbov + SPEECH_OVER_FLOOR_DB);
  }

  #observeOpus(bytes: Uint8Array, start: number, end: number): void {
    this.#sinceKnown += 1;
    if (isOpusDtx(start, end)) {
      this.isSpeech = false;
      this.wantsDecoding = 'no';
      this.levelDbov = SILENCE_DBOV;
      return;
    }
    const flags = opusVoiceActivity(bytes, start, end);
    const isLarge = this.#isLarge(end - start);
    if (flags === undefined) this.#observeCelt(end - start, isLarge);
    else this.isSpeech = flags || isLarge;
    this.levelDbov = this.isSpeech ? Math.max(QUIET_DBOV, this.#knownDbov) : QUIET_DBOV;
  }

  #observeCelt(bytes: number, isLarge: boolean): void {
    const hasGrown = bytes > this.#lastBytes * GROWTH + GROWTH_BYTES;
    this.#sameSize = bytes === this.#lastBytes ? this.#sameSize + 1 : 0;
    this.#lastBytes = bytes;
    if (bytes <= SILENT_BYTES) {
      this.isSpeech = false;
      this.#isKnownSpeech = false;
      this.wantsDecoding = 'no';
      return;
    }
    this.isSpeech = isLarge || this.#isKnownSpeech;
    const every = this.#sameSize >= CONSTANT_RUN ? PROBE_CONSTANT : PROBE_EVERY;
    if (hasGrown) this.wantsDecoding = 'soon';
    else if (this.#sinceKnown >= every) this.wantsDecoding = 'sometime';
  }

  #isLarge(bytes: number): boolean {
    const floor = this.#floorBytes === 0 ? bytes : this.#floorBytes * SIZE_RISE;
    this.#floorBytes = Math.min(bytes, floor);
    return bytes > this.#floorBytes * SIZE_RATIO + SIZE_MARGIN;
  }
}

/**
 * From one sample in four: half a microsecond would be too much for thousands of them. In steps of three and five by
 * turns, because steps of four meet nothing but the zero crossings of a tone of 1000 Hz.
 */
function levelOf(table: Int16Array, bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  let count = 0;
  let step = 3;
  for (let index = start; index < end; index += step, step = 8 - step) {
    const sample = table[bytes[index] ?? 0] ?? 0;
    sum += sample < 0 ? -sample : sample;
    count += 1;
  }
  return count === 0 ? SILENCE_DBOV : toDbov((RMS_OVER_MEAN * sum) / (count * FULL_SCALE));
}
