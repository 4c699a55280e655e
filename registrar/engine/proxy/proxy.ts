/** Requests that applications have proxied instead of answered (RFC 3261 §16). */

import type { SipMessage } from '../../../core/sip/message.ts';
import type { SipUri } from '../../../core/sip/uri.ts';
import type { Via } from '../../../core/sip/via.ts';
import type { CallRecords } from '../call-records.ts';
import type { Application } from '../control/applications.ts';
import type { ProxyOrder } from '../control/commands.ts';
import { remoteTrace } from '../control/report.ts';
import type { Kernel } from '../kernel.ts';
import { encodeResponse } from '../response.ts';
import { sipUri, type Router } from '../router.ts';
import { templateHeaders, type HeaderLine } from '../template.ts';
import { encodeForwardedResponse, encodeReceived } from '../text.ts';
import type { ReceivedResponse } from '../transaction/client.ts';
import type { ServerTransaction, ServerUser } from '../transaction/server.ts';
import type { Hop } from '../transport/flow.ts';
import { endpointOf, targetOf } from '../transport/target.ts';
import type { UasRequest } from '../uas/uas-request.ts';
import type { Uas } from '../uas/uas.ts';
import { bestResult, otherChallenges, type BranchResult } from './best-response.ts';
import { Branch, type BranchOwner, type BranchTimeouts } from './branch.ts';
import { draftForward, refusalOf } from './forwarded.ts';
import { breadthOf, isLoop, loopMarkOf, shareOf } from './loops.ts';
import { Relay } from './relay.ts';

const TOO_MANY_HOPS = 'Rejected with 483 Too Many Hops due to Max-Forwards value of 0';
const BAD_EXTENSION = 'Rejected with 420 Bad Extension due to Proxy-Require';
const LOOP = 'Rejected with 482 Loop Detected';
const TOO_BROAD = 'Rejected with 440 Max-Breadth Exceeded due to Max-Breadth value of 0';
const NOT_STARTED = 'error proxying request to ';
/** More targets than any redirection should lead to. */
const MAX_TARGETS = 32;

type Engine = {
  readonly kernel: Kernel;
  readonly router: Router;
  readonly uas: Uas;
  readonly records: CallRecords;
};

/** One proxied request and its branches: the response context of RFC 3261 §16. */
class ProxiedRequest implements BranchOwner, ServerUser {
  readonly transaction: ServerTransaction;
  readonly #engine: Engine;
  readonly #order: ProxyOrder;
  readonly #message: SipMessage;
  readonly #hop: Hop;
  readonly #ended: (request: ProxiedRequest) => void;
  readonly #branches: Branch[] = [];
  readonly #results: BranchResult[] = [];
  readonly #waiting: string[];
  readonly #seen = new Set<string>();
  readonly #breadth: number;
  readonly #loopMark: string;
  #isAnswered = false;
  #isCancelled = false;
  #isStopped = false;
  #isReported = false;

  constructor(
    engine: Engine,
    request: UasRequest,
    order: ProxyOrder,
    ended: (request: ProxiedRequest) => void,
  ) {
    this.#engine = engine;
    this.#order = order;
    this.transaction = request.transaction;
    this.#message = request.message;
    this.#hop = request.hop;
    this.#ended = ended;
    this.#waiting = [...order.destinations];
    this.#breadth = breadthOf(request.message);
    this.#loopMark = loopMarkOf(request.message);
    this.transaction.isProxied = true;
    this.transaction.user = this;
  }

  get application(): Application {
    return this.#order.application;
  }

  /** True until the application has been told the end. */
  get isAwaited(): boolean {
    return this.#order.wantsResponses && !this.#isReported;
  }

  /** @returns false when no branch could be started */
  start(): boolean {
    if (this.#order.isSimultaneous) this.#startAll();
    else this.#startUntilOne();
    return this.#branches.length > 0;
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#stopSearch();
  }

  branchProgressed(_branch: Branch, response: ReceivedResponse): void {
    const { statusCode } = response.message;
    const isSuccess = statusCode >= 200;
    if (isSuccess && this.#message.method !== 'INVITE' && this.#isAnswered) return;
    const forwarded = encodeForwardedResponse(response.message);
    this.transaction.respond(statusCode, forwarded);
    if (!isSuccess || this.#isAnswered) return;
    this.#isAnswered = true;
    this.#report(response);
    this.#stopSearch();
    this.#done();
    this.#recordStart(response, forwarded);
  }

  branchFailed(branch: Branch, status: number, response: ReceivedResponse | undefined): void {
    if (response !== undefined) this.#report(response);
    this.#recordFailure(branch, status, response);
    const isRedirect = status >= 300 && status < 400 && this.#order.followsRedirects;
    if (isRedirect && response !== undefined && !this.#isStopped) this.#redirect(response.message);
    else this.#results.push({ status, message: response?.message });
    // A decision for everybody, or a challenge that only the caller can answer, ends the search.
    if (status >= 600 || status === 401 || status === 407) this.#stopSearch();
    this.#goOn();
  }

  branchSilent(branch: Branch): void {
    if (this.#order.isSimultaneous || this.#waiting.length === 0) return;
    branch.cancel();
    this.#startUntilOne();
  }

  serverEnded(): void {
    this.#ended(this);
  }

  /** Nothing new is tried, and what is under way is called off. */
  #stopSearch(): void {
    this.#isStopped = true;
    this.#waiting.length = 0;
    for (const branch of this.#branches) branch.cancel();
  }

  #goOn(): void {
    if (this.#isAnswered) return;
    if (this.#order.isSimultaneous) this.#startAll();
    else if (this.#branches.every((branch) => branch.isDone)) this.#startUntilOne();
    if (this.#waiting.length === 0 && this.#branches.every((branch) => branch.isDone)) {
      this.#answerBest();
    }
  }

  #startUntilOne(): void {
    while (this.#waiting.length > 0 && this.#share > 0) if (this.#startNext()) return;
  }

  /** As many at once as the breadth of the request allows; the others when those are done. */
  #startAll(): void {
    while (this.#waiting.length > 0 && this.#share > 0) this.#startNext();
  }

  /** What the next branch gets of the breadth; 0 when it must wait for another to be done. */
  get #share(): number {
    let available = this.#breadth;
    for (const { isDone, breadth } of this.#branches) if (!isDone) available -= breadth;
    return shareOf(available, this.#waiting.length);
  }

  #startNext(): boolean {
    const breadth = this.#share;
    const destination = this.#waiting.shift() ?? '';
    const uri = sipUri(destination);
    if (uri === undefined || this.#seen.has(destination) || this.#seen.size >= MAX_TARGETS) {
      return false;
    }
    this.#seen.add(destination);
    const { kernel, router } = this.#engine;
    const route = router.outside(uri, undefined);
    if (route.kind === 'refused') return false;
    const isInvite = this.#message.method === 'INVITE';
    const timeouts = this.#timeouts();
    const branch = new Branch(kernel, this, { destination, breadth, timeouts, isInvite });
    this.#branches.push(branch);
    branch.start(router, this.#draft(uri, breadth), route);
    if (this.#isRecorded) this.#engine.records.attempt('application', branch.sent);
    return true;
  }

  #draft(destination: SipUri, breadth: number): Parameters<Branch['start']>[1] {
    const message = this.#message;
    const isForUs = message.uri.kind !== 'sip' || this.#isOwn(message.uri);
    const routes = message.routes.filter(({ uri }) => uri.kind !== 'sip' || !this.#isOwn(uri));
    const stay = message.method === 'REGISTER' ? 'path' : 'recordRoute';
    return draftForward(message, this.transaction.topVia, this.#hop, {
      requestUri: isForUs ? destination.toString() : message.requestUri,
      routes: routes.map(String),
      stays: this.#order.staysInDialog ? stay : undefined,
      extra: templateHeaders(this.#order.template),
      loopMark: this.#loopMark,
      breadth,
    });
  }

  #isOwn(uri: SipUri): boolean {
    const target = targetOf(uri);
    return target !== undefined && this.#engine.kernel.transports.isOwn(endpointOf(target));
  }

  #timeouts(): BranchTimeouts {
    return {
      provisionalMs: durationMs(this.#order.provisionalTimeout),
      finalMs: durationMs(this.#order.finalTimeout),
      timerCMs: this.#engine.kernel.timers.timerCMs,
    };
  }

  /** The Contacts of a redirection become targets (RFC 3261 §16.5); its display is nobody's business. */
  #redirect(response: SipMessage): void {
    for (const { uriText } of response.contacts) this.#waiting.push(uriText);
  }

  #answerBest(): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    const best = bestResult(this.#results);
    // RFC 3261 §16.7 step 6: the overload of one destination is not ours.
    const status = best.status === 503 ? 500 : best.status;
    const extra = otherChallenges(this.#results, best);
    const bytes =
      best.message === undefined || status !== best.status
        ? this.#ownResponse(status)
        : withHeaders(encodeForwardedResponse(best.message), extra);
    this.transaction.respond(status, bytes);
    this.#done();
    if (!this.#isRecorded) return;
    const reason = this.#isCancelled ? 'call-canceled' : 'call-rejected';
    this.#engine.records.stop('application', reason, bytes);
  }

  #ownResponse(status: number): Buffer {
    const toTag = this.#engine.kernel.ids.tag();
    return encodeResponse(this.#message, this.transaction.topVia, { status, toTag });
  }

  #report({ message, hop }: ReceivedResponse): void {
    const { application, requestId, wantsResponses } = this.#order;
    if (!wantsResponses || !application.isConnected || this.#isReported) return;
    const trace = remoteTrace(hop, message.bytes.length);
    const sip = encodeReceived(message, undefined);
    this.#engine.kernel.reports.proxyResponse(application.id, requestId, trace, sip);
  }

  #done(): void {
    const { application, requestId, wantsResponses } = this.#order;
    if (!wantsResponses || this.#isReported) return;
    this.#isReported = true;
    if (application.isConnected) {
      this.#engine.kernel.reports.ok(application.id, requestId, 'done');
    }
  }

  get #isRecorded(): boolean {
    return this.#message.method === 'INVITE' && this.#engine.records.isWanted;
  }

  /** One copy of the call has come to nothing. */
  #recordFailure(branch: Branch, status: number, response: ReceivedResponse | undefined): void {
    if (!this.#isRecorded) return;
    const sip =
      response === undefined
        ? this.#ownResponse(status)
        : encodeReceived(response.message, undefined);
    const reason = branch.isCancelled ? 'call-canceled' : 'call-rejected';
    this.#engine.records.stop('network', reason, sip);
  }

  /** Both sides of the call have begun: towards the callee and towards the caller. */
  #recordStart(response: ReceivedResponse, forwarded: Buffer): void {
    if (!this.#isRecorded) return;
    const sip = encodeReceived(response.message, undefined);
    this.#engine.records.start('network', 'proxy-uac', sip);
    this.#engine.records.start('application', 'proxy-uas', forwarded);
  }
}

export class Proxy {
  readonly #engine: Engine;
  readonly #relay: Relay;
  readonly #requests = new Map<ServerTransaction, ProxiedRequest>();

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#relay = new Relay(engine);
  }

  /** Requests that are being proxied, or whose answers may still be repeated. */
  get size(): number {
    return this.#requests.size;
  }

  /** Carries out an order; possible only before the request has had any answer. */
  start(order: ProxyOrder): void {
    const { kernel, uas } = this.#engine;
    const { application, requestId, transactionId } = order;
    const request = uas.pending(transactionId);
    if (request === undefined || request.hasAnswer) {
      refuseOrder(kernel, order, `Unknown transaction id: ${transactionId}`);
      return;
    }
    const refusal = this.#refusalOf(request.message);
    if (refusal !== undefined) {
      uas.refuse(request, refusal.status, refusal.headers);
      refuseOrder(kernel, order, refusal.text);
      return;
    }
    uas.release(request);
    const { transaction } = request;
    const proxied = new ProxiedRequest(this.#engine, request, order, () => {
      this.#requests.delete(transaction);
    });
    this.#requests.set(transaction, proxied);
    if (!proxied.start()) {
      this.#refuse(order, request);
      return;
    }
    if (!order.wantsResponses && application.isConnected) {
      kernel.reports.ok(application.id, requestId, 'done');
    }
  }

  /** Adds every application that waits for the end of a proxied request. */
  addBusy(busy: Set<Application>): void {
    for (const request of this.#requests.values()) {
      if (request.isAwaited) busy.add(request.application);
    }
  }

  forward(message: SipMessage, topVia: string, hop: Hop): boolean {
    return this.#relay.forward(message, topVia, hop);
  }

  forwardResponse(message: SipMessage): boolean {
    return this.#relay.forwardResponse(message);
  }

  /** The caller has cancelled; its INVITE is answered when the branches have been. */
  cancel(transaction: ServerTransaction): void {
    this.#requests.get(transaction)?.cancel();
  }

  #refusalOf(
    message: SipMessage,
  ): { status: number; text: string; headers?: readonly HeaderLine[] } | undefined {
    const refusal = refusalOf(message);
    if (refusal !== undefined) {
      return { ...refusal, text: refusal.status === 483 ? TOO_MANY_HOPS : BAD_EXTENSION };
    }
    const { transports } = this.#engine.kernel;
    const isOwn = (via: Via): boolean => transports.isOwnVia(via);
    if (isLoop(message, isOwn)) return { status: 482, text: LOOP };
    return breadthOf(message) === 0 ? { status: 440, text: TOO_BROAD } : undefined;
  }

  #refuse(order: ProxyOrder, { message, transaction }: UasRequest): void {
    const { kernel } = this.#engine;
    const parts = { status: 500, toTag: kernel.ids.tag() };
    transaction.respond(500, encodeResponse(message, transaction.topVia, parts));
    refuseOrder(kernel, order, NOT_STARTED);
  }
}

/** Nobody is told when a web server gave the order. */
function refuseOrder(kernel: Kernel, { application, requestId }: ProxyOrder, reason: string): void {
  if (application.isConnected) kernel.reports.nok(application.id, requestId, reason);
}

/** `1500ms` or `2s`; 0 for anything else. */
function durationMs(text: string): number {
  const match = /^(\d{1,9})(ms|s)$/.exec(text);
  if (match === null) return 0;
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}

/** Inserts header lines before the empty line of a message. */
function withHeaders(bytes: Buffer, headers: readonly HeaderLine[]): Buffer {
  if (headers.length === 0) return bytes;
  const end = bytes.indexOf('\r\n\r\n', 0, 'latin1') + 2;
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(lines, 'utf8'), bytes.subarray(end)]);
}
