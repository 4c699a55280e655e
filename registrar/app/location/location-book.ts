/** The bindings of every account, in memory and in the store: what `Location` promises, and how REGISTER changes it. */
import { TypedEmitter } from '../../../core/events.ts';
import type { Log } from '../../../core/log.ts';
import type { Clock } from '../clock.ts';
import type { BindingRows } from './binding-rows.ts';
import { ExpiryWheel } from './expiry-wheel.ts';
import { needsItsFlow } from './target.ts';
import type { Binding, Location, LocationEvents } from './location.ts';
import {
  updateBindings,
  type BindingChange,
  type RegisterRequest,
  type RegistrationPolicy,
} from './update-bindings.ts';

export type LocationBookOptions = {
  readonly rows: BindingRows;
  readonly policy: RegistrationPolicy;
  readonly clock: Clock;
  readonly log: Log;
  /** The connections of registered devices have ended with the switch, because its engine is a part of it. */
  readonly hasLostFlows?: boolean;
};

const TICK_MS = 1000;
const NONE: readonly Binding[] = [];

export class LocationBook implements Location {
  readonly #rows: BindingRows;
  readonly #policy: RegistrationPolicy;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: TypedEmitter<LocationEvents>;
  readonly #bindings = new Map<string, readonly Binding[]>();
  readonly #wheel: ExpiryWheel;
  readonly #hasLostFlows: boolean;
  /** Bindings of the last run that lead nowhere until their devices register again. */
  readonly #stranded = new WeakSet<Binding>();
  #cancelTick: (() => void) | undefined;

  constructor({ rows, policy, clock, log, hasLostFlows = false }: LocationBookOptions) {
    this.#rows = rows;
    this.#hasLostFlows = hasLostFlows;
    this.#policy = policy;
    this.#clock = clock;
    this.#log = log;
    this.#hasLostFlows = hasLostFlows;
    this.#wheel = new ExpiryWheel(clock.wallMs());
    this.#events = new TypedEmitter((error) => {
      log.error('registrar.location.listenerFailed', () => ({ error }));
    });
  }

  /** Reads what was registered before the switch was last stopped. */
  async load(): Promise<void> {
    const bindings = await this.#rows.load(this.#clock.wallMs());
    for (const binding of bindings) {
      if (this.#hasLostFlows && needsItsFlow(binding)) this.#stranded.add(binding);
      this.#bindings.set(binding.nickname, [
        ...(this.#bindings.get(binding.nickname) ?? []),
        binding,
      ]);
    }
    for (const nickname of this.#bindings.keys()) this.#schedule(nickname);
    if (bindings.length > 0) {
      this.#log.info('registrar.bindings.loaded', () => ({ count: bindings.length }));
    }
  }

  on<Name extends keyof LocationEvents>(
    name: Name,
    listener: (...args: LocationEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  bindingsOf(nickname: string): readonly Binding[] {
    const bindings = this.#bindings.get(nickname);
    if (bindings === undefined) return NONE;
    const nowMs = this.#clock.wallMs();
    const isAlive = ({ expiresAtMs }: Binding): boolean => expiresAtMs > nowMs;
    return bindings.every(isAlive) ? bindings : bindings.filter(isAlive);
  }

  reachableBindingsOf(nickname: string): readonly Binding[] {
    const bindings = this.bindingsOf(nickname);
    const isReachable = (binding: Binding): boolean => !this.#stranded.has(binding);
    return bindings.every(isReachable) ? bindings : bindings.filter(isReachable);
  }

  registeredNicknames(): readonly string[] {
    return [...this.#bindings.keys()];
  }

  /**
   * Applies a REGISTER (see `updateBindings`).
   *
   * @returns all bindings of the account, once the change is durable
   * @throws what `updateBindings` throws; or the store's failure, and then nothing has changed
   */
  async register(request: RegisterRequest): Promise<readonly Binding[]> {
    const { nickname } = request;
    const before = this.#bindings.get(nickname) ?? NONE;
    const outcome = updateBindings(before, request, this.#policy, this.#clock.wallMs());
    if (outcome.changes.length === 0) return outcome.bindings;
    this.#set(nickname, outcome.bindings);
    try {
      await this.#rows.write(outcome.changes);
    } catch (error) {
      await this.#restore(nickname);
      throw error;
    }
    this.#tell(
      outcome.changes,
      before.every((binding) => this.#stranded.has(binding)),
    );
    return outcome.bindings;
  }

  forget(binding: Binding): void {
    const bindings = this.#bindings.get(binding.nickname) ?? NONE;
    if (!bindings.includes(binding)) return;
    this.#remove(binding.nickname, [{ kind: 'removed', binding, reason: 'unreachable' }]);
  }

  /** The account is gone: so are its devices. */
  forgetAccount(nickname: string): void {
    const bindings = this.#bindings.get(nickname) ?? NONE;
    this.#remove(
      nickname,
      bindings.map((binding) => ({ kind: 'removed', binding, reason: 'accountRemoved' })),
    );
  }

  /** Stops the clock of expiry. */
  close(): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
  }

  #set(nickname: string, bindings: readonly Binding[]): void {
    if (bindings.length === 0) this.#bindings.delete(nickname);
    else this.#bindings.set(nickname, bindings);
    this.#schedule(nickname);
  }

  /** What memory says must be what is kept. */
  async #restore(nickname: string): Promise<void> {
    try {
      this.#set(nickname, await this.#rows.loadOf(nickname));
    } catch (error) {
      this.#log.error('registrar.bindings.unreadable', () => ({ error }));
    }
  }

  #remove(nickname: string, changes: readonly BindingChange[]): void {
    const gone = new Set(changes.map(({ binding }) => binding));
    const left = (this.#bindings.get(nickname) ?? NONE).filter((binding) => !gone.has(binding));
    this.#set(nickname, left);
    // Should this fail, the rows expire by themselves.
    this.#rows.write(changes).catch((error: unknown) => {
      this.#log.error('registrar.bindings.unwritable', () => ({ error }));
    });
    this.#tell(changes, false);
  }

  #tell(changes: readonly BindingChange[], wasEmpty: boolean): void {
    let isFirst = wasEmpty;
    for (const change of changes) {
      const { binding } = change;
      const fields = (): Record<string, unknown> => ({
        user: binding.nickname,
        contact: binding.contactUri,
      });
      const isBack = change.kind === 'refreshed' && this.#stranded.has(change.previous);
      if (change.kind === 'added' || isBack) {
        this.#log.info('registrar.binding.added', fields);
        this.#events.emit('bindingAdded', binding, isFirst);
        isFirst = false;
      } else if (change.kind === 'refreshed') {
        this.#log.debug('registrar.binding.refreshed', fields);
        this.#events.emit('bindingRefreshed', binding);
      } else {
        this.#log.info('registrar.binding.removed', () => ({ ...fields(), reason: change.reason }));
        this.#events.emit('bindingRemoved', binding, change.reason);
      }
    }
  }

  #schedule(nickname: string): void {
    const bindings = this.#bindings.get(nickname);
    const soonest = bindings?.reduce(
      (min, { expiresAtMs }) => Math.min(min, expiresAtMs),
      Infinity,
    );
    this.#wheel.set(nickname, soonest);
    this.#cancelTick ??=
      this.#wheel.size === 0 ? undefined : this.#clock.after(TICK_MS, this.#tick);
  }

  readonly #tick = (): void => {
    this.#cancelTick = undefined;
    const nowMs = this.#clock.wallMs();
    for (const nickname of this.#wheel.due(nowMs)) {
      const expired = (this.#bindings.get(nickname) ?? NONE).filter(
        ({ expiresAtMs }) => expiresAtMs <= nowMs,
      );
      this.#remove(
        nickname,
        expired.map((binding) => ({ kind: 'removed', binding, reason: 'expired' })),
      );
    }
    this.#cancelTick ??=
      this.#wheel.size === 0 ? undefined : this.#clock.after(TICK_MS, this.#tick);
  };
}
