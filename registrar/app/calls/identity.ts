/** How the two people of a call are shown to each other: the account's name and address, never the device's. */
import { NameAddr } from '../../../core/sip/name-addr.ts';
import type { Account } from '../accounts/accounts.ts';
import type { Domain } from '../domain.ts';
import type { SipHeaders, SipRequest } from '../srf.ts';
import { copied, headerOf, INVITE_HEADERS } from './headers.ts';
import { ALLOW, SUPPORTED, SUPPORTED_WITHOUT_OFFER } from './leg.ts';

const MAX_FORWARDS = 70;

/** The real name, else the nickname as its owner writes it. */
export function identityOf(account: Account | undefined, uri: string): string {
  const name = account?.displayName === '' ? account.spelling : account?.displayName;
  return new NameAddr(name, uri).toString();
}

/** One hop fewer than `request` was allowed. */
export function nextMaxForwards(request: { get(name: string): string | undefined }): string {
  const written = headerOf(request, 'Max-Forwards') ?? '';
  const hops = /^\d{1,3}$/.test(written) ? Number(written) : MAX_FORWARDS;
  return String(Math.min(Math.max(hops - 1, 0), MAX_FORWARDS));
}

/** From, To and who vouches for them, for a request that passes from a person to a device of another person. */
export function personHeaders(
  request: SipRequest,
  people: { readonly sender: Account; readonly recipient: string },
  domain: Domain,
): SipHeaders {
  const from = identityOf(people.sender, domain.uriOf(people.sender.nickname));
  return {
    From: from,
    To: `<${domain.uriOf(people.recipient)}>`,
    'P-Asserted-Identity': from,
    'Max-Forwards': nextMaxForwards(request),
  };
}

/** For the INVITE to the callee's devices, apart from its body. */
export function inviteHeaders(
  request: SipRequest,
  people: { readonly sender: Account; readonly recipient: string },
  domain: Domain,
): SipHeaders {
  const hasOffer = request.body !== undefined && request.body !== '';
  return {
    ...copied(request, INVITE_HEADERS),
    ...personHeaders(request, people, domain),
    Contact: `<${contactUri(domain.uriOf(people.sender.nickname))}>`,
    Allow: ALLOW,
    Supported: hasOffer ? SUPPORTED : SUPPORTED_WITHOUT_OFFER,
  };
}

/** For our answers to the caller's INVITE. */
export function calleeHeaders(
  callee: string,
  account: Account | undefined,
  domain: Domain,
): SipHeaders {
  const uri = domain.uriOf(callee);
  return {
    Contact: `<${contactUri(uri)}>`,
    'P-Asserted-Identity': identityOf(account, uri),
    Allow: ALLOW,
    Supported: SUPPORTED,
  };
}

/** The engine puts its own address in the place of `localhost`. */
function contactUri(uri: string): string {
  return uri.replace(/@.*$/s, '@localhost');
}
