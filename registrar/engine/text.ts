/** SIP text as the engine writes it: received messages for applications, and the pieces of what we send. */

import { HEADER } from '../../core/sip/header-names.ts';
import { formatHostPort } from '../../core/sip/host.ts';
import type { SipMessage } from '../../core/sip/message.ts';
import { NameAddr } from '../../core/sip/name-addr.ts';
import { ParseError } from '../../core/errors.ts';
import type { Transport } from './seam.ts';
import type { Hop } from './transport/flow.ts';

/** `localhost` where a host stands: behind the user part, or behind the scheme. */
const LOCALHOST = /(?<=@|sips?:)localhost(?![\w.:@-])/;

/** What we call ourselves where an application did not say, until the way out is known. */
export const OWN_ADDRESS = '<sip:localhost>';

/**
 * A copy in memory of its own. What is kept for long must not be a piece of what was read, or of the pool that small
 * buffers are cut from: it would keep all of that.
 */
export function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Joins a head, which ends with its empty line, and a body. */
export function joinMessage(head: string, body: Buffer): Buffer {
  const headBytes = Buffer.byteLength(head, 'utf8');
  const bytes = Buffer.allocUnsafe(headBytes + body.length);
  bytes.write(head, 0, headBytes, headBytes === head.length ? 'latin1' : 'utf8');
  if (body.length > 0) bytes.set(body, headBytes);
  return bytes;
}

/**
 * A received message for an application: header names in canonical spelling, lines unfolded, the top Via as given
 * (with `received` and `rport` filled in), and a Content-Length wherever there is a body.
 */
export function encodeReceived(message: SipMessage, topVia: string | undefined): Buffer {
  let head = message.isRequest
    ? `${message.method} ${message.requestUri} SIP/2.0\r\n`
    : `SIP/2.0 ${message.statusCode} ${message.reasonPhrase}\r\n`;
  let isViaDue = topVia !== undefined;
  const { body } = message;
  message.forEachHeader((id, name, value) => {
    if (id === HEADER.contentLength) return;
    if (id === HEADER.via && isViaDue) {
      isViaDue = false;
      head += `Via: ${topVia ?? ''}${restOfList(value)}\r\n`;
      return;
    }
    head += `${name}: ${value}\r\n`;
  });
  head += `Content-Length: ${body.length}\r\n\r\n`;
  return joinMessage(head, body);
}

/** A received response on its way on: without the top Via, which was ours (RFC 3261 §16.7 step 3). */
export function encodeForwardedResponse(message: SipMessage): Buffer {
  let head = `SIP/2.0 ${message.statusCode} ${message.reasonPhrase}\r\n`;
  let isTop = true;
  const { body } = message;
  message.forEachHeader((id, name, value) => {
    if (id === HEADER.contentLength) return;
    if (id === HEADER.via && isTop) {
      isTop = false;
      const rest = restOfList(value).slice(1).trim();
      if (rest !== '') head += `Via: ${rest}\r\n`;
      return;
    }
    head += `${name}: ${value}\r\n`;
  });
  head += `Content-Length: ${body.length}\r\n\r\n`;
  return joinMessage(head, body);
}

/** Everything behind the first element of a Via line, comma included; Via values cannot hold a quoted comma. */
export function restOfList(value: string): string {
  const comma = value.indexOf(',');
  return comma < 0 ? '' : value.slice(comma);
}

/** The transport as Via writes it. */
export function viaTransport(transport: Transport): string {
  return transport.toUpperCase();
}

/** A Via value of our own (RFC 3261 §18.1.1); `rport` only where there is a port to find out. */
export function ownVia(hop: Hop, branch: string): string {
  const rport = hop.transport === 'udp' ? ';rport' : '';
  const sentBy = formatHostPort(hop.local.address, hop.local.port);
  return `SIP/2.0/${viaTransport(hop.transport)} ${sentBy}${rport};branch=${branch}`;
}

/** `;transport=tcp` and its like; UDP is what a URI without it means. */
export function transportParam(transport: Transport): string {
  switch (transport) {
    case 'udp':
      return '';
    case 'tcp':
    case 'tls':
      return `;transport=${transport}`;
    case 'ws':
    case 'wss':
      // RFC 7118 §5.2.2: the one name of both in URIs; only Via tells them apart.
      return ';transport=ws';
  }
}

/** The Contact that leads back to the socket of this hop. */
export function ownContact(hop: Hop): string {
  return `<sip:${formatHostPort(hop.local.address, hop.local.port)}${transportParam(hop.transport)}>`;
}

/** A Route value that leads through the socket of this hop. */
export function ownRoute(hop: Hop): string {
  return `<sip:${formatHostPort(hop.local.address, hop.local.port)}${transportParam(hop.transport)};lr>`;
}

/** Replaces the host `localhost` by our own address on this hop; other parameters stay. */
export function localised(value: string, hop: Hop): string {
  if (!value.includes('localhost')) return value;
  const at = value.search(LOCALHOST);
  if (at < 0) return value;
  const end = at + 'localhost'.length;
  const hostPort = formatHostPort(hop.local.address, hop.local.port);
  const close = value.indexOf('>', end);
  const uriRest = value.slice(end, close < 0 ? undefined : close);
  const transport = /;transport=/i.test(uriRest) ? '' : transportParam(hop.transport);
  if (close >= 0) return `${value.slice(0, at)}${hostPort}${transport}${value.slice(end)}`;
  // Without brackets, what follows the first semicolon belongs to the header and not to the URI.
  return `<${value.slice(0, at)}${hostPort}${transport}>${value.slice(end)}`;
}

/** An address header with angle brackets, as other phones need it; unchanged when it is not understood. */
export function bracketed(value: string): string {
  if (value.includes('<')) return value;
  try {
    return NameAddr.parse(value).toString();
  } catch (error) {
    if (error instanceof ParseError) return value;
    throw error;
  }
}

/** The tag of a From or To value; `undefined` when there is none or the value is malformed. */
export function tagOf(value: string): string | undefined {
  try {
    return NameAddr.parse(value).tag;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/** True when a comma list of option tags names this one. */
export function hasOption(message: SipMessage, header: string, option: string): boolean {
  return message.headerValues(header).some((value) => value.toLowerCase() === option);
}
