import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
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
import { sdp } from '../support/sdp.ts';
import { SipPeer, type Call } from '../support/sip-peer.ts';
import { sippPort } from '../support/sipp.ts';

const PARLEY = path.resolve(import.meta.dirname, '../../registrar/cli/parley.ts');
const DATAGRAMS = path.resolve(import.meta.dirname, '../support/datagram-flood.ts');
const SCENARIO = path.resolve(import.meta.dirname, 'sipp/flood.xml');
const LOOPBACK = '127.0.0.1';
/** Not those of the phones: there is a limit for each address, and none for those that the operator trusts. */
const SIPP_ADDRESS = '127.0.0.2';
const DATAGRAMS_ADDRESS = '127.0.0.3';
const DOMAIN = 'parley.test';
const CALLS = 20;
/**
 * How many requests a second are answered to one address: what the switch can take is a setting, where strangers are
 * concerned, and lies below what it could.
 */
const PER_ADDRESS = 1_000;
const TAKES = 2 * PER_ADDRESS;
const TIMES_CAPACITY = 10;
/** What is asked of the generators, which have to share a processor with the phones, the first and each further time. */
const MARGIN = 1.2;
const FURTHER_MARGIN = 0.3;
/** Floods to try until one is as strong as it has to be, on a machine that has other things to do. */
const ATTEMPTS = 3;
/** So long at least, and until every call has been through what is done with it meanwhile. */
const FLOOD_SECONDS = 10;
/** Calls of sipp; more than that it does not get done beside others. */
const SIPP_CALLS_PER_SECOND = 2_000;
const CALIBRATIONS = 4;
const CALIBRATION_MS = 400;
const WINDOW = 64;
const PACKET_MS = 20;
/** Loss of the calls' sound under flood: what the kernel throws away while nobody gets a processor. */
const MOST_LOSS = 0.1;
/**
 * What the flood may leave in the memory of the switch: each of 2,000 answers a second is kept for half a minute, for
 * repetitions, with some 2 kB, and as much again is garbage of the language.
 */
const MOST_GROWTH_MIB = 250;
/** Until a REGISTER is answered and a call goes through, besides what they take on a machine that is busy anyway. */
const BACK_MS = 1_000;
const PATIENCE_MS = 32_000;
/** The first burst of each address, what the phones ask, and what comes while the generators end. */
const SPARE_SECONDS = 3;

/** Its line in the log that counts things. */
type Told = {
  readonly counters: {
    readonly messagesByTransport: Readonly<Record<string, number>>;
    readonly responsesSent: Readonly<Record<string, number>>;
    readonly refusals: Readonly<Record<string, number>>;
  };
  readonly holdings: { readonly calls: number; readonly engine: Readonly<Record<string, number>> };
};

type Talk = {
  readonly caller: Call;
  readonly callee: Call;
  readonly legs: readonly [RtpPeer, RtpPeer];
};

describe('a flood of REGISTER, OPTIONS and garbage at ten times what the switch may answer', function () {
  this.timeout(240_000);
  let folder: string | undefined;
  let port: number;
  let processors: { readonly first: string; readonly others: string };
  let parley: Program | undefined;
  const peers: SipPeer[] = [];
  let alice: SipPeer;
  let spare: SipPeer;
  const talks: Talk[] = [];
  const sent = new Map<RtpPeer, number>();
  let sound: NodeJS.Timeout | undefined;

  before(async function () {
    requirePeer(this, 'sipp', 'taskset');
    folder = await mkdtemp(path.join(tmpdir(), 'parley-flood-'));
    port = await freePorts(1);
    processors = await ourProcessors();
    if (processors.others === processors.first) skipOnOneProcessor(this);
    await makeAccounts();
    parley = await startParley();
    alice = await phone('alice', 'udp');
    spare = await phone('spare', 'udp');
    const anna = await phone('anna', 'tcp');
    for (let i = 0; i < CALLS; i += 1) {
      const isUdp = i % 2 === 0;
      const callee = await phone(`callee${i}`, isUdp ? 'udp' : 'tcp');
      talks.push(await talk(isUdp ? alice : anna, callee));
    }
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
    const people = [
      'alice',
      'anna',
      'spare',
      ...Array.from({ length: CALLS }, (_, i) => `callee${i}`),
    ];
    for (const nickname of people) {
      await accounts.add({ nickname, password: 'secret', displayName: nickname });
    }
    await running.stop();
  }

  async function startParley(): Promise<Program> {
    const serve = [process.execPath, '--import', 'tsx', PARLEY, 'serve'];
    // One processor is the whole machine of the switch; whoever floods it has the others.
    const program = await Program.start('taskset', ['-c', processors.first, ...serve], {
      isUrgent: true,
      name: 'parley serve',
      env: {
        ...process.env,
        PORT: String(port),
        PARLEY_DATA_FOLDER: home(),
        PARLEY_SIP_DOMAIN: DOMAIN,
        PARLEY_SIP_LISTEN_ADDRESSES: LOOPBACK,
        PARLEY_RTP_LISTEN_ADDRESSES: LOOPBACK,
        PARLEY_LIMITS_REQUESTS_PER_SECOND_PER_ADDRESS: String(PER_ADDRESS),
        PARLEY_LIMITS_REQUEST_BURST_PER_ADDRESS: String(PER_ADDRESS),
      },
    });
    await program.waitFor(/What to do next/, PATIENCE_MS);
    return program;
  }

  async function phone(user: string, transport: 'udp' | 'tcp'): Promise<SipPeer> {
    const server = { address: LOOPBACK, port };
    const peer = await SipPeer.open({
      server,
      user,
      transport,
      domain: DOMAIN,
      password: 'secret',
      timeoutMs: PATIENCE_MS,
    });
    peers.push(peer);
    await peer.register();
    return peer;
  }

  async function talk(from: SipPeer, bob: SipPeer): Promise<Talk> {
    const legs = [await RtpPeer.open(), await RtpPeer.open()] as const;
    const caller = await from.invite(`sip:${bob.user}@${DOMAIN}`, { sdp: legs[0].sdp() });
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

  /** How many requests a second it could answer, as far as this machine lets us see. */
  async function capacity(): Promise<number> {
    let most = 0;
    for (let i = 0; i < CALIBRATIONS; i += 1) most = Math.max(most, await answeredPerSecond());
    return most;
  }

  /** To somebody without a limit, when there are always some waiting. */
  async function answeredPerSecond(): Promise<number> {
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
    return perSecond;
  }

  /** Milliseconds until a REGISTER has been answered as it should be, and a call has gone through. */
  async function latency(): Promise<number> {
    const startedMs = performance.now();
    while (!(await registerAndCall().catch(() => false))) {
      assert.ok(performance.now() - startedMs < PATIENCE_MS, 'it does not come back');
    }
    return performance.now() - startedMs;
  }

  async function registerAndCall(): Promise<boolean> {
    await alice.register();
    const call = await alice.invite(`sip:spare@${DOMAIN}`, { sdp: sdp() });
    const taken = await spare.expectCall();
    await Promise.all([taken.answer(sdp()), call.answered()]);
    await Promise.all([call.bye(), taken.expectBye()]);
    return true;
  }

  /** What calls do while they last; `isLast` ends it. */
  async function carryOn({ caller, callee, legs }: Talk, isLast: boolean): Promise<void> {
    const [offer, answer] = legs.map((leg) => nextVersion(leg.sdp()));
    assert.ok(offer !== undefined && answer !== undefined);
    await Promise.all([caller.reinvite(offer), callee.expectReinvite(answer)]);
    await callee.request('UPDATE').final(200);
    const info = caller.request('INFO', {
      body: 'Signal=5',
      contentType: 'application/dtmf-relay',
    });
    (await callee.expectRequest('INFO')).reply(200);
    await info.final(200);
    if (isLast) await Promise.all([callee.bye(), caller.expectBye()]);
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

  /** Floods it for a while, and until `meanwhile` is through; how much was offered in that time, and at most kept. */
  async function flood(
    perSecond: number,
    meanwhile: () => Promise<unknown>,
  ): Promise<{ offered: number; seconds: number; peakMib: number }> {
    const localPort = await sippPort();
    // Two requests in each of sipp's calls.
    const calls = Math.min(SIPP_CALLS_PER_SECOND, Math.ceil(perSecond / 4));
    const sippArguments = [
      ...['sipp', `${LOOPBACK}:${port}`, '-sf', SCENARIO, '-key', 'domain', DOMAIN],
      ...['-i', SIPP_ADDRESS, '-p', String(localPort), '-mp', String(localPort + 2)],
      ...['-r', String(calls), '-l', '100000', '-nr', '-nostdin', '-default_behaviors', 'none'],
    ];
    const rest = String(perSecond - 2 * calls);
    const throwing = [
      process.execPath,
      '--import',
      'tsx',
      DATAGRAMS,
      LOOPBACK,
      String(port),
      rest,
      DATAGRAMS_ADDRESS,
    ];
    const datagrams = await Program.start('taskset', ['-c', processors.others, ...throwing], {
      name: 'datagrams',
      isUrgent: true,
    });
    await datagrams.waitFor(/floods/, PATIENCE_MS);
    const startedMs = performance.now();
    const sipp = await Program.start('taskset', ['-c', processors.others, ...sippArguments], {
      name: 'sipp flood',
      cwd: home(),
      env: { ...process.env, TERM: 'dumb' },
    });
    let peakMib = 0;
    const watch = setInterval(() => {
      peakMib = Math.max(peakMib, memoryMib());
    }, 200);
    try {
      await Promise.all([meanwhile(), sleep(FLOOD_SECONDS * 1_000)]);
      const seconds = (performance.now() - startedMs) / 1_000;
      // No new calls; it tells how many there were.
      sipp.signal('SIGUSR1');
      datagrams.signal('SIGTERM');
      await Promise.all([datagrams.exited, Promise.race([sipp.exited, pause(2_000)])]);
      await sipp.stop();
      const created = Number(/Total Calls created[^\d]*(\d+)/.exec(sipp.output)?.[1]);
      const thrown = Number(/sent (\d+)/.exec(datagrams.output)?.[1]);
      return { offered: created * 2 + thrown, seconds, peakMib };
    } finally {
      clearInterval(watch);
      await Promise.all([sipp.stop(), datagrams.stop()]);
    }
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
    const could = await capacity();
    const mib = memoryMib();
    const earlier = heard();
    let up = talks;
    let times = 0;
    let peakMib = 0;
    let backMs = 0;
    let read = 0;
    let answers = 0;
    let mayAnswer = 0;
    for (let attempt = 0; attempt < ATTEMPTS && times < TIMES_CAPACITY; attempt += 1) {
      const ending = up.slice(0, up.length / 2);
      const before = await told();
      const margin = MARGIN + attempt * FURTHER_MARGIN;
      const perSecond = Math.ceil(TAKES * TIMES_CAPACITY * margin);
      const flooded = await flood(perSecond, () =>
        Promise.all(up.map((each) => carryOn(each, ending.includes(each)))),
      );
      backMs = Math.max(backMs, await latency());
      up = up.slice(ending.length);
      const after = await told();
      answers = answersOf(after) - answersOf(before);
      mayAnswer = TAKES * (flooded.seconds + SPARE_SECONDS);
      read = (datagramsOf(after) - datagramsOf(before)) / flooded.offered;
      times = flooded.offered / flooded.seconds / TAKES;
      peakMib = Math.max(peakMib, flooded.peakMib);
    }
    await sleep(500);
    // Of the calls that are still up.
    const losses = heard()
      .map(({ sent: total, received }, at) => {
        const then = earlier[at] ?? { sent: 0, received: 0 };
        return 1 - (received - then.received) / (total - then.sent);
      })
      .slice(-2 * up.length);
    const { counters, holdings } = await told();
    const figures = [
      `may answer ${TAKES} a second, could answer ${Math.round(could)} on one processor`,
      `was offered ${times.toFixed(1)} times what it may`,
      `answered ${answers}`,
      `read ${Math.round(read * 100)} % of it`,
      `lost ${(Math.max(...losses) * 100).toFixed(1)} % of the sound`,
      `grew by ${Math.round(peakMib - mib)} MiB`,
      `back after ${Math.round(backMs)} ms (usually ${Math.round(usualMs)} ms)`,
    ].join(', ');
    if (this.test) this.test.title += ` (${figures})`;

    assert.ok(times >= TIMES_CAPACITY, `no such flood came about: ${figures}`);
    assert.ok(answers <= mayAnswer, figures);
    assert.ok(Math.max(...losses) <= MOST_LOSS, figures);
    assert.ok(peakMib - mib <= MOST_GROWTH_MIB, figures);
    assert.ok(backMs <= BACK_MS + 20 * usualMs, figures);
    assert.equal(holdings.calls, up.length);
    assert.equal(holdings.engine['pendingRequests'], 0);
    for (const kind of ['garbage', 'strayResponse', 'malformedRequest', 'rateRefused']) {
      assert.ok((counters.refusals[kind] ?? 0) > 0, `${kind} is not counted`);
    }
    // Nobody has been hung up on: the first BYE that each phone sees is the one that is sent now.
    for (const { callee } of talks) {
      const methods = callee.peer.unexpected.map(methodOf);
      // Answers that were repeated are acknowledged again.
      assert.deepEqual(
        methods.filter((method) => method !== 'ACK'),
        [],
      );
    }
    for (const { caller, callee } of up) {
      await Promise.all([caller.bye(), callee.expectBye()]);
    }
  });
});

/** What the kernel did not have to throw away. */
function datagramsOf({ counters: { messagesByTransport } }: Told): number {
  return messagesByTransport['udp'] ?? 0;
}

/** Requests that it has answered in full: not refused because there were too many. */
function answersOf({ counters: { responsesSent } }: Told): number {
  return (responsesSent['200'] ?? 0) + (responsesSent['401'] ?? 0) + (responsesSent['404'] ?? 0);
}

function methodOf({ method }: { readonly method: string }): string {
  return method;
}

/** The same description as a new offer or answer (RFC 3264 section 8). */
function nextVersion(description: string): string {
  return description.replace(
    /^(o=\S+ \S+ )(\d+)/m,
    (_, before: string, version: string) => `${before}${Number(version) + 1}`,
  );
}

/** Those that we may use, in the words of taskset. */
async function ourProcessors(): Promise<{ first: string; others: string }> {
  const status = await readFile('/proc/self/status', 'utf8');
  const list = /Cpus_allowed_list:\s+([\d,-]+)/.exec(status)?.[1] ?? '0';
  const first = /^\d+/.exec(list)?.[0] ?? '0';
  const next = Number(first) + 1;
  const others = list
    .replace(new RegExp(`^${first}-${next}$`), String(next))
    .replace(new RegExp(`^${first}-`), `${next}-`)
    .replace(new RegExp(`^${first},`), '');
  return { first, others };
}

/** A limit for waiting, which keeps nothing alive. */
function pause(ms: number): Promise<void> {
  return sleep(ms, undefined, { ref: false });
}

function skipOnOneProcessor(context: Mocha.Context): never {
  const { currentTest } = context;
  if (currentTest) currentTest.title += ' (skipped: needs two processors)';
  context.skip();
}
