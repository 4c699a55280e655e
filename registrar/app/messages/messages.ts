/** Messages between people (RFC 3428): every MESSAGE outside a dialog that is not for a room goes to all devices of its recipient. */
import type { Account } from '../accounts/accounts.ts';
import { verdictOf } from '../calls/best-response.ts';
import type { Failure } from '../calls/best-response.ts';
import type { Refusal } from '../calls/checks.ts';
import { copied, MESSAGE_HEADERS, reason, warning } from '../calls/headers.ts';
import { personHeaders } from '../calls/identity.ts';
import { isInvented, respond } from '../calls/transactions.ts';
import type { InstalledPart, SwitchContext } from '../context.ts';
import type { Binding } from '../location/location.ts';
import { devicesOf, forgetWhenGone, isFlowFailure, routeOf, targetOf } from '../location/target.ts';
import type { Target } from '../location/target.ts';
import { sendRequest } from '../srf.ts';
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';
import { toBytes } from '../wire.ts';

/** The sender gives up at 32 s (RFC 3261 Timer F), so he must know before (RFC 4320 section 4.2). */
const ANSWER_LIMIT_MS = 20_000;

export type Message = {
  readonly sender: Account;
  /** Canonical nickname. */
  readonly recipient: string;
  /** Content-Type and what else describes the body, Date, Subject; as the sender wrote them. */
  readonly headers: SipHeaders;
  /** See `toBytes`. */
  readonly body: string;
};

/**
 * Takes a message over when no device of its recipient can take it now.
 *
 * @returns whether it did; the sender gets 202 then, else the refusal
 */
export type MessageKeeper = (message: Message) => Promise<boolean>;

/** Why a message does not pass; nothing when it may. */
export type MessageCheck = (message: Message) => Refusal | undefined;

export type MessageOptions = {
  /** Asked after our own, in this order. */
  readonly checks?: readonly MessageCheck[];
  readonly keep?: MessageKeeper;
};

export function installMessages(
  context: SwitchContext,
  options: MessageOptions = {},
): InstalledPart {
  return new Messages(context, options);
}

class Messages implements InstalledPart {
  readonly #context: SwitchContext;
  readonly #checks: readonly MessageCheck[];
  readonly #keep: MessageKeeper | undefined;
  readonly #deliveries = new Set<Promise<unknown>>();
  /** Resolves when the switch goes away: who waits for a device waits no longer. */
  readonly #closing: Promise<'late'>;
  #startClosing: () => void = ignore;

  constructor(context: SwitchContext, { checks = [], keep }: MessageOptions) {
    this.#context = context;
    this.#checks = [...ownChecks(context), ...checks];
    this.#keep = keep;
    this.#closing = new Promise((resolve) => {
      this.#startClosing = () => {
        resolve('late');
      };
    });
    context.requests.on('MESSAGE', (request, response) => this.#received(request, response));
  }

  activeCount(): number {
    return this.#deliveries.size;
  }

  async close(): Promise<void> {
    this.#startClosing();
    await Promise.all(this.#deliveries);
  }

  async #received(request: SipRequest, response: SipResponse): Promise<boolean> {
    const { authenticator, domain } = this.#context;
    const recipient = domain.userOf(request.uri);
    if (recipient === undefined) return false;
    const sender = await authenticator.authenticate(request, response);
    if (sender === undefined) return true;
    const body = request.body ?? '';
    const headers = copied(request, MESSAGE_HEADERS);
    const message: Message = { sender, recipient, headers, body };
    const refusal = this.#firstRefusal(message);
    if (refusal !== undefined) {
      respond(response, refusal);
      return true;
    }
    const delivery = this.#deliver(request, response, message);
    this.#deliveries.add(delivery);
    await delivery.finally(() => this.#deliveries.delete(delivery));
    return true;
  }

  #firstRefusal(message: Message): Refusal | undefined {
    for (const check of this.#checks) {
      const refusal = check(message);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  async #deliver(request: SipRequest, response: SipResponse, message: Message): Promise<void> {
    const { clock, domain, location } = this.#context;
    const { sender, recipient, body } = message;
    const headers = {
      ...message.headers,
      ...personHeaders(request, { sender, recipient }, domain),
    };
    const failures: Failure[] = [];
    let isDecided = false;
    const attempts = devicesOf(location.reachableBindingsOf(recipient)).map(async (flows) => {
      const failure = await this.#sendToDevice(flows, (flow) =>
        isDecided
          ? undefined
          : this.#sendTo(targetOf(flow), { ...headers, ...routeOf(flow) }, body),
      );
      if (failure === undefined) return;
      failures.push(failure);
      throw new NotDelivered();
    });
    let stopClock: (() => void) | undefined;
    const limit = new Promise<'late'>((resolve) => {
      stopClock = clock.after(ANSWER_LIMIT_MS, () => {
        resolve('late');
      });
    });
    const anyDevice = Promise.any(attempts).then(
      () => 'taken' as const,
      () => 'refused' as const,
    );
    const outcome = await Promise.race([anyDevice, limit, this.#closing]);
    isDecided = true;
    stopClock?.();
    if (outcome === 'taken') respond(response, { status: 200 });
    else await this.#giveUp(response, message, failures);
  }

  /** Devices that said no have their reasons; for those that are not there, the message can wait. */
  async #giveUp(
    response: SipResponse,
    message: Message,
    failures: readonly Failure[],
  ): Promise<void> {
    const { domain } = this.#context;
    const verdict = verdictOf(failures, domain.name);
    if (verdict.by === 'switch') {
      const isKept = (await this.#keep?.(message)) ?? false;
      const nobody = {
        status: 480,
        headers: {
          ...warning(399, domain.name, 'No device is connected'),
          ...reason(480, 'No device is connected'),
        },
      };
      respond(response, isKept ? { status: 202 } : nobody);
    } else respond(response, verdict.answer);
  }

  /**
   * By one flow after the other (RFC 5626 section 7).
   *
   * @param send - not called any more once it has resolved with nothing
   * @returns why not; nothing when the device took it
   */
  async #sendToDevice(
    flows: readonly Binding[],
    send: (flow: Binding) => Promise<Failure | undefined> | undefined,
  ): Promise<Failure | undefined> {
    let failure: Failure | undefined;
    for (const flow of flows) {
      failure = await send(flow);
      if (failure === undefined) return undefined;
      forgetWhenGone(this.#context.location, flow, failure);
      if (!isFlowFailure(failure)) break;
    }
    return failure;
  }

  /** @returns why not; nothing when the device took it */
  async #sendTo(target: Target, headers: SipHeaders, body: string): Promise<Failure | undefined> {
    try {
      const answer = await sendRequest(this.#context.srf, {
        ...target,
        method: 'MESSAGE',
        headers: { ...headers },
        body,
      });
      const { status, reason: phrase } = answer;
      if (status < 300) return undefined;
      return { status, reason: phrase, response: answer, isUnreachable: isInvented(answer) };
    } catch (error) {
      this.#context.log.warn('message.send.failed', () => ({ error }));
      return { status: 503, reason: String(error), isUnreachable: true };
    }
  }
}

class NotDelivered extends Error {}

function ignore(): void {
  // Until the promise is there.
}

function ownChecks({ accounts, config, domain }: SwitchContext): readonly MessageCheck[] {
  const limit = config.messages.maxBodyBytes;
  return [
    ({ body }) =>
      // A character has at least one byte, so the long ones need no counting.
      body.length > limit || toBytes(body).length > limit
        ? { status: 413, headers: warning(399, domain.name, `At most ${limit} bytes`) }
        : undefined,
    ({ body, headers }) =>
      body !== '' && headers['Content-Type'] === undefined
        ? { status: 400, reason: 'Content-Type missing' }
        : undefined,
    ({ recipient }) => (accounts.find(recipient) === undefined ? { status: 404 } : undefined),
  ];
}
