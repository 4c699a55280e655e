/** What a text to a room becomes on its way to one of those present. */
import type { Account } from '../accounts/accounts.ts';
import { quote } from '../../../core/sip/grammar.ts';

/** Notices about texts, not texts: receipts (RFC 5438) and "is writing" (RFC 3994) are nothing for a whole room. */
const NOTICES: ReadonlySet<string> = new Set([
  'message/imdn+xml',
  'application/im-iscomposing+xml',
]);

export function mediaTypeOf(contentType: string | undefined): string {
  return (contentType ?? 'text/plain').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

export function isNotice(contentType: string | undefined): boolean {
  return NOTICES.has(mediaTypeOf(contentType));
}

/** The name that goes before a text, and into the display name of From. */
export function shownName(sender: Account): string {
  return sender.displayName === '' ? sender.spelling : sender.displayName;
}

/** From of a text in a room: the room, so that an answer goes there, with the sender's name. */
export function fromRoom(sender: Account, roomUri: string): string {
  return `${quote(shownName(sender))} <${roomUri}>`;
}

/**
 * The body for phones that show nothing but the body: plain text gets `Name: ` before it, anything else is left alone.
 *
 * @param encoding - Content-Encoding; encoded text cannot be prefixed
 */
export function textWithName(
  body: string,
  sender: Account,
  type: { readonly contentType: string | undefined; readonly encoding: string | undefined },
): string {
  const isPlain = mediaTypeOf(type.contentType) === 'text/plain' && type.encoding === undefined;
  return isPlain ? `${shownName(sender)}: ${body}` : body;
}
