/** What all parts of the engine share: the time, the timers, what is to be put out, and the tables of transactions. */

import type { Deadline } from '../../core/deadline.ts';
import { nullLog, type Log } from '../../core/log.ts';
import type { MessageLimits, SipMessage } from '../../core/sip/message.ts';
import { deriveTimers, type Timers } from '../../core/sip/transaction/timers.ts';
import { TimerWheel } from '../../core/timer-wheel.ts';
import { Applications } from './control/applications.ts';
import { RequestHandlers } from './control/request-handlers.ts';
import { Reports } from './control/report.ts';
import { EngineCounters } from './counters.ts';
import { Dialogs } from './dialog/dialogs.ts';
import { Ids } from './ids.ts';
import {
  DEFAULT_LIMITS,
  DEFAULT_TIMERS,
  type EngineLimits,
  type EngineOptions,
  type EngineTimers,
} from './options.ts';
import { retryAfterSeconds } from './overload.ts';
import { encodeResponse } from './response.ts';
import type { Endpoint, EngineOutput, Listener, ResolvedTarget } from './seam.ts';
import type { HeaderLine } from './template.ts';
import type { TimerContext, TimerHandle, TimerOwner } from './timers.ts';
import type { ClientContext, ClientTransaction } from './transaction/client.ts';
import { ClientTable } from './transaction/client-table.ts';
import type { ServerContext, ServerTransaction } from './transaction/server.ts';
import type { Hop } from './transport/flow.ts';
import { FlowTable } from './transport/flow-table.ts';
import { Transports, type MessageSink, type TransportContext } from './transport/transports.ts';

const SECOND_MS = 1000;
const DAY_SECONDS = 86_400;

/** Hands a timer that has run out to its owner. */
function fire(timer: TimerHandle): void {
  timer.owner.onTimer(timer.name);
}

/** Its reason is the name of the timer; asked after every input, and hardly ever for that. */
class NextTimer implements Deadline {
  readonly atMs: number;
  readonly #wheel: TimerWheel<TimerHandle>;

  constructor(atMs: number, wheel: TimerWheel<TimerHandle>) {
    this.atMs = atMs;
    this.#wheel = wheel;
  }

  get reason(): string {
    return this.#wheel.peek()?.name ?? '';
  }
}

export class Kernel implements TimerContext, TransportContext, ClientContext, ServerContext {
  nowMs = 0;
  readonly log: Log;
  readonly listeners: readonly Listener[];
  readonly limits: EngineLimits;
  readonly timers: EngineTimers;
  readonly sipTimers: Timers;
  readonly messageLimits: MessageLimits;
  readonly counters = new EngineCounters();
  readonly ids: Ids;
  readonly transports: Transports;
  readonly flowTable: FlowTable;
  readonly applications: Applications;
  readonly dialogs = new Dialogs();
  readonly reports: Reports;
  /** The To tag of answers that we keep no state for; the same for a request and its repetitions. */
  readonly statelessTag: string;
  readonly #servers = new Map<string, ServerTransaction>();
  readonly #merged = new Map<string, ServerTransaction>();
  readonly #clients = new ClientTable<ClientTransaction>();
  readonly #wheel = new TimerWheel<TimerHandle>(0);
  readonly #wallClockMs: () => number;
  #outputs: EngineOutput[] = [];
  #nextOutput = 0;
  #clockSecond = -1;
  #clockText = '';

  constructor(options: EngineOptions, sink: MessageSink) {
    this.log = options.log ?? nullLog;
    this.listeners = options.listeners;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.timers = { ...DEFAULT_TIMERS, ...options.timers };
    this.sipTimers = deriveTimers(this.timers);
    const patience = {
      maxUnread: this.limits.waitingRequests,
      givenUpAfterMs: this.timers.answerMs,
    };
    const handlers = new RequestHandlers(options.requestHandlers ?? []);
    const methodsOfFurther = options.furtherApplications?.methods;
    this.applications = new Applications(patience, handlers, methodsOfFurther);
    this.messageLimits = {
      maxHeaderBytes: this.limits.headerBytes,
      maxHeaderCount: this.limits.headerCount,
      maxBodyBytes: this.limits.messageBytes,
    };
    this.ids = new Ids(options.random);
    this.#wallClockMs = options.wallClockMs;
    this.statelessTag = this.ids.tag();
    this.transports = new Transports(this, sink);
    this.flowTable = new FlowTable(this);
    this.reports = new Reports(this);
  }

  get unsentBytesPerFlow(): number {
    return this.limits.unsentBytesPerFlow;
  }

  get inventedFailureMs(): number {
    return this.timers.inventedFailureMs;
  }

  get tcpUpgradeMs(): number {
    return this.timers.tcpUpgradeMs;
  }

  get transactionCount(): number {
    return this.#servers.size + this.#clients.size;
  }

  get serverCount(): number {
    return this.#servers.size;
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /** Without the one that looks after open connections. */
  get timerCount(): number {
    return this.#wheel.size - (this.transports.isSweeping ? 1 : 0);
  }

  get nextDeadline(): Deadline | undefined {
    const atMs = this.#wheel.nextDeadline();
    return atMs === undefined ? undefined : new NextTimer(atMs, this.#wheel);
  }

  /** Moves the clock and hands out what has become due. */
  advance(nowMs: number): void {
    if (nowMs > this.nowMs) this.nowMs = nowMs;
    this.#wheel.advance(this.nowMs, fire);
  }

  setTimer(owner: TimerOwner, name: string, delayMs: number): TimerHandle {
    const handle: TimerHandle = { owner, name, ticket: 0 };
    handle.ticket = this.#wheel.schedule(this.nowMs + delayMs, handle);
    return handle;
  }

  clearTimer(handle: TimerHandle | undefined): void {
    if (handle !== undefined) this.#wheel.cancel(handle.ticket);
  }

  emit(output: EngineOutput): void {
    this.#outputs.push(output);
  }

  poll(): EngineOutput | undefined {
    const output = this.#outputs[this.#nextOutput];
    if (output === undefined) {
      this.#outputs = [];
      this.#nextOutput = 0;
      return undefined;
    }
    this.#nextOutput += 1;
    return output;
  }

  messageId(): string {
    return this.ids.messageId();
  }

  timeOfDay(): string {
    const now = this.#wallClockMs();
    const second = Math.floor(now / SECOND_MS);
    if (second !== this.#clockSecond) {
      this.#clockSecond = second;
      const ofDay = second % DAY_SECONDS;
      const parts = [Math.floor(ofDay / 3600), Math.floor(ofDay / 60) % 60, ofDay % 60];
      this.#clockText = parts.map((part) => String(part).padStart(2, '0')).join(':');
    }
    const micros = Math.floor((now - second * SECOND_MS) * 1000);
    return `${this.#clockText}.${String(micros).padStart(6, '0')}`;
  }

  addServer(transaction: ServerTransaction): void {
    this.#servers.set(transaction.key, transaction);
    if (transaction.mergeKey !== undefined) this.#merged.set(transaction.mergeKey, transaction);
  }

  server(key: string): ServerTransaction | undefined {
    return this.#servers.get(key);
  }

  /** A request with this From tag, Call-ID and CSeq that came by another way and is still being worked on. */
  mergedServer(mergeKey: string): ServerTransaction | undefined {
    return this.#merged.get(mergeKey);
  }

  serverEnded(transaction: ServerTransaction): void {
    if (this.#servers.get(transaction.key) === transaction) this.#servers.delete(transaction.key);
    const { mergeKey } = transaction;
    if (mergeKey !== undefined && this.#merged.get(mergeKey) === transaction) {
      this.#merged.delete(mergeKey);
    }
  }

  encodeTrying(transaction: ServerTransaction): Buffer | undefined {
    const { request, topVia } = transaction;
    return request === undefined ? undefined : encodeResponse(request, topVia, { status: 100 });
  }

  addClient(transaction: ClientTransaction): void {
    this.#clients.add(transaction);
  }

  removeClient(transaction: ClientTransaction): void {
    this.#clients.remove(transaction);
  }

  targetFailed(target: ResolvedTarget): void {
    this.emit({ kind: 'targetFailed', target });
  }

  client(key: string): ClientTransaction | undefined {
    return this.#clients.get(key);
  }

  /** The network says that datagrams do not arrive there: every transaction that sends some looks for another way. */
  datagramFailed(listenerId: number, remote: Endpoint): void {
    for (const transaction of this.#clients.takeThoseTo(listenerId, remote)) {
      transaction.datagramFailed();
    }
  }

  /** When to come back; nearly, so that not all do at once. */
  retryAfter(waitMs: number): HeaderLine {
    return ['Retry-After', String(retryAfterSeconds(waitMs, (max) => this.ids.number(max)))];
  }

  /** Answers a request without keeping anything of it (RFC 3261 §8.2.7). */
  answerStateless(
    request: SipMessage,
    how: {
      readonly hop: Hop;
      readonly topVia: string;
      readonly status: number;
      readonly reason?: string | undefined;
      readonly toTag?: string | undefined;
    },
    headers: readonly (readonly [string, string])[] = [],
  ): void {
    const { hop, topVia, status, reason } = how;
    const parts = { status, reason, toTag: how.toTag ?? this.statelessTag, headers };
    this.counters.responsesSent.add(String(status));
    this.transports.send(hop, encodeResponse(request, topVia, parts));
  }
}
