import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ConfigError, RefusedError } from '../../../../core/errors.ts';
import { UsageError } from '../../../../registrar/cli/arguments.ts';
import { runUser } from '../../../../registrar/cli/user.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../../../../registrar/cli/parley.ts');

type Outcome = { readonly code: number; readonly out: string; readonly err: string };

/** Runs the program as a user would, without a terminal. */
function parley(words: readonly string[], input = ''): Promise<Outcome> {
  return new Promise((resolve) => {
    const args = ['--import', 'tsx', PROGRAM, ...words];
    const child = execFile(process.execPath, args, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err });
    });
    child.stdin?.end(input);
  });
}

describe('parley user', function () {
  this.timeout(60_000);
  let folder: string;
  let data: string[];
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'parley-cli-'));
    data = ['--set', `dataFolder=${path.join(folder, 'data')}`, '--set', 'sip.domain=example.org'];
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('adds people, with a password from standard input or one that it makes up', async () => {
    const given = await parley(
      ['user', 'add', 'Alice', '--name', 'Alice Æ', '--password-stdin', ...data],
      'secret\n',
    );
    assert.deepEqual(given, { code: 0, out: 'Added Alice: sip:alice@example.org\n', err: '' });
    const made = await parley(['user', 'add', 'bob', ...data]);
    assert.match(made.out, /^Added bob: sip:bob@example\.org\nPassword: [\w-]{16}\n$/);
    const taken = await parley(['user', 'add', 'ALICE', ...data]);
    assert.deepEqual([taken.code, taken.out], [1, '']);
    assert.equal(taken.err, 'parley: the name alice is taken by an account\n');
  });

  it('lists them', async () => {
    const [head, ...rows] = (await runUser(['list', ...data])).trimEnd().split('\n');
    assert.match(head ?? '', /^NICKNAME +REAL NAME +DEVICES +SINCE$/);
    assert.equal(rows.length, 2);
    assert.match(rows[0] ?? '', /^Alice +Alice Æ +0 +\d{4}-\d\d-\d\d$/);
  });

  it('changes a password, and removes people', async () => {
    const changed = await parley(['user', 'passwd', 'alice', '--password-stdin', ...data], 'other');
    assert.deepEqual([changed.code, changed.out], [0, 'The password of alice is changed\n']);
    const empty = await parley(['user', 'passwd', 'alice', '--password-stdin', ...data], '\n');
    assert.deepEqual([empty.code, empty.err], [1, 'parley: no password on standard input\n']);
    assert.equal(await runUser(['remove', 'BOB', ...data]), 'Removed BOB\n');
    await assert.rejects(runUser(['remove', 'bob', ...data]), RefusedError);
  });

  it('says what is wrong with its words', async () => {
    const wrong = [[], ['frob'], ['add'], ['list', 'x'], ['remove', 'a', 'b'], ['list', '--frob']];
    for (const words of wrong)
      await assert.rejects(runUser([...words, ...data]), UsageError, words.join(' '));
    await assert.rejects(runUser(['list', '--set', 'x']), UsageError);
    await assert.rejects(runUser(['list', '--set', 'x=1']), ConfigError);
  });
});

describe('parley', function () {
  this.timeout(60_000);

  it('tells its version and its usage', async () => {
    const [version, help] = await Promise.all([parley(['--version']), parley(['--help'])]);
    assert.match(version.out, /^\d+\.\d+\.\d+\n$/);
    for (const word of ['serve', 'user add', 'phone', 'demo', '--config']) {
      assert.ok(help.out.includes(word), word);
    }
    assert.deepEqual([version.code, help.code], [0, 0]);
  });

  it('answers an unknown word, or none, with a sentence, the usage and exit code 1', async () => {
    const outcomes = await Promise.all([parley(['frob']), parley([]), parley(['serve', '--frob'])]);
    const sentences = [
      'there is no command frob',
      'a command is missing',
      "unknown option '--frob'",
    ];
    outcomes.forEach(({ code, out, err }, index) => {
      assert.deepEqual([code, out], [1, '']);
      assert.ok(err.startsWith(`parley: ${sentences[index] ?? ''}\n\nUsage:`), err);
    });
  });

  it('refuses a bad configuration in one sentence', async () => {
    const { code, err } = await parley(['serve', '--port', '70000', '--set', 'sip.frob=1']);
    assert.equal(code, 1);
    assert.match(
      err,
      /^parley: bad configuration, in several places: .*sip\.frob.*sip\.port.*70000\n$/,
    );
  });
});
