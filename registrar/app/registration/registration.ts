/** REGISTER: who is where, and by what way (RFC 3261 section 10.3, RFC 5626 section 6, RFC 3327, RFC 3608). */
import { ParseError, RefusedError } from '../../../core/errors.ts';
import { splitList } from '../../../core/sip/grammar.ts';
import { NameAddr } from '../../../core/sip/name-addr.ts';
import { listsToken } from '../calls/headers.ts';
import { respond } from '../calls/transactions.ts';
import type { SwitchContext } from '../context.ts';
import type { Binding } from '../location/location.ts';
import type { LocationBook } from '../location/location-book.ts';
import type { RegisterRequest } from '../location/update-bindings.ts';
import type { SipHeaders, SipRequest, SipResponse } from '../srf.ts';
import type { Transport } from '../transport.ts';
import { parseRegister } from './parse-register.ts';

const STATUS_TOO_BRIEF = 423;
const STATUS_NO_OUTBOUND = 439;
/** How often a device should show that its connection lives: below what the NATs of homes and mobile networks keep. */
const FLOW_TIMER_SECONDS = 120;

export function installRegistration(
  context: Pick<SwitchContext, 'requests' | 'authenticator' | 'domain' | 'config' | 'clock'>,
  location: Pick<LocationBook, 'register'>,
): void {
  const { requests, authenticator, domain, config, clock } = context;
  requests.on('REGISTER', async (request, response) => {
    const account = await authenticator.authenticate(request, response);
    if (account === undefined) return true;
    if (domain.userOf(NameAddr.parse(request.get('from') ?? '').uriText) !== account.nickname) {
      throw new RefusedError('registration.thirdParty', 'Only you can register yourself', 403);
    }
    const isOutboundWanted = listsToken(request.get('supported'), 'outbound');
    const asked = parseRegister(request, account.nickname);
    const register = keepsFlow(request) ? asked : withoutRegId(asked);
    if (register !== asked && isOutboundWanted) {
      respond(response, { status: STATUS_NO_OUTBOUND });
      return true;
    }
    const bindings = await registered(response, () => location.register(register));
    if (bindings === undefined) return true;
    const nowMs = clock.wallMs();
    const isOutbound =
      isOutboundWanted &&
      bindings.some(({ callId, regId }) => regId !== undefined && callId === register.callId);
    const headers = { ...headersFor(bindings, nowMs), ...routeHeaders(request, register.path) };
    if (isOutbound) Object.assign(headers, outboundHeaders(request, register.transport));
    response.send(200, { headers });
    return true;
  });

  /**
   * Path: what was understood, for a device that knows what it is; it is kept for the others as well, whose proxies want
   * to be passed all the same (RFC 3327 section 5.3). Service-Route: how the operator wants to be reached (RFC 3608
   * section 6.3).
   */
  const routeHeaders = (request: SipRequest, path: string | undefined): SipHeaders => {
    const { serviceRoutes } = config.registration;
    const isPathKnown = path !== undefined && listsToken(request.get('supported'), 'path');
    return {
      ...(isPathKnown ? { Path: path } : {}),
      ...(serviceRoutes.length > 0
        ? { 'Service-Route': serviceRoutes.map(bracketed).join(', ') }
        : {}),
    };
  };

  const registered = async (
    response: SipResponse,
    register: () => Promise<readonly Binding[]>,
  ): Promise<readonly Binding[] | undefined> => {
    try {
      return await register();
    } catch (error) {
      if (!(error instanceof RefusedError) || error.sipStatus !== STATUS_TOO_BRIEF) throw error;
      const headers = { 'Min-Expires': String(config.registration.minExpiresSeconds) };
      response.send(STATUS_TOO_BRIEF, { headers });
      return undefined;
    }
  };
}

/**
 * Whether there is a flow to the device: it came to us itself, or through a proxy that keeps one (RFC 5626 section 6).
 * Only the proxy that the device speaks to writes `ob` into its Path.
 */
function keepsFlow(request: SipRequest): boolean {
  return isDirect(request) || elementsOf(request.get('path')).some(isOutboundPath);
}

/** No proxy has written itself into it. */
function isDirect(request: SipRequest): boolean {
  const isAlone = elementsOf(request.get('via')).length < 2;
  return isAlone && elementsOf(request.get('path')).length === 0;
}

function isOutboundPath(path: string): boolean {
  try {
    const { uri } = NameAddr.parse(path);
    return uri.kind === 'sip' && uri.params.has('ob');
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
}

function elementsOf(header: string | undefined): readonly string[] {
  try {
    return header === undefined ? [] : splitList(header);
  } catch (error) {
    if (error instanceof ParseError) return [];
    throw error;
  }
}

/** The same when there is none. */
function withoutRegId(register: RegisterRequest): RegisterRequest {
  const { contacts } = register;
  if (contacts === '*' || contacts.every(({ regId }) => regId === undefined)) return register;
  return { ...register, contacts: contacts.map((contact) => ({ ...contact, regId: undefined })) };
}

/**
 * All bindings with what is left of their lives; the engine reads there how long to keep the connection in mind.
 * No pub-gruu: a device that got one would put it into every Contact.
 */
function headersFor(bindings: readonly Binding[], nowMs: number): SipHeaders {
  const headers: SipHeaders = { Date: new Date(nowMs).toUTCString() };
  if (bindings.length > 0) {
    headers['Contact'] = bindings.map((binding) => contactOf(binding, nowMs)).join(', ');
  }
  return headers;
}

/**
 * RFC 5626: its reg-id was understood (section 6), and by when it should send a double CRLF (section 5.4). By UDP the
 * way through a NAT is shorter: there a device keeps to the half minute of section 4.4, with STUN. The flow of a device
 * behind a proxy ends there, and it is the proxy's to say how long it lasts.
 */
function outboundHeaders(request: SipRequest, transport: Transport): SipHeaders {
  const headers: SipHeaders = { Require: 'outbound' };
  const isOurs = transport !== 'udp' && isDirect(request);
  if (isOurs) headers['Flow-Timer'] = String(FLOW_TIMER_SECONDS);
  return headers;
}

function bracketed(uri: string): string {
  return `<${uri}>`;
}

function contactOf(binding: Binding, nowMs: number): string {
  const seconds = Math.max(1, Math.round((binding.expiresAtMs - nowMs) / 1000));
  return `<${binding.contactUri}>${binding.contactParameters};expires=${seconds}`;
}
