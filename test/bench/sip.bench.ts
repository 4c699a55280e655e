/**
 * The signalling side: what a message, a registration and a call cost in processor time, and how many a second go.
 *
 *     npm run bench:sip -- [--seconds 6] [--rate-seconds 40] [--only start,engine,register,call] [--minutes 10]
 *
 * The whole switch, with store, digest and relay, is a process of its own and is measured by the kernel's books; the
 * load comes from this process. The engine alone is measured in this process, without sockets. With `--minutes` the
 * switch gets half the target load for so long; its memory is printed each minute, and in the end whether it is flat.
 */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadConfig } from '../../config/load.ts';
import { nullLog } from '../../core/log.ts';
import { SipMessage } from '../../core/sip/message.ts';
import { validateRequest } from '../../core/sip/validate.ts';
import { systemClock } from '../../registrar/app/clock.ts';
import { bindingRows } from '../../registrar/app/location/binding-rows.ts';
import { LocationBook } from '../../registrar/app/location/location-book.ts';
import { openStore } from '../../registrar/app/store/store.ts';
import { encodeFrame } from '../../registrar/engine/control/frame.ts';
import { Engine } from '../../registrar/engine/engine.ts';
import { startSwitch } from '../../registrar/main.ts';
import { DEFAULT_LISTENERS, SECRET, sip } from '../support/engine-lab.ts';
import { cpuTimeNs, residentBytes, SipLoad } from '../support/sip-load.ts';
import type { Kind, LoadResult } from '../support/sip-load.ts';
import { SipUri } from '../../core/sip/uri.ts';

const HOST = '127.0.0.1';
const DOMAIN = 'bench.test';
const USERS = 500;
const WARM_UP_SECONDS = 4;
/** More than 64 times T1. */
const REST_MS = 40_000;
const MIB = 1024 * 1024;

/** Rows 1 to 3 of what is asked for. */
const TARGETS = {
  engine: { perSecond: 40_000, cpuMs: 1 / 40 },
  register: { perSecond: 3000, cpuMs: 0.37 },
  call: { perSecond: 500, cpuMs: 1.7, p99Ms: 10 },
} as const;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '6' },
    // Longer than 64 times T1, for so long answered transactions are kept.
    'rate-seconds': { type: 'string', default: '40' },
    only: { type: 'string', default: 'start,parser,engine,memory,options,register,call' },
    minutes: { type: 'string' },
    switch: { type: 'boolean', default: false },
  },
});

type Row = {
  readonly work: string;
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly target?: { readonly perSecond: number; readonly cpuMs: number } | undefined;
  readonly note?: string;
};

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printRow({ work, perSecond, cpuMs, target, note = '' }: Row): void {
  const ratio = target === undefined ? '' : (cpuMs / target.cpuMs).toFixed(2);
  const wanted = target === undefined ? '' : `${target.cpuMs.toFixed(3)} ms`;
  print(
    [
      work.padEnd(44),
      `${Math.round(perSecond)}/s`.padStart(10),
      `${cpuMs.toFixed(4)} ms`.padStart(12),
      wanted.padStart(10),
      ratio.padStart(6),
      `  ${note}`,
    ].join(' '),
  );
}

// --- the switch under test, in a process of its own

async function runSwitch(): Promise<void> {
  const dataFolder = await mkdtemp(path.join(tmpdir(), 'parley-bench-'));
  const config = loadConfig({
    environment: {},
    flags: {
      dataFolder,
      'sip.port': '0',
      'sip.listenAddresses': HOST,
      'sip.domain': DOMAIN,
      'rtp.listenAddresses': HOST,
      'tls.enabled': 'false',
    },
  });
  const running = await startSwitch(config, { log: nullLog });
  for (let index = 0; index < USERS; index++) {
    const nickname = `u${index}`;
    await running.context.accounts.add({ nickname, password: `p${index}` });
  }
  process.on('message', (message) => {
    const rested = message === 'rest' ? running.skipEngineTime(REST_MS) : Promise.resolve();
    void rested
      .then(() => running.counters())
      .then((counters) => process.send?.(counters?.refusals ?? {}));
  });
  print(String(running.listeners.find(({ transport }) => transport === 'udp')?.port));
  process.stdin.resume();
  await once(process.stdin, 'end');
  process.disconnect();
  await running.stop();
  await rm(dataFolder, { recursive: true });
}

type Counts = Readonly<Record<string, number>>;

type Switch = {
  readonly pid: number;
  readonly load: SipLoad;
  /** What the engine has refused since it began, by reason. */
  refusals(): Promise<Counts>;
  /** As if nothing had happened for so long that all that is only kept for repetitions is gone. */
  rest(): Promise<void>;
  stop(): Promise<void>;
};

async function startSwitchProcess(): Promise<Switch> {
  const child = spawn(process.execPath, [...process.execArgv, import.meta.filename, '--switch'], {
    stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
  });
  const { stdin, stdout, pid = 0 } = child;
  if (stdin === null || stdout === null) throw new Error('the switch has no pipes');
  const [line] = (await once(stdout, 'data')) as [Buffer];
  const load = await SipLoad.open({
    server: { host: HOST, port: Number(line.toString()) },
    domain: DOMAIN,
    user: (index) => `u${index}`,
    password: (index) => `p${index}`,
    users: USERS,
  });
  await load.registerAll();
  const ask = async (question: 'refusals' | 'rest'): Promise<Counts> => {
    child.send(question);
    const [refusals] = (await once(child, 'message')) as [Counts];
    return refusals;
  };
  return {
    pid,
    load,
    refusals: () => ask('refusals'),
    rest: async () => {
      await ask('rest');
    },
    stop: async () => {
      load.close();
      stdin.end();
      await once(child, 'exit');
    },
  };
}

type Measured = LoadResult & { readonly cpuMs: number; readonly refusals: Counts };

async function measured(under: Switch, run: () => Promise<LoadResult>): Promise<Measured> {
  const refusedBefore = await under.refusals();
  const before = cpuTimeNs(under.pid);
  const result = await run();
  const cpuMs = (cpuTimeNs(under.pid) - before) / 1e6 / Math.max(1, result.done);
  return { ...result, cpuMs, refusals: difference(await under.refusals(), refusedBefore) };
}

function difference(after: Counts, before: Counts): Counts {
  const changed = Object.entries(after).map(
    ([name, count]) => [name, count - (before[name] ?? 0)] as const,
  );
  return Object.fromEntries(changed.filter(([, count]) => count !== 0));
}

/** What failed, as the load saw it and as the engine counted it. */
function failuresOf({ failed, failures, refusals }: Measured): string {
  if (failed === 0) return 'failed 0';
  const list = (counts: Counts): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name}: ${count}`)
      .join(', ');
  return `failed ${failed} (${list(failures)}; engine: ${list(refusals) || 'nothing refused'})`;
}

function delaysOf({ p50Ms, p99Ms, p99LagMs, maxLagMs }: Measured): string {
  const answer = `answer p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)} ms`;
  return `${answer}; generator late p99 ${p99LagMs.toFixed(1)}, most ${maxLagMs.toFixed(0)} ms`;
}

type Target = { readonly perSecond: number; readonly cpuMs: number; readonly p99Ms?: number };

/** As many as go. */
async function benchWork(
  under: Switch,
  kind: Kind,
  name: string,
  target?: Target,
): Promise<Measured> {
  const { load } = under;
  const seconds = Number(values.seconds);
  await under.rest();
  await load.asMany(kind, 20, WARM_UP_SECONDS);
  const most = await measured(under, () => load.asMany(kind, 100, seconds));
  const { p50Ms, p99Ms } = most;
  const answer = `answer p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)} ms`;
  printRow({
    work: `${name}, 100 at a time`,
    ...most,
    target,
    note: `${failuresOf(most)}; ${answer}`,
  });
  return most;
}

/** The highest rate that goes without a failure, and the delay at half the target rate. */
async function benchRates(under: Switch, kind: Kind, name: string, target: Target): Promise<void> {
  const most = await benchWork(under, kind, name, target);
  const seconds = Number(values['rate-seconds']);
  const atRate = async (rate: number): Promise<Measured> => {
    await under.rest();
    return measured(under, () => under.load.atRate(kind, rate, seconds));
  };
  const half = await atRate(target.perSecond / 2);
  const wanted = target.p99Ms === undefined ? '' : `; p99 wanted ${target.p99Ms} ms`;
  // The processor time is to be that of the target rate.
  printRow({
    work: `${name}, half the target rate`,
    ...half,
    note: `${failuresOf(half)}; ${delaysOf(half)}${wanted}`,
  });
  const { best, failing } = await highestRate(target.perSecond, most.perSecond, atRate);
  const above =
    failing === undefined ? '' : `; at ${Math.round(failing.rate)}/s ${failuresOf(failing.part)}`;
  if (best !== undefined) {
    const note = `${failuresOf(best.part)}; ${delaysOf(best.part)}${above}`;
    printRow({ work: `${name}, without failure`, ...best.part, target, note });
  } else print(`${`${name}, without failure`.padEnd(44)} no rate that was tried${above}`);
  const sustained = best?.part.perSecond ?? 0;
  const ratio = (sustained / target.perSecond).toFixed(2);
  print(`${''.padEnd(44)} ${Math.round(sustained)}/s of ${target.perSecond}/s wanted: ${ratio}`);
}

type Tried = { readonly rate: number; readonly part: Measured };

const RATE_STEP = 1.25;
const MAX_STEPS = 4;
/** Of the rate that was asked for: what is less has not been sustained, even if nothing failed. */
const LEAST_SHARE = 0.97;

/**
 * The target, and from there up until something fails or the most that ever went is near; or down until nothing fails.
 */
async function highestRate(
  target: number,
  mostPerSecond: number,
  attempt: (rate: number) => Promise<Measured>,
): Promise<{ best: Tried | undefined; failing: Tried | undefined }> {
  let best: Tried | undefined;
  let failing: Tried | undefined;
  let rate = target;
  for (let step = 0; step < MAX_STEPS; step++) {
    const tried = { rate, part: await attempt(rate) };
    const isClean = tried.part.failed === 0 && tried.part.perSecond >= rate * LEAST_SHARE;
    if (isClean) best = tried;
    else failing = tried;
    const goesUp = failing === undefined;
    const isDone = goesUp ? rate * RATE_STEP > mostPerSecond : best !== undefined;
    if (isDone) break;
    rate = goesUp ? rate * RATE_STEP : rate / RATE_STEP;
    if (best !== undefined && rate <= best.rate) break;
  }
  return { best, failing };
}

// --- the program as it is installed

const PROGRAM = path.join(import.meta.dirname, '../../dist/registrar/cli/parley.js');
const ANSWER_TARGET_MS = 1000;
const IDLE_TARGET = { cpuShare: 0.01, bytes: 150e6 };
const IDLE_SECONDS = 5;
const START_LIMIT_MS = 20_000;

/** A port that nobody has at the moment. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, HOST);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

/** Milliseconds from now until the port answers an OPTIONS with 200; undefined when it does not. */
async function untilAnswered(port: number): Promise<number | undefined> {
  const socket = createSocket('udp4');
  let answeredMs: number | undefined;
  socket.on('message', (bytes) => {
    // Without its application the engine says 503.
    if (bytes.toString('latin1').startsWith('SIP/2.0 200 ')) answeredMs ??= performance.now();
  });
  // Nobody listens yet: the system says so, and we ask again.
  socket.on('error', () => undefined);
  const startedMs = performance.now();
  for (let asked = 1; answeredMs === undefined; asked++) {
    if (performance.now() - startedMs > START_LIMIT_MS) break;
    socket.send(options(asked, `z9hG4bKstart${asked}`), port, HOST);
    await sleep(10);
  }
  socket.close();
  return answeredMs === undefined ? undefined : answeredMs - startedMs;
}

async function benchStart(): Promise<void> {
  if (!existsSync(PROGRAM)) {
    print('start: not built; npm run build makes what is measured here');
    return;
  }
  const dataFolder = await mkdtemp(path.join(tmpdir(), 'parley-bench-'));
  const port = await freePort();
  const words = [PROGRAM, 'serve', '--port', String(port), '--data', dataFolder];
  const child = spawn(process.execPath, words, { stdio: 'ignore' });
  const { pid = 0 } = child;
  const answeredMs = await untilAnswered(port);
  await sleep(1000);
  const cpuBefore = cpuTimeNs(pid);
  await sleep(IDLE_SECONDS * 1000);
  const cpuShare = (cpuTimeNs(pid) - cpuBefore) / (IDLE_SECONDS * 1e9);
  const bytes = residentBytes(pid);
  const rows = [
    ['start to the first answer', answeredMs ?? NaN, ANSWER_TARGET_MS, 'ms'],
    ['processor when idle', cpuShare * 100, IDLE_TARGET.cpuShare * 100, '%'],
    ['memory when idle', bytes / 1e6, IDLE_TARGET.bytes / 1e6, 'MB'],
  ] as const;
  for (const [what, value, target, unit] of rows) {
    const ratio = (value / target).toFixed(2).padStart(6);
    print(
      `${what.padEnd(44)} ${value.toFixed(1).padStart(10)} ${unit.padEnd(2)} of ${target} ${unit}: ${ratio}`,
    );
  }
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
  await rm(dataFolder, { recursive: true });
}

// --- without sockets

function options(index: number, branch = `z9hG4bK${index}`): Buffer {
  return sip([
    `OPTIONS sip:${HOST} SIP/2.0`,
    `Via: SIP/2.0/UDP ${HOST}:5070;branch=${branch};rport`,
    'Max-Forwards: 70',
    `From: <sip:alice@${DOMAIN}>;tag=${index}`,
    `To: <sip:${DOMAIN}>`,
    `Call-ID: ${index}@bench`,
    'CSeq: 1 OPTIONS',
    `Contact: <sip:alice@${HOST}:5070>`,
    'Accept: application/sdp',
    'User-Agent: load',
  ]);
}

const INVITE_SDP = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n';

function invite(index: number): Buffer {
  const head = [
    `INVITE sip:bob@${HOST} SIP/2.0`,
    `Via: SIP/2.0/UDP ${HOST}:5070;branch=z9hG4bK${index};rport`,
    'Max-Forwards: 70',
    `From: <sip:alice@${DOMAIN}>;tag=${index}`,
    `To: <sip:bob@${DOMAIN}>`,
    `Call-ID: ${index}@bench`,
    'CSeq: 1 INVITE',
    `Contact: <sip:alice@${HOST}:5070>`,
    'Content-Type: application/sdp',
  ];
  return sip(head, `${INVITE_SDP}m=audio 4000 RTP/AVP 0\r\n`);
}

const REMOTE = { address: HOST, port: 5070 };

/** An engine with an application that answers each request that it is handed with 200. */
class AnsweringEngine {
  readonly engine: Engine;
  nowMs = 0;
  answered = 0;
  #replies = 0;

  constructor() {
    this.engine = new Engine({
      listeners: DEFAULT_LISTENERS,
      secret: SECRET,
      random: randomBytes,
      wallClockMs: () => 1_800_000_000_000 + this.nowMs,
    });
    this.engine.handleInput({ kind: 'controlOpened', controlId: 1 }, 0);
    for (const command of [`authenticate|${SECRET}|`, 'route|options', 'route|invite']) {
      this.#control(encodeFrame(`m|${command}`));
    }
  }

  receive(bytes: Buffer): void {
    this.engine.handleInput({ kind: 'datagram', listenerId: 1, remote: REMOTE, bytes }, this.nowMs);
    this.#drain();
  }

  #control(bytes: Buffer): void {
    this.engine.handleInput({ kind: 'controlBytes', controlId: 1, bytes }, this.nowMs);
    this.#drain();
  }

  #drain(): void {
    for (let output = this.engine.pollOutput(); output; output = this.engine.pollOutput()) {
      if (output.kind === 'sendControl') this.#reported(output.bytes);
      else if (output.kind === 'sendDatagram') this.answered += 1;
    }
  }

  #reported(bytes: Buffer): void {
    const [, kind, source, , , , , , transaction = ''] = bytes
      .toString('latin1', 0, bytes.indexOf('\r\n'))
      .split('|');
    if (kind !== 'sip' || source !== 'network') return;
    this.#replies += 1;
    const leader = `r${this.#replies}|sip|${transaction}|`;
    this.#control(encodeFrame(leader, Buffer.from('SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n')));
  }
}

/** CPU time of this thread's process for `count` calls of `run`. */
function inMemory(
  count: number,
  run: (index: number) => void,
): { perSecond: number; cpuMs: number } {
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  for (let index = 0; index < count; index++) run(index);
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { perSecond: count / seconds, cpuMs: (user + system) / 1000 / count };
}

function benchParser(): void {
  const bytes = invite(1);
  let faults = 0;
  const run = (): void => {
    if (validateRequest(SipMessage.parse(bytes)) !== undefined) faults += 1;
  };
  inMemory(100_000, run);
  const result = inMemory(500_000, run);
  if (faults > 0) throw new Error('the message of the parser benchmark is not valid');
  printRow({ work: 'parser: INVITE, parsed and checked', ...result });
}

/** Five thousand a second of virtual time, so that transactions linger and are forgotten as in life. */
const PER_VIRTUAL_MS = 5;

function benchEngine(): void {
  const lab = new AnsweringEngine();
  const receive = (index: number): void => {
    if (index % PER_VIRTUAL_MS === 0) lab.nowMs += 1;
    lab.receive(options(index));
  };
  const warmUp = 200_000;
  inMemory(warmUp, receive);
  lab.answered = 0;
  const making = inMemory(100_000, (index) => options(index));
  const count = 200_000;
  const all = inMemory(count, (index) => {
    receive(warmUp + index);
  });
  if (lab.answered !== count) throw new Error(`${count - lab.answered} OPTIONS were not answered`);
  const cpuMs = all.cpuMs - making.cpuMs;
  printRow({
    work: 'engine alone: OPTIONS to an application and back',
    perSecond: 1000 / cpuMs,
    cpuMs,
    target: TARGETS.engine,
    note: 'in memory, one core; without making the requests',
  });
}

// --- memory

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function usedBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function printMemory(what: string, count: number, before: number): void {
  const each = (usedBytes() - before) / count;
  print(`${what.padEnd(44)} ${String(Math.round(each)).padStart(8)} bytes`);
}

async function benchMemory(): Promise<void> {
  const count = 20_000;
  const lab = new AnsweringEngine();
  let before = usedBytes();
  for (let index = 0; index < count; index++) lab.receive(options(index));
  printMemory('memory of an answered transaction', count, before);
  const { serverTransactions: kept } = lab.engine.stats();
  if (kept !== count) throw new Error(`${kept} transactions instead of ${count}`);
  const dialogs = new AnsweringEngine();
  before = usedBytes();
  for (let index = 0; index < count; index++) dialogs.receive(invite(index));
  printMemory('memory of a dialog, its INVITE included', count, before);
  const { dialogs: held } = dialogs.engine.stats();
  if (held !== count) throw new Error(`${held} dialogs instead of ${count}`);
  await memoryOfDevices(count);
}

async function memoryOfDevices(count: number): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'parley-bench-'));
  const store = await openStore(folder);
  const book = new LocationBook({
    rows: bindingRows(store),
    policy: loadConfig({ environment: {} }).registration,
    clock: systemClock(),
    log: nullLog,
  });
  const before = usedBytes();
  const registrations: Promise<unknown>[] = [];
  for (let index = 0; index < count; index++) {
    const uri = SipUri.parse(`sip:u${index}@192.0.2.${index % 250}:5060`);
    const contact = { uri, parameters: '', expiresSeconds: 3600, q: 1 };
    registrations.push(
      book.register({
        nickname: `u${index}`,
        contacts: [{ ...contact, instanceId: undefined, regId: undefined }],
        expiresSeconds: undefined,
        callId: `${index}@bench`,
        cseq: 1,
        userAgent: 'load',
        sourceAddress: `192.0.2.${index % 250}`,
        sourcePort: 5060,
        transport: 'udp',
      }),
    );
  }
  await Promise.all(registrations);
  registrations.length = 0;
  printMemory('memory of a registered device', count, before);
  book.close();
  await store.close();
  await rm(folder, { recursive: true });
}

// --- ten minutes

/** Memory may rise by so much a minute, of what it is, and still count as flat. */
const FLAT_PER_MINUTE = 0.005;
/** Answered transactions are kept for 64 times T1, and V8 takes its time to find its size. */
const SETTLING_MINUTES = 3;
/** Collections come and go by ten MiB: fewer samples say nothing. */
const LEAST_SAMPLES = 6;

const TURN_SECONDS = 5;
const TURNS_PER_MINUTE = 60 / TURN_SECONDS / 2;

type Sample = { readonly minute: number; readonly bytes: number };

/** Least squares, in bytes a minute. */
function slopeOf(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const x = mean(({ minute }) => minute);
  const y = mean(({ bytes }) => bytes);
  const above = mean(({ minute, bytes }) => (minute - x) * (bytes - y));
  return above / mean(({ minute }) => (minute - x) ** 2);
}

function verdictOn(samples: readonly Sample[]): string {
  const settled = samples.filter(({ minute }) => minute >= SETTLING_MINUTES);
  if (settled.length < LEAST_SAMPLES)
    return `too short for a verdict: ${SETTLING_MINUTES} minutes to settle, then ${LEAST_SAMPLES} at least`;
  const perMinute = slopeOf(settled);
  const now = settled.at(-1)?.bytes ?? NaN;
  const isFlat = perMinute <= now * FLAT_PER_MINUTE;
  return `${isFlat ? 'flat' : 'NOT FLAT'}: ${(perMinute / MIB).toFixed(2)} MiB a minute after the first ${SETTLING_MINUTES}`;
}

async function benchLong(under: Switch, minutes: number): Promise<void> {
  const { pid, load } = under;
  const startedMs = performance.now();
  const samples: Sample[] = [];
  let failed = 0;
  print('\nhalf the target load, registrations and calls by turns');
  print('  minute   resident MiB   failed   CPU of one core');
  for (let minute = 1; minute <= minutes; minute++) {
    const cpuBefore = cpuTimeNs(pid);
    for (let turn = 0; turn < TURNS_PER_MINUTE; turn++) {
      failed += (await load.atRate('register', TARGETS.register.perSecond / 2, TURN_SECONDS))
        .failed;
      failed += (await load.atRate('call', TARGETS.call.perSecond / 2, TURN_SECONDS)).failed;
    }
    const bytes = residentBytes(pid);
    samples.push({ minute: (performance.now() - startedMs) / 60_000, bytes });
    const share = (cpuTimeNs(pid) - cpuBefore) / 60e9;
    print(
      [
        String(minute).padStart(8),
        (bytes / MIB).toFixed(0).padStart(14),
        String(failed).padStart(8),
        `${(share * 100).toFixed(0)} %`.padStart(17),
      ].join(' '),
    );
  }
  print(`  ${verdictOn(samples)}`);
}

/** What needs the whole switch. */
async function benchSwitch(only: ReadonlySet<string>): Promise<void> {
  const under = await startSwitchProcess();
  if (only.has('options')) {
    await benchWork(under, 'unknown', 'refused without state (501)');
    await benchWork(under, 'options', 'OPTIONS answered by the registrar');
  }
  if (only.has('register')) {
    await benchRates(under, 'register', 'REGISTER with digest', TARGETS.register);
  }
  if (only.has('call')) await benchRates(under, 'call', 'call, INVITE to BYE', TARGETS.call);
  if (values.minutes !== undefined) await benchLong(under, Number(values.minutes));
  const resident = (residentBytes(under.pid) / MIB).toFixed(0).padStart(8);
  print(`${'resident memory of the switch'.padEnd(44)} ${resident} MiB`);
  await under.stop();
}

async function main(): Promise<void> {
  print(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown'}\n`);
  print(`${'work'.padEnd(44)}  sustained     CPU each     target  ratio`);
  const only = new Set(values.only.split(','));
  if (only.has('start')) await benchStart();
  if (only.has('parser')) benchParser();
  if (only.has('engine')) benchEngine();
  const isSwitchNeeded = ['options', 'register', 'call'].some((name) => only.has(name));
  if (isSwitchNeeded || values.minutes !== undefined) await benchSwitch(only);
  if (only.has('memory')) await benchMemory();
}

await (values.switch ? runSwitch() : main());
