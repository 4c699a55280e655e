/** One call: its SIP session, its media, and what can be done with it while it lasts. */

import { Inviter, SessionState } from 'sip.js';
import type { Core, Invitation, Message, Session, UserAgent } from 'sip.js';
import type { CodecName } from '../../core/audio/codec-name.ts';
import { ParseError, ProtocolError, RefusedError } from '../../core/errors.ts';
import type { AudioAgreement } from '../../core/sdp/offer-answer.ts';
import { canSend } from '../../core/sdp/session-description.ts';
import type { Clock } from '../audio/device.ts';
import type { RtpSession } from '../audio/rtp-session.ts';
import { readableName, readableUser } from './address.ts';
import { endFromReason, endFromStatus } from './call-end.ts';
import type { CallEnd } from './call-end.ts';
import { Renegotiation } from './renegotiation.ts';
import { toUri } from './requests.ts';
import { CallDescription, checkOffer } from './session-description.ts';

/** `answering`: accepted here, and the caller does not know yet. */
export type CallPhase = 'calling' | 'ringing' | 'incoming' | 'answering' | 'established' | 'ended';

/** The other side of a call. */
export type Remote = {
  readonly uri: string;
  readonly nickname: string;
  /** The display name; the nickname when there is none. */
  readonly name: string;
};

/** What calls need from the user agent that they belong to. */
export type CallContext = {
  readonly userAgent: UserAgent;
  readonly clock: Clock;
  /** Our address in SDP, as the server sees us. */
  readonly localAddress: () => string;
  readonly codecs: readonly CodecName[];
  /** Binds the ports of a call. */
  readonly openMedia: (onDigit: (digit: string) => void) => Promise<RtpSession>;
  /** Tells sip.js which description belongs to which session. */
  readonly describe: (session: Session, description: CallDescription) => void;
  /**
   * Lets the INVITE with this Call-ID not be repeated with credentials: sip.js would cancel the first one only, and the
   * second would ring for ever.
   */
  readonly abandon: (callId: string) => void;
  /** A text inside the call. */
  readonly onMessage: (message: Message) => void;
};

export type CallEvents = {
  /** Phase, hold, codec or name changed. */
  changed(call: Call): void;
  digit(call: Call, digit: string): void;
  /** Told once, the last of all. */
  ended(call: Call, end: CallEnd): void;
};

const CANCEL_LIMIT_MS = 32_000;

export class Call {
  readonly id: string;
  readonly direction: 'outgoing' | 'incoming';
  readonly #context: CallContext;
  readonly #events: CallEvents;
  #remote: Remote;
  #phase: CallPhase;
  #session: Inviter | Invitation | undefined;
  #media: RtpSession | undefined;
  #description: CallDescription | undefined;
  #end: CallEnd | undefined;
  #isHeld = false;
  #isHeldByPeer = false;
  #focusUri: string | undefined;
  #renegotiation: Renegotiation | undefined;
  #cancelTimer: (() => void) | undefined;
  /** When it was answered, on the wall clock in milliseconds. */
  establishedAtMs: number | undefined;
  /** Our port when the other side last learned where we are. */
  refreshedPort: number | undefined;

  private constructor(
    id: string,
    direction: 'outgoing' | 'incoming',
    remote: Remote,
    { context, events }: { readonly context: CallContext; readonly events: CallEvents },
  ) {
    this.id = id;
    this.direction = direction;
    this.#remote = remote;
    this.#phase = direction === 'outgoing' ? 'calling' : 'incoming';
    this.#context = context;
    this.#events = events;
  }

  /** Begins to call; what becomes of it is told by the events. */
  static dial(
    id: string,
    uri: string,
    owner: { readonly context: CallContext; readonly events: CallEvents },
  ): Call {
    const nickname = readableUser(uri);
    const call = new Call(id, 'outgoing', { uri, nickname, name: nickname }, owner);
    void call.#invite(uri);
    return call;
  }

  /**
   * Takes an incoming INVITE and lets it ring.
   *
   * @returns undefined when its offer cannot be accepted; it is refused then
   */
  static ring(
    id: string,
    invitation: Invitation,
    owner: { readonly context: CallContext; readonly events: CallEvents },
  ): Call | undefined {
    const { remoteIdentity: identity } = invitation;
    const uri = identity.uri.toString();
    const nickname = readableUser(uri);
    const displayName = readableName(identity.displayName);
    const name = displayName === '' ? nickname : displayName;
    const call = new Call(id, 'incoming', { uri, nickname, name }, owner);
    const refusal = call.#refusalOf(invitation);
    if (refusal !== undefined) {
      const extraHeaders = refusal === 420 ? ['Unsupported: 100rel'] : [];
      settle(invitation.reject({ statusCode: refusal, extraHeaders }));
      return undefined;
    }
    call.#adopt(invitation);
    if (/;\s*isfocus/i.test(invitation.request.getHeader('contact') ?? '')) call.#focusUri = uri;
    settle(invitation.progress({ statusCode: 180 }));
    return call;
  }

  get remote(): Remote {
    return this.#remote;
  }

  get phase(): CallPhase {
    return this.#phase;
  }

  /** Put on hold by us. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Put on hold by the other side. */
  get isHeldByPeer(): boolean {
    return this.#isHeldByPeer;
  }

  /** The conference URI, when the other side is a focus (RFC 4579 §5.1). */
  get focusUri(): string | undefined {
    return this.#focusUri;
  }

  get media(): RtpSession | undefined {
    return this.#media;
  }

  get end(): CallEnd | undefined {
    return this.#end;
  }

  /** @throws RefusedError `softphone.call.notRinging`, `softphone.call.gone` */
  async answer(): Promise<void> {
    const invitation = this.#ringing();
    this.#enter('answering');
    const media = await this.#openMedia();
    if (invitation.state !== SessionState.Initial || this.#isOver()) {
      media.close();
      throw new RefusedError('softphone.call.gone', 'The caller has given up.', 487);
    }
    this.#useMedia(media, invitation);
    try {
      await invitation.accept();
    } catch (error) {
      this.#finish({ kind: 'refused', byUs: false, statusCode: 488, text: textOf(error) });
      throw new RefusedError('softphone.call.failed', `Not answered: ${textOf(error)}`, 488);
    }
  }

  /** @throws RefusedError `softphone.call.notRinging` */
  decline(statusCode: 603 | 486 | 480): void {
    const invitation = this.#ringing();
    const kind = statusCode === 603 ? 'declined' : 'busy';
    settle(invitation.reject({ statusCode }));
    this.#finish({ kind, byUs: true, statusCode, text: kind });
  }

  /** Ends it in whatever phase it is; a call that rings here is declined. */
  hangUp(text?: string): void {
    if (this.#isOver()) return;
    if (this.#phase === 'incoming') {
      this.decline(603);
      return;
    }
    const session = this.#session;
    const isUp = session?.state === SessionState.Established;
    const kind = isUp || this.direction === 'incoming' ? 'hungUp' : 'cancelled';
    this.#finish({ kind, byUs: true, statusCode: undefined, text: text ?? kind });
    if (session === undefined) return;
    const extraHeaders =
      text === undefined ? [] : [`Reason: SIP;cause=200;text="${text.replace(/["\\\r\n]/g, '')}"`];
    if (isUp) {
      settle(session.bye({ requestOptions: { extraHeaders } }));
    } else if (session instanceof Inviter) {
      this.#context.abandon(session.request.callId);
      settle(session.cancel({ extraHeaders }));
      // A server that forgets the 487 is forgotten in turn (RFC 3261 §9.1).
      const giveUp = (): void => {
        this.#terminate();
      };
      this.#cancelTimer = this.#context.clock.setTimer(giveUp, CANCEL_LIMIT_MS, true);
    } else {
      settle(session.reject({ statusCode: 480 }));
    }
  }

  /**
   * Holds or resumes by re-INVITE; resolves when the other side has agreed.
   *
   * @throws RefusedError when it has not; everything stays as it was then
   */
  async setHold(isHeld: boolean): Promise<void> {
    if (this.#isHeld === isHeld) return;
    const description = this.#established();
    const before = description.direction;
    // In a room nobody wants our silence, so nothing at all is sent there.
    const held = this.#focusUri === undefined ? 'sendonly' : 'inactive';
    description.direction = isHeld ? held : 'sendrecv';
    this.#isHeld = isHeld;
    try {
      await this.#renegotiate();
    } catch (error) {
      description.direction = before;
      this.#isHeld = !isHeld;
      throw error;
    } finally {
      if (!this.#isOver()) this.#events.changed(this);
    }
  }

  /**
   * Changes the codec of both directions by re-INVITE.
   *
   * @throws RefusedError 488 when the other side does not have it; the old one stays in use then
   */
  async setCodec(codec: CodecName): Promise<void> {
    const description = this.#established();
    const before = description.codecs;
    description.codecs = [codec];
    try {
      await this.#renegotiate();
    } catch (error) {
      description.codecs = before;
      throw error;
    }
    description.codecs = [codec, ...before.filter((other) => other !== codec)];
    this.#events.changed(this);
  }

  /** The connection to the server is gone. A call that is up goes on as long as its media do. */
  connectionLost(): void {
    if (this.#session?.state === SessionState.Established) return;
    this.#finish({ kind: 'lost', byUs: false, statusCode: 503, text: 'the connection is lost' });
    this.#terminate();
  }

  /** There is a new connection: tells the other side where we are now, and finds out whether the call still exists. */
  async refresh(): Promise<void> {
    const session = this.#session;
    if (session?.state !== SessionState.Established) return;
    // sip.js keeps the Contact of the beginning; the re-INVITE must carry the new one (RFC 3261 §12.2.1.1).
    const contact = this.#context.userAgent.contact.toString();
    (session as unknown as { _contact: string })._contact = contact;
    await this.#renegotiate();
  }

  async #invite(uri: string): Promise<void> {
    let media: RtpSession;
    try {
      media = await this.#openMedia();
    } catch (error) {
      this.#finish({ kind: 'refused', byUs: false, statusCode: undefined, text: textOf(error) });
      return;
    }
    if (this.#isOver()) {
      media.close();
      return;
    }
    try {
      const inviter = new Inviter(this.#context.userAgent, toUri(uri), {
        extraHeaders: ['Accept: application/sdp, message/cpim, text/plain'],
      });
      this.#adopt(inviter);
      this.#useMedia(media, inviter);
      await inviter.invite({ requestDelegate: this.#inviteDelegate() });
    } catch (error) {
      media.close();
      this.#finish({ kind: 'refused', byUs: false, statusCode: undefined, text: textOf(error) });
    }
  }

  #inviteDelegate(): Core.OutgoingRequestDelegate {
    const rejected = ({ message }: Core.IncomingResponse): void => {
      this.#finish(endFromStatus(message.statusCode ?? 500, message.reasonPhrase ?? ''));
    };
    return {
      onProgress: ({ message }) => {
        if (this.#phase === 'calling') this.#enter('ringing');
        if (message.body !== '' && !this.#isOver()) this.#preview(message.body);
      },
      onAccept: ({ message }) => {
        this.#learnFocus(message);
      },
      onRedirect: rejected,
      onReject: rejected,
    };
  }

  #preview(sdp: string): void {
    try {
      this.#description?.preview(sdp);
    } catch (error) {
      // The final answer decides; what came before it was optional.
      if (!(error instanceof ParseError || error instanceof ProtocolError)) throw error;
    }
  }

  #learnFocus(message: Core.IncomingMessage): void {
    const contact = message.getHeaders('contact').find((value) => /isfocus/i.test(value)) ?? '';
    const uri = /<([^>]+)>\s*(?:;.*)?;\s*isfocus(?:[;,\s]|$)/i.exec(contact)?.[1];
    if (uri === undefined) return;
    this.#focusUri = uri;
    if (!this.#isOver()) this.#events.changed(this);
  }

  #refusalOf(invitation: Invitation): number | undefined {
    const { body } = invitation;
    // sip.js would send its reliable 183 with a description that does not exist yet.
    if (/100rel/i.test(invitation.request.getHeader('require') ?? '')) return 420;
    if (body === undefined || body === '') return undefined;
    if (!/^application\/sdp/i.test(invitation.request.getHeader('content-type') ?? '')) return 415;
    return checkOffer(body, this.#context.codecs);
  }

  #ringing(): Invitation {
    const session = this.#session;
    if (this.#phase !== 'incoming' || session === undefined || session instanceof Inviter) {
      throw new RefusedError(
        'softphone.call.notRinging',
        `Call ${this.id} is not ringing here.`,
        481,
      );
    }
    return session;
  }

  #established(): CallDescription {
    const description = this.#description;
    if (description === undefined || this.#session?.state !== SessionState.Established) {
      throw new RefusedError('softphone.call.notUp', `Call ${this.id} is not up.`, 481);
    }
    return description;
  }

  #openMedia(): Promise<RtpSession> {
    return this.#context.openMedia((digit) => {
      this.#events.digit(this, digit);
    });
  }

  #useMedia(media: RtpSession, session: Session): void {
    this.#media = media;
    this.#description = new CallDescription({
      media,
      address: this.#context.localAddress(),
      codecs: this.#context.codecs,
      onAgreed: (agreement) => {
        this.#agreed(agreement);
      },
    });
    this.#context.describe(session, this.#description);
  }

  #agreed(agreement: AudioAgreement): void {
    const wanted = this.#description?.direction ?? 'sendrecv';
    this.#isHeldByPeer = canSend(wanted) && !canSend(agreement.direction);
    if (this.#phase === 'established') this.#events.changed(this);
  }

  #adopt(session: Inviter | Invitation): void {
    this.#session = session;
    const isCaller = this.direction === 'outgoing';
    this.#renegotiation = new Renegotiation(session, this.#context.clock, isCaller);
    session.stateChange.addListener((state) => {
      if (state === SessionState.Established) {
        this.establishedAtMs = Date.now();
        if (!this.#isOver()) this.#enter('established');
      }
      // Why it ended is told right after this.
      if (state === SessionState.Terminated)
        queueMicrotask(() => {
          this.#closed();
        });
    });
    session.delegate = {
      onBye: (bye) => {
        this.#end ??= endFromReason('hungUp', bye.request.getHeader('reason'));
        settle(bye.accept());
      },
      onCancel: (cancel) => {
        this.#end ??= endFromReason('cancelled', cancel.request.getHeader('reason'));
      },
      onMessage: (message) => {
        this.#context.onMessage(message);
      },
      onInfo: (info) => {
        const signal = /^\s*Signal\s*=\s*([0-9A-D*#])/im.exec(info.request.body)?.[1];
        if (signal !== undefined) this.#events.digit(this, signal);
        settle(info.accept());
      },
      onNotify: (notification) => {
        settle(notification.accept());
      },
      // Without this sip.js would obey, and call whomever the other side names.
      onRefer: (referral) => {
        settle(referral.reject({ statusCode: 603 }));
      },
    };
  }

  #closed(): void {
    this.#cancelTimer?.();
    this.#finish({ kind: 'hungUp', byUs: false, statusCode: undefined, text: 'hung up' });
  }

  #enter(phase: CallPhase): void {
    this.#phase = phase;
    this.#events.changed(this);
  }

  #isOver(): boolean {
    return this.#phase === 'ended';
  }

  #finish(end: CallEnd): void {
    if (this.#isOver()) return;
    this.#end ??= end;
    this.#phase = 'ended';
    this.#media?.close();
    this.#events.ended(this, this.#end);
  }

  /** Takes the session from sip.js without asking anybody. */
  #terminate(): void {
    const session = this.#session;
    if (session === undefined || session.state === SessionState.Terminated) return;
    (session as unknown as { stateTransition(state: SessionState): void }).stateTransition(
      SessionState.Terminated,
    );
  }

  async #renegotiate(): Promise<void> {
    const statusCode = (await this.#renegotiation?.run()) ?? 481;
    if (statusCode >= 200 && statusCode < 300) return;
    if (statusCode === 481 || statusCode === 408) {
      // RFC 3261 §12.2.1.2: the dialog is gone.
      this.#finish({ kind: 'lost', byUs: false, statusCode, text: 'the call exists no more' });
      this.#terminate();
    }
    const { text } = endFromStatus(statusCode, 'the other side refuses');
    throw new RefusedError('softphone.call.notChanged', `Not changed: ${text}.`, statusCode);
  }
}

/** For promises of sip.js that fail only when the connection or the session is gone, which is told elsewhere. */
function settle(promise: Promise<unknown>): void {
  promise.catch(() => undefined);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
