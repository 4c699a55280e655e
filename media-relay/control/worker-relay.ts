/** `MediaRelay` over a worker thread: waits until it runs, notices when it dies, stops it. */

import type { Worker } from 'node:worker_threads';
import { ConfigError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { MediaRelay } from '../messages.ts';
import type { WorkerMessage } from '../worker-messages.ts';
import { PortChannel } from './channel.ts';
import { RelayClient } from './client.ts';

/** A command opens a few sockets at most. */
const DEADLINE_MS = 5000;
const STOP_DEADLINE_MS = 2000;

/**
 * Takes charge of a worker that was just made.
 *
 * @throws ConfigError when the worker says that it cannot run with its settings; it is ended then
 */
export async function relayInWorker(worker: Worker, log: Log): Promise<MediaRelay> {
  let onEnd: ((reason: string) => void) | undefined;
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', (code) => {
      onEnd?.(`the relay's worker ended with code ${code}`);
      resolve();
    });
  });
  worker.on('error', (error) => {
    onEnd?.(error instanceof Error ? error.message : String(error));
  });
  worker.on('message', (message: WorkerMessage) => {
    if (message.kind === 'log') log[message.level](message.event, () => message.fields);
  });
  const ngEndpoint = await started(worker);
  const channel = new PortChannel(worker, DEADLINE_MS, (event) => {
    client.emit(event);
  });
  const close = async (): Promise<void> => {
    onEnd = undefined;
    channel.close('the relay was closed');
    worker.postMessage({ kind: 'close' } satisfies WorkerMessage);
    const timer = setTimeout(() => void worker.terminate(), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(timer);
  };
  const client = new RelayClient({ channel, close, log, ngEndpoint });
  onEnd = (reason) => {
    onEnd = undefined;
    log.error('relay.worker.lost', () => ({ reason }));
    channel.close(reason);
    client.emit({ kind: 'lost', reason });
  };
  return client;
}

/** The worker's first word: that it runs, and where ng listens; or why not. */
async function started(worker: Worker): Promise<MediaRelay['ngEndpoint']> {
  return await new Promise((resolve, reject) => {
    const onError = (error: unknown): void => {
      reject(new ConfigError('relay.start', `the relay does not start: ${String(error)}`));
    };
    const onMessage = (message: WorkerMessage): void => {
      if (message.kind !== 'started' && message.kind !== 'failed') return;
      worker.removeListener('error', onError);
      worker.removeListener('message', onMessage);
      if (message.kind === 'started') {
        resolve(message.ngEndpoint);
        return;
      }
      void worker.terminate();
      reject(new ConfigError('relay.start', message.reason));
    };
    worker.once('error', onError);
    worker.on('message', onMessage);
  });
}
