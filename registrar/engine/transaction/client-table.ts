/** The client transactions at work, by what their responses carry and by where their datagrams go. */

import type { Endpoint } from '../seam.ts';
import { endpointKey } from '../transport/address.ts';
import type { Hop } from '../transport/flow.ts';

/** What the table needs to know of a transaction; neither may change while it is in the table. */
type Entry = { readonly key: string; readonly hop: Hop | undefined };

export class ClientTable<Transaction extends Entry> {
  readonly #byKey = new Map<string, Transaction>();
  /** Only those that go by UDP: a connection knows its users itself. */
  readonly #byDestination = new Map<string, Set<Transaction>>();

  get size(): number {
    return this.#byKey.size;
  }

  /** Places that datagrams go to and that are watched for errors. */
  get destinationCount(): number {
    return this.#byDestination.size;
  }

  add(transaction: Transaction): void {
    this.#byKey.set(transaction.key, transaction);
    const destination = destinationOf(transaction.hop);
    if (destination === undefined) return;
    const others = this.#byDestination.get(destination);
    if (others === undefined) this.#byDestination.set(destination, new Set([transaction]));
    else others.add(transaction);
  }

  /** Removing what is not there, or has been replaced, changes nothing. */
  remove(transaction: Transaction): void {
    if (this.#byKey.get(transaction.key) === transaction) this.#byKey.delete(transaction.key);
    const destination = destinationOf(transaction.hop);
    const others = destination === undefined ? undefined : this.#byDestination.get(destination);
    if (destination === undefined || others?.delete(transaction) !== true) return;
    if (others.size === 0) this.#byDestination.delete(destination);
  }

  get(key: string): Transaction | undefined {
    return this.#byKey.get(key);
  }

  /**
   * Those whose datagrams go there. Each is given out once: whoever takes them ends them, or sends them elsewhere, so
   * that a storm of errors costs no more than what it ends.
   */
  takeThoseTo(listenerId: number, remote: Endpoint): Iterable<Transaction> {
    const destination = destinationKey(listenerId, remote);
    const transactions = this.#byDestination.get(destination) ?? [];
    this.#byDestination.delete(destination);
    return transactions;
  }
}

function destinationOf(hop: Hop | undefined): string | undefined {
  if (hop === undefined || hop.flow !== undefined) return undefined;
  return destinationKey(hop.listener.id, hop.remote);
}

function destinationKey(listenerId: number, remote: Endpoint): string {
  return `${listenerId}/${endpointKey(remote)}`;
}
