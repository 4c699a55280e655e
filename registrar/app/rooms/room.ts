/** One room while somebody is in it or watches it: its participants, its roster, and who is told of changes. */
import type { Clock } from '../clock.ts';
import type { Participant } from './participant.ts';
import type { RoomDefinition } from './room-directory.ts';
import type { Roster, RosterUser } from './roster-document.ts';
import type { RosterSubscription } from './roster-subscription.ts';

/** At most one roster document a second goes to each subscriber (RFC 4575 section 3.9). */
const NOTIFY_INTERVAL_MS = 1000;

export class Room {
  readonly definition: RoomDefinition;
  readonly #clock: Clock;
  readonly #onEmpty: () => void;
  readonly #participants = new Set<Participant>();
  readonly #subscriptions = new Set<RosterSubscription>();
  readonly #changed = new Set<string>();
  #lastNotifyMs = -Infinity;
  #cancelFlush: (() => void) | undefined;

  /** @param onEmpty - nobody is there and nobody watches */
  constructor(definition: RoomDefinition, clock: Clock, onEmpty: () => void) {
    this.definition = definition;
    this.#clock = clock;
    this.#onEmpty = onEmpty;
  }

  get participants(): ReadonlySet<Participant> {
    return this.#participants;
  }

  get subscriptionCount(): number {
    return this.#subscriptions.size;
  }

  get isFull(): boolean {
    return this.#participants.size >= this.definition.capacity;
  }

  add(participant: Participant): void {
    this.#participants.add(participant);
    this.noteChange(participant);
  }

  remove(participant: Participant): void {
    if (!this.#participants.delete(participant)) return;
    this.noteChange(participant);
    this.#checkEmpty();
  }

  /** Somebody came, left, or holds: subscribers hear of it within a second. */
  noteChange(participant: Participant): void {
    this.#changed.add(participant.account.nickname);
    if (this.#subscriptions.size === 0) {
      this.#changed.clear();
      return;
    }
    if (this.#cancelFlush !== undefined) return;
    const dueMs = Math.max(0, this.#lastNotifyMs + NOTIFY_INTERVAL_MS - this.#clock.nowMs());
    this.#cancelFlush = this.#clock.after(dueMs, () => {
      this.#flush();
    });
  }

  subscribe(subscription: RosterSubscription): void {
    this.#subscriptions.add(subscription);
  }

  unsubscribe(subscription: RosterSubscription): void {
    if (!this.#subscriptions.delete(subscription)) return;
    this.#checkEmpty();
  }

  roster(): Roster {
    const users = new Map<string, RosterUser & { endpoints: RosterUser['endpoints'][number][] }>();
    for (const { account, id, direction } of this.#participants) {
      const endpoint = { id, direction };
      const user = users.get(account.nickname);
      if (user !== undefined) {
        user.endpoints.push(endpoint);
        continue;
      }
      const displayName = account.displayName === '' ? account.spelling : account.displayName;
      users.set(account.nickname, {
        nickname: account.nickname,
        displayName,
        endpoints: [endpoint],
      });
    }
    return { title: this.definition.title, users: [...users.values()] };
  }

  /** Hangs up on everybody and ends every subscription; resolves when all have answered or were given up. */
  async close(why: { readonly cause: number; readonly text: string }): Promise<void> {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    const ends = [
      ...[...this.#participants].map((participant) => participant.hangUp(why)),
      ...[...this.#subscriptions].map((subscription) => subscription.terminate('noresource', why)),
    ];
    await Promise.all(ends);
  }

  #flush(): void {
    this.#cancelFlush = undefined;
    this.#lastNotifyMs = this.#clock.nowMs();
    const changed = new Set(this.#changed);
    this.#changed.clear();
    const roster = this.roster();
    for (const subscription of this.#subscriptions) subscription.notifyChange(roster, changed);
  }

  #checkEmpty(): void {
    if (this.#participants.size > 0 || this.#subscriptions.size > 0) return;
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    this.#onEmpty();
  }
}
