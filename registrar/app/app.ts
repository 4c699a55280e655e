/** The application: joins its parts to a SIP engine and a media relay that run already, and takes them apart again. */
import Drachtio from 'drachtio-srf';
import type { Config } from '../../config/schema.ts';
import { ConfigError, ControlError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { MediaRelay } from '../../media-relay/public.ts';
import { AccountBook } from './accounts/account-book.ts';
import { DigestAuthenticator } from './accounts/digest-authenticator.ts';
import { installCalls } from './calls/calls.ts';
import type { Clock } from './clock.ts';
import type { InstalledPart, SwitchContext } from './context.ts';
import { createDomain } from './domain.ts';
import { hostNames } from './host-names.ts';
import { bindingRows } from './location/binding-rows.ts';
import { Liveness } from './location/liveness.ts';
import { LocationBook } from './location/location-book.ts';
import { installMessages } from './messages/messages.ts';
import { Names } from './names.ts';
import { installOptions } from './options.ts';
import { installRegistration } from './registration/registration.ts';
import { RequestRouter } from './requests.ts';
import { installRooms } from './rooms/rooms.ts';
import type { Srf } from './srf.ts';
import type { Store } from './store/store.ts';
import { speedUpSrf } from './srf-speed.ts';
import { caughtUp, disconnect, keepBytes, MAX_FRAME_BYTES_OF_DRACHTIO } from './wire.ts';

export type AppOptions = {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly store: Store;
  /** The domain's one name. */
  readonly domainName: string;
  readonly relay: MediaRelay;
  readonly engine: { readonly host: string; readonly port: number; readonly secret: string };
  /** How long the engine may take to answer at first. */
  readonly connectTimeoutMs?: number;
};

/** What is going on; all zero when the switch is quiet. */
export type AppActivity = {
  readonly calls: number;
  readonly messages: number;
  readonly rooms: number;
  readonly requests: number;
};

export type App = {
  readonly context: SwitchContext;
  /** Realms, other than the domain's, that passwords of some accounts were made for. */
  readonly otherRealms: readonly string[];
  activity(): AppActivity;
  /** Refuses what is new, ends what is going on, and waits for that no longer than this. */
  end(graceMs: number): Promise<void>;
  /** Closes the connection to the engine and stops every timer; the store stays open. */
  close(): void;
};

const CONNECT_TIMEOUT_MS = 10_000;
/** By which a web server that decides about requests means this application. */
const TAG = 'parley';

/** @throws ConfigError `engine.unreachable` */
export async function startApp(options: AppOptions): Promise<App> {
  const { log, clock, store, relay, config } = { ...options, config: fitToEngine(options.config) };
  const srf = new Drachtio() as unknown as Srf;
  const domain = createDomain({
    name: options.domainName,
    aliases: hostNames(() => clock.nowMs(), ownNames(config)),
  });
  const names = new Names();
  const wallMs = (): number => clock.wallMs();
  const accounts = await AccountBook.open({ store, names, realm: domain.name, wallMs, log });
  const location = await openLocation(options);
  accounts.on('accountRemoved', ({ nickname }) => {
    location.forgetAccount(nickname);
  });
  const authenticator = new DigestAuthenticator({
    accounts,
    domain,
    location,
    clock,
    log,
    algorithms: config.digest.algorithms,
    nonceLifetimeSeconds: config.digest.nonceLifetimeSeconds,
    freeFailures: config.limits.freeAuthenticationFailures,
  });
  const requests = new RequestRouter({ srf, domain, log });
  const parties = { accounts, authenticator, location, names, domain };
  const context: SwitchContext = { config, log, clock, srf, requests, relay, store, ...parties };

  installRegistration(context, location);
  installOptions(context, requests);
  const rooms = installRooms(context);
  const messages = installMessages(context);
  const calls = installCalls(context);
  await connect(srf, options);
  const { probeSeconds } = config.registration;
  const from = `sip:${domain.name}`;
  const intervalMs = probeSeconds * 1000;
  const liveness =
    probeSeconds === 0 ? undefined : new Liveness({ location, srf, clock, log, intervalMs, from });
  return {
    context,
    otherRealms: accounts.otherRealms,
    activity: () => ({
      calls: calls.activeCount(),
      messages: messages.activeCount(),
      rooms: rooms.activeCount(),
      requests: requests.activeCount,
    }),
    end: async (graceMs) => {
      requests.drain();
      await endAll([calls, rooms, messages], graceMs);
    },
    close: () => {
      liveness?.close();
      disconnect(srf);
      location.close();
    },
  };
}

async function openLocation({ config, store, clock, log }: AppOptions): Promise<LocationBook> {
  const location = new LocationBook({
    rows: bindingRows(store),
    policy: config.registration,
    clock,
    log,
    hasLostFlows: config.engine.mode === 'embedded',
  });
  await location.load();
  return location;
}

/** Longer ones are refused by a drachtio-server, or jam it; see docs/drachtio.md. */
const MAX_BODY_BYTES_OF_DRACHTIO = 8_000;

/** Our own engine carries whatever the configuration allows. */
function fitToEngine(config: Config): Config {
  if (config.engine.mode === 'embedded') return config;
  const maxBodyBytes = Math.min(config.messages.maxBodyBytes, MAX_BODY_BYTES_OF_DRACHTIO);
  return { ...config, messages: { ...config.messages, maxBodyBytes } };
}

/** Names and addresses that configuration adds to those of this machine. */
function ownNames({ sip }: Config): string[] {
  const external = [sip, ...sip.listeners].flatMap(({ externalAddress }) => externalAddress ?? []);
  const all = [...sip.listenAddresses, ...sip.listeners.map(({ address }) => address)];
  const listening = all.filter((address) => !['0.0.0.0', '::'].includes(address));
  return [...sip.domainAliases, ...external, ...listening];
}

async function connect(srf: Srf, options: AppOptions): Promise<void> {
  const { engine, log, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  let lastError = 'no answer';
  srf.on('error', (error: Error) => {
    lastError = error.message;
    log.warn('engine.connection.failed', () => ({ error }));
  });
  const connected = new Promise<void>((resolve, reject) => {
    srf.once('connect', (error: Error | undefined) => {
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
  srf.connect({ ...engine, tags: [TAG] });
  if (options.config.engine.mode === 'drachtio') keepBytes(srf, log, MAX_FRAME_BYTES_OF_DRACHTIO);
  else keepBytes(srf, log);
  speedUpSrf();
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ControlError('engine.timeout', lastError));
    }, connectTimeoutMs);
  });
  try {
    // Whoever calls at once must not meet an engine that knows of no application yet.
    await Promise.race([connected.then(() => caughtUp(srf)), expired]);
  } catch (cause) {
    disconnect(srf);
    const reason = cause instanceof Error ? cause.message : String(cause);
    const where = `${engine.host}:${engine.port}`;
    throw new ConfigError('engine.unreachable', `no SIP engine at ${where}: ${reason}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

async function endAll(parts: readonly InstalledPart[], graceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, graceMs);
  });
  await Promise.race([Promise.allSettled(parts.map((part) => part.close())), late]);
  clearTimeout(timer);
}
