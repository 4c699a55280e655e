import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ConfigError } from '../../../../../core/errors.ts';
import { bindingRows } from '../../../../../registrar/app/location/binding-rows.ts';
import type { Binding } from '../../../../../registrar/app/location/location.ts';
import { GroupCommit } from '../../../../../registrar/app/store/group-commit.ts';
import { openStore, type Store } from '../../../../../registrar/app/store/store.ts';

describe('group commit', () => {
  type Timer = { callback: () => void; isCancelled: boolean };
  let timers: Timer[];
  let commits: string[][];
  let failing: Set<string>;
  const make = (
    maxWrites = 100,
  ): { group: GroupCommit; write: (name: string) => Promise<void> } => {
    let open: string[] = [];
    const group = new GroupCommit({
      transact: (body) => {
        open = [];
        body();
        commits.push(open);
      },
      after: (_, callback) => {
        const timer = { callback, isCancelled: false };
        timers.push(timer);
        return () => {
          timer.isCancelled = true;
        };
      },
      delayMs: 2,
      maxWrites,
    });
    const write = (name: string): Promise<void> =>
      group.enqueue(() => {
        if (failing.has(name)) throw new Error(name);
        open.push(name);
      });
    return { group, write };
  };
  const expire = (): void => {
    for (const { callback, isCancelled } of timers.splice(0)) if (!isCancelled) callback();
  };
  beforeEach(() => {
    timers = [];
    commits = [];
    failing = new Set();
  });

  it('gathers what comes within the delay into one transaction', async () => {
    const { write } = make();
    const written = Promise.all([write('a'), write('b'), write('c')]);
    assert.equal(timers.length, 1);
    assert.deepEqual(commits, []);
    expire();
    await written;
    assert.deepEqual(commits, [['a', 'b', 'c']]);
  });

  it('does not wait when the group is full', async () => {
    const { write } = make(2);
    await Promise.all([write('a'), write('b')]);
    assert.deepEqual(commits, [['a', 'b']]);
    expire();
    assert.equal(commits.length, 1);
  });

  it('fails only the write that is bad', async () => {
    const { write } = make();
    failing.add('b');
    const results = Promise.allSettled([write('a'), write('b'), write('c')]);
    expire();
    assert.deepEqual(
      (await results).map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.deepEqual(commits, [['a'], ['c']]);
  });
});

describe('store', () => {
  let folder: string;
  let store: Store | undefined;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'parley-store-'));
  });
  afterEach(async () => {
    await store?.close();
    store = undefined;
    rmSync(folder, { recursive: true, force: true });
  });
  const put = (target: Store, name: string): Promise<void> => {
    const statement = target.prepare('INSERT INTO settings (name, value) VALUES (?, ?)');
    return target.enqueue(() => {
      statement.run(name, '1');
    });
  };

  it('makes its folder 0700 and its files 0600', async () => {
    const inner = path.join(folder, 'deep', 'data');
    store = await openStore(inner);
    await put(store, 'a');
    assert.equal(statSync(inner).mode & 0o777, 0o700);
    for (const file of readdirSync(inner)) {
      assert.equal(statSync(path.join(inner, file)).mode & 0o777, 0o600, file);
    }
  });

  it('keeps what it acknowledged, and opens again', async () => {
    const first = await openStore(folder);
    await Promise.all(Array.from({ length: 1200 }, (_, i) => put(first, `n${i}`)));
    await first.close();
    store = await openStore(folder);
    const { count } = await store.db
      .selectFrom('settings')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    assert.equal(count, 1200);
  });

  it('gives the tables of earlier versions what has been added, and keeps what is in them', async () => {
    const binding = (nickname: string, route: string | undefined): Binding => ({
      nickname,
      contactUri: `sip:${nickname}@192.0.2.9`,
      contactParameters: '',
      callId: 'c',
      cseq: 1,
      q: 1,
      instanceId: undefined,
      regId: undefined,
      userAgent: undefined,
      path: route,
      sourceAddress: '192.0.2.1',
      sourcePort: 5060,
      transport: 'udp',
      expiresAtMs: 2_000,
      updatedAtMs: 1_000,
    });
    const account = `INSERT INTO accounts VALUES (?, 'x', '', 'r', '{}', '{}', 0)`;
    const before = await openStore(folder);
    for (const name of ['old', 'new'])
      await before.enqueue(() => {
        before.prepare(account).run(name);
      });
    await bindingRows(before).write([{ kind: 'added', binding: binding('old', undefined) }]);
    await before.enqueue(() => {
      before.prepare('ALTER TABLE bindings DROP COLUMN path').run();
      before.prepare(`DELETE FROM kysely_migration WHERE name = '0002-path'`).run();
    });
    await before.close();
    store = await openStore(folder);
    const rows = bindingRows(store);
    await rows.write([{ kind: 'added', binding: binding('new', '<sip:p1;lr>, <sip:p2;lr>') }]);
    assert.deepEqual(await rows.loadOf('old'), [binding('old', undefined)]);
    assert.deepEqual(await rows.loadOf('new'), [binding('new', '<sip:p1;lr>, <sip:p2;lr>')]);
  });

  it('sees that somebody else has written', async () => {
    store = await openStore(folder);
    const before = store.dataVersion();
    await put(store, 'own');
    assert.equal(store.dataVersion(), before);
    const other = await openStore(folder);
    await put(other, 'other');
    await other.close();
    assert.notEqual(store.dataVersion(), before);
  });

  it('says in one sentence that the folder cannot be used', async () => {
    const file = path.join(folder, 'file');
    writeFileSync(file, '');
    await assert.rejects(openStore(path.join(file, 'data')), (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /cannot keep data in .*file.data/);
      return true;
    });
    const broken = path.join(folder, 'parley.sqlite');
    writeFileSync(broken, 'this is not a database, but long enough to be taken for one'.repeat(50));
    await assert.rejects(openStore(folder), ConfigError);
    assert.ok(existsSync(broken));
  });
});
