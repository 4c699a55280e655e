/** Requests inside a call that have nothing to do with its media: INFO, MESSAGE, REFER and NOTIFY go to the other side. */
import { NameAddr } from '../../../core/sip/name-addr.ts';
import type { Domain } from '../domain.ts';
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';
import { copied, DIALOG_REQUEST_HEADERS, headerOf, responseHeaders } from './headers.ts';
import { ALLOW } from './leg.ts';
import type { Leg, LegAnswer } from './leg.ts';
import { respond } from './transactions.ts';

const PASSED: ReadonlySet<string> = new Set(['INFO', 'MESSAGE', 'REFER', 'NOTIFY']);

export type PassOnOptions = {
  readonly domain: Domain;
  /** Canonical nickname of who is at the asking end. */
  readonly sender: string;
  vanished(leg: Leg): void;
};

/**
 * Passes a request to the other side and its answer back; bodies are not touched. Transfer is the phones' own doing:
 * REFER and the NOTIFY about it pass (RFC 3515), and the new call comes to us as any other.
 */
export async function passOn(
  request: SipRequest,
  response: SipResponse,
  legs: { readonly from: Leg; readonly to: Leg | undefined },
  options: PassOnOptions,
): Promise<void> {
  const { from, to } = legs;
  const { method } = request;
  if (!PASSED.has(method)) {
    respond(response, { status: 405, headers: { Allow: ALLOW } });
    return;
  }
  if (to === undefined || to.isOver) {
    respond(response, { status: 481 });
    return;
  }
  const transfer = method === 'REFER' ? transferHeaders(request, options) : {};
  if (transfer === undefined) {
    respond(response, { status: 400, reason: 'Bad Refer-To' });
    return;
  }
  const headers: SipHeaders = { ...copied(request, DIALOG_REQUEST_HEADERS), ...transfer };
  // Twinkle refuses a NOTIFY without Contact.
  if (to.contact !== undefined) headers['Contact'] = to.contact;
  const answer = await to.request(method, headers, request.body);
  passAnswer(response, answer, from, options.domain.name);
  if (answer.isDialogGone) options.vanished(to);
}

function passAnswer(response: SipResponse, answer: LegAnswer, from: Leg, domain: string): void {
  const theirs = answer.response;
  const passed = theirs === undefined ? {} : responseHeaders(theirs, domain);
  const contact = from.contact === undefined ? {} : { Contact: from.contact };
  // The asking phone must not take its own dialog for dead; it gets BYE.
  respond(response, {
    status: answer.isDialogGone ? 480 : answer.status,
    reason: answer.isDialogGone ? '' : answer.reason,
    headers: { ...passed, ...contact },
    body: theirs?.body,
  });
}

/**
 * Where to, in our own name for it, and by whom.
 *
 * @returns undefined when there is no Refer-To that can be read
 */
export function transferHeaders(
  request: { get(name: string): string | undefined },
  { domain, sender }: Pick<PassOnOptions, 'domain' | 'sender'>,
): SipHeaders | undefined {
  const written = headerOf(request, 'Refer-To');
  if (written === undefined) return undefined;
  let target: NameAddr;
  try {
    target = NameAddr.parse(written);
  } catch {
    return undefined;
  }
  return {
    'Refer-To': new NameAddr(target.displayName, ownForm(target.uriText, domain)).toString(),
    'Referred-By': `<${domain.uriOf(sender)}>`,
  };
}

/** A URI of this domain, however it was written, with the domain's name; its headers (Replaces) stay. */
function ownForm(uri: string, domain: Domain): string {
  const user = domain.rawUserOf(uri);
  if (user === undefined) return uri;
  const parameters = /;method=[^;?]*/i.exec(uri)?.[0] ?? '';
  const headers = /\?.*$/s.exec(uri)?.[0] ?? '';
  return `sip:${user}@${domain.name}${parameters}${headers}`;
}
