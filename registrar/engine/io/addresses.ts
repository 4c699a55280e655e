/** From what an operator writes ("0.0.0.0", "::", one address) to the sockets to open. */
import os from 'node:os';

/**
 * Numeric addresses to bind for one configured address. A wildcard becomes one socket per interface address, so that
 * Via and Contact always carry the address at which the peer really reaches us; IPv6 link-local ones are left out.
 */
export function expandAddress(configured: string): string[] {
  if (configured !== '0.0.0.0' && configured !== '::') return [configured];
  const family = configured === '::' ? 'IPv6' : 'IPv4';
  const addresses = Object.values(os.networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter((entry) => entry.family === family && !entry.address.toLowerCase().startsWith('fe80:'))
    .map((entry) => entry.address);
  return [...new Set(addresses)];
}
