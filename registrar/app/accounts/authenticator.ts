/** Who sent a request: digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760) and the right to the From or To. */
import type { SipRequest, SipResponse } from '../srf.ts';
import type { Account } from './accounts.ts';

export type Authenticator = {
  /**
   * Authenticates a request from outside a dialog, and checks that From (REGISTER: To) is the account's own.
   * Asking again about the same request gives the same answer at no cost.
   *
   * @returns `undefined` when it has already answered: 401 with both challenges, 403, 400, or 503 under attack
   */
  authenticate(request: SipRequest, response: SipResponse): Promise<Account | undefined>;
};
