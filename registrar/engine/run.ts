/** Starts an engine with its sockets in the current thread. */
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { Engine } from './engine.ts';
import { expandAddress } from './io/addresses.ts';
import { openTrace, type TraceOptions } from './io/trace-sinks.ts';
import { EngineDriver } from './io/driver.ts';
import type { TlsIdentity } from './io/server-certificates.ts';
import {
  DEFAULT_LIMITS,
  DEFAULT_TIMERS,
  type EngineLimits,
  type EngineTimers,
  type FurtherApplications,
  type RequestHandler,
} from './options.ts';
import type { Endpoint, Listener, Transport } from './seam.ts';
import { Tap } from './trace/tap.ts';

/** One line of the operator's `listen` setting. */
export type ListenRequest = {
  readonly transport: Transport;
  /** Numeric address, or `0.0.0.0` / `::` for all interfaces. */
  readonly address: string;
  /** 0: any free port, the same one for every such request. */
  readonly port: number;
  /** What to write into Via and Contact instead; its port 0: the same as the socket's. */
  readonly external?: Endpoint | undefined;
};

/** Plain data, so that it can cross to a worker thread. */
export type EngineStartOptions = {
  readonly listen: readonly ListenRequest[];
  /** Where applications connect; with an identity by TLS, without one in the clear. */
  readonly control: Endpoint & { readonly identity?: TlsIdentity | undefined };
  /** A second port, for applications that are not the owner's; they present another secret. */
  readonly furtherControl?:
    (Endpoint & { readonly identity?: TlsIdentity | undefined }) | undefined;
  readonly furtherApplications?: FurtherApplications | undefined;
  /** What applications must present; never empty. */
  readonly secret: string;
  readonly identity?: TlsIdentity | undefined;
  readonly trustedAuthorities?: string | undefined;
  readonly limits?: Partial<EngineLimits> | undefined;
  readonly timers?: Partial<EngineTimers> | undefined;
  /** Who decides about new requests instead of the applications that route them. */
  readonly requestHandlers?: readonly RequestHandler[] | undefined;
  /** Whether calls are reported to applications that route `cdr:attempt`, `cdr:start` or `cdr:stop`; off by default. */
  readonly hasCallRecords?: boolean | undefined;
  /** Off when nothing in it is set. */
  readonly trace?: TraceOptions | undefined;
};

const PORT_ATTEMPTS = 20;

export type RunningEngine = {
  readonly details: {
    readonly controlPort: number;
    readonly furtherControlPort: number | undefined;
    readonly listeners: readonly Listener[];
  };
  stats(): ReturnType<Engine['stats']> & {
    readonly connections: number;
  };
  /** For new TLS connections. */
  exchangeIdentity(identity: TlsIdentity): void;
  /** The same for connections of applications. */
  exchangeControlIdentity(identity: TlsIdentity): void;
  /** Lets milliseconds pass at once for the engine's own timers. */
  skipTime(byMs: number): void;
  stop(): Promise<void>;
};

/**
 * Opens every socket and runs the engine on them.
 *
 * @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL) with `address` and `port`, or ConfigError
 * `trace.unwritable`; nothing stays open then
 */
export async function runEngine(options: EngineStartOptions): Promise<RunningEngine> {
  for (let attempt = 1; ; attempt++) {
    const listeners = await planListeners(options.listen);
    try {
      return await start(options, listeners);
    } catch (error) {
      const isChosenPort = options.listen.some(({ port }) => port === 0);
      if (!isChosenPort || !isAddressInUse(error) || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

async function start(
  options: EngineStartOptions,
  listeners: readonly Listener[],
): Promise<RunningEngine> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const timers = { ...DEFAULT_TIMERS, ...options.timers };
  const engine = engineOf(options, listeners);
  const trace = await openTrace(options.trace ?? {});
  const driver = new EngineDriver({
    engine,
    tap: trace === undefined ? undefined : new Tap(listeners, trace.sink, () => Date.now()),
    limits: {
      maxConnections: limits.flows,
      maxConnectionsPerAddress: limits.flowsPerAddress,
      upgradeTimeoutMs: timers.firstMessageMs,
      maxQueuedBytes: limits.queuedBytesPerFlow,
    },
    maxMessageBytes: limits.messageBytes,
    identity: options.identity,
    trustedAuthorities: options.trustedAuthorities,
  });
  const stop = async (): Promise<void> => {
    await driver.close();
    await trace?.close();
  };
  try {
    for (const listener of listeners) await driver.listen(listener);
    const controlPort = await openControl(driver, options.control, false);
    const { furtherControl: further } = options;
    const furtherControlPort =
      further === undefined ? undefined : await openControl(driver, further, true);
    return {
      details: { controlPort, furtherControlPort, listeners },
      stats: () => {
        const { counters, ...held } = engine.stats();
        const { open, refusals } = driver.connections;
        return {
          ...held,
          connections: open,
          counters: { ...counters, refusals: { ...counters.refusals, ...refusals } },
        };
      },
      exchangeIdentity: (identity) => {
        driver.exchangeIdentity(identity);
      },
      exchangeControlIdentity: (identity) => {
        driver.exchangeControlIdentity(identity);
      },
      skipTime: (byMs) => {
        driver.skipTime(byMs);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function engineOf(options: EngineStartOptions, listeners: readonly Listener[]): Engine {
  return new Engine({
    listeners,
    secret: options.secret,
    random: (size) => randomBytes(size),
    wallClockMs: () => Date.now(),
    limits: options.limits,
    timers: options.timers,
    requestHandlers: options.requestHandlers,
    furtherApplications: options.furtherApplications,
    hasCallRecords: options.hasCallRecords,
  });
}

function openControl(
  driver: EngineDriver,
  { identity, ...local }: EngineStartOptions['control'],
  isFurther: boolean,
): Promise<number> {
  return driver.listenForControl({ local, identity, isFurther });
}

/**
 * One listener per interface address; port 0 becomes one free port, the same for UDP and TCP, so that one number serves
 * both; every other transport gets one of its own.
 */
async function planListeners(requests: readonly ListenRequest[]): Promise<readonly Listener[]> {
  const freePorts = new Map<string, number>();
  const listeners: Listener[] = [];
  for (const { transport, address, port, external } of requests) {
    const group = transport === 'tcp' ? 'udp' : transport;
    const chosen = port === 0 ? (freePorts.get(group) ?? (await findFreePort(address))) : port;
    if (port === 0) freePorts.set(group, chosen);
    const outside = external?.port === 0 ? { ...external, port: chosen } : external;
    for (const numeric of expandAddress(address)) {
      const local = { address: numeric, port: chosen };
      listeners.push({ id: listeners.length + 1, transport, local, external: outside });
    }
  }
  return listeners;
}

function findFreePort(address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once('error', reject);
    probe.listen({ host: address, port: 0, exclusive: true }, () => {
      const bound = probe.address();
      const port = bound !== null && typeof bound === 'object' ? bound.port : 0;
      probe.close(() => {
        resolve(port);
      });
    });
  });
}

function isAddressInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}
