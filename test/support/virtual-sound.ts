/**
 * Speakers and microphones made of software: a PulseAudio of our own, without D-Bus, with two null sinks per phone
 * (what it plays; what its microphone hears), and an ALSA configuration that knows nothing else.
 */

import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Sound } from '../../core/audio/score.ts';
import { WAV_HEADER_BYTES } from '../../core/audio/wav.ts';
import { Program } from './program.ts';
import { withUrgentThreads } from './stalls.ts';

const run = promisify(execFile);
const START_MS = 15_000;

/** The programs that must be installed. */
export const VIRTUAL_SOUND_PROGRAMS = [
  'pulseaudio',
  'pactl',
  'paplay',
  'parec',
  'parecord',
] as const;

/** A recording of which it is known when it was made. */
export type TimedSound = {
  readonly sound: Sound;
  /** When the first sample was there, on `performance.now()`; of two tapes the difference is good to some ms. */
  readonly startMs: number;
};

/** A recorder that runs. */
export type Tape = { stop(): Promise<TimedSound> };

const TAPE_HZ = 48_000;

function serverScript(socket: string, phones: readonly string[]): string {
  const lines = phones.flatMap((phone) => [
    `load-module module-null-sink sink_name=${phone}_speaker rate=48000 channels=1`,
    `load-module module-null-sink sink_name=${phone}_mouth rate=48000 channels=1`,
    `load-module module-remap-source source_name=${phone}_microphone master=${phone}_mouth.monitor channels=1 remix=no`,
  ]);
  const access = `load-module module-native-protocol-unix socket=${socket} auth-anonymous=1`;
  return `${[access, ...lines].join('\n')}\n`;
}

function alsaConfiguration(server: string, phones: readonly string[]): string {
  const device = (name: string): string =>
    `pcm.${name} { type pulse server "${server}" device "${name}" }`;
  const devices = phones.flatMap((phone) => [
    device(`${phone}_speaker`),
    device(`${phone}_microphone`),
    `pcm.${phone} { type asym playback.pcm "${phone}_speaker" capture.pcm "${phone}_microphone" hint { show on description "${phone}" } }`,
    `ctl.${phone} { type pulse server "${server}" sink "${phone}_speaker" source "${phone}_microphone" }`,
  ]);
  const [first = 'null'] = phones;
  const defaults = [`pcm.!default { type plug slave.pcm "${first}" }`, 'pcm.null { type null }'];
  return `${[...devices, ...defaults].join('\n')}\n`;
}

export class VirtualSound {
  /** For programs on ALSA and PulseAudio; must be in their environment from the start. */
  readonly env: Readonly<Record<'ALSA_CONFIG_PATH' | 'PULSE_SERVER', string>>;
  readonly #folder: string;
  readonly #server: Program;
  readonly #tapes = new Set<ChildProcess>();

  private constructor(folder: string, server: Program, env: VirtualSound['env']) {
    this.#folder = folder;
    this.#server = server;
    this.env = env;
  }

  /** A sound server with `NAME_speaker`, `NAME_mouth`, `NAME_microphone` for every phone's name. */
  static async start(phones: readonly string[]): Promise<VirtualSound> {
    const folder = await mkdtemp(path.join(tmpdir(), 'parley-sound-'));
    const socket = path.join(folder, 'pulse.sock');
    const env = {
      PULSE_SERVER: `unix:${socket}`,
      ALSA_CONFIG_PATH: path.join(folder, 'asound.conf'),
    };
    await mkdir(path.join(folder, 'runtime'), { mode: 0o700 });
    await writeFile(path.join(folder, 'server.pa'), serverScript(socket, phones));
    await writeFile(env.ALSA_CONFIG_PATH, alsaConfiguration(env.PULSE_SERVER, phones));
    const args = [
      '-n',
      '-F',
      path.join(folder, 'server.pa'),
      '--daemonize=no',
      '--exit-idle-time=-1',
      '--use-pid-file=no',
      '--realtime=no',
      '--high-priority=no',
      '--log-target=stderr',
    ];
    const server = await Program.start('pulseaudio', args, {
      isUrgent: true,
      env: {
        ...process.env,
        HOME: folder,
        XDG_RUNTIME_DIR: folder,
        PULSE_RUNTIME_PATH: path.join(folder, 'runtime'),
        DBUS_SESSION_BUS_ADDRESS: 'disabled:',
      },
    });
    const sound = new VirtualSound(folder, server, env);
    try {
      await sound.#ready(phones);
    } catch (error) {
      await sound.stop();
      throw error;
    }
    return sound;
  }

  async #ready(phones: readonly string[]): Promise<void> {
    const last = `${phones.at(-1) ?? ''}_microphone`;
    const end = Date.now() + START_MS;
    for (;;) {
      const env = { ...process.env, ...this.env };
      const sources = await run('pactl', ['list', 'short', 'sources'], { env }).catch(
        () => undefined,
      );
      if (sources?.stdout.includes(last) === true) return;
      if (this.#server.hasExited || Date.now() > end) {
        throw new Error(`the sound server did not start\n${this.#server.describe()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  get pid(): number {
    return this.#server.pid;
  }

  /** Plays a file into the phone's microphone; it ends with the file or with `stop`. */
  async speak(phone: string, file: string): Promise<Program> {
    return this.#client('paplay', [`--device=${phone}_mouth`, '--latency-msec=60', file]);
  }

  /** Records what the phone plays on its speaker into a 48 kHz WAV file, until it is stopped; begins before it resolves. */
  async listen(phone: string, file: string): Promise<Program> {
    const recorder = await this.#client('parecord', [
      `--device=${phone}_speaker.monitor`,
      '--latency-msec=40',
      '--rate=48000',
      '--channels=1',
      '--format=s16le',
      '--file-format=wav',
      file,
    ]);
    const hasBegun = (): true | undefined =>
      (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > WAV_HEADER_BYTES ? true : undefined;
    await recorder.waitUntil(hasBegun, 'recording', START_MS);
    return recorder;
  }

  /**
   * Records what a phone's speaker plays or what is said into its microphone, and when. To be started before the
   * phone uses them: a sound server may interrupt what it plays when somebody begins to record it.
   */
  async tape(phone: string, end: 'speaker' | 'mouth'): Promise<Tape> {
    const args = [`--device=${phone}_${end}.monitor`, '--raw', `--rate=${TAPE_HZ}`];
    args.push('--channels=1', '--format=s16le', '--latency-msec=20');
    const env = { ...process.env, ...this.env };
    const recorder = await withUrgentThreads(() => Promise.resolve(spawn('parec', args, { env })));
    this.#tapes.add(recorder);
    const chunks: Buffer[] = [];
    let bytes = 0;
    let startMs = Infinity;
    recorder.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      // Chunks come late or in time, never early.
      startMs = Math.min(startMs, performance.now() - (bytes / 2 / TAPE_HZ) * 1000);
    });
    const closed = once(recorder, 'close');
    await Promise.race([once(recorder.stdout, 'data'), closed]);
    return {
      stop: async () => {
        recorder.kill();
        await closed;
        this.#tapes.delete(recorder);
        const all = Buffer.concat(chunks);
        const samples = Float32Array.from(
          { length: all.length >> 1 },
          (_, at) => all.readInt16LE(at * 2) / 32768,
        );
        return { sound: { samples, sampleRateHz: TAPE_HZ }, startMs };
      },
    };
  }

  async #client(command: string, args: readonly string[]): Promise<Program> {
    const env = { ...process.env, ...this.env };
    return Program.start(command, args, { env, isUrgent: true });
  }

  async stop(): Promise<void> {
    for (const recorder of this.#tapes) recorder.kill();
    await this.#server.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
