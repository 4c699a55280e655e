/** What several parts of the schema are made of. */
import { z } from 'zod';
import { ParseError } from '../core/errors.ts';
import { SipUri } from '../core/sip/uri.ts';

export const port = z.int().min(0).max(65535);

export const address = z.union([z.ipv4(), z.ipv6()], {
  error: 'must be a numeric IPv4 or IPv6 address',
});

/** One entry of a route set without its brackets (RFC 3261 section 20.34); strict routers are no more. */
export const routeUri = z.string().max(500).refine(isLooseRoute, {
  error: 'must be the SIP URI of a proxy with ;lr, such as sip:192.0.2.1:5060;lr',
});

export const fileName = z.string().min(1);

/** One thing that is wrong; `path` as in the file, for example `rtp.portMin`. */
export type ConfigFault = { readonly path: string; readonly message: string };

export function isSameFamily(a: string, b: string): boolean {
  return a.includes(':') === b.includes(':');
}

/** True for numeric addresses, and names, that never leave this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function isLooseRoute(text: string): boolean {
  try {
    const uri = SipUri.parse(text);
    return uri.params.has('lr') && uri.headers === undefined;
  } catch (error) {
    if (error instanceof ParseError) return false;
    throw error;
  }
}
