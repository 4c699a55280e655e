/** What every part of the application works with: made once by `app.ts`, handed to calls, messages and rooms. */
import type { Config } from '../../config/schema.ts';
import type { Log } from '../../core/log.ts';
import type { MediaRelay } from '../../media-relay/public.ts';
import type { Accounts } from './accounts/accounts.ts';
import type { Authenticator } from './accounts/authenticator.ts';
import type { Clock } from './clock.ts';
import type { Domain } from './domain.ts';
import type { Location } from './location/location.ts';
import type { Names } from './names.ts';
import type { Requests } from './requests.ts';
import type { Srf } from './srf.ts';
import type { Store } from './store/store.ts';

export type SwitchContext = {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly srf: Srf;
  /** Where handlers for new requests are added; prefer it to `srf.use`. */
  readonly requests: Requests;
  readonly domain: Domain;
  readonly names: Names;
  readonly accounts: Accounts;
  readonly authenticator: Authenticator;
  readonly location: Location;
  readonly relay: MediaRelay;
  readonly store: Store;
};

/**
 * What `installCalls`, `installMessages` and `installRooms` give back. Installed in the order rooms, messages, calls;
 * each passes on what is not its own.
 */
export type InstalledPart = {
  /** Ends everything: BYE with Reason, NOTIFY terminated; resolves when that has been answered or given up. */
  close(): Promise<void>;
  /** Calls, subscriptions, pending deliveries: zero when nothing is left. */
  activeCount(): number;
};
