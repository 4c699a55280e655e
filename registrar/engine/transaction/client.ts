/** A client transaction at work: finds a way for one request of ours, repeats it, and tries the next place on failure. */

import type { SipMessage } from '../../../core/sip/message.ts';
import {
  createInviteClient,
  stepInviteClient,
  type InviteClientInput,
  type InviteClientState,
  type InviteClientTimer,
} from '../../../core/sip/transaction/invite-client.ts';
import { clientKeyOf } from '../../../core/sip/transaction/key.ts';
import {
  createNonInviteClient,
  stepNonInviteClient,
  type NonInviteClientInput,
  type NonInviteClientState,
  type NonInviteClientTimer,
} from '../../../core/sip/transaction/non-invite-client.ts';
import type { Action } from '../../../core/sip/transaction/step.ts';
import { encodeHopByHop, encodeRequest, placed, type RequestDraft } from '../request-draft.ts';
import type { ResolvedTarget } from '../seam.ts';
import { ownVia } from '../text.ts';
import { TimerPair, type TimerHandle, type TimerOwner } from '../timers.ts';
import type { FlowUser, Hop } from '../transport/flow.ts';
import type { TransactionContext } from './context.ts';

/** RFC 3261 §18.1.1: larger requests do not go by UDP when anything else is possible. */
const MAX_DATAGRAM_REQUEST = 1300;
const SERVICE_UNAVAILABLE = 503;
const NO_BODY = Buffer.alloc(0);

/**
 * Why a request got no answer: nobody answered in time, nobody could be reached, the connection to a registered
 * device has closed (one that the device promised to keep up: `flowFailed`), or the name leads nowhere.
 */
export type ClientFailure = 'timeout' | 'unreachable' | 'gone' | 'flowFailed' | 'nameNotFound';

export type ReceivedResponse = {
  readonly message: SipMessage;
  readonly hop: Hop;
};

/** Whoever sent the request. */
export type ClientUser = {
  clientResponse(transaction: ClientTransaction, response: ReceivedResponse): void;
  /** Nothing more will come; never called before the call that sent the request has returned. */
  clientFailed(transaction: ClientTransaction, failure: ClientFailure): void;
  /** The last thing that is heard of it. */
  clientEnded(transaction: ClientTransaction): void;
};

/** A place to try: a hop that is known to be right, or an address that may need a connection. */
export type ClientTarget =
  | {
      readonly kind: 'hop';
      readonly hop: Hop;
      /** The flow of a registration by RFC 5626. */
      readonly isOutbound?: boolean;
    }
  | {
      readonly kind: 'address';
      readonly target: ResolvedTarget;
      /** For TLS: the name in the certificate. */
      readonly serverName: string | undefined;
      /** True when TCP stands in for UDP only because the message is big. */
      readonly isUpgrade?: boolean;
      readonly mayUpgrade?: boolean;
      /** A name led here: whoever resolved it wants to know when nobody answers. */
      readonly isLocated?: boolean;
    };

/** For requests whose answers nobody waits for. */
export const NOBODY: ClientUser = {
  clientResponse: ignore,
  clientFailed: ignore,
  clientEnded: ignore,
};

function ignore(): void {
  // Nobody is there to be told.
}

export type ClientContext = TransactionContext & {
  /** Makes responses with this transaction's key find it, and stops that. */
  addClient(transaction: ClientTransaction): void;
  removeClient(transaction: ClientTransaction): void;
  targetFailed(target: ResolvedTarget): void;
};

type ClientInput = InviteClientInput | NonInviteClientInput;
type ClientAction = Action<InviteClientTimer | NonInviteClientTimer>;

export class ClientTransaction implements TimerOwner, FlowUser {
  readonly user: ClientUser;
  readonly isInvite: boolean;
  /** As it goes out; addresses filled in as soon as the way is known. */
  draft: RequestDraft;
  branch = '';
  hop: Hop | undefined;
  bytes: Buffer | undefined;
  hasProvisional = false;
  finalStatus = 0;
  isEnded = false;
  /** False until bytes have really been handed to a socket, or to a connection that is being opened. */
  isSent = false;
  readonly #fixedBranch: string | undefined;
  readonly #context: ClientContext;
  readonly #timers: TimerPair;
  #original: RequestDraft;
  #targets: ClientTarget[] = [];
  #target: ClientTarget | undefined;
  #attempts = 0;
  #state: InviteClientState | NonInviteClientState | undefined;
  #received: ReceivedResponse | undefined;
  #ack: Buffer | undefined;
  #failure: ClientFailure | undefined;
  #isUpgrade = false;
  #upgradeTimer: TimerHandle | undefined;

  /** @param branch - instead of a new one: that of the INVITE, for its CANCEL */
  constructor(context: ClientContext, draft: RequestDraft, user: ClientUser, branch?: string) {
    this.#fixedBranch = branch;
    this.#context = context;
    this.#timers = new TimerPair(context, this);
    this.#original = draft;
    this.draft = draft;
    this.user = user;
    this.isInvite = draft.method === 'INVITE';
  }

  /** What a response carries to find us: branch and method (RFC 3261 §17.1.3). */
  get key(): string {
    return clientKeyOf(this.branch, this.draft.method);
  }

  /** As it went out last, or as it will but for our Via once a name is resolved. */
  get text(): Buffer {
    return this.bytes ?? encodeRequest(this.draft, undefined);
  }

  /** True for a request of somebody else that we pass on: below our Via are others. */
  get isForwarded(): boolean {
    return this.#original.forwarded !== undefined;
  }

  /** What it means that the connection to a registered device is closed (RFC 5626 §5.3). */
  get #gone(): ClientFailure {
    const target = this.#target;
    return target?.kind === 'hop' && target.isOutbound === true ? 'flowFailed' : 'gone';
  }

  get #lostConnection(): ClientFailure {
    return this.hop?.flow?.isOutbound === false ? this.#gone : 'unreachable';
  }

  /** True once a request has gone out and until its final response or failure. */
  get isPending(): boolean {
    return !this.isEnded && this.finalStatus === 0 && this.#failure === undefined;
  }

  /** Sends the request to the first of these places that can be reached. */
  start(targets: readonly ClientTarget[]): void {
    this.#targets = [...targets];
    this.#attempt('unreachable');
  }

  /** The request could not be started at all; its user is told a moment later. */
  fail(failure: ClientFailure): void {
    if (this.#failure !== undefined || this.isEnded) return;
    this.#failure = failure;
    this.#timers.stopAll();
    this.#timers.start('failure', this.#context.inventedFailureMs);
  }

  /** A response from the network. */
  receive(response: ReceivedResponse): void {
    if (this.#failure !== undefined) return;
    const { statusCode } = response.message;
    this.#stopUpgradeTimer();
    if (statusCode === SERVICE_UNAVAILABLE && this.finalStatus === 0) {
      this.#blame();
      if (this.#targets.length > 0) {
        this.#leaveBusy(response);
        return;
      }
    }
    if (statusCode < 200) this.hasProvisional = true;
    else if (this.finalStatus === 0) this.finalStatus = statusCode;
    this.#received = response;
    this.#step({ kind: 'response', statusCode });
    this.#received = undefined;
    if (statusCode >= 200) this.#shrink();
  }

  /** Tries no other place from now on: the request is to be cancelled where it is. */
  stay(): void {
    this.#targets = [];
  }

  flowClosed(): void {
    this.#context.removeClient(this);
    this.#lost();
  }

  /** The network says that the datagram did not arrive. */
  datagramFailed(): void {
    this.#lost();
  }

  /** Ends the transaction without telling its user more. */
  abandon(): void {
    this.#end();
  }

  onTimer(name: string): void {
    if (name === 'upgrade') {
      this.#upgradeTimer = undefined;
      this.#giveUpTcp();
      return;
    }
    this.#timers.fired(name);
    if (name === 'failure') {
      this.user.clientFailed(this, this.#failure ?? 'unreachable');
      this.#end();
      return;
    }
    this.#step({ kind: 'timer', timer: name } as ClientInput);
  }

  /** Goes to the next place; when there is none, the request has failed for the reason given. */
  #attempt(reason: ClientFailure): void {
    const target = this.#targets.shift();
    if (target === undefined) {
      this.fail(reason);
      return;
    }
    const hop = target.kind === 'hop' ? target.hop : this.#hopTo(target);
    if (hop === undefined) {
      this.#attempt('unreachable');
      return;
    }
    this.#target = target;
    this.#isUpgrade = target.kind === 'address' && target.isUpgrade === true;
    this.#place(hop);
    if (hop.flow?.state === 'closed') {
      this.#attempt(this.#gone);
      return;
    }
    if (target.kind === 'address' && this.#shouldUpgrade(target)) {
      this.#targets.unshift(upgraded(target), { ...target, mayUpgrade: false });
      this.#attempt(reason);
      return;
    }
    this.#begin(hop);
  }

  #hopTo({ target, serverName }: Extract<ClientTarget, { kind: 'address' }>): Hop | undefined {
    return this.#context.transports.hopTo(target.transport, target.remote, serverName);
  }

  #place(hop: Hop): void {
    this.hop = hop;
    const loopMark = this.#original.forwarded?.loopMark ?? '';
    this.branch = this.#fixedBranch ?? this.#context.ids.branch() + loopMark;
    this.draft = placed(this.#original, hop);
    this.bytes = encodeRequest(this.draft, ownVia(hop, this.branch));
  }

  #shouldUpgrade({ target, mayUpgrade }: Extract<ClientTarget, { kind: 'address' }>): boolean {
    const { transports } = this.#context;
    return (
      mayUpgrade === true &&
      target.transport === 'udp' &&
      (this.bytes?.length ?? 0) > MAX_DATAGRAM_REQUEST &&
      transports.mayUpgradeToTcp(target.remote) &&
      transports.listenerFor('tcp', target.remote.address) !== undefined
    );
  }

  #begin(hop: Hop): void {
    this.#attempts += 1;
    this.hasProvisional = false;
    const isReliable = hop.flow !== undefined;
    const { sipTimers } = this.#context;
    this.#state = this.isInvite
      ? createInviteClient(sipTimers, isReliable)
      : createNonInviteClient(sipTimers, isReliable);
    this.#context.addClient(this);
    hop.flow?.users.add(this);
    if (this.#isUpgrade && hop.flow?.state === 'connecting') {
      this.#upgradeTimer = this.#context.setTimer(this, 'upgrade', this.#context.tcpUpgradeMs);
    }
    this.#context.counters.requestsSent.add(this.draft.method);
    this.#step({ kind: 'start' });
  }

  /** The way that was taken is no good: the next one, as long as nothing has come back. */
  #lost(): void {
    this.#stopUpgradeTimer();
    if (this.#failure !== undefined || this.isEnded) return;
    const { hop } = this;
    const canRetry = this.finalStatus === 0 && !this.hasProvisional;
    if (this.#isUpgrade && hop !== undefined) this.#context.transports.noteTcpRefused(hop.remote);
    else if (canRetry) this.#blame();
    if (canRetry && this.#targets.length > 0) {
      this.#leaveHop();
      this.#attempt('unreachable');
      return;
    }
    this.#step({ kind: 'transportError' });
  }

  /** RFC 3263 §4.3: silence is a failure of the place, as long as there has been nothing but silence. */
  #timedOut(): void {
    if (!this.hasProvisional && this.finalStatus === 0) {
      this.#blame();
      if (this.#targets.length > 0) {
        this.#leaveHop();
        this.#attempt('timeout');
        return;
      }
    }
    this.#failNow('timeout');
  }

  /**
   * RFC 3263 §4.3: goes on to the next place. What is left of the transaction with this one still acknowledges and
   * absorbs the repetitions of its answer.
   */
  #leaveBusy(response: ReceivedResponse): void {
    const rest = new ClientTransaction(this.#context, this.#original, NOBODY, this.branch);
    rest.hop = this.hop;
    rest.branch = this.branch;
    rest.draft = this.draft;
    rest.bytes = this.bytes;
    rest.#state = this.#state;
    this.#leaveHop();
    this.#context.addClient(rest);
    rest.hop?.flow?.users.add(rest);
    rest.receive(response);
    this.#attempt('unreachable');
  }

  #blame(): void {
    const target = this.#target;
    if (target?.kind !== 'address' || target.isLocated !== true || this.#isUpgrade) return;
    this.#context.targetFailed(target.target);
  }

  /** The connection that we hoped for does not come about: back to UDP. */
  #giveUpTcp(): void {
    const flow = this.hop?.flow;
    if (flow?.state === 'connecting') this.#context.transports.closeFlow(flow, 'too slow');
  }

  #step(input: ClientInput): void {
    if (this.isEnded || this.#state === undefined) return;
    const step = this.isInvite
      ? stepInviteClient(this.#state as InviteClientState, input as InviteClientInput)
      : stepNonInviteClient(this.#state as NonInviteClientState, input as NonInviteClientInput);
    this.#state = step.state;
    const attempt = this.#attempts;
    for (const action of step.actions) {
      // The action before may have sent the request elsewhere, in another transaction.
      if (this.#isStopped() || this.#attempts !== attempt) return;
      this.#carryOut(action);
    }
  }

  /** Asked before each action, because the one before may have ended the transaction. */
  #isStopped(): boolean {
    return this.isEnded || this.#failure !== undefined;
  }

  // eslint-disable-next-line complexity -- one arm per action reads better whole
  #carryOut(action: ClientAction): void {
    switch (action.kind) {
      case 'send':
        if (!this.#send(this.bytes)) this.fail(this.#lostConnection);
        return;
      case 'resend':
        this.#send(this.bytes);
        return;
      case 'sendAck':
        this.#sendAck();
        return;
      case 'pass':
        if (this.#received !== undefined) this.user.clientResponse(this, this.#received);
        return;
      case 'startTimer':
        this.#timers.start(action.timer, action.afterMs);
        return;
      case 'stopTimer':
        this.#timers.stop(action.timer);
        return;
      case 'timeout':
        this.#timedOut();
        return;
      case 'transportFailed':
        this.#failNow(this.#lostConnection);
        return;
      case 'terminated':
        if (this.#failure === undefined) this.#end();
        return;
      case 'sendTrying':
        return;
    }
  }

  #failNow(failure: ClientFailure): void {
    if (this.finalStatus !== 0) return;
    if (failure === 'timeout') {
      this.user.clientFailed(this, failure);
      return;
    }
    this.fail(failure);
  }

  #send(bytes: Buffer | undefined): boolean {
    if (bytes === undefined || this.hop === undefined) return false;
    const wasSent = this.#context.transports.send(this.hop, bytes);
    if (wasSent) this.isSent = true;
    return wasSent;
  }

  #sendAck(): void {
    const { hop, branch } = this;
    if (hop === undefined) return;
    const to = this.#received?.message.header('To') ?? this.draft.to;
    this.#ack ??= encodeHopByHop(this.draft, 'ACK', { hop, branch, to, headers: [] });
    this.#send(this.#ack);
  }

  /** Thousands of answered requests are kept for half a minute, and the request itself is not sent again. */
  #shrink(): void {
    if (this.bytes === undefined) return;
    this.bytes = undefined;
    this.#targets = [];
    this.draft = this.#original = { ...this.draft, headers: [], body: NO_BODY };
  }

  #stopUpgradeTimer(): void {
    this.#context.clearTimer(this.#upgradeTimer);
    this.#upgradeTimer = undefined;
  }

  #leaveHop(): void {
    this.#timers.stopAll();
    this.#context.removeClient(this);
    this.hop?.flow?.users.delete(this);
  }

  #end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#stopUpgradeTimer();
    this.#leaveHop();
    this.user.clientEnded(this);
  }
}

function upgraded(target: Extract<ClientTarget, { kind: 'address' }>): ClientTarget {
  const { remote } = target.target;
  return { ...target, target: { transport: 'tcp', remote }, mayUpgrade: false, isUpgrade: true };
}
