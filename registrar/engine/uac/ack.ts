/** The ACK to a 2xx, which has no transaction: it is sent directly, and again with each repetition of the 2xx. */

import type { Dialog } from '../dialog/dialog.ts';
import { draftInDialog, type InDialogParts } from '../dialog/in-dialog.ts';
import type { Kernel } from '../kernel.ts';
import { encodeRequest, placed } from '../request-draft.ts';
import type { Route, Router } from '../router.ts';
import { looksLikeSdp } from '../template.ts';
import { ownVia } from '../text.ts';
import type { Hop } from '../transport/flow.ts';
import type { SentAck } from './uac-request.ts';

/**
 * Sends an ACK to the remote target (RFC 3261 §13.2.2.4).
 *
 * @param sequence - that of the INVITE
 * @returns what was sent, also when the connection would not take it any more
 */
export function sendAck(
  engine: { readonly kernel: Kernel; readonly router: Router },
  dialog: Dialog,
  sequence: number,
  content: Pick<InDialogParts, 'headers' | 'body'>,
): SentAck {
  const { kernel, router } = engine;
  const draft = draftInDialog(dialog, { method: 'ACK', sequence, ...content });
  const route = router.inside(dialog, draft.requestUri);
  const hop = hopOf(kernel, route) ?? dialog.hop;
  const bytes = encodeRequest(placed(draft, hop), ownVia(hop, kernel.ids.branch()));
  if (looksLikeSdp(draft.body)) dialog.localSdp = draft.body;
  kernel.counters.requestsSent.add('ACK');
  const wasSent = kernel.transports.send(hop, bytes);
  return { bytes, hop, wasSent };
}

/** Nothing can wait for a name to be resolved: without an address the ACK goes the way that the 2xx came. */
function hopOf(kernel: Kernel, route: Route): Hop | undefined {
  if (route.kind !== 'targets') return undefined;
  const [first] = route.targets;
  if (first === undefined) return undefined;
  if (first.kind === 'hop') return first.hop;
  const { target, serverName } = first;
  return kernel.transports.hopTo(target.transport, target.remote, serverName);
}
