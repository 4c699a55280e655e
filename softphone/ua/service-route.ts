/** Service-Route: the way that the registrar wants requests of a registered phone to take (RFC 3608). */

import { ParseError } from '../../core/errors.ts';
import { splitList } from '../../core/sip/grammar.ts';
import { NameAddr } from '../../core/sip/name-addr.ts';
import type { Reply } from './requests.ts';

const MAX_CHARACTERS = 2048;

/**
 * Reads the answer to a registration (RFC 3608 section 5).
 *
 * @returns the route set for requests outside of dialogs, all of it in one value, since sip.js copies only the first
 *   one into its ACK; empty when there is none, or when it cannot be used: then requests go the way they went before
 */
export function serviceRouteOf(reply: Reply): string[] {
  const written = reply.headers('service-route').join(', ');
  if (written.trim() === '' || written.length > MAX_CHARACTERS) return [];
  try {
    const routes = splitList(written);
    return routes.length > 0 && routes.every(isLooseRoute) ? [routes.join(', ')] : [];
  } catch (error) {
    if (error instanceof ParseError) return [];
    throw error;
  }
}

/** Section 5: `lr` must be there. sip.js could not write the request for a strict router. */
function isLooseRoute(route: string): boolean {
  const { uri } = NameAddr.parse(route);
  return uri.kind === 'sip' && uri.params.has('lr');
}
