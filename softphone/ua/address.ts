/** What a person types as the one to reach, as a SIP URI; and back again. */

import { ConfigError, ParseError } from '../../core/errors.ts';
import { unquote } from '../../core/sip/grammar.ts';
import { SipUri, escapeUser, parseUri, unescape } from '../../core/sip/uri.ts';

/** The address-of-record of a nickname: `sip:bj%C3%B8rn@example.com`. */
export function aorOf(nickname: string, domain: string): string {
  return `sip:${escapeUser(nickname)}@${domain}`;
}

/**
 * The URI of a person, a room or a number: `bob`, `#turbo`, `bob@example.com`, `sip:bob@example.com`, `9000`.
 *
 * @throws ConfigError `softphone.target.malformed`
 */
export function targetUri(text: string, domain: string): string {
  const trimmed = text.trim().replace(/^<(.*)>$/, '$1');
  const malformed = new ConfigError(
    'softphone.target.malformed',
    `"${text}" is not a nickname, a room or a SIP address`,
  );
  if (trimmed === '' || /[\s"]/.test(trimmed)) throw malformed;
  const at = trimmed.lastIndexOf('@');
  let uri: string;
  if (/^sips?:/i.test(trimmed)) uri = trimmed;
  else if (at > 0) uri = `sip:${escapeUser(trimmed.slice(0, at))}${trimmed.slice(at)}`;
  else uri = aorOf(trimmed, domain);
  try {
    if (parseUri(uri) instanceof SipUri) return uri;
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
  }
  throw malformed;
}

/** The URI of a room by its name, with or without `#` (a `#` cannot stand in a URI, so `%23` does). */
export function roomUri(room: string, domain: string): string {
  if (/^sips?:/i.test(room) || room.includes('@')) return targetUri(room, domain);
  return targetUri(room.startsWith('#') ? room : `#${room}`, domain);
}

/** `lobby`, of `#lobby`, `lobby`, or the URI of either: the name under which a room is kept. */
export function roomName(text: string): string {
  return readableUser(text).replace(/^#/, '').toLowerCase();
}

/** The user part of a URI, readable: `bob`, `#turbo`; the host when there is no user, the text itself if it is no URI. */
export function readableUser(text: string): string {
  try {
    const uri = parseUri(text);
    if (uri instanceof SipUri) return uri.user === undefined ? uri.host : unescape(uri.user);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
  }
  return text;
}

/** A display name as sip.js gives it: undefined when there is none, without its quotes but with the escapes inside. */
export function readableName(displayName: string | undefined): string {
  return displayName === undefined ? '' : unquote(`"${displayName}"`);
}
