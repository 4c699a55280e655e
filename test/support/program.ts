/** Another program as a child process: its input stays open, its output is kept, and it ends with the tests. */

import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { isInstalled } from './peers.ts';
import { URGENT } from './stalls.ts';

export type ProgramOptions = {
  /** For messages; the command unless told. */
  readonly name?: string;
  readonly cwd?: string;
  /** Instead of this process's own environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** Sound does not wait: where we may, it goes before whatever else the machine does. */
  readonly isUrgent?: boolean;
  /** What it says all the time, left out of failure messages. */
  readonly noise?: RegExp;
};

const running = new Set<ChildProcessWithoutNullStreams>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

const isRoot = process.getuid?.() === 0;
const POLL_MS = 25;
const TERMINATE_MS = 5000;
/** The end of the output is what matters in a failure; a phone's log can be very long. */
const SHOWN_CHARACTERS = 6000;

export class Program {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<number | undefined>;
  readonly #noise: RegExp | undefined;
  readonly #child: ChildProcessWithoutNullStreams;
  #output = '';
  #errors = '';
  #hasExited = false;

  private constructor(
    name: string,
    child: ChildProcessWithoutNullStreams,
    noise: RegExp | undefined,
  ) {
    this.name = name;
    this.pid = child.pid ?? 0;
    this.#noise = noise;
    this.#child = child;
    running.add(child);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#errors += text;
    });
    // A program that ends on its own closes its input under our hands.
    child.stdin.on('error', () => undefined);
    this.exited = once(child, 'close').then(([code]: (number | null)[]) => {
      this.#hasExited = true;
      running.delete(child);
      return code ?? undefined;
    });
  }

  /** Starts a command, its output line by line where `stdbuf` is installed. Rejects when it cannot be started. */
  static async start(
    command: string,
    args: readonly string[],
    options: ProgramOptions = {},
  ): Promise<Program> {
    const urgent = options.isUrgent === true && isRoot ? ['nice', '-n', String(URGENT)] : [];
    const lineByLine = isInstalled('stdbuf') ? ['stdbuf', '-oL'] : [];
    const [file = command, ...rest] = [...urgent, ...lineByLine, command, ...args];
    const child = spawn(file, rest, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: options.env ?? process.env,
      stdio: 'pipe',
    });
    await once(child, 'spawn');
    return new Program(options.name ?? command, child, options.noise);
  }

  /** Everything that it wrote, standard output and standard error as they came. */
  get output(): string {
    return this.#output;
  }

  get errors(): string {
    return this.#errors;
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Writes the last it will read. */
  endInput(text = ''): void {
    this.#child.stdin.end(text);
  }

  /** Waits until the output from `from` on matches; rejects with the output when it does not, or the program ends. */
  async waitFor(pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpExecArray> {
    return this.waitUntil(
      () => pattern.exec(this.#output.slice(from)) ?? undefined,
      `/${pattern.source}/`,
      timeoutMs,
    );
  }

  /** Waits until `find` gives something; rejects with the output when it never does, or the program ends. */
  async waitUntil<T>(find: () => T | undefined, what: string, timeoutMs: number): Promise<T> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const hadExited = this.#hasExited;
      const found = find();
      if (found !== undefined) return found;
      if (hadExited) throw new Error(`${this.name} ended before ${what}\n${this.describe()}`);
      if (Date.now() >= end) {
        throw new Error(`${this.name}: no ${what} within ${timeoutMs} ms\n${this.describe()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** The end of its output, for a failure message. */
  describe(): string {
    const quiet = this.#noise ? this.#output.replaceAll(this.#noise, '') : this.#output;
    return `--- output of ${this.name} ---\n${quiet.slice(-SHOWN_CHARACTERS)}\n---`;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Asks it to end (`quit` line, else SIGTERM), kills it by its id when it does not; resolves when it is gone. */
  async stop(quit?: string): Promise<void> {
    if (this.#hasExited) return;
    if (quit === undefined) this.#child.kill('SIGTERM');
    else this.#child.stdin.write(quit);
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), TERMINATE_MS);
    await this.exited;
    clearTimeout(kill);
  }
}
