/** What a person or a script can tell the phone, in words or as JSON: one table for all user interfaces. */

import { CODEC_NAMES } from '../../core/audio/codec-name.ts';
import type { CodecName } from '../../core/audio/codec-name.ts';
import { ConfigError } from '../../core/errors.ts';
import type { CallInfo, Phone } from '../phone.ts';

/** A command with its arguments by name. */
export type Command = {
  readonly name: string;
  readonly values: Readonly<Record<string, string>>;
};

/** What a command gives back: plain data, ready for JSON. */
export type CommandResult = Readonly<Record<string, unknown>>;

type Definition = {
  /** In order; `?` marks those that may be missing, `...` the one that takes the rest of the line. */
  readonly parameters: readonly string[];
  readonly help: string;
  run(
    phone: Phone,
    values: Readonly<Record<string, string>>,
  ): Promise<CommandResult> | CommandResult;
};

const HISTORY_COUNT = 20;

const COMMANDS: Readonly<Record<string, Definition>> = {
  call: {
    parameters: ['target'],
    help: 'call a person, a room, a number or a SIP address',
    run: (phone, { target = '' }) => ({ call: phone.call(target) }),
  },
  answer: {
    parameters: ['call?'],
    help: 'take the call that rings',
    run: async (phone, { call }) => {
      const { id } = chosen(phone, call, isIncoming, 'Nobody is calling.');
      await phone.answer(id);
      return { call: infoOf(phone, id) };
    },
  },
  decline: {
    parameters: ['call?'],
    help: 'refuse the call that rings',
    run: (phone, { call }) => {
      phone.decline(chosen(phone, call, isIncoming, 'Nobody is calling.').id);
      return {};
    },
  },
  busy: {
    parameters: ['call?'],
    help: 'let the caller hear that you are busy',
    run: (phone, { call }) => {
      phone.decline(chosen(phone, call, isIncoming, 'Nobody is calling.').id, 'busy');
      return {};
    },
  },
  hangup: {
    parameters: ['call?'],
    help: 'end a call, or stop calling',
    run: (phone, { call }) => {
      phone.hangUp(chosen(phone, call, isPersonal, 'There is no call.').id);
      return {};
    },
  },
  hold: {
    parameters: ['call?'],
    help: 'put a call on hold',
    run: async (phone, { call }) => {
      const { id } = chosen(phone, call, isUp, 'There is no call to hold.');
      await phone.hold(id);
      return { call: infoOf(phone, id) };
    },
  },
  resume: {
    parameters: ['call?'],
    help: 'take a call from hold; the others wait',
    run: async (phone, { call }) => {
      const { id } = chosen(phone, call, ({ isHeld }) => isHeld, 'No call is on hold.');
      await phone.resume(id);
      return { call: infoOf(phone, id) };
    },
  },
  mute: {
    parameters: ['call?'],
    help: 'switch your microphone off',
    run: (phone, { call }) => muted(phone, call, true),
  },
  unmute: {
    parameters: ['call?'],
    help: 'switch your microphone on again',
    run: (phone, { call }) => muted(phone, call, false),
  },
  dtmf: {
    parameters: ['digits', 'call?'],
    help: 'press keys: 0-9 * # A-D',
    run: (phone, { digits = '', call }) => {
      phone.sendDtmf(chosen(phone, call, isUp, 'There is no call.').id, digits);
      return {};
    },
  },
  codec: {
    parameters: ['codec', 'call?'],
    help: `change the codec of a call: ${CODEC_NAMES.join(', ')}`,
    run: async (phone, { codec = '', call }) => {
      const { id } = chosen(phone, call, isUp, 'There is no call.');
      await phone.changeCall(id, { codec: codecNamed(codec) });
      return { call: infoOf(phone, id) };
    },
  },
  bitrate: {
    parameters: ['bitrate', 'call?'],
    help: 'change the bits a second of Opus: 6000 to 510000',
    run: async (phone, { bitrate = '', call }) => {
      const { id } = chosen(phone, call, isUp, 'There is no call.');
      await phone.changeCall(id, { bitrate: numberIn(bitrate, 6000, 510_000, 'bitrate') });
      return {};
    },
  },
  fec: {
    parameters: ['state', 'call?'],
    help: 'on or off: repair of lost packets by Opus',
    run: async (phone, { state = '', call }) => {
      const { id } = chosen(phone, call, isUp, 'There is no call.');
      await phone.changeCall(id, { hasFec: isOn(state) });
      return {};
    },
  },
  join: {
    parameters: ['room'],
    help: 'go into a room',
    run: async (phone, { room = '' }) => {
      await phone.joinRoom(room);
      return { room, participants: phone.roster(room) };
    },
  },
  leave: {
    parameters: ['room?'],
    help: 'leave a room',
    run: (phone, { room }) => {
      phone.leaveRoom(room ?? currentRoom(phone));
      return {};
    },
  },
  say: {
    parameters: ['room', '...text'],
    help: 'write to a room',
    run: async (phone, { room = '', text = '' }) => ({
      outcome: await phone.sendMessage(room.startsWith('#') ? room : `#${room}`, written(text)),
    }),
  },
  msg: {
    parameters: ['to', '...text'],
    help: 'write to a person',
    run: async (phone, { to = '', text = '' }) => ({
      outcome: await phone.sendMessage(to, written(text)),
    }),
  },
  who: {
    parameters: ['room?'],
    help: 'see who is in a room',
    run: (phone, { room = currentRoom(phone) }) => ({ room, participants: phone.roster(room) }),
  },
  calls: {
    parameters: [],
    help: 'list calls and rooms',
    run: (phone) => ({ calls: phone.calls(), rooms: phone.rooms() }),
  },
  quality: {
    parameters: ['call?'],
    help: 'loss, jitter and delay of a call',
    run: (phone, { call }) => {
      const { id } = chosen(phone, call, isUp, 'There is no call.');
      return { call: id, quality: phone.quality(id) };
    },
  },
  status: {
    parameters: ['nickname'],
    help: 'would somebody take a call? Asks without calling',
    run: async (phone, { nickname = '' }) => ({ nickname, ...(await phone.status(nickname)) }),
  },
  history: {
    parameters: ['peer?', 'count?'],
    help: 'texts from before: of all, a person, or a #room',
    run: (phone, { peer, count }) => {
      const limit = count === undefined ? HISTORY_COUNT : numberIn(count, 1, 2000, 'number');
      return { texts: phone.history(peer === 'all' ? undefined : peer, limit) };
    },
  },
  contacts: {
    parameters: [],
    help: 'list your contacts',
    run: (phone) => ({ contacts: phone.contacts.all }),
  },
  add: {
    parameters: ['name', 'address?'],
    help: 'keep somebody as a contact',
    run: async (phone, { name = '', address }) => {
      await phone.contacts.add({ name, address: address ?? name });
      return {};
    },
  },
  remove: {
    parameters: ['name'],
    help: 'forget a contact',
    run: async (phone, { name = '' }) => ({ wasThere: await phone.contacts.remove(name) }),
  },
  play: {
    parameters: ['file', 'loop?'],
    help: 'a WAV file as your microphone; "play off" ends it',
    run: async (phone, { file = '', loop }) => {
      await phone.play(file === 'off' ? undefined : file, loop !== undefined);
      return {};
    },
  },
  record: {
    parameters: ['file'],
    help: 'what you hear as a WAV file; "record off" ends it',
    run: async (phone, { file = '' }) => {
      await phone.record(file === 'off' ? undefined : file);
      return {};
    },
  },
  auto: {
    parameters: ['state'],
    help: 'on or off: take every call at once',
    run: (phone, { state = '' }) => {
      phone.isAutoAnswering = isOn(state);
      return {};
    },
  },
  gain: {
    parameters: ['percent'],
    help: 'loudness of your microphone, 0 to 400',
    run: (phone, { percent = '' }) => {
      phone.microphoneGain = numberIn(percent, 0, 400, 'gain') / 100;
      return {};
    },
  },
};

/** Names, parameters and a line of help each, in the order in which they are shown. */
export function describeCommands(): readonly { readonly usage: string; readonly help: string }[] {
  return Object.entries(COMMANDS).map(([name, { parameters, help }]) => {
    const shown = parameters.map((parameter) =>
      parameter.endsWith('?')
        ? `[${parameter.slice(0, -1).toUpperCase()}]`
        : parameter.replace('...', '').toUpperCase(),
    );
    return { usage: [name, ...shown].join(' '), help };
  });
}

/**
 * Reads a line such as `say lobby hello there`.
 *
 * @throws ConfigError `softphone.command.*` with one sentence
 */
export function parseLine(line: string): Command {
  const [name = '', ...words] = line.trim().split(/\s+/);
  const definition = definitionOf(name);
  const values: Record<string, string> = {};
  for (const [index, parameter] of definition.parameters.entries()) {
    const key = parameter.replace('...', '').replace('?', '');
    const value = parameter.startsWith('...') ? restAfter(line, index + 1) : words[index];
    if (value !== undefined && value !== '') values[key] = value;
  }
  const takesRest = definition.parameters.some((parameter) => parameter.startsWith('...'));
  const extra = words[definition.parameters.length];
  if (extra !== undefined && !takesRest) {
    throw new ConfigError('softphone.command.words', `One word too many: ${extra}`);
  }
  return checked({ name, values }, definition);
}

/**
 * Reads `{"command": "say", "room": "lobby", "text": "hello"}`; `id` is left to whoever asks.
 *
 * @throws ConfigError `softphone.command.*` with one sentence
 */
export function commandFrom(message: Readonly<Record<string, unknown>>): Command {
  const { command } = message;
  if (typeof command !== 'string') {
    throw new ConfigError('softphone.command.missing', 'A command is a string under "command".');
  }
  const definition = definitionOf(command);
  const values: Record<string, string> = {};
  const known = definition.parameters.map((name) => name.replace('...', '').replace('?', ''));
  for (const [key, value] of Object.entries(message)) {
    if (key === 'command' || key === 'id') continue;
    if (!known.includes(key)) {
      throw new ConfigError('softphone.command.words', `${command} knows no "${key}".`);
    }
    if (value === undefined || value === null || value === false) continue;
    if (typeof value !== 'string' && typeof value !== 'number' && value !== true) {
      throw new ConfigError('softphone.command.words', `"${key}" is not a string or number.`);
    }
    values[key] = String(value);
  }
  return checked({ name: command, values }, definition);
}

/** @throws SwitchError with one sentence for whatever does not work */
export async function runCommand(phone: Phone, { name, values }: Command): Promise<CommandResult> {
  return definitionOf(name).run(phone, values);
}

function definitionOf(name: string): Definition {
  const definition = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (definition !== undefined) return definition;
  const message = name === '' ? 'A command is missing.' : `There is no command ${name}.`;
  throw new ConfigError('softphone.command.unknown', message);
}

function checked(command: Command, { parameters }: Definition): Command {
  for (const parameter of parameters) {
    const key = parameter.replace('...', '').replace('?', '');
    if (!parameter.endsWith('?') && command.values[key] === undefined) {
      throw new ConfigError('softphone.command.words', `${command.name} needs a ${key}.`);
    }
  }
  return command;
}

/** The line behind its first `count` words, blanks inside kept. */
function restAfter(line: string, count: number): string {
  return line.trim().replace(new RegExp(`^(?:\\S+\\s+){${count}}|^(?:\\S+\\s*){${count}}$`), '');
}

type Choice = (call: CallInfo) => boolean;

function isIncoming({ phase }: CallInfo): boolean {
  return phase === 'incoming';
}

function isUp({ phase }: CallInfo): boolean {
  return phase === 'established';
}

function isPersonal({ room }: CallInfo): boolean {
  return room === undefined;
}

/** The named call, or the one that is meant: the active one, else the latest of those that fit. */
function chosen(phone: Phone, id: string | undefined, fits: Choice, nothing: string): CallInfo {
  if (id !== undefined) return infoOf(phone, id);
  const fitting = phone.calls().filter(fits);
  const call = fitting.find(({ isActive }) => isActive) ?? fitting.at(-1);
  if (call === undefined) throw new ConfigError('softphone.call.none', nothing);
  return call;
}

function infoOf(phone: Phone, id: string): CallInfo {
  const call = phone.calls().find((known) => known.id === id);
  if (call === undefined) throw new ConfigError('softphone.call.none', `There is no call ${id}.`);
  return call;
}

function muted(phone: Phone, id: string | undefined, isMuted: boolean): CommandResult {
  const call = chosen(phone, id, isUp, 'There is no call.');
  phone.mute(call.id, isMuted);
  return { call: infoOf(phone, call.id) };
}

/** The room that has the sound, or else the latest one. */
function currentRoom(phone: Phone): string {
  const rooms = phone.calls().filter(({ room }) => room !== undefined);
  const room = (rooms.find(({ isActive }) => isActive) ?? rooms.at(-1))?.room;
  if (room === undefined) throw new ConfigError('softphone.room.none', 'You are in no room.');
  return room;
}

function written(text: string): string {
  if (text.trim() === '') throw new ConfigError('softphone.text.empty', 'There is no text.');
  return text;
}

function codecNamed(name: string): CodecName {
  const codec = CODEC_NAMES.find((known) => known.toLowerCase() === name.toLowerCase());
  if (codec !== undefined) return codec;
  const message = `There is no codec ${name}; there is ${CODEC_NAMES.join(', ')}.`;
  throw new ConfigError('softphone.codec.unknown', message);
}

function isOn(state: string): boolean {
  if (state === 'on' || state === 'true') return true;
  if (state === 'off' || state === 'false') return false;
  throw new ConfigError('softphone.command.words', `Say on or off, not ${state}.`);
}

function numberIn(text: string, least: number, most: number, name: string): number {
  const value = Number(text);
  if (text !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  const message = `The ${name} must be a number from ${least} to ${most}, not ${text}.`;
  throw new ConfigError('softphone.command.words', message);
}
