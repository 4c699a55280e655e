/** The dialog that an INVITE or SUBSCRIBE of ours makes (RFC 3261 §12.1.2, RFC 6665 §4.1.2.4). */

import type { SipMessage } from '../../../core/sip/message.ts';
import { contactUri, Dialog } from '../dialog/dialog.ts';
import { sipUri } from '../router.ts';
import { tagOf } from '../text.ts';
import { isPrivate } from '../transport/address.ts';
import type { RequestDraft } from '../request-draft.ts';
import type { ReceivedResponse } from '../transaction/client.ts';
import type { UacRequest } from './uac-request.ts';

/** What the other side contributes. */
type Remote = {
  readonly remoteTag: string;
  readonly remoteValue: string;
  readonly routeSet: readonly string[];
  readonly target: string | undefined;
  readonly hop: ReceivedResponse['hop'];
};

/** The dialog of a provisional response with a tag, or of a 2xx; `undefined` when nothing has been sent. */
export function dialogOfResponse(
  request: UacRequest,
  response: ReceivedResponse,
): Dialog | undefined {
  const { message, hop } = response;
  const dialog = dialogOf(request, {
    remoteTag: message.toTag ?? '',
    remoteValue: message.header('To') ?? '',
    routeSet: message.headerValues('Record-Route').reverse(),
    target: contactUri(message.contacts),
    hop,
  });
  if (dialog !== undefined) dialog.natEndpoint = natEndpointOf(dialog, response);
  return dialog;
}

/** The same for a NOTIFY that overtook the 2xx to its SUBSCRIBE. */
export function dialogOfNotify(
  request: UacRequest,
  notify: SipMessage,
  hop: ReceivedResponse['hop'],
): Dialog | undefined {
  return dialogOf(request, {
    remoteTag: notify.fromTag ?? '',
    remoteValue: notify.header('From') ?? '',
    routeSet: notify.headerValues('Record-Route'),
    target: contactUri(notify.contacts),
    hop,
  });
}

/** Takes route set and target anew from the 2xx that confirms an early dialog (RFC 3261 §13.2.2.4). */
export function confirmFrom(dialog: Dialog, response: ReceivedResponse): void {
  const { message } = response;
  dialog.routeSet = message.headerValues('Record-Route').reverse();
  dialog.remoteTarget = contactUri(message.contacts) ?? dialog.remoteTarget;
  dialog.natEndpoint = natEndpointOf(dialog, response);
}

function dialogOf(request: UacRequest, remote: Remote): Dialog | undefined {
  const draft = request.transaction?.draft;
  if (draft === undefined) return undefined;
  const localTag = tagOf(draft.from) ?? '';
  const dialog = new Dialog({
    kind: request.isInvite ? 'invite' : 'subscribe',
    role: 'uac',
    callId: draft.callId,
    localTag,
    remoteTag: remote.remoteTag,
    fromTag: localTag,
    localValue: draft.from,
    remoteValue: remote.remoteValue,
    localSequence: draft.sequence,
    remoteSequence: undefined,
    routeSet: remote.routeSet,
    remoteTarget: remote.target ?? draft.requestUri,
    localContact: contactOf(draft),
    application: request.application,
    hop: remote.hop,
  });
  dialog.event = draft.headers.find(([name]) => name === 'Event')?.[1];
  return dialog;
}

function contactOf({ contact }: RequestDraft): string {
  return typeof contact === 'string' ? contact : '';
}

/** A UDP peer without a proxy before it whose Contact is not where it speaks from is behind a NAT; so may its proxy be. */
function natEndpointOf(dialog: Dialog, { hop }: ReceivedResponse): Dialog['natEndpoint'] {
  if (hop.flow !== undefined) return undefined;
  const [route] = dialog.routeSet;
  const host = sipUri(route === undefined ? dialog.remoteTarget : routeText(route))?.host;
  if (host === undefined || host === hop.remote.address) return undefined;
  return route === undefined || isPrivate(host) ? hop.remote : undefined;
}

function routeText(route: string): string {
  return route.slice(route.indexOf('<') + 1, Math.max(route.indexOf('>'), 0));
}
