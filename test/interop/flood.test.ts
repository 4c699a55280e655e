import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../config/load.ts';
import { nullLog } from '../../core/log.ts';
import { startSwitch } from '../../registrar/main.ts';
import { freePorts } from '../support/free-ports.ts';
import { requirePeer } from '../support/peers.ts';
import { Program } from '../support/program.ts';
import { RtpPeer } from '../support/rtp-peer.ts';
import { SipPeer, type Call } from '../support/sip-peer.ts';
import { sippPort } from '../support/sipp.ts';

const PARLEY = path.resolve(import.meta.dirname, '../../registrar/cli/parley.ts');
const GARBAGE = path.resolve(import.meta.dirname, '../support/datagram-flood.ts');
const SCENARIO = path.resolve(import.meta.dirname, 'sipp/flood.xml');
const LOOPBACK = '127.0.0.1';
const DOMAIN = 'parley.test';
const CALLS = 20;
const FLOOD_SECONDS = 10;
const TIMES_CAPACITY = 10;
/** When the machine has no time for the generators, what they managed must at least have been a flood. */
const LEAST_TIMES_CAPACITY = 3;
/** Of the two generators together; more than this is not to be had from one processor. */
const MOST_PER_SECOND = 120_000;
const CALIBRATION_MS = 1_500;
const WINDOW = 64;
const PACKET_MS = 20;
/** Loss of the calls' sound under flood: what the kernel throws away while nobody gets a processor. */
const MOST_LOSS = 0.1;
/** What the flood may leave in the memory of the switch: transactions are kept for half a minute to answer repetitions. */
const MOST_GROWTH_MIB = 400;
/** Until a REGISTER and an OPTIONS are answered after it, besides what they take on a machine that is busy anyway. */
const BACK_MS = 1_000;
const PATIENCE_MS = 30_000;

/** Its line in the log that counts things. */
type Told = {
  readonly counters: { readonly refusals: Readonly<Record<string, number>> };
  readonly holdings: { readonly calls: number; readonly engine: Readonly<Record<string, number>> };
};

type Talk = {
  readonly caller: Call;
  readonly callee: Call;
  readonly legs: readonly [RtpPeer, RtpPeer];
};

describe('a flood of REGISTER, OPTIONS and garbage at ten times what the switch can take', function () {
  this.timeout(180_000);
  let folder: string | undefined;
  let port: number;
  let parley: Program | undefined;
  const peers: SipPeer[] = [];
  const talks: Talk[] = [];
  const sent = new Map<RtpPeer, number>();
  let sound: NodeJS.Timeout | undefined;

  before(async function () {
    requirePeer(this, 'sipp');
    folder = await mkdtemp(path.join(tmpdir(), 'parley-flood-'));
    port = await freePorts(1);
    await makeAccounts();
    parley = await startParley();
    const alice = await phone('alice');
    for (let i = 0; i < CALLS; i += 1) talks.push(await talk(alice, await phone(`callee${i}`)));
    startSound();
  });

  after(async () => {
    clearInterval(sound);
    for (const { legs } of talks) for (const leg of legs) leg.close();
    await Promise.allSettled(peers.map((peer) => peer.close()));
    await parley?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  function home(): string {
    assert.ok(folder, 'there is no folder');
    return folder;
  }

  function switchProcess(): Program {
    assert.ok(parley, 'the switch does not run');
    return parley;
  }

  async function makeAccounts(): Promise<void> {
    const flags = {
      dataFolder: home(),
      'sip.port': '0',
      'sip.domain': DOMAIN,
      'sip.listenAddresses': LOOPBACK,
      'rtp.listenAddresses': LOOPBACK,
    };
    const running = await startSwitch(loadConfig({ environment: {}, flags }), { log: nullLog });
    const { accounts } = running.context;
    const people = ['alice', ...Array.from({ length: CALLS }, (_, i) => `callee${i}`)];
    for (const nickname of people) {
      await accounts.add({ nickname, password: 'secret', displayName: nickname });
    }
    await running.stop();
  }

  async function startParley(): Promise<Program> {
    const program = await Program.start(process.execPath, ['--import', 'tsx', PARLEY, 'serve'], {
      name: 'parley serve',
      env: {
        ...process.env,
        PORT: String(port),
        PARLEY_DATA_FOLDER: home(),
        PARLEY_SIP_DOMAIN: DOMAIN,
        PARLEY_SIP_LISTEN_ADDRESSES: LOOPBACK,
        PARLEY_RTP_LISTEN_ADDRESSES: LOOPBACK,
      },
    });
    await program.waitFor(/What to do next/, PATIENCE_MS);
    return program;
  }

  async function phone(user: string): Promise<SipPeer> {
    const server = { address: LOOPBACK, port };
    const peer = await SipPeer.open({
      server,
      user,
      domain: DOMAIN,
      password: 'secret',
      timeoutMs: PATIENCE_MS,
    });
    peers.push(peer);
    await peer.register();
    return peer;
  }

  async function talk(alice: SipPeer, bob: SipPeer): Promise<Talk> {
    const legs = [await RtpPeer.open(), await RtpPeer.open()] as const;
    const caller = await alice.invite(`sip:${bob.user}@${DOMAIN}`, { sdp: legs[0].sdp() });
    const callee = await bob.expectCall();
    callee.ring();
    const acknowledged = callee.answer(legs[1].sdp());
    await caller.answered();
    await acknowledged;
    legs[0].setRemote(caller.remoteSdp);
    legs[1].setRemote(callee.remoteSdp);
    return { caller, callee, legs };
  }

  /** Every leg speaks, a packet every 20 ms, until the test ends. */
  function startSound(): void {
    const payload = Buffer.alloc(160, 0xff);
    const startedMs = performance.now();
    let spoken = 0;
    sound = setInterval(() => {
      const due = Math.floor((performance.now() - startedMs) / PACKET_MS);
      // After a pause of ours it goes on, and does not catch up: a burst would say nothing of the switch.
      if (due > spoken) {
        spoken = due;
        for (const { legs } of talks) {
          for (const leg of legs) {
            leg.send(payload);
            sent.set(leg, (sent.get(leg) ?? 0) + 1);
          }
        }
      }
    }, PACKET_MS / 2);
  }

  /** How many requests a second it answers when there are always some waiting. */
  async function capacity(): Promise<number> {
    const socket = dgram.createSocket('udp4');
    let asked = 0;
    let answered = 0;
    const ask = (): void => {
      asked += 1;
      const method = asked % 2 === 0 ? 'REGISTER' : 'OPTIONS';
      const { port: own } = socket.address();
      socket.send(
        [
          `${method} sip:${DOMAIN} SIP/2.0`,
          `Via: SIP/2.0/UDP ${LOOPBACK}:${own};branch=z9hG4bKmeasure${asked}`,
          'Max-Forwards: 70',
          `From: <sip:nobody@${DOMAIN}>;tag=${asked}`,
          `To: <sip:nobody@${DOMAIN}>`,
          `Call-ID: measure${asked}`,
          `CSeq: 1 ${method}`,
          `Contact: <sip:nobody@${LOOPBACK}:${own}>`,
          'Content-Length: 0',
          '',
          '',
        ].join('\r\n'),
        port,
        LOOPBACK,
      );
    };
    await new Promise<void>((resolve) => {
      socket.bind(0, LOOPBACK, resolve);
    });
    socket.on('message', () => {
      answered += 1;
      ask();
    });
    const startedMs = performance.now();
    for (let i = 0; i < WINDOW; i += 1) ask();
    await sleep(CALIBRATION_MS);
    const perSecond = (answered * 1000) / (performance.now() - startedMs);
    socket.close();
    return Math.round(perSecond);
  }

  /** Milliseconds until a REGISTER and an OPTIONS have been answered as they should be. */
  async function latency(): Promise<number> {
    const startedMs = performance.now();
    const [alice] = peers;
    assert.ok(alice);
    for (const ask of [
      () => alice.register().then(() => true),
      async () =>
        (await (await alice.request('OPTIONS', `sip:${DOMAIN}`)).final()).statusCode === 200,
    ]) {
      while (!(await ask().catch(() => false))) {
        assert.ok(performance.now() - startedMs < PATIENCE_MS, 'it does not come back');
        await sleep(20);
      }
    }
    return performance.now() - startedMs;
  }

  function memoryMib(): number {
    const status = readFileSync(`/proc/${switchProcess().pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }

  /** For each way of each call, what one side has sent and the other has received. */
  function heard(): readonly { readonly sent: number; readonly received: number }[] {
    return talks.flatMap(({ legs: [a, b] }) => [
      { sent: sent.get(a) ?? 0, received: b.received.length },
      { sent: sent.get(b) ?? 0, received: a.received.length },
    ]);
  }

  async function flood(perSecond: number): Promise<{ offered: number; peakMib: number }> {
    const localPort = await sippPort();
    // Two thirds are requests, two of them in each of sipp's calls.
    const calls = Math.ceil(perSecond / 3);
    const sipp = await Program.start(
      'sipp',
      [
        `${LOOPBACK}:${port}`,
        ...['-sf', SCENARIO, '-i', LOOPBACK, '-p', String(localPort), '-mp', String(localPort + 2)],
        ...['-key', 'domain', DOMAIN, '-r', String(calls), '-m', String(calls * FLOOD_SECONDS)],
        ...[
          '-l',
          '100000',
          '-nr',
          '-timeout',
          `${FLOOD_SECONDS}s`,
          '-nostdin',
          '-default_behaviors',
          'none',
        ],
      ],
      { name: 'sipp flood', cwd: home(), env: { ...process.env, TERM: 'dumb' } },
    );
    const garbage = await Program.start(
      process.execPath,
      ['--import', 'tsx', GARBAGE, LOOPBACK, String(port), String(calls), String(FLOOD_SECONDS)],
      { name: 'garbage' },
    );
    let peakMib = 0;
    const watch = setInterval(() => {
      peakMib = Math.max(peakMib, memoryMib());
    }, 200);
    try {
      await Promise.race([
        Promise.all([sipp.exited, garbage.exited]),
        sleep(FLOOD_SECONDS * 2_000, undefined, { ref: false }),
      ]);
    } finally {
      clearInterval(watch);
      await Promise.all([sipp.stop(), garbage.stop()]);
    }
    const created = Number(/Total Calls created[^\d]*(\d+)/.exec(sipp.output)?.[1]);
    const junk = Number(/sent (\d+)/.exec(garbage.output)?.[1]);
    return { offered: created * 2 + junk, peakMib };
  }

  /** What it says of itself when it is asked to. */
  async function told(): Promise<Told> {
    const program = switchProcess();
    const from = program.output.length;
    program.signal('SIGUSR2');
    const [line] = await program.waitFor(/\{[^\n]*"switch\.counted"[^\n]*\}/, PATIENCE_MS, from);
    return JSON.parse(line) as Told;
  }

  it('drops no call, keeps its memory, and is back within a second', async function () {
    await latency();
    const usualMs = Math.max(await latency(), await latency());
    const takes = await capacity();
    await sleep(500);
    const mib = memoryMib();
    const earlier = heard();
    const { offered, peakMib } = await flood(Math.min(MOST_PER_SECOND, takes * TIMES_CAPACITY));
    const backMs = await latency();
    await sleep(500);
    const losses = heard().map(({ sent: total, received }, at) => {
      const then = earlier[at] ?? { sent: 0, received: 0 };
      return 1 - (received - then.received) / (total - then.sent);
    });
    const { counters, holdings } = await told();
    const times = offered / FLOOD_SECONDS / takes;
    const figures = [
      `takes ${takes} a second, was offered ${times.toFixed(1)} times that`,
      `lost ${(Math.max(...losses) * 100).toFixed(1)} % of the sound`,
      `grew by ${Math.round(peakMib - mib)} MiB`,
      `back after ${Math.round(backMs)} ms (usually ${Math.round(usualMs)} ms)`,
    ].join(', ');
    if (this.test) this.test.title += ` (${figures})`;

    assert.ok(times >= LEAST_TIMES_CAPACITY, `no flood came about: ${figures}`);
    assert.ok(Math.max(...losses) <= MOST_LOSS, figures);
    assert.ok(peakMib - mib <= MOST_GROWTH_MIB, figures);
    assert.ok(backMs <= BACK_MS + 20 * usualMs, figures);
    assert.equal(holdings.calls, CALLS);
    assert.equal(holdings.engine['pendingRequests'], 0);
    for (const kind of ['garbage', 'strayResponse', 'malformedRequest']) {
      assert.ok((counters.refusals[kind] ?? 0) > 0, `${kind} is not counted`);
    }
    // Nobody has hung up: the first BYE that each phone sees is the one that is sent now.
    for (const { callee } of talks) assert.deepEqual(callee.peer.unexpected.map(methodOf), []);
    for (const { caller, callee } of talks) {
      await Promise.all([caller.bye(), callee.expectBye()]);
    }
  });
});

function methodOf({ method }: { readonly method: string }): string {
  return method;
}
