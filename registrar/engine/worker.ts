/** The engine's worker thread: engine and sockets, away from the registrar's event loop. */
import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../../core/invariant.ts';
import type { TlsIdentity } from './io/server-certificates.ts';
import { runEngine, type EngineStartOptions, type RunningEngine } from './run.ts';

invariant(parentPort, 'the engine worker runs in a worker thread');
const port = parentPort;

/** Requests to the worker; each is answered with the same `id`. */
export type EngineWorkerRequest = {
  readonly id: number;
  readonly command: 'stats' | 'stop' | 'exchangeIdentity' | 'exchangeControlIdentity' | 'skipTime';
  readonly identity?: TlsIdentity | undefined;
  readonly byMs?: number | undefined;
};
export type EngineWorkerMessage =
  | { readonly kind: 'started'; readonly details: RunningEngine['details'] }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown };

function post(message: EngineWorkerMessage): void {
  port.postMessage(message);
}

async function main(): Promise<void> {
  const engine = await runEngine(workerData as EngineStartOptions);
  port.on('message', (request: EngineWorkerRequest) => {
    void answer(engine, request);
  });
  post({ kind: 'started', details: engine.details });
}

async function answer(engine: RunningEngine, request: EngineWorkerRequest): Promise<void> {
  const { id, command, identity, byMs } = request;
  if (command === 'exchangeIdentity') {
    if (identity !== undefined) engine.exchangeIdentity(identity);
    post({ kind: 'answer', id, value: undefined });
    return;
  }
  if (command === 'exchangeControlIdentity') {
    if (identity !== undefined) engine.exchangeControlIdentity(identity);
    post({ kind: 'answer', id, value: undefined });
    return;
  }
  if (command === 'skipTime') {
    if (byMs !== undefined) engine.skipTime(byMs);
    post({ kind: 'answer', id, value: undefined });
    return;
  }
  if (command === 'stats') {
    post({ kind: 'answer', id, value: engine.stats() });
    return;
  }
  await engine.stop();
  post({ kind: 'answer', id, value: undefined });
  port.close();
}

main().catch((error: unknown) => {
  const { code, message } = error as { code?: string; message: string };
  post({ kind: 'failed', code: code ?? 'engine.failed', message });
  port.close();
});
