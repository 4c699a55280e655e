/** How a failure inside the switch is told to a phone. */
import {
  ControlError,
  ParseError,
  ProtocolError,
  RefusedError,
  ResourceError,
} from '../../../core/errors.ts';
import type { Refusal } from './checks.ts';
import { warning } from './headers.ts';

const WARNING_INCOMPATIBLE_FORMAT = 305;
const WARNING_MEDIA_TYPE = 304;
const WARNING_MISCELLANEOUS = 399;

/** @returns undefined when the failure is none of the declared ones: our own bug, to be logged and answered with 500 */
export function refusalOf(error: unknown, domain: string): Refusal | undefined {
  if (error instanceof ResourceError) {
    return { status: 503, headers: { 'Retry-After': String(error.retryAfterSeconds) } };
  }
  if (error instanceof ControlError) return { status: 503, headers: { 'Retry-After': '5' } };
  if (error instanceof ParseError) {
    return { status: 400, headers: warning(WARNING_MISCELLANEOUS, domain, error.message) };
  }
  if (error instanceof ProtocolError || error instanceof RefusedError) {
    const { sipStatus: status, code, message } = error;
    return { status, headers: warning(warningCode(status, code), domain, message) };
  }
  return undefined;
}

function warningCode(status: number, code: string): number {
  if (status !== 488) return WARNING_MISCELLANEOUS;
  return code === 'sdp.audio.missing' ? WARNING_MEDIA_TYPE : WARNING_INCOMPATIBLE_FORMAT;
}
