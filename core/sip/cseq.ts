/** The CSeq and RAck header values (RFC 3261 §20.16, RFC 3262 §7.2). */
import { ParseError } from '../errors.ts';
import { isToken, parseDigits, skipSpace, trimmedSlice } from './grammar.ts';

/** RFC 3261 §8.1.1.5: sequence numbers are below 2^31. */
const MAX_SEQUENCE = 2 ** 31 - 1;
/** RFC 3262 §7.1: RSeq runs to 2^32 - 1. */
const MAX_RSEQ = 2 ** 32 - 1;

export type CSeq = { readonly sequence: number; readonly method: string };
export type RAck = { readonly rseq: number; readonly sequence: number; readonly method: string };

/** @throws ParseError `sip.cseq.malformed` for anything but a number below 2^31 and a method. */
export function parseCSeq(value: string): CSeq {
  const space = endOfWord(value, 0);
  const sequence = parseDigits(value.slice(0, space), MAX_SEQUENCE);
  const method = trimmedSlice(value, space, value.length);
  if (sequence === undefined || !isToken(method)) {
    throw new ParseError('sip.cseq.malformed', 'CSeq is not a number and a method', 0);
  }
  if (sequence > MAX_SEQUENCE) {
    throw new ParseError('sip.cseq.malformed', 'CSeq number is not below 2^31', 0);
  }
  return { sequence, method };
}

export function formatCSeq(cseq: CSeq): string {
  return `${cseq.sequence} ${cseq.method}`;
}

/** @throws ParseError `sip.rack.malformed` for anything but two numbers and a method. */
export function parseRAck(value: string): RAck {
  const first = endOfWord(value, 0);
  const second = endOfWord(value, skipSpace(value, first));
  const rseq = parseDigits(value.slice(0, first), MAX_RSEQ);
  const sequence = parseDigits(trimmedSlice(value, first, second), MAX_SEQUENCE);
  const method = trimmedSlice(value, second, value.length);
  const isWhole = rseq !== undefined && sequence !== undefined && isToken(method);
  if (!isWhole || rseq > MAX_RSEQ || sequence > MAX_SEQUENCE) {
    throw new ParseError('sip.rack.malformed', 'RAck is not two numbers and a method', 0);
  }
  return { rseq, sequence, method };
}

export function formatRAck(rack: RAck): string {
  return `${rack.rseq} ${rack.sequence} ${rack.method}`;
}

function endOfWord(text: string, from: number): number {
  let i = from;
  while (i < text.length && text.charCodeAt(i) !== 0x20 && text.charCodeAt(i) !== 0x09) i++;
  return i;
}
