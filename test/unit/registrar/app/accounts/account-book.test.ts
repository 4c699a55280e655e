import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { RefusedError } from '../../../../../core/errors.ts';
import { nullLog } from '../../../../../core/log.ts';
import { computeHa1 } from '../../../../../core/sip/digest.ts';
import { AccountBook } from '../../../../../registrar/app/accounts/account-book.ts';
import { domainNameOf } from '../../../../../registrar/app/domain-name.ts';
import { Names } from '../../../../../registrar/app/names.ts';
import { openStore, type Store } from '../../../../../registrar/app/store/store.ts';

describe('accounts', () => {
  let folder: string;
  let store: Store;
  let book: AccountBook;

  const open = (target: Store, realm = 'example.org'): Promise<AccountBook> => {
    const names = new Names();
    names.addSource('room', (name) => name === 'lobby');
    return AccountBook.open({ store: target, names, realm, wallMs: () => 1000, log: nullLog });
  };
  beforeEach(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'parley-accounts-'));
    store = await openStore(folder);
    book = await open(store);
  });
  afterEach(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  const refusal = async (act: Promise<unknown>): Promise<string> => {
    try {
      await act;
    } catch (error) {
      assert.ok(error instanceof RefusedError, String(error));
      return error.code;
    }
    return 'accepted';
  };

  it('are found without regard to case, and shown as they were written', async () => {
    const account = await book.add({ nickname: 'Zoë', password: 'x', displayName: 'Zoë Ø' });
    assert.deepEqual(account, {
      nickname: 'zoë',
      spelling: 'Zoë',
      displayName: 'Zoë Ø',
      createdAtMs: 1000,
    });
    assert.equal(book.find('zoë'), account);
    assert.ok(Object.isFrozen(account));
  });

  it('are unique, also against rooms', async () => {
    await book.add({ nickname: 'alice', password: 'x' });
    assert.equal(await refusal(book.add({ nickname: 'ALICE', password: 'y' })), 'name.taken');
    assert.equal(await refusal(book.add({ nickname: 'Lobby', password: 'y' })), 'name.taken');
    assert.equal(await refusal(book.add({ nickname: 'a b', password: 'y' })), 'name.malformed');
    assert.equal(await refusal(book.add({ nickname: 'c', password: '' })), 'account.password');
    assert.equal(await refusal(book.add({ nickname: 'c', password: 'a\nb' })), 'account.password');
    assert.equal(
      await refusal(book.add({ nickname: 'c', password: 'x', displayName: 'a\r\nb' })),
      'account.name',
    );
    assert.equal(await refusal(book.setPassword('nobody', 'x')), 'account.unknown');
    assert.equal(await refusal(book.remove('nobody')), 'account.unknown');
    assert.deepEqual(
      book.list().map(({ nickname }) => nickname),
      ['alice'],
    );
  });

  it('can be logged in to by the name as written, in lower case, and with the domain', async () => {
    await book.add({ nickname: 'Alice', password: 'secret' });
    for (const username of ['Alice', 'alice', 'alice@example.org', 'Alice@example.org']) {
      for (const algorithm of ['MD5', 'SHA-256'] as const) {
        const expected = computeHa1(algorithm, username, 'example.org', 'secret');
        assert.equal(book.secretOf(username, algorithm)?.ha1, expected, username);
      }
    }
    for (const username of ['ALICE', 'bob', 'alice@other.net', '', '__proto__', 'constructor']) {
      assert.equal(book.secretOf(username, 'MD5'), undefined, username);
    }
  });

  it('keep no password, only what it hashes to', async () => {
    await book.add({ nickname: 'alice', password: 'a-very-secret-word' });
    const files = readdirSync(folder).map((name) =>
      readFileSync(path.join(folder, name), 'latin1'),
    );
    assert.ok(
      files.some((content) =>
        content.includes(computeHa1('MD5', 'alice', 'example.org', 'a-very-secret-word')),
      ),
    );
    assert.ok(files.every((content) => !content.includes('a-very-secret-word')));
  });

  it('that another process adds, changes or removes are noticed', async () => {
    await book.add({ nickname: 'alice', password: 'old' });
    const removed: string[] = [];
    book.on('accountRemoved', ({ nickname }) => removed.push(nickname));
    const otherStore = await openStore(folder);
    const other = await open(otherStore);
    await other.add({ nickname: 'bob', password: 'x' });
    await other.setPassword('Alice', 'new');
    await book.refresh();
    assert.ok(book.find('bob'));
    assert.equal(
      book.secretOf('alice', 'MD5')?.ha1,
      computeHa1('MD5', 'alice', 'example.org', 'new'),
    );
    await other.remove('bob');
    await book.refresh();
    await book.refresh();
    assert.equal(book.find('bob'), undefined);
    assert.deepEqual(removed, ['bob']);
    await otherStore.close();
  });

  it('survive a restart, but not a change of realm: that is told', async () => {
    await book.add({ nickname: 'alice', password: 'x' });
    assert.deepEqual((await open(store)).otherRealms, []);
    assert.deepEqual((await open(store, 'other.net')).otherRealms, ['example.org']);
  });

  it('live in a domain that does not change by itself', async () => {
    const first = await domainNameOf(undefined, store);
    assert.ok(first.length > 0);
    assert.equal(await domainNameOf('Example.NET', store), 'example.net');
    assert.equal(await domainNameOf(undefined, store), 'example.net');
  });
});
