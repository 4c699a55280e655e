/** New requests from outside dialogs: which handler gets them, and what happens when a handler fails. */
import type { SipRequest, SipResponse } from './srf.ts';

/**
 * Handles a request or leaves it to the next handler of that method.
 *
 * @returns `false` when it is not this handler's; anything else means that it was, or will be, answered.
 * What it throws becomes the answer: the `sipStatus` of a SwitchError, else 500 and a line in the log.
 */
export type RequestHandler = (
  request: SipRequest,
  response: SipResponse,
) => Promise<boolean | undefined> | boolean | undefined;

export type Requests = {
  /**
   * Adds a handler; they are asked in the order of adding. Before the first is asked, the request has passed these:
   * not shutting down (else 503), Max-Forwards not 0 (else 483), no unknown Require (else 420), the request-URI is of
   * this domain (else 403 or 404).
   *
   * @param method - upper case
   */
  on(method: string, handler: RequestHandler): void;
  /**
   * Asks somebody whether a user can be reached now: the answer to OPTIONS (RFC 3261 section 11.2).
   * The first that does not answer `undefined` decides; nobody: 404.
   */
  onAvailability(ask: (user: string) => number | undefined): void;
};
