/** One stream connection to a peer, and who must hear when it ends. */

import type { StreamFramer } from '../../../core/sip/stream-framer.ts';
import type { Endpoint, FlowId, Listener, Transport } from '../seam.ts';

/** Somebody who waits for an answer on a flow, or has a dialog on it. */
export type FlowUser = {
  /** The flow has just ended; it is no longer in any table. */
  flowClosed(flow: Flow, reason: string): void;
};

/** How a message travels: from which listener's address, to where, and over which connection. */
export type Hop = {
  readonly transport: Transport;
  readonly listener: Listener;
  /** What we call ourselves on this hop: in Via, Contact and Record-Route. */
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** `undefined` for UDP. */
  readonly flow: Flow | undefined;
};

export class Flow {
  readonly id: FlowId;
  readonly hop: Hop;
  /** `undefined` for WebSocket, whose messages come whole. */
  readonly framer: StreamFramer | undefined;
  readonly isOutbound: boolean;
  readonly users = new Set<FlowUser>();
  state: 'connecting' | 'open' | 'closed';
  /** Messages that wait for the connection to open. */
  unsent: Buffer[] = [];
  unsentBytes = 0;
  openedAtMs = 0;
  lastUsedMs = 0;
  /** When the last bytes came, keep-alives included. */
  lastHeardMs = 0;
  /** A peer that promised keep-alives and is silent for longer is gone (RFC 5626 §5.4); `undefined`: it promised none. */
  silenceLimitMs: number | undefined;
  /** A whole message has come. */
  hasSpoken = false;
  /** When the message began that has not come to its end; `undefined` between messages. */
  stalledSinceMs: number | undefined;
  /** Contacts that are reached by it. */
  bindings = 0;

  constructor(
    id: FlowId,
    peer: { listener: Listener; local: Endpoint; remote: Endpoint; transport: Transport },
    framer: StreamFramer | undefined,
    isOutbound: boolean,
  ) {
    this.id = id;
    this.hop = { ...peer, flow: this };
    this.framer = framer;
    this.isOutbound = isOutbound;
    this.state = isOutbound ? 'connecting' : 'open';
  }
}
