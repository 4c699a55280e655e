/** The SQLite file that keeps accounts, bindings, call records and messages. */
import { chmodSync, closeSync, openSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { Kysely, Migrator, SqliteDialect } from 'kysely';
import { makeFolder } from '../../../config/make-folder.ts';
import { ConfigError } from '../../../core/errors.ts';
import { GroupCommit } from './group-commit.ts';
import { migrationProvider } from './migrations.ts';
import type { Tables } from './tables.ts';

export type StoreValue = string | number | null | Buffer;

export type Store = {
  /**
   * Typed queries for what happens seldom; each runs at once and blocks the thread for its duration.
   * Never `db.transaction()`: group commits share the connection and would fall into it.
   */
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
  /** Changes whenever another process has written to the file. */
  dataVersion(): number;
  /** Commits what waits and closes the file. */
  close(): Promise<void>;
};

/** How long the first write of a group waits for company; a phone does not notice. */
const GROUP_DELAY_MS = 2;
const GROUP_MAX_WRITES = 500;
/** The command line and the switch may write at the same time. */
const BUSY_TIMEOUT_MS = 5000;

const FILE_NAME = 'parley.sqlite';

/**
 * Opens (or makes) the file in `folder` and brings its tables up to date. Folder 0700, file 0600: it holds what
 * passwords can be guessed from.
 *
 * @throws ConfigError `data.unusable` with what to do, when the folder cannot be made, read or written
 */
export async function openStore(folder: string): Promise<Store> {
  const file = path.join(path.resolve(folder), FILE_NAME);
  const sqlite = openDatabase(folder, file);
  try {
    const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: sqlite }) });
    await migrate(db, file);
    return storeOn(sqlite, db);
  } catch (error) {
    sqlite.close();
    throw error;
  }
}

function openDatabase(folder: string, file: string): Database.Database {
  try {
    makeFolder(folder);
    // Made before SQLite opens it, so that it never exists with wider rights; the files beside it get the same.
    closeSync(openSync(file, 'a', 0o600));
    chmodSync(file, 0o600);
    const sqlite = new Database(file, { timeout: BUSY_TIMEOUT_MS });
    sqlite.pragma('journal_mode = WAL');
    // A commit survives the death of the process; only the loss of power can take the last of them.
    sqlite.pragma('synchronous = NORMAL');
    sqlite.pragma('foreign_keys = ON');
    return sqlite;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      'data.unusable',
      `cannot keep data in ${path.resolve(folder)}: ${reason}; make that folder writable, or set dataFolder to another`,
      { cause },
    );
  }
}

async function migrate(db: Kysely<Tables>, file: string): Promise<void> {
  const { error } = await new Migrator({ db, provider: migrationProvider }).migrateToLatest();
  if (error === undefined) return;
  const reason = error instanceof Error ? error.message : 'unknown reason';
  throw new ConfigError(
    'data.unusable',
    `cannot bring ${file} up to date: ${reason}; it may belong to a newer version of Parley`,
    { cause: error },
  );
}

function storeOn(sqlite: Database.Database, db: Kysely<Tables>): Store {
  const dataVersion = sqlite.prepare('PRAGMA data_version').pluck();
  const transact = sqlite.transaction((body: () => void) => {
    body();
  });
  const groups = new GroupCommit({
    transact: (body) => {
      transact.immediate(body);
    },
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs);
      return () => {
        clearTimeout(timer);
      };
    },
    delayMs: GROUP_DELAY_MS,
    maxWrites: GROUP_MAX_WRITES,
  });
  return {
    db,
    enqueue: (write) => groups.enqueue(write),
    prepare: (sql) => {
      const statement = sqlite.prepare(sql);
      return {
        run: (...parameters) => {
          statement.run(...parameters);
        },
      };
    },
    dataVersion: () => dataVersion.get() as number,
    close: async () => {
      groups.flush();
      await db.destroy();
    },
  };
}
