/** The embedded SIP engine as the configuration wants it: its sockets, certificates, limits, and other applications on it. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { listeningPlaces, settingsOfSocket } from '../config/listeners.ts';
import type { Config } from '../config/schema.ts';
import { ConfigError, ControlError } from '../core/errors.ts';
import { hostNames } from './app/host-names.ts';
import {
  loadIdentity,
  selfSignedIdentity,
  startEngine,
  type EngineHandle,
  type EngineStartOptions,
} from './engine/public.ts';

const LOOPBACK = '127.0.0.1';
const SECRET_BYTES = 24;
const SECOND_MS = 1000;

export type OwnEngine = {
  readonly handle: EngineHandle;
  readonly address: { readonly host: string; readonly port: number; readonly secret: string };
};

/**
 * Starts it, unless the configuration names an external one.
 *
 * @throws ConfigError with one clear sentence when a socket cannot be opened, or a certificate cannot be read
 */
export async function startOwnEngine(
  config: Config,
  domain: string,
  timers: EngineStartOptions['timers'],
): Promise<OwnEngine | undefined> {
  if (config.engine.mode !== 'embedded') return undefined;
  const secret = randomSecret();
  const { applications, tls } = config;
  const identities = await readIdentities(config, domain);
  try {
    const handle = await startEngine({
      listen: listeningPlaces(config),
      control: { address: LOOPBACK, port: 0 },
      secret,
      identity: identities.sip,
      trustedAuthorities: await readAuthorities(tls.authoritiesFile),
      limits: limitsOf(config),
      timers: { ...timersOf(config), ...timers },
      trace: traceOf(config),
      furtherControl:
        applications.port === undefined
          ? undefined
          : {
              address: applications.address,
              port: applications.port,
              identity: identities.control,
            },
      furtherApplications: {
        secret: applications.secret ?? randomSecret(),
        methods: applications.methods,
      },
      requestHandlers: applications.handlers,
      hasCallRecords: applications.callRecords,
    });
    return { handle, address: { host: LOOPBACK, port: handle.controlPort, secret } };
  } catch (error) {
    throw error instanceof ControlError ? startFailure(error, config) : error;
  }
}

/**
 * Reads the certificates again, for new connections; those that are up keep theirs.
 *
 * @throws ConfigError when one of them is no good; then all stay as they were
 */
export async function reloadIdentities(
  engine: EngineHandle,
  config: Config,
  domain: string,
): Promise<void> {
  const { sip, control } = await readIdentities(config, domain);
  if (sip !== undefined) await engine.exchangeIdentity(sip);
  if (control !== undefined) await engine.exchangeControlIdentity(control);
}

function randomSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

function limitsOf({ limits, sip }: Config): EngineStartOptions['limits'] {
  return {
    flows: limits.maxTcpConnections,
    flowsPerAddress: limits.maxTcpConnectionsPerAddress,
    transactions: limits.maxTransactions,
    dialogs: limits.maxDialogs,
    headerBytes: limits.maxHeaderBytes,
    headerCount: limits.maxHeaders,
    requestsPerSecondPerAddress: limits.requestsPerSecondPerAddress,
    requestBurstPerAddress: limits.requestBurstPerAddress,
    unboundAddresses: limits.unlimitedAddresses,
    messageBytes: sip.maxMessageBytes,
    queuedBytesPerFlow: limits.maxUnreadBytesPerConnection,
    retainedTransactions: limits.maxRetainedTransactions,
    waitingRequests: limits.maxWaitingRequests,
    refusalsPerSecond: limits.refusalsPerSecond,
    requestsPerDialog: limits.maxRequestsPerDialog,
  };
}

function timersOf({ limits }: Config): EngineStartOptions['timers'] {
  return {
    firstMessageMs: limits.firstMessageSeconds * SECOND_MS,
    stalledMessageMs: limits.stalledMessageSeconds * SECOND_MS,
    unusedFlowMs: limits.unusedConnectionSeconds * SECOND_MS,
  };
}

type Identity = Awaited<ReturnType<typeof loadIdentity>>;

/** The certificates that are needed: for SIP, and for the control port of further applications. */
async function readIdentities(
  config: Config,
  domain: string,
): Promise<{ readonly sip: Identity | undefined; readonly control: Identity | undefined }> {
  const { applications } = config;
  const hasSecureControl = applications.port !== undefined && applications.tls;
  const { certificateFile, keyFile } = applications;
  const hasOwn = certificateFile !== undefined && keyFile !== undefined;
  const isShared = hasSecureControl && !hasOwn;
  const sip = needsIdentity(config) || isShared ? await identityOf(config, domain) : undefined;
  if (!hasSecureControl) return { sip, control: undefined };
  return { sip, control: hasOwn ? await loadIdentity(certificateFile, keyFile) : sip };
}

function needsIdentity({ tls, sip }: Config): boolean {
  const isSecure = sip.listeners.some(
    ({ transport }) => transport === 'tls' || transport === 'wss',
  );
  return tls.enabled || tls.secureWebSocketPort !== undefined || isSecure;
}

/** The operator's certificates, or our own for every name and address that users may type. */
async function identityOf(config: Config, domain: string): Promise<Identity> {
  const { tls, sip } = config;
  const loaded = [tls, ...tls.certificates].flatMap(({ certificateFile, keyFile }) =>
    certificateFile === undefined || keyFile === undefined
      ? []
      : [loadIdentity(certificateFile, keyFile)],
  );
  const [first, ...others] = await Promise.all(loaded);
  if (first !== undefined) return { ...first, others };
  const external = [sip, ...sip.listeners].flatMap(({ externalAddress }) => externalAddress ?? []);
  const ours = hostNames(() => 0, [...sip.domainAliases, ...external])();
  const names = new Set([domain, 'localhost', '127.0.0.1', '::1', ...ours]);
  return selfSignedIdentity(path.join(config.dataFolder, 'tls'), [...names], Date.now());
}

async function readAuthorities(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError('tls.unreadable', `cannot read tls.authoritiesFile ${file}: ${reason}`, {
      cause,
    });
  }
}

function traceOf({ trace }: Config): EngineStartOptions['trace'] {
  const { ladder, pcapFile, homerAddress: address, homerPort: port, homerAgentId } = trace;
  const homer = address === undefined ? undefined : { address, port, agentId: homerAgentId };
  return { ladder, pcapFile, homer };
}

/** What the engine, or the system, says about its start, in words that help. */
function startFailure(error: ControlError, config: Config): ConfigError {
  const { code, message } = error;
  if (code === 'trace.unwritable') {
    const remedy = 'choose another file with trace.pcapFile, or leave it out';
    return new ConfigError(code, `${message}; ${remedy}`, { cause: error });
  }
  if (code.startsWith('engine.')) return new ConfigError(code, message, { cause: error });
  const { where, portSetting, addressSetting } = socketOf(message, config);
  const sentences: Readonly<Record<string, string>> = {
    EADDRINUSE: `another program has it; end that program, or choose another port with ${portSetting}`,
    EACCES: `ports below 1024 need more rights; choose another with ${portSetting}`,
    EADDRNOTAVAIL: `this machine has no such address; see ${addressSetting}`,
  };
  const words = sentences[code] ?? message;
  return new ConfigError('sip.listen', `cannot listen on ${where}: ${words}`, { cause: error });
}

/** Which socket the system speaks of, and which settings it comes from. */
function socketOf(
  message: string,
  config: Config,
): { readonly where: string; readonly portSetting: string; readonly addressSetting: string } {
  // Both `bind EADDRINUSE 192.0.2.1:5060` and `listen EADDRINUSE: address already in use 192.0.2.1:5060`.
  const named = / (\S+):(\d+)$/.exec(message);
  const { port: usual } = config.sip;
  const [where, address = '', port = usual] =
    named === null ? [`port ${usual}`] : [named[0].trim(), named[1], Number(named[2])];
  const socket = { address, port, isStream: message.startsWith('listen') };
  const settings = settingsOfSocket(config, socket) ?? {
    port: 'sip.port',
    address: 'sip.listenAddresses',
  };
  const portSetting = PORT_SETTINGS[settings.port] ?? settings.port;
  return { where, portSetting, addressSetting: settings.address };
}

/** Settings that have a shorter name, or one that says more. */
const PORT_SETTINGS: Readonly<Record<string, string>> = {
  'sip.port': 'PORT',
  'tls.port': 'tls.port, or set tls.enabled = false',
};
