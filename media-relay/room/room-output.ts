/** What a room sends in a tick: the sums of its voices at each rate, and their encodings, shared and private. */

import { OpusEncoder } from '../../core/audio/opus.ts';
import { addTo, mixMinusSelf } from '../../core/audio/mix.ts';
import { G711Output } from './g711-output.ts';
import type { MediaFrame } from './media-frame.ts';
import { OpusOutput } from './opus-output.ts';
import type { RoomParticipant } from './room-participant.ts';
import type { ParticipantMedia, RoomCodec } from './seam.ts';
import { NARROW_HZ, WIDE_HZ, type MixRate } from './voice.ts';

const FRAMES_PER_SECOND = 50;
/** With these Opus codes the mix as CELT, at a third of what SILK would cost. */
const OPUS_BITRATE = 32000;
const COMPLEXITY = 5;
const LEAST_BITRATE = 24000;

/** The sum of the voices at one rate, and room for a sum without one of them. */
class MixBus {
  readonly rate: MixRate;
  readonly sum: Int32Array;
  readonly others: Int32Array;
  voices = 0;

  constructor(rate: MixRate) {
    this.rate = rate;
    this.sum = new Int32Array(rate / FRAMES_PER_SECOND);
    this.others = new Int32Array(rate / FRAMES_PER_SECOND);
  }

  add(speaking: ReadonlySet<RoomParticipant>): void {
    this.sum.fill(0);
    this.voices = 0;
    for (const { voice } of speaking) {
      if (voice === undefined) continue;
      addTo(this.sum, voice.frame(this.rate));
      this.voices += 1;
    }
  }

  /** Everybody; undefined when nobody speaks. */
  all(): Int32Array | undefined {
    return this.voices === 0 ? undefined : this.sum;
  }

  /** Everybody but him; undefined when nobody else speaks. */
  without(participant: RoomParticipant): Int32Array | undefined {
    const { voice } = participant;
    if (voice === undefined) return this.all();
    if (this.voices <= 1) return undefined;
    mixMinusSelf(this.sum, voice.frame(this.rate), this.others);
    return this.others;
  }
}

export class RoomOutput {
  readonly #narrow = new MixBus(NARROW_HZ);
  readonly #wide = new MixBus(WIDE_HZ);
  readonly #g711 = new G711Output();
  #opus: OpusOutput | undefined;
  /** How many hear, by codec. */
  readonly #hearing: Record<RoomCodec, number> = { opus: 0, PCMU: 0, PCMA: 0 };
  /** How many want which Opus bit rate at most. */
  readonly #bitrates = new Map<number, number>();
  readonly #withPrivateOpus = new Set<RoomParticipant>();
  readonly #returning: RoomParticipant[] = [];

  /** Somebody comes, or what he agreed to has changed. */
  admit(media: ParticipantMedia): void {
    this.#count(media, 1);
  }

  dismiss(media: ParticipantMedia): void {
    this.#count(media, -1);
  }

  sharedFrame(codec: RoomCodec): MediaFrame {
    return codec === 'opus' ? this.#opusOutput().sharedFrame : this.#g711.sharedFrames[codec];
  }

  /** He talks: from now on he gets a mix of his own. */
  occupy(participant: RoomParticipant): void {
    const { codec, canHear } = participant.media;
    if (!canHear) return;
    if (codec === 'opus') {
      if (participant.privateOpus !== undefined) return;
      participant.privateOpus = this.#opusOutput().openPrivate();
      this.#withPrivateOpus.add(participant);
    } else {
      participant.privateG711 ??= this.#g711.openPrivate(codec);
    }
  }

  /** He talks no more. Opus goes back to the shared stream a little later, by itself. */
  vacate(participant: RoomParticipant): void {
    participant.privateG711 = undefined;
  }

  /** He leaves, hears no more, or changes codec. */
  release(participant: RoomParticipant): void {
    participant.privateG711 = undefined;
    if (participant.privateOpus === undefined) return;
    this.#opusOutput().closePrivate(participant.privateOpus);
    participant.privateOpus = undefined;
    this.#withPrivateOpus.delete(participant);
  }

  /** Mixes and encodes this tick's voices for everybody. */
  mix(speaking: ReadonlySet<RoomParticipant>): void {
    if (this.#hearing.PCMU + this.#hearing.PCMA > 0) this.#mixNarrow(speaking);
    if (this.#hearing.opus > 0) this.#mixWide(speaking);
  }

  close(): void {
    for (const { privateOpus } of this.#withPrivateOpus) privateOpus?.stream.close();
    this.#opus?.close();
  }

  #mixNarrow(speaking: ReadonlySet<RoomParticipant>): void {
    const bus = this.#narrow;
    bus.add(speaking);
    for (const participant of speaking) {
      const own = participant.privateG711;
      if (own === undefined) continue;
      this.#g711.encodePrivate(own, bus.without(participant), bus.voices - 1);
    }
    this.#g711.encodeShared(bus.all(), bus.voices);
  }

  #mixWide(speaking: ReadonlySet<RoomParticipant>): void {
    const bus = this.#wide;
    const opus = this.#opusOutput();
    this.#endPrivate(opus);
    bus.add(speaking);
    let talking = 0;
    for (const participant of this.#withPrivateOpus) {
      const own = participant.privateOpus;
      if (own === undefined) continue;
      if (participant.voice !== undefined) {
        talking += 1;
        opus.encodePrivate(own, bus.without(participant), bus.voices - 1);
      } else if (opus.followShared(own, bus.all(), bus.voices)) {
        this.#returning.push(participant);
      }
    }
    if (this.#hearing.opus > talking) opus.encodeShared(bus.all(), bus.voices);
  }

  /** Back to the shared stream go those whose own has followed it for long enough, unless they talk again. */
  #endPrivate(opus: OpusOutput): void {
    for (const participant of this.#returning) {
      if (participant.voice !== undefined || participant.privateOpus === undefined) continue;
      opus.closePrivate(participant.privateOpus);
      participant.privateOpus = undefined;
      this.#withPrivateOpus.delete(participant);
    }
    this.#returning.length = 0;
  }

  #opusOutput(): OpusOutput {
    this.#opus ??= new OpusOutput(
      (bitrate) => new OpusEncoder({ bitrate, application: 'audio', complexity: COMPLEXITY }),
      this.#bitrate(),
    );
    return this.#opus;
  }

  #count(media: ParticipantMedia, change: 1 | -1): void {
    if (media.canHear) this.#hearing[media.codec] += change;
    if (media.codec !== 'opus') return;
    const wanted = media.formatParameters.get('maxaveragebitrate') ?? '';
    const bitrate = /^[1-9]\d{0,8}$/.test(wanted) ? Number(wanted) : OPUS_BITRATE;
    const count = (this.#bitrates.get(bitrate) ?? 0) + change;
    if (count > 0) this.#bitrates.set(bitrate, count);
    else this.#bitrates.delete(bitrate);
    this.#opus?.setBitrate(this.#bitrate());
  }

  /** All hear the same stream, so the least that somebody asks for, as far as that is still good to hear. */
  #bitrate(): number {
    return Math.max(LEAST_BITRATE, Math.min(OPUS_BITRATE, ...this.#bitrates.keys()));
  }
}
