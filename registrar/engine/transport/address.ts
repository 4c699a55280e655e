/** Numeric addresses: one text form for each, keys for tables, and how near two of them are. */

import { isIPv4, isIPv6 } from '../../../core/sip/host.ts';
import type { Endpoint } from '../seam.ts';

/** True for a dotted quad or an IPv6 address without brackets. */
export function isNumericAddress(host: string): boolean {
  return isIPv4(host) || isIPv6(host);
}

export function endpointKey(endpoint: Endpoint): string {
  return `${endpoint.address}|${endpoint.port}`;
}

/** The address as sockets write it (RFC 5952 for IPv6), so that texts of the same address are equal. */
export function canonicalAddress(address: string): string {
  if (!address.includes(':')) return address;
  const groups = ipv6Groups(address);
  const hex = groups.map((group) => group.toString(16));
  const { start, length } = longestZeroRun(groups);
  if (length < 2) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

/** The eight 16-bit groups of a valid IPv6 address. */
function ipv6Groups(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const before = groupsOf(head);
  if (tail === undefined) return before;
  const after = groupsOf(tail);
  const gap = new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0);
  return [...before, ...gap, ...after];
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let i = 0; i <= groups.length; i += 1) {
    if (groups[i] === 0) continue;
    if (i - start > best.length) best = { start, length: i - start };
    start = i + 1;
  }
  return best;
}

/**
 * How well `local` suits for talking to `remote` of the same family: the number of leading bits that they share when
 * they look like neighbours, 0 when nothing is known, negative when one is loopback and the other is not.
 */
export function nearness(local: string, remote: string): number {
  const isLocalLoopback = isLoopback(local);
  if (isLocalLoopback !== isLoopback(remote)) return -1;
  const shared = commonPrefix(bitsOf(local), bitsOf(remote));
  const isNeighbour = shared >= (local.includes(':') ? 64 : 24);
  const isPrivateNet = shared >= 16 && isPrivate(remote);
  return isNeighbour || isPrivateNet || isLocalLoopback ? shared : 0;
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

const PRIVATE_BLOCKS: readonly (readonly [block: string, length: number])[] = [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
];

/** RFC 1918, RFC 6598, RFC 4193 and link-local addresses: those that only mean something nearby. */
export function isPrivate(address: string): boolean {
  if (address.includes(':')) return /^f[cd]|^fe[89ab]/i.test(address);
  return PRIVATE_BLOCKS.some(([block, length]) => {
    return commonPrefix(bitsOf(block), bitsOf(address)) >= length;
  });
}

function bitsOf(address: string): number[] {
  return address.includes(':') ? ipv6Groups(address) : address.split('.').map(Number);
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const width = a.length === 8 ? 16 : 8;
  for (let i = 0; i < a.length; i += 1) {
    const difference = (a[i] ?? 0) ^ (b[i] ?? 0);
    if (difference !== 0) return i * width + Math.clz32(difference) - (32 - width);
  }
  return a.length * width;
}
