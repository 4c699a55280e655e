/** Whether a message that could be indexed is one that may be acted upon (RFC 3261 §8.1.3, §8.2, §16.3, §18.3). */
import { ParseError } from '../errors.ts';
import { canonicalNameOf, HEADER } from './header-names.ts';
import { DEFAULT_MESSAGE_LIMITS, type MessageLimits, type SipMessage } from './message.ts';
import type { Uri } from './uri.ts';

/** Why a message is refused. */
export type MessageProblem = {
  /** Stable name of the fault, for counters: that of the `ParseError`, or one of `sip.message.*`. */
  readonly code: string;
  /** 400, 413, 505 or 513; for a response, which is dropped in any case, it has no meaning. */
  readonly status: number;
  /** Names what is wrong, for the status line. */
  readonly reasonPhrase: string;
  /** False: drop it in silence. Responses and ACK are never answered, nor is a request without any Via. */
  readonly isAnswerable: boolean;
};

/** Each may occur once; one that occurs twice makes the message mean two things (RFC 4475 §3.3.8). */
const SINGLE_HEADERS = [
  HEADER.from,
  HEADER.to,
  HEADER.callId,
  HEADER.cseq,
  HEADER.maxForwards,
  HEADER.contentLength,
  HEADER.contentType,
  HEADER.expires,
] as const;

/** A typed accessor, and what a failure of it is called. */
type Check = readonly [name: string, read: (message: SipMessage) => unknown];

const COMMON_CHECKS: readonly Check[] = [
  ['Via', (message) => message.topVia()],
  ['From', (message) => message.from().uri],
  ['To', (message) => message.to().uri],
  ['Call-ID', (message) => message.callId],
  ['CSeq', (message) => message.cseq],
  ['Content-Length', (message) => message.contentLength],
  ['Record-Route', (message) => uris(message.recordRoutes)],
  ['Contact', (message) => uris(message.contacts)],
];

const REQUEST_CHECKS: readonly Check[] = [
  ...COMMON_CHECKS,
  ['Request-URI', (message) => message.uri],
  ['Max-Forwards', (message) => message.maxForwards],
  ['Route', (message) => uris(message.routes)],
  ['Expires', (message) => message.expires],
];

/**
 * Checks all that the engine relies on. After `undefined` no accessor of the message throws, except `vias` for what
 * stands below the top one.
 *
 * What only an application can judge is not checked: scheme of the Request-URI (416), Require (420), method (405, 501),
 * Max-Forwards 0 (483), content (415).
 */
export function validateRequest(
  message: SipMessage,
  limits: MessageLimits = DEFAULT_MESSAGE_LIMITS,
): MessageProblem | undefined {
  const fault = requestFault(message, limits);
  if (fault === undefined) return undefined;
  const isAnswerable = message.isRequest && message.method !== 'ACK' && message.has('Via');
  return { ...fault, isAnswerable };
}

/** The same for a response; a faulty one must be dropped. */
export function validateResponse(
  message: SipMessage,
  limits: MessageLimits = DEFAULT_MESSAGE_LIMITS,
): MessageProblem | undefined {
  const fault = responseFault(message, limits);
  return fault === undefined ? undefined : { ...fault, isAnswerable: false };
}

type Fault = Omit<MessageProblem, 'isAnswerable'>;

function requestFault(message: SipMessage, limits: MessageLimits): Fault | undefined {
  if (!message.isRequest) return fault('sip.message.notRequest', 'Response Where Request Expected');
  const common = commonFault(message, limits, REQUEST_CHECKS);
  if (common !== undefined) return common;
  const { uri } = message;
  if (uri.kind === 'sip' && uri.headers !== undefined) {
    return fault('sip.requesturi.headers', 'Headers in Request-URI');
  }
  if (message.cseq.method !== message.method) {
    return fault('sip.cseq.methodMismatch', 'CSeq Method Does Not Match');
  }
  // RFC 3261 §10.2: an address-of-record is a SIP or SIPS URI.
  if (message.method === 'REGISTER' && message.to().uri.kind !== 'sip') {
    return fault('sip.register.to', 'No SIP URI in To');
  }
  if (message.isContactWildcard && (message.contacts.length > 0 || message.method !== 'REGISTER')) {
    return fault('sip.contact.wildcard', 'Misplaced Contact Wildcard');
  }
  return undefined;
}

function responseFault(message: SipMessage, limits: MessageLimits): Fault | undefined {
  if (message.isRequest) return fault('sip.message.notResponse', 'Request Where Response Expected');
  if (message.statusCode < 100 || message.statusCode > 699) {
    return fault('sip.message.statusCode', 'Bad Status Code');
  }
  return commonFault(message, limits, COMMON_CHECKS);
}

function commonFault(
  message: SipMessage,
  limits: MessageLimits,
  checks: readonly Check[],
): Fault | undefined {
  if (message.version.toUpperCase() !== 'SIP/2.0') {
    return fault('sip.message.version', 'Version Not Supported', 505);
  }
  if (message.defect !== undefined) return faultOfDefect(message.defect);
  const twice = message.duplicateOf(SINGLE_HEADERS);
  if (twice !== undefined) {
    return fault('sip.header.duplicate', `More Than One ${canonicalNameOf(twice)} Header`);
  }
  return failedCheck(message, checks) ?? lengthFault(message, limits);
}

function failedCheck(message: SipMessage, checks: readonly Check[]): Fault | undefined {
  for (const [name, read] of checks) {
    try {
      read(message);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      const isMissing = error.code === 'sip.header.missing';
      const what = name === 'Request-URI' ? name : `${name} Header`;
      return fault(error.code, `${isMissing ? 'Missing' : 'Malformed'} ${what}`);
    }
  }
  return undefined;
}

/** RFC 3261 §18.3: a datagram shorter than Content-Length says is cut; a longer one is not. */
function lengthFault(message: SipMessage, limits: MessageLimits): Fault | undefined {
  const length = message.contentLength ?? message.bytesBehindHeaders;
  if (length > limits.maxBodyBytes) {
    return fault('sip.limit.bodyBytes', 'Request Entity Too Large', 413);
  }
  if (length > message.bytesBehindHeaders) {
    return fault('sip.message.cut', 'Content-Length Larger Than Message');
  }
  return undefined;
}

function faultOfDefect(defect: ParseError): Fault {
  switch (defect.code) {
    case 'sip.limit.headerBytes':
    case 'sip.limit.headerCount':
      return fault(defect.code, 'Message Too Large', 513);
    case 'sip.requestline.malformed':
      return fault(defect.code, 'Malformed Request-Line');
    case 'sip.message.truncated':
      return fault(defect.code, 'No Empty Line Behind Headers');
    case 'sip.header.strayLineEnd':
      return fault(defect.code, 'CR or LF Inside Header');
    default:
      return fault(defect.code, 'Malformed Header Line');
  }
}

function fault(code: string, reasonPhrase: string, status = 400): Fault {
  return { code, status, reasonPhrase };
}

/** Parses every URI, so that a malformed one shows now. */
function uris(addresses: SipMessage['contacts']): readonly Uri[] {
  return addresses.map((address) => address.uri);
}
