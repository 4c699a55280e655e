/**
 * What passes between the sans-IO engine and the sockets: every input and every output, as data.
 *
 * Contract: call `handleInput(input, nowMs)`, then drain `pollOutput()` until it returns `undefined`,
 * then sleep until `nextDeadline()` or the next input. `nowMs` is monotonic and never decreases.
 */

import type { Deadline } from '../../core/deadline.ts';

export const TRANSPORTS = ['udp', 'tcp', 'tls', 'ws', 'wss'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** A numeric IPv4 or IPv6 address, without brackets or zone, and a port. */
export type Endpoint = { readonly address: string; readonly port: number };

/** One listening socket. `id` is chosen by whoever opens it and is unique in the engine. */
export type Listener = {
  readonly id: number;
  readonly transport: Transport;
  readonly local: Endpoint;
  /** What to write into Via, Contact and Record-Route instead of `local`, behind a NAT. */
  readonly external: Endpoint | undefined;
};

/** A stream connection; ids of accepted ones are chosen by the I/O (even), of opened ones by the engine (odd). */
export type FlowId = number;

/** One connection of a drachtio application; ids of accepted ones are positive, of those that the engine opens negative. */
export type ControlId = number;

export type EngineInput =
  | {
      readonly kind: 'datagram';
      readonly listenerId: number;
      readonly remote: Endpoint;
      readonly bytes: Buffer;
    }
  | {
      readonly kind: 'flowAccepted';
      readonly flowId: FlowId;
      readonly listenerId: number;
      readonly remote: Endpoint;
    }
  /** The answer to `connect`: `local` is the socket's own end. */
  | { readonly kind: 'flowConnected'; readonly flowId: FlowId; readonly local: Endpoint }
  /** The other end closed, the connect failed, or the network reported an error. */
  | { readonly kind: 'flowClosed'; readonly flowId: FlowId; readonly reason: string }
  /** Any piece of a TCP or TLS stream; for ws and wss one whole WebSocket message. */
  | { readonly kind: 'flowBytes'; readonly flowId: FlowId; readonly bytes: Buffer }
  /** ICMP told us that this UDP destination is unreachable. */
  | {
      readonly kind: 'datagramFailed';
      readonly listenerId: number;
      readonly remote: Endpoint;
      readonly reason: string;
    }
  /** `isFurther`: by the port that is not for the owner's applications. */
  | {
      readonly kind: 'controlOpened';
      readonly controlId: ControlId;
      readonly isFurther?: boolean | undefined;
    }
  | { readonly kind: 'controlBytes'; readonly controlId: ControlId; readonly bytes: Buffer }
  | { readonly kind: 'controlClosed'; readonly controlId: ControlId }
  /** The two answers to `connectControl`. */
  | { readonly kind: 'controlConnected'; readonly controlId: ControlId }
  | { readonly kind: 'controlFailed'; readonly controlId: ControlId; readonly reason: string }
  /** The two answers to `askRoute`: the content of the web server's answer, whatever its status; or why there is none. */
  | { readonly kind: 'routeAnswered'; readonly questionId: number; readonly body: Buffer }
  | {
      readonly kind: 'routeUnanswered';
      readonly questionId: number;
      readonly reason: 'routeUnanswered' | 'routeTooLong';
    }
  /** The answer to `resolve`; empty `targets` means that the name leads nowhere. */
  | {
      readonly kind: 'resolved';
      readonly queryId: number;
      readonly targets: readonly ResolvedTarget[];
      readonly error: string | undefined;
    }
  /** Time has passed: a deadline was reached. */
  | { readonly kind: 'time' };

/** One place to try, in the order of RFC 3263. */
export type ResolvedTarget = { readonly transport: Transport; readonly remote: Endpoint };

export type EngineOutput =
  | {
      readonly kind: 'sendDatagram';
      readonly listenerId: number;
      readonly remote: Endpoint;
      readonly bytes: Buffer;
    }
  | { readonly kind: 'sendFlow'; readonly flowId: FlowId; readonly bytes: Buffer }
  /** Open a stream connection; `serverName` is the name for TLS (SNI and certificate check). */
  | {
      readonly kind: 'connect';
      readonly flowId: FlowId;
      readonly transport: Transport;
      readonly remote: Endpoint;
      readonly serverName: string | undefined;
    }
  /** Flush what was sent, then close. */
  | { readonly kind: 'closeFlow'; readonly flowId: FlowId }
  | { readonly kind: 'sendControl'; readonly controlId: ControlId; readonly bytes: Buffer }
  | { readonly kind: 'closeControl'; readonly controlId: ControlId }
  /** Open a control connection to an application; `host` is a name or a numeric address without brackets. */
  | {
      readonly kind: 'connectControl';
      readonly controlId: ControlId;
      readonly transport: 'tcp' | 'tls';
      readonly host: string;
      readonly port: number;
    }
  /** Ask a web server what is to become of a request; by POST when there is a body. */
  | {
      readonly kind: 'askRoute';
      readonly questionId: number;
      readonly url: string;
      readonly body: Buffer | undefined;
    }
  /** The answer is not wanted any more. */
  | { readonly kind: 'dropRouteQuestion'; readonly questionId: number }
  /** Locate a host by RFC 3263; `port` and `transport` only when the URI names them. */
  | {
      readonly kind: 'resolve';
      readonly queryId: number;
      readonly host: string;
      readonly port: number | undefined;
      readonly transport: Transport | undefined;
      readonly secure: boolean;
    }
  /** A place that `resolved` named could not be reached, was silent, or said 503: others go first for a while. */
  | { readonly kind: 'targetFailed'; readonly target: ResolvedTarget };

/** The engine as its driver sees it. */
export type SansIoEngine = {
  handleInput(input: EngineInput, nowMs: number): void;
  /** The next thing to do, in order; `undefined` when there is nothing left. */
  pollOutput(): EngineOutput | undefined;
  /** Its reason is the name of the timer that runs out then; to be asked before the next input. */
  nextDeadline(): Deadline | undefined;
};
