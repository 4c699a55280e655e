/** The flags of `parley phone`, read and checked. */

import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { CODEC_NAMES } from '../core/audio/codec-name.ts';
import type { CodecName } from '../core/audio/codec-name.ts';
import { ConfigError, ParseError } from '../core/errors.ts';
import { parseHostPort } from '../core/sip/host.ts';
import { defaultDataFolder } from './phone.ts';
import type { PhoneOptions } from './phone.ts';

/** What `main` does with the phone besides opening it. */
export type PhoneFlags = {
  readonly phone: Omit<PhoneOptions, 'password' | 'product' | 'log'>;
  readonly isHeadless: boolean;
  readonly passwordFile: string | undefined;
  readonly play: { readonly file: string; readonly isLooped: boolean } | undefined;
  readonly record: string | undefined;
  readonly isVerbose: boolean;
};

export const PHONE_USAGE = `Usage: parley phone [options]

  --as NAME              your nickname; NAME@DOMAIN for another domain than the server's name
  --server HOST[:PORT]   the switch (127.0.0.1:5060)
  --transport tcp|tls    how to reach it (tcp)
  --password-file FILE   its first line is the password; else PARLEY_PASSWORD, else you are asked
  --name "REAL NAME"     what others see beside your nickname
  --lobby ROOM           the room to be in from the beginning (lobby)
  --no-lobby             no such room
  --answer               take every call at once
  --max-calls N          calls at the same time, rooms apart (4)
  --no-hold-others       mix calls instead of putting all but one on hold
  --codec LIST           opus,PCMU,PCMA: what to use, the best one first
  --play FILE            a WAV file instead of the microphone; --play-loop begins it again and again
  --record FILE          write what you hear into a WAV file
  --sound card|none      whether to look for a sound card (card; none with --play)
  --microphone NAME      a part of the device's name; --speaker NAME likewise
  --jitter-ms N          least playout delay (0: as the network needs it)
  --rtp-ports LOW-HIGH   UDP ports for sound (16384-32767)
  --data FOLDER          where contacts and texts are kept; --no-data keeps nothing
  --tls-ca FILE          certificates to trust; --tls-unverified trusts any
  --headless             JSON events out, commands in: for scripts (docs/softphone.md)
  --verbose              what happens inside, as JSON lines on the error output
  --help                 this
`;

const OPTIONS = {
  as: { type: 'string' },
  server: { type: 'string' },
  transport: { type: 'string' },
  'password-file': { type: 'string' },
  name: { type: 'string' },
  lobby: { type: 'string' },
  'no-lobby': { type: 'boolean' },
  answer: { type: 'boolean' },
  'max-calls': { type: 'string' },
  'no-hold-others': { type: 'boolean' },
  codec: { type: 'string' },
  play: { type: 'string' },
  'play-loop': { type: 'boolean' },
  record: { type: 'string' },
  sound: { type: 'string' },
  microphone: { type: 'string' },
  speaker: { type: 'string' },
  'jitter-ms': { type: 'string' },
  'rtp-ports': { type: 'string' },
  data: { type: 'string' },
  'no-data': { type: 'boolean' },
  'tls-ca': { type: 'string' },
  'tls-unverified': { type: 'boolean' },
  headless: { type: 'boolean' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

const DEFAULT_SERVER = '127.0.0.1:5060';
const NICKNAME_LIMIT = 32;

/**
 * @returns undefined when only help is wanted
 * @throws ConfigError `softphone.flag` with one sentence
 */
export function parseFlags(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
): PhoneFlags | undefined {
  let values: Values;
  try {
    ({ values } = parseArgs({ args: [...argv], options: OPTIONS, strict: true }));
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('. ');
    throw wrong(`${reason.replace(/\.$/, '')}; "parley phone --help" lists the flags`);
  }
  if (values.help === true) return undefined;
  const { play, record } = values;
  return {
    phone: phoneOptionsOf(values, env),
    isHeadless: values.headless === true,
    passwordFile: values['password-file'],
    play: play === undefined ? undefined : { file: play, isLooped: values['play-loop'] === true },
    record,
    isVerbose: values.verbose === true,
  };
}

function phoneOptionsOf(values: Values, env: NodeJS.ProcessEnv): PhoneFlags['phone'] {
  const folder = values.data ?? defaultDataFolder(env, process.platform);
  return {
    ...identityOf(values),
    server: serverOf(values.server ?? env['PARLEY_PHONE_SERVER'] ?? DEFAULT_SERVER),
    tls: tlsOf(values),
    codecs: codecsOf(values.codec),
    rtpPorts: portsOf(values['rtp-ports'] ?? '16384-32767'),
    sound: soundOf(values),
    lobby: values['no-lobby'] === true ? undefined : (values.lobby ?? 'lobby'),
    isAutoAnswering: values.answer === true,
    maxCalls: numberOf(values['max-calls'] ?? '4', 'max-calls', 1, 100),
    holdsOthers: values['no-hold-others'] !== true,
    minDelayMs: numberOf(values['jitter-ms'] ?? '0', 'jitter-ms', 0, 200),
    dataFolder: values['no-data'] === true ? undefined : folder,
  };
}

function wrong(sentence: string): ConfigError {
  return new ConfigError('softphone.flag', `${sentence}.`);
}

function identityOf(values: Values): Pick<PhoneOptions, 'nickname' | 'domain' | 'displayName'> {
  const given = (values.as ?? userInfo().username).replace(/^sip:/i, '');
  const at = given.lastIndexOf('@');
  const nickname = at > 0 ? given.slice(0, at) : given;
  if (nickname === '' || nickname.length > NICKNAME_LIMIT || /[\s"#@]/.test(nickname)) {
    throw wrong(`"${given}" is no nickname: 1 to 32 characters, no blanks, no quotes, no #`);
  }
  const displayName = values.name ?? '';
  if (/\p{Cc}/u.test(displayName)) throw wrong('the real name has characters that cannot be shown');
  return { nickname, domain: at > 0 ? given.slice(at + 1) : undefined, displayName };
}

function serverOf(text: string): PhoneOptions['server'] {
  try {
    const { host, port } = parseHostPort(text.replace(/^sips?:/i, ''));
    return { host, port };
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw wrong(`"${text}" is no server: give HOST or HOST:PORT, IPv6 in brackets`);
  }
}

function tlsOf(values: Values): PhoneOptions['tls'] {
  const transport = values.transport ?? 'tcp';
  if (transport !== 'tcp' && transport !== 'tls') {
    throw wrong(`"${transport}" is no transport of this phone: use tcp or tls`);
  }
  if (transport === 'tcp') return undefined;
  const file = values['tls-ca'];
  try {
    const ca = file === undefined ? undefined : readFileSync(file, 'utf8');
    return { ca, isUnverified: values['tls-unverified'] === true };
  } catch {
    throw wrong(`the certificates in ${file ?? ''} cannot be read`);
  }
}

function codecsOf(list: string | undefined): readonly CodecName[] {
  if (list === undefined) return CODEC_NAMES;
  return list.split(',').map((name) => {
    const codec = CODEC_NAMES.find((known) => known.toLowerCase() === name.trim().toLowerCase());
    if (codec === undefined)
      throw wrong(`there is no codec "${name}": use ${CODEC_NAMES.join(',')}`);
    return codec;
  });
}

function portsOf(range: string): PhoneOptions['rtpPorts'] {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(range);
  const lowest = Number(match?.[1]);
  const highest = Number(match?.[2]);
  if (match === null || lowest < 1024 || highest > 65_535 || highest - lowest < 3) {
    throw wrong(`"${range}" is no range of ports: LOW-HIGH, from 1024 to 65535, at least four`);
  }
  return { lowest, highest };
}

function soundOf(values: Values): PhoneOptions['sound'] {
  const { microphone, speaker, play } = values;
  const isNamed = microphone !== undefined || speaker !== undefined;
  const sound = values.sound ?? (play === undefined || isNamed ? 'card' : 'none');
  if (sound !== 'card' && sound !== 'none') throw wrong(`say --sound card or none, not "${sound}"`);
  return sound === 'none' ? 'none' : { microphone, speaker };
}

function numberOf(text: string, name: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw wrong(`--${name} takes a number from ${least} to ${most}, not "${text}"`);
}
