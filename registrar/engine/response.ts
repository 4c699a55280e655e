/** Responses that we write: what must be copied from the request, and what is added to it (RFC 3261 §8.2.6). */

import { HEADER } from '../../core/sip/header-names.ts';
import type { SipMessage } from '../../core/sip/message.ts';
import { reasonPhraseOf } from '../../core/sip/status.ts';
import { joinMessage, restOfList } from './text.ts';

export type ResponseParts = {
  readonly status: number;
  readonly reason?: string | undefined;
  /** Added to To when the request has none. */
  readonly toTag?: string | undefined;
  /** Record-Route is copied into what makes a dialog (RFC 3261 §12.1.1). */
  readonly makesDialog?: boolean | undefined;
  /** Names in canonical spelling. */
  readonly headers?: readonly (readonly [name: string, value: string])[] | undefined;
  readonly body?: Buffer | undefined;
};

const NO_BODY = Buffer.alloc(0);

/** The bytes of a response; `topVia` stands in for the first Via value, with `received` and `rport` filled in. */
export function encodeResponse(request: SipMessage, topVia: string, parts: ResponseParts): Buffer {
  const { status, reason, toTag, makesDialog = false, headers = [], body = NO_BODY } = parts;
  let head = `SIP/2.0 ${status} ${reason ?? reasonPhraseOf(status)}\r\n`;
  let isTop = true;
  request.forEachHeader((id, name, value) => {
    switch (id) {
      case HEADER.via:
        head += isTop ? `Via: ${topVia}${restOfList(value)}\r\n` : `Via: ${value}\r\n`;
        isTop = false;
        return;
      case HEADER.to:
        head += `To: ${withTag(value, status === 100 ? undefined : toTag)}\r\n`;
        return;
      case HEADER.from:
      case HEADER.callId:
      case HEADER.cseq:
        head += `${name}: ${value}\r\n`;
        return;
      case HEADER.recordRoute:
        if (makesDialog) head += `Record-Route: ${value}\r\n`;
        return;
      default:
        if (status === 100 && name === 'Timestamp') head += `Timestamp: ${value}\r\n`;
    }
  });
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`;
  head += `Content-Length: ${body.length}\r\n\r\n`;
  return joinMessage(head, body);
}

/** A To value with our tag, unless it has one; by text, so that a To that we cannot parse is answered as well. */
export function withTag(to: string, tag: string | undefined): string {
  if (tag === undefined) return to;
  const params = to.slice(Math.max(to.lastIndexOf('>'), 0));
  return /;[ \t]*tag[ \t]*=/i.test(params) ? to : `${to};tag=${tag}`;
}
