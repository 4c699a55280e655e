/**
 * Our relay beside rtpengine: processor time for each G.711 packet that is forwarded, and how long it takes.
 *
 *     npm run bench:relay -- [--legs 500] [--seconds 5] [--rounds 3]
 *
 * Each relay runs in a process of its own and is measured by the kernel's books; the generator is this process. Both
 * are measured by turns in one run: compare the ratio, the figures themselves change with the machine.
 */

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import { connectMediaRelay, startMediaRelay } from '../../media-relay/public.ts';
import type { MediaRelay } from '../../media-relay/public.ts';
import { freePorts } from '../support/free-ports.ts';
import { isInstalled } from '../support/peers.ts';

const HOST = '127.0.0.1';
const PACKET_BYTES = 172;
const PACKET_MS = 20;
/** A generator that was this late has measured itself. */
const MAX_LAG_MS = 100;

const { values } = parseArgs({
  options: {
    legs: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    relay: { type: 'boolean', default: false },
  },
});

type Candidate = {
  readonly name: string;
  readonly pid: number;
  readonly relay: MediaRelay;
  readonly legPorts: readonly number[];
};

type Round = {
  readonly cpuMicroseconds: number;
  readonly lossPercent: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly isValid: boolean;
};

/** This file again, as the process that is measured. */
async function runRelay(): Promise<void> {
  const relay = await startMediaRelay({
    addresses: [{ bind: HOST }],
    ng: { host: HOST, port: 0 },
  });
  process.stdout.write(`${relay.ngEndpoint?.port ?? 0}\n`);
  process.stdin.resume();
  process.stdin.once('end', () => void relay.close());
}

async function startOurs(): Promise<{ pid: number; port: number }> {
  const child = spawn(process.execPath, [...process.execArgv, import.meta.filename, '--relay'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { pid: child.pid ?? 0, port: Number(line.toString()) };
}

async function startRtpengine(legs: number): Promise<{ pid: number; port: number }> {
  const port = await freePorts(2);
  const child = spawn(
    'rtpengine',
    [
      `--interface=${HOST}`,
      `--listen-ng=${HOST}:${port}`,
      '--table=-1',
      '--port-min=16400',
      `--port-max=${16_400 + 4 * legs + 400}`,
      '--num-threads=1',
      '--foreground',
      '--log-level=3',
    ],
    { stdio: 'ignore' },
  );
  await once(child, 'spawn');
  process.once('exit', () => child.kill());
  return { pid: child.pid ?? 0, port };
}

/** Calls between legs 2k and 2k + 1, all of them at the generator's one socket. */
async function setUp(
  name: string,
  { pid, port }: { pid: number; port: number },
  generatorPort: number,
  legs: number,
): Promise<Candidate> {
  const relay = await connectMediaRelay({ host: HOST, port, deadlineMs: 10_000 });
  await relay.ping();
  const sdp = [
    'v=0',
    `o=- 1 1 IN IP4 ${HOST}`,
    's=-',
    `c=IN IP4 ${HOST}`,
    't=0 0',
    `m=audio ${generatorPort} RTP/AVP 0`,
    '',
  ].join('\r\n');
  const portOf = (reply: { sdp: string }): number =>
    parseSessionDescription(reply.sdp).media[0]?.port ?? 0;
  const legPorts: number[] = [];
  for (let index = 0; index < legs; index += 2) {
    const call = { callId: `bench-${index}`, fromTag: 'a', sdp };
    const towardsB = portOf(await relay.offer(call));
    legPorts.push(portOf(await relay.answer({ ...call, toTag: 'b' })), towardsB);
  }
  return { name, pid, relay, legPorts };
}

/** Nanoseconds of processor time of all threads (proc(5), schedstat). */
function cpuTimeNs(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ran = '0'] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    total += Number(ran);
  }
  return total;
}

/** Sends on every leg every 20 ms, evenly spread, and waits for what comes back. */
class Generator {
  readonly #socket: Socket;
  readonly #delaysMs: number[] = [];
  readonly #sequences: Uint16Array;
  #maxLagMs = 0;

  private constructor(socket: Socket, legs: number) {
    this.#socket = socket;
    this.#sequences = new Uint16Array(legs);
    socket.on('message', (packet) => {
      if (packet.length === PACKET_BYTES) {
        this.#delaysMs.push(performance.now() - packet.readDoubleBE(12));
      }
    });
  }

  static async open(legs: number): Promise<Generator> {
    const socket = createSocket({
      type: 'udp4',
      recvBufferSize: 4 * 1024 * 1024,
      lookup: (host, _options, callback) => {
        callback(null, host, 4);
      },
    });
    // The look-up answers at once, so the event may come before `bind` returns.
    const listening = once(socket, 'listening');
    socket.bind(0, HOST);
    await listening;
    return new Generator(socket, legs);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async run({ pid, legPorts }: Candidate, seconds: number): Promise<Round> {
    await this.#send(legPorts, 1);
    this.#delaysMs.length = 0;
    this.#maxLagMs = 0;
    const cpuBefore = cpuTimeNs(pid);
    const sent = await this.#send(legPorts, seconds);
    const cpuNs = cpuTimeNs(pid) - cpuBefore;
    const delays = this.#delaysMs.toSorted((a, b) => a - b);
    const at = (part: number): number => delays[Math.floor(delays.length * part)] ?? NaN;
    return {
      cpuMicroseconds: cpuNs / 1000 / Math.max(1, delays.length),
      lossPercent: (100 * (sent - delays.length)) / sent,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      isValid: this.#maxLagMs <= MAX_LAG_MS,
    };
  }

  close(): void {
    this.#socket.close();
  }

  /** @returns how many were sent; everything that was going to come has come then */
  async #send(legPorts: readonly number[], seconds: number): Promise<number> {
    const intervalMs = PACKET_MS / legPorts.length;
    const total = Math.round((seconds * 1000) / intervalMs);
    const startedMs = performance.now();
    for (let index = 0; index < total;) {
      const lateMs = performance.now() - startedMs - index * intervalMs;
      this.#maxLagMs = Math.max(this.#maxLagMs, lateMs);
      const due = Math.min(total, Math.ceil((performance.now() - startedMs) / intervalMs));
      for (; index < due; index++) this.#sendOne(legPorts, index % legPorts.length);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    return total;
  }

  #sendOne(legPorts: readonly number[], leg: number): void {
    const packet = Buffer.alloc(PACKET_BYTES);
    const sequence = (this.#sequences[leg] ?? 0) + 1;
    this.#sequences[leg] = sequence;
    packet[0] = 0x80;
    packet.writeUInt16BE(sequence & 0xffff, 2);
    packet.writeUInt32BE((sequence * 160) >>> 0, 4);
    packet.writeUInt32BE(0x10000000 + leg, 8);
    packet.writeDoubleBE(performance.now(), 12);
    this.#socket.send(packet, legPorts[leg] ?? 0, HOST);
  }
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function table(results: ReadonlyMap<string, readonly Round[]>, legs: number): void {
  print(`\nrelay       kpps   CPU us/packet   loss %   p50 ms   p99 ms   (${legs} legs)`);
  const costs = new Map<string, number>();
  for (const [name, rounds] of results) {
    const valid = rounds.filter(({ isValid }) => isValid);
    const of = (field: keyof Omit<Round, 'isValid'>): number =>
      median(valid.map((round) => round[field]));
    costs.set(name, of('cpuMicroseconds'));
    const cells = [
      name.padEnd(10),
      (legs / PACKET_MS).toFixed(1).padStart(5),
      of('cpuMicroseconds').toFixed(1).padStart(15),
      of('lossPercent').toFixed(3).padStart(8),
      of('p50Ms').toFixed(2).padStart(8),
      of('p99Ms').toFixed(2).padStart(8),
    ];
    const spoiled = rounds.length - valid.length;
    print(
      cells.join(' ') + (spoiled > 0 ? `   ${spoiled} rounds spoiled by a slow generator` : ''),
    );
  }
  const [ours, theirs] = [costs.get('parley'), costs.get('rtpengine')];
  if (ours !== undefined && theirs !== undefined) {
    print(`ratio parley / rtpengine: ${(ours / theirs).toFixed(2)}`);
  }
}

async function bench(): Promise<void> {
  const legs = 2 * Math.ceil(Number(values.legs) / 2);
  const generator = await Generator.open(legs);
  const candidates = [await setUp('parley', await startOurs(), generator.port, legs)];
  if (isInstalled('rtpengine')) {
    candidates.push(await setUp('rtpengine', await startRtpengine(legs), generator.port, legs));
  } else print('rtpengine is not installed (Debian: rtpengine-daemon): no comparison');
  const results = new Map<string, Round[]>(candidates.map(({ name }) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const candidate of candidates) {
      results.get(candidate.name)?.push(await generator.run(candidate, Number(values.seconds)));
    }
  }
  table(results, legs);
  generator.close();
  for (const { relay, pid } of candidates) {
    await relay.close();
    process.kill(pid);
  }
}

await (values.relay ? runRelay() : bench());
