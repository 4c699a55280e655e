/** One Via header value (RFC 3261 §20.42, RFC 3581, RFC 5118 §4.5). */
import { ParseError } from '../errors.ts';
import { isTokenCode, parseDigits, skipSpace, trimmedSlice } from './grammar.ts';
import { formatHostPort, parseHostPort } from './host.ts';
import { Params } from './params.ts';

/** Branches with this beginning are unique and identify a transaction by themselves (RFC 3261 §8.1.1.7). */
export const BRANCH_COOKIE = 'z9hG4bK';

/** Immutable. `transport` is in upper case; `host` in lower case, IPv6 without brackets. */
export class Via {
  readonly transport: string;
  readonly host: string;
  readonly port: number | undefined;
  readonly params: Params;

  constructor(transport: string, host: string, port: number | undefined, params: Params) {
    this.transport = transport;
    this.host = host;
    this.port = port;
    this.params = params;
  }

  /** @throws ParseError `sip.via.malformed`, `sip.host.malformed`, `sip.param.malformed` */
  static parse(value: string): Via {
    let i = expectWord(value, 0, 'SIP');
    i = expectSlash(value, i);
    i = expectWord(value, i, '2.0');
    i = expectSlash(value, i);
    const transportEnd = endOfToken(value, i);
    if (transportEnd === i) throw malformed('Via without transport', i);
    const transport = value.slice(i, transportEnd).toUpperCase();
    const hostStart = skipSpace(value, transportEnd);
    if (hostStart === transportEnd) throw malformed('Via without space behind the transport', i);
    const semicolon = value.indexOf(';', hostStart);
    const hostEnd = semicolon < 0 ? value.length : semicolon;
    const { host, port } = parseSentBy(trimmedSlice(value, hostStart, hostEnd));
    const params = semicolon < 0 ? Params.none : Params.parse(value, semicolon);
    return new Via(transport, host, port, params);
  }

  /** `''` when there is none, as in requests of RFC 2543. */
  get branch(): string {
    return this.params.get('branch') ?? '';
  }

  /** True when the branch alone names the transaction (RFC 3261 §17.2.3). */
  get hasCookie(): boolean {
    return this.branch.startsWith(BRANCH_COOKIE) && this.branch.length > BRANCH_COOKIE.length;
  }

  /** The address that the request came from, without brackets (RFC 5118 §4.5 allows both forms). */
  get received(): string | undefined {
    const value = this.params.get('received');
    return value?.startsWith('[') === true ? value.slice(1, -1) : value;
  }

  /** True when the sender asks for RFC 3581 symmetric response routing, with or without a value yet. */
  get hasRport(): boolean {
    return this.params.has('rport');
  }

  /** The port that the request came from; `undefined` when not filled in, or nonsense. */
  get rport(): number | undefined {
    const port = parseDigits(this.params.get('rport') ?? '', 65535);
    return port === undefined || port > 65535 ? undefined : port;
  }

  /**
   * A copy that notes where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4): `rport` is filled in when
   * asked for or when `isRportForced`; `received` is added then, and whenever the address differs from sent-by.
   */
  withReceived(address: string, port: number, isRportForced = false): Via {
    const fillsRport = this.hasRport || isRportForced;
    let params = this.params.without('received');
    if (fillsRport) params = params.with('rport', String(port));
    if (fillsRport || this.host !== address.toLowerCase()) {
      params = params.with('received', address);
    }
    return params === this.params ? this : new Via(this.transport, this.host, this.port, params);
  }

  toString(): string {
    return `SIP/2.0/${this.transport} ${formatHostPort(this.host, this.port)}${this.params.toString()}`;
  }
}

/** RFC 4475 §3.1.1.1 has white space around the colon of sent-by. */
function parseSentBy(text: string): { host: string; port: number | undefined } {
  const colon = text.lastIndexOf(':');
  const isPlain = colon < 0 || text.endsWith(']');
  if (isPlain) return parseHostPort(text);
  const host = trimmedSlice(text, 0, colon);
  const port = trimmedSlice(text, colon + 1, text.length);
  return parseHostPort(`${host}:${port}`);
}

function expectWord(value: string, from: number, word: string): number {
  const end = from + word.length;
  if (!value.startsWith(word, from) && value.slice(from, end).toUpperCase() !== word) {
    throw malformed('Via does not begin with SIP/2.0', from);
  }
  return end;
}

function expectSlash(value: string, from: number): number {
  const slash = skipSpace(value, from);
  if (value.charCodeAt(slash) !== 0x2f) throw malformed('Via does not begin with SIP/2.0/', from);
  return skipSpace(value, slash + 1);
}

function endOfToken(value: string, from: number): number {
  let i = from;
  while (i < value.length && isTokenCode(value.charCodeAt(i))) i++;
  return i;
}

function malformed(message: string, offset: number): ParseError {
  return new ParseError('sip.via.malformed', message, offset);
}
