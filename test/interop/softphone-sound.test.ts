import assert from 'node:assert/strict';
import path from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertHeard } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { Program } from '../support/program.ts';
import { padded, speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';
import { VIRTUAL_SOUND_PROGRAMS, VirtualSound } from '../support/virtual-sound.ts';
import { readWav, writeWav } from '../support/wav.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SPEECH_SECONDS = 4;
/** A sound card gives its first samples after up to two seconds. */
const OPENING_SECONDS = 3;
const LIMIT_MS = 20_000;

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
  this.timeout(150_000);
  const parley = new LiveSwitch();
  const phones: Program[] = [];
  let sound: VirtualSound | undefined;
  let folder = '';

  before(async function () {
    requirePeer(this, ...VIRTUAL_SOUND_PROGRAMS);
    if (!hasSoundLibrary()) this.skip();
    folder = await mkdtemp(path.join(tmpdir(), 'parley-card-'));
    await parley.start();
    sound = await VirtualSound.start(['clara', 'david']);
    await parley.addAccounts(
      ['clara', 'david'].map((user) => ({ user, password: `${user}-secret` })),
    );
  });

  after(async () => {
    await Promise.all(phones.map((phone) => phone.stop('quit\n')));
    await sound?.stop();
    await parley.stop();
    if (folder !== '') await rm(folder, { recursive: true });
  });

  const open = async (name: string, ...more: readonly string[]): Promise<Program> => {
    const { address, port } = parley.server;
    const args = ['--as', `${name}@${parley.domain}`, '--server', `${address}:${port}`];
    args.push('--headless', '--no-lobby', '--no-data', '--microphone', name, '--speaker', name);
    const phone = await Program.start(
      process.execPath,
      ['--import', 'tsx', 'registrar/cli/parley.ts', 'phone', ...args, ...more],
      { cwd: ROOT, env: { ...process.env, ...sound?.env, PARLEY_PASSWORD: `${name}-secret` } },
    );
    phones.push(phone);
    await saying(phone, '"event":"registered"');
    return phone;
  };

  const saying = (phone: Program, words: string): Promise<true> =>
    phone.waitUntil(() => (phone.output.includes(words) ? true : undefined), words, LIMIT_MS);

  it('carries what the microphones hear to the speakers of the other side', async () => {
    const [clara, david] = [await open('clara'), await open('david', '--answer')];
    const voices = {
      clara: await speech('clara', SPEECH_SECONDS),
      david: await speech('david', SPEECH_SECONDS),
    };
    for (const name of ['clara', 'david'] as const) {
      writeWav(path.join(folder, `${name}.wav`), padded(voices[name], 0, 0.5));
    }
    clara.write('call david\n');
    await saying(clara, '"event":"established"');
    await sleep(OPENING_SECONDS * 1000);
    const card = sound;
    assert.ok(card);
    await measureAwake(
      phones.map(({ pid }) => pid),
      async () => {
        const heard = (name: string): string => path.join(folder, `${name}-heard.wav`);
        const recorders = await Promise.all(
          ['clara', 'david'].map((name) => card.listen(name, heard(name))),
        );
        const mouths = await Promise.all(
          ['clara', 'david'].map((name) => card.speak(name, path.join(folder, `${name}.wav`))),
        );
        await Promise.all(mouths.map((mouth) => mouth.exited));
        await sleep(1000);
        await Promise.all(recorders.map((recorder) => recorder.stop()));
        assertHeard(voices.clara, readWav(heard('david')), 'david hears clara');
        assertHeard(voices.david, readWav(heard('clara')), 'clara hears david');
      },
    );
    clara.write('hangup\n');
    await saying(david, '"event":"ended"');
    await parley.nothingLeft();
  });
});
