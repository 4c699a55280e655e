/** Where the server is: its SRV records where the port is not given (RFC 3263 §4.2), else what was typed. */

import { resolveSrv } from 'node:dns/promises';
import { isIP } from 'node:net';

export type ServerAddress = { readonly host: string; readonly port: number };

/** In the order in which to try them; never empty. */
export async function locateServer(
  host: string,
  port: number | undefined,
  isSecure: boolean,
): Promise<readonly ServerAddress[]> {
  const usual = { host, port: port ?? (isSecure ? 5061 : 5060) };
  if (port !== undefined || isIP(host) !== 0 || !host.includes('.')) return [usual];
  try {
    const records = await resolveSrv(`${isSecure ? '_sips' : '_sip'}._tcp.${host}`);
    const sorted = records.sort((a, b) => a.priority - b.priority || b.weight - a.weight);
    const found = sorted.map(({ name, port: where }) => ({ host: name, port: where }));
    return found.length === 0 ? [usual] : found;
  } catch {
    // No such records, or no name server: the name itself is all there is.
    return [usual];
  }
}
