/** What every SIP phone program can do in a test, whoever made it. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Sound } from '../../../core/audio/score.ts';
import type { Program } from '../program.ts';
import type { VirtualSound } from '../virtual-sound.ts';

export type PhoneCodec = 'opus' | 'pcmu' | 'pcma' | 'g722';

export type PhoneSettings = {
  readonly user: string;
  readonly password: string;
  readonly domain: string;
  readonly server: { readonly address: string; readonly port: number };
  readonly transport: 'udp' | 'tcp' | 'tls';
  /** File of the certificate that vouches for the server, for TLS. */
  readonly authorityFile: string | undefined;
  /** In order of preference. */
  readonly codecs: readonly PhoneCodec[];
  /** What it says in every call, `SILENCE_BEFORE_SECONDS` after its media starts, or when it is told to `speak`. */
  readonly play: Sound | undefined;
  /** People and rooms that it may have to write to. */
  readonly contacts: readonly string[];
  /** A sound server that was started with the user as the name of a phone. */
  readonly sound: VirtualSound | undefined;
};

export const PHONE_EVENTS = [
  'registered',
  'registrationFailed',
  'incoming',
  'ringing',
  'established',
  'ended',
] as const;
export type PhoneEvent = (typeof PHONE_EVENTS)[number];

export type PhonePatterns = Readonly<Record<PhoneEvent, RegExp>>;

const WAIT_MS = 20_000;

/** Until both ends of a call have opened their sound, what is said is lost. */
export const SILENCE_BEFORE_SECONDS = 1;
/** The file of a phone must not end while a call lasts. */
export const SILENCE_AFTER_SECONDS = 120;

/**
 * One phone process with its own temporary folder. Commands return as soon as the phone was told; what became of it is
 * waited for with `waitFor`, which finds every occurrence of an event once, in order, however late it is asked.
 */
export abstract class Phone {
  readonly settings: PhoneSettings;
  protected readonly folder: string;
  readonly #found = new Map<string, number>();
  #program: Program | undefined;

  protected constructor(settings: PhoneSettings, folder: string) {
    this.settings = settings;
    this.folder = folder;
  }

  static async newFolder(): Promise<string> {
    return mkdtemp(path.join(tmpdir(), 'parley-phone-'));
  }

  protected abstract readonly patterns: PhonePatterns;
  protected abstract start(): Promise<Program>;
  /** The line that makes the program end by itself. */
  protected abstract readonly quit: string;
  abstract call(target: string): Promise<void>;
  abstract answer(): Promise<void>;
  abstract decline(): Promise<void>;
  abstract hangUp(): Promise<void>;
  abstract hold(): Promise<void>;
  abstract resume(): Promise<void>;
  abstract dtmf(digits: string): Promise<void>;
  /** For phones that cannot begin on their own to say what they have to say; the others do nothing. */
  async speak(): Promise<void> {
    // The file was given to the program at its start.
  }
  abstract message(target: string, text: string): Promise<void>;
  /** What it played in its last call; complete once that call has ended. Undefined when there was no sound at all. */
  abstract heard(): Promise<Sound | undefined>;

  get name(): string {
    return `${this.settings.user} (${this.constructor.name})`;
  }

  get pid(): number {
    return this.program.pid;
  }

  /** Starts the program; a phone that does not start leaves nothing behind. */
  async up(): Promise<void> {
    try {
      this.#program = await this.start();
    } catch (error) {
      await this.down();
      throw error;
    }
  }

  async registered(): Promise<void> {
    await this.waitFor('registered');
  }

  /** What of the program's words is searched for events. */
  protected get transcript(): string {
    return this.program.output;
  }

  protected get program(): Program {
    if (this.#program === undefined) throw new Error(`${this.name} is not up`);
    return this.#program;
  }

  /** Waits for the next occurrence of an event, or of words, that no earlier call has found. */
  async waitFor(event: PhoneEvent | RegExp, timeoutMs = WAIT_MS): Promise<RegExpExecArray> {
    const pattern = event instanceof RegExp ? event : this.patterns[event];
    const key = pattern.source;
    const from = this.#found.get(key) ?? 0;
    const what = event instanceof RegExp ? `/${key}/` : `"${event}"`;
    const match = await this.program.waitUntil(
      () => pattern.exec(this.transcript.slice(from)) ?? undefined,
      what,
      timeoutMs,
    );
    this.#found.set(key, from + match.index + match[0].length);
    return match;
  }

  /** Has this happened since it was last waited for? */
  hasSeen(event: PhoneEvent | RegExp): boolean {
    const pattern = event instanceof RegExp ? event : this.patterns[event];
    return pattern.test(this.transcript.slice(this.#found.get(pattern.source) ?? 0));
  }

  /** Forgets what has happened so far, for every event. */
  protected forget(): void {
    for (const event of PHONE_EVENTS) {
      if (event !== 'registered') {
        this.#found.set(this.patterns[event].source, this.transcript.length);
      }
    }
  }

  protected send(line: string): void {
    this.program.write(`${line}\n`);
  }

  /** `user`, `user@host` or a whole URI as a whole URI. */
  protected uriOf(target: string): string {
    if (/^sips?:/.test(target)) return target;
    return target.includes('@') ? `sip:${target}` : `sip:${target}@${this.settings.domain}`;
  }

  protected file(name: string): string {
    return path.join(this.folder, name);
  }

  /** The end of what the program said, for a failure message. */
  describe(): string {
    return this.#program?.describe() ?? `${this.name} was never up`;
  }

  /** Ends it without letting it tell anybody. */
  kill(): void {
    this.program.signal('SIGKILL');
  }

  protected async beforeDown(): Promise<void> {
    // For phones that have more than one process.
  }

  /** Ends the program, by force if need be, and removes its folder. */
  async down(): Promise<void> {
    await this.beforeDown();
    await this.#program?.stop(this.quit);
    await rm(this.folder, { recursive: true, force: true });
  }
}
