/** sipp, caller and called party by script: our scenarios of test/interop/sipp on free ports. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePorts } from './free-ports.ts';
import { Program } from './program.ts';

const SCENARIOS = path.resolve(import.meta.dirname, '../interop/sipp');
const PORTS = 6;
const SHOWN_CHARACTERS = 8000;

/** `field0` user, `field1` the header that answers a challenge, `field2` whom to call, `field3` what to write. */
export type SippRow = {
  readonly user: string;
  readonly password: string;
  readonly target?: string;
  readonly text?: string;
};

export type SippOptions = {
  /** Name of a file in test/interop/sipp, without `.xml`. */
  readonly scenario: string;
  readonly server: { readonly address: string; readonly port: number };
  readonly domain: string;
  readonly transport?: 'udp' | 'tcp';
  /** Calls take them in order, beginning again at the end. */
  readonly rows?: readonly SippRow[];
  readonly calls?: number;
  readonly callsPerSecond?: number;
  /** The port to send from and to be reached at, for a called party that was registered before. */
  readonly localPort?: number;
  /** After this the run has failed. */
  readonly timeoutSeconds?: number;
};

/** A run of sipp that was started; `finished` rejects with what it wrote when a call did not go as the scenario says. */
export type SippRun = {
  readonly localPort: number;
  readonly finished: Promise<void>;
  stop(): Promise<void>;
};

/** The first of some neighbouring free ports, for a party that registers and is called later on. */
export async function sippPort(): Promise<number> {
  return freePorts(PORTS);
}

async function contentOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text === '' ? '' : `--- ${path.basename(file)} ---\n${text.slice(-SHOWN_CHARACTERS)}\n`;
}

function fieldsOf({ user, password, target = '', text = '' }: SippRow): string {
  return [user, `[authentication username=${user} password=${password}]`, target, text].join(';');
}

function argumentsOf(options: SippOptions, folder: string, localPort: number): string[] {
  const { scenario, server, domain, transport = 'udp', rows, calls = 1 } = options;
  const injected = rows && rows.length > 0 ? ['-inf', path.join(folder, 'rows.csv')] : [];
  return [
    `${server.address}:${server.port}`,
    ...['-sf', path.join(SCENARIOS, `${scenario}.xml`)],
    ...['-i', '127.0.0.1', '-p', String(localPort), '-mp', String(localPort + 2)],
    ...['-t', transport === 'tcp' ? 't1' : 'u1', '-key', 'domain', domain],
    ...['-m', String(calls), '-r', String(options.callsPerSecond ?? 10), '-l', '100'],
    ...['-timeout', `${options.timeoutSeconds ?? 30}s`, '-timeout_error', '-nostdin'],
    ...['-trace_err', '-error_file', path.join(folder, 'errors.log')],
    ...['-trace_msg', '-message_file', path.join(folder, 'messages.log')],
    ...injected,
  ];
}

async function outcome(program: Program, scenario: string, folder: string): Promise<void> {
  try {
    const code = await program.exited;
    if (code === 0) return;
    const logs = await Promise.all(
      ['errors.log', 'messages.log'].map((name) => contentOf(path.join(folder, name))),
    );
    throw new Error(`sipp ${scenario} ended with ${code}\n${logs.join('')}${program.errors}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Starts sipp; a called party is ready when this resolves. */
export async function startSipp(options: SippOptions): Promise<SippRun> {
  const folder = await mkdtemp(path.join(tmpdir(), 'parley-sipp-'));
  const localPort = options.localPort ?? (await sippPort());
  const rows = (options.rows ?? []).map(fieldsOf);
  await writeFile(path.join(folder, 'rows.csv'), ['SEQUENTIAL', ...rows, ''].join('\n'));
  const program = await Program.start('sipp', argumentsOf(options, folder, localPort), {
    name: `sipp ${options.scenario}`,
    cwd: folder,
    env: { ...process.env, TERM: 'dumb' },
  });
  const finished = outcome(program, options.scenario, folder);
  // Whoever waits gets the rejection; until then it is not unhandled.
  finished.catch(() => undefined);
  await program.waitFor(/./, 5000).catch(() => undefined);
  return { localPort, finished, stop: () => program.stop() };
}

/** Runs a caller's scenario to its end. */
export async function runSipp(options: SippOptions): Promise<void> {
  const run = await startSipp(options);
  await run.finished;
}
