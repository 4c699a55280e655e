/** The engine as others see it: started in its own worker, reached only by the drachtio control protocol. */
import { Worker } from 'node:worker_threads';
import { ControlError } from '../../core/errors.ts';
import { threadUrl } from '../../core/worker-url.ts';
import type { TlsIdentity } from './io/server-certificates.ts';
import type { EngineStartOptions, RunningEngine } from './run.ts';
import type { EngineWorkerMessage, EngineWorkerRequest } from './worker.ts';

export { loadIdentity, selfSignedIdentity } from './io/identity.ts';
export type { EngineCounts } from './counters.ts';
export type { EngineStartOptions } from './run.ts';
export type EngineStats = ReturnType<RunningEngine['stats']>;

export type EngineHandle = RunningEngine['details'] & {
  /** Counts of what the engine holds; all zero when nothing is going on. */
  stats(): Promise<EngineStats>;
  /** Gives new TLS connections another certificate. */
  exchangeIdentity(identity: TlsIdentity): Promise<void>;
  /** The same for connections of applications. */
  exchangeControlIdentity(identity: TlsIdentity): Promise<void>;
  /**
   * Lets milliseconds pass at once for the engine's own timers. For tests on real sockets, which cannot wait until the
   * last retransmission of RFC 3261 would have come.
   */
  skipTime(byMs: number): Promise<void>;
  /** Closes every socket and ends the worker; calls that are still up are cut without a word. */
  stop(): Promise<void>;
  /** Resolves, with the reason, when the worker ends without having been told to. */
  readonly lost: Promise<string>;
};

/** For young objects, half of V8's own choice: measured, more of it costs memory and saves no time. */
const MAX_YOUNG_MIB = 24;

type Pending = { resolve: (value: unknown) => void; reject: (error: Error) => void };

/**
 * Starts an engine in a worker thread.
 *
 * @throws ControlError with the system's own code (`EADDRINUSE`, `EACCES`, ...) when a socket cannot be opened, with
 * `trace.unwritable` when the trace cannot be written
 */
export async function startEngine(options: EngineStartOptions): Promise<EngineHandle> {
  const worker = new Worker(threadUrl(import.meta.url, './worker'), {
    workerData: options,
    resourceLimits: { maxYoungGenerationSizeMb: MAX_YOUNG_MIB },
  });
  const started = await untilStarted(worker);
  const questions = new Questions(worker);
  let isStopping = false;
  const lost = new Promise<string>((resolve) => {
    let reason = 'the engine worker ended';
    worker.once('error', (error: Error) => {
      reason = error.stack ?? error.message;
    });
    worker.once('exit', () => {
      questions.end();
      if (!isStopping) resolve(reason);
    });
  });
  const tell = async (...words: Parameters<Questions['ask']>): Promise<void> => {
    await questions.ask(...words);
  };
  return {
    ...started,
    lost,
    stats: async () => (await questions.ask('stats')) as EngineStats,
    exchangeIdentity: (identity) => tell('exchangeIdentity', { identity }),
    exchangeControlIdentity: (identity) => tell('exchangeControlIdentity', { identity }),
    skipTime: (byMs) => tell('skipTime', { byMs }),
    stop: async () => {
      if (isStopping) return;
      isStopping = true;
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      await questions.ask('stop').catch(() => undefined);
      await worker.terminate();
      await exited;
    },
  };
}

/** What the worker was asked and has not answered yet. */
class Questions {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #hasEnded = false;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: EngineWorkerMessage) => {
      if (message.kind !== 'answer') return;
      this.#pending.get(message.id)?.resolve(message.value);
      this.#pending.delete(message.id);
    });
  }

  ask(
    command: EngineWorkerRequest['command'],
    details: Pick<EngineWorkerRequest, 'identity' | 'byMs'> = {},
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#hasEnded) {
        reject(new ControlError('engine.closed', 'the SIP engine has ended'));
        return;
      }
      const request: EngineWorkerRequest = { ...details, id: this.#nextId++, command };
      this.#pending.set(request.id, { resolve, reject });
      this.#worker.postMessage(request);
    });
  }

  /** Nobody will answer any more. */
  end(): void {
    this.#hasEnded = true;
    for (const { reject } of this.#pending.values()) {
      reject(new ControlError('engine.closed', 'the SIP engine has ended'));
    }
    this.#pending.clear();
  }
}

/** Waits for the worker's first word: its sockets, or why it could not open them. */
function untilStarted(worker: Worker): Promise<RunningEngine['details']> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', (message: EngineWorkerMessage) => {
      worker.off('error', reject);
      if (message.kind === 'started') resolve(message.details);
      else if (message.kind === 'failed') reject(new ControlError(message.code, message.message));
    });
  });
}
