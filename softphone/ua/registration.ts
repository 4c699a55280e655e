/** Being reachable: REGISTER, its refresh, and what to do with every answer (RFC 3261 §10.2, RFC 5626). */

import type { Core } from 'sip.js';
import { ParseError } from '../../core/errors.ts';
import { splitList } from '../../core/sip/grammar.ts';
import { NameAddr } from '../../core/sip/name-addr.ts';
import type { Clock } from '../audio/device.ts';
import { BackOff } from './back-off.ts';
import { readableUser } from './address.ts';
import { buildRequest, sendRequest } from './requests.ts';
import type { Reply } from './requests.ts';
import { serviceRouteOf } from './service-route.ts';

export type RegistrationState =
  | { readonly kind: 'unregistered' | 'registering' }
  | { readonly kind: 'registered'; readonly expiresSeconds: number }
  /** Refused for good: only other settings help. */
  | { readonly kind: 'refused'; readonly statusCode: number; readonly reason: string }
  /** Will be tried again by itself. */
  | {
      readonly kind: 'waiting';
      readonly statusCode: number;
      readonly reason: string;
      readonly retryMs: number;
    };

export type RegistrationOptions = {
  readonly core: Core.UserAgentCore;
  /** `sip:example.com` */
  readonly registrar: string;
  /** The Contact header's value, parameters of the header included; read for every request. */
  readonly contact: (isFlow: boolean) => string;
  /** The user part of that contact, by which our binding is found in the answer. */
  readonly contactUser: string;
  readonly clock: Clock;
  readonly onState: (state: RegistrationState) => void;
};

const WANTED_SECONDS = 300;
const UNREGISTER_LIMIT_MS = 2000;
/** RFC 5626 §11.6: a proxy in between keeps no flows. */
const STATUS_NO_OUTBOUND = 439;

/** What to do after an answer to REGISTER. */
export type RegistrationStep =
  | { readonly kind: 'registered'; readonly expiresSeconds: number }
  | { readonly kind: 'again'; readonly wantedSeconds: number }
  | { readonly kind: 'withoutFlow' }
  | { readonly kind: 'refused' }
  | { readonly kind: 'later'; readonly afterMs: number | undefined };

/** Reads an answer; pure. */
export function judgeReply(
  reply: Reply,
  wantedSeconds: number,
  contactUser: string,
): RegistrationStep {
  const { statusCode } = reply;
  if (statusCode >= 200 && statusCode < 300) {
    const expiresSeconds = grantedSeconds(reply, contactUser) ?? wantedSeconds;
    return { kind: 'registered', expiresSeconds };
  }
  if (statusCode === 423) return judgeTooBrief(reply, wantedSeconds);
  if (statusCode === STATUS_NO_OUTBOUND) return { kind: 'withoutFlow' };
  const isTemporary =
    (statusCode >= 500 && statusCode < 600) || [408, 429, 480].includes(statusCode);
  if (!isTemporary) return { kind: 'refused' };
  const retryAfter = /^\s*(\d{1,6})/.exec(reply.headers('retry-after')[0] ?? '')?.[1];
  return {
    kind: 'later',
    afterMs: retryAfter === undefined ? undefined : Number(retryAfter) * 1000,
  };
}

/** RFC 3261 §21.4.17. A server that asks for no more than it has got would be asked for ever. */
function judgeTooBrief(reply: Reply, wantedSeconds: number): RegistrationStep {
  const least = Number(reply.headers('min-expires')[0]);
  const isMore = Number.isSafeInteger(least) && least > wantedSeconds && least < 2 ** 31;
  return isMore ? { kind: 'again', wantedSeconds: least } : { kind: 'later', afterMs: undefined };
}

/** The lifetime of our own binding among all those of the account. */
function grantedSeconds(reply: Reply, contactUser: string): number | undefined {
  try {
    for (const element of reply.headers('contact').flatMap(splitList)) {
      const contact = NameAddr.parse(element);
      const expires = contact.params.get('expires');
      if (readableUser(contact.uriText) !== contactUser || expires === undefined) continue;
      if (/^\d{1,9}$/.test(expires)) return Number(expires);
    }
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
  }
  const general = reply.headers('expires')[0] ?? '';
  return /^\d{1,9}$/.test(general) ? Number(general) : undefined;
}

/** When to refresh a binding that lasts so long: with time for another attempt, and not all phones at once. */
export function refreshDelayMs(expiresSeconds: number): number {
  return Math.max(1, expiresSeconds - Math.max(5, expiresSeconds * 0.15)) * 1000;
}

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #backOff = new BackOff({ firstMs: 2000, maximumMs: 60_000, random: Math.random });
  #state: RegistrationState = { kind: 'unregistered' };
  #wantedSeconds = WANTED_SECONDS;
  /** Whether to register a flow (RFC 5626), which some proxies cannot keep. */
  #isFlow = true;
  #last: Core.OutgoingRequestMessage | undefined;
  #cancelTimer: (() => void) | undefined;
  /** Grows with each new reason to register; answers to older requests count for nothing. */
  #attempt = 0;

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  get state(): RegistrationState {
    return this.#state;
  }

  /** Registers now, and keeps the binding alive from then on. Also after a new connection. */
  start(): void {
    this.#attempt += 1;
    void this.#register(this.#attempt);
  }

  /** The connection is gone, and with it the flow of the binding. */
  suspend(): void {
    this.#attempt += 1;
    this.#cancelTimer?.();
    if (this.#state.kind !== 'refused') this.#enter({ kind: 'unregistered' });
  }

  /** Takes the binding back; resolves after two seconds even without an answer. */
  async stop(): Promise<void> {
    const wasRegistered = this.#state.kind === 'registered';
    this.suspend();
    if (!wasRegistered) return;
    await Promise.race([
      this.#send(0),
      new Promise<void>((resolve) => {
        this.#cancelTimer = this.#options.clock.setTimer(resolve, UNREGISTER_LIMIT_MS);
      }),
    ]);
    this.#cancelTimer?.();
  }

  async #register(attempt: number): Promise<void> {
    this.#cancelTimer?.();
    if (this.#state.kind !== 'registered') this.#enter({ kind: 'registering' });
    const reply = await this.#send(this.#wantedSeconds);
    if (attempt !== this.#attempt) return;
    const step = judgeReply(reply, this.#wantedSeconds, this.#options.contactUser);
    const { statusCode, reasonPhrase: reason } = reply;
    switch (step.kind) {
      case 'registered': {
        this.#backOff.reset();
        this.#route(serviceRouteOf(reply));
        this.#enter({ kind: 'registered', expiresSeconds: step.expiresSeconds });
        this.#schedule(refreshDelayMs(step.expiresSeconds));
        return;
      }
      case 'again':
        this.#wantedSeconds = step.wantedSeconds;
        await this.#register(attempt);
        return;
      case 'withoutFlow':
        if (!this.#isFlow) {
          this.#enter({ kind: 'refused', statusCode, reason });
          return;
        }
        this.#isFlow = false;
        await this.#register(attempt);
        return;
      case 'refused':
        this.#enter({ kind: 'refused', statusCode, reason });
        return;
      case 'later': {
        const retryMs = step.afterMs ?? this.#backOff.next();
        this.#enter({ kind: 'waiting', statusCode, reason, retryMs });
        this.#schedule(retryMs);
      }
    }
  }

  #schedule(delayMs: number): void {
    this.#cancelTimer = this.#options.clock.setTimer(() => {
      this.start();
    }, delayMs);
  }

  #send(expiresSeconds: number): Promise<Reply> {
    const { core, registrar, contact } = this.#options;
    const last = this.#last;
    const message = buildRequest(core, {
      method: 'REGISTER',
      uri: registrar,
      to: core.configuration.aor.toString(),
      headers: [
        `Contact: ${contact(this.#isFlow)};expires=${expiresSeconds}`,
        `Expires: ${expiresSeconds}`,
      ],
      // One Call-ID with rising CSeq for all registrations of a phone (RFC 3261 §10.2). A Service-Route is not for them.
      series: {
        routeSet: [],
        ...(this.#isFlow ? {} : { optionTags: ['path', 'gruu'] }),
        ...(last === undefined ? {} : { callId: last.callId, cseq: last.cseq + 1 }),
      },
    });
    this.#last = message;
    return sendRequest(core, message);
  }

  /** For all requests outside of dialogs from now on; each registration replaces it, also by nothing (RFC 3608 §5). */
  #route(routeSet: string[]): void {
    this.#options.core.configuration.routeSet = routeSet;
  }

  #enter(state: RegistrationState): void {
    if (state.kind === 'unregistered' && this.#state.kind === 'unregistered') return;
    if (state.kind === 'unregistered' || state.kind === 'refused') this.#route([]);
    this.#state = state;
    this.#options.onState(state);
  }
}
