/** One subscription to a room's roster: the conference event package (RFC 4575) in a dialog of its own (RFC 6665). */
import { CONFERENCE_INFO, fullRoster, partialRoster, type Roster } from './roster-document.ts';
import { reason } from '../calls/headers.ts';
import { Leg, type LegEvents } from '../calls/leg.ts';
import { respond, socketOf, type Transactions } from '../calls/transactions.ts';
import type { Clock } from '../clock.ts';
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';

export type RosterSubscriptionOptions = {
  readonly contact: string;
  /** The conference URI as the subscriber wrote it, without port and parameters: Linphone insists on it. */
  readonly entity: string;
  /** The AOR of a nickname as the subscriber writes AORs. */
  readonly uriOf: (nickname: string) => string;
  readonly clock: Clock;
  readonly transactions: Transactions;
  readonly roster: () => Roster;
  /** It has ended, for whatever reason; told once. */
  readonly ended: (subscription: RosterSubscription) => void;
};

export const DEFAULT_EXPIRES_SECONDS = 600;
const MAX_EXPIRES_SECONDS = 3600;

/** How long a subscription that asks for `wanted` may last; the subscriber may only be given less (RFC 6665 section 4.2.1). */
export function grantedSeconds(wanted: string | undefined): number {
  if (wanted === undefined || !/^\d{1,10}$/.test(wanted.trim())) return DEFAULT_EXPIRES_SECONDS;
  return Math.min(Number(wanted), MAX_EXPIRES_SECONDS);
}

export class RosterSubscription {
  readonly #options: RosterSubscriptionOptions;
  readonly #leg: Leg;
  /** With the engine's own address in it: a drachtio-server fills that in for answers, but not for each request. */
  #contact: string;
  #version = 0;
  #expiresAtMs = 0;
  #cancelExpiry: (() => void) | undefined;
  #isOver = false;
  #isNotifying = false;
  #wantsFull = false;
  readonly #pending = new Set<string>();

  constructor(options: RosterSubscriptionOptions, subscribe: SipRequest) {
    this.#options = options;
    this.#contact = options.contact;
    const callId = subscribe.get('Call-ID') ?? '';
    const fromTag = subscribe.getParsedHeader('from').params['tag'] ?? '';
    this.#leg = new Leg({
      side: 'caller',
      dialogId: `${callId};from-tag=${fromTag}`,
      contact: options.contact,
      socket: socketOf(subscribe),
      transactions: options.transactions,
      events: this.#legEvents(),
    });
  }

  /** Answers the first SUBSCRIBE; the whole roster follows at once, as RFC 6665 section 4.2.1.2 demands. */
  accept(request: SipRequest, response: SipResponse): void {
    this.#grant(request, response);
  }

  /** Tells of a change; documents never overtake each other. */
  notifyChange(_roster: Roster, changed: ReadonlySet<string>): void {
    for (const nickname of changed) this.#pending.add(nickname);
    this.#pump();
  }

  /** Ends it from our side. */
  async terminate(
    why: 'timeout' | 'noresource',
    detail?: { readonly cause: number; readonly text: string },
  ): Promise<void> {
    if (this.#isOver) return;
    this.#end();
    await this.#leg.request('NOTIFY', {
      ...this.#headers(`terminated;reason=${why}`),
      ...(detail === undefined ? {} : reason(detail.cause, detail.text)),
    });
    this.#leg.abandon();
  }

  #legEvents(): LegEvents {
    return {
      ended: () => {
        this.#end();
      },
      acknowledged: () => undefined,
      requested: (_leg, request, response) => {
        if (request.method === 'SUBSCRIBE') this.#grant(request, response);
        else respond(response, { status: 501 });
      },
    };
  }

  #grant(request: SipRequest, response: SipResponse): void {
    const { clock, contact } = this.#options;
    const seconds = grantedSeconds(request.get('Expires'));
    this.#cancelExpiry?.();
    this.#expiresAtMs = clock.nowMs() + seconds * 1000;
    respond(
      response,
      { status: 200, headers: { Contact: contact, Expires: String(seconds) } },
      (error, sent) => {
        if (error !== undefined && error !== null) {
          this.#end();
          this.#leg.abandon();
          return;
        }
        this.#contact = sent?.get('Contact') ?? contact;
        if (seconds === 0) {
          void this.#sayGoodbye();
          return;
        }
        this.#cancelExpiry = clock.after(seconds * 1000, () => {
          void this.terminate('timeout');
        });
        this.#wantsFull = true;
        this.#pump();
      },
    );
  }

  /** Unsubscribed, or asked only once: the last document is the whole roster. */
  async #sayGoodbye(): Promise<void> {
    if (this.#isOver) return;
    this.#end();
    const headers = this.#headers('terminated;reason=timeout');
    await this.#leg.request(
      'NOTIFY',
      { ...headers, 'Content-Type': CONFERENCE_INFO },
      fullRoster(this.#options.roster(), this.#nextView()),
    );
    this.#leg.abandon();
  }

  #pump(): void {
    if (this.#isOver || this.#isNotifying) return;
    if (!this.#wantsFull && this.#pending.size === 0) return;
    const roster = this.#options.roster();
    const view = this.#nextView();
    const document = this.#wantsFull
      ? fullRoster(roster, view)
      : partialRoster(roster, this.#pending, view);
    this.#wantsFull = false;
    this.#pending.clear();
    void this.#send(document);
  }

  async #send(document: string): Promise<void> {
    this.#isNotifying = true;
    const leftMs = this.#expiresAtMs - this.#options.clock.nowMs();
    const state = `active;expires=${Math.max(0, Math.round(leftMs / 1000))}`;
    const headers = { ...this.#headers(state), 'Content-Type': CONFERENCE_INFO };
    const answer = await this.#leg.request('NOTIFY', headers, document);
    this.#isNotifying = false;
    // RFC 6665 section 4.2.2: a NOTIFY that is refused with 481, or that nobody answers, ends the subscription.
    if (answer.status >= 300 && !this.#isOver) {
      this.#end();
      this.#leg.abandon();
      return;
    }
    this.#pump();
  }

  #headers(state: string): SipHeaders {
    return {
      Event: 'conference',
      'Subscription-State': state,
      Contact: this.#contact,
    };
  }

  #nextView(): { entity: string; uriOf: (nickname: string) => string; version: number } {
    const { entity, uriOf } = this.#options;
    this.#version++;
    return { entity, uriOf, version: this.#version };
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelExpiry?.();
    this.#options.ended(this);
  }
}
