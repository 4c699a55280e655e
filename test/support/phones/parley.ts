/** The softphone of this project in a test: a process in headless mode, sound from a file, what it hears into a file. */

import path from 'node:path';
import type { Sound } from '../../../core/audio/score.ts';
import { Program } from '../program.ts';
import { padded } from '../speech.ts';
import { readWav, writeWav } from '../wav.ts';
import { Phone, SILENCE_BEFORE_SECONDS } from './phone.ts';
import type { PhoneCodec, PhonePatterns, PhoneSettings } from './phone.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const CODECS: Readonly<Partial<Record<PhoneCodec, string>>> = {
  opus: 'opus',
  pcmu: 'PCMU',
  pcma: 'PCMA',
};

export class ParleyPhone extends Phone {
  static readonly PROGRAMS: readonly string[] = [];
  protected readonly quit = 'quit\n';
  protected readonly patterns: PhonePatterns = {
    registered: /"event":"registered"/,
    registrationFailed: /"event":"registrationFailed"/,
    incoming: /"event":"incoming"/,
    ringing: /"event":"ringing"/,
    established: /"event":"established"/,
    ended: /"event":"ended"/,
  };
  #recordings = 0;

  static async create(settings: PhoneSettings): Promise<ParleyPhone> {
    return new ParleyPhone(settings, await Phone.newFolder());
  }

  protected override start(): Promise<Program> {
    const { user, password, domain, server, codecs, play } = this.settings;
    const names = codecs.flatMap((codec) => CODECS[codec] ?? []);
    const args = ['--as', `${user}@${domain}`, '--server', `${server.address}:${server.port}`];
    args.push('--headless', '--no-lobby', '--sound', 'none', '--data', this.folder);
    args.push('--codec', names.join(','));
    if (play !== undefined) {
      writeWav(this.file('speech.wav'), padded(play, SILENCE_BEFORE_SECONDS, 0));
      args.push('--play', this.file('speech.wav'));
    }
    return Program.start(
      process.execPath,
      ['--import', 'tsx', 'registrar/cli/parley.ts', 'phone', ...args],
      {
        name: `${user}@${domain} on the softphone`,
        cwd: ROOT,
        env: { ...process.env, PARLEY_PASSWORD: password },
      },
    );
  }

  override async call(target: string): Promise<void> {
    this.forget();
    await this.#record();
    this.send(`call ${this.uriOf(target)}`);
  }

  override async answer(): Promise<void> {
    await this.#record();
    this.send('answer');
  }

  override decline(): Promise<void> {
    this.send('decline');
    return Promise.resolve();
  }

  override hangUp(): Promise<void> {
    this.send(JSON.stringify({ command: 'hangup', call: this.#lastCall() }));
    return Promise.resolve();
  }

  override hold(): Promise<void> {
    this.send('hold');
    return Promise.resolve();
  }

  override resume(): Promise<void> {
    this.send('resume');
    return Promise.resolve();
  }

  override dtmf(digits: string): Promise<void> {
    this.send(`dtmf ${digits}`);
    return Promise.resolve();
  }

  override message(target: string, text: string): Promise<void> {
    this.send(JSON.stringify({ command: 'msg', to: this.uriOf(target), text }));
    return Promise.resolve();
  }

  /** Any command, with the answer waited for. */
  async tell(line: string): Promise<void> {
    const [word = ''] = line.split(' ');
    this.send(line);
    await this.waitFor(new RegExp(`"event":"done","command":"${word}"`));
  }

  override async heard(): Promise<Sound | undefined> {
    if (this.#recordings === 0) return undefined;
    await this.tell('record off');
    return readWav(this.#recording());
  }

  async #record(): Promise<void> {
    this.#recordings += 1;
    await this.tell(`record ${this.#recording()}`);
  }

  #recording(): string {
    return this.file(`heard-${this.#recordings}.wav`);
  }

  #lastCall(): string {
    const ids = [...this.transcript.matchAll(/"call":\{"id":"(c\d+)"/g)];
    return ids.at(-1)?.[1] ?? 'c0';
  }
}
