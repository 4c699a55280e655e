/** The dialog that an answer to INVITE or SUBSCRIBE makes, as its server sees it (RFC 3261 §12.1.1). */

import type { SipMessage } from '../../../core/sip/message.ts';
import { contactUri, Dialog } from '../dialog/dialog.ts';
import { withTag } from '../response.ts';
import { ownContact } from '../text.ts';
import type { Hop } from '../transport/flow.ts';
import type { UasRequest } from './uas-request.ts';

/** The request must have our tag by now. */
export function dialogOfRequest(request: UasRequest): Dialog {
  const { message, hop, localTag = '' } = request;
  const { sequence } = message.cseq;
  const { fromTag = '' } = message;
  const dialog = new Dialog({
    kind: request.isInvite ? 'invite' : 'subscribe',
    role: 'uas',
    callId: message.callId,
    localTag,
    remoteTag: fromTag,
    fromTag,
    localValue: withTag(message.header('To') ?? '', localTag),
    remoteValue: message.header('From') ?? '',
    localSequence: sequence,
    remoteSequence: sequence,
    routeSet: message.headerValues('Record-Route'),
    remoteTarget: contactUri(message.contacts) ?? '',
    localContact: ownContact(hop),
    application: request.application,
    hop,
  });
  dialog.event = message.header('Event');
  dialog.natEndpoint = natEndpointOf(message, hop);
  return dialog;
}

/** A peer without a proxy before it whose Contact is not where it speaks from is behind a NAT. */
function natEndpointOf(request: SipMessage, hop: Hop): Dialog['natEndpoint'] {
  if (hop.flow !== undefined || request.has('Record-Route')) return undefined;
  const uri = request.contacts[0]?.uri;
  if (uri?.kind !== 'sip') return undefined;
  const isSame = uri.host === hop.remote.address && (uri.port ?? 5060) === hop.remote.port;
  return isSame ? undefined : hop.remote;
}
