/**
 * The signalling side: what a message, a registration and a call cost in processor time, and how many a second go.
 *
 *     npm run bench:sip -- [--seconds 6] [--only engine,register,call] [--minutes 10]
 *
 * The whole switch, with store, digest and relay, is a process of its own and is measured by the kernel's books; the
 * load comes from this process. The engine alone is measured in this process, without sockets. With `--minutes` the
 * switch gets half the target load for so long, and its memory is printed as it goes.
 */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
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
const MIB = 1024 * 1024;

/** Rows 1 to 3 of what is asked for. */
const TARGETS = {
  engine: { perSecond: 40_000, cpuMs: 1 / 40 },
  register: { perSecond: 3000, cpuMs: 0.37 },
  call: { perSecond: 500, cpuMs: 1.7 },
} as const;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '6' },
    only: { type: 'string', default: 'parser,engine,memory,options,register,call' },
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
  print(String(running.listeners.find(({ transport }) => transport === 'udp')?.port));
  process.stdin.resume();
  await once(process.stdin, 'end');
  await running.stop();
  await rm(dataFolder, { recursive: true });
}

type Switch = { readonly pid: number; readonly load: SipLoad; stop(): Promise<void> };

async function startSwitchProcess(): Promise<Switch> {
  // The same room for young objects as `npm start` gives.
  const flags = ['--max-semi-space-size=32', ...process.execArgv];
  const child = spawn(process.execPath, [...flags, import.meta.filename, '--switch'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const load = await SipLoad.open({
    server: { host: HOST, port: Number(line.toString()) },
    domain: DOMAIN,
    user: (index) => `u${index}`,
    password: (index) => `p${index}`,
    users: USERS,
  });
  await load.registerAll();
  return {
    pid: child.pid ?? 0,
    load,
    stop: async () => {
      load.close();
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

type Measured = LoadResult & { readonly cpuMs: number };

async function measured(pid: number, run: () => Promise<LoadResult>): Promise<Measured> {
  const before = cpuTimeNs(pid);
  const result = await run();
  return { ...result, cpuMs: (cpuTimeNs(pid) - before) / 1e6 / Math.max(1, result.done) };
}

function noteOf({ failed, p50Ms, p99Ms, maxLagMs }: LoadResult): string {
  const answer = `answer p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)} ms`;
  const late = maxLagMs > 50 ? `; generator late by ${maxLagMs.toFixed(0)} ms` : '';
  return `failed ${failed}; ${answer}${late}`;
}

/** As many as go; then half the target, where the delay is measured. */
async function benchWork(
  under: Switch,
  kind: Kind,
  name: string,
  target?: { perSecond: number; cpuMs: number },
): Promise<void> {
  const { pid, load } = under;
  const seconds = Number(values.seconds);
  await load.asMany(kind, 20, WARM_UP_SECONDS);
  const most = await measured(pid, () => load.asMany(kind, 100, seconds));
  printRow({ work: `${name}, as many as go`, ...most, target, note: noteOf(most) });
  if (target === undefined) return;
  for (const [share, text] of [
    [1, 'at the target rate'],
    [0.5, 'at half the target rate'],
  ] as const) {
    const rate = target.perSecond * share;
    const part = await measured(pid, () => load.atRate(kind, rate, seconds));
    printRow({ work: `${name}, ${text}`, ...part, target, note: noteOf(part) });
  }
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

async function benchLong(under: Switch, minutes: number): Promise<void> {
  const { pid, load } = under;
  const endMs = Date.now() + minutes * 60_000;
  const startedMs = Date.now();
  let failed = 0;
  print(
    '\nhalf the target load, registrations and calls by turns\n  minute   resident MiB   failed',
  );
  while (Date.now() < endMs) {
    failed += (await load.atRate('register', TARGETS.register.perSecond / 2, 10)).failed;
    failed += (await load.atRate('call', TARGETS.call.perSecond / 2, 10)).failed;
    const minute = ((Date.now() - startedMs) / 60_000).toFixed(1);
    const resident = (residentBytes(pid) / MIB).toFixed(0);
    print(`  ${minute.padStart(6)} ${resident.padStart(14)} ${String(failed).padStart(8)}`);
  }
}

async function main(): Promise<void> {
  print(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown'}\n`);
  print(`${'work'.padEnd(44)}  sustained     CPU each     target  ratio`);
  const only = new Set(values.only.split(','));
  if (only.has('parser')) benchParser();
  if (only.has('engine')) benchEngine();
  const isLong = values.minutes !== undefined;
  const needsSwitch = isLong || ['options', 'register', 'call'].some((name) => only.has(name));
  if (needsSwitch) {
    const under = await startSwitchProcess();
    if (only.has('options')) {
      await benchWork(under, 'unknown', 'refused without state (501)');
      await benchWork(under, 'options', 'OPTIONS answered by the registrar');
    }
    if (only.has('register')) {
      await benchWork(under, 'register', 'REGISTER with digest', TARGETS.register);
    }
    if (only.has('call')) await benchWork(under, 'call', 'call, INVITE to BYE', TARGETS.call);
    if (isLong) await benchLong(under, Number(values.minutes));
    print(
      `${'resident memory of the switch'.padEnd(44)} ${(residentBytes(under.pid) / MIB).toFixed(0).padStart(8)} MiB`,
    );
    await under.stop();
  }
  if (only.has('memory')) await benchMemory();
}

await (values.switch ? runSwitch() : main());
