/** A session description (RFC 8866) as data: what the offer/answer model reads, beside the lines as they came. */

import type { PayloadFormat } from './payload-formats.ts';

export const DIRECTIONS = ['sendrecv', 'sendonly', 'recvonly', 'inactive'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** The RTP profiles of plain and secured audio; DTLS-SRTP is written `UDP/TLS/RTP/SAVPF` (RFC 5764). */
export const PROFILES = [
  'RTP/AVP',
  'RTP/AVPF',
  'RTP/SAVP',
  'RTP/SAVPF',
  'UDP/TLS/RTP/SAVP',
  'UDP/TLS/RTP/SAVPF',
] as const;
export type Profile = (typeof PROFILES)[number];

export type Origin = {
  readonly username: string;
  /** Decimal digits; 64 bits and more occur, so it stays text. */
  readonly sessionId: string;
  readonly sessionVersion: string;
  readonly address: string;
};

/** One `m=` section. */
export type MediaDescription = {
  /** `audio`, `video`, `image`, ... */
  readonly kind: string;
  /** 0 means that the stream is refused or not used. */
  readonly port: number;
  /** As written: a `Profile`, or anything else, such as `udptl`. */
  readonly profile: string;
  readonly formats: readonly string[];
  /** From this section or else from the session; a number, rarely a name; undefined only when `port` is 0. */
  readonly address: string | undefined;
  /** In the order of the `m=` line; dynamic types without `a=rtpmap` are left out. Empty unless `profile` is a `Profile`. */
  readonly payloads: readonly PayloadFormat[];
  /** What the writer wants to do. An address of 0.0.0.0 counts as not wanting to receive (RFC 3264 §8.4). */
  readonly direction: Direction;
  /** Whether the address is 0.0.0.0 or ::. */
  readonly isHeldByAddress: boolean;
  readonly isRtcpMux: boolean;
  /** Where RTCP goes without rtcp-mux (RFC 3605): port + 1 when it is not written; `address` only when it is written. */
  readonly rtcp: { readonly port: number; readonly address: string | undefined };
  readonly ptimeMs: number | undefined;
  readonly maxPtimeMs: number | undefined;
  /** The section as it came, the `m=` line first, without line ends. */
  readonly lines: readonly string[];
};

export type SessionDescription = {
  readonly origin: Origin;
  readonly media: readonly MediaDescription[];
  /** Everything before the first `m=` line, without line ends. */
  readonly lines: readonly string[];
};

export function isProfile(text: string): text is Profile {
  return (PROFILES as readonly string[]).includes(text);
}

/** Whether the profile has the early feedback of RFC 4585. */
export function isFeedbackProfile(profile: string): boolean {
  return profile.endsWith('AVPF');
}

/** Whether the profile encrypts (RFC 3711, RFC 5764). */
export function isSecureProfile(profile: string): boolean {
  return profile.includes('/SAVP');
}

/** What the other side wants when this side wants `direction`: sending there is receiving here. */
export function mirrored(direction: Direction): Direction {
  if (direction === 'sendonly') return 'recvonly';
  return direction === 'recvonly' ? 'sendonly' : direction;
}

export function canSend(direction: Direction): boolean {
  return direction === 'sendrecv' || direction === 'sendonly';
}

export function canReceive(direction: Direction): boolean {
  return direction === 'sendrecv' || direction === 'recvonly';
}

export function directionOf(sends: boolean, receives: boolean): Direction {
  if (sends) return receives ? 'sendrecv' : 'sendonly';
  return receives ? 'recvonly' : 'inactive';
}

/** The audio stream that a call is about: the first in use with an RTP profile; undefined when there is none. */
export function activeAudioIndex(session: SessionDescription): number | undefined {
  const index = session.media.findIndex(
    ({ kind, port, profile }) => kind === 'audio' && port !== 0 && isProfile(profile),
  );
  return index < 0 ? undefined : index;
}
