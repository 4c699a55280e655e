import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseWav, wavHeader } from '../../core/audio/wav.ts';
import { synthesizeVoice } from '../../core/audio/voice.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { Program } from '../support/program.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const LIMIT_MS = 20_000;

type Told = Readonly<Record<string, unknown>> & { readonly event: string };

/** A phone as a process of its own, spoken to in its JSON lines. */
class Headless {
  readonly program: Program;
  #read = 0;

  constructor(program: Program) {
    this.program = program;
  }

  static async start(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Headless> {
    const words = ['--import', 'tsx', 'registrar/cli/parley.ts', 'phone', '--headless', ...args];
    const program = await Program.start(process.execPath, words, {
      name: args.join(' '),
      cwd: ROOT,
      env: { ...process.env, ...env },
    });
    return new Headless(program);
  }

  /** Everything told so far; fails when a line is no JSON. */
  get told(): readonly Told[] {
    const lines = this.program.output.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Told);
  }

  /** The next thing told that fits, passing over others. */
  async next(fits: (told: Told) => boolean, what: string): Promise<Told> {
    const found = await this.program.waitUntil(
      () => {
        const index = this.told.findIndex((told, at) => at >= this.#read && fits(told));
        return index < 0 ? undefined : { index, told: this.told[index] };
      },
      what,
      LIMIT_MS,
    );
    this.#read = found.index + 1;
    assert.ok(found.told);
    return found.told;
  }

  event(name: string): Promise<Told> {
    return this.next(({ event }) => event === name, `event ${name}`);
  }

  /** Sends a line and waits for its answer. */
  async tell(command: Readonly<Record<string, unknown>> | string): Promise<Told> {
    const isWords = typeof command === 'string';
    this.program.write(`${isWords ? command : JSON.stringify(command)}\n`);
    const name = isWords ? command.split(' ')[0] : command['command'];
    return this.next(
      (told) =>
        (told.event === 'done' || told.event === 'failed') &&
        (isWords ? told['command'] === name : told['id'] === command['id']),
      `answer to ${String(name)}`,
    );
  }
}

describe('the headless phone', function () {
  this.timeout(60_000);
  const parley = new LiveSwitch();
  const programs: Headless[] = [];
  let folder = '';

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'parley-headless-'));
    await parley.start();
    await parley.addAccounts(['anna', 'bob'].map((user) => ({ user, password: `${user}-secret` })));
  });

  afterEach(async () => {
    await Promise.all(programs.splice(0).map(({ program }) => program.stop('quit\n')));
    await parley.nothingLeft();
  });

  after(async () => {
    await parley.stop();
    await rm(folder, { recursive: true });
  });

  const start = async (
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<Headless> => {
    const phone = await Headless.start(args, env);
    programs.push(phone);
    return phone;
  };

  const open = async (name: string, ...more: readonly string[]): Promise<Headless> => {
    const { address, port } = parley.server;
    const where = ['--server', `${address}:${port}`, '--data', folder, '--sound', 'none'];
    return start(['--as', `${name}@${parley.domain}`, ...where, ...more], {
      PARLEY_PASSWORD: `${name}-secret`,
    });
  };

  it('talks JSON: events, answers with their id, failures with a code and a sentence', async () => {
    const anna = await open('anna');
    assert.equal((await anna.event('ready'))['nickname'], 'anna');
    await anna.event('registered');
    assert.equal((await anna.event('joined'))['room'], 'lobby');
    const bob = await open('bob', '--no-lobby', '--answer', '--name', 'Bob "B" Ross');
    await bob.event('registered');
    const done = await anna.tell({ id: 'x1', command: 'call', target: 'bob' });
    assert.equal(done.event, 'done');
    const established = await anna.event('established');
    assert.equal((established['call'] as { remote: { nickname: string } }).remote.nickname, 'bob');
    assert.equal((await anna.tell('hold')).event, 'done');
    assert.equal((await bob.event('changed')).event, 'changed');
    assert.equal((await anna.tell({ id: 2, command: 'resume' })).event, 'done');
    assert.equal((await anna.tell({ id: 3, command: 'codec', codec: 'PCMU' })).event, 'done');
    const quality = await anna.tell({ id: 4, command: 'quality' });
    assert.equal((quality['quality'] as { sendingCodec: string }).sendingCodec, 'PCMU');
    await anna.tell('dtmf 7');
    assert.equal((await bob.event('digit'))['digit'], '7');
    await anna.tell({ id: 5, command: 'msg', to: 'bob', text: 'two\nlines æøå' });
    const text = await bob.event('text');
    assert.deepEqual([text['nickname'], text['text']], ['anna', 'two\nlines æøå']);
    await anna.tell('hangup');
    const { end } = (await bob.event('ended')) as unknown as { end: { kind: string } };
    assert.equal(end.kind, 'hungUp');
    const history = await bob.tell({ id: 6, command: 'history', peer: 'anna' });
    assert.equal((history['texts'] as unknown[]).length, 1);
    for (const [line, code] of [
      ['dance', 'softphone.command.unknown'],
      ['call', 'softphone.command.words'],
      ['answer', 'softphone.call.none'],
      ['codec mp3', 'softphone.codec.unknown'],
      ['leave turbo', 'softphone.room.notIn'],
      ['{"command": "call"', 'softphone.command.missing'],
      ['[]', 'softphone.command.unknown'],
    ] as const) {
      anna.program.write(`${line}\n`);
      const failed = await anna.event('failed');
      assert.equal(failed['code'], code, line);
      assert.match(String(failed['reason']), /^[^\n]+\.$/);
    }
    const unknown = await anna.tell({ id: 7, command: 'msg', to: 'nobody', text: 'hi' });
    assert.deepEqual([unknown.event, unknown['statusCode']], ['failed', 404]);
  });

  it('plays a file, records what it hears, and leaves a whole recording when it is killed', async () => {
    const pcm = synthesizeVoice({
      seed: 3,
      pitchHz: 120,
      formantScale: 1,
      seconds: 2,
      sampleRateHz: 16_000,
    });
    const speech = path.join(folder, 'speech.wav');
    const heard = path.join(folder, 'heard.wav');
    const header = wavHeader({ sampleRateHz: 16_000, channels: 1 }, pcm.byteLength);
    await writeFile(speech, Buffer.concat([header, Buffer.from(pcm.buffer)]));
    const bob = await open('bob', '--no-lobby', '--answer', '--record', heard);
    await bob.event('registered');
    const anna = await open('anna', '--no-lobby', '--play', speech, '--play-loop');
    await anna.event('registered');
    await anna.tell('call bob');
    await anna.event('established');
    const seconds = async (): Promise<number> =>
      parseWav(await readFile(heard)).pcm.length / 48_000;
    for (let turn = 0; turn < 300 && (await seconds()) < 2; turn += 1) await sleep(50);
    bob.program.signal('SIGKILL');
    await bob.program.exited;
    const { pcm: recorded, sampleRateHz } = parseWav(await readFile(heard));
    assert.equal(sampleRateHz, 48_000);
    assert.ok(recorded.length >= 96_000);
    assert.ok(Math.max(...recorded.subarray(24_000, 72_000)) > 3000, 'a voice is in it');
    await anna.tell('hangup');
  });

  it('takes its own place again after it was killed, and none of another that runs', async () => {
    const killed = await open('anna', '--no-lobby');
    await killed.event('registered');
    killed.program.signal('SIGKILL');
    await killed.program.exited;
    const again = await open('anna', '--no-lobby');
    await again.event('registered');
    const [binding, ...others] = parley.bindingsOf('anna');
    assert.equal(others.length, 0, 'the dead one is still rung');
    const beside = await open('anna', '--no-lobby');
    await beside.event('registered');
    const instances = parley.bindingsOf('anna').map(({ instanceId }) => instanceId);
    assert.equal(new Set(instances).size, 2);
    assert.ok(binding !== undefined && instances.includes(binding.instanceId));
  });

  it('ends politely: by quit, by the end of its input, by SIGTERM, each with code 0', async () => {
    for (const end of [
      (phone: Headless) => {
        phone.program.write('{"id":1,"command":"quit"}\n');
      },
      (phone: Headless) => {
        phone.program.endInput();
      },
      (phone: Headless) => {
        phone.program.signal('SIGTERM');
      },
    ]) {
      const anna = await open('anna');
      await anna.event('joined');
      end(anna);
      assert.equal(await anna.program.exited, 0);
      assert.equal(anna.told.at(-1)?.event, 'closed');
      parley.isUnreachable('anna');
    }
  });

  it('says in one sentence what is wrong with its flags, and ends with code 1', async () => {
    for (const args of [
      ['--as', 'two words'],
      ['--server', '::::'],
      ['--codec', 'mp3'],
      ['--as', 'anna', '--play', '/nowhere.wav', '--no-data'],
      ['--as', 'anna', '--password-file', '/nowhere'],
      ['--as', 'anna', '--record', '/nowhere/x.wav', '--no-data'],
      ['--as', 'anna', '--data', path.join(ROOT, 'package.json')],
    ]) {
      const phone = await start(args, { PARLEY_PASSWORD: 'x' });
      assert.equal(await phone.program.exited, 1, args.join(' '));
      assert.match(phone.program.output, /^parley: [^\n]+\.\n$/);
    }
  });

  it('ends with code 1 when the password is wrong', async () => {
    const { address, port } = parley.server;
    const args = ['--as', `anna@${parley.domain}`, '--server', `${address}:${port}`, '--no-data'];
    const phone = await start([...args, '--sound', 'none'], { PARLEY_PASSWORD: 'wrong' });
    const failed = await phone.event('registrationFailed');
    assert.equal(failed['isFinal'], true);
    assert.equal(await phone.program.exited, 1);
  });

  it('takes the password from the first line of a file', async () => {
    const file = path.join(folder, 'password');
    await writeFile(file, 'anna-secret\nnot this\n');
    const { address, port } = parley.server;
    const phone = await start([
      ...['--as', `anna@${parley.domain}`, '--server', `${address}:${port}`, '--no-data'],
      ...['--sound', 'none', '--no-lobby', '--password-file', file],
    ]);
    await phone.event('registered');
    assert.equal(existsSync(path.join(folder, 'phone', `anna@${parley.domain}`)), true);
  });
});
