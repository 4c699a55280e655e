/** Which header fields pass through the switch from one dialog to the other, and in what form. */
import { quote, splitList } from '../../../core/sip/grammar.ts';
import type { SipHeaders } from '../srf.ts';

/** All of a message that copying looks at. */
export type HeaderSource = { get(name: string): string | undefined };

/*
 * Lists of what passes, never of what does not: Via, Contact, User-Agent, X-RTP-Stat and their like tell where a
 * device is, and Alert-Info, Call-Info and Answer-Mode make phones answer by themselves.
 */

/** From the caller's INVITE to the devices of the callee. */
export const INVITE_HEADERS = [
  'Subject',
  'Priority',
  'Date',
  'Organization',
  'In-Reply-To',
  'Accept-Language',
] as const;

/** From any request inside the dialog. */
export const DIALOG_REQUEST_HEADERS = [
  'Subject',
  'Priority',
  'Date',
  'Reason',
  'Event',
  'Subscription-State',
  'Info-Package',
  'Refer-Sub',
  'Content-Type',
  'Content-Encoding',
  'Content-Disposition',
  'Content-Language',
  'MIME-Version',
] as const;

/** Those that describe the body of a MESSAGE, and what its sender says about it. */
export const MESSAGE_HEADERS = [
  'Content-Type',
  'Content-Encoding',
  'Content-Disposition',
  'Content-Language',
  'MIME-Version',
  'Subject',
  'Priority',
  'Date',
  'In-Reply-To',
  'Organization',
] as const;

const RESPONSE_HEADERS = [
  'Reason',
  'Retry-After',
  'Accept',
  'Accept-Encoding',
  'Accept-Language',
  'Unsupported',
  'Refer-Sub',
] as const;

const RESPONSE_BODY_HEADERS = [
  'Content-Type',
  'Content-Encoding',
  'Content-Disposition',
  'Content-Language',
] as const;

/** drachtio-srf expands some compact forms only, and one of them wrongly. */
const COMPACT: Readonly<Record<string, string>> = {
  'content-encoding': 'contact-encoding',
  event: 'o',
  'refer-to': 'r',
  'referred-by': 'b',
  'session-expires': 'x',
};

/** The value of a header on one line, whichever way its name was written. */
export function headerOf(message: HeaderSource, name: string): string | undefined {
  const compact = COMPACT[name.toLowerCase()];
  const value = message.get(name) ?? (compact === undefined ? undefined : message.get(compact));
  return value?.replace(/\s*[\r\n]+\s*/g, ' ').trim();
}

/** Whether a list of tokens, such as that of Allow or Supported, has this one; cases are the same. */
export function listsToken(list: string | undefined, token: string): boolean {
  const wanted = token.toLowerCase();
  return list?.split(',').some((element) => element.trim().toLowerCase() === wanted) ?? false;
}

/** Those of `names` that the message has. */
export function copied(message: HeaderSource, names: readonly string[]): SipHeaders {
  const headers: SipHeaders = {};
  for (const name of names) {
    const value = headerOf(message, name);
    if (value !== undefined && value !== '') headers[name] = value;
  }
  return headers;
}

/**
 * What passes from a device's answer: Reason and the fields that say how to do better; the device's address in a
 * Warning becomes the domain. The Contact passes only in a redirection, where it is the message.
 */
export function responseHeaders(
  response: HeaderSource & { readonly status: number; readonly body?: string | undefined },
  domain: string,
): SipHeaders {
  const headers = copied(response, RESPONSE_HEADERS);
  const warning = headerOf(response, 'Warning');
  if (warning !== undefined) Object.assign(headers, rewrittenWarning(warning, domain));
  if (response.status >= 300 && response.status < 400) {
    Object.assign(headers, copied(response, ['Contact']));
  }
  if (response.body !== undefined && response.body !== '') {
    Object.assign(headers, copied(response, RESPONSE_BODY_HEADERS));
  }
  return headers;
}

/** RFC 3261 section 20.43: code, who warns, text. */
export function warning(code: number, domain: string, text: string): SipHeaders {
  return { Warning: `${code} ${domain} ${quote(text)}` };
}

/** RFC 3326. */
export function reason(cause: number, text: string): SipHeaders {
  return { Reason: `SIP;cause=${cause};text=${quote(text)}` };
}

/** The `text` of a Reason header, or all of it when it has none; for the call record. */
export function reasonText(value: string | undefined): string {
  if (value === undefined) return '';
  return /text="((?:[^"\\]|\\.)*)"/.exec(value)?.[1]?.replace(/\\(.)/g, '$1') ?? value;
}

function rewrittenWarning(value: string, domain: string): SipHeaders {
  const warnings: string[] = [];
  for (const element of safeList(value)) {
    const [, code, text] = /^(\d{3}) +[^\s"]+ +(".*")$/.exec(element) ?? [];
    if (code !== undefined && text !== undefined) warnings.push(`${code} ${domain} ${text}`);
  }
  return warnings.length === 0 ? {} : { Warning: warnings.join(', ') };
}

function safeList(value: string): readonly string[] {
  try {
    return splitList(value);
  } catch {
    return [];
  }
}
