/**
 * One room: every 20 ms the voices of the few who talk become one sum, one encode for each codec, and one packet for
 * everybody. The number of participants enters only where packets come in and go out.
 */

import { levelDbov } from '../../core/audio/level.ts';
import { digitOf, type ReceivedEvent } from '../../core/rtp/telephone-event.ts';
import { EventRelay } from './event-relay.ts';
import type { MediaFrame } from './media-frame.ts';
import { RoomOutput } from './room-output.ts';
import { RoomParticipant, type ParticipantOwner } from './room-participant.ts';
import type { MixerListener, ParticipantMedia, ParticipantPort } from './seam.ts';
import { TalkerSelection } from './talker-selection.ts';
import { Voice, type DecoderPool } from './voice.ts';

const TALKERS_EVENT_MS = 300;
const EVENT_POLL_TICKS = 5;
/** 20 ms of Opus at 48 kHz, and room for the longest packet. */
const PROBE_SAMPLES = 5760;
/** How many packets of a doubtful stream are decoded to learn its level. */
const PROBE_PACKETS = 2;

/** What all rooms of a thread share. */
export type RoomResources = {
  readonly listener: MixerListener;
  readonly decoders: DecoderPool;
  /** How many are heard at once, 1 to 6. */
  readonly talkers: number;
  /** Streams that may be decoded on probation now. */
  readonly probes: { left: number };
};

export class Room implements ParticipantOwner {
  readonly name: string;
  readonly #resources: RoomResources;
  readonly #onEmpty: () => void;
  readonly #participants: RoomParticipant[] = [];
  readonly #selection: TalkerSelection<RoomParticipant>;
  readonly #output = new RoomOutput();
  readonly #events = new EventRelay<RoomParticipant>();
  /** Who has a voice in the mix, those who are fading out included. */
  readonly #speaking = new Set<RoomParticipant>();
  readonly #doubted: RoomParticipant[] = [];
  readonly #probe = new Int16Array(PROBE_SAMPLES);
  #pressing = new Set<RoomParticipant>();
  #tick = 0;
  #toldTalkers: readonly RoomParticipant[] = [];
  #toldMs = -Infinity;

  /** @param onEmpty - the last participant has left */
  constructor(name: string, resources: RoomResources, onEmpty: () => void) {
    this.name = name;
    this.#resources = resources;
    this.#onEmpty = onEmpty;
    this.#selection = new TalkerSelection(resources.talkers);
  }

  get size(): number {
    return this.#participants.length;
  }

  join(port: ParticipantPort, media: ParticipantMedia): RoomParticipant {
    const participant = new RoomParticipant(port, media, this);
    participant.index = this.#participants.push(participant) - 1;
    this.#output.admit(media);
    return participant;
  }

  /** @param dueMs - when this tick was to happen, on the clock of the packets' arrival */
  tick(dueMs: number): void {
    this.#tick += 1;
    this.#probeDoubted(dueMs);
    this.#selection.update(dueMs);
    this.#changeVoices();
    for (const participant of this.#speaking) {
      const { voice } = participant;
      voice?.pull(dueMs, !this.#selection.talkers.has(participant));
      if (voice !== undefined) participant.noteLevel(voice.levelDbov);
    }
    this.#output.mix(this.#speaking);
    this.#events.tick();
    this.#sendAll();
    this.#endVoices();
    this.#tellTalkers(dueMs);
    if (this.#tick % EVENT_POLL_TICKS === 0) {
      for (const participant of this.#pressing) participant.pollEvents(dueMs);
    }
  }

  /** Ticks that were too late to happen: time goes on for everybody's stream. */
  miss(ticks: number): void {
    for (const participant of this.#participants) participant.stream.pass(ticks);
  }

  close(): void {
    for (const participant of this.#speaking) participant.voice?.close();
    this.#speaking.clear();
    this.#output.close();
  }

  onSpeech(participant: RoomParticipant): void {
    this.#selection.note(participant);
  }

  onDoubt(participant: RoomParticipant): void {
    if (participant.isDoubted) return;
    participant.isDoubted = true;
    if (participant.activity.wantsDecoding === 'soon') this.#doubted.unshift(participant);
    else this.#doubted.push(participant);
  }

  onEvents(participant: RoomParticipant, events: readonly ReceivedEvent[]): void {
    for (const event of events) {
      if (event.kind === 'started') {
        this.#pressing.add(participant);
        if (participant.canBeHeard) this.#events.begin(participant, event.event, event.volume);
        continue;
      }
      this.#pressing.delete(participant);
      this.#events.end(participant, event.event, event.durationMs);
      const digit = digitOf(event.event);
      const { callId, fromTag } = participant.port;
      if (digit !== undefined) {
        this.#resources.listener.onDigit(this.name, callId, fromTag, digit);
      }
    }
  }

  onUpdate(participant: RoomParticipant, before: ParticipantMedia): void {
    const { media } = participant;
    this.#output.dismiss(before);
    this.#output.admit(media);
    if (media.codec !== before.codec || !media.canHear) this.#output.release(participant);
    if (media.codec !== before.codec || !media.canTalk) this.#silence(participant);
  }

  onMuted(participant: RoomParticipant): void {
    if (participant.isMuted) this.#selection.remove(participant);
  }

  onLeave(participant: RoomParticipant): void {
    this.#silence(participant);
    this.#output.release(participant);
    this.#output.dismiss(participant.media);
    this.#events.abandon(participant);
    this.#pressing.delete(participant);
    const last = this.#participants.pop();
    if (last !== undefined && last !== participant) {
      this.#participants[participant.index] = last;
      last.index = participant.index;
    }
    if (this.#participants.length === 0) this.#onEmpty();
  }

  /** Takes him out of the mix at once. */
  #silence(participant: RoomParticipant): void {
    this.#selection.remove(participant);
    this.#speaking.delete(participant);
    participant.voice?.close();
    participant.voice = undefined;
  }

  /** Decodes a packet of those of whom nobody can tell whether they speak, as far as the time allows. */
  #probeDoubted(dueMs: number): void {
    const { probes, decoders } = this.#resources;
    while (probes.left >= 1) {
      const participant = this.#doubted.shift();
      if (participant === undefined) return;
      participant.isDoubted = false;
      if (participant.voice !== undefined || participant.media.codec !== 'opus') continue;
      probes.left -= 1;
      const decoder = decoders.take('opus');
      let samples = 0;
      for (const packet of participant.jitterBuffer.latest(PROBE_PACKETS)) {
        samples = decoder.decode(packet, this.#probe);
      }
      decoders.give('opus', decoder);
      const level = levelDbov(this.#probe, samples);
      participant.activity.correct(level);
      participant.noteLevel(level);
      if (!participant.activity.isKnownSpeech || !participant.canBeHeard) continue;
      participant.lastSpeechMs = dueMs;
      this.#selection.note(participant);
    }
  }

  #changeVoices(): void {
    for (const participant of this.#selection.talkers) {
      if (participant.voice === undefined) {
        const { codec } = participant.media;
        participant.voice = new Voice(codec, participant, this.#resources.decoders);
      }
      this.#speaking.add(participant);
      this.#output.occupy(participant);
    }
  }

  /** Those who faded out in this tick. */
  #endVoices(): void {
    for (const participant of this.#speaking) {
      if (this.#selection.talkers.has(participant)) continue;
      this.#speaking.delete(participant);
      participant.voice?.close();
      participant.voice = undefined;
      this.#output.vacate(participant);
    }
  }

  #sendAll(): void {
    const { source } = this.#events;
    for (const participant of this.#participants) {
      const { stream, media } = participant;
      if (!media.canHear) stream.pause();
      else if (source !== undefined && source !== participant && media.telephoneEvent) {
        stream.sendEvent(
          this.#events.frame(media.telephoneEvent.clockRateHz),
          this.#events.isFirst,
        );
      } else stream.sendAudio(this.#frameFor(participant));
    }
  }

  #frameFor(participant: RoomParticipant): MediaFrame {
    const own = participant.privateOpus ?? participant.privateG711;
    return own === undefined ? this.#output.sharedFrame(participant.media.codec) : own.frame;
  }

  #tellTalkers(dueMs: number): void {
    if (dueMs - this.#toldMs < TALKERS_EVENT_MS) return;
    const talkers = [...this.#selection.talkers].sort((a, b) => b.levelDbov - a.levelDbov);
    const isSame =
      talkers.length === this.#toldTalkers.length &&
      talkers[0] === this.#toldTalkers[0] &&
      talkers.every((talker) => this.#toldTalkers.includes(talker));
    if (isSame) return;
    this.#toldTalkers = talkers;
    this.#toldMs = dueMs;
    this.#resources.listener.onTalkers(
      this.name,
      talkers.map((talker) => talker.port.callId),
    );
  }
}
