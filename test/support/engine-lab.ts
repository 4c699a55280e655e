/** A whole SIP engine in memory: scripted peers on a network without loss or delay, scripted applications, virtual time. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { SipMessage } from '../../core/sip/message.ts';
import { encodeFrame, FrameReader, splitPayload } from '../../registrar/engine/control/frame.ts';
import { Engine, type EngineStats } from '../../registrar/engine/engine.ts';
import type { EngineOptions } from '../../registrar/engine/options.ts';
import type {
  Endpoint,
  EngineInput,
  EngineOutput,
  FlowId,
  Listener,
  ResolvedTarget,
  Transport,
} from '../../registrar/engine/seam.ts';
import { isStun } from '../../registrar/engine/transport/stun.ts';
import { VirtualClock } from './virtual-clock.ts';

const CRLF = '\r\n';
export const SECRET = 'cymru';
/** 2026-11-20, 10:00:00 UTC. */
const WALL_CLOCK_START_MS = Date.UTC(2026, 10, 20, 10);

export function listener(
  id: number,
  transport: Transport,
  local: Endpoint,
  external?: Endpoint,
): Listener {
  return { id, transport, local, external };
}

const V4 = '127.0.0.1';
const V6 = '::1';

export const DEFAULT_LISTENERS: readonly Listener[] = [
  listener(1, 'udp', { address: V4, port: 5060 }),
  listener(2, 'tcp', { address: V4, port: 5060 }),
  listener(3, 'ws', { address: V4, port: 5080 }),
  listener(4, 'udp', { address: V6, port: 5060 }),
  listener(5, 'tcp', { address: V6, port: 5060 }),
];

/** Reproducible bytes that look random. */
export function seededRandom(seed: string): (bytes: number) => Buffer {
  let count = 0;
  return (bytes) => {
    const parts: Buffer[] = [];
    for (let have = 0; have < bytes; have += 32) {
      parts.push(createHash('sha256').update(`${seed}${count++}`).digest());
    }
    return Buffer.concat(parts).subarray(0, bytes);
  };
}

/** Lines to a message: CRLF between them, an empty line and the body behind. */
export function sip(lines: readonly string[], body: Buffer | string = ''): Buffer {
  const content = typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
  const head = [...lines, `Content-Length: ${content.length}`, '', ''].join(CRLF);
  return Buffer.concat([Buffer.from(head, 'utf8'), content]);
}

/** A message from the engine to an application. */
export type Report = {
  readonly fields: readonly string[];
  readonly sip: SipMessage | undefined;
  readonly text: string;
};

/** A scripted application on a control connection. */
export class LabApplication {
  readonly reports: Report[] = [];
  isClosed = false;
  readonly id: number;
  readonly #lab: EngineLab;
  readonly #reader = new FrameReader();
  #messageCount = 0;

  /** @param by - it connects to the first port, to that for further applications, or the engine connects to it */
  constructor(lab: EngineLab, id: number, by: 'connect' | 'further' | 'dial') {
    this.#lab = lab;
    this.id = id;
    if (by !== 'dial') {
      lab.feed({ kind: 'controlOpened', controlId: id, isFurther: by === 'further' });
    }
  }

  /** Sends one control message and returns its id. */
  send(rest: string, text?: Buffer | string): string {
    this.#messageCount += 1;
    const id = `m${this.id}-${this.#messageCount}`;
    const sipText = typeof text === 'string' ? Buffer.from(text, 'utf8') : text;
    const leader = `${id}|${rest}`;
    const bytes = sipText === undefined ? encodeFrame(leader) : encodeFrame(leader, sipText);
    this.sendBytes(bytes);
    return id;
  }

  sendBytes(bytes: Buffer): void {
    this.#lab.feed({ kind: 'controlBytes', controlId: this.id, bytes });
  }

  /** Sends a command and expects the answer to be what comes next for it. */
  command(rest: string, text?: Buffer | string): Report {
    const id = this.send(rest, text);
    const at = this.reports.findIndex((report) => report.fields[2] === id);
    assert.ok(at >= 0, `no answer to ${rest}`);
    const [report] = this.reports.splice(at, 1);
    assert.ok(report);
    return report;
  }

  /** Takes the next report, whatever it is. */
  next(): Report {
    const report = this.reports.shift();
    assert.ok(report, 'the application was told nothing');
    return report;
  }

  /** Takes the next report and checks its kind, and start line of its SIP text. */
  expect(kind: string, startLine?: RegExp): Report {
    const report = this.next();
    assert.equal(report.fields[1], kind, report.text);
    if (startLine !== undefined) assert.match(report.text.split(CRLF)[1] ?? '', startLine);
    return report;
  }

  expectNothing(): void {
    assert.deepEqual(
      this.reports.map((report) => report.text),
      [],
    );
  }

  /** Answers a request with this transaction id; `lines` are further headers. */
  respond(
    transactionId: string,
    status: string,
    lines: readonly string[] = [],
    body: Buffer | string = '',
  ): Report {
    return this.command(`sip|${transactionId}|`, sip([`SIP/2.0 ${status}`, ...lines], body));
  }

  close(): void {
    this.isClosed = true;
    this.#lab.feed({ kind: 'controlClosed', controlId: this.id });
  }

  deliver(bytes: Buffer): void {
    this.#reader.push(bytes);
    for (let payload = this.#reader.next(); payload; payload = this.#reader.next()) {
      const { fields, sip: text } = splitPayload(payload);
      const message = text === undefined ? undefined : SipMessage.parse(text);
      this.reports.push({ fields, sip: message, text: payload.toString('utf8') });
    }
  }
}

/** A scripted phone on UDP, or at the other end of one stream connection. */
export class LabPeer {
  readonly received: SipMessage[] = [];
  /** Bytes that were no SIP message: answers to keep-alives. */
  readonly other: Buffer[] = [];
  isClosed = false;
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  readonly #lab: EngineLab;
  readonly #listenerId: number;
  flowId: FlowId | undefined;

  constructor(lab: EngineLab, transport: Transport, endpoint: Endpoint, listenerId: number) {
    this.#lab = lab;
    this.transport = transport;
    this.endpoint = endpoint;
    this.#listenerId = listenerId;
  }

  send(bytes: Buffer): void {
    if (this.flowId === undefined) {
      const { endpoint: remote } = this;
      this.#lab.feed({ kind: 'datagram', listenerId: this.#listenerId, remote, bytes });
    } else this.#lab.feed({ kind: 'flowBytes', flowId: this.flowId, bytes });
  }

  deliver(bytes: Buffer): void {
    if (bytes.length <= 4 || isStun(bytes)) this.other.push(bytes);
    else this.received.push(SipMessage.parse(bytes));
  }

  /** Takes the next message; with a pattern, its start line must match. */
  expect(startLine?: RegExp): SipMessage {
    const message = this.received.shift();
    assert.ok(message, `nothing arrived, expected ${String(startLine)}`);
    if (startLine !== undefined) assert.match(startLineOf(message), startLine);
    return message;
  }

  expectNothing(): void {
    assert.deepEqual(this.received.map(startLineOf), []);
  }

  /** Drops everything that has arrived, for example retransmissions. */
  forget(): void {
    this.received.length = 0;
  }

  /** Answers a request that arrived here; without `tag` the answer has none of ours. */
  // eslint-disable-next-line max-params -- a test reads best as status, headers, body, tag in one line
  respond(
    request: SipMessage,
    status: string,
    lines: readonly string[] = [],
    body: Buffer | string = '',
    tag = 'peer',
  ): void {
    const to = request.header('To') ?? '';
    const head = [
      `SIP/2.0 ${status}`,
      ...request.headerFields('Via').map((value) => `Via: ${value}`),
      `From: ${request.header('From') ?? ''}`,
      `To: ${to.includes(';tag=') || status.startsWith('100') || tag === '' ? to : `${to};tag=${tag}`}`,
      `Call-ID: ${request.callId}`,
      `CSeq: ${request.header('CSeq') ?? ''}`,
    ];
    this.send(sip([...head, ...lines], body));
  }

  /** Closes the stream connection from this end. */
  close(): void {
    if (this.flowId === undefined) return;
    this.isClosed = true;
    this.#lab.closeFlow(this.flowId, 'closed by peer');
  }
}

export function startLineOf(message: SipMessage): string {
  return message.isRequest
    ? `${message.method} ${message.requestUri}`
    : `${message.statusCode} ${message.reasonPhrase}`;
}

export type LabOptions = Partial<Omit<EngineOptions, 'secret' | 'random' | 'wallClockMs'>>;

const LONGEST_REGISTRATION_MS = 3_600_000;
/** Those of the test that runs. */
const labs = new Set<EngineLab>();

// Benchmarks have no tests.
if ('afterEach' in globalThis) {
  afterEach('nothing is left in an engine', () => {
    const ending = [...labs];
    labs.clear();
    for (const lab of ending) lab.end();
  });
}

export class EngineLab {
  readonly clock = new VirtualClock();
  readonly engine: Engine;
  readonly listeners: readonly Listener[];
  /** Everything that the engine put on the network, in order. */
  readonly sent: { readonly remote: Endpoint; readonly message: SipMessage }[] = [];
  /** Names that can be resolved. */
  readonly names = new Map<string, readonly ResolvedTarget[]>();
  /** When set, resolve outputs are kept here instead of being answered. */
  heldQueries: Extract<EngineOutput, { kind: 'resolve' }>[] | undefined;
  /** When set, connect outputs are kept here instead of being answered. */
  heldConnects: Extract<EngineOutput, { kind: 'connect' }>[] | undefined;
  /** Control connections that the engine wants to open, until they are accepted or refused. */
  readonly dials: Extract<EngineOutput, { kind: 'connectControl' }>[] = [];
  /** Questions to web servers, until they are answered or dropped. */
  readonly questions: Extract<EngineOutput, { kind: 'askRoute' }>[] = [];
  /** UDP ports from which the network reports that nobody is there. */
  readonly unreachable = new Set<number>();
  /** Places that the resolver was told of as failed, `<transport> <address>:<port>`, in order. */
  readonly failedTargets: string[] = [];
  readonly #peers = new Map<string, LabPeer>();
  readonly #flows = new Map<FlowId, LabPeer>();
  readonly #acceptors = new Map<string, (peer: LabPeer) => void>();
  readonly #applications = new Map<number, LabApplication>();
  #nextFlowId = 2;
  #nextControlId = 1;
  #isFeeding = false;
  readonly #backlog: EngineInput[] = [];

  constructor(options: LabOptions = {}) {
    this.listeners = options.listeners ?? DEFAULT_LISTENERS;
    const { clock } = this;
    this.engine = new Engine({
      ...options,
      listeners: this.listeners,
      secret: SECRET,
      random: seededRandom('lab'),
      wallClockMs: () => WALL_CLOCK_START_MS + clock.nowMs,
    });
    labs.add(this);
  }

  /** An application that has authenticated and routes these verbs. */
  application(...verbs: readonly string[]): LabApplication {
    const application = this.connectApplication();
    assert.equal(application.command(`authenticate|${SECRET}|`).fields[3], 'OK');
    for (const verb of verbs) {
      assert.equal(application.command(`route|${verb}`).fields[3], 'OK');
    }
    return application;
  }

  /** A control connection that has said nothing yet. */
  connectApplication(by: 'connect' | 'further' = 'connect'): LabApplication {
    const id = this.#nextControlId++;
    const application: LabApplication = new LabApplication(this, id, by);
    this.#applications.set(id, application);
    return application;
  }

  /** Answers the oldest dial: gives the application that has accepted it, which has said nothing yet. */
  acceptDial(): LabApplication {
    const dial = this.dials.shift();
    assert.ok(dial, 'the engine dials nobody');
    const application = new LabApplication(this, dial.controlId, 'dial');
    this.#applications.set(dial.controlId, application);
    this.feed({ kind: 'controlConnected', controlId: dial.controlId });
    return application;
  }

  /** Answers the oldest question to a web server; an object as JSON. */
  answerQuestion(answer: object | string | Buffer): void {
    const question = this.questions.shift();
    assert.ok(question, 'no web server is asked');
    const { questionId } = question;
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
    const body = Buffer.isBuffer(answer) ? answer : Buffer.from(text, 'utf8');
    this.feed({ kind: 'routeAnswered', questionId, body });
  }

  /** Answers the oldest dial: nobody is there. */
  refuseDial(): void {
    const dial = this.dials.shift();
    assert.ok(dial, 'the engine dials nobody');
    this.feed({ kind: 'controlFailed', controlId: dial.controlId, reason: 'connection refused' });
  }

  /** A UDP phone at this address. */
  udpPeer(port: number, address = '127.0.0.1'): LabPeer {
    const family = address.includes(':');
    const to = this.listeners.find(
      (candidate) =>
        candidate.transport === 'udp' && candidate.local.address.includes(':') === family,
    );
    const peer = new LabPeer(this, 'udp', { address, port }, to?.id ?? 0);
    this.#peers.set(key('udp', peer.endpoint), peer);
    return peer;
  }

  /** A phone that has connected to us. */
  streamPeer(port: number, transport: Transport = 'tcp', address = '127.0.0.1'): LabPeer {
    const family = address.includes(':');
    const to = this.listeners.find(
      (candidate) =>
        candidate.transport === transport && candidate.local.address.includes(':') === family,
    );
    assert.ok(to, `no ${transport} listener`);
    const peer = new LabPeer(this, transport, { address, port }, to.id);
    const flowId = this.#nextFlowId;
    this.#nextFlowId += 2;
    peer.flowId = flowId;
    this.#flows.set(flowId, peer);
    this.feed({ kind: 'flowAccepted', flowId, listenerId: to.id, remote: peer.endpoint });
    return peer;
  }

  /** Makes connections to this address succeed; each gives a new peer to `accepted`. */
  accept(transport: Transport, endpoint: Endpoint, accepted: (peer: LabPeer) => void): void {
    this.#acceptors.set(key(transport, endpoint), accepted);
  }

  closeFlow(flowId: FlowId, reason: string): void {
    this.#flows.delete(flowId);
    this.feed({ kind: 'flowClosed', flowId, reason });
  }

  /** Answers a connect that was held. */
  settleConnect(output: Extract<EngineOutput, { kind: 'connect' }>, accepts: boolean): void {
    if (accepts) this.#accepted(output);
    else this.feed({ kind: 'flowClosed', flowId: output.flowId, reason: 'connection refused' });
  }

  feed(input: EngineInput): void {
    this.#backlog.push(input);
    if (this.#isFeeding) return;
    this.#isFeeding = true;
    try {
      for (let next = this.#backlog.shift(); next; next = this.#backlog.shift()) {
        this.engine.handleInput(next, this.clock.nowMs);
        this.#drain();
      }
    } finally {
      this.#isFeeding = false;
    }
  }

  /** Lets virtual time pass. */
  advance(ms: number): void {
    this.clock.advance(
      ms,
      () => this.engine.nextDeadline(),
      () => {
        this.feed({ kind: 'time' });
      },
    );
  }

  /** Asserts that nothing is left, after the time that transactions need to be forgotten. */
  assertIdle(expected: Partial<Record<keyof EngineStats, number>> = {}): void {
    this.advance(70_000);
    const stats = this.engine.stats();
    const held = {
      serverTransactions: stats.serverTransactions,
      clientTransactions: stats.clientTransactions,
      dialogs: stats.dialogs,
      pendingRequests: stats.pendingRequests,
      sentRequests: stats.sentRequests,
      proxied: stats.proxied,
      sessionTimers: stats.sessionTimers,
      flowBindings: stats.flowBindings,
      queries: stats.queries,
      routeQuestions: stats.routeQuestions,
      timers: stats.timers,
    };
    const nothing = Object.fromEntries(Object.keys(held).map((name) => [name, 0]));
    assert.deepEqual(held, { ...nothing, ...expected });
  }

  /**
   * Asserts that nothing is left once the applications have gone and every registration has run out, whatever the
   * test was about.
   */
  end(): void {
    for (const { queryId } of this.heldQueries ?? []) {
      this.feed({ kind: 'resolved', queryId, targets: [], error: undefined });
    }
    this.heldQueries = undefined;
    for (const controlId of this.#applications.keys()) {
      this.feed({ kind: 'controlClosed', controlId });
    }
    this.advance(LONGEST_REGISTRATION_MS);
    this.assertIdle();
  }

  #drain(): void {
    for (let output = this.engine.pollOutput(); output; output = this.engine.pollOutput()) {
      this.#carryOut(output);
    }
  }

  // eslint-disable-next-line complexity -- one arm per kind of output reads better whole
  #carryOut(output: EngineOutput): void {
    switch (output.kind) {
      case 'sendDatagram':
        this.#note(output.remote, output.bytes);
        this.#peers.get(key('udp', output.remote))?.deliver(output.bytes);
        if (this.unreachable.has(output.remote.port)) {
          const { listenerId, remote } = output;
          this.#backlog.push({ kind: 'datagramFailed', listenerId, remote, reason: 'refused' });
        }
        return;
      case 'sendFlow': {
        const peer = this.#flows.get(output.flowId);
        if (peer === undefined) return;
        this.#note(peer.endpoint, output.bytes);
        peer.deliver(output.bytes);
        return;
      }
      case 'connect':
        if (this.heldConnects === undefined) this.#connect(output);
        else this.heldConnects.push(output);
        return;
      case 'closeFlow': {
        const peer = this.#flows.get(output.flowId);
        if (peer !== undefined) peer.isClosed = true;
        this.#flows.delete(output.flowId);
        return;
      }
      case 'sendControl':
        this.#applications.get(output.controlId)?.deliver(output.bytes);
        return;
      case 'closeControl': {
        const application = this.#applications.get(output.controlId);
        if (application !== undefined) application.isClosed = true;
        return;
      }
      case 'connectControl':
        this.dials.push(output);
        return;
      case 'askRoute':
        this.questions.push(output);
        return;
      case 'dropRouteQuestion': {
        const { questionId } = output;
        const at = this.questions.findIndex((question) => question.questionId === questionId);
        if (at >= 0) this.questions.splice(at, 1);
        return;
      }
      case 'resolve': {
        if (this.heldQueries !== undefined) {
          this.heldQueries.push(output);
          return;
        }
        const targets = this.names.get(output.host) ?? [];
        this.#backlog.push({
          kind: 'resolved',
          queryId: output.queryId,
          targets,
          error: undefined,
        });
        return;
      }
      case 'targetFailed': {
        const { transport, remote } = output.target;
        this.failedTargets.push(`${transport} ${remote.address}:${remote.port}`);
      }
    }
  }

  #connect(output: Extract<EngineOutput, { kind: 'connect' }>): void {
    if (this.#acceptors.has(key(output.transport, output.remote))) this.#accepted(output);
    else {
      const { flowId } = output;
      this.#backlog.push({ kind: 'flowClosed', flowId, reason: 'connection refused' });
    }
  }

  #accepted(output: Extract<EngineOutput, { kind: 'connect' }>): void {
    const { flowId, transport, remote } = output;
    const peer = new LabPeer(this, transport, remote, 0);
    peer.flowId = flowId;
    this.#flows.set(flowId, peer);
    const local = { address: '127.0.0.1', port: 40_000 + flowId };
    this.#backlog.push({ kind: 'flowConnected', flowId, local });
    this.#acceptors.get(key(transport, remote))?.(peer);
    if (!this.#isFeeding) this.feed({ kind: 'time' });
  }

  #note(remote: Endpoint, bytes: Buffer): void {
    if (bytes.length > 4 && !isStun(bytes))
      this.sent.push({ remote, message: SipMessage.parse(bytes) });
  }
}

function key(transport: Transport, { address, port }: Endpoint): string {
  return `${transport}/${address}|${port}`;
}
