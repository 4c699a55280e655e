/** Texts of MESSAGE (RFC 3428): what came, whoever packed it how; and what goes out. */

import { gunzipSync, inflateSync } from 'node:zlib';
import { parseCpim } from './cpim.ts';
import type { Reply } from './requests.ts';

/** A text for a person. */
export type ReceivedText = {
  readonly text: string;
  /** The true sender, where the message says so itself (CPIM from rooms). */
  readonly fromName: string | undefined;
  readonly fromUri: string | undefined;
};

/** `silent`: understood, and nothing to show (receipts, "is typing"). `unsupported`: answer 415. */
export type ReceivedContent =
  | { readonly kind: 'text'; readonly content: ReceivedText }
  | { readonly kind: 'silent' | 'unsupported' };

/** For the Accept header of a 415. */
export const ACCEPTED_TYPES =
  'text/plain, message/cpim, message/imdn+xml, application/im-iscomposing+xml';

const MAXIMUM_BYTES = 1 << 20;

/** Reads a body; whatever is broken in it is `unsupported`, never an exception. */
export function readContent(message: {
  readonly contentType: string;
  readonly contentEncoding: string | undefined;
  readonly body: Buffer;
}): ReceivedContent {
  const type = message.contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'message/imdn+xml' || type === 'application/im-iscomposing+xml') {
    return { kind: 'silent' };
  }
  const body = decoded(message.body, message.contentEncoding);
  if (body === undefined) return { kind: 'unsupported' };
  if (type === 'message/cpim') return readCpim(body);
  if (type !== '' && !type.startsWith('text/')) return { kind: 'unsupported' };
  const content = {
    text: textOf(body, message.contentType),
    fromName: undefined,
    fromUri: undefined,
  };
  return { kind: 'text', content };
}

function readCpim(body: Buffer): ReceivedContent {
  const envelope = parseCpim(body);
  if (envelope === undefined) return { kind: 'unsupported' };
  const { text, fromName, fromUri, contentType } = envelope;
  if (/^message\/imdn/i.test(contentType)) return { kind: 'silent' };
  if (!/^text\//i.test(contentType)) return { kind: 'unsupported' };
  return { kind: 'text', content: { text, fromName, fromUri } };
}

function decoded(body: Buffer, encoding: string | undefined): Buffer | undefined {
  const name = encoding?.trim().toLowerCase() ?? 'identity';
  const options = { maxOutputLength: MAXIMUM_BYTES };
  try {
    if (name === 'deflate') return inflateSync(body, options);
    if (name === 'gzip') return gunzipSync(body, options);
  } catch {
    return undefined;
  }
  return name === 'identity' || name === '' ? body : undefined;
}

function textOf(body: Buffer, contentType: string): string {
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(contentType)?.[1] ?? 'utf-8';
  try {
    return new TextDecoder(charset).decode(body);
  } catch {
    return body.toString('utf8');
  }
}

/** Takes the `Name: ` off that rooms put before a text for phones which show nothing else. */
export function withoutSenderPrefix(text: string, senderName: string): string {
  const prefix = `${senderName}: `;
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

/** Why a text was not taken, without a full stop. */
export function textRefusal({ statusCode, reasonPhrase }: Reply): string {
  switch (statusCode) {
    case 404:
      return 'nobody has that name';
    case 413:
      return 'the text is too long';
    case 480:
      return 'nobody is there, and no more texts are kept';
    case 403:
      return 'not allowed';
    case 408:
      return 'no answer';
    default:
      return reasonPhrase === '' ? `the server says ${statusCode}` : reasonPhrase;
  }
}
