/** `parley user`: accounts from the command line, also while the switch runs. */
import type { Config } from '../../config/schema.ts';
import { nullLog } from '../../core/log.ts';
import { AccountBook } from '../app/accounts/account-book.ts';
import { domainNameOf } from '../app/domain-name.ts';
import { Names } from '../app/names.ts';
import { RoomDirectory } from '../app/rooms/room-directory.ts';
import { openStore, type Store } from '../app/store/store.ts';
import { CONFIG_OPTIONS, configFrom, parseWords, UsageError } from './arguments.ts';
import { choosePassword } from './password.ts';

type Command = {
  readonly accounts: AccountBook;
  readonly store: Store;
  readonly domain: string;
  readonly nickname: string;
  readonly displayName: string | undefined;
  readonly isFromStdin: boolean;
};

const COMMANDS: Readonly<Record<string, (command: Command) => Promise<string>>> = {
  add,
  list,
  passwd,
  remove,
};

/**
 * @returns what to print
 * @throws UsageError, ConfigError, RefusedError
 */
export async function runUser(args: readonly string[]): Promise<string> {
  const { values, positionals } = parseWords(args, {
    ...CONFIG_OPTIONS,
    name: { type: 'string' },
    'password-stdin': { type: 'boolean' },
  });
  const [verb, nickname, ...surplus] = positionals;
  const command = verb === undefined ? undefined : COMMANDS[verb];
  if (command === undefined) {
    throw new UsageError(verb === undefined ? 'user needs a command' : `there is no user ${verb}`);
  }
  if (verb !== 'list' && nickname === undefined)
    throw new UsageError(`user ${verb ?? ''} needs a NAME`);
  const [extra] = verb === 'list' ? positionals.slice(1) : surplus;
  if (extra !== undefined) throw new UsageError(`one word too many: ${extra}`);
  return withAccounts(configFrom(values), (opened) =>
    command({
      ...opened,
      nickname: nickname ?? '',
      displayName: values.name,
      isFromStdin: values['password-stdin'] === true,
    }),
  );
}

async function withAccounts(
  config: Config,
  use: (opened: Pick<Command, 'accounts' | 'store' | 'domain'>) => Promise<string>,
): Promise<string> {
  const store = await openStore(config.dataFolder);
  try {
    const domain = await domainNameOf(config.sip.domain, store);
    const names = new Names();
    const rooms = new RoomDirectory(config.rooms);
    names.addSource('room', (name) => rooms.holds(name));
    const wallMs = (): number => Date.now();
    const accounts = await AccountBook.open({ store, names, realm: domain, wallMs, log: nullLog });
    return await use({ accounts, store, domain });
  } finally {
    await store.close();
  }
}

async function add({
  accounts,
  domain,
  nickname,
  displayName,
  isFromStdin,
}: Command): Promise<string> {
  const { password, isGenerated } = await choosePassword(isFromStdin);
  const account = await accounts.add({ nickname, password, displayName });
  const added = `Added ${account.spelling}: sip:${account.nickname}@${domain}\n`;
  return isGenerated ? `${added}Password: ${password}\n` : added;
}

async function passwd({ accounts, nickname, isFromStdin }: Command): Promise<string> {
  const { password, isGenerated } = await choosePassword(isFromStdin);
  await accounts.setPassword(nickname, password);
  return isGenerated ? `Password: ${password}\n` : `The password of ${nickname} is changed\n`;
}

async function remove({ accounts, nickname }: Command): Promise<string> {
  await accounts.remove(nickname);
  return `Removed ${nickname}\n`;
}

async function list({ accounts, store }: Command): Promise<string> {
  const rows = await store.db
    .selectFrom('bindings')
    .select(({ fn }) => ['nickname', fn.countAll<number>().as('devices')])
    .where('expiresAtMs', '>', Date.now())
    .groupBy('nickname')
    .execute();
  const devices = new Map(rows.map((row) => [row.nickname, row.devices]));
  const people = accounts.list();
  if (people.length === 0) return 'No accounts yet; make one with: npx parley user add NAME\n';
  const table = people.map(({ nickname, spelling, displayName, createdAtMs }) => [
    spelling,
    displayName,
    String(devices.get(nickname) ?? 0),
    new Date(createdAtMs).toISOString().slice(0, 10),
  ]);
  return columns([['NICKNAME', 'REAL NAME', 'DEVICES', 'SINCE'], ...table]);
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return rows.map((row) => `${line(row)}\n`).join('');
}
