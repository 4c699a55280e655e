/** The SQLite file that keeps accounts, bindings, call records and messages. */
import type { Kysely } from 'kysely';
import type { Tables } from './tables.ts';

export type Store = {
  /** Typed queries for what happens seldom; each runs at once and blocks the thread for its duration. */
  readonly db: Kysely<Tables>;
  /**
   * Runs `write` inside the next transaction, together with whatever else waits (group commit, within a few ms).
   * `write` must be synchronous: prepared statements only.
   *
   * @returns resolves when it is durable against the death of the process; rejects if its transaction failed
   */
  enqueue(write: () => void): Promise<void>;
  /** Prepares a statement for use inside `enqueue`; parameters by position. */
  prepare(sql: string): { run(...parameters: readonly StoreValue[]): void };
  /** Commits what waits and closes the file. */
  close(): Promise<void>;
};

export type StoreValue = string | number | null | Buffer;
