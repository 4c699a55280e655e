/** Notes by which connection a device can be reached, once its REGISTER or SUBSCRIBE has been accepted. */

import { parseDigits } from '../../../core/sip/grammar.ts';
import { ParseError } from '../../../core/errors.ts';
import type { NameAddr } from '../../../core/sip/name-addr.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { SipUri } from '../../../core/sip/uri.ts';
import type { Flow, Hop } from '../transport/flow.ts';
import type { FlowTable } from '../transport/flow-table.ts';

const MAX_SECONDS = 2 ** 31;
/** For keep-alives that a bad network delays (RFC 5626 §5.4). */
const GRACE_MS = 30_000;

/** To be called with every 2xx that an application gives to REGISTER or SUBSCRIBE. */
export function noteRegisteredFlow(
  table: FlowTable,
  request: SipMessage,
  response: SipMessage,
  hop: Hop,
): void {
  const isRegister = request.method === 'REGISTER';
  const isDirect = request.headerValues('Via').length === 1;
  if (isRegister && isDirect && hop.flow !== undefined) noteFlowTimer(hop.flow, response);
  for (const contact of request.contacts) {
    const { uri } = contact;
    if (uri.kind !== 'sip') continue;
    if (hop.flow === undefined) {
      if (isRegister) table.unbind(uri);
      continue;
    }
    const seconds =
      grantedSeconds(uri, response, isRegister) ?? (isRemoval(contact, request) ? 0 : undefined);
    if (seconds === undefined) continue;
    if (isRegister) table.bind(uri, { flow: hop.flow, isOutbound: isOutbound(contact) }, seconds);
    else table.extend(uri, hop.flow, seconds);
  }
}

/**
 * Flow-Timer in the answer to a device that speaks to us itself: it shows within that time that it is there. A WebSocket is watched by its own pings
 * instead, because browsers can send no double CRLF (RFC 7118 §6).
 */
function noteFlowTimer(flow: Flow, response: SipMessage): void {
  const seconds = secondsOf(response.header('Flow-Timer'));
  if (seconds === undefined || seconds === 0 || flow.framer === undefined) return;
  flow.silenceLimitMs = seconds * 1000 + GRACE_MS;
}

/** The answer to the device that removes the last binding lists nothing and says nothing of lifetimes. */
function isRemoval({ params }: NameAddr, request: SipMessage): boolean {
  return secondsOf(params.get('expires') ?? request.header('Expires')) === 0;
}

/** RFC 5626 §6: only both parameters together ask for it. */
function isOutbound({ params }: NameAddr): boolean {
  return params.has('+sip.instance') && params.has('reg-id');
}

/** The lifetime that the application granted: of this Contact first, then of the whole response. */
function grantedSeconds(
  uri: SipUri,
  response: SipMessage,
  isRegister: boolean,
): number | undefined {
  const contacts = listedContacts(response);
  const ours = contacts.find((listed) => isSame(listed, uri));
  const own = secondsOf(ours?.params.get('expires'));
  if (own !== undefined) return own;
  // A list of bindings without this one means that it was removed.
  if (contacts.length > 0 && ours === undefined && isRegister) return 0;
  return secondsOf(response.header('Expires'));
}

function listedContacts(response: SipMessage): readonly NameAddr[] {
  try {
    return response.contacts;
  } catch (error) {
    if (error instanceof ParseError) return [];
    throw error;
  }
}

function isSame(listed: NameAddr, uri: SipUri): boolean {
  try {
    return uri.equals(listed.uri);
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
}

function secondsOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDigits(text, MAX_SECONDS);
}
