/** The phone's SIP side: one connection to one server, kept up, and everything that goes over it. */

import { randomBytes } from 'node:crypto';
import { SessionState, UserAgent, UserAgentState } from 'sip.js';
import type { Core, Invitation, Message, Session } from 'sip.js';
import type { CodecName } from '../../core/audio/codec-name.ts';
import { RefusedError } from '../../core/errors.ts';
import { invariant } from '../../core/invariant.ts';
import type { Log } from '../../core/log.ts';
import { quote } from '../../core/sip/grammar.ts';
import { formatHost } from '../../core/sip/host.ts';
import type { Clock } from '../audio/device.ts';
import type { RtpSession } from '../audio/rtp-session.ts';
import { aorOf, readableName } from './address.ts';
import { BackOff } from './back-off.ts';
import { Call } from './call.ts';
import type { CallContext, CallEvents } from './call.ts';
import { NonceCounter, RequestCredentials } from './digest.ts';
import { locateServer } from './locate.ts';
import { Registration } from './registration.ts';
import type { RegistrationState } from './registration.ts';
import { buildRequest, sendRequest, toUri } from './requests.ts';
import type { Reply } from './requests.ts';
import { RoomSubscription } from './room-subscription.ts';
import type { RosterChange } from './roster.ts';
import type { CallDescription } from './session-description.ts';
import { StreamTransport } from './stream-transport.ts';
import type { StreamTransportOptions, TlsOptions } from './stream-transport.ts';
import { ACCEPTED_TYPES, readContent, textRefusal } from './texts.ts';
import type { ReceivedText } from './texts.ts';

export type UserAgentOptions = {
  readonly nickname: string;
  readonly password: string;
  /** Shown to others; the nickname when it is empty. */
  readonly displayName: string;
  /** Behind the @ of our address. */
  readonly domain: string;
  readonly server: { readonly host: string; readonly port: number | undefined };
  /** Undefined for TCP. */
  readonly tls: TlsOptions | undefined;
  /** For the User-Agent header, for example `Parley/0.1.0`. */
  readonly product: string;
  /** A UUID that stays the same over restarts (RFC 5626 §4.1). */
  readonly instanceId: string;
  readonly codecs: readonly CodecName[];
  readonly openMedia: (address: string, onDigit: (digit: string) => void) => Promise<RtpSession>;
  readonly clock: Clock;
  readonly log: Log;
  readonly keepAliveMs?: number;
  readonly pongLimitMs?: number;
};

export type ConnectionState =
  | { readonly kind: 'connecting' | 'connected' | 'closed' }
  /** `retryMs` until the next attempt. */
  | { readonly kind: 'disconnected'; readonly reason: string; readonly retryMs: number };

/** A text from a person or a room. */
export type IncomingText = ReceivedText & {
  readonly senderUri: string;
  readonly senderName: string;
  /** When it was written, if the server kept it for us. */
  readonly writtenAtMs: number | undefined;
};

export type UserAgentEvents = {
  connection(state: ConnectionState): void;
  registration(state: RegistrationState): void;
  /** An INVITE. @returns the call's events, or the status with which it is refused at once */
  incoming(): { readonly id: string; readonly events: CallEvents } | { readonly refuse: number };
  ringing(call: Call): void;
  text(text: IncomingText): void;
  /** Whether an OPTIONS is answered with 486. */
  isBusy(): boolean;
};

const STOP_LIMIT_MS = 2000;
/** So many Call-IDs are remembered; a challenge comes within seconds. */
const ABANDONED_CALLS = 100;
const NO_ANSWER_SECONDS = 180;
const PLACEHOLDER_HOST = 'softphone.invalid';

export class SipUserAgent {
  readonly #options: UserAgentOptions;
  readonly #events: UserAgentEvents;
  readonly #backOff = new BackOff({ firstMs: 1000, maximumMs: 30_000, random: Math.random });
  readonly #nonces = new NonceCounter();
  readonly #descriptions = new WeakMap<Session, CallDescription>();
  readonly #calls = new Set<Call>();
  /** Call-IDs of calls that were given up; see `CallContext.abandon`. */
  readonly #abandoned = new Set<string>();
  readonly #userAgent: UserAgent;
  readonly #transport: StreamTransport;
  readonly #registration: Registration;
  readonly #contactUser = randomBytes(8).toString('hex');
  #isStopped = false;
  #cancelRetry: (() => void) | undefined;

  constructor(options: UserAgentOptions, events: UserAgentEvents) {
    this.#options = options;
    this.#events = events;
    const { instanceId } = options;
    this.#userAgent = new UserAgent({
      uri: toUri(aorOf(options.nickname, options.domain)),
      viaHost: PLACEHOLDER_HOST,
      contactName: this.#contactUser,
      contactParams: { transport: options.tls === undefined ? 'tcp' : 'tls' },
      // sip.js puts quotes around it, and nothing else.
      displayName: quote(options.displayName).slice(1, -1),
      userAgentString: options.product,
      forceRport: true,
      gracefulShutdown: false,
      instanceId,
      logBuiltinEnabled: false,
      logConfiguration: false,
      noAnswerTimeout: NO_ANSWER_SECONDS,
      sendInitialProvisionalResponse: false,
      sessionDescriptionHandlerFactory: (session) => this.#descriptionOf(session),
      transportConstructor: StreamTransport,
      transportOptions: options satisfies StreamTransportOptions,
      delegate: this.#delegate(),
    });
    const { transport } = this.#userAgent;
    invariant(transport instanceof StreamTransport, 'sip.js uses another transport');
    this.#transport = transport;
    const core = this.#userAgent.userAgentCore;
    // sip.js knows MD5 only.
    core.configuration.authenticationFactory = () =>
      new RequestCredentials(
        { username: options.nickname, password: options.password },
        this.#nonces,
        ({ callId = '' }) => !this.#abandoned.has(callId),
      ) as unknown as Core.DigestAuthentication;
    this.#answerOptionsTruly(core);
    this.#registration = new Registration({
      core,
      registrar: `sip:${options.domain}`,
      contact: (isFlow) => this.#registeredContact(instanceId, isFlow),
      contactUser: this.#contactUser,
      clock: options.clock,
      onState: (state) => {
        this.#registrationChanged(state);
      },
    });
  }

  get registration(): RegistrationState {
    return this.#registration.state;
  }

  get isConnected(): boolean {
    return this.#transport.isConnected();
  }

  /** Our address as the server sees it. */
  get localAddress(): string {
    return this.#transport.local.address;
  }

  /** Connects and registers, and keeps at it until `stop`. */
  start(): void {
    void this.#connect();
  }

  /** Ends all calls, takes the registration back, closes. */
  async stop(reason: string): Promise<void> {
    this.#isStopped = true;
    this.#cancelRetry?.();
    for (const call of [...this.#calls]) call.hangUp(reason);
    if (this.isConnected) {
      await this.#registration.stop();
      // BYEs and their answers are on their way; a moment is enough for them on any network.
      await this.#untilQuiet();
    }
    this.#registration.suspend();
    await this.#transport.dispose();
    this.#userAgent.userAgentCore.dispose();
    this.#events.connection({ kind: 'closed' });
  }

  /** @throws RefusedError `softphone.connection.closed` */
  dial(id: string, uri: string, events: CallEvents): Call {
    this.#needConnection();
    const call = Call.dial(id, uri, {
      context: this.#callContext(),
      events: this.#watched(events),
    });
    if (call.phase !== 'ended') this.#calls.add(call);
    return call;
  }

  /**
   * Sends a text to a person or a room.
   *
   * @returns whether it has arrived or waits there for somebody to come (202)
   * @throws RefusedError with the status of the answer
   */
  async sendText(uri: string, text: string): Promise<'delivered' | 'stored'> {
    const body = { contentType: 'text/plain;charset=UTF-8', content: text };
    const reply = await this.request('MESSAGE', uri, { body });
    if (reply.statusCode === 202) return 'stored';
    if (reply.statusCode >= 200 && reply.statusCode < 300) return 'delivered';
    throw new RefusedError(
      'softphone.text.refused',
      `Not sent: ${textRefusal(reply)}.`,
      reply.statusCode,
    );
  }

  /** Any request outside of calls. @throws RefusedError `softphone.connection.closed` */
  async request(
    method: string,
    uri: string,
    more: {
      readonly headers?: readonly string[];
      readonly body?: { readonly contentType: string; readonly content: string };
    } = {},
  ): Promise<Reply> {
    this.#needConnection();
    const { userAgentCore: core } = this.#userAgent;
    return sendRequest(core, buildRequest(core, { method, uri, ...more }));
  }

  subscribeRoom(uri: string, onChange: (change: RosterChange) => void): RoomSubscription {
    const { clock, log } = this.#options;
    const { userAgentCore: core } = this.#userAgent;
    return new RoomSubscription({ core, uri, clock, log, onChange });
  }

  async #connect(): Promise<void> {
    if (this.#isStopped) return;
    this.#events.connection({ kind: 'connecting' });
    const { server, tls } = this.#options;
    let reason = 'no address';
    for (const target of await locateServer(server.host, server.port, tls !== undefined)) {
      this.#transport.target = target;
      try {
        await (this.#userAgent.state === UserAgentState.Started
          ? this.#transport.connect()
          : this.#userAgent.start());
        return;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
    }
    this.#retry(reason);
  }

  #retry(reason: string): void {
    if (this.#isStopped) return;
    const retryMs = this.#backOff.next();
    this.#events.connection({ kind: 'disconnected', reason, retryMs });
    this.#cancelRetry = this.#options.clock.setTimer(() => {
      void this.#connect();
    }, retryMs);
  }

  #delegate() {
    return {
      onConnect: (): void => {
        this.#connected();
      },
      onDisconnect: (error?: Error): void => {
        this.#disconnected(error);
      },
      onInvite: (invitation: Invitation): void => {
        this.#invited(invitation);
      },
      onMessage: (message: Message): void => {
        this.#texted(message);
      },
    };
  }

  #connected(): void {
    const { address, port } = this.#transport.local;
    const { contact, userAgentCore: core } = this.#userAgent;
    const viaHost = formatHost(address);
    // Where we are is known only now, and changes with each connection.
    core.configuration.viaHost = viaHost;
    (this.#userAgent.configuration as { viaHost: string }).viaHost = viaHost;
    contact.uri.host = viaHost;
    contact.uri.port = port;
    this.#events.connection({ kind: 'connected' });
    this.#registration.start();
  }

  #disconnected(error: Error | undefined): void {
    this.#registration.suspend();
    this.#failPendingRequests();
    for (const call of [...this.#calls]) call.connectionLost();
    // Connect later: sip.js forbids it from within its callback.
    if (error !== undefined)
      queueMicrotask(() => {
        this.#retry(error.message);
      });
  }

  /** Requests whose answer cannot come any more end now, not after 32 seconds. */
  #failPendingRequests(): void {
    for (const client of [...this.#userAgent.userAgentCore.userAgentClients.values()]) {
      const { transaction } = client as unknown as {
        transaction: { onTransportError(error: Error): void };
      };
      transaction.onTransportError(new Error('the connection is lost'));
    }
  }

  #registrationChanged(state: RegistrationState): void {
    if (state.kind === 'registered') {
      this.#backOff.reset();
      this.#refreshCalls();
    }
    this.#events.registration(state);
  }

  #refreshCalls(): void {
    const { port } = this.#transport.local;
    for (const call of this.#calls) {
      if (call.phase !== 'established' || call.refreshedPort === port) continue;
      call.refreshedPort = port;
      call.refresh().catch((error: unknown) => {
        this.#options.log.info('softphone.call.notRefreshed', () => ({ error: String(error) }));
      });
    }
  }

  #invited(invitation: Invitation): void {
    const decision = this.#events.incoming();
    if ('refuse' in decision) {
      invitation.reject({ statusCode: decision.refuse }).catch(() => undefined);
      return;
    }
    const events = this.#watched(decision.events);
    const call = Call.ring(decision.id, invitation, { context: this.#callContext(), events });
    if (call === undefined) return;
    this.#calls.add(call);
    this.#events.ringing(call);
  }

  #texted(message: Message): void {
    const { request } = message;
    const { bytes, contentEncoding } = this.#transport.receivedBody;
    const contentType = request.getHeader('content-type') ?? 'text/plain';
    const received = readContent({ contentType, contentEncoding, body: bytes });
    if (received.kind === 'unsupported') {
      const extraHeaders = [`Accept: ${ACCEPTED_TYPES}`];
      message.reject({ statusCode: 415, extraHeaders }).catch(() => undefined);
      return;
    }
    message.accept().catch(() => undefined);
    if (received.kind !== 'text') return;
    const writtenAtMs = Date.parse(request.getHeader('date') ?? '');
    this.#events.text({
      ...received.content,
      senderUri: request.from.uri.toString(),
      senderName: readableName(request.from.displayName),
      writtenAtMs: Number.isNaN(writtenAtMs) ? undefined : writtenAtMs,
    });
  }

  #descriptionOf(session: Session): CallDescription {
    const description = this.#descriptions.get(session);
    if (description === undefined) throw new Error('A session without a description');
    return description;
  }

  #callContext(): CallContext {
    return {
      userAgent: this.#userAgent,
      clock: this.#options.clock,
      localAddress: () => this.localAddress,
      codecs: this.#options.codecs,
      openMedia: (onDigit) => this.#options.openMedia(this.localAddress, onDigit),
      describe: (session, description) => {
        this.#descriptions.set(session, description);
      },
      abandon: (callId) => {
        this.#abandoned.add(callId);
        const [oldest = ''] = this.#abandoned;
        if (this.#abandoned.size > ABANDONED_CALLS) this.#abandoned.delete(oldest);
      },
      onMessage: (message) => {
        this.#texted(message);
      },
    };
  }

  #watched(events: CallEvents): CallEvents {
    return {
      changed: (call) => {
        if (call.phase === 'established') call.refreshedPort ??= this.#transport.local.port;
        events.changed(call);
      },
      digit: (call, digit) => {
        events.digit(call, digit);
      },
      ended: (call, end) => {
        this.#calls.delete(call);
        events.ended(call, end);
      },
    };
  }

  /** RFC 3261 §11.2: OPTIONS is answered as an INVITE would be; sip.js always says 200. */
  #answerOptionsTruly(core: Core.UserAgentCore): void {
    const receive = core.receiveIncomingRequestFromTransport.bind(core);
    core.receiveIncomingRequestFromTransport = (message) => {
      const isOutside = message.method === 'OPTIONS' && !message.toTag;
      if (isOutside && this.#events.isBusy()) core.replyStateless(message, { statusCode: 486 });
      else receive(message);
    };
  }

  /** RFC 5626 §4.2: the instance and flow of a binding, so that a new connection replaces the old one. */
  #registeredContact(instanceId: string, isFlow: boolean): string {
    const { uri } = this.#userAgent.contact;
    const flow = isFlow ? ';reg-id=1' : '';
    return `<${uri.toString()}>${flow};+sip.instance="<urn:uuid:${instanceId}>"`;
  }

  #needConnection(): void {
    if (this.isConnected && !this.#isStopped) return;
    const message = 'There is no connection to the server.';
    throw new RefusedError('softphone.connection.closed', message, 503);
  }

  async #untilQuiet(): Promise<void> {
    const { userAgentClients } = this.#userAgent.userAgentCore;
    const startMs = this.#options.clock.nowMs();
    while (userAgentClients.size > 0 && this.#options.clock.nowMs() - startMs < STOP_LIMIT_MS) {
      const isWaiting = Object.values(this.#sessions()).some(
        ({ state }) => state !== SessionState.Terminated,
      );
      const isPending = [...userAgentClients.values()].some((client) => !isFinished(client));
      if (!isWaiting && !isPending) return;
      await new Promise<void>((resolve) => {
        this.#options.clock.setTimer(resolve, 10);
      });
    }
  }

  #sessions(): Record<string, Session> {
    return (this.#userAgent as unknown as { _sessions: Record<string, Session> })._sessions;
  }
}

function isFinished({
  transaction,
}: {
  readonly transaction: { readonly state: string };
}): boolean {
  return ['Completed', 'Accepted', 'Terminated', 'Confirmed'].includes(transaction.state);
}
