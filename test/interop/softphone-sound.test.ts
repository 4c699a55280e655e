import assert from 'node:assert/strict';
import path from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { scoreSound } from '../../core/audio/score.ts';
import type { Sound } from '../../core/audio/score.ts';
import { assertAbsent, assertHeard, THROUGH_SOUND_SERVER } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { Program } from '../support/program.ts';
import { padded, speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';
import { VIRTUAL_SOUND_PROGRAMS, VirtualSound } from '../support/virtual-sound.ts';
import { writeWav } from '../support/wav.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PEOPLE = ['clara', 'david'] as const;
type Person = (typeof PEOPLE)[number];
const otherOf = (person: Person): Person => (person === 'clara' ? 'david' : 'clara');
const secretOf = (person: Person): string => `${person}-secret`;

const SPEECH_SECONDS = 4;
/** A card gives its first samples after up to two seconds, and a speaker that must be opened again has time for it. */
const BEFORE_SPEECH_SECONDS = 8;
const LIMIT_MS = 20_000;
/** On a machine that has time it is a fourth of that; what queues for ever soon is more. */
const MOUTH_TO_EAR_MS = 500;

/** naudiodon is optional: where it did not build there is no sound card to test. */
function hasSoundLibrary(): boolean {
  try {
    createRequire(import.meta.url).resolve('naudiodon');
    return true;
  } catch {
    return false;
  }
}

describe('the softphone on sound cards', function () {
  this.timeout(180_000);
  const parley = new LiveSwitch();
  const phone = {} as Record<Person, Program>;
  const voice = {} as Record<Person, Sound>;
  let sound: VirtualSound | undefined;
  let folder = '';

  before(async function () {
    requirePeer(this, ...VIRTUAL_SOUND_PROGRAMS);
    if (!hasSoundLibrary()) this.skip();
    folder = await mkdtemp(path.join(tmpdir(), 'parley-card-'));
    await parley.start();
    sound = await VirtualSound.start(PEOPLE);
    await parley.addAccounts(PEOPLE.map((user) => ({ user, password: secretOf(user) })));
    for (const person of PEOPLE) {
      voice[person] = await speech(person, SPEECH_SECONDS);
      writeWav(fileOf(person), padded(voice[person], BEFORE_SPEECH_SECONDS, 1.5));
    }
    phone.clara = await open('clara');
    phone.david = await open('david', '--answer');
  });

  after(async () => {
    await Promise.all(Object.values(phone).map((program) => program.stop('quit\n')));
    await sound?.stop();
    await parley.stop();
    if (folder !== '') await rm(folder, { recursive: true });
  });

  const fileOf = (person: Person): string => path.join(folder, `${person}.wav`);

  const open = async (person: Person, ...more: readonly string[]): Promise<Program> => {
    const { address, port } = parley.server;
    const args = ['--as', `${person}@${parley.domain}`, '--server', `${address}:${port}`];
    args.push('--headless', '--no-lobby', '--no-data', '--microphone', person);
    const program = await Program.start(
      process.execPath,
      [
        '--import',
        'tsx',
        'registrar/cli/parley.ts',
        'phone',
        ...args,
        '--speaker',
        person,
        ...more,
      ],
      {
        name: `${person} on the softphone`,
        cwd: ROOT,
        isUrgent: true,
        env: { ...process.env, ...sound?.env, PARLEY_PASSWORD: secretOf(person) },
      },
    );
    await program.waitFor(/"event":"registered"/, LIMIT_MS);
    return program;
  };

  /** Both speak at once, into their microphones; what comes out of the speakers is given back, with its delay. */
  const converse = async (card: VirtualSound) => {
    const from = { clara: phone.clara.output.length, david: phone.david.output.length };
    const tapes = await Promise.all(
      PEOPLE.map(async (person) => ({
        mouth: await card.tape(person, 'mouth'),
        ear: await card.tape(person, 'speaker'),
      })),
    );
    const mouths = await Promise.all(PEOPLE.map((person) => card.speak(person, fileOf(person))));
    phone.clara.write('call david\n');
    await phone.clara.waitFor(/"event":"established"/, LIMIT_MS, from.clara);
    await Promise.all(mouths.map((mouth) => mouth.exited));
    await sleep(500);
    phone.clara.write('hangup\n');
    await phone.david.waitFor(/"event":"ended"/, LIMIT_MS, from.david);
    const [clara, david] = await Promise.all(
      tapes.map(async ({ mouth, ear }) => ({ mouth: await mouth.stop(), ear: await ear.stop() })),
    );
    assert.ok(clara && david);
    return { clara, david };
  };

  it('carries what the microphones hear to the speakers of the other side, soon', async () => {
    const card = sound;
    assert.ok(card);
    const pids = [...Object.values(phone).map(({ pid }) => pid), card.pid];
    await measureAwake(pids, async () => {
      const recorded = await converse(card);
      for (const talker of PEOPLE) {
        const listener = otherOf(talker);
        const { ear } = recorded[listener];
        const { mouth } = recorded[talker];
        assertHeard(voice[talker], ear.sound, `${listener} hears ${talker}`, THROUGH_SOUND_SERVER);
        assertAbsent(voice[talker], recorded[talker].ear.sound, `${talker} hears themself`);
        const spokenMs = mouth.startMs + 1000 * scoreSound(voice[talker], mouth.sound).lagSeconds;
        const heardMs = ear.startMs + 1000 * scoreSound(voice[talker], ear.sound).lagSeconds;
        const delayMs = heardMs - spokenMs;
        const figure = `from ${talker}'s mouth to ${listener}'s ear ${delayMs.toFixed(0)} ms`;
        if (process.env['DEBUG_SCORES']) process.stderr.write(`${figure}\n`);
        assert.ok(delayMs > 0 && delayMs < MOUTH_TO_EAR_MS, figure);
      }
    });
    await parley.nothingLeft();
  });
});
