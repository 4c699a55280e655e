/** The requests that wait for an answer of an application, by all the names under which they are looked for. */

import type { Application } from '../control/applications.ts';
import type { Dialog } from '../dialog/dialog.ts';
import type { UasRequest } from './uas-request.ts';

const NONE: ReadonlySet<UasRequest> = new Set();

export class OpenRequests {
  readonly #byTransactionId = new Map<string, UasRequest>();
  /** INVITEs outside dialogs, by the id of the dialog that they would make. */
  readonly #invites = new Map<string, UasRequest>();
  readonly #byDialog = new Map<Dialog, Set<UasRequest>>();

  get size(): number {
    return this.#byTransactionId.size;
  }

  get(transactionId: string): UasRequest | undefined {
    return this.#byTransactionId.get(transactionId);
  }

  /** The INVITE outside dialogs that would make the dialog with this id. */
  invite(dialogId: string): UasRequest | undefined {
    return this.#invites.get(dialogId);
  }

  inDialog(dialog: Dialog): ReadonlySet<UasRequest> {
    return this.#byDialog.get(dialog) ?? NONE;
  }

  /** A copy, so that requests may be answered while one walks over it. */
  of(application: Application): readonly UasRequest[] {
    return [...this.#byTransactionId.values()].filter(
      (request) => request.application === application,
    );
  }

  addBusy(busy: Set<Application>): void {
    for (const { application } of this.#byTransactionId.values()) busy.add(application);
  }

  add(request: UasRequest): void {
    const isEarlyUpdate = request.message.method === 'UPDATE' && this.#shareWithInvite(request);
    if (!isEarlyUpdate) this.#byTransactionId.set(request.transactionId, request);
    if (request.dialog !== undefined) this.join(request, request.dialog);
    else if (request.isInvite) this.#invites.set(request.dialogId, request);
  }

  /** Notes the dialog that an answer has made. */
  join(request: UasRequest, dialog: Dialog): void {
    const open = this.#byDialog.get(dialog);
    if (open === undefined) this.#byDialog.set(dialog, new Set([request]));
    else open.add(request);
  }

  remove(request: UasRequest): void {
    const { transactionId, dialogId, dialog, invite } = request;
    if (invite?.update === request) invite.update = undefined;
    if (this.#byTransactionId.get(transactionId) === request) {
      this.#byTransactionId.delete(transactionId);
    }
    if (request.isInvite && this.#invites.get(dialogId) === request) this.#invites.delete(dialogId);
    const open = dialog && this.#byDialog.get(dialog);
    if (dialog === undefined || open === undefined) return;
    open.delete(request);
    if (open.size === 0) this.#byDialog.delete(dialog);
  }

  /** An UPDATE before the first INVITE is answered is known by the id of that INVITE. */
  #shareWithInvite(update: UasRequest): boolean {
    const invite = this.#invites.get(update.dialogId);
    if (invite === undefined || invite.dialog !== update.dialog) return false;
    invite.update = update;
    update.invite = invite;
    return true;
  }
}
