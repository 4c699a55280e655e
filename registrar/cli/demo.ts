/** `parley demo`: a private switch and some softphones on this machine show each other, and you, that all of it works. */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../config/load.ts';
import { isAbsent, scoreSound } from '../../core/audio/score.ts';
import type { Sound } from '../../core/audio/score.ts';
import { synthesizeVoice } from '../../core/audio/voice.ts';
import { ControlError } from '../../core/errors.ts';
import { nullLog } from '../../core/log.ts';
import { DEVICE_RATE_HZ, Phone } from '../../softphone/phone.ts';
import type { PhoneText } from '../../softphone/phone.ts';
import { startSwitch } from '../main.ts';
import type { RunningSwitch } from '../main.ts';
import { parseWords, UsageError } from './arguments.ts';

const LOOPBACK = '127.0.0.1';
const ROOM = 'lobby';
const SPEECH_SECONDS = 4;
/** What a listener must get of a voice: 1 is all of it. */
const NEEDED_SCORE = 0.9;
const LIMIT_MS = 8000;

const CAST = [
  { nickname: 'anna', name: 'Anna Berg', pitchHz: 205, formantScale: 1.12 },
  { nickname: 'bruno', name: 'Bruno Dahl', pitchHz: 108, formantScale: 0.92 },
  { nickname: 'clara', name: 'Clara Holm', pitchHz: 165, formantScale: 1.02 },
] as const;

type Actor = {
  readonly nickname: string;
  readonly phone: Phone;
  readonly voice: Int16Array;
  readonly ear: Ear;
  readonly texts: PhoneText[];
};

/** How much was as it should be, and what was not. */
type Report = { passed: number; readonly failures: string[] };

/**
 * @returns 0 when everything was as it should be
 * @throws UsageError; ConfigError when the switch cannot start
 */
export async function runDemo(args: readonly string[], version: string): Promise<number> {
  const { positionals } = parseWords(args, {});
  const [extra] = positionals;
  if (extra !== undefined) throw new UsageError(`one word too many: ${extra}`);
  const startedMs = performance.now();
  const folder = await mkdtemp(path.join(tmpdir(), 'parley-demo-'));
  const report: Report = { passed: 0, failures: [] };
  let running: RunningSwitch | undefined;
  const actors: Actor[] = [];
  try {
    running = await openSwitch(folder);
    await castActors(running, version, actors);
    await Promise.race([perform(actors, report), failWhenLost(running)]);
  } finally {
    await Promise.all(actors.map(({ phone }) => phone.stop()));
    await running?.stop().catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  const { passed, failures } = report;
  print(
    failures.length === 0
      ? `\nAll ${passed} checks passed in ${seconds} s.`
      : `\n${failures.length} of ${passed + failures.length} checks failed: ${failures.join('; ')}.`,
  );
  return failures.length === 0 ? 0 : 1;
}

/** @throws ControlError `demo.lost` when a part of the switch dies */
async function failWhenLost(running: RunningSwitch): Promise<void> {
  throw new ControlError('demo.lost', await running.lost);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function openSwitch(dataFolder: string): Promise<RunningSwitch> {
  const config = loadConfig({
    environment: {},
    flags: {
      dataFolder,
      'sip.port': '0',
      'sip.listenAddresses': LOOPBACK,
      'sip.domain': 'demo.example',
      'rtp.listenAddresses': LOOPBACK,
      'tls.enabled': 'false',
    },
  });
  return startSwitch(config, { log: nullLog });
}

async function castActors(
  { context, listeners }: RunningSwitch,
  version: string,
  actors: Actor[],
): Promise<void> {
  const port = listeners.find(({ transport }) => transport === 'tcp')?.port;
  print(
    `A switch of its own on ${LOOPBACK}:${port ?? 0}, and ${CAST.length} softphones without sound card.\n`,
  );
  for (const [index, { nickname, name, pitchHz, formantScale }] of CAST.entries()) {
    const password = randomBytes(12).toString('base64url');
    await context.accounts.add({ nickname, password, displayName: name });
    const phone = await Phone.open({
      nickname,
      password,
      displayName: name,
      server: { host: LOOPBACK, port },
      product: `Parley/${version}`,
      codecs: ['opus', 'PCMU'],
      rtpPorts: { lowest: 16_384, highest: 32_767 },
      sound: 'none',
      log: nullLog,
    });
    const voice = synthesizeVoice({
      seed: index + 1,
      pitchHz,
      formantScale,
      seconds: SPEECH_SECONDS,
      sampleRateHz: DEVICE_RATE_HZ,
    });
    const texts: PhoneText[] = [];
    phone.on('text', (text) => texts.push(text));
    actors.push({ nickname, phone, voice, ear: new Ear(), texts });
  }
}

async function perform(actors: readonly Actor[], report: Report): Promise<void> {
  const [anna, bruno, clara] = actors;
  if (anna === undefined || bruno === undefined || clara === undefined) return;
  await registerAll(actors, report);
  await talk(anna, bruno, report);
  await refuse(bruno, clara, report);
  await cancel(clara, anna, report);
  await write(anna, bruno, report);
  await meet(actors, report);
  await writeToRoom(bruno, [anna, clara], report);
  await listenToEachOther(actors, report);
}

function check(report: Report, isTrue: boolean, what: string): string {
  if (isTrue) report.passed += 1;
  else report.failures.push(what);
  return isTrue ? 'yes' : 'NO';
}

/** @returns whether it became true in time */
async function until(condition: () => boolean, limitMs = LIMIT_MS): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > endMs) return false;
    await sleep(10);
  }
  return true;
}

function row(label: string, what: string, result: string): void {
  print(`${label.padEnd(12)}${what.padEnd(34)}${result}`);
}

async function registerAll(actors: readonly Actor[], report: Report): Promise<void> {
  for (const { phone } of actors) phone.start();
  for (const [index, { nickname, phone }] of actors.entries()) {
    const isThere = await until(() => phone.registration.kind === 'registered');
    const result = check(report, isThere, `${nickname} registers`);
    row(index === 0 ? 'Registered' : '', nickname, result);
  }
}

/** Both speak at once and hear each other. */
async function talk(caller: Actor, callee: Actor, report: Report): Promise<void> {
  const what = `${caller.nickname} calls ${callee.nickname}`;
  const { id } = caller.phone.call(callee.nickname);
  const incoming = await ringing(callee);
  if (incoming !== undefined) await callee.phone.answer(incoming);
  const isUp = await until(() => phaseOf(caller, id) === 'established');
  row('Calls', what, `made: ${check(report, isUp, what)}`);
  await startListening([caller, callee]);
  await Promise.all([caller.phone.play(caller.voice), callee.phone.play(callee.voice)]);
  await sleep(SPEECH_SECONDS * 1000 + 500);
  for (const [listener, speaker] of [
    [caller, callee],
    [callee, caller],
  ] as const) {
    const score = scoreOf(speaker, listener);
    const isHeard = check(
      report,
      score >= NEEDED_SCORE,
      `${listener.nickname} hears ${speaker.nickname}`,
    );
    row(
      '',
      `  ${listener.nickname} hears ${speaker.nickname}`,
      `${score.toFixed(2)}${isHeard === 'NO' ? ', too little' : ''}`,
    );
  }
  await fallSilent([caller, callee]);
  caller.phone.hangUp(id);
  await until(() => callee.phone.calls().length === 0);
}

async function refuse(caller: Actor, callee: Actor, report: Report): Promise<void> {
  const what = `${caller.nickname} calls ${callee.nickname}`;
  const ended = endOfNextCall(caller);
  caller.phone.call(callee.nickname);
  const incoming = await ringing(callee);
  if (incoming !== undefined) callee.phone.decline(incoming);
  await until(() => ended.kind !== undefined);
  row('', what, `refused: ${check(report, ended.kind === 'declined', `${what}, refused`)}`);
}

async function cancel(caller: Actor, callee: Actor, report: Report): Promise<void> {
  const what = `${caller.nickname} calls ${callee.nickname}`;
  const ended = endOfNextCall(callee);
  const { id } = caller.phone.call(callee.nickname);
  await ringing(callee);
  await until(() => phaseOf(caller, id) === 'ringing');
  caller.phone.hangUp(id);
  await until(() => ended.kind !== undefined);
  row('', what, `cancelled: ${check(report, ended.kind === 'cancelled', `${what}, cancelled`)}`);
}

async function write(sender: Actor, reader: Actor, report: Report): Promise<void> {
  const what = `${sender.nickname} writes to ${reader.nickname}`;
  const text = 'Tea at five? Kaffe kl. 17? お茶? ☕';
  await sender.phone.sendMessage(reader.nickname, text);
  const isThere = await until(() =>
    reader.texts.some((got) => got.text === text && got.nickname === sender.nickname),
  );
  row('Texts', what, `arrived: ${check(report, isThere, what)}`);
}

async function meet(actors: readonly Actor[], report: Report): Promise<void> {
  await Promise.all(actors.map(({ phone }) => phone.joinRoom(ROOM)));
  const everybody = actors
    .map(({ nickname }) => nickname)
    .sort()
    .join(', ');
  for (const [index, { nickname, phone }] of actors.entries()) {
    const seen = (): string =>
      phone
        .roster(ROOM)
        .map((participant) => participant.nickname)
        .sort()
        .join(', ');
    const isComplete = await until(() => seen() === everybody);
    const what = `${nickname} sees ${everybody}`;
    row(index === 0 ? 'Lobby' : '', what, check(report, isComplete, what));
  }
}

async function writeToRoom(
  sender: Actor,
  readers: readonly Actor[],
  report: Report,
): Promise<void> {
  const text = 'Hello everybody';
  await sender.phone.sendMessage(`#${ROOM}`, text);
  for (const reader of readers) {
    const isThere = await until(() =>
      reader.texts.some((got) => got.text === text && got.room === ROOM),
    );
    const what = `${sender.nickname} writes, ${reader.nickname} reads`;
    row('', what, `arrived: ${check(report, isThere, what)}`);
  }
}

/** They speak one after the other, while everybody listens all the time. */
async function listenToEachOther(actors: readonly Actor[], report: Report): Promise<void> {
  await startListening(actors);
  for (const { phone, voice } of actors) {
    await phone.play(voice);
    await sleep(SPEECH_SECONDS * 1000 + 300);
  }
  await sleep(400);
  print(
    `\nHeard in the lobby (1.00 is all of a voice, ${NEEDED_SCORE.toFixed(2)} is needed; one's own must be absent):\n`,
  );
  print(`${'listener'.padEnd(12)}${actors.map(({ nickname }) => nickname.padEnd(12)).join('')}`);
  for (const listener of actors) {
    const cells = actors.map((speaker) => cellOf(listener, speaker, report).padEnd(12));
    print(`${listener.nickname.padEnd(12)}${cells.join('')}`);
  }
}

function cellOf(listener: Actor, speaker: Actor, report: Report): string {
  if (listener === speaker) {
    const isGone = isAbsent(scoreSound(soundOf(speaker.voice), listener.ear.sound));
    const what = `${listener.nickname} does not hear herself or himself`;
    return check(report, isGone, what) === 'yes' ? 'absent' : 'HEARD';
  }
  const score = scoreOf(speaker, listener);
  const what = `${listener.nickname} hears ${speaker.nickname} in the lobby`;
  check(report, score >= NEEDED_SCORE, what);
  return score.toFixed(2);
}

async function startListening(actors: readonly Actor[]): Promise<void> {
  for (const { phone, ear } of actors) {
    ear.clear();
    await phone.record(ear);
  }
}

/** Neither speaks nor listens any more: a sound that stays in place begins again with the next call. */
async function fallSilent(actors: readonly Actor[]): Promise<void> {
  for (const { phone } of actors) {
    await phone.play(undefined);
    await phone.record(undefined);
  }
}

async function ringing({ phone }: Actor): Promise<string | undefined> {
  const find = (): string | undefined =>
    phone.calls().find(({ phase }) => phase === 'incoming')?.id;
  await until(() => find() !== undefined);
  return find();
}

function phaseOf({ phone }: Actor, id: string): string | undefined {
  return phone.calls().find((call) => call.id === id)?.phase;
}

function endOfNextCall({ phone }: Actor): { kind: string | undefined } {
  const ended: { kind: string | undefined } = { kind: undefined };
  const forget = phone.on('ended', (_call, end) => {
    ended.kind = end.kind;
    forget();
  });
  return ended;
}

function scoreOf(speaker: Actor, listener: Actor): number {
  return scoreSound(soundOf(speaker.voice), listener.ear.sound).ncc;
}

function soundOf(pcm: Int16Array): Sound {
  const samples = Float32Array.from(pcm, (value) => value / 32768);
  return { samples, sampleRateHz: DEVICE_RATE_HZ };
}

/** Keeps what a phone lets its owner hear. */
class Ear {
  #pieces: Int16Array[] = [];

  write(samples: Int16Array): void {
    this.#pieces.push(samples.slice());
  }

  clear(): void {
    this.#pieces = [];
  }

  get sound(): Sound {
    const length = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    const pcm = new Int16Array(length);
    let at = 0;
    for (const piece of this.#pieces) {
      pcm.set(piece, at);
      at += piece.length;
    }
    return soundOf(pcm);
  }
}
