/** `parley phone`: opens the phone and gives it to a terminal or to a script. */

import { fstatSync } from 'node:fs';
import { LOG_LEVELS, nullLog } from '../core/log.ts';
import type { Log, LogFields, LogLevel } from '../core/log.ts';
import { PHONE_USAGE, parseFlags } from './flags.ts';
import type { PhoneFlags } from './flags.ts';
import { findPassword } from './password.ts';
import { Phone } from './phone.ts';
import { runHeadless } from './ui/headless/headless.ts';
import { runTerminal } from './ui/terminal/terminal.ts';

/**
 * @param argv - flags only
 * @param version - for the User-Agent header
 * @returns the exit code: 1 when the server refuses the account
 * @throws ConfigError with one sentence for whatever was typed wrong
 */
export async function runPhone(argv: readonly string[], version: string): Promise<number> {
  const flags = parseFlags(argv, process.env);
  if (flags === undefined) {
    process.stdout.write(PHONE_USAGE);
    return 0;
  }
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  if (!flags.isHeadless && !isTerminal) {
    process.stderr.write('parley: There is no terminal here; use --headless for scripts.\n');
    return 1;
  }
  const canAsk = isTerminal && !flags.isHeadless;
  const password = await findPassword(flags.phone.nickname, flags.passwordFile, canAsk);
  const phone = await Phone.open({
    ...flags.phone,
    password,
    product: `Parley/${version}`,
    log: flags.isVerbose ? stderrLog() : nullLog,
  });
  const refused = { isRefused: false };
  phone.on('registration', ({ kind }) => {
    if (kind === 'refused') refused.isRefused = true;
  });
  try {
    await prepare(phone, flags);
    const { ending, forget } = watchSignals();
    phone.start();
    await (flags.isHeadless ? headless(phone, ending) : terminal(phone, ending));
    forget();
  } catch (error) {
    await phone.stop();
    throw error;
  }
  return refused.isRefused ? 1 : 0;
}

async function prepare(phone: Phone, { play, record }: PhoneFlags): Promise<void> {
  if (play !== undefined) await phone.play(play.file, play.isLooped);
  if (record !== undefined) await phone.record(record);
}

function headless(phone: Phone, ending: AbortSignal): Promise<void> {
  return runHeadless(phone, {
    input: process.stdin,
    output: process.stdout,
    endsWithInput: isPipe(process.stdin.fd),
    ending,
  });
}

async function terminal(phone: Phone, ending: AbortSignal): Promise<void> {
  await runTerminal(phone, {
    input: process.stdin,
    output: process.stdout,
    hasColours: process.stdout.hasColors() && process.env['NO_COLOR'] === undefined,
    ending,
  });
}

/** A pipe that ends means that the script has ended; /dev/null never meant anything. */
function isPipe(descriptor: number): boolean {
  const stats = fstatSync(descriptor);
  return stats.isFIFO() || stats.isSocket();
}

/** SIGTERM and SIGINT end the phone politely; a second one at once. */
function watchSignals(): { readonly ending: AbortSignal; readonly forget: () => void } {
  const controller = new AbortController();
  const listener = (): void => {
    if (controller.signal.aborted) process.exit(1);
    controller.abort();
  };
  process.on('SIGTERM', listener);
  process.on('SIGINT', listener);
  return {
    ending: controller.signal,
    forget: () => {
      process.off('SIGTERM', listener);
      process.off('SIGINT', listener);
    },
  };
}

/** One JSON line for each event, on the error output. */
function stderrLog(): Log {
  const write =
    (level: LogLevel) =>
    (event: string, fields?: LogFields): void => {
      process.stderr.write(`${JSON.stringify({ level, event, ...fields?.() })}\n`);
    };
  return Object.fromEntries(LOG_LEVELS.map((level) => [level, write(level)])) as Log;
}
