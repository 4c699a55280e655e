/** Which rooms there are, or may be made: their names, the numbers that keypads dial, and their capacity. */
import type { Config } from '../../../config/schema.ts';
import { canonicalName, canonicalRoomName } from '../names.ts';

export type RoomDefinition = {
  /** Canonical name, the key everywhere. */
  readonly name: string;
  /** What a roster shows: `#lobby`, or the configured title. */
  readonly title: string;
  readonly capacity: number;
  /** In the configuration, so it exists also when nobody is there. */
  readonly isPermanent: boolean;
};

export class RoomDirectory {
  readonly #byName = new Map<string, RoomDefinition>();
  readonly #byNumber = new Map<string, RoomDefinition>();
  readonly #settings: Config['rooms'];

  constructor(settings: Config['rooms']) {
    this.#settings = settings;
    for (const { name, number, title, capacity } of settings.list) {
      const canonical = canonicalRoomName(name) ?? canonicalName(name);
      if (canonical === undefined) continue;
      const shown = title === '' ? `#${canonical}` : title;
      const room = { name: canonical, title: shown, capacity, isPermanent: true };
      this.#byName.set(canonical, room);
      if (number !== undefined) this.#byNumber.set(number, room);
    }
  }

  /** The configured rooms, in the order of the configuration. */
  permanent(): readonly RoomDefinition[] {
    return [...this.#byName.values()];
  }

  /** Whether a bare name or number (canonical) is a room's: such a name cannot be an account's. */
  holds(name: string): boolean {
    return this.#byName.has(name) || this.#byNumber.has(name);
  }

  /**
   * The room that a user part means.
   *
   * @param rawUser - as written in the request-URI: `lobby`, `1000`, `%23turbo`
   * @returns `undefined` when it is not a room's: no configured name or number, and no `#` before it
   */
  find(rawUser: string): RoomDefinition | undefined {
    const marked = canonicalRoomName(rawUser);
    if (marked !== undefined) return this.#byName.get(marked) ?? this.#adHoc(marked);
    const bare = canonicalName(rawUser);
    if (bare === undefined) return undefined;
    return this.#byName.get(bare) ?? this.#byNumber.get(bare);
  }

  #adHoc(name: string): RoomDefinition {
    const capacity = this.#settings.newRoomCapacity;
    return { name, title: `#${name}`, capacity, isPermanent: false };
  }
}

/** How a room is written in a URI of ours: bare when it is configured, with its escaped `#` otherwise. */
export function userPartOf(room: RoomDefinition): string {
  return room.isPermanent ? room.name : `#${room.name}`;
}
