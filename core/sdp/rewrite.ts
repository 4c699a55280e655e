/** Puts a relay's addresses into somebody else's description and leaves every other line as it came. */

import { ProtocolError } from '../errors.ts';
import { joinLines, networkAddress, refusedLine } from './serialise.ts';
import { activeAudioIndex, isFeedbackProfile, isSecureProfile } from './session-description.ts';
import type { MediaDescription, Profile, SessionDescription } from './session-description.ts';

export type RewriteTarget = {
  /** Numeric: what the reader shall send to. */
  readonly address: string;
  /** 0 refuses the stream. */
  readonly port: number;
  /** Written only when it is not `port` + 1 and rtcp-mux is off. */
  readonly rtcpPort: number;
  readonly isRtcpMux?: boolean;
  /** Absent: as it came. Between AVP and AVPF, or between SAVP and SAVPF; encryption is not added or taken away. */
  readonly profile?: Profile | undefined;
  /** Which `m=` section; absent: the first audio stream in use. */
  readonly mediaIndex?: number;
  /** Whether the address in `o=` is replaced too; true when absent. */
  readonly replacesOrigin?: boolean | undefined;
};

/** ICE and DTLS are agreed between two ends, and the relay is neither (RFC 8839, RFC 8842, RFC 8843). */
const END_TO_END_ATTRIBUTE =
  /^a=(?:candidate|remote-candidates|end-of-candidates|ice-[a-z]+[0-9]?|fingerprint|setup|tls-id|connection|group|bundle-only|rtcp|rtcp-mux|rtcp-mux-only)(?::|$)/u;

const DIRECTION_ATTRIBUTE = /^a=(?:sendrecv|sendonly|recvonly|inactive)$/u;

/**
 * The description as the other side of a relay shall see it (RFC 3264): one audio stream at the relay's address, every
 * other stream refused, all other lines unchanged. Hold by address becomes hold by direction.
 *
 * @throws ProtocolError 488 `sdp.audio.missing` when there is no such stream, `sdp.profile.unsupported` when `profile`
 * would add or remove encryption, or when the keys are agreed by DTLS, which ends at the relay
 */
export function rewrite(session: SessionDescription, target: RewriteTarget): string {
  const mediaIndex = target.mediaIndex ?? activeAudioIndex(session);
  const audio = mediaIndex === undefined ? undefined : session.media[mediaIndex];
  if (audio?.kind !== 'audio') {
    throw new ProtocolError('sdp.audio.missing', 'no audio stream over RTP', 488);
  }
  const profile = target.profile ?? audio.profile;
  return joinLines([
    ...rewriteSession(session, target),
    ...session.media.flatMap((media, index) => {
      if (index !== mediaIndex) return [refusedLine(media)];
      return target.port === 0
        ? [refusedLine({ ...media, profile })]
        : rewriteAudio(audio, profile, target);
    }),
  ]);
}

function rewriteSession({ lines, origin }: SessionDescription, target: RewriteTarget): string[] {
  const connection = `c=${networkAddress(target.address)}`;
  const out: string[] = [];
  let hasConnection = false;
  for (const line of lines) {
    if (END_TO_END_ATTRIBUTE.test(line)) continue;
    if (line.startsWith('o=') && target.replacesOrigin !== false) {
      const { username, sessionId, sessionVersion } = origin;
      out.push(`o=${username} ${sessionId} ${sessionVersion} ${networkAddress(target.address)}`);
    } else if (line.startsWith('c=')) {
      if (!hasConnection) out.push(connection);
      hasConnection = true;
    } else {
      // The order of session lines is fixed: v o s i u e p c b t ... (RFC 8866 §5).
      if (!hasConnection && /^[btrzka]=/u.test(line)) {
        out.push(connection);
        hasConnection = true;
      }
      out.push(line);
    }
  }
  if (!hasConnection) out.push(connection);
  return out;
}

function rewriteAudio(audio: MediaDescription, profile: string, target: RewriteTarget): string[] {
  const isDtls = audio.profile.startsWith('UDP/TLS/');
  if (isDtls || isSecureProfile(profile) !== isSecureProfile(audio.profile)) {
    throw new ProtocolError(
      'sdp.profile.unsupported',
      `${audio.profile} cannot become ${profile} on the way`,
      488,
    );
  }
  const dropsFeedback = isFeedbackProfile(audio.profile) && !isFeedbackProfile(profile);
  const isDropped = (line: string): boolean =>
    line.startsWith('c=') ||
    END_TO_END_ATTRIBUTE.test(line) ||
    (dropsFeedback && line.startsWith('a=rtcp-fb:')) ||
    (audio.isHeldByAddress && DIRECTION_ATTRIBUTE.test(line));
  const out = [
    `m=audio ${target.port} ${profile} ${audio.formats.join(' ')}`,
    ...audio.lines.slice(1).filter((line) => !isDropped(line)),
  ];
  if (audio.isHeldByAddress) out.push(`a=${audio.direction}`);
  if (target.isRtcpMux === true) out.push('a=rtcp-mux');
  else if (target.rtcpPort !== target.port + 1) {
    out.push(`a=rtcp:${target.rtcpPort} ${networkAddress(target.address)}`);
  }
  return out;
}
