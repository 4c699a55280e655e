/** Where people are: the bindings of every account (RFC 3261 section 10), served from memory, durable in the store. */
import type { Transport } from '../transport.ts';

/** One device of one account; frozen. */
export type Binding = {
  readonly nickname: string;
  /** The Contact URI as the device wrote it, all its parameters kept; never to be rewritten. */
  readonly contactUri: string;
  /** Contact header parameters after the `>`, as written, without `expires`; for example `;+sip.instance="<urn:uuid:...>"`. */
  readonly contactParameters: string;
  readonly callId: string;
  readonly cseq: number;
  /** 0 to 1; 1 when absent. */
  readonly q: number;
  readonly instanceId: string | undefined;
  readonly regId: number | undefined;
  readonly userAgent: string | undefined;
  /** The proxies on the way to the device, a list of Route values (RFC 3327); `undefined` when it spoke to us itself. */
  readonly path: string | undefined;
  /** Where the REGISTER came from, and by what: requests to the device go back there. */
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly transport: Transport;
  /** Wall clock, milliseconds. */
  readonly expiresAtMs: number;
  readonly updatedAtMs: number;
};

export type BindingRemoval =
  'expired' | 'unregistered' | 'replaced' | 'accountRemoved' | 'unreachable';

export type LocationEvents = {
  /**
   * A new device, or one that is back after a restart of the switch; `isFirst` when the account had none that could be
   * reached. Refreshes are not told here.
   */
  bindingAdded: readonly [binding: Binding, isFirst: boolean];
  bindingRefreshed: readonly [binding: Binding];
  bindingRemoved: readonly [binding: Binding, reason: BindingRemoval];
};

export type Location = {
  /** Bindings that have not expired, highest q first, then the newest. */
  bindingsOf(nickname: string): readonly Binding[];
  /**
   * Those of them to which a request can be sent: not those that need the connection that the device had opened, when
   * that went with the engine before this one. The device comes back by itself (RFC 5626 section 4.5).
   */
  reachableBindingsOf(nickname: string): readonly Binding[];
  /** Accounts with at least one binding. */
  registeredNicknames(): readonly string[];
  /**
   * Forgets a device of which a request has shown that it is gone for good (its connection closed: 410, 430).
   * A binding that was refreshed meanwhile stays.
   */
  forget(binding: Binding): void;
  /** Events come after the change is durable. */
  on<Name extends keyof LocationEvents>(
    name: Name,
    listener: (...args: LocationEvents[Name]) => void,
  ): () => void;
};
