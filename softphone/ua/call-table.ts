/** Several calls kept apart: which one has the microphone and the speaker, and who is on hold meanwhile. */

import type { Log } from '../../core/log.ts';
import type { DeskChannel, SoundDesk } from '../audio/sound-desk.ts';
import type { Call } from './call.ts';

type Entry = {
  readonly call: Call;
  readonly channel: DeskChannel;
  isMuted: boolean;
  /** On hold only because another call has the sound: resumed when that one ends. */
  isHeldForOther: boolean;
};

export class CallTable {
  readonly #desk: SoundDesk;
  readonly #log: Log;
  readonly #isExclusive: boolean;
  /** In the order in which they had the sound, the latest last. */
  readonly #entries = new Map<string, Entry>();
  #activeId: string | undefined;

  /** @param isExclusive - whether only one call has the sound; otherwise all that are not on hold are mixed */
  constructor(desk: SoundDesk, isExclusive: boolean, log: Log) {
    this.#desk = desk;
    this.#isExclusive = isExclusive;
    this.#log = log;
  }

  get calls(): readonly Call[] {
    return [...this.#entries.values()].map(({ call }) => call);
  }

  /** The call that has the sound; undefined when none has. */
  get activeId(): string | undefined {
    return this.#activeId;
  }

  find(id: string): Call | undefined {
    return this.#entries.get(id)?.call;
  }

  isMuted(id: string): boolean {
    return this.#entries.get(id)?.isMuted === true;
  }

  setMuted(id: string, isMuted: boolean): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.isMuted = isMuted;
  }

  add(call: Call): void {
    const isActive = (): boolean => !this.#isExclusive || this.#activeId === call.id;
    const isMuted = (): boolean => this.isMuted(call.id);
    const isUp = (): boolean => call.phase === 'established' && !call.isHeld && isActive();
    const channel: DeskChannel = {
      get isHeard() {
        // Before the answer the other side may play something already.
        return isUp() || call.phase === 'ringing';
      },
      get isTalking() {
        return isUp();
      },
      get isMuted() {
        return isMuted();
      },
      exchange: (captured, heard, dueMs) => {
        if (call.media === undefined) heard.fill(0);
        else call.media.exchange(captured, heard, dueMs);
      },
    };
    this.#entries.set(call.id, { call, channel, isMuted: false, isHeldForOther: false });
  }

  /** A call has media from now on. */
  connect(call: Call): void {
    const entry = this.#entries.get(call.id);
    if (entry !== undefined) this.#desk.attach(entry.channel);
  }

  /** Gives a call the sound; the one that had it is put on hold. */
  async activate(call: Call): Promise<void> {
    const entry = this.#entries.get(call.id);
    if (entry === undefined) return;
    this.#activeId = call.id;
    this.#entries.delete(call.id);
    this.#entries.set(call.id, entry);
    entry.isHeldForOther = false;
    const others = [...this.#entries.values()].filter((other) => other !== entry);
    const changes = others
      .filter((other) => this.#isExclusive && isUp(other.call))
      .map(async (other) => {
        other.isHeldForOther = true;
        await this.#hold(other.call, true);
      });
    if (call.isHeld) changes.push(call.setHold(false));
    await Promise.all(changes);
  }

  /** A call that comes up while another one has the sound, and shall not take it. */
  async standBy(call: Call): Promise<void> {
    const entry = this.#entries.get(call.id);
    if (entry === undefined) return;
    if (this.#activeId === undefined || !this.#isExclusive) {
      await this.activate(call);
      return;
    }
    entry.isHeldForOther = true;
    await this.#hold(call, true);
  }

  /** The person puts it on hold: it stays so until the person resumes it. */
  async hold(call: Call): Promise<void> {
    const entry = this.#entries.get(call.id);
    if (entry !== undefined) entry.isHeldForOther = false;
    const hadSound = this.#activeId === call.id;
    if (hadSound) this.#activeId = undefined;
    try {
      await call.setHold(true);
    } catch (error) {
      if (hadSound) this.#activeId ??= call.id;
      throw error;
    }
  }

  /** It has ended; the call that had the sound before gets it back. */
  remove(call: Call): void {
    const entry = this.#entries.get(call.id);
    if (entry === undefined) return;
    this.#desk.detach(entry.channel);
    this.#entries.delete(call.id);
    if (this.#activeId !== call.id) return;
    this.#activeId = undefined;
    const waiting = [...this.#entries.values()].findLast(
      (other) => other.isHeldForOther && other.call.phase === 'established',
    );
    if (waiting === undefined) return;
    this.activate(waiting.call).catch((error: unknown) => {
      this.#log.warn('softphone.call.notResumed', () => ({ error: String(error) }));
    });
  }

  /** Without the other side's consent it is silent here all the same. */
  async #hold(call: Call, isHeld: boolean): Promise<void> {
    try {
      await call.setHold(isHeld);
    } catch (error) {
      this.#log.warn('softphone.call.notHeld', () => ({ error: String(error) }));
    }
  }
}

function isUp(call: Call): boolean {
  return call.phase === 'established' && !call.isHeld;
}
