/** Session timers (RFC 4028), kept by the engine without the applications: refresh, expiry, and who does which. */

import { parseDigits } from '../../../core/sip/grammar.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { Kernel } from '../kernel.ts';
import type { Router } from '../router.ts';
import type { HeaderLine } from '../template.ts';
import { hasOption } from '../text.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import {
  ClientTransaction,
  type ClientFailure,
  type ClientUser,
  type ReceivedResponse,
} from '../transaction/client.ts';
import { sendAck, type SentAck } from '../uac/ack.ts';
import type { UasRequest } from '../uas/uas-request.ts';
import { contactUri, type Dialog, type DialogWatcher } from './dialog.ts';
import { draftInDialog } from './in-dialog.ts';
import type { DialogLifecycle } from './lifecycle.ts';

/** RFC 4028 §4: no shorter interval is allowed. */
export const MIN_SESSION_SECONDS = 90;
const MAX_SESSION_SECONDS = 2 ** 31;
/** RFC 3261 §14.1: how long to wait after a 491, at least and at most. */
const GLARE_WAIT_MS = 2_100;
const GLARE_SPREAD_MS = 1_900;
const EXPIRED = 'Session timer expired';
const RECORD = 'session-expired';

type SessionExpires = { readonly seconds: number; readonly refresher: string | undefined };

type Parts = {
  readonly kernel: Kernel;
  readonly router: Router;
  readonly lifecycle: DialogLifecycle;
};

/** The timer of one dialog. */
class SessionTimer implements TimerOwner, DialogWatcher, ClientUser {
  readonly #parts: Parts;
  readonly #dialog: Dialog;
  #seconds = 0;
  #isRefresher = false;
  #timer: TimerHandle | undefined;
  #refresh: ClientTransaction | undefined;
  #ack: SentAck | undefined;

  constructor(parts: Parts, dialog: Dialog) {
    this.#parts = parts;
    this.#dialog = dialog;
    dialog.watchers.add(this);
  }

  /** Starts the interval anew. */
  arm(seconds: number, isRefresher: boolean): void {
    this.#seconds = seconds;
    this.#isRefresher = isRefresher;
    this.#start(isRefresher ? seconds * 500 : seconds * 1000);
  }

  dialogEnded(): void {
    this.#parts.kernel.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  onTimer(): void {
    this.#timer = undefined;
    const { hasOwnInvite, hasRemoteInvite, isEnding } = this.#dialog;
    if (!this.#isRefresher) this.#expire();
    else if (hasOwnInvite || hasRemoteInvite) this.#start(GLARE_WAIT_MS);
    else if (!isEnding) this.#sendRefresh();
  }

  clientResponse(transaction: ClientTransaction, { message, hop }: ReceivedResponse): void {
    const { statusCode } = message;
    if (statusCode < 200 || this.#dialog.state === 'ended') return;
    if (this.#ack !== undefined && statusCode < 300) {
      this.#ack.repeat();
      return;
    }
    if (transaction !== this.#refresh) return;
    this.#settle();
    if (statusCode < 300) this.#refreshed(transaction, message);
    else this.#refused(statusCode, message);
    this.#dialog.hop = hop.flow === undefined ? this.#dialog.hop : hop;
  }

  clientFailed(transaction: ClientTransaction, failure: ClientFailure): void {
    if (transaction !== this.#refresh || this.#dialog.state === 'ended') return;
    this.#settle();
    if (failure !== 'timeout') this.#parts.kernel.counters.refusals.add('refreshUnreachable');
    this.#expire();
  }

  clientEnded(): void {
    this.#ack = undefined;
  }

  #start(delayMs: number): void {
    const { kernel } = this.#parts;
    kernel.clearTimer(this.#timer);
    this.#timer = kernel.setTimer(this, 'session', delayMs);
  }

  /** The last session description again, in an INVITE (RFC 4028 §7.4); without one, in an empty UPDATE. */
  #sendRefresh(): void {
    const { kernel, router } = this.#parts;
    const dialog = this.#dialog;
    const { localSdp } = dialog;
    const headers: HeaderLine[] = [
      ['Session-Expires', `${this.#seconds};refresher=uac`],
      ['Min-SE', String(MIN_SESSION_SECONDS)],
      ['Supported', 'timer'],
    ];
    if (localSdp !== undefined) headers.push(['Content-Type', 'application/sdp']);
    const method = localSdp === undefined ? 'UPDATE' : 'INVITE';
    const draft = draftInDialog(dialog, { method, headers, body: localSdp });
    this.#refresh = new ClientTransaction(kernel, draft, this);
    this.#ack = undefined;
    dialog.hasOwnInvite = method === 'INVITE';
    router.send(this.#refresh, router.inside(dialog, draft.requestUri));
  }

  #refreshed(transaction: ClientTransaction, message: SipMessage): void {
    const { kernel, router } = this.#parts;
    const dialog = this.#dialog;
    dialog.remoteTarget = contactUri(message.contacts) ?? dialog.remoteTarget;
    if (transaction.draft.method === 'INVITE') {
      this.#ack = sendAck({ kernel, router }, dialog, transaction.draft.sequence, {});
    }
    const granted = sessionExpires(message);
    this.arm(granted?.seconds ?? this.#seconds, granted?.refresher !== 'uas');
  }

  #refused(status: number, message: SipMessage): void {
    if (status === 491) {
      const { ids } = this.#parts.kernel;
      this.#start(GLARE_WAIT_MS + ids.number(GLARE_SPREAD_MS));
      return;
    }
    const minimum = parseDigits(message.header('Min-SE') ?? '', MAX_SESSION_SECONDS);
    if (status === 422 && minimum !== undefined && minimum > this.#seconds) {
      this.#seconds = minimum;
      this.#sendRefresh();
      return;
    }
    this.#expire();
  }

  #settle(): void {
    if (this.#refresh?.draft.method === 'INVITE') this.#dialog.hasOwnInvite = false;
    this.#refresh = undefined;
  }

  #expire(): void {
    this.#parts.lifecycle.bye(this.#dialog, 200, EXPIRED, RECORD);
  }
}

export class SessionTimers implements DialogWatcher {
  readonly #parts: Parts;
  readonly #byDialog = new Map<Dialog, SessionTimer>();

  constructor(parts: Parts) {
    this.#parts = parts;
    parts.lifecycle.watch(this);
  }

  get size(): number {
    return this.#byDialog.size;
  }

  dialogEnded(dialog: Dialog): void {
    this.#byDialog.delete(dialog);
  }

  /** True for an interval below the minimum, which gets 422 (RFC 4028 §6). */
  isTooShort(request: SipMessage): boolean {
    const asked = sessionExpires(request);
    return asked !== undefined && asked.seconds < MIN_SESSION_SECONDS;
  }

  /**
   * A 2xx is about to be sent for an INVITE or UPDATE: starts the timer that it promises.
   *
   * @returns headers to add to the 2xx
   */
  answering(request: UasRequest, template: SipMessage): readonly HeaderLine[] {
    const { message } = request;
    if (message.method !== 'INVITE' && message.method !== 'UPDATE') return [];
    const given = sessionExpires(template);
    if (given !== undefined) {
      request.session = {
        seconds: Math.max(given.seconds, MIN_SESSION_SECONDS),
        isRefresher: given.refresher === 'uas',
      };
      return [];
    }
    const asked = sessionExpires(message);
    if (asked?.refresher === undefined) return [];
    const seconds = Math.max(asked.seconds, MIN_SESSION_SECONDS);
    request.session = { seconds, isRefresher: asked.refresher === 'uas' };
    const headers: HeaderLine[] = [['Session-Expires', `${seconds};refresher=${asked.refresher}`]];
    // RFC 4028 §9: who must refresh must understand that it must.
    if (asked.refresher === 'uac' && hasOption(message, 'Supported', 'timer')) {
      headers.push(['Require', 'timer']);
    }
    return headers;
  }

  /** The 2xx has been sent, and the dialog is up. */
  answered(request: UasRequest): void {
    const { session, dialog } = request;
    if (session === undefined || dialog === undefined) return;
    this.#timerOf(dialog).arm(session.seconds, session.isRefresher);
  }

  /** A 2xx to an INVITE or UPDATE of ours. */
  succeeded(dialog: Dialog, message: SipMessage): void {
    const granted = sessionExpires(message);
    if (granted === undefined) return;
    const seconds = Math.max(granted.seconds, MIN_SESSION_SECONDS);
    this.#timerOf(dialog).arm(seconds, granted.refresher !== 'uas');
  }

  #timerOf(dialog: Dialog): SessionTimer {
    let timer = this.#byDialog.get(dialog);
    if (timer === undefined) {
      timer = new SessionTimer(this.#parts, dialog);
      this.#byDialog.set(dialog, timer);
    }
    return timer;
  }
}

/** The Session-Expires header; `undefined` when there is none that can be understood. */
function sessionExpires(message: SipMessage): SessionExpires | undefined {
  const [first = '', ...params] = (message.header('Session-Expires') ?? '').split(';');
  const seconds = parseDigits(first.trim(), MAX_SESSION_SECONDS);
  if (seconds === undefined || seconds > MAX_SESSION_SECONDS) return undefined;
  const refresher = params
    .map((param) => /^\s*refresher\s*=\s*(uac|uas)\s*$/i.exec(param)?.[1]?.toLowerCase())
    .find((value) => value !== undefined);
  return { seconds, refresher };
}
