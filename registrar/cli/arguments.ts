/** Command-line words: those that all commands share, and faults in them as sentences. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { ConfigError } from '../../core/errors.ts';

/** The command line is wrong; besides the sentence the usage is shown. */
export class UsageError extends ConfigError {
  constructor(message: string) {
    super('cli.usage', message);
  }
}

export const CONFIG_OPTIONS = {
  config: { type: 'string', short: 'c' },
  set: { type: 'string', multiple: true },
} as const satisfies ParseArgsConfig['options'];

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ options: T; allowPositionals: true; args: string[] }>
>;

/** @throws UsageError for words that are unknown, or lack their value */
export function parseWords<const T extends Options>(
  args: readonly string[],
  options: T,
): Parsed<T> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    if (error instanceof TypeError && 'code' in error) throw new UsageError(sentenceOf(error));
    throw error;
  }
}

function sentenceOf(error: Error): string {
  const [first = error.message] = error.message.split('. ');
  return first.charAt(0).toLowerCase() + first.slice(1).replace(/\.$/, '');
}

export type ConfigWords = {
  readonly config?: string | undefined;
  readonly set?: string[] | undefined;
};

/**
 * The configuration with `--config FILE` and `--set KEY=VALUE`.
 *
 * @param flags - further settings by path
 * @throws ConfigError
 */
export function configFrom(
  { config, set = [] }: ConfigWords,
  flags: Readonly<Record<string, string | undefined>> = {},
): Config {
  const given: Record<string, string> = {};
  for (const assignment of set) {
    const equals = assignment.indexOf('=');
    if (equals < 1) throw new UsageError(`--set needs KEY=VALUE, not ${assignment}`);
    given[assignment.slice(0, equals)] = assignment.slice(equals + 1);
  }
  for (const [path, value] of Object.entries(flags)) if (value !== undefined) given[path] = value;
  return loadConfig({ file: config, environment: process.env, flags: given });
}
