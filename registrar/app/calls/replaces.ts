/** The Replaces header (RFC 3891): whose place somebody who calls wants to take. */
import { NameAddr } from '../../../core/sip/name-addr.ts';
import type { HeaderSource } from './headers.ts';
import { headerOf } from './headers.ts';
import type { DialogNames } from './leg.ts';

export type Replaces = DialogNames & {
  /** Only a call that nobody has answered yet. */
  readonly isEarlyOnly: boolean;
};

/**
 * The to-tag is the one of the receiver, ours; the from-tag the one of the other end (RFC 3891 section 3).
 *
 * @returns undefined when it is malformed
 */
export function parseReplaces(value: string): Replaces | undefined {
  const [callId = '', ...parameters] = value.split(';').map((part) => part.trim());
  const tags = new Map<string, string>();
  for (const parameter of parameters) {
    const [name = '', ...rest] = parameter.split('=');
    const key = name.trim().toLowerCase();
    if (tags.has(key)) return undefined;
    tags.set(key, rest.join('=').trim());
  }
  const localTag = tags.get('to-tag') ?? '';
  const remoteTag = tags.get('from-tag') ?? '';
  if (callId === '' || localTag === '' || remoteTag === '') return undefined;
  return { callId, localTag, remoteTag, isEarlyOnly: tags.has('early-only') };
}

/** What names a dialog in which `local` carries our tag and `remote` the other end's. */
export function dialogNames(
  message: HeaderSource,
  local: 'From' | 'To',
  remote: 'From' | 'To',
): DialogNames | undefined {
  const callId = headerOf(message, 'Call-ID');
  const localTag = tagIn(headerOf(message, local));
  const remoteTag = tagIn(headerOf(message, remote));
  if (callId === undefined || localTag === undefined || remoteTag === undefined) return undefined;
  return { callId, localTag, remoteTag };
}

/** The tag of a From or To; undefined when it has none, or cannot be read. */
export function tagIn(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  try {
    return NameAddr.parse(value).tag;
  } catch {
    return undefined;
  }
}
