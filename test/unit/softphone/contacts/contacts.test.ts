import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { ConfigError } from '../../../../core/errors.ts';
import { ContactList } from '../../../../softphone/contacts/contact-list.ts';
import {
  defaultDataFolder,
  openAccountFolder,
} from '../../../../softphone/contacts/data-folder.ts';
import { TextHistory } from '../../../../softphone/contacts/history.ts';
import type { TextRecord } from '../../../../softphone/contacts/history.ts';
import { holdInstance } from '../../../../softphone/contacts/instance.ts';

function unexpected(error: unknown): void {
  throw error;
}

describe('what the softphone keeps on disk', () => {
  let folder = '';

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'parley-data-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('uses the place that the system has for it', () => {
    const home = homedir();
    assert.equal(defaultDataFolder({ XDG_DATA_HOME: '/x' }, 'linux'), path.join('/x', 'parley'));
    assert.equal(
      defaultDataFolder({ XDG_DATA_HOME: 'relative' }, 'linux'),
      path.join(home, '.local/share/parley'),
    );
    assert.equal(defaultDataFolder({}, 'linux'), path.join(home, '.local/share/parley'));
    assert.equal(
      defaultDataFolder({}, 'darwin'),
      path.join(home, 'Library/Application Support/Parley'),
    );
    assert.equal(defaultDataFolder({ APPDATA: '/a' }, 'win32'), path.join('/a', 'Parley'));
  });

  it('MUST NOT let a name leave the folder, and let nobody else look in', async () => {
    for (const account of ['../../evil@x', '..', '/etc/passwd', 'a\0b', 'bjørn@x']) {
      const opened = openAccountFolder(folder, account);
      assert.equal(path.dirname(opened), path.join(folder, 'phone'));
      assert.equal((await stat(opened)).mode & 0o777, 0o700);
    }
    assert.notEqual(openAccountFolder(folder, 'a/b'), openAccountFolder(folder, 'a_b'));
  });

  it('keeps contacts over a restart, whoever spells their names', async () => {
    const list = await ContactList.open(folder);
    await Promise.all([
      list.add({ name: 'Zoe', address: 'zoe@example.com' }),
      list.add({ name: 'anna', address: 'anna' }),
      list.add({ name: 'Bob', address: 'bob' }),
    ]);
    await list.add({ name: 'zoe', address: 'sip:zoe@other.example' });
    assert.equal(await list.remove('BOB'), true);
    assert.equal(await list.remove('nobody'), false);
    const again = await ContactList.open(folder);
    assert.deepEqual(again.all, [
      { name: 'anna', address: 'anna' },
      { name: 'zoe', address: 'sip:zoe@other.example' },
    ]);
    assert.equal(again.find('ZOE')?.address, 'sip:zoe@other.example');
    assert.equal((await stat(path.join(folder, 'contacts.json'))).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(folder), ['contacts.json']);
  });

  it('MUST refuse names that could not be typed, and a file that is none', async () => {
    const list = await ContactList.open(folder);
    for (const name of ['', 'two words', 'a"b', '#room', 'x'.repeat(65)]) {
      await assert.rejects(list.add({ name, address: 'a' }), ConfigError);
    }
    for (const text of ['', '[]', '{"contacts":[{"name":1}]}', '{"contacts":[null]}']) {
      await writeFile(path.join(folder, 'contacts.json'), text);
      await assert.rejects(ContactList.open(folder), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /repair or remove it\.$/);
        return true;
      });
    }
  });

  const record = (index: number, peer = 'bob'): TextRecord => ({
    atMs: index,
    direction: index % 2 === 0 ? 'sent' : 'received',
    peer,
    name: 'Bob',
    text: `text ${index}\nline two 🎉`,
  });

  it('keeps texts in order, by person and by room, over a restart', async () => {
    const history = await TextHistory.open(folder, unexpected);
    for (let index = 0; index < 10; index += 1)
      history.add(record(index, index < 5 ? 'bob' : '#lobby'));
    await history.flush();
    const again = await TextHistory.open(folder, unexpected);
    assert.deepEqual(
      again.latest(undefined, 100),
      Array.from({ length: 10 }, (_, index) => record(index, index < 5 ? 'bob' : '#lobby')),
    );
    assert.deepEqual(
      again.latest('BOB', 2).map(({ atMs }) => atMs),
      [3, 4],
    );
    assert.deepEqual(
      again.latest('#lobby', 100).map(({ atMs }) => atMs),
      [5, 6, 7, 8, 9],
    );
    assert.deepEqual(again.latest('nobody', 5), []);
  });

  it('MUST read past lines that a crash has cut', async () => {
    const history = await TextHistory.open(folder, unexpected);
    history.add(record(1));
    history.add(record(2));
    await history.flush();
    const file = path.join(folder, 'messages.jsonl');
    const text = await readFile(file, 'utf8');
    await writeFile(file, `${text.slice(0, 20)}\n${text}{"atMs":3}\nnull\n${text.slice(0, -9)}`);
    const again = await TextHistory.open(folder, unexpected);
    assert.deepEqual(
      again.latest(undefined, 100).map(({ atMs }) => atMs),
      [1, 2, 1],
    );
  });

  it('MUST go on in memory when the disk refuses, and say so once', async () => {
    const faults: unknown[] = [];
    const history = await TextHistory.open(folder, (error) => faults.push(error));
    await rm(folder, { recursive: true });
    history.add(record(1));
    history.add(record(2));
    await history.flush();
    assert.equal(faults.length, 1);
    assert.equal(history.latest('bob', 10).length, 2);
    folder = await mkdtemp(path.join(tmpdir(), 'parley-data-'));
  });

  it('is the same device after every restart (RFC 5626 §4.1), also after it was killed', async () => {
    const first = await holdInstance(folder);
    assert.match(first.id, /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    assert.equal((await stat(path.join(folder, 'instance'))).mode & 0o777, 0o600);
    await first.release();
    assert.deepEqual(await readdir(folder), ['instance']);
    // What one that was killed has left: a number that is nobody's, ours by chance, or none.
    for (const left of [2 ** 22 + 1, process.pid, '', 'x', -1]) {
      await writeFile(path.join(folder, 'instance.pid'), String(left));
      const again = await holdInstance(folder);
      assert.equal(again.id, first.id, String(left));
      await again.release();
    }
  });

  it('MUST NOT be the device that runs beside it', async () => {
    const first = await holdInstance(folder);
    const second = await holdInstance(folder);
    assert.notEqual(second.id, first.id);
    await second.release();
    const third = await holdInstance(folder);
    assert.notEqual(third.id, first.id, 'the first still runs');
    await first.release();
    assert.equal((await holdInstance(folder)).id, first.id);
    // The process that started us is certainly there.
    await writeFile(path.join(folder, 'instance.pid'), String(process.ppid));
    const beside = await holdInstance(folder);
    assert.notEqual(beside.id, first.id);
    await beside.release();
    assert.equal(await readFile(path.join(folder, 'instance.pid'), 'utf8'), String(process.ppid));
  });

  it('makes a new id when the kept one is spoilt, and does without a folder that is gone', async () => {
    await writeFile(path.join(folder, 'instance'), 'urn:uuid:nonsense"\r\nEvil: 1');
    const made = await holdInstance(folder);
    assert.match(made.id, /^[0-9a-f-]{36}$/);
    await made.release();
    const without = await holdInstance(path.join(folder, 'gone'));
    assert.notEqual(without.id, made.id);
    await without.release();
  });

  it('keeps nothing on disk where there is no folder', async () => {
    const history = await TextHistory.open(undefined, unexpected);
    history.add(record(1));
    await history.flush();
    const list = await ContactList.open(undefined);
    await list.add({ name: 'anna', address: 'anna' });
    assert.equal(history.latest(undefined, 10).length + list.all.length, 2);
    assert.notEqual((await holdInstance(undefined)).id, (await holdInstance(undefined)).id);
  });
});
