/** Accounts: who may use the switch. Served from memory, kept in the store; passwords only as HA1 (RFC 7616 section 3.4.2). */
import type { OfferedAlgorithm } from './credentials.ts';

/** One account; frozen. */
export type Account = {
  /** Canonical name (see `names.ts`), the key everywhere. */
  readonly nickname: string;
  /** The nickname as its owner wrote it, for showing. */
  readonly spelling: string;
  /** The real name; empty when none was given. */
  readonly displayName: string;
  readonly createdAtMs: number;
};

export type NewAccount = {
  readonly nickname: string;
  readonly password: string;
  readonly displayName?: string | undefined;
};

export type AccountEvents = {
  /** Also when another process (the command line) removed it. */
  accountRemoved: readonly [account: Account];
};

export type Accounts = {
  /** @param nickname - canonical; costs one map lookup */
  find(nickname: string): Account | undefined;
  /** In order of nickname. */
  list(): readonly Account[];
  /** @throws RefusedError `name.malformed` 400, `name.taken` 403, `account.password` 400, `account.name` 400 */
  add(account: NewAccount): Promise<Account>;
  /** @throws RefusedError `account.unknown` 404, `account.password` 400 */
  setPassword(nickname: string, password: string): Promise<void>;
  /** Removes the account and its bindings. @throws RefusedError `account.unknown` 404 */
  remove(nickname: string): Promise<void>;
  on<Name extends keyof AccountEvents>(
    name: Name,
    listener: (...args: AccountEvents[Name]) => void,
  ): () => void;
};

/** What digest authentication needs besides. */
export type AccountSecrets = {
  /**
   * Notices what another process has changed; cheap enough for every request.
   *
   * @param isUrgent - false: a look some milliseconds ago will do
   * @returns `undefined` when there is nothing to wait for
   */
  refresh(isUrgent?: boolean): Promise<void> | undefined;
  /** @param username - as in the credentials; `undefined` when no account may log in under it */
  secretOf(
    username: string,
    algorithm: OfferedAlgorithm,
  ): { readonly account: Account; readonly ha1: string } | undefined;
};
