/** The CANCEL of an INVITE that we sent (RFC 3261 §9.1). */

import { encodeRequest, type RequestDraft } from '../request-draft.ts';
import { ownVia } from '../text.ts';
import { ClientTransaction, NOBODY, type ClientContext } from '../transaction/client.ts';
import type { UacRequest } from './uac-request.ts';

const MAX_FORWARDS = 70;
const NO_BODY = Buffer.alloc(0);

/** The CANCEL as it follows from the INVITE; only `headers` may be chosen. */
function cancelDraft(invite: RequestDraft, headers: RequestDraft['headers']): RequestDraft {
  const { from, to, callId, sequence, routes, requestUri } = invite;
  return {
    method: 'CANCEL',
    requestUri,
    maxForwards: MAX_FORWARDS,
    from,
    to,
    callId,
    sequence,
    routes,
    contact: undefined,
    headers,
    body: NO_BODY,
  };
}

/** Sends a CANCEL on the same way, with the same branch; to be called only after a provisional response. */
export function sendCancel(
  context: ClientContext,
  invite: ClientTransaction,
  headers: RequestDraft['headers'],
): ClientTransaction | undefined {
  const { hop, branch, draft } = invite;
  if (hop === undefined) return undefined;
  // The answer to a CANCEL says nothing: what counts is the answer to the INVITE.
  const cancel = new ClientTransaction(context, cancelDraft(draft, headers), NOBODY, branch);
  cancel.start([{ kind: 'hop', hop }]);
  return cancel;
}

/** What the CANCEL of this request will be once it may go out. */
export function cancelText({ transaction, cancelHeaders }: UacRequest): Buffer {
  if (transaction === undefined) return NO_BODY;
  const { hop, branch, draft } = transaction;
  const via = hop === undefined ? undefined : ownVia(hop, branch);
  return encodeRequest(cancelDraft(draft, cancelHeaders), via);
}
