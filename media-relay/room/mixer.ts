/** All rooms of one worker: makes them with their first participant, runs them by one clock, forgets them empty. */

import { ResourceError } from '../../core/errors.ts';
import { MixClock, type ClockStatistics, type Sleep } from './mix-clock.ts';
import { Room, type RoomResources } from './room.ts';
import type {
  CreateRoomMixer,
  MixerListener,
  Participant,
  ParticipantMedia,
  ParticipantPort,
  RoomMixer,
} from './seam.ts';
import { DecoderPool } from './voice.ts';

const DEFAULT_TALKERS = 3;
const MAX_TALKERS = 6;
const MAX_ROOMS = 2000;
const MAX_PARTICIPANTS = 10000;
/** So many streams of all rooms may be decoded on probation in 20 ms, at some 40 us each. */
const MAX_PROBES = 15;
const PROBES_PER_MS = MAX_PROBES / 20;

export type MixerOptions = {
  readonly listener: MixerListener;
  /** Monotonic milliseconds, with fractions. */
  readonly now: () => number;
  /** How many are heard at once, 1 to 6. */
  readonly talkers?: number;
  readonly maxRooms?: number;
  /** In one room. */
  readonly maxParticipants?: number;
  /** For tests: virtual time. */
  readonly sleep?: Sleep;
};

export class Mixer implements RoomMixer {
  readonly #rooms = new Map<string, Room>();
  readonly #clock: MixClock;
  readonly #resources: RoomResources;
  readonly #maxRooms: number;
  readonly #maxParticipants: number;

  constructor(options: MixerOptions) {
    const probes = { left: MAX_PROBES };
    let filledMs = options.now();
    this.#resources = {
      listener: options.listener,
      decoders: new DecoderPool(),
      talkers: Math.max(1, Math.min(MAX_TALKERS, options.talkers ?? DEFAULT_TALKERS)),
      probes,
    };
    this.#maxRooms = options.maxRooms ?? MAX_ROOMS;
    this.#maxParticipants = options.maxParticipants ?? MAX_PARTICIPANTS;
    this.#clock = new MixClock({
      now: options.now,
      ...(options.sleep && { sleep: options.sleep }),
      onPhase: (dueMs) => {
        const refill = Math.max(0, dueMs - filledMs) * PROBES_PER_MS;
        probes.left = Math.min(MAX_PROBES, probes.left + refill);
        filledMs = Math.max(filledMs, dueMs);
      },
    });
  }

  get roomCount(): number {
    return this.#rooms.size;
  }

  get participantCount(): number {
    return [...this.#rooms.values()].reduce((count, room) => count + room.size, 0);
  }

  get clockStatistics(): ClockStatistics {
    return this.#clock.statistics;
  }

  join(name: string, port: ParticipantPort, media: ParticipantMedia): Participant {
    const known = this.#rooms.get(name);
    if (known === undefined && this.#rooms.size >= this.#maxRooms) {
      throw new ResourceError('room.too-many', `there are ${this.#rooms.size} rooms already`);
    }
    if (known !== undefined && known.size >= this.#maxParticipants) {
      throw new ResourceError('room.full', `room ${name} has ${known.size} participants`);
    }
    const room = known ?? this.#open(name);
    return room.join(port, media);
  }

  close(): void {
    this.#clock.stop();
    for (const room of this.#rooms.values()) room.close();
    this.#rooms.clear();
  }

  #open(name: string): Room {
    const room: Room = new Room(name, this.#resources, () => {
      this.#clock.remove(room);
      room.close();
      this.#rooms.delete(name);
    });
    this.#rooms.set(name, room);
    this.#clock.add(room);
    return room;
  }
}

export const createRoomMixer: CreateRoomMixer = (options) => new Mixer(options);
