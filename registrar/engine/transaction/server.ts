/** A server transaction at work: runs the machine of RFC 3261 §17.2 for one request and answers its repetitions. */

import type { SipMessage } from '../../../core/sip/message.ts';
import {
  createInviteServer,
  stepInviteServer,
  type InviteServerInput,
  type InviteServerState,
  type InviteServerTimer,
} from '../../../core/sip/transaction/invite-server.ts';
import {
  createNonInviteServer,
  stepNonInviteServer,
  type NonInviteServerInput,
  type NonInviteServerState,
  type NonInviteServerTimer,
} from '../../../core/sip/transaction/non-invite-server.ts';
import type { Action } from '../../../core/sip/transaction/step.ts';
import type { Timers } from '../../../core/sip/transaction/timers.ts';
import type { TimerOwner } from '../timers.ts';
import { TimerPair } from '../timers.ts';
import type { Hop } from '../transport/flow.ts';
import type { TransactionContext } from './context.ts';

/** Whoever answers the request. */
export type ServerUser = {
  /** No ACK came for a failure within 64·T1, or nobody will hear the rest; the transaction has ended. */
  serverEnded(transaction: ServerTransaction): void;
};

export type ServerContext = TransactionContext & {
  encodeTrying(transaction: ServerTransaction): Buffer | undefined;
  /** The transaction is over: forget its keys. */
  serverEnded(transaction: ServerTransaction): void;
};

type ServerInput = InviteServerInput | NonInviteServerInput;
type ServerAction = Action<InviteServerTimer | NonInviteServerTimer>;

export class ServerTransaction implements TimerOwner {
  readonly key: string;
  /** Names the request apart from its way, to notice copies that came on another one (RFC 3261 §8.2.2.2). */
  readonly mergeKey: string | undefined;
  /** Until the final response; repetitions are recognised by the key alone. */
  request: SipMessage | undefined;
  readonly hop: Hop;
  /** The top Via with `received` and `rport`; `''` after the final response. */
  topVia: string;
  readonly isInvite: boolean;
  /** Until the final response. */
  user: ServerUser | undefined;
  /** Our To tag in the final response, which the answer to a late CANCEL repeats (RFC 3261 §9.2). */
  toTag: string | undefined;
  /** A proxied request may come back to us by another way (RFC 3261 §16.3). */
  isProxied = false;
  isEnded = false;
  finalStatus = 0;
  readonly #context: ServerContext;
  readonly #timers: TimerPair;
  #state: InviteServerState | NonInviteServerState;
  #response: Buffer | undefined;
  /** The final response as text: much smaller to keep than a piece of a pool of buffers. */
  #kept: string | undefined;
  #wasSent = true;

  constructor(
    context: ServerContext,
    parts: {
      key: string;
      mergeKey: string | undefined;
      request: SipMessage;
      hop: Hop;
      topVia: string;
    },
  ) {
    this.#context = context;
    this.#timers = new TimerPair(context, this);
    this.key = parts.key;
    this.mergeKey = parts.mergeKey;
    this.request = parts.request;
    this.hop = parts.hop;
    this.topVia = parts.topVia;
    this.isInvite = parts.request.method === 'INVITE';
    const isReliable = parts.hop.transport !== 'udp';
    const timers: Timers = context.sipTimers;
    this.#state = this.isInvite
      ? createInviteServer(timers, isReliable)
      : createNonInviteServer(timers, isReliable);
    this.#step({ kind: 'request' });
  }

  get hasFinalResponse(): boolean {
    return this.finalStatus !== 0;
  }

  /** The request came again: the last response is repeated, if there is one. */
  repeated(): void {
    this.#step({ kind: 'request' });
  }

  /** The ACK to a failure that we sent. */
  acknowledged(): void {
    this.#step({ kind: 'ack' });
    if (this.finalStatus >= 300) this.#forgetResponse();
  }

  /**
   * Sends a response.
   *
   * @returns false when the connection that it should go by has closed
   */
  respond(statusCode: number, bytes: Buffer): boolean {
    if (statusCode >= 200) {
      this.finalStatus = statusCode;
      this.request = undefined;
    }
    this.#response = bytes;
    this.#wasSent = true;
    this.#context.counters.responsesSent.add(String(statusCode));
    this.#step({ kind: 'respond', statusCode });
    if (this.hasFinalResponse) this.#shrink();
    return this.#wasSent;
  }

  /** Ends the transaction without an answer. */
  drop(): void {
    this.#end();
  }

  onTimer(name: string): void {
    this.#timers.fired(name);
    this.#step({ kind: 'timer', timer: name } as ServerInput);
  }

  #step(input: ServerInput): void {
    if (this.isEnded) return;
    const step = this.isInvite
      ? stepInviteServer(this.#state as InviteServerState, input as InviteServerInput)
      : stepNonInviteServer(this.#state as NonInviteServerState, input as NonInviteServerInput);
    this.#state = step.state;
    for (const action of step.actions) this.#carryOut(action);
  }

  #carryOut(action: ServerAction): void {
    switch (action.kind) {
      case 'send':
      case 'resend':
        this.#send();
        return;
      case 'sendTrying':
        this.#response = this.#context.encodeTrying(this);
        this.#send();
        return;
      case 'startTimer':
        this.#timers.start(action.timer, action.afterMs);
        return;
      case 'stopTimer':
        this.#timers.stop(action.timer);
        return;
      case 'terminated':
        this.#end();
        return;
      case 'sendAck':
      case 'pass':
      case 'timeout':
      case 'transportFailed':
        return;
    }
  }

  #send(): void {
    const bytes = this.#response ?? (this.#kept && Buffer.from(this.#kept, 'latin1'));
    if (!bytes) return;
    this.#wasSent = this.#context.transports.send(this.hop, bytes);
  }

  /** Thousands of answered requests are kept for half a minute, only to be answered again. */
  #shrink(): void {
    this.topVia = '';
    // Whoever sent a 2xx to an INVITE repeats it (RFC 6026 §7.1).
    const isRepeatedByUser = this.isInvite && this.finalStatus < 300;
    const kept = this.isEnded || isRepeatedByUser ? undefined : this.#response?.toString('latin1');
    this.#forgetResponse();
    this.#kept = kept;
  }

  #forgetResponse(): void {
    this.#response = undefined;
    this.#kept = undefined;
  }

  #end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#timers.stopAll();
    this.#context.serverEnded(this);
    this.user?.serverEnded(this);
  }
}
