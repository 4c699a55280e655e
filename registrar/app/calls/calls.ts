/** Calls between people: every INVITE that is not for a room ends up here. */
import { randomUUID } from 'node:crypto';
import type { Account } from '../accounts/accounts.ts';
import type { InstalledPart, SwitchContext } from '../context.ts';
import type { SipRequest, SipResponse } from '../srf.ts';
import { Call } from './call.ts';
import type { Joiner } from './call.ts';
import { firstRefusal } from './checks.ts';
import type { CallAttempt, CallCheck, Refusal } from './checks.ts';
import { isSdp } from './exchange.ts';
import { headerOf, warning } from './headers.ts';
import type { HeaderSource } from './headers.ts';
import { checkInitialOffer } from './media.ts';
import { callRecorder } from './record.ts';
import type { CallRecord } from './record.ts';
import { refusalOf } from './refusal.ts';
import { parseReplaces } from './replaces.ts';
import { respond, Transactions } from './transactions.ts';

const HOP_HEADER = 'X-Parley-Hop';
/** After this long the shutdown does not wait for phones any more. */
const CLOSE_LIMIT_MS = 5_000;

/** @param extraChecks - asked after our own, in this order */
export function installCalls(
  context: SwitchContext,
  extraChecks: readonly CallCheck[] = [],
): InstalledPart {
  return new Calls(context, extraChecks);
}

/** An INVITE that has passed: from whom it is, and what it wants. */
type Attempt = CallAttempt & { readonly request: SipRequest; readonly response: SipResponse };

class Calls implements InstalledPart {
  readonly #context: SwitchContext;
  readonly #checks: readonly CallCheck[];
  readonly #calls = new Set<Call>();
  readonly #transactions: Transactions;
  readonly #record: (record: CallRecord) => Promise<void>;
  /** Marks our INVITEs, so that one that comes back is known. */
  readonly #instance = randomUUID();
  readonly #stopListening: () => void;
  #whenEmpty: (() => void) | undefined;

  constructor(context: SwitchContext, extraChecks: readonly CallCheck[]) {
    const { accounts, location, relay, requests, srf, store } = context;
    this.#context = context;
    this.#checks = [...ownChecks(context, () => this.#calls.size), ...extraChecks];
    this.#transactions = new Transactions(srf);
    this.#record = callRecorder(store);
    requests.on('INVITE', (request, response) => this.#invited(request, response));
    requests.onAvailability((user) => {
      if (accounts.find(user) === undefined) return undefined;
      return location.reachableBindingsOf(user).length > 0 ? 200 : 480;
    });
    srf.on('close', (socket: unknown) => {
      for (const call of [...this.#calls]) if (call.socket === socket) call.abandon();
    });
    this.#stopListening = relay.onEvent((event) => {
      if (event.kind === 'lost') this.#shutDownAll('The media relay was lost');
    });
  }

  activeCount(): number {
    return this.#calls.size;
  }

  async close(): Promise<void> {
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    this.#shutDownAll('Server is shutting down');
    if (this.#calls.size > 0) {
      let cancelLimit: (() => void) | undefined;
      const limit = new Promise<void>((resolve) => {
        cancelLimit = this.#context.clock.after(CLOSE_LIMIT_MS, resolve);
      });
      await Promise.race([empty, limit]);
      cancelLimit?.();
    }
    this.#stopListening();
  }

  #shutDownAll(text: string): void {
    for (const call of [...this.#calls]) call.shutDown(503, text);
  }

  async #invited(request: SipRequest, response: SipResponse): Promise<boolean> {
    const { authenticator, domain } = this.#context;
    const callee = domain.userOf(request.uri);
    if (callee === undefined) return false;
    const cancellation = watchForCancel(request);
    if (headerOf(request, HOP_HEADER) === this.#hop(callee)) {
      respond(response, { status: 482 });
      return true;
    }
    const caller = await authenticator.authenticate(request, response);
    if (caller === undefined || cancellation.cancel !== undefined) return true;
    const replaces = headerOf(request, 'Replaces');
    if (replaces !== undefined) {
      this.#replace(replaces, { request, response, account: caller });
      return true;
    }
    const body = request.body ?? '';
    const attempt = { request, response, caller, callee, offer: body === '' ? undefined : body };
    const refusal = typeRefusal(request) ?? firstRefusal(this.#checks, attempt);
    if (refusal === undefined) this.#begin(attempt, caller, cancellation);
    else respond(response, refusal);
    return true;
  }

  /** RFC 3891 section 3. */
  #replace(value: string, joiner: Joiner): void {
    const { request, response } = joiner;
    const replaces = parseReplaces(value);
    if (replaces === undefined || request.has('join')) {
      respond(response, { status: 400, reason: 'Bad Replaces' });
      return;
    }
    for (const call of this.#calls) {
      const side = call.sideNamed(replaces);
      if (side === undefined) continue;
      if (replaces.isEarlyOnly && call.isUp) respond(response, { status: 486 });
      else call.replace(side, joiner);
      return;
    }
    respond(response, { status: 481 });
  }

  #begin(attempt: Attempt, caller: Account, cancellation: Cancellation): void {
    const { accounts, location } = this.#context;
    const { callee } = attempt;
    const bindings = location.reachableBindingsOf(callee);
    const call = new Call({
      ...attempt,
      caller,
      context: this.#context,
      transactions: this.#transactions,
      calleeAccount: accounts.find(callee),
      bindings,
      hopHeaders: { [HOP_HEADER]: this.#hop(callee) },
      record: this.#record,
      over: (ended) => {
        this.#calls.delete(ended);
        if (this.#calls.size === 0) this.#whenEmpty?.();
      },
    });
    this.#calls.add(call);
    cancellation.listener = (cancel) => {
      call.cancelled(cancel);
    };
    call.start();
  }

  #hop(callee: string): string {
    return `${this.#instance};${encodeURIComponent(callee)}`;
  }
}

function ownChecks(context: SwitchContext, callCount: () => number): readonly CallCheck[] {
  const { accounts, config, domain, location } = context;
  return [
    () =>
      callCount() < config.limits.maxCalls
        ? undefined
        : { status: 503, headers: { 'Retry-After': '10' } },
    ({ callee }) => (accounts.find(callee) === undefined ? { status: 404 } : undefined),
    ({ offer }) => offerRefusal(offer, domain.name),
    ({ callee }) =>
      location.reachableBindingsOf(callee).length > 0
        ? undefined
        : { status: 480, headers: warning(399, domain.name, 'No device is connected') },
  ];
}

type Cancellation = {
  cancel: HeaderSource | undefined;
  listener: ((cancel: HeaderSource) => void) | undefined;
};

/** The CANCEL may come while the caller is still being authenticated. */
function watchForCancel(request: SipRequest): Cancellation {
  const cancellation: Cancellation = { cancel: undefined, listener: undefined };
  request.once('cancel', (cancel: HeaderSource) => {
    cancellation.cancel = cancel;
    cancellation.listener?.(cancel);
  });
  return cancellation;
}

function typeRefusal(request: SipRequest): Refusal | undefined {
  const type = headerOf(request, 'Content-Type');
  if (request.body === undefined || request.body === '' || type === undefined || isSdp(type)) {
    return undefined;
  }
  return { status: 415, headers: { Accept: 'application/sdp' } };
}

function offerRefusal(offer: string | undefined, domain: string): Refusal | undefined {
  if (offer === undefined) return undefined;
  try {
    checkInitialOffer(offer);
    return undefined;
  } catch (error) {
    return refusalOf(error, domain) ?? { status: 400 };
  }
}
