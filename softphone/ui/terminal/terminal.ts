/** The phone for a person at a terminal: one line to type in, everything else above it. */

import { createInterface } from 'node:readline';
import type { Interface } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { ConfigError, SwitchError } from '../../../core/errors.ts';
import type { CallInfo, CallQuality, Participant, Phone, TextRecord } from '../../phone.ts';
import { describeCommands, parseLine, runCommand } from '../commands.ts';
import type { Command, CommandResult } from '../commands.ts';
import {
  callLine,
  connectionLine,
  endLine,
  painter,
  participantLine,
  person,
  printable,
  qualityLines,
  recordLine,
  registrationLine,
  textLine,
} from './format.ts';
import type { Paint } from './format.ts';

export type TerminalOptions = {
  readonly input: ReadStream;
  readonly output: WriteStream;
  readonly hasColours: boolean;
  /** Ends it from outside. */
  readonly ending: AbortSignal;
};

const USAGE_WIDTH = 24;
const PROMPT = '> ';

/** Runs until `quit`, Ctrl-D or Ctrl-C. @returns the exit code */
export async function runTerminal(phone: Phone, options: TerminalOptions): Promise<number> {
  return new Terminal(phone, options).run();
}

class Terminal {
  readonly #phone: Phone;
  readonly #output: WriteStream;
  readonly #paint: Paint;
  readonly #lines: Interface;
  #exitCode = 0;
  #isRegistered = false;
  #lastNotice = '';

  constructor(phone: Phone, { input, output, hasColours, ending }: TerminalOptions) {
    this.#phone = phone;
    this.#output = output;
    this.#paint = painter(hasColours);
    this.#lines = createInterface({
      input,
      output,
      prompt: this.#paint('bold', PROMPT),
      historySize: 200,
      completer: (line: string) => complete(phone, line),
    });
    ending.addEventListener('abort', () => {
      this.#lines.close();
    });
  }

  async run(): Promise<number> {
    this.#print(
      `Parley phone of ${this.#paint('bold', this.#phone.nickname)}; "help" lists what you can type.`,
    );
    this.#watchConnection();
    this.#watchCalls();
    this.#watchRooms();
    await new Promise<void>((resolve) => {
      this.#lines.on('close', resolve);
      this.#lines.on('line', (line) => {
        void this.#handle(line);
      });
      this.#lines.prompt();
    });
    this.#output.write('\n');
    await this.#phone.stop();
    return this.#exitCode;
  }

  /** Prints above the line that is being typed. */
  #print(text: string): void {
    this.#output.write(`\r\u001B[K${text}\n`);
    this.#lines.prompt(true);
  }

  async #handle(line: string): Promise<void> {
    const word = line.trim();
    if (word === '') {
      this.#lines.prompt();
      return;
    }
    if (word === 'quit' || word === 'exit') {
      this.#lines.close();
      return;
    }
    if (word === 'help') {
      this.#help();
      return;
    }
    try {
      const command = this.#toCurrentRoom(parseLine(line));
      this.#show(command, await runCommand(this.#phone, command));
    } catch (error) {
      const isOurs = !(error instanceof SwitchError);
      const message = isOurs ? `That went wrong: ${String(error)}` : printable(error.message);
      this.#print(this.#paint('red', message));
    }
  }

  /** `say hello everybody` goes to the room that one is in, when no room is called `hello`. */
  #toCurrentRoom(command: Command): Command {
    const { room, text } = command.values;
    if (command.name !== 'say' || room === undefined || room.startsWith('#')) return command;
    const rooms = this.#phone.rooms();
    if (rooms.includes(room.toLowerCase())) return command;
    const calls = this.#phone.calls();
    const current = calls.find((call) => call.isActive)?.room ?? rooms.at(-1);
    if (current === undefined) throw new ConfigError('softphone.room.none', 'You are in no room.');
    return { ...command, values: { room: current, text: `${room} ${text ?? ''}` } };
  }

  #help(): void {
    const lines = describeCommands().map(
      ({ usage, help }) => `  ${this.#paint('bold', usage.padEnd(USAGE_WIDTH))} ${help}`,
    );
    lines.push(
      `  ${this.#paint('bold', 'quit'.padEnd(USAGE_WIDTH))} end all calls and leave`,
      '',
      'A CALL is the c1, c2, ... of "calls"; without it the one that is meant is taken.',
    );
    this.#print(lines.join('\n'));
  }

  #show({ name, values }: Command, result: CommandResult): void {
    const nowMs = Date.now();
    switch (name) {
      case 'calls': {
        const calls = result['calls'] as readonly CallInfo[];
        this.#list(
          calls.map((call) => callLine(call, nowMs)),
          'No calls.',
        );
        return;
      }
      case 'who':
        this.#list(
          (result['participants'] as readonly Participant[]).map(participantLine),
          'Nobody is told to be there.',
        );
        return;
      case 'quality': {
        const quality = result['quality'] as CallQuality | undefined;
        this.#list(quality === undefined ? [] : qualityLines(quality), 'There is no sound yet.');
        return;
      }
      case 'history':
        this.#list(
          (result['texts'] as readonly TextRecord[]).map((text) =>
            recordLine(text, nowMs, this.#paint),
          ),
          'No texts.',
        );
        return;
      case 'contacts': {
        const contacts = result['contacts'] as readonly { name: string; address: string }[];
        const shown = contacts.map(({ name: who, address }) => `  ${who.padEnd(24)} ${address}`);
        this.#list(shown, 'No contacts; "add NAME ADDRESS" makes one.');
        return;
      }
      case 'status':
        this.#print(`${values['nickname'] ?? ''} is ${String(result['state'])}.`);
        return;
      case 'msg':
      case 'say':
        this.#lines.prompt();
        if (result['outcome'] === 'stored')
          this.#print('Nobody is there; it will be delivered later.');
        return;
      default:
        this.#lines.prompt();
    }
  }

  #list(lines: readonly string[], nothing: string): void {
    this.#print(lines.length === 0 ? nothing : lines.join('\n'));
  }

  #watchConnection(): void {
    this.#phone.on('connection', (state) => {
      if (state.kind === 'disconnected') this.#isRegistered = false;
      this.#notice(connectionLine(state), 'yellow');
    });
    this.#phone.on('registration', (state) => {
      const isNews = state.kind !== 'registered' || !this.#isRegistered;
      this.#isRegistered = state.kind === 'registered';
      const line = registrationLine(state, this.#phone.nickname);
      if (isNews) this.#notice(line, state.kind === 'registered' ? 'green' : 'yellow');
      if (state.kind !== 'refused') return;
      this.#exitCode = 1;
      this.#lines.close();
    });
    this.#phone.on('notice', (text) => {
      this.#print(this.#paint('yellow', text));
    });
  }

  /** Says the same thing once only, apart from how long it takes until the next attempt. */
  #notice(line: string | undefined, colour: 'yellow' | 'green'): void {
    if (line === undefined) return;
    const content = line.replace(/in \d+ s/, '');
    if (content === this.#lastNotice) return;
    this.#lastNotice = content;
    this.#print(this.#paint(colour, line));
  }

  #watchCalls(): void {
    const phases = new Map<string, string>();
    this.#phone.on('incoming', (call) => {
      phases.set(call.id, 'incoming');
      const who = this.#paint('bold', person(call.remote.name, call.remote.nickname));
      const others = this.#phone.calls().filter(({ phase }) => phase === 'incoming').length;
      const which = others > 1 ? ` ${call.id}` : '';
      // The bell, for terminals that have one.
      this.#print(
        `\u0007${who} calls. Type "answer${which}", "decline${which}" or "busy${which}".`,
      );
    });
    this.#phone.on('call', (call) => {
      const isNews = phases.get(call.id) !== call.phase;
      phases.set(call.id, call.phase);
      if (isNews && call.room === undefined) this.#phaseChanged(call);
    });
    this.#phone.on('ended', (call, end) => {
      phases.delete(call.id);
      if (call.room === undefined) this.#print(endLine(call, end, Date.now()));
    });
    this.#phone.on('digit', (call, digit) => {
      this.#print(`${person(call.remote.name, call.remote.nickname)} pressed ${digit}.`);
    });
  }

  #phaseChanged(call: CallInfo): void {
    // A room shows only by its answer that it is one.
    if (call.remote.nickname.startsWith('#')) return;
    const who = person(call.remote.name, call.remote.nickname);
    if (call.phase === 'calling') this.#print(`Calling ${who}; "hangup" stops it.`);
    if (call.phase === 'ringing') this.#print(`It rings at ${who}.`);
    if (call.phase === 'established') {
      this.#print(this.#paint('green', `You are talking with ${who}; "hangup" ends it.`));
    }
  }

  #watchRooms(): void {
    const room = (name: string): string => this.#paint('cyan', `#${printable(name)}`);
    this.#phone.on('joined', (name) => {
      this.#print(`You are in ${room(name)}; "who" shows who is there, "say TEXT" writes.`);
    });
    this.#phone.on('left', (name, end) => {
      this.#print(
        end.byUs
          ? `You have left ${room(name)}.`
          : `You are out of ${room(name)}: ${printable(end.text)}.`,
      );
    });
    this.#phone.on('roster', (name, { joined, left }) => {
      const others = (list: readonly Participant[]): string =>
        list
          .filter(({ nickname }) => nickname !== this.#phone.nickname)
          .map((participant) => person(participant.name, participant.nickname))
          .join(', ');
      if (others(joined) !== '') this.#print(`${room(name)} here: ${others(joined)}`);
      if (others(left) !== '') this.#print(`${room(name)} gone: ${others(left)}`);
    });
    this.#phone.on('text', (text) => {
      this.#print(textLine(text, this.#paint));
    });
  }
}

/** Completes commands, and behind them the names of rooms, contacts and people in the same rooms. */
function complete(phone: Phone, line: string): [string[], string] {
  const words = line.split(' ');
  const last = words.at(-1) ?? '';
  const known =
    words.length <= 1
      ? [...describeCommands().map(({ usage }) => usage.split(' ')[0] ?? ''), 'help', 'quit']
      : [
          ...phone.rooms(),
          ...phone.rooms().flatMap((room) => phone.roster(room).map(({ nickname }) => nickname)),
          ...phone.contacts.all.map(({ name }) => name),
        ];
  const fitting = [...new Set(known)].filter((word) => word.startsWith(last)).sort();
  return [fitting, last];
}
