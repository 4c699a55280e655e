/** Requests that applications send in dialogs, and what their answers do to the dialog (RFC 3261 §12.2.1). */

import { ParseError } from '../../../core/errors.ts';
import { parseRAck } from '../../../core/sip/cseq.ts';
import type { RequestDraft } from '../request-draft.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { CallRecords } from '../call-records.ts';
import { contactUri, type Dialog } from '../dialog/dialog.ts';
import { draftInDialog } from '../dialog/in-dialog.ts';
import type { DialogLifecycle } from '../dialog/lifecycle.ts';
import type { Kernel } from '../kernel.ts';
import { sipUri, type Route, type Router } from '../router.ts';
import { looksLikeSdp, startLineOf, templateBody, templateHeaders } from '../template.ts';
import { localised, ownCopy } from '../text.ts';
import { lacksContentType } from './outside-request.ts';
import type { HeldBye } from '../uas/success.ts';
import type { InDialogHook, Order, SessionTimerResponses, Uac } from './uac.ts';
import type { UacRequest } from './uac-request.ts';

const NO_DIALOG = 'Server error: unable to find dialog for dialog id provided';
/** What is not sent at all. */
const NOWHERE: Route = { kind: 'targets', targets: [] };
const NO_INVITE = 'Server error: unable to find IIP when sending PRACK';

/** The server side, as far as it decides when a BYE may go out. */
export type ByeGate = {
  /** @returns false when it may go out now */
  holdBye(dialog: Dialog, bye: HeldBye): boolean;
};

export type DialogRequestsParts = {
  readonly kernel: Kernel;
  readonly router: Router;
  readonly lifecycle: DialogLifecycle;
  readonly records: CallRecords;
  readonly uac: Uac;
  readonly uas: ByeGate;
  readonly sessionTimers: SessionTimerResponses;
};

export class DialogRequests implements InDialogHook {
  readonly #kernel: Kernel;
  readonly #router: Router;
  readonly #lifecycle: DialogLifecycle;
  readonly #records: CallRecords;
  readonly #uac: Uac;
  readonly #uas: ByeGate;
  readonly #sessionTimers: SessionTimerResponses;
  /** INVITEs of ours in dialogs that have no final response yet. */
  readonly #reinvites = new Map<Dialog, UacRequest>();

  constructor(parts: DialogRequestsParts) {
    this.#kernel = parts.kernel;
    this.#router = parts.router;
    this.#lifecycle = parts.lifecycle;
    this.#records = parts.records;
    this.#uac = parts.uac;
    this.#uas = parts.uas;
    this.#sessionTimers = parts.sessionTimers;
  }

  /** Sends the application's request in the dialog with this id. */
  request(order: Order, dialogId: string): void {
    const { application, requestId, template } = order;
    const { method } = template;
    if (method === 'ACK') {
      this.#uac.acknowledge(order, dialogId);
      return;
    }
    const dialog = this.#dialogFor(template, dialogId);
    const problem = dialog === undefined ? NO_DIALOG : this.#problemOf(template, dialog);
    if (dialog === undefined || problem !== undefined) {
      this.#kernel.reports.nok(application.id, requestId, problem ?? NO_DIALOG);
      return;
    }
    this.#send(order, dialog);
  }

  answered(request: UacRequest, message: SipMessage): void {
    const { dialog, method } = request;
    if (dialog === undefined || message.statusCode < 200) return;
    this.#settle(request, dialog);
    const { statusCode } = message;
    if (statusCode < 300) this.#succeeded(request, dialog, message);
    if (isLast(method)) this.#lastAnswered(dialog, method, statusCode);
  }

  unanswered(request: UacRequest): void {
    const { dialog, method } = request;
    if (dialog === undefined) return;
    this.#settle(request, dialog);
    const isLostWatcher = method === 'NOTIFY' && dialog.kind === 'subscribe';
    if ((dialog.isEnding && isLast(method)) || isLostWatcher) this.#lifecycle.end(dialog);
  }

  /** A final response to BYE or NOTIFY. */
  #lastAnswered(dialog: Dialog, method: string, status: number): void {
    // RFC 6665 §4.2.2: a watcher that does not know its subscription has none.
    const isUnknown = method === 'NOTIFY' && status === 481 && dialog.kind === 'subscribe';
    const isChallenge = (status === 401 || status === 407) && dialog.application.isConnected;
    if (isUnknown || (dialog.isEnding && !isChallenge)) this.#lifecycle.end(dialog);
    else dialog.isEnding = false;
  }

  #dialogFor(template: SipMessage, dialogId: string): Dialog | undefined {
    const dialog = this.#kernel.dialogs.byId(dialogId);
    return template.method === 'PRACK'
      ? (this.#acknowledgedFork(template, dialogId) ?? dialog)
      : dialog;
  }

  /**
   * The fork whose provisional response a PRACK of the application acknowledges: it does not say which, and each fork
   * counts for itself, so of those with that number it is the one that came first.
   */
  #acknowledgedFork(template: SipMessage, dialogId: string): Dialog | undefined {
    const rseq = rseqOf(template);
    const invite = this.#uac.making(dialogId);
    if (invite === undefined) return undefined;
    const waiting = [...invite.unacknowledged, ...invite.lastRseq];
    const [tag] = waiting.find(([, number]) => number === rseq) ?? [];
    if (tag === undefined) return undefined;
    invite.unacknowledged.delete(tag);
    return invite.forks.get(tag);
  }

  #problemOf(template: SipMessage, dialog: Dialog): string | undefined {
    if (template.method === 'PRACK') {
      const isOpen = this.#uac.making(dialog.id) !== undefined || this.#reinvites.has(dialog);
      if (!isOpen) return NO_INVITE;
    }
    // RFC 3261 §15: only the caller may hang up an early dialog; who is called refuses the INVITE.
    const isTooEarly = dialog.role === 'uas' && dialog.state === 'early';
    if (template.method === 'BYE' && dialog.kind === 'invite' && isTooEarly) return NO_DIALOG;
    if (lacksContentType(template)) return 'missing content-type';
    if (isPlaceholder(template) || sipUri(template.requestUri) !== undefined) return undefined;
    return `invalid request-uri: ${startLineOf(template.bytes)}`;
  }

  #send(order: Order, dialog: Dialog): void {
    const { application, requestId, template } = order;
    const { method } = template;
    if (method === 'BYE') this.#cancelReinvite(dialog);
    const contact = contactOf(template, dialog);
    const draft = draftInDialog(dialog, {
      method,
      requestUri: isPlaceholder(template) ? undefined : template.requestUri,
      contact,
      headers: templateHeaders(template),
      body: templateBody(template),
    });
    const route = this.#router.inside(dialog, draft.requestUri);
    if (route.kind === 'refused') {
      this.#kernel.reports.nok(application.id, requestId, route.reason);
      return;
    }
    const request = this.#uac.open(application, method, { dialogId: dialog.id, dialog });
    dialog.isEnding ||= endsDialog(template, dialog);
    if (method === 'INVITE') this.#launchInvite(request, draft, route);
    else if (method === 'BYE') this.#launchBye(request, draft, dialog);
    else this.#uac.launch(request, draft, route);
    this.#uac.reportSent(request, requestId, route);
  }

  /** The application is told at once; the BYE itself may have to wait for the ACK of the caller. */
  #launchBye(request: UacRequest, draft: RequestDraft, dialog: Dialog): void {
    const transaction = this.#uac.prepare(request, draft);
    const send = (): void => {
      this.#router.send(transaction, this.#router.inside(dialog, draft.requestUri));
      this.#recordBye(request);
    };
    const drop = (): void => {
      this.#uac.invent(request, 481);
      transaction.abandon();
    };
    if (!this.#uas.holdBye(dialog, { send, drop })) send();
  }

  #launchInvite(request: UacRequest, draft: RequestDraft, route: Route): void {
    const { dialog } = request;
    if (dialog === undefined) return;
    // RFC 3261 §14.1 forbids a second INVITE: the application is told what the other side would say.
    request.glare = dialog.hasRemoteInvite || dialog.hasOwnInvite;
    this.#uac.launch(request, draft, request.glare ? NOWHERE : route);
    if (request.glare) return;
    if (typeof draft.contact === 'string') dialog.localContact = draft.contact;
    dialog.hasOwnInvite = true;
    this.#reinvites.set(dialog, request);
  }

  /** A call that is being changed and hung up at the same time is hung up (RFC 3261 §15). */
  #cancelReinvite(dialog: Dialog): void {
    const reinvite = this.#reinvites.get(dialog);
    if (reinvite !== undefined) this.#uac.cancelQuietly(reinvite);
  }

  #settle(request: UacRequest, dialog: Dialog): void {
    if (this.#reinvites.get(dialog) !== request) return;
    this.#reinvites.delete(dialog);
    dialog.hasOwnInvite = false;
  }

  #succeeded(request: UacRequest, dialog: Dialog, message: SipMessage): void {
    const { method } = request;
    const isRefresh = method === 'INVITE' || method === 'UPDATE' || method === 'SUBSCRIBE';
    if (!isRefresh) return;
    dialog.remoteTarget = contactUri(message.contacts) ?? dialog.remoteTarget;
    if (method === 'SUBSCRIBE') return;
    const body = request.transaction?.draft.body;
    if (body !== undefined && looksLikeSdp(body)) dialog.localSdp = ownCopy(body);
    this.#sessionTimers.succeeded(dialog, message);
  }

  #recordBye({ transaction }: UacRequest): void {
    if (transaction === undefined || !this.#records.isWanted) return;
    this.#records.stop('application', 'normal-release', transaction.text);
  }
}

/** The Contact that the application gives, our address filled in. */
function contactOf(template: SipMessage, dialog: Dialog): string | undefined {
  const contacts = template.headerFields('Contact');
  return contacts.length === 0 ? undefined : localised(contacts.join(', '), dialog.hop);
}

function isPlaceholder(template: SipMessage): boolean {
  return template.method === 'PRACK' || template.requestUri.includes('placeholder');
}

/** The requests whose answer ends their dialog. */
function isLast(method: string): boolean {
  return method === 'BYE' || method === 'NOTIFY';
}

function endsDialog(template: SipMessage, dialog: Dialog): boolean {
  if (template.method === 'BYE') return true;
  const state = template.header('Subscription-State') ?? '';
  const isOver = template.method === 'NOTIFY' && /^\s*terminated/i.test(state);
  return isOver && dialog.kind === 'subscribe';
}

function rseqOf(template: SipMessage): number | undefined {
  try {
    return parseRAck(template.header('RAck') ?? '').rseq;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
