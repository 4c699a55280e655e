/** Watches what the driver feeds to the engine and carries out for it, and turns the SIP messages in it into captures. */
import { isKeepAlive } from '../../../core/sip/message.ts';
import { StreamFramer } from '../../../core/sip/stream-framer.ts';
import type { Endpoint, EngineInput, EngineOutput, FlowId, Listener, Transport } from '../seam.ts';
import { isStun } from '../transport/stun.ts';
import type { Captured, TraceSink } from './captured.ts';
import { redacted } from './redact.ts';

type Flow = {
  readonly transport: Transport;
  local: Endpoint;
  readonly remote: Endpoint;
  /** Cuts what comes in; a WebSocket message is whole already. */
  readonly framer: StreamFramer | undefined;
};

const UNKNOWN: Endpoint = { address: '0.0.0.0', port: 0 };

export class Tap {
  readonly #listeners: ReadonlyMap<number, Listener>;
  readonly #sink: TraceSink;
  readonly #wallClockMs: () => number;
  readonly #flows = new Map<FlowId, Flow>();

  constructor(listeners: readonly Listener[], sink: TraceSink, wallClockMs: () => number) {
    this.#listeners = new Map(listeners.map((listener) => [listener.id, listener]));
    this.#sink = sink;
    this.#wallClockMs = wallClockMs;
  }

  // eslint-disable-next-line complexity -- one arm per kind of input reads better whole
  input(input: EngineInput): void {
    switch (input.kind) {
      case 'datagram':
        this.#datagram('in', input.listenerId, input.remote, input.bytes);
        return;
      case 'flowAccepted':
        this.#accepted(input.flowId, input.listenerId, input.remote);
        return;
      case 'flowConnected': {
        const flow = this.#flows.get(input.flowId);
        if (flow !== undefined) flow.local = input.local;
        return;
      }
      case 'flowBytes':
        this.#received(input.flowId, input.bytes);
        return;
      case 'flowClosed':
        this.#flows.delete(input.flowId);
        return;
      case 'datagramFailed':
      case 'controlOpened':
      case 'controlBytes':
      case 'controlClosed':
      case 'controlConnected':
      case 'controlFailed':
      case 'routeAnswered':
      case 'routeUnanswered':
      case 'resolved':
      case 'time':
        // Nothing that was on the wire.
        return;
    }
  }

  // eslint-disable-next-line complexity -- one arm per kind of output reads better whole
  output(output: EngineOutput): void {
    switch (output.kind) {
      case 'sendDatagram':
        this.#datagram('out', output.listenerId, output.remote, output.bytes);
        return;
      case 'sendFlow': {
        const flow = this.#flows.get(output.flowId);
        if (flow !== undefined) this.#capture('out', flow, output.bytes);
        return;
      }
      case 'connect':
        this.#flows.set(output.flowId, {
          transport: output.transport,
          local: UNKNOWN,
          remote: output.remote,
          framer: new StreamFramer(),
        });
        return;
      case 'closeFlow':
      case 'sendControl':
      case 'closeControl':
      case 'connectControl':
      case 'askRoute':
      case 'dropRouteQuestion':
      case 'resolve':
      case 'targetFailed':
        // Nothing that was on the wire.
        return;
    }
  }

  #accepted(flowId: FlowId, listenerId: number, remote: Endpoint): void {
    const listener = this.#listeners.get(listenerId);
    if (listener === undefined) return;
    const { transport, local } = listener;
    const isFramed = transport === 'ws' || transport === 'wss';
    const framer = isFramed ? undefined : new StreamFramer();
    this.#flows.set(flowId, { transport, local, remote, framer });
  }

  #received(flowId: FlowId, bytes: Buffer): void {
    const flow = this.#flows.get(flowId);
    if (flow === undefined) return;
    if (flow.framer === undefined) {
      this.#capture('in', flow, bytes);
      return;
    }
    flow.framer.push(bytes);
    for (let frame = flow.framer.next(); frame !== undefined; frame = flow.framer.next()) {
      if (frame.kind === 'message') this.#capture('in', flow, frame.bytes);
      // What cannot be cut is lost to the engine too; it closes the connection.
      if (frame.kind === 'error') return;
    }
  }

  #datagram(
    direction: Captured['direction'],
    listenerId: number,
    remote: Endpoint,
    bytes: Buffer,
  ): void {
    const listener = this.#listeners.get(listenerId);
    if (listener === undefined) return;
    const { transport, local } = listener;
    this.#capture(direction, { transport, local, remote }, bytes);
  }

  #capture(
    direction: Captured['direction'],
    path: Pick<Flow, 'transport' | 'local' | 'remote'>,
    bytes: Buffer,
  ): void {
    if (isKeepAlive(bytes) || isStun(bytes)) return;
    const { transport, local, remote } = path;
    const timeMs = this.#wallClockMs();
    this.#sink({ timeMs, direction, transport, local, remote, bytes: redacted(bytes) });
  }
}
