/** Host and port as they stand in URIs and Via: names, IPv4, IPv6 references (RFC 3261 §25.1, RFC 5118 §4). */
import { ParseError } from '../errors.ts';
import { isDigitCode, parseDigits } from './grammar.ts';

/** `host` is in lower case, IPv6 addresses without brackets. */
export type HostPort = { readonly host: string; readonly port: number | undefined };

/**
 * Parses `host[:port]`, nothing around it.
 *
 * @throws ParseError `sip.host.malformed`
 */
export function parseHostPort(text: string): HostPort {
  if (text.startsWith('[')) return parseReference(text);
  const colon = text.indexOf(':');
  const host = colon < 0 ? text : text.slice(0, colon);
  if (!isHostname(host)) throw malformed('host is no name, IPv4 address or [IPv6] reference');
  return { host: host.toLowerCase(), port: colon < 0 ? undefined : parsePort(text, colon) };
}

function parseReference(text: string): HostPort {
  const end = text.indexOf(']');
  const address = withoutThirdColon(text.slice(1, end < 0 ? undefined : end));
  if (end < 0 || !isIPv6(address)) throw malformed('brackets without an IPv6 address inside');
  if (end === text.length - 1) return { host: address.toLowerCase(), port: undefined };
  if (text.charCodeAt(end + 1) !== 0x3a) throw malformed('characters behind an IPv6 reference');
  return { host: address.toLowerCase(), port: parsePort(text, end + 1) };
}

/** RFC 5118 §4.10: the grammar of RFC 3261 puts three colons before an embedded IPv4 address; both forms must pass. */
function withoutThirdColon(address: string): string {
  const colons = address.indexOf(':::');
  return colons >= 0 && isIPv4(address.slice(colons + 3)) ? address.replace(':::', '::') : address;
}

function parsePort(text: string, colon: number): number {
  const port = parseDigits(text.slice(colon + 1), 65535);
  if (port === undefined || port > 65535) throw malformed('port is no number up to 65535');
  return port;
}

/** The host as it must be written in a URI or Via: IPv6 in brackets. */
export function formatHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

export function formatHostPort(host: string, port: number | undefined): string {
  return port === undefined ? formatHost(host) : `${formatHost(host)}:${port}`;
}

/**
 * Letters, digits, `-`, `.` and `_`; labels not empty; a single dot at the end is allowed. IPv4 addresses pass.
 * Deviation: `_` is no letter of a host name, but names with it are in use.
 */
function isHostname(host: string): boolean {
  if (host === '' || host.length > 255) return false;
  let previous = 0x2e;
  for (let i = 0; i < host.length; i++) {
    const code = host.charCodeAt(i);
    if (code === 0x2e) {
      if (previous === 0x2e) return false;
    } else if (!isLabelCode(code)) return false;
    previous = code;
  }
  return host !== '.';
}

function isLabelCode(code: number): boolean {
  const lower = code | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || isDigitCode(code) || code === 0x2d || code === 0x5f;
}

/** Dotted quad, each part 0 to 255. */
export function isIPv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every(isOctet);
}

function isOctet(text: string): boolean {
  return text.length <= 3 && (parseDigits(text, 255) ?? 256) <= 255;
}

/** RFC 4291 §2.2 text forms, without zone or brackets. */
export function isIPv6(text: string): boolean {
  const gap = text.indexOf('::');
  if (gap < 0) return countGroups(text, true) === 8;
  const head = text.slice(0, gap);
  const tail = text.slice(gap + 2);
  const before = head === '' ? 0 : countGroups(head, false);
  const after = tail === '' ? 0 : countGroups(tail, true);
  return before >= 0 && after >= 0 && before + after <= 7;
}

/** 16-bit groups in colon-separated text; -1 when one is malformed. An IPv4 tail counts for two. */
function countGroups(text: string, mayEndInIPv4: boolean): number {
  const groups = text.split(':');
  const last = groups.at(-1) ?? '';
  const hasIPv4 = mayEndInIPv4 && last.includes('.');
  if (hasIPv4 && !isIPv4(last)) return -1;
  const hex = hasIPv4 ? groups.slice(0, -1) : groups;
  return hex.every(isHexGroup) ? hex.length + (hasIPv4 ? 2 : 0) : -1;
}

function isHexGroup(text: string): boolean {
  if (text.length < 1 || text.length > 4) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const lower = code | 0x20;
    if (!isDigitCode(code) && !(lower >= 0x61 && lower <= 0x66)) return false;
  }
  return true;
}

function malformed(message: string): ParseError {
  return new ParseError('sip.host.malformed', message);
}
