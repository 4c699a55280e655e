/** All dialogs, by the id that applications use and by what the network calls them. */

import type { Dialog } from './dialog.ts';
import { dialogKey } from './dialog.ts';

export class Dialogs {
  readonly #byKey = new Map<string, Dialog>();
  /** Forks of one INVITE share the id; the first is the one that applications mean. */
  readonly #byId = new Map<string, Dialog[]>();

  get size(): number {
    return this.#byKey.size;
  }

  [Symbol.iterator](): IterableIterator<Dialog> {
    return this.#byKey.values();
  }

  add(dialog: Dialog): void {
    this.#byKey.set(dialog.key, dialog);
    const sharing = this.#byId.get(dialog.id);
    if (sharing === undefined) this.#byId.set(dialog.id, [dialog]);
    else sharing.push(dialog);
  }

  /** Makes this the dialog that applications mean by the id. */
  prefer(dialog: Dialog): void {
    const sharing = this.#byId.get(dialog.id);
    if (sharing === undefined || sharing[0] === dialog) return;
    const others = sharing.filter((other) => other !== dialog);
    this.#byId.set(dialog.id, [dialog, ...others]);
  }

  remove(dialog: Dialog): void {
    dialog.state = 'ended';
    if (this.#byKey.get(dialog.key) === dialog) this.#byKey.delete(dialog.key);
    const rest = this.#byId.get(dialog.id)?.filter((other) => other !== dialog) ?? [];
    if (rest.length === 0) this.#byId.delete(dialog.id);
    else this.#byId.set(dialog.id, rest);
  }

  byId(id: string): Dialog | undefined {
    return this.#byId.get(id)?.[0];
  }

  /** All forks that share the id, the preferred one first. */
  allById(id: string): readonly Dialog[] {
    return this.#byId.get(id) ?? [];
  }

  /** The dialog of a request from the network: its To tag is ours, its From tag theirs. */
  find(callId: string, localTag: string, remoteTag: string): Dialog | undefined {
    return this.#byKey.get(dialogKey(callId, localTag, remoteTag));
  }
}
