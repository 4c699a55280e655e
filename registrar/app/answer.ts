/** What went wrong, told to the one who asked: failures as SIP responses. */
import {
  ParseError,
  ProtocolError,
  RefusedError,
  ResourceError,
  ControlError,
} from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { SipHeaders, SipResponse } from './srf.ts';

/** Seconds after which it is worth trying again when a part of ours is not there. */
const CONTROL_RETRY_SECONDS = 5;
const MAX_REASON_CHARACTERS = 120;

export type Failure = {
  readonly status: number;
  readonly reason: string;
  readonly headers: SipHeaders;
};

/** The answer for an expected failure; `undefined` for a bug of ours. */
export function failureOf(error: unknown): Failure | undefined {
  if (error instanceof ParseError) return { status: 400, reason: error.message, headers: {} };
  if (error instanceof ProtocolError || error instanceof RefusedError) {
    return { status: error.sipStatus, reason: error.message, headers: {} };
  }
  if (error instanceof ResourceError) {
    const headers = { 'Retry-After': String(error.retryAfterSeconds) };
    return { status: error.sipStatus, reason: error.message, headers };
  }
  if (error instanceof ControlError) {
    const headers = { 'Retry-After': String(CONTROL_RETRY_SECONDS) };
    return { status: 503, reason: 'Service Unavailable', headers };
  }
  return undefined;
}

/**
 * Answers a request with what went wrong, unless it has its final answer already. A bug becomes 500 with a number
 * that finds its line in the log.
 */
export function answerFailure(response: SipResponse, error: unknown, log: Log): void {
  const failure = failureOf(error);
  if (failure === undefined) {
    const reference = Math.random().toString(36).slice(2, 8);
    log.error('registrar.request.failed', () => ({ reference, error }));
    sendFinal(response, {
      status: 500,
      reason: `Server error (reference ${reference})`,
      headers: {},
    });
    return;
  }
  log.debug('registrar.request.refused', () => ({
    status: failure.status,
    reason: failure.reason,
  }));
  sendFinal(response, failure);
}

function sendFinal(response: SipResponse, { status, reason, headers }: Failure): void {
  if (response.finalResponseSent) return;
  response.send(status, plainText(reason), { headers });
}

/** A reason phrase is one line, whatever a peer has put into what we quote. */
function plainText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, MAX_REASON_CHARACTERS);
}
