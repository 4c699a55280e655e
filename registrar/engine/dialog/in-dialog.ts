/** Requests that we send in a dialog (RFC 3261 §12.2.1.1), for applications and for ourselves. */

import type { RequestDraft } from '../request-draft.ts';
import type { HeaderLine } from '../template.ts';
import { routeRequest, type Dialog } from './dialog.ts';

const MAX_FORWARDS = 70;
const NO_BODY = Buffer.alloc(0);

/** Requests that carry our Contact in a dialog when nobody gave one; NOTIFY because phones insist on it. */
const WITH_CONTACT: readonly string[] = ['INVITE', 'SUBSCRIBE', 'REFER', 'UPDATE', 'NOTIFY'];

export type InDialogParts = {
  readonly method: string;
  /** Instead of the remote target. */
  readonly requestUri?: string | undefined;
  /** Instead of the next number; ACK and CANCEL repeat that of the INVITE. */
  readonly sequence?: number | undefined;
  readonly contact?: string | undefined;
  readonly headers?: readonly HeaderLine[] | undefined;
  readonly body?: Buffer | undefined;
};

/** A request in this dialog; takes the next number unless one is given. */
export function draftInDialog(dialog: Dialog, parts: InDialogParts): RequestDraft {
  const { method, headers = [], body = NO_BODY } = parts;
  const target = parts.requestUri ?? dialog.remoteTarget;
  const { requestUri, routes } = routeRequest(target, dialog.routeSet);
  const sequence = parts.sequence ?? (dialog.localSequence += 1);
  const ownContact = WITH_CONTACT.includes(method) ? dialog.localContact : undefined;
  return {
    method,
    requestUri,
    maxForwards: MAX_FORWARDS,
    from: dialog.localValue,
    to: dialog.remoteValue,
    callId: dialog.callId,
    sequence,
    routes,
    contact: parts.contact ?? ownContact,
    headers,
    body,
  };
}
