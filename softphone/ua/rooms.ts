/** The rooms that one is in: their calls, their rosters, and the wish to be in them after an interruption. */

import { RefusedError } from '../../core/errors.ts';
import { roomName, roomUri } from './address.ts';
import type { CallEnd } from './call-end.ts';
import type { Call } from './call.ts';
import type { RoomSubscription } from './room-subscription.ts';
import type { Participant, RosterChange } from './roster.ts';

export type RoomEvents = {
  joined(room: string): void;
  left(room: string, end: CallEnd): void;
  roster(room: string, change: RosterChange): void;
};

export type RoomsOptions = {
  readonly domain: string;
  readonly events: RoomEvents;
  /** Calls the room; `isWanted`: by the person just now, not by ourselves after an interruption. */
  readonly dial: (uri: string, isWanted: boolean) => Call;
  readonly subscribe: (uri: string, onChange: (change: RosterChange) => void) => RoomSubscription;
};

type Membership = {
  readonly name: string;
  readonly uri: string;
  readonly call: Call;
  subscription: RoomSubscription | undefined;
  isIn: boolean;
  readonly waiting: { resolve: () => void; reject: (error: Error) => void }[];
};

export class Rooms {
  readonly #options: RoomsOptions;
  readonly #rooms = new Map<string, Membership>();
  /** Names and URIs to be in whenever there is a connection. */
  readonly #wanted = new Map<string, string>();

  constructor(options: RoomsOptions) {
    this.#options = options;
  }

  /** Names of the rooms that one is in. */
  get names(): readonly string[] {
    return [...this.#rooms.values()].filter(({ isIn }) => isIn).map(({ name }) => name);
  }

  /** The room of a name or URI, if one is in it or on the way. */
  find(
    room: string,
  ): { readonly name: string; readonly uri: string; readonly call: Call } | undefined {
    return this.#rooms.get(roomName(room));
  }

  findByCall(call: Call): { readonly name: string; readonly uri: string } | undefined {
    return [...this.#rooms.values()].find((membership) => membership.call === call);
  }

  roster(room: string): readonly Participant[] {
    return this.#rooms.get(roomName(room))?.subscription?.participants ?? [];
  }

  /**
   * Resolves when one is in the room.
   *
   * @throws RefusedError with the status of the answer
   */
  join(room: string): Promise<void> {
    const name = roomName(room);
    const uri = roomUri(room, this.#options.domain);
    this.#wanted.set(name, uri);
    return this.#enter(name, uri, true);
  }

  /** To be in this room from the next `rejoin` on. */
  want(room: string): void {
    this.#wanted.set(roomName(room), roomUri(room, this.#options.domain));
  }

  /** @throws RefusedError `softphone.room.notIn` */
  leave(room: string): void {
    const name = roomName(room);
    this.#wanted.delete(name);
    const membership = this.#rooms.get(name);
    if (membership === undefined) {
      throw new RefusedError('softphone.room.notIn', `You are not in the room #${name}.`, 404);
    }
    membership.call.hangUp();
  }

  /** There is a registration: back into every room that was left without wanting to. */
  rejoin(): void {
    for (const [name, uri] of this.#wanted) {
      if (this.#rooms.has(name)) continue;
      // Why not is told by the event `left`.
      this.#enter(name, uri, false).catch(() => undefined);
    }
  }

  /** A call has changed: it may have turned out to be a room, or be answered by now. */
  changed(call: Call): void {
    const { focusUri } = call;
    let membership = [...this.#rooms.values()].find((known) => known.call === call);
    if (membership === undefined && focusUri !== undefined && call.direction === 'outgoing') {
      membership = this.#add(roomName(call.remote.uri), call.remote.uri, call);
    }
    if (membership === undefined || call.phase !== 'established') return;
    if (!membership.isIn) {
      membership.isIn = true;
      for (const { resolve } of membership.waiting.splice(0)) resolve();
      this.#options.events.joined(membership.name);
    }
    if (focusUri !== undefined && membership.subscription === undefined) {
      const { name } = membership;
      membership.subscription = this.#options.subscribe(focusUri, (change) => {
        this.#options.events.roster(name, change);
      });
    }
  }

  ended(call: Call, end: CallEnd): void {
    const membership = [...this.#rooms.values()].find((known) => known.call === call);
    if (membership === undefined) return;
    const { name, waiting, subscription } = membership;
    this.#rooms.delete(name);
    subscription?.stop();
    if (!isInterruption(end)) this.#wanted.delete(name);
    const message = `Not in the room #${name}: ${end.text}.`;
    const error = new RefusedError('softphone.room.refused', message, end.statusCode ?? 480);
    for (const { reject } of waiting) reject(error);
    this.#options.events.left(name, end);
  }

  #enter(name: string, uri: string, isWanted: boolean): Promise<void> {
    const known = this.#rooms.get(name);
    if (known?.isIn === true) return Promise.resolve();
    const membership = known ?? this.#add(name, uri, this.#options.dial(uri, isWanted));
    return new Promise((resolve, reject) => {
      membership.waiting.push({ resolve, reject });
    });
  }

  #add(name: string, uri: string, call: Call): Membership {
    const membership: Membership = {
      name,
      uri,
      call,
      subscription: undefined,
      isIn: false,
      waiting: [],
    };
    this.#rooms.set(name, membership);
    return membership;
  }
}

/** The server went away or restarts: not what anybody wanted. */
function isInterruption({ kind, statusCode }: CallEnd): boolean {
  return kind === 'lost' || statusCode === 503 || statusCode === 500 || statusCode === 408;
}
