/** Writes the log: one JSON line per event to stderr, or plain text for people; private data only when that is wished. */
import { isIPv4, isIPv6 } from 'node:net';
import { isatty } from 'node:tty';
import { pino, type DestinationStream } from 'pino';
import { LOG_LEVELS, type Log, type LogFields, type LogLevel } from '../core/log.ts';

export type LogWriterOptions = {
  readonly level: LogLevel;
  /** `auto`: text when stderr is a terminal, else JSON. */
  readonly format: 'auto' | 'json' | 'text';
  /** Print addresses, names and bodies instead of [private]. */
  readonly showPrivate: boolean;
  /** stderr when absent. */
  readonly destination?: DestinationStream | undefined;
};

const STDERR = 2;
const PRIVATE = '[private]';

/** Fields that hold somebody's name, address or words, whatever they look like. */
const PRIVATE_FIELDS: ReadonlySet<string> = new Set([
  'user',
  'nickname',
  'account',
  'caller',
  'callee',
  'sender',
  'recipient',
  'participant',
  'displayName',
  'aor',
  'contact',
  'from',
  'to',
  'uri',
  'address',
  'remote',
  'body',
  'text',
]);

export function createLogWriter(options: LogWriterOptions): Log {
  const stderr = options.destination ?? pino.destination({ dest: STDERR, sync: false });
  const isForPeople = options.format === 'auto' ? isatty(STDERR) : options.format === 'text';
  const destination = isForPeople ? textTo(stderr) : stderr;
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'event',
    },
    destination,
  );
  const writer = (level: LogLevel) => {
    return (event: string, fields?: LogFields): void => {
      if (!logger.isLevelEnabled(level)) return;
      const shown = fields === undefined ? {} : shownFields(fields(), options.showPrivate);
      logger[level](shown, event);
    };
  };
  const [error, warn, info, debug] = LOG_LEVELS.map(writer) as [
    Log['error'],
    Log['warn'],
    Log['info'],
    Log['debug'],
  ];
  return { error, warn, info, debug };
}

function shownFields(
  fields: Readonly<Record<string, unknown>>,
  showPrivate: boolean,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, shown(name, value, showPrivate)]),
  );
}

function shown(name: string, value: unknown, showPrivate: boolean): unknown {
  if (value instanceof Error) return shownFields(errorFields(value), showPrivate);
  if (showPrivate || value === undefined || value === null) return value;
  if (PRIVATE_FIELDS.has(name)) return PRIVATE;
  if (typeof value === 'string') return withoutAddresses(value);
  if (Array.isArray(value)) return value.map((item) => shown('', item, showPrivate));
  if (typeof value === 'object') return shownFields(value as Record<string, unknown>, showPrivate);
  return value;
}

function errorFields(error: Error): Record<string, unknown> {
  const code = 'code' in error ? error.code : undefined;
  return { name: error.name, code, message: error.message, stack: error.stack, cause: error.cause };
}

/** Addresses inside longer text, such as the message of an error. */
function withoutAddresses(text: string): string {
  return text.replace(/\bsips?:[^\s"'<>]+/gi, PRIVATE).replace(/[0-9a-f.:]{3,}/gi, (word) => {
    const address = word.replace(/:\d+$/, '').replace(/[.:]$/, '');
    return isIPv4(address) || isIPv6(address) || isIPv6(word) ? PRIVATE : word;
  });
}

/** Turns JSON lines into text for people. */
function textTo(destination: DestinationStream): DestinationStream {
  return {
    write: (line) => {
      const { level, time, event, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const rest = Object.entries(fields).map(
        ([name, value]) => ` ${name}=${JSON.stringify(value)}`,
      );
      destination.write(
        `${String(time)} ${String(level).padEnd(5)} ${String(event)}${rest.join('')}\n`,
      );
    },
  };
}
