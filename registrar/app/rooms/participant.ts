/** One device in a room: a dialog in which the switch is the focus (RFC 4353, RFC 4579), and its port at the relay. */
import type { Log } from '../../../core/log.ts';
import { parseSessionDescription } from '../../../core/sdp/parse.ts';
import { activeAudioIndex, type Direction } from '../../../core/sdp/session-description.ts';
import type { MediaRelay } from '../../../media-relay/public.ts';
import type { Account } from '../accounts/accounts.ts';
import type { Refusal } from '../calls/checks.ts';
import { reason } from '../calls/headers.ts';
import { ALLOW, Leg, sdpType, type LegEvents } from '../calls/leg.ts';
import { Liveness } from '../calls/liveness.ts';
import { refusalOf } from '../calls/refusal.ts';
import { respond, socketOf, type Transactions } from '../calls/transactions.ts';
import type { Clock } from '../clock.ts';
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';

export type ParticipantEvents = {
  /** The dialog has ended, for whatever reason; told once. */
  left(participant: Participant): void;
  /** Hold or resume. */
  changed(participant: Participant): void;
  /** A text inside the dialog, not answered yet. */
  texted(participant: Participant, request: SipRequest, response: SipResponse): void;
};

export type ParticipantOptions = {
  readonly id: string;
  readonly account: Account;
  readonly room: string;
  /** `<sip:lobby@localhost>;isfocus`: the engine writes its own address into it. */
  readonly contact: string;
  /** For Warning. */
  readonly domain: string;
  /** How often a silent dialog is asked whether it is still there; 0: never. */
  readonly dialogCheckSeconds: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly relay: MediaRelay;
  readonly transactions: Transactions;
  readonly events: ParticipantEvents;
};

export class Participant {
  readonly id: string;
  readonly account: Account;
  readonly callId: string;
  readonly fromTag: string;
  /** Where the INVITE came from; texts of the same device come from there too. */
  readonly source: string;
  readonly #options: ParticipantOptions;
  readonly #leg: Leg;
  readonly #liveness: Liveness;
  #direction: Direction = 'sendrecv';
  #isGone = false;
  /** Our offer is out and their answer must come with the ACK. */
  #awaitsAnswer = false;

  constructor(options: ParticipantOptions, invite: SipRequest) {
    this.#options = options;
    this.id = options.id;
    this.account = options.account;
    this.callId = invite.get('Call-ID') ?? '';
    this.fromTag = invite.getParsedHeader('from').params['tag'] ?? '';
    this.source = `${invite.source_address}:${invite.source_port}`;
    this.#leg = new Leg({
      side: 'caller',
      dialogId: `${this.callId};from-tag=${this.fromTag}`,
      contact: options.contact,
      socket: socketOf(invite),
      transactions: options.transactions,
      events: this.#legEvents(),
    });
    this.#liveness = new Liveness(options.clock, options.dialogCheckSeconds, () => {
      // RFC 3261 section 12.2.1.2: a BYE, so that the dialog ends here whatever the phone still knows.
      void this.hangUp({ cause: 408, text: 'The participant cannot be reached any more' });
    });
  }

  /** As they hear and speak: what the roster shows. */
  get direction(): Direction {
    return this.#direction;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /**
   * Answers the INVITE with the relay's description.
   *
   * @returns whether the participant is in; otherwise the INVITE has been refused and nothing is left
   */
  async answer(invite: SipRequest, response: SipResponse): Promise<boolean> {
    let sdp: string;
    try {
      sdp = await this.#describe(invite);
    } catch (error) {
      this.#forget();
      respond(response, this.#refusal(error));
      return false;
    }
    if (this.#isGone || response.finalResponseSent) {
      // CANCEL or the engine's end came while the relay was asked.
      await this.abandon();
      return false;
    }
    const isSent = await this.#sendOk(response, sdp);
    if (isSent) this.#liveness.watch([this.#leg]);
    else await this.abandon();
    return isSent;
  }

  /** BYE with Reason; resolves when answered or given up, with the port free. */
  async hangUp(why: { readonly cause: number; readonly text: string }): Promise<void> {
    this.#leave();
    await Promise.all([this.#leg.bye(reason(why.cause, why.text)), this.#freePort()]);
  }

  /** Drops everything without a word: the dialog does not exist on the other side. */
  async abandon(): Promise<void> {
    this.#leg.abandon();
    this.#leave();
    await this.#freePort();
  }

  #legEvents(): LegEvents {
    return {
      ended: () => {
        this.#leave();
        void this.#freePort();
      },
      acknowledged: (_leg, request) => {
        void this.#complete(request);
      },
      requested: (_leg, request, response) => {
        void this.#handle(request, response);
      },
    };
  }

  async #handle(request: SipRequest, response: SipResponse): Promise<void> {
    switch (request.method) {
      case 'INVITE':
        await this.#renegotiate(request, response);
        return;
      case 'UPDATE':
        if (request.body === undefined || request.body === '') {
          respond(response, { status: 200, headers: this.#headers() });
        } else {
          await this.#renegotiate(request, response);
        }
        return;
      case 'MESSAGE':
        this.#options.events.texted(this, request, response);
        return;
      case 'INFO':
        // DTMF of phones that do not send telephone-event; the room has no use for it yet, and refusing would show.
        respond(response, { status: 200 });
        return;
      case 'SUBSCRIBE':
        // A subscription wants a dialog of its own (RFC 6665 section 4.5.1).
        respond(response, { status: 403, reason: 'Subscribe Outside This Dialog' });
        return;
      default:
        respond(response, { status: 501, headers: { Allow: ALLOW } });
    }
  }

  /** Hold, resume, another codec: the relay keeps the port. */
  async #renegotiate(request: SipRequest, response: SipResponse): Promise<void> {
    try {
      const sdp = await this.#describe(request);
      const headers = { ...this.#headers(), ...sdpType(sdp) };
      respond(response, { status: 200, headers, body: sdp });
      this.#options.events.changed(this);
    } catch (error) {
      respond(response, this.#refusal(error));
    }
  }

  async #describe(request: SipRequest): Promise<string> {
    const { relay, room } = this.#options;
    const offer = request.body;
    const hasOffer = offer !== undefined && offer !== '';
    const { sdp } = await relay.roomJoin({
      room,
      callId: this.callId,
      fromTag: this.fromTag,
      // Without an offer there is nothing else that tells which of our addresses they can reach.
      towards: request.source_address,
      ...(hasOffer ? { sdp: offer } : {}),
    });
    this.#awaitsAnswer = !hasOffer;
    this.#direction = hasOffer ? directionOf(offer) : 'sendrecv';
    return sdp;
  }

  #sendOk(response: SipResponse, sdp: string): Promise<boolean> {
    return new Promise((resolve) => {
      const headers = { ...this.#headers(), ...sdpType(sdp) };
      respond(response, { status: 200, headers, body: sdp }, (error) => {
        resolve(error === undefined || error === null);
      });
    });
  }

  #refusal(error: unknown): Refusal {
    const refusal = refusalOf(error, this.#options.domain);
    if (refusal !== undefined) return refusal;
    this.#options.log.error('rooms.participant.failed', () => ({ error }));
    return { status: 500 };
  }

  #headers(): SipHeaders {
    return {
      Contact: this.#options.contact,
      Allow: ALLOW,
      'Allow-Events': 'conference',
      Supported: 'timer, 100rel',
    };
  }

  /** The answer to our own offer, or nothing to do. */
  async #complete(ack: SipRequest): Promise<void> {
    if (!this.#awaitsAnswer) return;
    this.#awaitsAnswer = false;
    const { relay, room } = this.#options;
    try {
      const sdp = ack.body ?? '';
      await relay.roomAnswer({ room, callId: this.callId, fromTag: this.fromTag, sdp });
      this.#direction = directionOf(sdp);
      this.#options.events.changed(this);
    } catch {
      await this.hangUp({ cause: 488, text: 'No acceptable answer to our offer' });
    }
  }

  #leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#liveness.stop();
    this.#options.events.left(this);
  }

  #forget(): void {
    this.#leg.abandon();
    this.#isGone = true;
  }

  async #freePort(): Promise<void> {
    const { relay, room } = this.#options;
    const key = { room, callId: this.callId, fromTag: this.fromTag };
    // The relay may be gone, and then so is the port.
    await relay.roomLeave(key).catch(() => undefined);
  }
}

/** What their description says of their own hearing and speaking; no audio in it is `inactive`. */
function directionOf(sdp: string): Direction {
  const session = parseSessionDescription(sdp);
  const index = activeAudioIndex(session);
  return (index === undefined ? undefined : session.media[index]?.direction) ?? 'inactive';
}
