/** The SIP text that applications send: a template, of which only what the application may decide is used. */

import { ParseError } from '../../core/errors.ts';
import {
  canonicalHeaderName,
  HEADER,
  headerIdOf,
  UNKNOWN_HEADER,
  type HeaderId,
} from '../../core/sip/header-names.ts';
import { SipMessage, type MessageLimits } from '../../core/sip/message.ts';

export type HeaderLine = readonly [name: string, value: string];

/** Content-Length of an application may count anything; the body is what follows the first empty line. */
const TEMPLATE_LIMITS: MessageLimits = {
  maxHeaderBytes: 99_999,
  maxHeaderCount: 1_000,
  maxBodyBytes: 99_999,
};

const ALWAYS_OURS: readonly HeaderId[] = [
  HEADER.via,
  HEADER.from,
  HEADER.to,
  HEADER.callId,
  HEADER.cseq,
  HEADER.route,
  HEADER.recordRoute,
  HEADER.contentLength,
  HEADER.contact,
  HEADER.maxForwards,
];
const NO_BODY = Buffer.alloc(0);
const RSEQ = headerIdOf('RSeq');
const NOT_FROM_REQUESTS = new Set<HeaderId>(ALWAYS_OURS);
const NOT_FROM_RESPONSES = new Set<HeaderId>([...ALWAYS_OURS, RSEQ]);

/** `undefined` when the text has no SIP start line. */
export function parseTemplate(text: Buffer): SipMessage | undefined {
  try {
    return SipMessage.parse(text, TEMPLATE_LIMITS);
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

export function templateBody(template: SipMessage): Buffer {
  const { bytes, bytesBehindHeaders: length } = template;
  // Even an empty view would keep the whole piece of the control connection that it is a view of.
  return length === 0 ? NO_BODY : bytes.subarray(bytes.length - length);
}

/** The headers that pass through as they are, Content-Type made up for a session description. */
export function templateHeaders(template: SipMessage): HeaderLine[] {
  const excluded = template.isRequest ? NOT_FROM_REQUESTS : NOT_FROM_RESPONSES;
  const headers: HeaderLine[] = [];
  template.forEachHeader((id, name, value) => {
    if (excluded.has(id)) return;
    headers.push([id === UNKNOWN_HEADER ? canonicalHeaderName(name) : name, value]);
  });
  if (!template.has('Content-Type') && looksLikeSdp(templateBody(template))) {
    headers.push(['Content-Type', 'application/sdp']);
  }
  return headers;
}

/** True for a body that begins `v=0`. */
export function looksLikeSdp(body: Buffer): boolean {
  return body.length >= 3 && body[0] === 0x76 && body[1] === 0x3d && body[2] === 0x30;
}

/** The start line as the application wrote it. */
export function startLineOf(text: Buffer): string {
  const end = text.indexOf('\r\n', 0, 'latin1');
  return text.toString('utf8', 0, end < 0 ? text.length : end);
}

/** The number of a CSeq value, for which applications may also give the number alone. */
export function sequenceOf(value: string | undefined): number | undefined {
  const digits = /^\s*(\d{1,10})\b/.exec(value ?? '')?.[1];
  const number = digits === undefined ? NaN : Number(digits);
  return number < 2 ** 31 ? number : undefined;
}

/** The method of a CSeq value, in upper case. */
export function sequenceMethodOf(value: string | undefined): string | undefined {
  return /^\s*\d+\s+(\S+)/.exec(value ?? '')?.[1]?.toUpperCase();
}
