/** The whole switch: starts relay, engine and application in one process, and ends them in the right order. */
import { isIP } from 'node:net';
import path from 'node:path';
import { createLogWriter } from '../config/log-writer.ts';
import type { Config } from '../config/schema.ts';
import type { Log } from '../core/log.ts';
import { connectMediaRelay, startMediaRelay, type MediaRelay } from '../media-relay/public.ts';
import { startApp, type App, type AppActivity } from './app/app.ts';
import { systemClock } from './app/clock.ts';
import type { SwitchContext } from './app/context.ts';
import { domainNameOf } from './app/domain-name.ts';
import { openStore } from './app/store/store.ts';
import type { EngineCounts, EngineHandle, EngineStartOptions } from './engine/public.ts';
import { reloadIdentities, startOwnEngine, type OwnEngine } from './own-engine.ts';

export type SwitchOptions = {
  readonly log?: Log;
  /** Protocol timers of the embedded engine, for tests that cannot wait. */
  readonly engineTimers?: EngineStartOptions['timers'];
};

/** One listening socket. */
export type Listening = {
  readonly transport: string;
  readonly address: string;
  readonly port: number;
};

/** What a switch still holds; all zero some time after everybody has gone. */
export type Holdings = AppActivity & {
  /** The engine's own counts, by name; empty with an external engine. */
  readonly engine: Readonly<Record<string, number>>;
  readonly relayPorts: number;
};

export type RunningSwitch = {
  readonly domain: string;
  /** Empty with an external engine. */
  readonly listeners: readonly Listening[];
  /** Where further applications connect, if they may. */
  readonly applicationPort: number | undefined;
  /** Realms, other than the domain, that passwords of some accounts were made for. */
  readonly otherRealms: readonly string[];
  readonly context: SwitchContext;
  holdings(): Promise<Holdings>;
  /** What the engine has counted since it began, see docs/counters.md; undefined with an external engine. */
  counters(): Promise<EngineCounts | undefined>;
  /** Writes that and what is held to the log, at level info. */
  logCounters(): Promise<void>;
  /** Lets milliseconds pass at once for the embedded engine's timers; see EngineHandle. */
  skipEngineTime(byMs: number): Promise<void>;
  /** Reads the certificate again, for new connections. @throws ConfigError, and keeps the old one */
  reloadCertificate(): Promise<void>;
  /** Ends every call and room politely, closes everything; safe to call twice. */
  stop(): Promise<void>;
  /** Resolves, with the reason, when a part died without having been told to. */
  readonly lost: Promise<string>;
};

/**
 * Starts everything.
 *
 * @throws ConfigError with one clear sentence when a port is taken, the data folder is unusable, an engine is not there;
 * nothing stays open then
 */
export async function startSwitch(
  config: Config,
  options: SwitchOptions = {},
): Promise<RunningSwitch> {
  const log = options.log ?? createLogWriter(config.log);
  const opened: Opened = { closers: [] };
  try {
    return await start(config, options, log, opened);
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

/** What is open, the last first. */
type Opened = { readonly closers: (() => Promise<void>)[] };

async function start(
  config: Config,
  options: SwitchOptions,
  log: Log,
  opened: Opened,
): Promise<RunningSwitch> {
  const store = await openStore(config.dataFolder);
  opened.closers.unshift(() => store.close());
  // Its thread starts while that of the engine does.
  const relayStarting = startRelay(config, log);
  const relayIfAny = relayStarting.catch(() => undefined);
  opened.closers.unshift(async () => (await relayIfAny)?.close());
  const domainName = await domainNameOf(config.sip.domain, store);
  const engine = await startOwnEngine(config, domainName, options.engineTimers);
  if (engine !== undefined) opened.closers.unshift(() => engine.handle.stop());
  const relay = await relayStarting;
  const app = await startApp({
    config,
    log,
    clock: systemClock(),
    store,
    domainName,
    relay,
    engine: engine?.address ?? externalEngine(config),
  });
  opened.closers.unshift(() => {
    app.close();
    return Promise.resolve();
  });
  return runningSwitch({ config, log, app, relay, engine: engine?.handle, opened });
}

type Parts = {
  readonly config: Config;
  readonly log: Log;
  readonly app: App;
  readonly relay: MediaRelay;
  readonly engine: EngineHandle | undefined;
  readonly opened: Opened;
};

function runningSwitch({ config, log, app, relay, engine, opened }: Parts): RunningSwitch {
  let stopping: Promise<void> | undefined;
  const holdings = async (): Promise<Holdings> => ({
    ...app.activity(),
    engine: engine === undefined ? {} : heldIn(await engine.stats()),
    relayPorts: (await relay.statistics()).portsInUse,
  });
  const counters = async (): Promise<EngineCounts | undefined> =>
    engine === undefined ? undefined : (await engine.stats()).counters;
  const logCounters = async (): Promise<void> => {
    const [counted, held] = await Promise.all([counters(), holdings()]);
    log.info('switch.counted', () => ({ counters: counted, holdings: held }));
  };
  const stop = async (): Promise<void> => {
    await app.end(config.shutdownGraceSeconds * 1000);
    // A part that has died can say nothing any more.
    await logCounters().catch(() => undefined);
    await closeAll(opened);
  };
  const relayLost = new Promise<string>((resolve) => {
    relay.onEvent((event) => {
      if (event.kind === 'lost') resolve(`the media relay ended: ${event.reason}`);
    });
  });
  const engineLost = engine?.lost.then((reason) => `the SIP engine ended: ${reason}`);
  return {
    domain: app.context.domain.name,
    otherRealms: app.otherRealms,
    context: app.context,
    listeners: (engine?.listeners ?? []).map(({ transport, local }) => ({ transport, ...local })),
    applicationPort: engine?.furtherControlPort,
    lost: Promise.race(engineLost === undefined ? [relayLost] : [relayLost, engineLost]),
    skipEngineTime: async (byMs) => {
      await engine?.skipTime(byMs);
    },
    reloadCertificate: async () => {
      if (engine !== undefined) await reloadIdentities(engine, config, app.context.domain.name);
    },
    stop: () => (stopping ??= stop()),
    holdings,
    counters,
    logCounters,
  };
}

/** Ourselves, and what only ever rises. */
const NOT_HELD: ReadonlySet<string> = new Set(['applications']);

function heldIn(stats: object): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const [name, value] of Object.entries(stats) as [string, unknown][]) {
    if (typeof value === 'number' && !NOT_HELD.has(name)) numbers[name] = value;
  }
  return numbers;
}

async function closeAll({ closers }: Opened): Promise<void> {
  for (let close = closers.shift(); close !== undefined; close = closers.shift()) await close();
}

/** With others on the relay, of whom one may have died: a call through which nothing has come for so long is over. */
const FORGOTTEN_CALL_MS = 3_600_000;

function startRelay({ relay, rtp }: Config, log: Log): Promise<MediaRelay> {
  if (relay.mode === 'ng') return connectMediaRelay({ host: relay.host, port: relay.port, log });
  // One address stands for the sockets of its own family; the others tell their own.
  const advertise = relay.externalAddress ?? '';
  const isAdvertisedFor = (bind: string): boolean => isIP(bind) === isIP(advertise);
  return startMediaRelay({
    addresses: rtp.listenAddresses.map((bind) =>
      isAdvertisedFor(bind) ? { bind, advertise } : { bind },
    ),
    portRange: { min: rtp.portMin, max: rtp.portMax },
    ...(relay.ngPort === undefined
      ? {}
      : { ng: { host: relay.ngAddress, port: relay.ngPort }, idleTimeoutMs: FORGOTTEN_CALL_MS }),
    log,
  });
}

function externalEngine({ engine: { host, port, secret = '' } }: Config): OwnEngine['address'] {
  return { host, port, secret };
}

export type ServeOptions = SwitchOptions & {
  readonly version: string;
  /** Where the words for people go. */
  readonly print: (text: string) => void;
};

/**
 * Runs the switch until a signal asks it to end (a second one ends it at once), or a part of it dies.
 *
 * @returns the exit code
 * @throws ConfigError as `startSwitch`
 */
export async function serve(config: Config, options: ServeOptions): Promise<number> {
  const started = startSwitch(config, options);
  const asked = untilSignal(options.print);
  const running = await started;
  options.print(welcome(config, running, options.version));
  process.on('SIGHUP', () => {
    running.reloadCertificate().then(
      () => {
        options.print('The certificate was read again.\n');
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        options.print(`The certificate stays as it was: ${reason}\n`);
      },
    );
  });
  process.on('SIGUSR2', () => {
    // The log says it when the switch is about to end.
    running.logCounters().catch(() => undefined);
  });
  const lost = await Promise.race([asked, running.lost]);
  if (lost !== undefined) options.print(`Stopping: ${lost}\n`);
  await running.stop();
  return lost === undefined ? 0 : 1;
}

function untilSignal(print: (text: string) => void): Promise<undefined> {
  return new Promise((resolve) => {
    let hasAsked = false;
    const onSignal = (): void => {
      if (hasAsked) process.exit(1);
      hasAsked = true;
      print('\nEnding calls and closing; once more to stop at once.\n');
      resolve(undefined);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

function welcome(config: Config, running: RunningSwitch, version: string): string {
  const { domain, listeners, otherRealms, context } = running;
  const people = context.accounts.list().length;
  const rooms = config.rooms.list.map(({ name, number }) =>
    number === undefined ? name : `${name} (dial ${number})`,
  );
  const lines = [
    `Parley ${version} serves the domain ${domain}`,
    `  SIP       ${sockets(listeners) || `at drachtio-server ${config.engine.host}`}`,
    `  Rooms     ${rooms.join(', ')}${config.rooms.allowNew ? ', and any other #name that somebody calls' : ''}`,
    `  Accounts  ${people}`,
    ...applicationLine(config, running),
    `  Data      ${path.resolve(config.dataFolder)}`,
    '',
  ];
  for (const realm of otherRealms) {
    lines.push(
      `Some accounts have passwords for the domain ${realm}: set sip.domain = "${realm}", or their passwords anew.`,
      '',
    );
  }
  const server = serverName(listeners, domain);
  lines.push(
    'What to do next:',
    people === 0
      ? '  1. Make an account:   npx parley user add NAME'
      : '  1. Another account:   npx parley user add NAME',
    `  2. Talk:              npx parley phone --as NAME${whereForPhone(listeners, server)}, or any SIP phone with the server ${server}; call lobby`,
    '',
  );
  return lines.join('\n');
}

function applicationLine(
  { applications }: Config,
  { applicationPort: port }: RunningSwitch,
): readonly string[] {
  if (port === undefined) return [];
  const where = hostPort(applications.address, port);
  return [`  Apps      ${where}${applications.tls ? ' by TLS' : ''}, for drachtio applications`];
}

/** One entry for each address and port, with its transports. */
function sockets(listeners: readonly Listening[]): string {
  const transports = new Map<string, string[]>();
  for (const { transport, address, port } of listeners) {
    const where = hostPort(address, port);
    transports.set(where, [...(transports.get(where) ?? []), transport.toUpperCase()]);
  }
  return [...transports].map(([where, names]) => `${where} ${names.join('+')}`).join(', ');
}

/** What to type into a phone on the same network. */
function serverName(listeners: readonly Listening[], domain: string): string {
  const isReachable = ({ address }: Listening): boolean =>
    !address.startsWith('127.') && address !== '::1' && !address.includes(':');
  const listener = listeners.find(isReachable) ?? listeners[0];
  return listener === undefined ? domain : hostPort(listener.address, listener.port);
}

/** Where our own softphone looks when it is told nothing. */
const LOOPBACK = '127.0.0.1';
const USUAL_PORT = 5060;

/** What our own softphone on this machine must be told, unless it finds us by itself. */
function whereForPhone(listeners: readonly Listening[], server: string): string {
  const nearby = listeners.find(
    ({ transport, address }) => transport === 'tcp' && address === LOOPBACK,
  );
  if (nearby?.port === USUAL_PORT) return '';
  return ` --server ${nearby === undefined ? server : hostPort(nearby.address, nearby.port)}`;
}

function hostPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
