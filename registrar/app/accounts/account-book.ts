/** All accounts in memory, kept in the store, and read anew when the command line has changed them there. */
import { TypedEmitter } from '../../../core/events.ts';
import { RefusedError } from '../../../core/errors.ts';
import type { Log } from '../../../core/log.ts';
import { canonicalName, type Names } from '../names.ts';
import type { Store } from '../store/store.ts';
import type { AccountsTable } from '../store/tables.ts';
import type { Account, AccountEvents, Accounts, AccountSecrets, NewAccount } from './accounts.ts';
import { computeHa1 } from '../../../core/sip/digest.ts';
import { escapeUser } from '../../../core/sip/uri.ts';
import type { OfferedAlgorithm } from './credentials.ts';

export type AccountBookOptions = {
  readonly store: Store;
  readonly names: Names;
  /** The digest realm, which is the domain's name. */
  readonly realm: string;
  readonly wallMs: () => number;
  readonly log: Log;
};

type Ha1s = Readonly<Record<string, string>>;
type Entry = { readonly account: Account; readonly ha1s: Readonly<Record<OfferedAlgorithm, Ha1s>> };

/** How old the last look at the store may be when nothing is amiss. */
const CHECK_MS = 50;

const MAX_PASSWORD_BYTES = 1024;
const MAX_DISPLAY_NAME_CHARACTERS = 128;

export class AccountBook implements Accounts, AccountSecrets {
  readonly #store: Store;
  readonly #names: Names;
  readonly #realm: string;
  readonly #wallMs: () => number;
  readonly #events: TypedEmitter<AccountEvents>;
  #entries = new Map<string, Entry>();
  #otherRealms: readonly string[] = [];
  #version = -1;
  #checkedAtMs = -Infinity;
  #reading: Promise<void> | undefined;

  private constructor(options: AccountBookOptions) {
    this.#store = options.store;
    this.#names = options.names;
    this.#realm = options.realm;
    this.#wallMs = options.wallMs;
    this.#events = new TypedEmitter((error) => {
      options.log.error('registrar.accounts.listenerFailed', () => ({ error }));
    });
    options.names.addSource('account', (name) => this.#entries.has(name));
  }

  /** Reads the accounts and adds them to the names. */
  static async open(options: AccountBookOptions): Promise<AccountBook> {
    const book = new AccountBook(options);
    await book.refresh();
    return book;
  }

  on<Name extends keyof AccountEvents>(
    name: Name,
    listener: (...args: AccountEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  find(nickname: string): Account | undefined {
    return this.#entries.get(nickname)?.account;
  }

  list(): readonly Account[] {
    const accounts = [...this.#entries.values()].map(({ account }) => account);
    return accounts.sort((a, b) => (a.nickname < b.nickname ? -1 : 1));
  }

  /** Realms, other than ours, that some accounts were made for: they cannot log in until their passwords are set anew. */
  get otherRealms(): readonly string[] {
    return this.#otherRealms;
  }

  secretOf(
    username: string,
    algorithm: OfferedAlgorithm,
  ): { account: Account; ha1: string } | undefined {
    const at = username.lastIndexOf('@');
    const nickname = canonicalName(at < 0 ? username : username.slice(0, at));
    const entry = nickname === undefined ? undefined : this.#entries.get(nickname);
    const ha1s = entry?.ha1s[algorithm];
    const ha1 = ha1s !== undefined && Object.hasOwn(ha1s, username) ? ha1s[username] : undefined;
    return entry === undefined || ha1 === undefined ? undefined : { account: entry.account, ha1 };
  }

  async add({ nickname: spelling, password, displayName = '' }: NewAccount): Promise<Account> {
    await this.refresh();
    const nickname = this.#names.claim(spelling);
    checkPassword(password);
    checkDisplayName(displayName);
    const row: AccountsTable = {
      nickname,
      spelling: spelling.normalize('NFC'),
      displayName,
      createdAtMs: this.#wallMs(),
      ...this.#secretsFor(nickname, spelling, password),
    };
    await this.#store.db.insertInto('accounts').values(row).execute();
    const entry = entryOf(row);
    this.#entries.set(nickname, entry);
    return entry.account;
  }

  async setPassword(nickname: string, password: string): Promise<void> {
    const { account } = await this.#existing(nickname);
    checkPassword(password);
    const secrets = this.#secretsFor(account.nickname, account.spelling, password);
    const { db } = this.#store;
    await db
      .updateTable('accounts')
      .set(secrets)
      .where('nickname', '=', account.nickname)
      .execute();
    await this.#read();
  }

  async remove(nickname: string): Promise<void> {
    const { account } = await this.#existing(nickname);
    await this.#store.db.deleteFrom('accounts').where('nickname', '=', account.nickname).execute();
    this.#entries.delete(account.nickname);
    this.#events.emit('accountRemoved', account);
  }

  refresh(isUrgent = true): Promise<void> | undefined {
    const nowMs = this.#wallMs();
    if (!isUrgent && Math.abs(nowMs - this.#checkedAtMs) < CHECK_MS) return this.#reading;
    this.#checkedAtMs = nowMs;
    const version = this.#store.dataVersion();
    if (version === this.#version) return this.#reading;
    this.#version = version;
    return this.#read();
  }

  async #existing(written: string): Promise<Entry> {
    await this.refresh();
    const entry = this.#entries.get(canonicalName(written) ?? '');
    if (entry === undefined) {
      throw new RefusedError('account.unknown', `there is no account ${written}`, 404);
    }
    return entry;
  }

  /** One reading at a time; whoever asks meanwhile waits for it. */
  #read(): Promise<void> {
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    const rows = await this.#store.db.selectFrom('accounts').selectAll().execute();
    const before = this.#entries;
    this.#entries = new Map(rows.map((row) => [row.nickname, entryOf(row)]));
    const realms = new Set(rows.map(({ realm }) => realm));
    realms.delete(this.#realm);
    this.#otherRealms = [...realms];
    for (const [nickname, { account }] of before) {
      if (!this.#entries.has(nickname)) this.#events.emit('accountRemoved', account);
    }
  }

  /** A phone may log in with the name as its owner wrote it, in lower case, as in its URI, or with the domain behind it. */
  #secretsFor(
    nickname: string,
    spelling: string,
    password: string,
  ): Pick<AccountsTable, 'realm' | 'ha1Md5' | 'ha1Sha256'> {
    const written = [spelling.normalize('NFC'), nickname];
    const plain = [...written, ...written.map(escapeUser)];
    const usernames = [...plain, ...plain.map((name) => `${name}@${this.#realm}`)];
    const hashed = (algorithm: OfferedAlgorithm): string =>
      JSON.stringify(
        Object.fromEntries(
          usernames.map((name) => [name, computeHa1(algorithm, name, this.#realm, password)]),
        ),
      );
    return { realm: this.#realm, ha1Md5: hashed('MD5'), ha1Sha256: hashed('SHA-256') };
  }
}

function entryOf(row: AccountsTable): Entry {
  const { nickname, spelling, displayName, createdAtMs } = row;
  return {
    account: Object.freeze({ nickname, spelling, displayName, createdAtMs }),
    ha1s: { MD5: JSON.parse(row.ha1Md5) as Ha1s, 'SHA-256': JSON.parse(row.ha1Sha256) as Ha1s },
  };
}

function checkPassword(password: string): void {
  if (password === '') throw new RefusedError('account.password', 'the password is empty', 400);
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES || /[\r\n\0]/.test(password)) {
    throw new RefusedError('account.password', 'the password is too long, or has line breaks', 400);
  }
}

function checkDisplayName(displayName: string): void {
  if (Array.from(displayName).length > MAX_DISPLAY_NAME_CHARACTERS || /\p{Cc}/u.test(displayName)) {
    throw new RefusedError(
      'account.name',
      `a real name has at most ${MAX_DISPLAY_NAME_CHARACTERS} characters and no control characters`,
      400,
    );
  }
}
