/** Numeric addresses as the bytes that headers carry. */
import net from 'node:net';

/**
 * @param address - numeric, IPv4 or IPv6, without zone; anything else counts as the unspecified address
 * @param asIpv6 - 16 bytes, IPv4 as a mapped address (RFC 4291 section 2.5.5.2); else 4 bytes
 */
export function addressBytes(address: string, asIpv6: boolean): Buffer {
  if (net.isIPv4(address)) {
    const four = Buffer.from(address.split('.').map(Number));
    if (!asIpv6) return four;
    return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), four]);
  }
  if (!asIpv6) return Buffer.alloc(4);
  return net.isIPv6(address) ? ipv6Bytes(address) : Buffer.alloc(16);
}

function ipv6Bytes(address: string): Buffer {
  const plain = withoutDottedEnd(address.split('%', 1)[0] ?? '');
  const [head = '', tail] = plain.split('::', 2);
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const groups = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  const bytes = Buffer.alloc(16);
  groups.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  return bytes;
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => parseInt(group, 16));
}

/** `::ffff:192.0.2.1` as `::ffff:c000:201`. */
function withoutDottedEnd(address: string): string {
  const at = address.lastIndexOf(':') + 1;
  const end = address.slice(at);
  if (!net.isIPv4(end)) return address;
  const bytes = Buffer.from(end.split('.').map(Number));
  return `${address.slice(0, at)}${bytes.readUInt16BE(0).toString(16)}:${bytes.readUInt16BE(2).toString(16)}`;
}
