/** Reads a session description (RFC 8866) that comes from the network, and refuses what it cannot vouch for. */

import { parse as transform } from 'sdp-transform';
import { ParseError } from '../errors.ts';
import { ipVersion, isUnspecified } from './address.ts';
import { staticFormat } from './payload-formats.ts';
import type { PayloadFormat } from './payload-formats.ts';
import { canSend, directionOf, DIRECTIONS, isProfile } from './session-description.ts';
import type {
  Direction,
  MediaDescription,
  Origin,
  SessionDescription,
} from './session-description.ts';

/** Far beyond what any phone or browser sends; hostile input ends here. */
const MAX_LENGTH = 65_536;
const MAX_LINES = 2000;
const MAX_LINE_LENGTH = 4096;
const MAX_MEDIA = 64;
const MAX_FORMATS = 128;

/** Only these lines go through sdp-transform: nothing with an expensive pattern, nothing that we do not read. */
const READ_ATTRIBUTE =
  /^a=(?:rtpmap:|fmtp:|ptime:|maxptime:|rtcp:|rtcp-mux$|sendrecv$|sendonly$|recvonly$|inactive$)/u;

const TOKEN = /^[!#-'*+\-.0-9A-Z^_`a-z{|}~]+$/u;

/**
 * Parses one description. Lines may end in CRLF, LF or CR; unknown lines and attributes are kept in `lines`.
 *
 * @throws ParseError `sdp.*`, with the line's offset in characters, when version, origin, an address, a port, a
 * payload type or a size is not what RFC 8866 and RFC 3550 allow; SIP answers it with 400
 */
export function parseSessionDescription(text: string): SessionDescription {
  const { lines, offsets } = splitLines(text);
  const starts: number[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('m=')) starts.push(index);
  }
  if (starts.length > MAX_MEDIA) {
    throw new ParseError('sdp.size', `${starts.length} media sections, more than ${MAX_MEDIA}`);
  }
  const sessionLines = lines.slice(0, starts[0] ?? lines.length);
  const origin = readOrigin(sessionLines, offsets);
  const session: SessionDefaults = {
    address: readConnection(sessionLines, offsets[0] ?? 0),
    direction: lastDirection(sessionLines),
  };
  const media = starts.map((start, index) => {
    const section = lines.slice(start, starts[index + 1] ?? lines.length);
    return readMedia(section, session, offsets[start] ?? 0);
  });
  return { origin, media, lines: sessionLines };
}

type SessionDefaults = {
  readonly address: string | undefined;
  readonly direction: Direction | undefined;
};

function splitLines(text: string): { lines: string[]; offsets: number[] } {
  if (text.length > MAX_LENGTH) {
    throw new ParseError('sdp.size', `SDP of ${text.length} characters, more than ${MAX_LENGTH}`);
  }
  const lines: string[] = [];
  const offsets: number[] = [];
  let offset = 0;
  for (const line of text.split(/\r\n|\n|\r/u)) {
    if (line !== '') {
      checkLine(line, offset);
      lines.push(line);
      offsets.push(offset);
    }
    offset = Math.min(text.length, offset + line.length);
    offset += text.startsWith('\r\n', offset) ? 2 : 1;
    if (lines.length > MAX_LINES) {
      throw new ParseError('sdp.size', `more than ${MAX_LINES} lines`, offset);
    }
  }
  return { lines, offsets };
}

function checkLine(line: string, offset: number): void {
  if (line.length > MAX_LINE_LENGTH) {
    throw new ParseError('sdp.size', `a line of ${line.length} characters`, offset);
  }
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (!/^[a-z]=/u.test(line) || /[\u0000-\u0008\u000b-\u001f]/u.test(line)) {
    throw new ParseError('sdp.line', 'a line that is not <letter>=<text>', offset);
  }
}

const ORIGIN = /^o=(\S+) (\d{1,40}) (\d{1,40}) IN (IP[46]) (\S+)$/u;

function readOrigin(lines: readonly string[], offsets: readonly number[]): Origin {
  if (lines[0] !== 'v=0') throw new ParseError('sdp.version', 'SDP does not begin with v=0', 0);
  const [, username, sessionId, sessionVersion, addressType, address] =
    ORIGIN.exec(lines[1] ?? '') ?? [];
  if (username === undefined || sessionId === undefined || sessionVersion === undefined) {
    throw new ParseError('sdp.origin', 'the second line is not a whole o= line', offsets[1]);
  }
  if (address === undefined || !isAddress(addressType, address)) {
    throw new ParseError('sdp.origin', 'the o= line has no valid address', offsets[1]);
  }
  return { username, sessionId, sessionVersion, address };
}

/** An address of the family that stands before it, or a host name. */
function isAddress(addressType: string | undefined, address: string | undefined): boolean {
  if (address === undefined || (addressType !== 'IP4' && addressType !== 'IP6')) return false;
  const version = ipVersion(address);
  if (version !== undefined) return version === (addressType === 'IP4' ? 4 : 6);
  const looksNumeric = /^[\d.]+$/u.test(address) || address.includes(':');
  return !looksNumeric && /^[A-Za-z0-9._-]{1,253}$/u.test(address);
}

/** The address of the section's `c=` line, without TTL or count; undefined when there is none. */
function readConnection(lines: readonly string[], offset: number): string | undefined {
  const line = lines.find((candidate) => candidate.startsWith('c='));
  if (line === undefined) return undefined;
  const fields = line.slice(2).trim().split(' ');
  const [networkType, addressType, full] = fields;
  const address = full?.split('/', 1)[0];
  if (networkType !== 'IN' || fields.length !== 3 || !isAddress(addressType, address)) {
    throw new ParseError('sdp.connection', 'a c= line without a valid address', offset);
  }
  return address;
}

function lastDirection(lines: readonly string[]): Direction | undefined {
  return DIRECTIONS.find((direction) => lines.includes(`a=${direction}`));
}

type MediaLine = Pick<MediaDescription, 'kind' | 'port' | 'profile' | 'formats'>;

const MEDIA = /^m=([\w!#$%&'*+.^`{|}~-]+) (\d{1,5})(?:\/\d{1,3})? ([\w/.+-]{1,40}) (\S.*)$/u;

function readMediaLine(line: string, offset: number): MediaLine {
  const [, kind, portText, profile, formatText] = MEDIA.exec(line) ?? [];
  const port = Number(portText);
  if (kind === undefined || profile === undefined || formatText === undefined || port > 65_535) {
    throw new ParseError('sdp.media', 'an m= line that is not whole', offset);
  }
  const formats = formatText.trim().split(/ +/u);
  if (formats.length > MAX_FORMATS) {
    throw new ParseError('sdp.size', `more than ${MAX_FORMATS} formats in an m= line`, offset);
  }
  return { kind, port, profile, formats };
}

function readMedia(
  lines: readonly string[],
  session: SessionDefaults,
  offset: number,
): MediaDescription {
  const mediaLine = readMediaLine(lines[0] ?? '', offset);
  const address = readConnection(lines, offset) ?? session.address;
  if (address === undefined && mediaLine.port !== 0) {
    throw new ParseError('sdp.connection', 'a media section without an address', offset);
  }
  const isHeldByAddress = address !== undefined && isUnspecified(address);
  const wanted = lastDirection(lines) ?? session.direction ?? 'sendrecv';
  const attributes = readAttributes(lines);
  return {
    ...mediaLine,
    address,
    payloads: isProfile(mediaLine.profile)
      ? readPayloads(mediaLine.formats, attributes, offset)
      : [],
    direction: isHeldByAddress ? directionOf(canSend(wanted), false) : wanted,
    isHeldByAddress,
    isRtcpMux: attributes.rtcpMux !== undefined,
    rtcp: readRtcp(attributes, mediaLine.port, offset),
    ptimeMs: readMilliseconds(attributes.ptime),
    maxPtimeMs: readMilliseconds(attributes.maxptime),
    lines,
  };
}

type Attributes = ReturnType<typeof transform>['media'][number];

function readAttributes(lines: readonly string[]): Attributes {
  const read = lines.filter((line) => READ_ATTRIBUTE.test(line));
  const [attributes] = transform(`m=audio 9 RTP/AVP 0\r\n${read.join('\r\n')}\r\n`).media;
  return attributes ?? { rtp: [], fmtp: [] };
}

/** The first `a=fmtp` of each payload type. */
function readParameters({ fmtp }: Attributes): ReadonlyMap<number, string> {
  const parameters = new Map<number, string>();
  for (const { payload, config } of fmtp) {
    const isText = typeof config === 'string' || typeof config === 'number';
    if (typeof payload === 'number' && isText && !parameters.has(payload)) {
      parameters.set(payload, String(config));
    }
  }
  return parameters;
}

function readPayloads(
  formats: readonly string[],
  attributes: Attributes,
  offset: number,
): PayloadFormat[] {
  const parameters = readParameters(attributes);
  const mapped = new Map<number, PayloadFormat>();
  for (const { payload, codec, rate, encoding } of attributes.rtp) {
    const format = readFormat(payload, codec, rate, encoding);
    if (format === undefined || mapped.has(format.payloadType)) continue;
    const { payloadType } = format;
    mapped.set(payloadType, { ...format, parameters: parameters.get(payloadType) });
  }
  const payloads: PayloadFormat[] = [];
  for (const text of new Set(formats)) {
    const type = /^\d{1,3}$/u.test(text) ? Number(text) : 128;
    if (type > 127) {
      throw new ParseError('sdp.payload-type', 'a payload type that is not 0 to 127', offset);
    }
    const format = mapped.get(type) ?? staticFormat(type, parameters.get(type));
    if (format !== undefined) payloads.push(format);
  }
  return payloads;
}

/** One `a=rtpmap`; undefined when its numbers make no sense, which leaves the payload type without a meaning. */
function readFormat(
  payloadType: unknown,
  codec: unknown,
  rate: unknown,
  encodingParameters: unknown,
): Omit<PayloadFormat, 'parameters'> | undefined {
  const encoding = String(codec);
  const channels = encodingParameters ?? 1;
  if (!isIntegerWithin(payloadType, 0, 127) || !isIntegerWithin(rate, 1, 1_000_000)) {
    return undefined;
  }
  if (!isIntegerWithin(channels, 1, 255) || encoding.length > 64 || !TOKEN.test(encoding)) {
    return undefined;
  }
  return { payloadType, encoding, clockRateHz: rate, channels };
}

function readRtcp(
  { rtcp }: Attributes,
  mediaPort: number,
  offset: number,
): MediaDescription['rtcp'] {
  if (rtcp === undefined) {
    // Port 65535 has no neighbour: RTCP then has nowhere to go.
    return {
      port: mediaPort === 0 || mediaPort === 65_535 ? 0 : mediaPort + 1,
      address: undefined,
    };
  }
  if (!isIntegerWithin(rtcp.port, 0, 65_535)) {
    throw new ParseError('sdp.rtcp', 'an a=rtcp without a valid port', offset);
  }
  const { address } = rtcp;
  const isNumeric = typeof address === 'string' && ipVersion(address) !== undefined;
  return { port: rtcp.port, address: isNumeric ? address : undefined };
}

function readMilliseconds(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 1 && value <= 1000 ? value : undefined;
}

function isIntegerWithin(value: unknown, low: number, high: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high;
}
