/** The settings for drachtio applications beside Parley's own registrar, and for web servers that decide about requests. */
import { z } from 'zod';
import { address, fileName, isLoopback, port, type ConfigFault } from './values.ts';

const METHOD = /^[A-Za-z]{1,32}$/;
/** Where applications listen, as the engine reads it. */
const APPLICATION_URI =
  /^(?:tcp|tls):\/\/(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?\/?$/;

/** Who decides about new requests, before any application that routes them. */
const handler = z.strictObject({
  method: z
    .string()
    .refine((name) => name === '*' || METHOD.test(name), 'must be a method, or "*" for all others')
    .default('*'),
  uri: z
    .string()
    .refine(
      isHandlerUri,
      'must be tcp://host:port or tls://host:port of an application, or the http:// or https:// URL of a web server',
    ),
  /** Ask the web server by POST, with the request as body, instead of by GET. */
  withBody: z.boolean().default(false),
});

export const applications = z.strictObject({
  /** Where further drachtio applications may connect; absent: nowhere; 0: any free port. */
  port: port.optional(),
  address: address.default('127.0.0.1'),
  /** The file that holds what they must present; PARLEY_APPLICATIONS_SECRET goes before it. */
  secretFile: fileName.optional(),
  /** Only from the environment or `secretFile`; refused in the configuration file. */
  secret: z
    .string()
    .regex(
      /^[!-{}~]{1,256}$/,
      'must be 1 to 256 printable ASCII characters, without spaces and "|"',
    )
    .optional(),
  /** TLS on that port; needed on an address that others can reach. */
  tls: z.boolean().default(false),
  /** PEM; absent: the certificate of SIP over TLS. */
  certificateFile: fileName.optional(),
  keyFile: fileName.optional(),
  /** Methods that applications which route them get instead of the registrar. */
  methods: z.array(z.string().regex(METHOD, 'must be a method, such as INVITE')).default([]),
  handlers: z.array(handler).default([]),
  /** Whether calls are reported to applications that ask for `cdr:attempt`, `cdr:start` or `cdr:stop`. */
  callRecords: z.boolean().default(false),
});

type Applications = z.output<typeof applications>;

/** A secret that strangers can try must not be guessed. */
const MIN_SECRET_LENGTH = 16;

function isHandlerUri(uri: string): boolean {
  if (!URL.canParse(uri)) return false;
  const { protocol, port: number } = new URL(uri);
  if (protocol === 'http:' || protocol === 'https:') return true;
  return APPLICATION_URI.test(uri) && number !== '0';
}

/** The host of an application that we connect to; undefined for a web server. */
function dialledHost(uri: string): string | undefined {
  return APPLICATION_URI.exec(uri)?.[1]
    ?.replace(/^\[|\]$/g, '')
    .toLowerCase();
}

export function checkApplications(
  settings: Applications,
  engineMode: 'embedded' | 'drachtio',
): readonly ConfigFault[] {
  const { port: number, secret, methods, handlers } = settings;
  const faults: ConfigFault[] = [];
  const expect = (isRight: boolean, path: string, message: string): void => {
    if (!isRight) faults.push({ path: `applications.${path}`, message });
  };
  if (engineMode !== 'embedded') {
    const [set] = settingsOf(settings);
    const remedy = 'set it in the configuration of that drachtio-server, or leave it out here';
    const message = `belongs to the embedded engine; with engine.mode = "drachtio", ${remedy}`;
    expect(set === undefined, set ?? '', message);
    return faults;
  }
  const dials = handlers.some(({ uri }) => dialledHost(uri) !== undefined);
  expect(
    secret !== undefined || (number === undefined && !dials),
    'secretFile',
    'applications must present a secret: set secretFile or PARLEY_APPLICATIONS_SECRET',
  );
  expect(
    methods.length === 0 || number !== undefined || handlers.length > 0,
    'methods',
    'nobody could take them: set applications.port or applications.handlers too',
  );
  const names = handlers.map(({ method }) => method.toUpperCase());
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  expect(
    twice === undefined,
    'handlers',
    `there are two for ${twice ?? ''}: leave one of them out`,
  );
  return [...faults, ...faultsOfSecrecy(settings)];
}

/** What is set, by name. */
function settingsOf({ port: number, methods, handlers, callRecords }: Applications): string[] {
  return [
    ...(number === undefined ? [] : ['port']),
    ...(handlers.length === 0 ? [] : ['handlers']),
    ...(methods.length === 0 ? [] : ['methods']),
    ...(callRecords ? ['callRecords'] : []),
  ];
}

/** The secret opens everything that the engine can do: it crosses no network in the clear. */
function faultsOfSecrecy(settings: Applications): readonly ConfigFault[] {
  const { port: number, address: on, secret = '', tls, certificateFile, keyFile } = settings;
  const faults: ConfigFault[] = [];
  const expect = (isRight: boolean, path: string, message: string): void => {
    if (!isRight) faults.push({ path: `applications.${path}`, message });
  };
  const isReachable = number !== undefined && !isLoopback(on);
  expect(
    !isReachable || tls,
    'tls',
    `the secret would cross the network in the clear: set applications.tls = true, or applications.address = "127.0.0.1" instead of "${on}"`,
  );
  expect(
    !isReachable || secret === '' || secret.length >= MIN_SECRET_LENGTH,
    'secretFile',
    `strangers can try secrets at ${on}: make it ${MIN_SECRET_LENGTH} characters at least`,
  );
  for (const [index, { uri }] of settings.handlers.entries()) {
    const host = dialledHost(uri);
    expect(
      host === undefined || uri.startsWith('tls:') || isLoopback(host),
      `handlers.${index}.uri`,
      `the secret would cross the network in the clear: write tls:// instead of "${uri}", or run that application on this machine`,
    );
  }
  expect(
    (certificateFile === undefined) === (keyFile === undefined),
    'keyFile',
    'certificateFile and keyFile go together: give both, or neither',
  );
  expect(
    certificateFile === undefined || tls,
    'certificateFile',
    'means nothing without TLS: set applications.tls = true, or leave it out',
  );
  return faults;
}
