/** The subscription to a room's roster (RFC 4575): kept alive, and begun again when documents were missed. */

import { Core } from 'sip.js';
import { ParseError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { Clock } from '../audio/device.ts';
import { buildRequest } from './requests.ts';
import { Roster } from './roster.ts';
import type { Participant, RosterChange } from './roster.ts';

export type RoomSubscriptionOptions = {
  readonly core: Core.UserAgentCore;
  /** The conference URI. */
  readonly uri: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onChange: (change: RosterChange) => void;
};

const CONFERENCE_INFO = 'application/conference-info+xml';
const EXPIRES_SECONDS = 600;
const RETRY_MS = 5000;
/** Asked for the full state at most so often. */
const REFRESH_LIMIT_MS = 1000;

/**
 * Deviation from sip.js: its Subscriber attaches to the dialog one promise late, so that a second NOTIFY right behind
 * the first is answered but not read. This one stands on the layer below.
 */
export class RoomSubscription {
  readonly #options: RoomSubscriptionOptions;
  readonly #roster = new Roster();
  #dialog: Core.Subscription | undefined;
  #request: Core.OutgoingSubscribeRequest | undefined;
  #cancelTimer: (() => void) | undefined;
  #refreshedMs = -Infinity;
  #isStopped = false;

  constructor(options: RoomSubscriptionOptions) {
    this.#options = options;
    this.#subscribe();
  }

  get participants(): readonly Participant[] {
    return this.#roster.participants;
  }

  /** Ends the subscription; the server is told if it can be. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer?.();
    this.#request?.waitNotifyStop();
    const dialog = this.#dialog;
    this.#dialog = undefined;
    if (dialog === undefined) return;
    dialog.delegate = undefined;
    if (
      dialog.subscriptionState === Core.SubscriptionState.Active ||
      dialog.subscriptionState === Core.SubscriptionState.Pending
    ) {
      dialog.unsubscribe();
    }
  }

  #subscribe(): void {
    if (this.#isStopped) return;
    const { core, uri } = this.#options;
    this.#roster.expectFullState();
    const message = buildRequest(core, {
      method: 'SUBSCRIBE',
      uri,
      headers: [
        'Event: conference',
        `Expires: ${EXPIRES_SECONDS}`,
        `Accept: ${CONFERENCE_INFO}`,
        `Contact: ${core.configuration.contact.toString()}`,
      ],
    });
    const again = (): void => {
      this.#retryLater();
    };
    this.#request = core.subscribe(message, {
      onNotify: ({ request, subscription }) => {
        if (subscription !== undefined) this.#adopt(subscription);
        this.#notified(request);
      },
      onNotifyTimeout: again,
      onRedirect: again,
      onReject: ({ message: answer }) => {
        // What is refused for good stays refused: a focus without rosters answers 489 or 405.
        const statusCode = answer.statusCode ?? 500;
        if (statusCode >= 500 || statusCode === 408) this.#retryLater();
      },
    });
  }

  #adopt(dialog: Core.Subscription): void {
    this.#dialog = dialog;
    dialog.autoRefresh = true;
    dialog.delegate = {
      onNotify: (request) => {
        this.#notified(request);
      },
      onTerminated: () => {
        this.#retryLater();
      },
    };
  }

  #notified(request: Core.IncomingNotifyRequest): void {
    request.accept();
    const { message } = request;
    if (message.body !== '') this.#read(message.body);
    const [state = ''] = message.getHeaders('subscription-state');
    if (!/^\s*terminated/i.test(state)) return;
    this.#dialog = undefined;
    // RFC 6665 §4.1.3: these say that there will be nothing more; the others ask to come again.
    if (!/reason\s*=\s*"?(?:noresource|rejected|invariant)/i.test(state)) this.#retryLater();
  }

  #read(document: string): void {
    let result;
    try {
      result = this.#roster.apply(document);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#options.log.warn('softphone.roster.malformed', () => ({ code: error.code }));
      return;
    }
    if (result.kind === 'gap') this.#refresh();
    if (result.kind === 'changed') this.#options.onChange(result.change);
  }

  /** A new SUBSCRIBE in the dialog is answered with the full state (RFC 4575 §3.3). */
  #refresh(): void {
    const nowMs = this.#options.clock.nowMs();
    const dialog = this.#dialog;
    if (dialog === undefined || nowMs - this.#refreshedMs < REFRESH_LIMIT_MS) return;
    if (dialog.subscriptionState !== Core.SubscriptionState.Active) return;
    this.#refreshedMs = nowMs;
    this.#roster.expectFullState();
    dialog.refresh();
  }

  #retryLater(): void {
    this.#dialog = undefined;
    this.#cancelTimer?.();
    if (this.#isStopped) return;
    this.#cancelTimer = this.#options.clock.setTimer(() => {
      this.#subscribe();
    }, RETRY_MS);
  }
}
