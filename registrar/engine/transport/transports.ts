/** Listeners and connections: picks the way out for a message, sends it, and cuts what comes in into messages. */

import type { Log } from '../../../core/log.ts';
import { StreamFramer } from '../../../core/sip/stream-framer.ts';
import type { MessageLimits } from '../../../core/sip/message.ts';
import type { Via } from '../../../core/sip/via.ts';
import type { EngineCounters } from '../counters.ts';
import type { EngineTimers } from '../options.ts';
import {
  TRANSPORTS,
  type Endpoint,
  type EngineInput,
  type EngineOutput,
  type FlowId,
  type Listener,
  type Transport,
} from '../seam.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import { canonicalAddress, endpointKey, nearness } from './address.ts';
import { Flow, type Hop } from './flow.ts';
import { isStun, stunAnswer } from './stun.ts';
import { defaultPort } from './target.ts';

const CRLF = Buffer.from('\r\n');
const PING_LENGTH = 4;
/** How many remembered choices and failures are kept before they are thought over again. */
const MEMORY = 10_000;
/** UDP devices that are known to have registered by another socket than they would be sent to. */
const MAX_REGISTERED = 500_000;
/** How long a peer that refused TCP is sent big messages by UDP. */
const NO_TCP_MEMORY_MS = 300_000;

/** Who takes the messages; `bytes` is one whole message, not a keep-alive. */
export type MessageSink = {
  message(bytes: Buffer, hop: Hop): void;
  /** A stream that cannot be cut any more is about to be closed; `head` may still be answered. */
  brokenStream(head: Buffer, code: string, hop: Hop): void;
};

/** What the transport part needs of the engine. */
export type TransportContext = {
  readonly nowMs: number;
  readonly listeners: readonly Listener[];
  readonly messageLimits: MessageLimits;
  readonly unsentBytesPerFlow: number;
  readonly timers: Pick<
    EngineTimers,
    'idleFlowMs' | 'firstMessageMs' | 'stalledMessageMs' | 'unusedFlowMs'
  >;
  readonly counters: EngineCounters;
  readonly log: Log;
  emit(output: EngineOutput): void;
  setTimer(owner: TimerOwner, name: string, delayMs: number): TimerHandle;
  clearTimer(handle: TimerHandle | undefined): void;
};

type FlowInput = Extract<EngineInput, { kind: `flow${string}` }>;

export class Transports implements TimerOwner {
  readonly #context: TransportContext;
  readonly #sink: MessageSink;
  readonly #listeners = new Map<number, Listener>();
  readonly #flows = new Map<FlowId, Flow>();
  /** Open and connecting flows by `<transport>/<remote>`; the newest one where there are several. */
  readonly #flowByRemote = new Map<string, Flow>();
  readonly #nearest = new Map<string, Listener>();
  /** By remote endpoint, where it is not the nearest one: a NAT lets in nothing else. */
  readonly #registeredBy = new Map<string, Listener>();
  readonly #refusesTcpUntilMs = new Map<string, number>();
  readonly #ownEndpoints = new Set<string>();
  #nextFlowId = 1;
  #sweepTimer: TimerHandle | undefined;

  constructor(context: TransportContext, sink: MessageSink) {
    this.#context = context;
    this.#sink = sink;
    for (const listener of context.listeners) {
      this.#listeners.set(listener.id, listener);
      this.#ownEndpoints.add(endpointKey(listener.local));
      this.#ownEndpoints.add(endpointKey(advertised(listener)));
    }
  }

  get flowCount(): number {
    return this.#flows.size;
  }

  /** True while a timer runs that looks after open connections. */
  get isSweeping(): boolean {
    return this.#sweepTimer !== undefined;
  }

  /** True when address and port are one of our own listeners. */
  isOwn(endpoint: Endpoint): boolean {
    return this.#ownEndpoints.has(endpointKey(endpoint));
  }

  /** True when this Via names one of our listeners, as all do that we write (RFC 3261 §18.1.1). */
  isOwnVia({ host, port, transport }: Via): boolean {
    const known = TRANSPORTS.find((name) => name.toUpperCase() === transport) ?? 'udp';
    return this.isOwn({ address: canonicalAddress(host), port: port ?? defaultPort(known) });
  }

  /** The listener to speak from; `undefined` when none has this transport and address family. */
  listenerFor(transport: Transport, address: string): Listener | undefined {
    const key = `${transport}/${address}`;
    const known = this.#nearest.get(key);
    if (known !== undefined) return known;
    const isIpv6 = address.includes(':');
    let best: Listener | undefined;
    let bestNearness = -Infinity;
    for (const listener of this.#listeners.values()) {
      if (listener.transport !== transport) continue;
      if (listener.local.address.includes(':') !== isIpv6) continue;
      const value = nearness(listener.local.address, address);
      if (value > bestNearness) {
        best = listener;
        bestNearness = value;
      }
    }
    if (best !== undefined) {
      if (this.#nearest.size >= MEMORY) this.#nearest.clear();
      this.#nearest.set(key, best);
    }
    return best;
  }

  /** The first listener of a transport, for texts that are written before the way out is known. */
  anyListener(transport: Transport | undefined): Listener | undefined {
    for (const listener of this.#listeners.values()) {
      if (transport === undefined || listener.transport === transport) return listener;
    }
    return undefined;
  }

  /** Notes by which of several UDP sockets a device has registered, for what is sent to it later. */
  noteRegistered({ transport, listener, remote }: Hop): void {
    if (transport !== 'udp') return;
    const key = endpointKey(remote);
    this.#registeredBy.delete(key);
    if (this.listenerFor('udp', remote.address) === listener) return;
    const [oldest] = this.#registeredBy.keys();
    if (oldest !== undefined && this.#registeredBy.size >= MAX_REGISTERED) {
      this.#registeredBy.delete(oldest);
    }
    this.#registeredBy.set(key, listener);
  }

  /** A flow to this endpoint that is open or being opened. */
  flowTo(transport: Transport, remote: Endpoint): Flow | undefined {
    return this.#flowByRemote.get(remoteKey(transport, remote));
  }

  /** The way to an endpoint, without opening a connection; `undefined` when no listener fits. */
  datagramHop(remote: Endpoint): Hop | undefined {
    const registeredBy =
      this.#registeredBy.size === 0 ? undefined : this.#registeredBy.get(endpointKey(remote));
    const listener = registeredBy ?? this.listenerFor('udp', remote.address);
    if (listener === undefined) return undefined;
    return { transport: 'udp', listener, local: advertised(listener), remote, flow: undefined };
  }

  /**
   * The way to an endpoint: the flow that exists, or else one that is opened now.
   *
   * @param serverName - what the peer's certificate must say, for TLS
   */
  hopTo(transport: Transport, remote: Endpoint, serverName?: string): Hop | undefined {
    if (transport === 'udp') return this.datagramHop(remote);
    const existing = this.flowTo(transport, remote);
    if (existing !== undefined) return existing.hop;
    const listener = this.listenerFor(transport, remote.address);
    if (listener === undefined) return undefined;
    const id = this.#nextFlowId;
    this.#nextFlowId += 2;
    const peer = { transport, listener, local: advertised(listener), remote };
    const flow = new Flow(id, peer, this.#framerFor(transport), true);
    this.#add(flow);
    this.#context.emit({ kind: 'connect', flowId: id, transport, remote, serverName });
    return flow.hop;
  }

  /** False when we know that this UDP peer does not take TCP. */
  mayUpgradeToTcp(remote: Endpoint): boolean {
    const until = this.#refusesTcpUntilMs.get(endpointKey(remote));
    if (until === undefined) return true;
    if (until > this.#context.nowMs) return false;
    this.#refusesTcpUntilMs.delete(endpointKey(remote));
    return true;
  }

  noteTcpRefused(remote: Endpoint): void {
    if (this.#refusesTcpUntilMs.size >= MEMORY) this.#refusesTcpUntilMs.clear();
    this.#refusesTcpUntilMs.set(endpointKey(remote), this.#context.nowMs + NO_TCP_MEMORY_MS);
  }

  /**
   * Sends one message.
   *
   * @returns false when the connection has closed, or holds too much that it could not send
   */
  send(hop: Hop, bytes: Buffer): boolean {
    const { flow } = hop;
    if (flow === undefined) {
      const { listener, remote } = hop;
      this.#context.emit({ kind: 'sendDatagram', listenerId: listener.id, remote, bytes });
      return true;
    }
    if (flow.state === 'closed') return false;
    flow.lastUsedMs = this.#context.nowMs;
    if (flow.state === 'open') {
      this.#context.emit({ kind: 'sendFlow', flowId: flow.id, bytes });
      return true;
    }
    if (flow.unsentBytes + bytes.length > this.#context.unsentBytesPerFlow) return false;
    flow.unsent.push(bytes);
    flow.unsentBytes += bytes.length;
    return true;
  }

  /** Closes a connection from our side and tells its users. */
  closeFlow(flow: Flow, reason: string): void {
    if (flow.state === 'closed') return;
    this.#context.emit({ kind: 'closeFlow', flowId: flow.id });
    this.#end(flow, reason);
  }

  handleDatagram(input: Extract<EngineInput, { kind: 'datagram' }>): void {
    const listener = this.#listeners.get(input.listenerId);
    if (listener === undefined) return;
    const { remote, bytes } = input;
    if (isStun(bytes)) {
      const answer = stunAnswer(bytes, remote);
      if (answer === undefined) return;
      this.#context.emit({ kind: 'sendDatagram', listenerId: listener.id, remote, bytes: answer });
      return;
    }
    const local = advertised(listener);
    this.#sink.message(bytes, { transport: 'udp', listener, local, remote, flow: undefined });
  }

  handleFlow(input: FlowInput): void {
    switch (input.kind) {
      case 'flowAccepted':
        this.#accept(input.flowId, input.listenerId, input.remote);
        return;
      case 'flowConnected':
        this.#connected(input.flowId);
        return;
      case 'flowBytes':
        this.#receive(input.flowId, input.bytes);
        return;
      case 'flowClosed': {
        const flow = this.#flows.get(input.flowId);
        if (flow !== undefined) this.#end(flow, input.reason);
      }
    }
  }

  /** Closes connections that nobody uses, and those whose peer holds us up. */
  onTimer(): void {
    this.#sweepTimer = undefined;
    for (const flow of this.#flows.values()) {
      const fault = this.#faultOf(flow);
      if (fault !== undefined) {
        this.#context.counters.refusals.add(fault);
        this.closeFlow(flow, fault);
      } else if (this.#isUnused(flow)) this.closeFlow(flow, 'idle');
    }
    this.#startSweeping();
  }

  #faultOf(flow: Flow): 'stalledMessage' | 'silentConnection' | 'flowTimer' | undefined {
    const { nowMs, timers } = this.#context;
    const { stalledSinceMs } = flow;
    const isStalled =
      stalledSinceMs !== undefined && stalledSinceMs + timers.stalledMessageMs <= nowMs;
    if (isStalled) return 'stalledMessage';
    if (flow.bindings > 0 && flow.lastHeardMs + (flow.silenceLimitMs ?? Infinity) <= nowMs) {
      return 'flowTimer';
    }
    const isSilent = !flow.isOutbound && !flow.hasSpoken;
    return isSilent && flow.openedAtMs + timers.firstMessageMs <= nowMs
      ? 'silentConnection'
      : undefined;
  }

  #isUnused(flow: Flow): boolean {
    const { nowMs, timers } = this.#context;
    if (flow.users.size > 0) return false;
    if (flow.isOutbound) return flow.lastUsedMs + timers.idleFlowMs <= nowMs;
    return flow.bindings === 0 && flow.lastUsedMs + timers.unusedFlowMs <= nowMs;
  }

  #startSweeping(): void {
    if (this.#sweepTimer !== undefined || this.#flows.size === 0) return;
    const { idleFlowMs, firstMessageMs, stalledMessageMs, unusedFlowMs } = this.#context.timers;
    const shortestMs = Math.min(idleFlowMs, firstMessageMs, stalledMessageMs, unusedFlowMs);
    const delayMs = Math.max(1, shortestMs / 2);
    this.#sweepTimer = this.#context.setTimer(this, 'sweep', delayMs);
  }

  #stopSweeping(): void {
    this.#context.clearTimer(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }

  #framerFor(transport: Transport): StreamFramer | undefined {
    const isCut = transport === 'tcp' || transport === 'tls';
    return isCut ? new StreamFramer(this.#context.messageLimits) : undefined;
  }

  #accept(id: FlowId, listenerId: number, remote: Endpoint): void {
    const listener = this.#listeners.get(listenerId);
    if (listener === undefined) return;
    const { transport } = listener;
    const peer = { transport, listener, local: advertised(listener), remote };
    this.#add(new Flow(id, peer, this.#framerFor(transport), false));
  }

  #connected(id: FlowId): void {
    const flow = this.#flows.get(id);
    if (flow?.state !== 'connecting') return;
    flow.state = 'open';
    const { unsent } = flow;
    flow.unsent = [];
    flow.unsentBytes = 0;
    for (const bytes of unsent) this.#context.emit({ kind: 'sendFlow', flowId: id, bytes });
  }

  #receive(id: FlowId, bytes: Buffer): void {
    const flow = this.#flows.get(id);
    if (flow === undefined || flow.state === 'closed') return;
    flow.lastUsedMs = flow.lastHeardMs = this.#context.nowMs;
    const { framer } = flow;
    if (framer === undefined) {
      this.#receiveWhole(flow, bytes);
      return;
    }
    framer.push(bytes);
    this.#takeFrames(flow, framer);
    if (!framer.isMidMessage) flow.stalledSinceMs = undefined;
    else flow.stalledSinceMs ??= this.#context.nowMs;
  }

  #takeFrames(flow: Flow, framer: StreamFramer): void {
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
      switch (frame.kind) {
        case 'message':
          flow.hasSpoken = true;
          flow.stalledSinceMs = undefined;
          this.#sink.message(frame.bytes, flow.hop);
          break;
        case 'ping':
          this.#context.emit({ kind: 'sendFlow', flowId: flow.id, bytes: CRLF });
          break;
        case 'pong':
          break;
        case 'error':
          this.#sink.brokenStream(frame.head, frame.error.code, flow.hop);
          this.closeFlow(flow, frame.error.code);
      }
      if (isClosed(flow)) return;
    }
  }

  /** WebSocket messages come whole; a double CRLF in one is a ping (RFC 7118 §6, RFC 5626 §3.5.1). */
  #receiveWhole(flow: Flow, bytes: Buffer): void {
    const isBlank =
      bytes.length <= PING_LENGTH && bytes.every((byte) => byte === 13 || byte === 10);
    if (!isBlank) {
      flow.hasSpoken = true;
      this.#sink.message(bytes, flow.hop);
    } else if (bytes.length === PING_LENGTH) {
      this.#context.emit({ kind: 'sendFlow', flowId: flow.id, bytes: CRLF });
    }
  }

  #add(flow: Flow): void {
    flow.openedAtMs = flow.lastUsedMs = flow.lastHeardMs = this.#context.nowMs;
    this.#flows.set(flow.id, flow);
    this.#flowByRemote.set(remoteKey(flow.hop.transport, flow.hop.remote), flow);
    this.#startSweeping();
  }

  #end(flow: Flow, reason: string): void {
    if (flow.state === 'closed') return;
    flow.state = 'closed';
    flow.unsent = [];
    this.#flows.delete(flow.id);
    if (this.#flows.size === 0) this.#stopSweeping();
    const key = remoteKey(flow.hop.transport, flow.hop.remote);
    if (this.#flowByRemote.get(key) === flow) this.#flowByRemote.delete(key);
    const users = [...flow.users];
    flow.users.clear();
    for (const user of users) user.flowClosed(flow, reason);
  }
}

/** What a listener calls itself towards peers. */
function advertised(listener: Listener): Endpoint {
  return listener.external ?? listener.local;
}

function remoteKey(transport: Transport, remote: Endpoint): string {
  return `${transport}/${remote.address}|${remote.port}`;
}

/** Asked anew after every message, because whoever took it may have closed the flow. */
function isClosed(flow: Flow): boolean {
  return flow.state === 'closed';
}
