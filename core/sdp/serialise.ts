/** Writes session descriptions (RFC 8866): those of our own, and others' with single lines changed. */

import { ipVersion } from './address.ts';
import type { PayloadFormat } from './payload-formats.ts';
import type { Direction, SessionDescription } from './session-description.ts';

/** One stream of audio that ends here. */
export type LocalAudio = {
  readonly port: number;
  /** Left out when it is `port` + 1 or when `isRtcpMux` (RFC 3605, RFC 5761). */
  readonly rtcpPort: number;
  readonly isRtcpMux: boolean;
  readonly profile: string;
  /** Preferred first. */
  readonly payloads: readonly PayloadFormat[];
  readonly direction: Direction;
  readonly ptimeMs: number | undefined;
};

/** A stream that we refuse: the same words back, with port 0 (RFC 3264 §6). */
export type RefusedMedia = {
  readonly kind: string;
  readonly profile: string;
  readonly formats: readonly string[];
};

export type LocalSession = {
  /** Decimal digits; `sessionVersion` grows by one with each change of what we say (RFC 3264 §8). */
  readonly sessionId: string;
  readonly sessionVersion: string;
  /** Numeric; the family follows from it. */
  readonly address: string;
  readonly media: readonly (LocalAudio | RefusedMedia)[];
};

/** `IN IP4 192.0.2.1`; a name counts as IPv4. */
export function networkAddress(address: string): string {
  return `IN IP${ipVersion(address) ?? 4} ${address}`;
}

/** The text of a description, every line ended by CRLF. */
export function joinLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\r\n`).join('');
}

/** The text of a parsed description, with the lines as they came. */
export function serialiseParsed(session: SessionDescription): string {
  return joinLines([...session.lines, ...session.media.flatMap(({ lines }) => lines)]);
}

/** The text of a description of our own. */
export function serialiseLocal(session: LocalSession): string {
  const { sessionId, sessionVersion, address } = session;
  return joinLines([
    'v=0',
    `o=- ${sessionId} ${sessionVersion} ${networkAddress(address)}`,
    's=-',
    `c=${networkAddress(address)}`,
    't=0 0',
    ...session.media.flatMap((media) =>
      'payloads' in media ? audioLines(media, address) : [refusedLine(media)],
    ),
  ]);
}

export function refusedLine({ kind, profile, formats }: RefusedMedia): string {
  return `m=${kind} 0 ${profile} ${formats.join(' ')}`;
}

function audioLines(audio: LocalAudio, address: string): string[] {
  const types = audio.payloads.map(({ payloadType }) => payloadType);
  const lines = [`m=audio ${audio.port} ${audio.profile} ${types.join(' ')}`];
  for (const payload of audio.payloads) lines.push(...payloadLines(payload));
  lines.push(`a=${audio.direction}`);
  if (audio.ptimeMs !== undefined) lines.push(`a=ptime:${audio.ptimeMs}`);
  if (audio.isRtcpMux) lines.push('a=rtcp-mux');
  else if (audio.rtcpPort !== audio.port + 1) {
    lines.push(`a=rtcp:${audio.rtcpPort} ${networkAddress(address)}`);
  }
  return lines;
}

/** Static types get their rtpmap too: every phone reads it, and some insist. */
function payloadLines(payload: PayloadFormat): string[] {
  const { payloadType, encoding, clockRateHz, channels, parameters } = payload;
  const suffix = channels === 1 ? '' : `/${channels}`;
  const lines = [`a=rtpmap:${payloadType} ${encoding}/${clockRateHz}${suffix}`];
  if (parameters !== undefined) lines.push(`a=fmtp:${payloadType} ${parameters}`);
  return lines;
}
