/** The Reason header: why a request ends something (RFC 3326). */
import { ParseError } from '../errors.ts';
import { isToken, parseDigits, quote, splitList, trimmedSlice } from './grammar.ts';
import { Params } from './params.ts';

/** `protocol` is `SIP`, `Q.850` or another token; `cause` a status code or Q.850 cause. */
export type Reason = {
  readonly protocol: string;
  readonly cause: number | undefined;
  readonly text: string | undefined;
};

/**
 * All reasons in a header value.
 *
 * @throws ParseError `sip.reason.malformed`, `sip.param.malformed`, `sip.quoted.unterminated`
 */
export function parseReasons(value: string): Reason[] {
  return splitList(value).map(parseReason);
}

function parseReason(element: string): Reason {
  const semicolon = element.indexOf(';');
  const protocol = trimmedSlice(element, 0, semicolon < 0 ? element.length : semicolon);
  if (!isToken(protocol))
    throw new ParseError('sip.reason.malformed', 'Reason without protocol', 0);
  const params = semicolon < 0 ? Params.none : Params.parse(element, semicolon);
  const cause = parseDigits(params.get('cause') ?? '', 65_535);
  return { protocol, cause: cause === Infinity ? undefined : cause, text: params.get('text') };
}

export function formatReason(reason: Reason): string {
  const cause = reason.cause === undefined ? '' : `;cause=${reason.cause}`;
  const text = reason.text === undefined ? '' : `;text=${quote(reason.text)}`;
  return reason.protocol + cause + text;
}
