/** The phone for scripts: commands come line by line, events and answers go out as JSON, one line each. */

import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { SwitchError } from '../../../core/errors.ts';
import { commandFrom, parseLine, runCommand } from '../commands.ts';
import type { Command } from '../commands.ts';
import type { Phone } from '../../phone.ts';
import { watchPhone } from './events.ts';

export type HeadlessOptions = {
  readonly input: Readable;
  readonly output: Writable;
  /** Whether the end of the input ends the phone. */
  readonly endsWithInput: boolean;
  /** Ends it from outside. */
  readonly ending: AbortSignal;
};

/** A line that is longer is no command. */
const LONGEST_LINE = 262_144;

/**
 * Runs until `quit`, the end of the input, or until nobody reads the output any more.
 *
 * Commands of one script may overlap: each is answered when it is through, by `done` or `failed` with its `id`.
 */
export async function runHeadless(phone: Phone, options: HeadlessOptions): Promise<void> {
  const { input, output } = options;
  const tell = (event: Readonly<Record<string, unknown>>): void => {
    if (output.writable) output.write(`${JSON.stringify(event)}\n`);
  };
  const stopWatching = watchPhone(phone, tell);
  tell({ event: 'ready', nickname: phone.nickname });
  const lines = createInterface({ input, crlfDelay: Infinity, terminal: false });
  await new Promise<void>((resolve) => {
    options.ending.addEventListener('abort', () => {
      resolve();
    });
    output.on('error', () => {
      resolve();
    });
    lines.on('line', (line) => {
      if (line.trim() === '') return;
      void handle(phone, line, tell).then((isLast) => {
        if (isLast) resolve();
      });
    });
    lines.on('close', () => {
      if (options.endsWithInput) resolve();
    });
    phone.on('registration', ({ kind }) => {
      if (kind === 'refused') setImmediate(resolve);
    });
  });
  lines.close();
  // Reading on would keep the program alive.
  input.destroy();
  await phone.stop();
  stopWatching();
}

/** @returns whether it was the last command */
async function handle(
  phone: Phone,
  line: string,
  tell: (event: Readonly<Record<string, unknown>>) => void,
): Promise<boolean> {
  let id: unknown;
  let name: string | undefined;
  try {
    const message = line.length > LONGEST_LINE ? {} : readMessage(line);
    id = message?.['id'];
    const isQuit = message === undefined ? line.trim() === 'quit' : message['command'] === 'quit';
    if (isQuit) {
      tell({ event: 'done', id, command: 'quit' });
      return true;
    }
    const command: Command = message === undefined ? parseLine(line) : commandFrom(message);
    ({ name } = command);
    const result = await runCommand(phone, command);
    tell({ event: 'done', id, command: name, ...result });
  } catch (error) {
    tell({ event: 'failed', id, command: name, ...failureOf(error) });
  }
  return false;
}

/** The object of a JSON line; undefined for a line of words. */
function readMessage(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    // A broken object is no command in words either.
    return {};
  }
}

function failureOf(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof SwitchError)) return { code: 'softphone.bug', reason: String(error) };
  const statusCode = (error as { sipStatus?: unknown }).sipStatus;
  return { code: error.code, statusCode, reason: error.message };
}
