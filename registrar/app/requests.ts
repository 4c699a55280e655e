/** New requests from outside dialogs: which handler gets them, and what happens when a handler fails. */
import { ProtocolError, RefusedError, ResourceError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { parseUri } from '../../core/sip/uri.ts';
import { answerFailure } from './answer.ts';
import type { Domain } from './domain.ts';
import type { SipHeaders, SipRequest, SipResponse, Srf } from './srf.ts';

/**
 * Handles a request or leaves it to the next handler of that method.
 *
 * @returns `false` when it is not this handler's; anything else means that it was, or will be, answered.
 * What it throws becomes the answer: the `sipStatus` of a SwitchError, else 500 and a line in the log.
 */
export type RequestHandler = (
  request: SipRequest,
  response: SipResponse,
) => Promise<boolean | undefined> | boolean | undefined;

export type Requests = {
  /**
   * Adds a handler; they are asked in the order of adding. Before the first is asked, the request has passed these:
   * not shutting down (else 503), no To tag (else 481), Max-Forwards not 0 (else 483), no unknown Require (else 420),
   * an INVITE accepts SDP (else 406), the request-URI is of this domain (else 403, 416).
   *
   * @param method - upper case
   */
  on(method: string, handler: RequestHandler): void;
  /**
   * Asks somebody whether a user can be reached now: the answer to OPTIONS (RFC 3261 section 11.2).
   * The first that does not answer `undefined` decides; nobody: 404.
   */
  onAvailability(ask: (user: string) => number | undefined): void;
};

/** What may reach us from outside dialogs. */
export const METHODS = [
  'INVITE',
  'MESSAGE',
  'OPTIONS',
  'REGISTER',
  'SUBSCRIBE',
  'PUBLISH',
  'NOTIFY',
  'INFO',
  'REFER',
] as const;

/** In Allow: what we take inside dialogs as well. */
export const ALLOW =
  'INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, REGISTER, SUBSCRIBE, NOTIFY, INFO, UPDATE, REFER, PRACK';
export const ALLOW_EVENTS = 'conference';
export const SUPPORTED = '100rel, timer, replaces, norefersub, path, outbound';

const OPTION_TAGS: ReadonlySet<string> = new Set(SUPPORTED.split(', '));
const DRAIN_RETRY_SECONDS = 10;

export type RequestRouterOptions = {
  readonly srf: Pick<Srf, 'use'>;
  readonly domain: Domain;
  readonly log: Log;
};

export class RequestRouter implements Requests {
  readonly #domain: Domain;
  readonly #log: Log;
  readonly #handlers = new Map<string, RequestHandler[]>();
  readonly #availability: ((user: string) => number | undefined)[] = [];
  #isDraining = false;
  #active = 0;

  constructor({ srf, domain, log }: RequestRouterOptions) {
    this.#domain = domain;
    this.#log = log;
    for (const method of METHODS) {
      srf.use(method.toLowerCase(), (request, response) => {
        void this.#route(method, request, response);
      });
    }
  }

  on(method: string, handler: RequestHandler): void {
    const handlers = this.#handlers.get(method);
    if (handlers === undefined) this.#handlers.set(method, [handler]);
    else handlers.push(handler);
  }

  onAvailability(ask: (user: string) => number | undefined): void {
    this.#availability.push(ask);
  }

  /** @param user - canonical */
  availabilityOf(user: string): number {
    for (const ask of this.#availability) {
      const status = ask(user);
      if (status !== undefined) return status;
    }
    return 404;
  }

  /** From now on every new request gets 503: the switch is going away. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Requests whose handlers are still at work. */
  get activeCount(): number {
    return this.#active;
  }

  async #route(method: string, request: SipRequest, response: SipResponse): Promise<void> {
    this.#active++;
    try {
      this.#admit(method, request);
      for (const handler of this.#handlers.get(method) ?? []) {
        if ((await handler(request, response)) !== false) return;
      }
      refuseUnhandled(method, response);
    } catch (error) {
      if (error instanceof UnsupportedError) {
        response.send(420, { headers: { Unsupported: error.optionTags } });
      } else answerFailure(response, error, this.#log);
    } finally {
      this.#active--;
    }
  }

  #admit(method: string, request: SipRequest): void {
    if (this.#isDraining) {
      throw new ResourceError('switch.draining', 'Shutting down', DRAIN_RETRY_SECONDS);
    }
    const isRegister = method === 'REGISTER';
    if (!isRegister && /;\s*tag\s*=/i.test(request.get('to') ?? '')) {
      throw new ProtocolError('sip.dialog.unknown', 'Call/Transaction Does Not Exist', 481);
    }
    if (!isRegister && method !== 'OPTIONS' && Number(request.get('max-forwards') ?? 70) <= 0) {
      throw new ProtocolError('sip.maxForwards', 'Too Many Hops', 483);
    }
    refuseUnknownOptions(request.get('require'));
    if (method === 'INVITE') refuseWithoutSdp(request.get('accept'));
    this.#checkDomain(request.uri);
  }

  #checkDomain(text: string): void {
    const uri = parseUri(text);
    if (uri.kind !== 'sip') {
      throw new ProtocolError('sip.uri.scheme', 'Unsupported URI Scheme', 416);
    }
    if (!this.#domain.isLocal(uri.host)) {
      throw new RefusedError('domain.foreign', `Not the domain ${this.#domain.name}`, 403);
    }
  }
}

/** RFC 3261 section 8.2.2.3. */
class UnsupportedError extends ProtocolError {
  readonly optionTags: string;

  constructor(optionTags: string) {
    super('sip.require', 'Bad Extension', 420);
    this.optionTags = optionTags;
  }
}

function refuseUnknownOptions(require: string | undefined): void {
  if (require === undefined) return;
  const tags = require.split(',').map((tag) => tag.trim().toLowerCase());
  const unknown = tags.filter((tag) => tag !== '' && !OPTION_TAGS.has(tag));
  if (unknown.length > 0) throw new UnsupportedError(unknown.join(', '));
}

/** RFC 3261 section 20.1: without Accept, SDP is meant; an answer to a call is nothing else. */
function refuseWithoutSdp(accept: string | undefined): void {
  if (accept === undefined) return;
  const ranges = accept.split(',').map((range) => range.split(';', 1)[0]?.trim().toLowerCase());
  if (ranges.some((range) => SDP_RANGES.has(range ?? ''))) return;
  throw new ProtocolError('sip.accept', 'Not Acceptable', 406);
}

const SDP_RANGES: ReadonlySet<string> = new Set(['application/sdp', 'application/*', '*/*']);
const USER_METHODS: ReadonlySet<string> = new Set(['INVITE', 'MESSAGE', 'OPTIONS']);
const EVENT_METHODS: ReadonlySet<string> = new Set(['SUBSCRIBE', 'PUBLISH']);

function refuseUnhandled(method: string, response: SipResponse): void {
  const [status, headers] = unhandledAnswer(method);
  response.send(status, { headers });
}

function unhandledAnswer(method: string): [status: number, headers: SipHeaders] {
  if (USER_METHODS.has(method)) return [404, {}];
  if (EVENT_METHODS.has(method)) return [489, { 'Allow-Events': ALLOW_EVENTS }];
  return [405, { Allow: ALLOW }];
}
