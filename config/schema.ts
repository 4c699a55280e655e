/** The whole configuration as one zod schema: every key, its unit (in its name), its default and its limits. */
import { z } from 'zod';
import { LOG_LEVELS } from '../core/log.ts';
import { applications, checkApplications } from './applications.ts';
import { checkListeners, listener } from './listeners.ts';
import { address, fileName, port, routeUri, type ConfigFault } from './values.ts';

const seconds = (min: number, max: number): z.ZodInt => z.int().min(min).max(max);
const name = z.string().min(1).max(253);

const sip = z.strictObject({
  /** Numeric addresses to listen on; one that this machine cannot have (no IPv6) is left out when it is a wildcard. */
  listenAddresses: z.array(address).default(['0.0.0.0', '::']),
  /** UDP and TCP; 0 lets the system choose. */
  port: port.default(5060),
  /** What to write into Via and Contact instead of our own address, behind a NAT. */
  externalAddress: address.optional(),
  /** Further sockets, each with a transport, a port and an external address of its own. */
  listeners: z.array(listener).default([]),
  /** The domain that is served, also the digest realm; absent: as on the first start, which took this host's name. */
  domain: name.optional(),
  /** Other names and addresses under which phones know the switch, besides this machine's own. */
  domainAliases: z.array(name).default([]),
  /** A larger message is refused. */
  maxMessageBytes: z.int().min(1300).max(90_000).default(65_000),
});

/** SIP over TLS, and WebSockets for browsers. */
const tls = z.strictObject({
  /** SIP over TLS; absent: the port after `sip.port`; `enabled` turns it off. */
  port: port.optional(),
  enabled: z.boolean().default(true),
  /** PEM, the whole chain; with its key, or neither: then a self-signed certificate is made and kept in the data folder. */
  certificateFile: z.string().min(1).optional(),
  keyFile: z.string().min(1).optional(),
  /** Further ones, for clients that ask for a name which one of them has; the first of all is for all other clients. */
  certificates: z
    .array(z.strictObject({ certificateFile: fileName, keyFile: fileName }))
    .default([]),
  /** PEM; who else may vouch for servers that we connect to. */
  authoritiesFile: z.string().min(1).optional(),
  /** SIP over WebSocket (RFC 7118), plain and by TLS; absent: not served. */
  webSocketPort: port.optional(),
  secureWebSocketPort: port.optional(),
});

/** What passes on the wire, for finding faults; credentials are taken out. */
const trace = z.strictObject({
  /** A ladder on the terminal (stderr). */
  ladder: z.boolean().default(false),
  /** A file for Wireshark or sngrep; made anew at each start. */
  pcapFile: z.string().min(1).optional(),
  /** A Homer server (HEP version 3 over UDP). */
  homerAddress: address.optional(),
  homerPort: port.default(9060),
  homerAgentId: z.int().min(0).max(4_294_967_295).default(2001),
});

const digest = z.strictObject({
  /** Offered in this order. Leave out MD5 when every phone can do better; those that cannot then stay outside. */
  algorithms: z
    .array(z.enum(['SHA-256', 'MD5']))
    .min(1)
    .default(['SHA-256', 'MD5']),
  nonceLifetimeSeconds: seconds(10, 86_400).default(300),
});

const registration = z.strictObject({
  /** A device that asks for less is told so (423). */
  minExpiresSeconds: seconds(1, 86_400).default(60),
  defaultExpiresSeconds: seconds(1, 86_400).default(3600),
  maxExpiresSeconds: seconds(1, 604_800).default(7200),
  /** Devices of one account; the one that was heard of least recently gives way. */
  maxBindingsPerAccount: z.int().min(1).max(100).default(10),
  /** Service-Route (RFC 3608): the proxies, in this order, that devices are to send all other requests through. */
  serviceRoutes: z.array(routeUri).max(10).default([]),
  /** Each device is asked by OPTIONS so often whether it is still there; two misses and it is forgotten. 0: never. */
  probeSeconds: seconds(0, 86_400).default(0),
});

const calls = z.strictObject({
  /** Nobody answers for so long: 480 to the caller. */
  ringTimeoutSeconds: seconds(1, 600).default(60),
  /** A phone in a call or a room that has been silent for so long is asked whether it is still there; 0: never. */
  dialogCheckSeconds: seconds(0, 86_400).default(60),
});

/** As for accounts, with which rooms share one namespace; a leading # may be written. */
const roomName = z
  .string()
  .regex(
    /^#?[^\s"#<>@:;,?/\\%\p{C}]{1,32}$/u,
    'must have 1 to 32 characters, no spaces, none of " # < > @ : ; , ? / \\ %',
  );

const room = z.strictObject({
  name: roomName,
  /** What a keypad can dial to reach it. */
  number: z
    .string()
    .regex(/^[0-9*]{1,32}$/)
    .optional(),
  title: z.string().max(200).default(''),
  capacity: z.int().min(1).max(10_000).default(200),
});

const rooms = z.strictObject({
  list: z.array(room).default([{ name: 'lobby', number: '1000', title: '', capacity: 200 }]),
  /** Whether calling %23name makes a room that is not in the list. */
  allowNew: z.boolean().default(true),
  maxRooms: z.int().min(1).max(100_000).default(1000),
  newRoomCapacity: z.int().min(1).max(10_000).default(200),
});

const messages = z.strictObject({
  /** A longer body is answered with 413. */
  maxBodyBytes: z.int().min(1000).max(80_000).default(60_000),
});

const engine = z.strictObject({
  /** `embedded`, or `drachtio`: an external drachtio-server. */
  mode: z.enum(['embedded', 'drachtio']).default('embedded'),
  host: name.default('127.0.0.1'),
  port: port.default(9022),
  /** The file that holds the secret of the external server; PARLEY_ENGINE_SECRET goes before it. */
  secretFile: z.string().min(1).optional(),
  /** Only from the environment or `secretFile`; refused in the configuration file. */
  secret: z.string().min(1).optional(),
});

const relay = z.strictObject({
  /** `embedded`, or `ng`: an external rtpengine or relay, spoken to over UDP. */
  mode: z.enum(['embedded', 'ng']).default('embedded'),
  host: name.default('127.0.0.1'),
  port: port.default(2223),
  /** Where the embedded relay serves others too, a Kamailio for instance, by ng over UDP; absent: nowhere. */
  ngPort: port.min(1).optional(),
  /** Whoever reaches it can open and close calls: there is no password in ng. */
  ngAddress: address.default('127.0.0.1'),
  /** The address that phones send their media to; absent: the one that the phone's signalling came to. */
  externalAddress: address.optional(),
});

const rtp = z.strictObject({
  portMin: z.int().min(1024).max(65534).default(16384),
  portMax: z.int().min(1025).max(65535).default(32767),
  /** Addresses to bind media sockets to. */
  listenAddresses: z.array(address).min(1).default(['0.0.0.0', '::']),
});

const limits = z.strictObject({
  maxCalls: z.int().min(1).max(1_000_000).default(5000),
  /** Connections of every kind: TCP, TLS, WebSocket. */
  maxTcpConnections: z.int().min(1).max(1_000_000).default(20_000),
  maxTcpConnectionsPerAddress: z.int().min(1).max(1_000_000).default(2000),
  /** What a peer may leave unread before it loses its connection. */
  maxUnreadBytesPerConnection: z.int().min(65_536).max(1_073_741_824).default(4_194_304),
  /** A connection that was opened to us: how long until its first message, how long one message may take to come. */
  firstMessageSeconds: seconds(1, 3600).default(32),
  stalledMessageSeconds: seconds(1, 3600).default(10),
  /** And how long it may be idle while no device is registered by it and no call goes over it. */
  unusedConnectionSeconds: seconds(1, 86_400).default(300),
  /** Beyond these a request gets 503 with Retry-After. */
  maxTransactions: z.int().min(100).max(10_000_000).default(100_000),
  /** With those that are only kept to answer repetitions. */
  maxRetainedTransactions: z.int().min(100).max(10_000_000).default(300_000),
  /** New requests that the engine has taken and the registrar has not got to; they bound the delay under overload. */
  maxWaitingRequests: z.int().min(1).max(1_000_000).default(1000),
  /** 503 sent each second while that bound is reached; what is more gets no answer. */
  refusalsPerSecond: z.int().min(0).max(1_000_000).default(2000),
  /** Requests of one call that wait for their answer. */
  maxRequestsPerDialog: z.int().min(1).max(100_000).default(64),
  maxDialogs: z.int().min(10).max(10_000_000).default(50_000),
  maxHeaderBytes: z.int().min(1300).max(65_000).default(16_384),
  maxHeaders: z.int().min(20).max(10_000).default(128),
  /** New requests from one address (IPv6: one /64 network): how many for ever, how many at once. 0: nobody has a limit. */
  requestsPerSecondPerAddress: z.int().min(0).max(1_000_000).default(2000),
  requestBurstPerAddress: z.int().min(0).max(1_000_000).default(4000),
  /** Who is not held to that: this machine, unless it is a proxy for others. */
  unlimitedAddresses: z.array(address).default(['127.0.0.1', '::1']),
  /** Wrong passwords from one address, or for one account, before answers are delayed. */
  freeAuthenticationFailures: z.int().min(0).max(1000).default(5),
});

const log = z.strictObject({
  level: z.enum(LOG_LEVELS).default('info'),
  /** `auto` is text where a person reads it, on a terminal, and JSON everywhere else. */
  format: z.enum(['auto', 'json', 'text']).default('auto'),
  /** Print addresses, names and bodies instead of [private]. */
  showPrivate: z.boolean().default(false),
});

/** Every key; unknown ones are faults. Rules between keys are in `checkRelations`. */
export const configSchema = z.strictObject({
  /** Where everything that must survive is kept; made when it is missing, mode 0700. */
  dataFolder: z.string().min(1).default('./data'),
  /** On SIGTERM: how long calls get to end before the process does. */
  shutdownGraceSeconds: seconds(0, 60).default(3),
  sip: sip.prefault({}),
  tls: tls.prefault({}),
  digest: digest.prefault({}),
  registration: registration.prefault({}),
  calls: calls.prefault({}),
  rooms: rooms.prefault({}),
  messages: messages.prefault({}),
  engine: engine.prefault({}),
  applications: applications.prefault({}),
  relay: relay.prefault({}),
  rtp: rtp.prefault({}),
  limits: limits.prefault({}),
  log: log.prefault({}),
  trace: trace.prefault({}),
});

type Checked = z.output<typeof configSchema>;
/** What no key can say about itself alone. */
export function checkRelations(config: Checked): readonly ConfigFault[] {
  const { registration, rtp, rooms, engine, tls, relay } = config;
  const faults: ConfigFault[] = [];
  const expect = (isRight: boolean, path: string, message: string): void => {
    if (!isRight) faults.push({ path, message });
  };
  const { minExpiresSeconds, defaultExpiresSeconds, maxExpiresSeconds } = registration;
  expect(
    minExpiresSeconds <= defaultExpiresSeconds && defaultExpiresSeconds <= maxExpiresSeconds,
    'registration.defaultExpiresSeconds',
    'must lie between minExpiresSeconds and maxExpiresSeconds',
  );
  expect(rtp.portMin + 1 < rtp.portMax, 'rtp.portMax', 'must be above portMin, by 2 at least');
  const names = rooms.list.flatMap(({ name, number }) =>
    [name.toLowerCase().replace(/^#/, ''), number].filter((taken) => taken !== undefined),
  );
  expect(names.length === new Set(names).size, 'rooms.list', 'two rooms share a name or a number');
  expect(
    engine.mode === 'embedded' || engine.secret !== undefined,
    'engine.secretFile',
    'an external engine needs a secret: set secretFile or PARLEY_ENGINE_SECRET',
  );
  expect(
    (tls.certificateFile === undefined) === (tls.keyFile === undefined),
    'tls.keyFile',
    'certificateFile and keyFile go together: give both, or neither',
  );
  expect(
    relay.ngPort === undefined || relay.mode === 'embedded',
    'relay.ngPort',
    'belongs to the embedded relay: leave it out, or set relay.mode = "embedded"',
  );
  expect(
    !/^[0.:]+$/.test(relay.ngAddress),
    'relay.ngAddress',
    'strangers could open and close calls: give one address, of this machine or of a network of its own',
  );
  faults.push(...checkApplications(config.applications, engine.mode));
  const { port: controlPort, address: controlAddress } = config.applications;
  const control =
    controlPort === undefined ? undefined : { address: controlAddress, port: controlPort };
  if (engine.mode === 'embedded') faults.push(...checkListeners(config, control));
  return faults;
}

type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T;

/** The checked configuration; frozen to its leaves. */
export type Config = DeepReadonly<Checked>;
