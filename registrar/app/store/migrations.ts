/** The history of the tables; each step runs once, in order of its name, and is never changed afterwards. */
import { sql, type Kysely, type Migration, type MigrationProvider } from 'kysely';

const FIRST_TABLES: readonly string[] = [
  `CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT`,
  `CREATE TABLE accounts (
     nickname TEXT PRIMARY KEY,
     spelling TEXT NOT NULL,
     displayName TEXT NOT NULL,
     realm TEXT NOT NULL,
     ha1Md5 TEXT NOT NULL,
     ha1Sha256 TEXT NOT NULL,
     createdAtMs INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE bindings (
     nickname TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
     bindingKey TEXT NOT NULL,
     contactUri TEXT NOT NULL,
     contactParameters TEXT NOT NULL,
     callId TEXT NOT NULL,
     cseq INTEGER NOT NULL,
     q REAL NOT NULL,
     instanceId TEXT,
     regId INTEGER,
     userAgent TEXT,
     sourceAddress TEXT NOT NULL,
     sourcePort INTEGER NOT NULL,
     transport TEXT NOT NULL,
     expiresAtMs INTEGER NOT NULL,
     updatedAtMs INTEGER NOT NULL,
     PRIMARY KEY (nickname, bindingKey)
   ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE calls (
     id INTEGER PRIMARY KEY,
     callId TEXT NOT NULL,
     caller TEXT NOT NULL,
     callee TEXT NOT NULL,
     startedAtMs INTEGER NOT NULL,
     answeredAtMs INTEGER,
     endedAtMs INTEGER NOT NULL,
     sipStatus INTEGER NOT NULL,
     endedBy TEXT NOT NULL,
     reason TEXT NOT NULL,
     legs TEXT
   ) STRICT`,
  `CREATE INDEX callsByTime ON calls (startedAtMs)`,
  `CREATE TABLE messages (
     id INTEGER PRIMARY KEY,
     recipient TEXT NOT NULL REFERENCES accounts ON DELETE CASCADE,
     sender TEXT NOT NULL,
     senderDisplayName TEXT NOT NULL,
     contentType TEXT NOT NULL,
     contentEncoding TEXT,
     body BLOB NOT NULL,
     receivedAtMs INTEGER NOT NULL
   ) STRICT`,
  `CREATE INDEX messagesByRecipient ON messages (recipient, id)`,
];

/** Names sort in the order of time. */
const STEPS: Readonly<Record<string, Migration>> = {
  '0001-first-tables': steps(FIRST_TABLES),
  '0002-path': steps(['ALTER TABLE bindings ADD COLUMN path TEXT']),
};

function steps(statements: readonly string[]): Migration {
  return {
    up: async (db: Kysely<unknown>) => {
      for (const statement of statements) await sql.raw(statement).execute(db);
    },
  };
}

export const migrationProvider: MigrationProvider = {
  getMigrations: () => Promise.resolve({ ...STEPS }),
};
