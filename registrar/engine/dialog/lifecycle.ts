/** Beginning and end of dialogs: tables, what lives with them, and the BYE that the engine sends by itself. */

import { formatReason } from '../../../core/sip/reason.ts';
import type { CallRecords } from '../call-records.ts';
import { sentTrace } from '../control/report.ts';
import type { Kernel } from '../kernel.ts';
import type { Router } from '../router.ts';
import type { HeaderLine } from '../template.ts';
import { ClientTransaction, type ClientUser } from '../transaction/client.ts';
import type { Hop } from '../transport/flow.ts';
import type { Dialog, DialogWatcher } from './dialog.ts';
import { draftInDialog } from './in-dialog.ts';

/** Nobody waits for the answer to what the engine sends to end something. */
const NOBODY: ClientUser = {
  clientResponse: ignore,
  clientFailed: ignore,
  clientEnded: ignore,
};

function ignore(): void {
  // The dialog is over whatever the other side says.
}

export class DialogLifecycle {
  readonly #kernel: Kernel;
  readonly #router: Router;
  readonly #records: CallRecords;
  readonly #watchers: DialogWatcher[] = [];

  constructor(kernel: Kernel, router: Router, records: CallRecords) {
    this.#kernel = kernel;
    this.#router = router;
    this.#records = records;
  }

  /** Somebody who wants to know of the end of every dialog. */
  watch(watcher: DialogWatcher): void {
    this.#watchers.push(watcher);
  }

  begin(dialog: Dialog): void {
    this.#kernel.dialogs.add(dialog);
    dialog.hop.flow?.users.add(dialog);
  }

  /** Removes a dialog and all that lives with it; ending twice changes nothing. */
  end(dialog: Dialog): void {
    if (dialog.state === 'ended') return;
    this.#kernel.dialogs.remove(dialog);
    dialog.hop.flow?.users.delete(dialog);
    const watchers = [...dialog.watchers, ...this.#watchers];
    dialog.watchers.clear();
    for (const watcher of watchers) watcher.dialogEnded(dialog);
  }

  /** The other side speaks from another place now: a new connection, or a new NAT mapping. */
  moveTo(dialog: Dialog, hop: Hop): void {
    if (dialog.hop.flow === hop.flow && hop.flow !== undefined) return;
    if (dialog.natEndpoint !== undefined && hop.flow === undefined) dialog.natEndpoint = hop.remote;
    if (dialog.hop.flow === undefined && hop.flow === undefined) return;
    dialog.hop.flow?.users.delete(dialog);
    dialog.hop = hop;
    dialog.hasLostFlow = false;
    if (hop.flow === undefined) dialog.natEndpoint = hop.remote;
    else hop.flow.users.add(dialog);
  }

  /**
   * Ends a call from our side and tells its application by an unsolicited BYE.
   *
   * @param cause - status code of the Reason header
   * @param record - why the call record stops
   */
  bye(dialog: Dialog, cause: number, text: string, record: string): void {
    if (dialog.state === 'ended') return;
    const reason = formatReason({ protocol: 'SIP', cause, text });
    const sent = this.#sendLast(dialog, 'BYE', [['Reason', reason]]);
    const { application } = dialog;
    if (sent?.bytes === undefined || sent.hop === undefined) return;
    if (application.isConnected) {
      const trace = sentTrace(sent.hop, sent.bytes.length);
      this.#kernel.reports.unsolicited(application.id, dialog.id, trace, sent.bytes);
    }
    this.#records.stop('application', record, sent.bytes);
  }

  /** Tells a watcher that its subscription is over (RFC 6665 §4.2.2). */
  terminateSubscription(dialog: Dialog, reason: string): void {
    if (dialog.state === 'ended') return;
    if (dialog.role === 'uac') {
      // Our own subscription: the next NOTIFY gets 481, which ends it there.
      this.end(dialog);
      return;
    }
    this.#sendLast(dialog, 'NOTIFY', [
      ['Event', dialog.event ?? 'presence'],
      ['Subscription-State', `terminated;reason=${reason}`],
    ]);
  }

  /** Hangs up a dialog that no application has been told of: a fork too many, or one that nobody wants any more. */
  hangUp(dialog: Dialog): void {
    this.#sendLast(dialog, 'BYE', []);
  }

  #sendLast(
    dialog: Dialog,
    method: string,
    headers: readonly HeaderLine[],
  ): ClientTransaction | undefined {
    const draft = draftInDialog(dialog, { method, headers });
    const route = this.#router.inside(dialog, draft.requestUri);
    this.end(dialog);
    const transaction = new ClientTransaction(this.#kernel, draft, NOBODY);
    this.#router.send(transaction, route);
    return transaction;
  }
}
