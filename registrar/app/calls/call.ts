/** One call between two people: the caller's dialog, a branch for each device of the callee, and the one that wins. */
/* eslint-disable max-lines -- one state machine, which reads better whole */
import type { Account } from '../accounts/accounts.ts';
import type { SwitchContext } from '../context.ts';
import type { Binding } from '../location/location.ts';
import { devicesOf, forgetWhenGone, isFlowFailure, routeOf, targetOf } from '../location/target.ts';
import type { SipHeaders, SipMessage, SipRequest, SipResponse } from '../srf.ts';
import { verdictOf } from './best-response.ts';
import type { Failure } from './best-response.ts';
import type { Refusal } from './checks.ts';
import { isReliable } from './early-dialogs.ts';
import { Exchange } from './exchange.ts';
import { Fork } from './fork.ts';
import type { ForkEvents } from './fork.ts';
import { headerOf, reason, reasonText } from './headers.ts';
import type { HeaderSource } from './headers.ts';
import { calleeHeaders, identityOf, inviteHeaders } from './identity.ts';
import { Leg, sdpType } from './leg.ts';
import type { DialogNames, LegEvents } from './leg.ts';
import { Liveness } from './liveness.ts';
import { otherSide } from './media.ts';
import type { CallMedia, Side } from './media.ts';
import { Offers } from './offers.ts';
import { passOn } from './pass-on.ts';
import { Provisionals } from './provisionals.ts';
import type { CallRecord, EndedBy } from './record.ts';
import { refusalOf } from './refusal.ts';
import { dialogNames } from './replaces.ts';
import { respond, socketOf } from './transactions.ts';
import type { Acknowledge, Transactions } from './transactions.ts';

/** A device answered with what is no session description: the fault is behind us, not the caller's. */
const BAD_DEVICE_ANSWER = 502;
/** 64 times T1 (RFC 3262 section 3), and a little for the engine to say so first. */
const PRACK_LIMIT_MS = 35_000;

export type CallParts = {
  readonly context: SwitchContext;
  readonly transactions: Transactions;
  readonly request: SipRequest;
  readonly response: SipResponse;
  readonly caller: Account;
  /** Undefined for a callee whose account has just gone. */
  readonly calleeAccount: Account | undefined;
  readonly callee: string;
  /** At least one. */
  readonly bindings: readonly Binding[];
  /** Undefined: the devices make the offer. */
  readonly offer: string | undefined;
  /** Marks our INVITEs, so that one that comes back is known. */
  readonly hopHeaders: SipHeaders;
  readonly record: (record: CallRecord) => Promise<void>;
  /** Nothing of this call is left. */
  readonly over: (call: Call) => void;
};

/** Somebody who wants to take a place in a call, and his INVITE. */
export type Joiner = {
  readonly request: SipRequest;
  readonly response: SipResponse;
  readonly account: Account;
};

/**
 * starting: the relay prepares the offer. ringing: branches are out. answering: one device has taken the call, the
 * caller does not know yet. up: both know. over: it ends, or has ended.
 */
type State = 'starting' | 'ringing' | 'answering' | 'up' | 'over';

type Ending = {
  /** Of the caller's INVITE, when it has no final answer yet. */
  readonly status: number;
  readonly by: EndedBy;
  /** Text for the record. */
  readonly text: string;
  /** Reason header for BYE and CANCEL. */
  readonly headers: SipHeaders;
  /** The answer to the caller; absent when the engine has answered. */
  readonly answer?: Refusal & { readonly body?: string };
};

export class Call {
  /** Canonical nicknames of who is on which side now. */
  readonly #people: Record<Side, string>;
  readonly #parts: CallParts;
  readonly #offers: Offers;
  readonly #exchange: Exchange;
  readonly #liveness: Liveness;
  readonly #provisionals: Provisionals;
  readonly #forks: Fork[] = [];
  readonly #failures: Failure[] = [];
  readonly #legs: Record<Side, Leg | undefined> = { caller: undefined, callee: undefined };
  readonly #legEvents: LegEvents;
  /** Requests of the callee's device that came before the caller knew of the answer. */
  #held: (() => void)[] = [];
  #state: State = 'starting';
  #earlyFork: Fork | undefined;
  /** One side has made another offer before the call was answered: the 2xx says nothing of the session any more. */
  #isRevised = false;
  #stopWaiting: () => void = ignore;
  /** Resolves with what there is to wait for once the engine has said whether our 200 went out. */
  #acceptance: Promise<void> | undefined;
  #giveUpAcceptance: () => void = ignore;
  #ending: Ending | undefined;
  readonly #startedAtMs: number;
  #answeredAtMs: number | undefined;

  constructor(parts: CallParts) {
    const { context, caller, callee } = parts;
    this.#parts = parts;
    this.#people = { caller: caller.nickname, callee };
    this.#startedAtMs = context.clock.wallMs();
    this.#offers = new Offers(context.relay);
    this.#legEvents = {
      ended: (leg, request) => {
        this.#hungUp(leg, request);
      },
      acknowledged: (leg, request) => {
        this.#exchange.acknowledged(leg, request);
      },
      provisionalAcknowledged: () => {
        this.#provisionals.acknowledged();
      },
      requested: (leg, request, response) => {
        this.#requested(leg, request, response);
      },
    };
    this.#provisionals = new Provisionals(parts.request, parts.response, {
      sent: (response) => {
        if (this.#state !== 'over') this.#knowCaller(response);
      },
      unsent: (error) => {
        this.#unsent(error);
      },
    });
    this.#exchange = new Exchange({
      media: () => this.#media,
      domain: context.domain.name,
      log: context.log,
      random: Math.random,
      legOf: (side) => this.#legs[side] ?? this.#earlyLeg(side),
      isUp: () => this.#state === 'up',
      vanished: (leg) => {
        this.#vanished(leg);
      },
      broken: (cause, text) => {
        this.#end({ status: 200, by: 'switch', text, headers: reason(cause, text) });
      },
    });
    this.#liveness = new Liveness(context.clock, context.config.calls.dialogCheckSeconds, (leg) => {
      this.#vanished(leg);
    });
    parts.request.on('update', (update: SipRequest, response: SipResponse) => {
      // The caller may send this only once he has had an answer, by which we know him.
      if (this.#legs.caller === undefined) refuseForNow(response);
      else this.#legs.caller.handle(update, response);
    });
  }

  get #media(): CallMedia {
    return this.#offers.media;
  }

  /** The control connection that the call came by. */
  get socket(): unknown {
    return socketOf(this.#parts.request);
  }

  get isUp(): boolean {
    return this.#state === 'up';
  }

  /** Rings every device. */
  start(): void {
    this.#attempt(async () => {
      const { offer, request, bindings } = this.#parts;
      if (offer !== undefined) {
        const places = bindings.map(({ sourceAddress }) => sourceAddress);
        await this.#offers.prepare(offer, request.source_address, places);
      }
      if (this.#state === 'starting') this.#ring();
    });
  }

  /** The caller's CANCEL: the engine has answered it and the INVITE. */
  cancelled(cancel: HeaderSource | undefined): void {
    if (this.#state === 'up') return;
    const written = cancel === undefined ? undefined : headerOf(cancel, 'Reason');
    this.#end({
      status: 487,
      by: 'caller',
      text: written === undefined ? 'cancelled' : reasonText(written),
      headers: written === undefined ? {} : { Reason: written },
    });
  }

  /** Ends the call from here, with BYE or CANCEL to everybody. */
  shutDown(cause: number, text: string): void {
    const headers = reason(cause, text);
    const answer = { status: 503, headers: { ...headers, 'Retry-After': '30' } };
    this.#end({ status: 503, by: 'switch', text, headers, answer });
  }

  /** The engine is gone, and every dialog with it: nobody can be told. */
  abandon(): void {
    this.#giveUpAcceptance();
    for (const fork of this.#forks) fork.abandon();
    for (const leg of Object.values(this.#legs)) leg?.abandon();
    this.#end({ status: 503, by: 'switch', text: 'the SIP engine was lost', headers: {} });
  }

  // Ringing

  #ring(): void {
    const { context, bindings } = this.#parts;
    this.#state = 'ringing';
    this.#stopWaiting = context.clock.after(this.#ringLimitMs(), () => {
      const headers = reason(408, 'No answer');
      const answer = { status: 480, headers };
      this.#end({ status: 480, by: 'switch', text: 'no answer', headers, answer });
    });
    const branches = devicesOf(bindings).map((flows) => this.#branch(flows));
    for (const start of branches) start();
  }

  /**
   * A branch to one device by the first of its flows. The next one is tried when that leads nowhere (RFC 5626
   * section 7), but not any more when the device has begun to answer.
   *
   * @returns starts it
   */
  #branch([flow, ...others]: readonly Binding[]): () => void {
    if (flow === undefined) return ignore;
    const { context, request, caller, callee, transactions, hopHeaders } = this.#parts;
    const { clock, domain, location } = context;
    const { media, sdp } = this.#offers.for(flow.sourceAddress);
    const failed: ForkEvents['failed'] = (fork, failure) => {
      forgetWhenGone(location, flow, failure);
      const hasOther = others.length > 0 && isFlowFailure(failure) && !fork.hasAnswer;
      if (this.#state === 'ringing' && hasOther) this.#branch(others)();
      else this.#forkFailed(failure);
    };
    const events = {
      provisional: this.#provisional.bind(this),
      answered: this.#answered.bind(this),
      failed,
    };
    const fork = new Fork({ transactions, clock, events, legEvents: this.#legEvents, media });
    this.#forks.push(fork);
    const people = { sender: caller, recipient: callee };
    const ours = { ...hopHeaders, ...sdpType(sdp), ...routeOf(flow) };
    const headers = { ...inviteHeaders(request, people, domain), ...ours };
    return () => {
      fork.start({ ...targetOf(flow), headers, body: sdp, socket: this.socket });
    };
  }

  /** Ours, or the caller's Expires when that is shorter (RFC 3261 section 13.2.1). */
  #ringLimitMs(): number {
    const { context, request } = this.#parts;
    const expires = Number(headerOf(request, 'Expires') ?? NaN);
    const limit = context.config.calls.ringTimeoutSeconds;
    return 1000 * (Number.isInteger(expires) && expires > 0 ? Math.min(expires, limit) : limit);
  }

  /** What the caller sees of the callee. */
  #calleeHeaders(sdp: string | undefined): SipHeaders {
    const { context, callee, calleeAccount } = this.#parts;
    return { ...calleeHeaders(callee, calleeAccount, context.domain), ...sdpType(sdp) };
  }

  #provisional(fork: Fork, theirs: SipResponse): void {
    if (this.#state !== 'ringing') return;
    const sdp = theirs.body ?? '';
    const hasAnswer = sdp !== '' && this.#parts.offer !== undefined;
    if (hasAnswer && this.#earlyFork === undefined && this.#mayBeHeard(fork)) {
      this.#earlyFork = fork;
      void this.#passEarlyMedia(fork, theirs, sdp);
    } else this.#ringBack(theirs);
  }

  /**
   * Early media of one of several devices is a foretaste: another may take the call. So it is not for a caller whom we
   * may tell nothing but reliably, when it would be the answer for good (RFC 3262 section 5); nor while a device is
   * called that has another port of ours.
   */
  #mayBeHeard(fork: Fork): boolean {
    const others = this.#forks.filter((other) => other !== fork && !other.isOver);
    if (others.length > 0 && this.#provisionals.isRequired) return false;
    return others.every(({ media }) => media === fork.media);
  }

  async #passEarlyMedia(fork: Fork, theirs: SipResponse, sdp: string): Promise<void> {
    try {
      const answer = await fork.media.answer('callee', sdp);
      if (this.#state === 'ringing') this.#ringBack(theirs, answer);
    } catch (error) {
      this.#parts.context.log.warn('call.early-media.failed', () => ({ error }));
      if (this.#state === 'ringing') this.#ringBack(theirs);
    }
  }

  #ringBack(theirs: SipResponse, sdp?: string): void {
    const { status, reason: phrase } = theirs;
    const headers = this.#calleeHeaders(undefined);
    const isAlone = this.#forks.filter((fork) => !fork.isOver).length === 1;
    const mayBeReliable = isReliable(theirs) && (isAlone || sdp === undefined);
    this.#provisionals.pass({
      status,
      reason: phrase,
      headers,
      sdp,
      isReliable: mayBeReliable,
    });
  }

  /** The engine knows no INVITE that this could answer: it was cancelled, and the CANCEL did not come through. */
  #unsent(error: unknown): void {
    this.#parts.context.log.debug('call.answer.unsent', () => ({ error }));
    if (this.#state !== 'over') this.cancelled(undefined);
  }

  /** From our first answer on, the caller can send requests in the dialog. */
  #knowCaller(sent: SipMessage): void {
    const { request, response } = this.#parts;
    const dialogId = response.stackDialogId;
    if (this.#legs.caller !== undefined || dialogId === undefined || dialogId === '') return;
    this.#legs.caller = this.#answeringLeg('caller', { request, response, sent });
  }

  /** The dialog that our answer to an INVITE has made. */
  #answeringLeg(
    side: Side,
    { request, response, sent }: { request: SipRequest; response: SipResponse; sent: SipMessage },
  ): Leg {
    return new Leg({
      side,
      dialogId: response.stackDialogId ?? '',
      contact: sent.get('Contact'),
      socket: socketOf(request),
      names: dialogNames(sent, 'To', 'From'),
      allow: headerOf(request, 'Allow'),
      transactions: this.#parts.transactions,
      events: this.#legEvents,
    });
  }

  #forkFailed(failure: Failure): void {
    if (this.#state !== 'ringing') return;
    this.#failures.push(failure);
    const isDecided = failure.status >= 600;
    if (!isDecided && this.#forks.some((fork) => !fork.isOver)) return;
    const verdict = verdictOf(this.#failures, this.#parts.context.domain.name);
    const { status, reason: phrase = 'Call ended elsewhere' } = verdict.answer;
    this.#end({ ...verdict, status, headers: reason(status, phrase) });
  }

  // Answering

  async #answered(
    fork: Fork,
    answer: { response: SipResponse; leg: Leg; acknowledge: Acknowledge },
  ): Promise<void> {
    const { leg, acknowledge } = answer;
    if (this.#state !== 'ringing') {
      acknowledge({});
      await leg.bye(reason(200, 'Call completed elsewhere'));
      return;
    }
    this.#state = 'answering';
    this.#stopWaiting();
    this.#provisionals.stop();
    this.#offers.choose(fork.media);
    this.#legs.callee = leg;
    for (const other of this.#forks) {
      if (other !== fork) other.cancel(reason(200, 'Call completed elsewhere'));
    }
    const sdp = answer.response.body ?? '';
    this.#attempt(async () => {
      if (this.#parts.offer === undefined) await this.#offerToCaller(answer.response, acknowledge);
      else {
        acknowledge({});
        await this.#answerToCaller(sdp === '' ? (fork.earlyAnswer(answer.response) ?? '') : sdp);
      }
    }, BAD_DEVICE_ANSWER);
  }

  async #answerToCaller(theirs: string): Promise<void> {
    const given = this.#provisionals.answer;
    if (this.#isRevised) this.#whenAllowed('');
    else {
      const sdp = await this.#media.answer('callee', theirs);
      this.#whenAllowed(given ?? sdp);
    }
  }

  /** The caller left the offer to the callee's device; his answer comes in the ACK (RFC 3261 section 13.2.1). */
  async #offerToCaller(device: SipResponse, acknowledge: Acknowledge): Promise<void> {
    this.#exchange.awaitAnswer('caller', acknowledge);
    const receivedFrom = device.source_address;
    const towards = this.#parts.request.source_address;
    const sdp = await this.#media.offer('callee', device.body ?? '', { receivedFrom, towards });
    this.#whenAllowed(sdp);
  }

  #whenAllowed(sdp: string): void {
    this.#stopWaiting = this.#parts.context.clock.after(PRACK_LIMIT_MS, () => {
      const text = 'No PRACK';
      const headers = reason(504, text);
      this.#end({ status: 504, by: 'switch', text, headers, answer: { status: 504, headers } });
    });
    this.#provisionals.beforeFinal(() => {
      if (this.#state === 'answering') this.#accept(sdp);
    });
  }

  /** 200 to the caller. The call may end before the engine has said whether it went out: then BYE must follow. */
  #accept(sdp: string): void {
    const { response } = this.#parts;
    this.#stopWaiting();
    const headers = this.#calleeHeaders(sdp);
    this.#acceptance = new Promise((resolve) => {
      this.#giveUpAcceptance = resolve;
      respond(response, { status: 200, headers, body: sdp }, (error, sent) => {
        if (sent === undefined) {
          this.#legs.caller?.abandon();
          this.#unsent(error);
        } else {
          this.#knowCaller(sent);
          if (this.#state === 'answering') this.#goUp();
        }
        resolve(
          this.#ending === undefined ? undefined : this.#legs.caller?.bye(this.#ending.headers),
        );
      });
    });
  }

  #goUp(): void {
    this.#state = 'up';
    this.#answeredAtMs = this.#parts.context.clock.wallMs();
    this.#liveness.watch([this.#legs.caller, this.#legs.callee]);
    this.#replayHeld();
  }

  #replayHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const replay of held) replay();
  }

  // Up

  #requested(leg: Leg, request: SipRequest, response: SipResponse): void {
    if (this.#state === 'answering' && leg.side === 'callee') {
      this.#held.push(() => {
        this.#requested(leg, request, response);
      });
      return;
    }
    if (this.#state === 'over') {
      respond(response, { status: 481 });
      return;
    }
    if (this.#state !== 'up') {
      this.#requestedEarly(leg, request, response);
      return;
    }
    const { method } = request;
    if (method === 'INVITE' || method === 'UPDATE') {
      this.#exchange.handle(leg, request, response);
      return;
    }
    const options = {
      domain: this.#parts.context.domain,
      sender: this.#people[leg.side],
      vanished: this.#vanished.bind(this),
    };
    const legs = { from: leg, to: this.#legs[otherSide(leg.side)] };
    void passOn(request, response, legs, options);
  }

  /**
   * A request before the call is answered. UPDATE passes with another offer once the first has its answer on both
   * sides for good, told reliably and acknowledged, and if both phones know UPDATE (RFC 3311 section 5.1): until the
   * answer there is nothing else that could carry it.
   */
  #requestedEarly(leg: Leg, request: SipRequest, response: SipResponse): void {
    const hasOffer = request.body !== undefined && request.body !== '';
    const refusal = request.method === 'UPDATE' ? this.#refusalOfUpdate(leg, hasOffer) : 500;
    if (refusal === 500) refuseForNow(response);
    else if (refusal !== undefined) respond(response, { status: refusal });
    else {
      this.#isRevised ||= hasOffer;
      this.#exchange.handle(leg, request, response);
    }
  }

  #refusalOfUpdate({ side }: Leg, hasOffer: boolean): 491 | 500 | 504 | undefined {
    if (!hasOffer) return undefined;
    // The caller's offer waits for our answer: it is his that has no answer, and ours to the device.
    if (this.#provisionals.answer === undefined) return side === 'caller' ? 500 : 491;
    if (!this.#provisionals.isAgreed) return 491;
    const other = otherSide(side);
    const leg = this.#legs[other] ?? this.#earlyLeg(other);
    return leg?.allows('UPDATE') === true ? undefined : 504;
  }

  /** The callee's side before the answer, when his device and the caller have agreed on a session. */
  #earlyLeg(side: Side): Leg | undefined {
    return side === 'callee' && this.#provisionals.isAgreed ? this.#earlyFork?.earlyLeg : undefined;
  }

  /** Which side this dialog is; undefined when it is none of this call's. */
  sideNamed(names: DialogNames): Side | undefined {
    return (['caller', 'callee'] as const).find((side) => this.#legs[side]?.isNamed(names));
  }

  /**
   * Somebody takes the place of one side, as the last step of a transfer (RFC 3891): the other side hears him as soon
   * as it has agreed to his offer, and who was there before gets BYE.
   */
  replace(side: Side, { request, response, account }: Joiner): void {
    const { accounts, domain } = this.#parts.context;
    if (this.#state !== 'up') {
      respond(response, { status: 481 });
      return;
    }
    const other = this.#people[otherSide(side)];
    const accepted = (sent: SipMessage): void => {
      const replaced = this.#legs[side];
      this.#legs[side] = this.#answeringLeg(side, { request, response, sent });
      this.#people[side] = account.nickname;
      void replaced?.bye(reason(200, 'Call completed elsewhere'));
      this.#liveness.watch([this.#legs.caller, this.#legs.callee]);
    };
    this.#exchange.join(
      {
        side,
        headers: calleeHeaders(other, accounts.find(other), domain),
        identity: {
          'P-Asserted-Identity': identityOf(account, domain.uriOf(account.nickname)),
        },
        accepted,
      },
      request,
      response,
    );
  }

  // Ending

  #hungUp(leg: Leg, bye: SipRequest): void {
    if (this.#legs[leg.side] !== leg) return;
    const written = headerOf(bye, 'Reason');
    const isByEngine = bye.source === 'application';
    // A BYE before the answer ends the INVITE too (RFC 3261 section 15.1.2).
    const status = leg.side === 'caller' ? 487 : 480;
    this.#end({
      status,
      by: isByEngine ? 'switch' : leg.side,
      text: reasonText(written),
      headers: written === undefined ? {} : { Reason: written },
      answer: { status },
    });
  }

  #vanished(leg: Leg): void {
    if (this.#legs[leg.side] !== leg) return;
    const text = `The ${leg.side} cannot be reached any more`;
    this.#end({ status: 480, by: 'switch', text, headers: reason(408, text) });
  }

  /** Does what may fail; then the call ends with the failure as its answer. */
  #attempt(step: () => Promise<void>, statusOfGarbage = 400): void {
    void step().catch((error: unknown) => {
      const { domain, log } = this.#parts.context;
      const refusal = refusalOf(error, domain.name);
      const event = 'call.failed';
      const fields = (): Record<string, unknown> => ({ error });
      if (refusal === undefined) log.error(event, fields);
      else log.warn(event, fields);
      const found = refusal ?? { status: 500 };
      const answer = found.status === 400 ? { ...found, status: statusOfGarbage } : found;
      const text = error instanceof Error ? error.message : 'failed';
      const headers = reason(answer.status, text);
      this.#end({ status: answer.status, by: 'switch', text, headers, answer });
    });
  }

  /** The one way out: answers the caller, stops the branches, hangs up, frees the ports, writes the record. */
  #end(ending: Ending): void {
    if (this.#state === 'over') return;
    const wasUp = this.#state === 'up';
    this.#state = 'over';
    this.#ending = ending;
    this.#stopWaiting();
    this.#liveness.stop();
    if (this.#acceptance === undefined) {
      if (ending.answer !== undefined) respond(this.#parts.response, ending.answer);
      this.#legs.caller?.abandon();
    }
    for (const fork of this.#forks) fork.cancel(ending.headers);
    this.#exchange.close();
    this.#replayHeld();
    const goodbyes = [this.#acceptance, this.#legs.callee?.bye(ending.headers)];
    if (wasUp) goodbyes.push(this.#legs.caller?.bye(ending.headers));
    void this.#finish(ending, wasUp, goodbyes);
  }

  async #finish(
    ending: Ending,
    wasUp: boolean,
    goodbyes: readonly (Promise<void> | undefined)[],
  ): Promise<void> {
    const { context, request, record, over, caller, callee } = this.#parts;
    const facts = {
      callId: request.get('Call-ID') ?? '',
      caller: caller.nickname,
      callee,
      startedAtMs: this.#startedAtMs,
      answeredAtMs: this.#answeredAtMs,
      endedAtMs: context.clock.wallMs(),
      sipStatus: wasUp ? 200 : ending.status,
      endedBy: ending.by,
      reason: ending.text,
    };
    context.log.info('call.ended', () => facts);
    try {
      const statistics = await this.#offers.release().catch(() => undefined);
      await record({ ...facts, statistics });
    } catch (error) {
      context.log.error('call.record.failed', () => ({ error }));
    }
    await Promise.all([...goodbyes, ...this.#forks.map((fork) => fork.settled)]);
    over(this);
  }
}

/** RFC 3311 section 5.2: the offer of this side is not answered yet. */
function refuseForNow(response: SipResponse): void {
  const seconds = Math.floor(Math.random() * 10);
  respond(response, { status: 500, headers: { 'Retry-After': String(seconds) } });
}

function ignore(): void {
  // There is nothing to stop, or to start.
}
