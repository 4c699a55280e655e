/** What becomes of each message from the network: repetition, refusal, part of a dialog, or something new. */

import { ParseError } from '../../core/errors.ts';
import { flatText } from '../../core/flat-text.ts';
import { parseRAck } from '../../core/sip/cseq.ts';
import { isKeepAlive, SipMessage } from '../../core/sip/message.ts';
import { METHODS } from '../../core/sip/status.ts';
import {
  cancelledTransactionKey,
  clientTransactionKey,
  serverTransactionKey,
} from '../../core/sip/transaction/key.ts';
import { validateRequest, validateResponse, type MessageProblem } from '../../core/sip/validate.ts';
import {
  firstElement,
  isKnownMethod,
  isLastNotify,
  isNew,
  readVia,
  stampedVia,
  statusOfBrokenStream,
} from './arrival.ts';
import type { CallRecords } from './call-records.ts';
import { dialogIdOf, type Dialog } from './dialog/dialog.ts';
import type { DialogLifecycle } from './dialog/lifecycle.ts';
import { MIN_SESSION_SECONDS, type SessionTimers } from './dialog/session-timer.ts';
import type { Kernel } from './kernel.ts';
import { RequestBudget, Shortage, TokenBucket } from './overload.ts';
import type { HeaderLine } from './template.ts';
import { encodeReceived } from './text.ts';
import type { ClientTransaction } from './transaction/client.ts';
import { ServerTransaction } from './transaction/server.ts';
import type { Hop } from './transport/flow.ts';
import type { MessageSink } from './transport/transports.ts';
import type { Uac } from './uac/uac.ts';
import type { Uas } from './uas/uas.ts';
import { UasRequest } from './uas/uas-request.ts';

/** Methods that applications get outside dialogs. */
const ALLOWED = METHODS.join(', ');
/** Methods that mean nothing without the dialog or transaction that they name. */
const NEVER_NEW: readonly string[] = ['BYE', 'UPDATE', 'PRACK', 'ACK', 'CANCEL'];
/** A shortage has ended when nobody was refused for so long. */
const CALM_AFTER_MS = 10_000;

/** Why a request is not served, as it is counted, and what its sender is told. */
type Refusal = {
  readonly kind: string;
  readonly status: number;
  readonly headers?: readonly HeaderLine[];
};

/** A request that has passed the door. */
type Arrival = {
  readonly message: SipMessage;
  readonly hop: Hop;
  readonly key: string;
  readonly topVia: string;
};

/** What a proxy takes part in: requests that carry its Route, and CANCELs of what it has forwarded. */
export type ProxyHook = {
  /** @returns true when the request was forwarded */
  forward(message: SipMessage, topVia: string, hop: Hop): boolean;
  /** @returns true when the response was forwarded */
  forwardResponse(message: SipMessage): boolean;
  cancel(transaction: ServerTransaction): void;
};

export type NetworkParts = {
  readonly kernel: Kernel;
  readonly uas: Uas;
  readonly uac: Uac;
  readonly lifecycle: DialogLifecycle;
  readonly sessionTimers: SessionTimers;
  readonly records: CallRecords;
  readonly proxy: ProxyHook;
};

export class Network implements MessageSink {
  readonly #parts: NetworkParts;
  readonly #kernel: Kernel;
  readonly #budget: RequestBudget;
  /** For the 503 that say that applications are behind. */
  readonly #refusals: TokenBucket;
  readonly #behind = new Shortage(CALM_AFTER_MS);
  readonly #full = new Shortage(CALM_AFTER_MS);

  constructor(parts: NetworkParts) {
    this.#parts = parts;
    this.#kernel = parts.kernel;
    const { limits, nowMs } = parts.kernel;
    this.#budget = new RequestBudget(limits);
    this.#refusals = new TokenBucket(limits.refusalsPerSecond, limits.refusalsPerSecond, nowMs);
  }

  message(bytes: Buffer, hop: Hop): void {
    const message = this.#parse(bytes, hop);
    if (message === undefined) return;
    this.#kernel.counters.messagesByTransport.add(hop.transport);
    if (message.isRequest) this.#request(message, hop);
    else this.#response(message, hop);
  }

  brokenStream(head: Buffer, code: string, hop: Hop): void {
    this.#kernel.counters.refusals.add(code);
    const message = this.#parse(head, hop);
    if (message?.isRequest !== true || message.method === 'ACK' || !message.has('Via')) return;
    const topVia = stampedVia(message, hop);
    if (topVia !== undefined) this.#refuse({ message, hop, topVia }, statusOfBrokenStream(code));
  }

  #parse(bytes: Buffer, hop: Hop): SipMessage | undefined {
    try {
      return SipMessage.parse(bytes, this.#kernel.messageLimits);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      if (!isKeepAlive(bytes)) {
        this.#kernel.counters.refusals.add('garbage');
        this.#kernel.counters.messagesByTransport.add(hop.transport);
      }
      return undefined;
    }
  }

  #response(message: SipMessage, hop: Hop): void {
    const problem = validateResponse(message, this.#kernel.messageLimits);
    if (problem !== undefined) {
      this.#kernel.counters.refusals.add('malformedResponse');
      return;
    }
    this.#kernel.counters.responsesReceived.add(String(message.statusCode));
    const transaction = this.#kernel.client(clientTransactionKey(message));
    if (this.#isMisrouted(message, transaction)) {
      this.#kernel.counters.refusals.add('misroutedResponse');
    } else if (transaction !== undefined) transaction.receive({ message, hop });
    else if (!this.#parts.proxy.forwardResponse(message)) {
      this.#kernel.counters.refusals.add('strayResponse');
    }
  }

  /**
   * RFC 3261 §18.1.2: the top Via of what is meant for us is ours; §8.1.3.3: and the only one, when we sent the request
   * ourselves.
   */
  #isMisrouted(message: SipMessage, transaction: ClientTransaction | undefined): boolean {
    if (transaction?.isForwarded === false && message.hasSeveralVias) return true;
    return !this.#kernel.transports.isOwnVia(message.topVia());
  }

  #request(message: SipMessage, hop: Hop): void {
    const via = readVia(message);
    const key = via && serverTransactionKey(message);
    const known = key === undefined ? undefined : this.#kernel.server(key);
    if (known !== undefined) {
      if (message.method === 'ACK') known.acknowledged();
      else known.repeated();
      return;
    }
    const label = isKnownMethod(message.method) ? message.method : 'other';
    this.#kernel.counters.requestsReceived.add(label);
    if (isNew(message) && !this.#mayEnter(message, hop)) return;
    const problem = validateRequest(message, this.#kernel.messageLimits);
    const topVia = stampedVia(message, hop);
    if (problem !== undefined || key === undefined || topVia === undefined) {
      this.#refuseMalformed(message, hop, problem);
      return;
    }
    this.#arrive({ message, hop, key, topVia });
  }

  /**
   * The rate of its sender, and whether applications keep up. Asked before the request is looked at any closer, so that
   * what there is too much of costs little; a refusal keeps nothing.
   */
  #mayEnter(message: SipMessage, hop: Hop): boolean {
    if (!this.#isWithinBudget(message, hop)) return false;
    const { nowMs, applications } = this.#kernel;
    if (!applications.areBehind(message.method.toLowerCase(), nowMs)) return true;
    const waitMs = this.#behind.lastedMs(nowMs);
    const kind = this.#refusals.take(nowMs) ? 'behindRefused' : 'behindDropped';
    this.#turnAway(message, hop, { kind, waitMs });
    return false;
  }

  #isWithinBudget(message: SipMessage, hop: Hop): boolean {
    const { address } = hop.remote;
    const { nowMs } = this.#kernel;
    const admission = this.#budget.admit(address, nowMs);
    if (admission === 'served') return true;
    const kind = admission === 'refused' ? 'rateRefused' : 'rateDropped';
    this.#turnAway(message, hop, { kind, waitMs: this.#budget.waitMs(address, nowMs) });
    return false;
  }

  #turnAway(
    message: SipMessage,
    hop: Hop,
    { kind, waitMs }: { kind: `${string}${'Refused' | 'Dropped'}`; waitMs: number },
  ): void {
    this.#kernel.counters.refusals.add(kind);
    if (kind.endsWith('Dropped')) return;
    const topVia = stampedVia(message, hop);
    if (topVia === undefined) return;
    this.#refuse({ message, hop, topVia }, 503, [this.#kernel.retryAfter(waitMs)]);
  }

  #refuseMalformed(message: SipMessage, hop: Hop, problem: MessageProblem | undefined): void {
    this.#kernel.counters.refusals.add('malformedRequest');
    const topVia = stampedVia(message, hop) ?? firstElement(message.header('Via'));
    if (problem?.isAnswerable !== true || topVia === undefined) return;
    const { status, reasonPhrase: reason } = problem;
    this.#kernel.answerStateless(message, { hop, topVia, status, reason });
  }

  #arrive(arrival: Arrival): void {
    const { message, hop } = arrival;
    const { toTag } = message;
    const dialog =
      toTag === undefined
        ? undefined
        : this.#kernel.dialogs.find(message.callId, toTag, message.fromTag ?? '');
    if (dialog !== undefined) {
      this.#inDialog(arrival, dialog);
      return;
    }
    if (message.method === 'CANCEL') {
      this.#cancel(arrival);
      return;
    }
    if (!isNew(message) && !this.#isWithinBudget(message, hop)) return;
    if (toTag !== undefined && this.#outsideItsDialog(arrival, toTag)) return;
    if (message.method === 'ACK') {
      this.#kernel.counters.refusals.add('strayAck');
      return;
    }
    this.#new(arrival);
  }

  /**
   * A request with a To tag that names no dialog of ours.
   *
   * @returns false when it may go to an application as a new one
   */
  #outsideItsDialog(arrival: Arrival, toTag: string): boolean {
    const { message, hop, topVia } = arrival;
    if (this.#parts.proxy.forward(message, topVia, hop)) return true;
    const { method } = message;
    const making = this.#parts.uac.making(dialogIdOf(message.callId, toTag));
    if (method === 'NOTIFY' && making?.method === 'SUBSCRIBE') {
      const dialog = this.#parts.uac.dialogFromNotify(making, message, hop);
      if (dialog !== undefined) {
        this.#inDialog(arrival, dialog);
        return true;
      }
    }
    if (method === 'ACK') return false;
    if (method !== 'INVITE' && !NEVER_NEW.includes(method)) return false;
    this.#kernel.counters.refusals.add('noDialog');
    this.#refuse(arrival, 481);
    return true;
  }

  #new(arrival: Arrival): void {
    const { message } = arrival;
    const refusal = this.#refusalOfNew(message);
    if (refusal !== undefined) {
      this.#kernel.counters.refusals.add(refusal.kind);
      this.#refuse(arrival, refusal.status, refusal.headers);
      return;
    }
    const { sequence } = message.cseq;
    const mergeKey = flatText(
      `${message.fromTag ?? ''}\n${message.callId}\n${sequence} ${message.method}`,
    );
    const twin = this.#kernel.mergedServer(mergeKey);
    if (twin !== undefined && !twin.isProxied) {
      this.#kernel.counters.refusals.add('merged');
      this.#refuse(arrival, 482);
      return;
    }
    const transaction = this.#begin(arrival, mergeKey);
    this.#parts.uas.offer(message, transaction, undefined);
  }

  // eslint-disable-next-line complexity -- a list of reasons, one line each
  #refusalOfNew(message: SipMessage): Refusal | undefined {
    const { method } = message;
    const { limits, applications } = this.#kernel;
    if (NEVER_NEW.includes(method)) return { kind: 'noDialog', status: 481 };
    const isUnknown = !isKnownMethod(method) && !applications.hasRoute(method.toLowerCase());
    if (isUnknown) return { kind: 'unknownMethod', status: 501, headers: [['Allow', ALLOWED]] };
    if (message.uri.kind === 'other') return { kind: 'unknownScheme', status: 416 };
    if (message.maxForwards === 0 && method !== 'OPTIONS' && method !== 'REGISTER') {
      return { kind: 'tooManyHops', status: 483 };
    }
    const inFlight = this.#parts.uas.pendingCount + this.#parts.uac.pendingCount;
    const isFull =
      inFlight >= limits.transactions ||
      this.#kernel.transactionCount >= limits.retainedTransactions;
    if (isFull) return this.#overload();
    if (method !== 'INVITE' && method !== 'SUBSCRIBE') return undefined;
    if (this.#kernel.dialogs.size >= limits.dialogs) return this.#overload();
    if (message.contacts[0]?.uri.kind !== 'sip') return { kind: 'noContact', status: 400 };
    const dialogId = dialogIdOf(message.callId, message.fromTag ?? '');
    const isCopyOfOpen = method === 'INVITE' && this.#parts.uas.openInvite(dialogId) !== undefined;
    if (isCopyOfOpen) return { kind: 'dialogInUse', status: 491 };
    const isTaken = this.#kernel.dialogs.byId(dialogId) !== undefined;
    return isTaken ? { kind: 'dialogInUse', status: 480 } : undefined;
  }

  #inDialog(arrival: Arrival, dialog: Dialog): void {
    const { message, hop, topVia } = arrival;
    const { method } = message;
    if (method === 'ACK') {
      this.#parts.uas.acknowledge(dialog, message, topVia, hop);
      return;
    }
    if (method === 'CANCEL') {
      this.#cancel(arrival);
      return;
    }
    const refusal = this.#refusalInDialog(message, dialog);
    if (refusal !== undefined) {
      this.#kernel.counters.refusals.add(refusal.kind);
      this.#refuse(arrival, refusal.status, refusal.headers);
      return;
    }
    dialog.remoteSequence = message.cseq.sequence;
    this.#parts.lifecycle.moveTo(dialog, hop);
    if (method === 'INVITE') dialog.hasRemoteInvite = true;
    if (method === 'UPDATE') dialog.hasRemoteUpdate = true;
    const transaction = this.#begin(arrival, undefined);
    if (method === 'BYE') this.#endByPeer(dialog);
    else if (isLastNotify(message, dialog)) this.#parts.lifecycle.end(dialog);
    this.#parts.uas.offer(message, transaction, dialog);
    if (method === 'BYE' && this.#parts.records.isWanted) {
      this.#parts.records.stop('network', 'normal-release', encodeReceived(message, topVia));
    }
  }

  // eslint-disable-next-line complexity -- a list of reasons, one line each
  #refusalInDialog(message: SipMessage, dialog: Dialog): Refusal | undefined {
    const { method, cseq } = message;
    if (!dialog.application.isConnected) return { kind: 'noDialog', status: 481 };
    // RFC 3261 §12.2.2: out of order.
    const isLate = dialog.remoteSequence !== undefined && cseq.sequence < dialog.remoteSequence;
    if (isLate) return { kind: 'outOfOrder', status: 500 };
    const isBusy = this.#parts.uas.pendingIn(dialog) >= this.#kernel.limits.requestsPerDialog;
    if (isBusy && method !== 'BYE') {
      return { kind: 'dialogBusy', status: 503, headers: [this.#kernel.retryAfter(0)] };
    }
    switch (method) {
      case 'PRACK':
        return this.#isExpectedPrack(message, dialog)
          ? undefined
          : { kind: 'noDialog', status: 481 };
      case 'INVITE':
        if (message.contacts[0]?.uri.kind !== 'sip') return { kind: 'noContact', status: 400 };
        // RFC 3261 §14.2.
        if (dialog.hasOwnInvite) return { kind: 'glare', status: 491 };
        if (dialog.hasRemoteInvite || dialog.state === 'early') return this.#notYet();
        break;
      case 'UPDATE':
        // RFC 3311 §5.2.
        if (dialog.hasRemoteUpdate) return this.#notYet();
        if (dialog.hasOwnInvite && message.body.length > 0) return { kind: 'glare', status: 491 };
        break;
      default:
        if (isKnownMethod(method)) return undefined;
        return { kind: 'unknownMethod', status: 501, headers: [['Allow', ALLOWED]] };
    }
    if (!this.#parts.sessionTimers.isTooShort(message)) return undefined;
    const headers: HeaderLine[] = [['Min-SE', String(MIN_SESSION_SECONDS)]];
    return { kind: 'sessionTooShort', status: 422, headers };
  }

  /** Nobody can say when something will end: come back when it has lasted as long again. */
  #overload(): Refusal {
    const headers = [this.#kernel.retryAfter(this.#full.lastedMs(this.#kernel.nowMs))];
    return { kind: 'overload', status: 503, headers };
  }

  #notYet(): Refusal {
    // RFC 3261 §14.2: 0 to 10.
    const seconds = this.#kernel.ids.number(11) - 1;
    return { kind: 'glare', status: 500, headers: [['Retry-After', String(seconds)]] };
  }

  #isExpectedPrack(message: SipMessage, dialog: Dialog): boolean {
    try {
      const { rseq, sequence } = parseRAck(message.header('RAck') ?? '');
      return this.#parts.uas.acknowledgeProvisional(dialog, rseq, sequence);
    } catch (error) {
      if (error instanceof ParseError) return false;
      throw error;
    }
  }

  /** The other side hangs up; an INVITE that it had not finished is over as well (RFC 3261 §15.1.2). */
  #endByPeer(dialog: Dialog): void {
    const invite = this.#parts.uas.openInvite(dialog.id);
    if (invite?.dialog === dialog) this.#parts.uas.refuse(invite, 487);
    this.#parts.lifecycle.end(dialog);
  }

  #cancel(arrival: Arrival): void {
    const { message, hop, topVia } = arrival;
    const via = readVia(message);
    const transaction = via && this.#kernel.server(cancelledTransactionKey(message));
    if (transaction === undefined) {
      if (!this.#isWithinBudget(message, hop)) return;
      // RFC 3261 §16.10: what it cancels may have been passed on without keeping anything of it.
      if (message.toTag !== undefined && this.#parts.proxy.forward(message, topVia, hop)) return;
      this.#kernel.counters.refusals.add('noDialog');
      this.#refuse(arrival, 481);
      return;
    }
    const { user } = transaction;
    if (user instanceof UasRequest) {
      user.localTag ??= this.#kernel.ids.tag();
      this.#refuse(arrival, 200, [], user.localTag);
      this.#parts.uas.cancel(user, message, topVia, hop);
      return;
    }
    this.#refuse(arrival, 200, [], transaction.toTag);
    if (!transaction.hasFinalResponse) this.#parts.proxy.cancel(transaction);
  }

  #begin(arrival: Arrival, mergeKey: string | undefined): ServerTransaction {
    const { message: request, hop, key, topVia } = arrival;
    const transaction = new ServerTransaction(this.#kernel, {
      key,
      mergeKey,
      request,
      hop,
      topVia,
    });
    this.#kernel.addServer(transaction);
    if (transaction.isInvite) {
      const trying = this.#kernel.encodeTrying(transaction);
      if (trying !== undefined) transaction.respond(100, trying);
    }
    return transaction;
  }

  /** Answers without keeping anything, so that a flood of such requests costs no memory. */
  #refuse(
    { message, hop, topVia }: Omit<Arrival, 'key'>,
    status: number,
    headers: readonly HeaderLine[] = [],
    toTag?: string,
  ): void {
    if (message.method === 'ACK') return;
    this.#kernel.answerStateless(message, { hop, topVia, status, toTag }, headers);
  }
}
