/** What an answer of an application becomes: which are refused, and what is added to those that are sent. */

import type { SipMessage } from '../../../core/sip/message.ts';
import type { Application } from '../control/applications.ts';
import { encodeResponse } from '../response.ts';
import { templateBody, templateHeaders, type HeaderLine } from '../template.ts';
import { hasOption, localised, ownContact } from '../text.ts';
import type { UasRequest } from './uas-request.ts';

const NOT_SENDABLE = 'Unknown server error sending response';
const NO_100REL = 'Remote endpoint does not support 100rel';

/** Methods whose 2xx carries our Contact (RFC 3261 §12.1.1, RFC 3311 §5.2, RFC 3515, RFC 6665 §8.3.2). */
const CONTACT_IN_SUCCESS: readonly string[] = ['INVITE', 'SUBSCRIBE', 'UPDATE', 'REFER', 'NOTIFY'];

/** An answer of an application, with the control message that brought it. */
export type Answer = {
  readonly application: Application;
  readonly requestId: string;
  readonly template: SipMessage;
};

export function isProvisional(status: number): boolean {
  return status > 100 && status < 200;
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** True for a 1xx that must be acknowledged (RFC 3262). */
export function isReliable(template: SipMessage): boolean {
  return isProvisional(template.statusCode) && hasOption(template, 'Require', '100rel');
}

/** The text with which an answer is refused that cannot be sent; `undefined` for all others. */
export function refusalOfAnswer(request: UasRequest, template: SipMessage): string | undefined {
  const { statusCode } = template;
  if (statusCode < 100 || statusCode > 699) return NOT_SENDABLE;
  // RFC 4320 §4.1: nobody may say more than 100 to other requests.
  if (isProvisional(statusCode) && !request.isInvite) return NOT_SENDABLE;
  return isReliable(template) && !supports100rel(request.message) ? NO_100REL : undefined;
}

/** The headers of a response: those of the application, and Contact where the response needs one. */
export function answerHeaders(request: UasRequest, template: SipMessage): HeaderLine[] {
  const headers = templateHeaders(template);
  const contact = contactOf(request, template);
  if (contact !== undefined) headers.unshift(['Contact', contact]);
  return headers;
}

/** The bytes of a response with these headers. */
export function encodeAnswer(
  request: UasRequest,
  template: SipMessage,
  headers: readonly HeaderLine[],
): Buffer {
  const { statusCode: status, reasonPhrase } = template;
  return encodeResponse(request.message, request.transaction.topVia, {
    status,
    reason: reasonPhrase === '' ? undefined : reasonPhrase,
    toTag: request.localTag,
    makesDialog: request.makesDialog && (isProvisional(status) || isSuccess(status)),
    headers,
    body: templateBody(template),
  });
}

function contactOf(request: UasRequest, template: SipMessage): string | undefined {
  const given = template.headerFields('Contact');
  if (given.length > 0) return localised(given.join(', '), request.hop);
  const isDue =
    isSuccess(template.statusCode) && CONTACT_IN_SUCCESS.includes(request.message.method);
  if (!isDue && !isReliable(template)) return undefined;
  // A dialog keeps the address that its other side knows.
  return request.isInDialog ? request.dialog?.localContact : ownContact(request.hop);
}

function supports100rel(request: SipMessage): boolean {
  return hasOption(request, 'Supported', '100rel') || hasOption(request, 'Require', '100rel');
}
