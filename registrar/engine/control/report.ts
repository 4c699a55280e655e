/** The messages that the engine sends to applications (drachtio control protocol, server side). */

import type { ControlId, EngineOutput, Transport } from '../seam.ts';
import type { Hop } from '../transport/flow.ts';
import { encodeFrame } from './frame.ts';

/** What the codec needs of the engine. */
export type ReportContext = {
  messageId(): string;
  /** `HH:MM:SS.uuuuuu`, UTC. */
  timeOfDay(): string;
  emit(output: EngineOutput): void;
};

/** Size and address of a message as applications are told them. */
export type Trace = {
  readonly bytes: number;
  /** As the protocol names it; `''` and `unknown` occur too. */
  readonly proto: string;
  readonly address: string;
  readonly port: number;
};

/** Something that the stack made up itself instead of reading it from the network. */
export function inventedTrace(proto: string): Trace {
  return { bytes: 0, proto, address: '', port: 0 };
}

/** The protocol field: WebSocket shows as what carries it. */
export function protoName(transport: Transport): string {
  if (transport === 'ws') return 'tcp';
  return transport === 'wss' ? 'tls' : transport;
}

export function remoteTrace(hop: Hop, bytes: number): Trace {
  return { bytes, proto: protoName(hop.transport), ...hop.remote };
}

/** A request of ours is reported with our own socket over UDP, and with the peer's over a connection. */
export function sentTrace(hop: Hop, bytes: number): Trace {
  const end = hop.flow === undefined ? hop.local : hop.remote;
  return { bytes, proto: protoName(hop.transport), ...end };
}

export class Reports {
  readonly #context: ReportContext;

  constructor(context: ReportContext) {
    this.#context = context;
  }

  /** `OK` with further fields, in answer to the control message `requestId`. */
  ok(to: ControlId, requestId: string, ...fields: readonly string[]): void {
    this.#send(to, ['response', requestId, 'OK', ...fields].join('|'));
  }

  /** The control message itself is at fault; the caller closes the connection. */
  no(to: ControlId, requestId: string, reason: string): void {
    this.#send(to, `response|${requestId}|NO|${reason}`);
  }

  /** A SIP operation failed; the connection stays. */
  nok(to: ControlId, requestId: string, reason: string): void {
    this.#send(to, `response|${requestId}|NOK|${reason}`);
  }

  /** The application's request went out as `sip`. */
  requestSent(
    to: ControlId,
    sent: { requestId: string; transactionId: string; trace: Trace },
    sip: Buffer,
  ): void {
    const leader = `response|${sent.requestId}|OK|application|${this.#meta(sent.trace)}`;
    this.#send(to, `${leader}|${sent.transactionId}|Msg sent:|`, sip);
  }

  /** The application's response went out as `sip`. */
  responseSent(
    to: ControlId,
    sent: { requestId: string; transactionId: string; dialogId: string; trace: Trace },
    sip: Buffer,
  ): void {
    const leader = `response|${sent.requestId}|OK|application|${this.#meta(sent.trace)}`;
    this.#send(to, `${leader}|${sent.transactionId}|${sent.dialogId}||Msg sent:|`, sip);
  }

  /** A final response of one branch of a proxied request. */
  proxyResponse(to: ControlId, requestId: string, trace: Trace, sip: Buffer): void {
    this.#send(to, `response|${requestId}|OK|network|${this.#meta(trace)}|||continue`, sip);
  }

  /** A new request outside dialogs; `receivedOn` is the socket that it came in on. */
  newRequest(
    to: ControlId,
    received: { transactionId: string; hop: Hop; bytes: number },
    sip: Buffer,
  ): void {
    const { hop } = received;
    const leader = `sip|network|${this.#meta(remoteTrace(hop, received.bytes))}`;
    const { address, port } = hop.listener.local;
    this.#send(to, `${leader}|${received.transactionId}||${address}|${port}|`, sip);
  }

  /** Any other message from the network; `dialogId` is `''` outside dialogs. */
  received(
    to: ControlId,
    about: { transactionId: string; dialogId: string; trace: Trace },
    sip: Buffer,
  ): void {
    const leader = `sip|network|${this.#meta(about.trace)}|${about.transactionId}`;
    this.#send(to, `${leader}|${about.dialogId}|`, sip);
  }

  /** The engine ended a dialog by itself; `sip` is the BYE. */
  unsolicited(to: ControlId, dialogId: string, trace: Trace, sip: Buffer): void {
    this.#send(to, `sip|application|${this.#meta(trace)}|unsolicited|${dialogId}|`, sip);
  }

  /** A call record event; `detail` is the role or the reason, absent for an attempt. */
  callRecord(
    to: ControlId,
    event: { name: string; source: 'network' | 'application'; detail: string | undefined },
    sip: Buffer,
  ): void {
    const detail = event.detail === undefined ? '' : `|${event.detail}`;
    this.#send(to, `${event.name}|${event.source}|${this.#context.timeOfDay()}${detail}`, sip);
  }

  #meta({ bytes, proto, address, port }: Trace): string {
    return `${bytes}|${proto}|${address}|${port}|${this.#context.timeOfDay()}`;
  }

  #send(controlId: ControlId, leader: string, sip?: Buffer): void {
    const line = `${this.#context.messageId()}|${leader}`;
    const bytes = sip === undefined ? encodeFrame(line) : encodeFrame(line, sip);
    this.#context.emit({ kind: 'sendControl', controlId, bytes });
  }
}
