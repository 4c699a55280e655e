/** The real sound card, behind a process of its own; paced by what the microphone delivers. */

import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { workerUrl } from '../../core/worker-url.ts';
import { FRAME_MS, FRAME_SAMPLES, systemClock } from './device.ts';
import type { AudioDevice, Clock, Exchange } from './device.ts';
import { startPacer } from './pacer.ts';
import type { SoundReport, SoundRequest } from './sound-process.ts';

/** Either a device, or the sentence that says why there is none. */
export type SoundSearch =
  | { readonly device: AudioDevice; readonly reason: undefined }
  | { readonly device: undefined; readonly reason: string };

const FRAME_BYTES = FRAME_SAMPLES * 2;
const PROBE_LIMIT_MS = 10_000;
/** Frames of one burst that are used; older ones go, because sound that is late stays late. */
const MAXIMUM_BURST = 5;
/** A microphone that is silent for longer than this (or was never there) is replaced by a clock. */
const CAPTURE_LIMIT_MS = 1000;
const FIRST_CAPTURE_LIMIT_MS = 5000;
/** A speaker that gets stuck is opened again so often in a call. */
const MAXIMUM_REOPENINGS = 5;

/** Which device to use; a part of its name is enough, `undefined` means the system's default. */
export type SoundChoice = {
  readonly microphone?: string | undefined;
  readonly speaker?: string | undefined;
};

/**
 * Looks for a sound card.
 *
 * @param onFault - told in one sentence when the device fails later; the call goes on without it
 */
export async function findSoundDevice(
  choice: SoundChoice,
  onFault: (reason: string) => void,
): Promise<SoundSearch> {
  const none = 'This machine has no sound device.';
  if (!mayHaveSound()) return { device: undefined, reason: none };
  const found = await probe();
  if (typeof found === 'string') return { device: undefined, reason: found };
  const { inputs, outputs } = found;
  if (inputs.length === 0 && outputs.length === 0) return { device: undefined, reason: none };
  for (const [names, wanted] of [
    [inputs, choice.microphone],
    [outputs, choice.speaker],
  ] as const) {
    if (wanted === undefined || names.some((name) => name.includes(wanted))) continue;
    return {
      device: undefined,
      reason: `There is no sound device "${wanted}"; there is ${names.join(', ')}.`,
    };
  }
  return { device: new SoundDevice(choice, onFault, systemClock, forkSound), reason: undefined };
}

/** On Linux, asking the sound library on a machine without sound prints pages of complaints; look first. */
function mayHaveSound(): boolean {
  if (process.platform !== 'linux') return true;
  const { ALSA_CONFIG_PATH, PULSE_SERVER, XDG_RUNTIME_DIR } = process.env;
  if (ALSA_CONFIG_PATH !== undefined || PULSE_SERVER !== undefined) return true;
  const sockets = XDG_RUNTIME_DIR === undefined ? [] : ['pulse/native', 'pipewire-0'];
  return (
    existsSync('/dev/snd') || sockets.some((name) => existsSync(`${XDG_RUNTIME_DIR ?? ''}/${name}`))
  );
}

function forkSound(request: SoundRequest): ChildProcess {
  const entry = fileURLToPath(workerUrl(import.meta.url, './sound-process'));
  return fork(entry, [JSON.stringify(request)], {
    stdio: ['pipe', 'ignore', 'ignore', 'pipe', 'ipc'],
    // 40 ms is the smallest latency at which PulseAudio neither stalls nor drops on a machine that has time; without
    // a number it takes what the sound library wants, 80 ms and more. It must be set from the start.
    env: request.isRelaxed === true ? process.env : { PULSE_LATENCY_MSEC: '40', ...process.env },
  });
}

type FoundDevices = Extract<SoundReport, { readonly kind: 'devices' }>;

async function probe(): Promise<FoundDevices | string> {
  const child = forkSound({ mode: 'probe' });
  const answer = await new Promise<SoundReport>((resolve) => {
    const timer = setTimeout(() => {
      resolve({ kind: 'failed', reason: 'the sound system does not answer' });
    }, PROBE_LIMIT_MS);
    const finish = (result: SoundReport): void => {
      clearTimeout(timer);
      resolve(result);
    };
    child.on('message', (message) => {
      finish(message as SoundReport);
    });
    child.on('error', (error) => {
      finish({ kind: 'failed', reason: error.message });
    });
    child.on('exit', () => {
      finish({ kind: 'failed', reason: 'the sound system crashed' });
    });
  });
  child.kill('SIGKILL');
  if (answer.kind === 'devices') return answer;
  const reason = answer.kind === 'failed' ? answer.reason : 'unexpected answer';
  return `The sound device cannot be used: ${reason}.`;
}

/** What is needed of the child process. */
export type SoundChild = Pick<
  ChildProcess,
  'stdin' | 'stdio' | 'exitCode' | 'signalCode' | 'on' | 'once' | 'kill'
>;

export class SoundDevice implements AudioDevice {
  readonly description = 'sound card';
  readonly #choice: SoundChoice;
  readonly #onFault: (reason: string) => void;
  readonly #clock: Clock;
  readonly #fork: (request: SoundRequest) => SoundChild;
  #child: SoundChild | undefined;
  #exchange: Exchange | undefined;
  #lastCaptureMs = 0;
  #stopPacer: (() => void) | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  readonly #silence = new Int16Array(FRAME_SAMPLES);
  #reopenings = 0;
  /** Once this machine was too busy for a short buffer, it gets a long one. */
  #isRelaxed = false;

  /** @param fork - starts the process for the sound card */
  constructor(
    choice: SoundChoice,
    onFault: (reason: string) => void,
    clock: Clock,
    fork: (request: SoundRequest) => SoundChild,
  ) {
    this.#fork = fork;
    this.#choice = choice;
    this.#onFault = onFault;
    this.#clock = clock;
  }

  start(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#reopenings = 0;
    this.#open();
    this.#watch = setInterval(() => {
      this.#watchCapture();
    }, 250);
  }

  #open(): void {
    const child = this.#fork({ mode: 'run', ...this.#choice, isRelaxed: this.#isRelaxed });
    this.#child = child;
    child.on('message', (message) => {
      if (this.#child === child) this.#told(message as SoundReport);
    });
    child.on('error', (error) => {
      this.#lost(child, error.message);
    });
    child.on('exit', () => {
      this.#lost(child, 'its process ended');
    });
    child.stdin?.on('error', () => {
      // The exit event says the same.
    });
    this.#takeFrames(child, child.stdio[3] as Readable);
    this.#lastCaptureMs = this.#clock.nowMs() + FIRST_CAPTURE_LIMIT_MS - CAPTURE_LIMIT_MS;
  }

  #told(report: SoundReport): void {
    if (report.kind === 'failed' && this.#child !== undefined) {
      this.#lost(this.#child, report.reason);
    }
    if (report.kind === 'started' && !report.input) {
      this.#onFault('There is no microphone that works; you can listen only.');
      this.#runOnClock();
    }
    if (report.kind === 'stuck' || report.kind === 'unsteady') this.#reopen();
  }

  /** Sound servers lose a stream when a machine is busy; a new one with more delay works, a moment later. */
  #reopen(): void {
    this.#child?.kill('SIGKILL');
    if (this.#reopenings >= MAXIMUM_REOPENINGS) return;
    this.#reopenings += 1;
    this.#isRelaxed = true;
    this.#onFault('The speaker lost sound; it is opened again, with a little more delay.');
    this.#runOnClock();
    this.#open();
  }

  #takeFrames(child: SoundChild, stream: Readable): void {
    let rest: Buffer = Buffer.alloc(0);
    let isDue = false;
    stream.on('error', () => {
      // The exit event says the same.
    });
    const run = (): void => {
      isDue = false;
      const excess = Math.floor(rest.length / FRAME_BYTES) - MAXIMUM_BURST;
      if (excess > 0) rest = rest.subarray(excess * FRAME_BYTES);
      while (rest.length >= FRAME_BYTES && this.#child === child) {
        const frame = new Int16Array(FRAME_SAMPLES);
        for (let index = 0; index < FRAME_SAMPLES; index += 1) {
          frame[index] = rest.readInt16LE(index * 2);
        }
        rest = rest.subarray(FRAME_BYTES);
        this.#captured(frame);
      }
    };
    stream.on('data', (bytes: Buffer) => {
      rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      if (isDue || rest.length < FRAME_BYTES) return;
      // After the packets that have come by now: what was held up with them is not late.
      isDue = true;
      setImmediate(run);
    });
  }

  #captured(frame: Int16Array): void {
    this.#lastCaptureMs = Math.max(this.#lastCaptureMs, this.#clock.nowMs());
    this.#stopPacer?.();
    this.#stopPacer = undefined;
    this.#run(frame);
  }

  #run(captured: Int16Array): void {
    const played = this.#exchange?.(captured);
    const stdin = this.#child?.stdin;
    if (played === undefined || stdin?.writable !== true) return;
    if (stdin.writableLength > MAXIMUM_BURST * FRAME_BYTES) return;
    const bytes = Buffer.allocUnsafe(FRAME_BYTES);
    for (let index = 0; index < FRAME_SAMPLES; index += 1) {
      bytes.writeInt16LE(played[index] ?? 0, index * 2);
    }
    stdin.write(bytes);
  }

  #watchCapture(): void {
    if (this.#stopPacer !== undefined) return;
    if (this.#clock.nowMs() - this.#lastCaptureMs < CAPTURE_LIMIT_MS) return;
    this.#onFault('The microphone delivers nothing; the call goes on without it.');
    this.#runOnClock();
  }

  #runOnClock(): void {
    this.#stopPacer ??= startPacer(this.#clock, FRAME_MS, () => {
      this.#run(this.#silence.fill(0));
    });
  }

  #lost(child: SoundChild, reason: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#onFault(`The sound device stopped working: ${reason}; the call goes on without it.`);
    this.#runOnClock();
  }

  async stop(): Promise<void> {
    clearInterval(this.#watch);
    this.#watch = undefined;
    this.#stopPacer?.();
    this.#stopPacer = undefined;
    this.#exchange = undefined;
    const child = this.#child;
    this.#child = undefined;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), 1000);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      child.stdin?.end();
    });
  }
}
