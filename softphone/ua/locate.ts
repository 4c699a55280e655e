/** Where the server is: its SRV records where the port is not given (RFC 3263 §4.2), else what was typed. */

import type { SrvRecord } from 'node:dns';
import { resolveSrv } from 'node:dns/promises';
import { isIP } from 'node:net';

export type ServerAddress = { readonly host: string; readonly port: number };

/** What is asked, and thrown; tests bring their own. */
type LocateParts = {
  readonly srv: (name: string) => Promise<readonly SrvRecord[]>;
  /** From 0 to 1, which it never is. */
  readonly random: () => number;
};

const SYSTEM: LocateParts = { srv: resolveSrv, random: Math.random };

/** In the order in which to try them; never empty. */
export async function locateServer(
  host: string,
  port: number | undefined,
  isSecure: boolean,
  { srv, random }: LocateParts = SYSTEM,
): Promise<readonly ServerAddress[]> {
  const usual = { host, port: port ?? (isSecure ? 5061 : 5060) };
  if (port !== undefined || isIP(host) !== 0 || !host.includes('.')) return [usual];
  try {
    const records = await srv(`${isSecure ? '_sips' : '_sip'}._tcp.${host}`);
    // "." as target says that the service is not there (RFC 2782).
    const present = records.filter(({ name }) => name !== '' && name !== '.');
    const found = inOrder(present, random).map(({ name, port: where }) => ({
      host: name,
      port: where,
    }));
    return found.length === 0 ? [usual] : found;
  } catch {
    // No such records, or no name server: the name itself is all there is.
    return [usual];
  }
}

/** RFC 2782: the lowest priority first; among equals by lot, a heavier one more often. */
function inOrder(records: readonly SrvRecord[], random: () => number): readonly SrvRecord[] {
  const order: SrvRecord[] = [];
  // Those without weight come first in a lot, so that they have a small chance too.
  const left = [...records].sort((a, b) => a.priority - b.priority || a.weight - b.weight);
  while (left.length > 0) {
    const equals = left.filter(({ priority }) => priority === left[0]?.priority);
    const total = equals.reduce((sum, { weight }) => sum + weight, 0);
    let lot = Math.floor(random() * (total + 1));
    const index = equals.findIndex(({ weight }) => (lot -= weight) <= 0);
    order.push(...left.splice(Math.max(0, index), 1));
  }
  return order;
}
