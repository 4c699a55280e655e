/** Textual IP addresses as they stand in SDP (RFC 8866 §9): what they are, and which of them can be sent to. */

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/u;

export function isIpv4(text: string): boolean {
  return text.length <= 15 && IPV4.test(text);
}

/** RFC 4291 §2.2, all three forms; without brackets and zone. */
export function isIpv6(text: string): boolean {
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/u.test(text)) return false;
  const halves = text.split('::');
  if (halves.length > 2) return false;
  let groups = 0;
  for (const [index, half] of halves.entries()) {
    const count = countGroups(half, index === halves.length - 1);
    if (count === undefined) return false;
    groups += count;
  }
  if (halves.length === 2) return groups <= 7;
  return groups === 8;
}

/** 16-bit groups in one side of `::`; undefined when it is malformed. A dotted quad at the end counts as two. */
function countGroups(half: string, mayEndInIpv4: boolean): number | undefined {
  if (half === '') return 0;
  const parts = half.split(':');
  let count = 0;
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && isIpv4(part)) count += 2;
    else if (/^[0-9a-fA-F]{1,4}$/u.test(part)) count += 1;
    else return undefined;
  }
  return count;
}

/** The address family of a numeric address; undefined for a host name. */
export function ipVersion(address: string): 4 | 6 | undefined {
  if (isIpv4(address)) return 4;
  return isIpv6(address) ? 6 : undefined;
}

/** `0.0.0.0` and `::`, which say "send me nothing" (RFC 3264 §8.4, the old way to hold). */
export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || /^[0:]+$/u.test(address);
}

/** Whether one host can be meant: neither unspecified, nor multicast, nor broadcast, nor a name. */
export function isUnicast(address: string): boolean {
  if (isUnspecified(address)) return false;
  if (isIpv4(address)) {
    const first = Number(address.slice(0, address.indexOf('.')));
    return first !== 0 && first < 224;
  }
  return isIpv6(address) && !/^ff/iu.test(address);
}
