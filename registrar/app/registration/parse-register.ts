/** A REGISTER as data: its Contacts and lifetimes, checked (RFC 3261 sections 10.3, 20.10, 20.19; RFC 5626 section 4.1). */
import { ParseError, ProtocolError } from '../../../core/errors.ts';
import { parseCSeq } from '../../../core/sip/cseq.ts';
import { parseDigits, splitList } from '../../../core/sip/grammar.ts';
import { NameAddr } from '../../../core/sip/name-addr.ts';
import type { Params } from '../../../core/sip/params.ts';
import type { RegisteredContact, RegisterRequest } from '../location/update-bindings.ts';
import type { SipRequest } from '../srf.ts';
import { transportOf } from '../transport.ts';

const MAX_CONTACTS = 10;
const MAX_CONTACT_CHARACTERS = 1024;
const MAX_PATH_CHARACTERS = 2048;
const MAX_USER_AGENT_CHARACTERS = 200;
/** RFC 3261 section 20.19: what a lifetime that cannot be read means. */
const UNREADABLE_EXPIRES_SECONDS = 3600;
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * @param nickname - of the account that was authenticated
 * @throws ProtocolError 400 which names the header and what is wrong with it
 */
export function parseRegister(request: SipRequest, nickname: string): RegisterRequest {
  return {
    nickname,
    contacts: contactsOf(request.get('contact')),
    expiresSeconds: lifetimeOf(request.get('expires')),
    callId: needed(request, 'call-id'),
    cseq: naming('CSeq', () => parseCSeq(needed(request, 'cseq'))).sequence,
    userAgent: request.get('user-agent')?.slice(0, MAX_USER_AGENT_CHARACTERS),
    path: pathOf(request),
    sourceAddress: request.source_address,
    sourcePort: request.source_port,
    transport: transportOf(request.protocol),
  };
}

function contactsOf(header: string | undefined): RegisterRequest['contacts'] {
  if (header === undefined || header.trim() === '') return [];
  if (header.trim() === '*') return '*';
  return naming('Contact', () => {
    const elements = splitList(header);
    if (elements.length > MAX_CONTACTS) throw malformed('Contact', 'too many of them');
    return elements.map(contactOf);
  });
}

/**
 * The proxies between the device and us, as they wrote them (RFC 3327 section 5.3); how many Vias there are says nothing
 * of them, since some keep those to themselves.
 */
function pathOf(request: SipRequest): string | undefined {
  const written = request.get('path') ?? '';
  return naming('Path', () => {
    if (written.length > MAX_PATH_CHARACTERS) throw malformed('Path', 'too long');
    const proxies = splitList(written.trim());
    for (const proxy of proxies) {
      if (NameAddr.parse(proxy).uri.kind !== 'sip') throw malformed('Path', 'not a SIP URI');
    }
    return proxies.length === 0 ? undefined : proxies.join(', ');
  });
}

function contactOf(element: string): RegisteredContact {
  if (element === '*') throw malformed('Contact', '* beside others');
  if (element.length > MAX_CONTACT_CHARACTERS) throw malformed('Contact', 'too long');
  const { uri, params } = NameAddr.parse(element);
  if (uri.kind !== 'sip') throw malformed('Contact', 'not a SIP URI');
  return {
    uri,
    parameters: params.without('expires').toString(),
    expiresSeconds: params.has('expires') ? lifetimeOf(params.get('expires')) : undefined,
    q: qualityOf(params),
    instanceId: params.get('+sip.instance'),
    regId: regIdOf(params),
  };
}

function regIdOf(params: Params): number | undefined {
  const written = params.get('reg-id');
  if (written === undefined) return undefined;
  const regId = parseDigits(written, MAX_UINT32);
  if (regId === undefined || regId < 1 || regId > MAX_UINT32) {
    throw malformed('Contact', 'reg-id that is not a number above 0');
  }
  return regId;
}

function qualityOf(params: Params): number {
  const written = params.get('q');
  if (written === undefined) return 1;
  if (!/^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(written)) {
    throw malformed('Contact', 'q that is not between 0 and 1');
  }
  return Number(written);
}

function lifetimeOf(written: string | undefined): number | undefined {
  if (written === undefined) return undefined;
  return Math.min(
    parseDigits(written.trim(), MAX_UINT32) ?? UNREADABLE_EXPIRES_SECONDS,
    MAX_UINT32,
  );
}

function needed(request: SipRequest, name: string): string {
  const value = request.get(name);
  if (value === undefined || value === '') throw malformed(name, 'missing');
  return value;
}

/** Parse errors speak of what they parsed; the answer has to say where that stood. */
function naming<T>(header: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ParseError) throw malformed(header, error.message);
    throw error;
  }
}

function malformed(header: string, what: string): ProtocolError {
  return new ProtocolError('registration.malformed', `Bad ${header}: ${what}`, 400);
}
