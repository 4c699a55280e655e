/** Asks registered devices by OPTIONS whether they are still there; one that misses two in a row is forgotten. */
import type { Log } from '../../../core/log.ts';
import type { Clock } from '../clock.ts';
import { sendRequest, type OutgoingRequest, type SipResponse, type Srf } from '../srf.ts';
import type { Binding, Location } from './location.ts';
import { routeOf, targetOf } from './target.ts';

export type LivenessOptions = {
  readonly location: Pick<Location, 'bindingsOf' | 'registeredNicknames' | 'forget'>;
  readonly srf: Srf;
  readonly clock: Clock;
  readonly log: Log;
  /** Each device is asked so often. */
  readonly intervalMs: number;
  /** The URI that the questions come from. */
  readonly from: string;
};

const MAX_MISSES = 2;
/** A device answered nothing (408), or its connection is gone (410, 430, 503); anything else is a sign of life. */
const SILENCE: ReadonlySet<number> = new Set([408, 410, 430, 503]);
/** So many questions at a time, spread over the interval. */
const ROUNDS = 20;

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #misses = new WeakMap<Binding, number>();
  /** Accounts of this pass that are still to be asked. */
  #queue: string[] = [];
  #cancel: (() => void) | undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#schedule();
  }

  close(): void {
    this.#cancel?.();
  }

  #schedule(): void {
    const { clock, intervalMs } = this.#options;
    this.#cancel = clock.after(intervalMs / ROUNDS, () => {
      this.#round();
      this.#schedule();
    });
  }

  #round(): void {
    const { location } = this.#options;
    const everybody = location.registeredNicknames();
    if (this.#queue.length === 0) this.#queue = [...everybody];
    const share = Math.ceil(everybody.length / ROUNDS);
    for (const nickname of this.#queue.splice(0, share)) {
      for (const binding of location.bindingsOf(nickname)) void this.#ask(binding);
    }
  }

  async #ask(binding: Binding): Promise<void> {
    const { srf, location, log, from } = this.#options;
    const headers = { From: `<${from}>`, To: `<${binding.contactUri}>`, ...routeOf(binding) };
    const question: OutgoingRequest = { method: 'OPTIONS', ...targetOf(binding), headers };
    let answer: SipResponse;
    try {
      answer = await sendRequest(srf, question);
    } catch (error) {
      // The engine, not the device, failed.
      log.warn('registrar.liveness.unsent', () => ({ error }));
      return;
    }
    if (!SILENCE.has(answer.status)) {
      this.#misses.delete(binding);
      return;
    }
    const misses = (this.#misses.get(binding) ?? 0) + 1;
    this.#misses.set(binding, misses);
    if (misses >= MAX_MISSES) location.forget(binding);
  }
}
