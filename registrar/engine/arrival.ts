/** What can be told of a message from the network without any state: its Via, whether it begins something. */

import { ParseError } from '../../core/errors.ts';
import type { SipMessage } from '../../core/sip/message.ts';
import { METHODS } from '../../core/sip/status.ts';
import type { Via } from '../../core/sip/via.ts';
import type { Dialog } from './dialog/dialog.ts';
import { restOfList } from './text.ts';
import type { Hop } from './transport/flow.ts';

export function isKnownMethod(method: string): boolean {
  return METHODS.some((known) => known === method);
}

/** The top Via; `undefined` when it is missing or malformed, so that nothing could be answered. */
export function readVia(message: SipMessage): Via | undefined {
  try {
    return message.topVia();
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/** Begins something, as far as can be seen without looking closer: names no dialog, no transaction. */
export function isNew(message: SipMessage): boolean {
  const { method } = message;
  if (method === 'ACK' || method === 'CANCEL') return false;
  try {
    return message.toTag === undefined;
  } catch (error) {
    if (error instanceof ParseError) return true;
    throw error;
  }
}

/** As written: RFC 4475 §3.1.2.1 and §3.1.2.16 want an answer even where the Via is malformed. */
export function firstElement(value: string | undefined): string | undefined {
  return value?.slice(0, value.length - restOfList(value).length);
}

export function stampedVia(message: SipMessage, hop: Hop): string | undefined {
  return readVia(message)?.withReceived(hop.remote.address, hop.remote.port, true).toString();
}

export function isLastNotify(message: SipMessage, dialog: Dialog): boolean {
  if (message.method !== 'NOTIFY' || dialog.kind !== 'subscribe') return false;
  return /^\s*terminated/i.test(message.header('Subscription-State') ?? '');
}

export function statusOfBrokenStream(code: string): number {
  if (code === 'sip.limit.bodyBytes') return 413;
  return code === 'sip.limit.headerBytes' ? 513 : 400;
}
