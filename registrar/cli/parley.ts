#!/usr/bin/env node
/** The `parley` command: reads its first word, runs that command, and turns failures into one sentence and exit code 1. */
import { SwitchError } from '../../core/errors.ts';
import { CONFIG_OPTIONS, configFrom, parseWords, UsageError } from './arguments.ts';
import { USAGE } from './usage.ts';
import { readVersion } from './version.ts';

function print(text: string): void {
  process.stdout.write(text);
}

async function runServe(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(args, {
    ...CONFIG_OPTIONS,
    port: { type: 'string', short: 'p' },
    domain: { type: 'string' },
    data: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  });
  if (values.help === true) {
    print(USAGE);
    return 0;
  }
  const [extra] = positionals;
  if (extra !== undefined) throw new UsageError(`one word too many: ${extra}`);
  const config = configFrom(values, {
    'sip.port': values.port,
    'sip.domain': values.domain,
    dataFolder: values.data,
  });
  const { serve } = await import('../main.ts');
  return serve(config, { version: readVersion(), print });
}

async function run([word, ...rest]: readonly string[]): Promise<number> {
  switch (word) {
    case 'serve':
      return runServe(rest);
    case 'user':
      print(rest.includes('--help') ? USAGE : await (await import('./user.ts')).runUser(rest));
      return 0;
    case 'phone': {
      const { runPhone } = await import('../../softphone/main.ts');
      return runPhone(rest, readVersion());
    }
    case 'demo': {
      const { runDemo } = await import('./demo.ts');
      return runDemo(rest, readVersion());
    }
    case '--version':
    case '-v':
      print(`${readVersion()}\n`);
      return 0;
    case '--help':
    case '-h':
    case 'help':
      print(USAGE);
      return 0;
    case undefined:
      throw new UsageError('a command is missing');
    default:
      throw new UsageError(`there is no command ${word}`);
  }
}

/** What the user did or met is one sentence; a fault of ours shows where it is. */
function report(error: unknown): void {
  const text = error instanceof SwitchError ? error.message : String(stackOf(error));
  process.stderr.write(`parley: ${text}\n`);
  if (error instanceof UsageError) process.stderr.write(`\n${USAGE}`);
}

function stackOf(error: unknown): unknown {
  return error instanceof Error ? (error.stack ?? error.message) : error;
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  report(error);
  process.exitCode = 1;
}
