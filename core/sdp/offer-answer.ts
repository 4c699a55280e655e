/** The offer/answer model for one stream of audio (RFC 3264): what to offer, what to answer, and what is agreed then. */

import { ProtocolError } from '../errors.ts';
import { isUnicast } from './address.ts';
import {
  formatParameters,
  isComfortNoise,
  isSameCodec,
  isTelephoneEvent,
} from './payload-formats.ts';
import type { PayloadFormat } from './payload-formats.ts';
import { parseSessionDescription } from './parse.ts';
import { serialiseLocal } from './serialise.ts';
import type { LocalAudio, RefusedMedia } from './serialise.ts';
import {
  activeAudioIndex,
  canReceive,
  canSend,
  directionOf,
  isProfile,
  isSecureProfile,
  mirrored,
} from './session-description.ts';
import type {
  Direction,
  MediaDescription,
  Profile,
  SessionDescription,
} from './session-description.ts';

/** A codec that we can send and receive. */
export type Codec = {
  readonly encoding: string;
  readonly clockRateHz: number;
  readonly channels: number;
  /** Used when we make the offer; an answer takes the offerer's. */
  readonly payloadType: number;
  /** What we write into `a=fmtp`. */
  readonly parameters?: string | undefined;
};

/** What this end of a stream can do, and where it is. */
export type Capabilities = {
  /** Our order of preference. Telephone-event and comfort noise do not belong here. */
  readonly codecs: readonly Codec[];
  /** RFC 4733: offered with a clock for each clock of `codecs`, and answered when offered. */
  readonly hasTelephoneEvent: boolean;
  /** RFC 3389, payload type 13; answered only, never offered. */
  readonly hasComfortNoise?: boolean;
  /** Whose order decides in an answer; 'offerer' when absent. */
  readonly preference?: 'offerer' | 'own';
  /** How many codecs an answer names at most; all when absent. */
  readonly codecLimit?: number;
  /** What we want to do; 'sendrecv' when absent. */
  readonly direction?: Direction;
  readonly ptimeMs?: number;
  readonly sessionId: string;
  readonly sessionVersion: string;
  /** Numeric. */
  readonly address: string;
  readonly port: number;
  /** `port` + 1 when absent. */
  readonly rtcpPort?: number;
  /** Whether an offer of rtcp-mux is taken up, and made. */
  readonly hasRtcpMux?: boolean;
};

/** One codec both sides have. The two payload types differ only when an answer renumbers an offer. */
export type AgreedCodec = {
  readonly encoding: string;
  readonly clockRateHz: number;
  readonly channels: number;
  readonly sendPayloadType: number;
  readonly receivePayloadType: number;
  /** The other side's `a=fmtp`, keys in lower case: what it wants to receive. */
  readonly remoteParameters: ReadonlyMap<string, string>;
};

export type AudioAgreement = {
  /** Which `m=` section, from 0. */
  readonly mediaIndex: number;
  readonly profile: Profile;
  /** The other side's; `address` is undefined when nothing can be sent there (on hold, a name, not one host). */
  readonly remote: {
    readonly address: string | undefined;
    /** Whether the address says hold: 0.0.0.0 or ::. */
    readonly isHeld: boolean;
    readonly port: number;
    readonly rtcpPort: number;
    readonly isRtcpMux: boolean;
  };
  /** At least one; the first is to be sent, any may come. */
  readonly codecs: readonly [AgreedCodec, ...AgreedCodec[]];
  /** The one whose clock fits the first codec, else the first that both have (RFC 4733). */
  readonly telephoneEvent: AgreedCodec | undefined;
  readonly comfortNoise: AgreedCodec | undefined;
  /** What we may do. */
  readonly direction: Direction;
  /** What the other side wants in each packet, within its limit; undefined when it does not say. */
  readonly ptimeMs: number | undefined;
};

const TELEPHONE_EVENTS = '0-15';

/**
 * Answers an offer (RFC 3264 §6): same number of `m=` sections in the same order, the first usable audio stream taken,
 * everything else refused with port 0.
 *
 * @param offer - text, or parsed already
 * @throws ParseError when the text is not SDP (SIP: 400)
 * @throws ProtocolError 488 `sdp.audio.missing`, `sdp.profile.unsupported`, `sdp.codec.none`
 */
export function answerFor(
  offer: string | SessionDescription,
  capabilities: Capabilities,
): { readonly sdp: string; readonly agreement: AudioAgreement } {
  const session = typeof offer === 'string' ? parseSessionDescription(offer) : offer;
  const { index, media, profile } = usableAudio(session);
  const chosen = chooseFormats(media.payloads, capabilities);
  const wanted = capabilities.direction ?? 'sendrecv';
  const theirs = mirrored(media.direction);
  const direction = directionOf(
    canSend(wanted) && canSend(theirs),
    canReceive(wanted) && canReceive(theirs),
  );
  const isRtcpMux = media.isRtcpMux && capabilities.hasRtcpMux === true;
  const audio: LocalAudio = {
    port: capabilities.port,
    rtcpPort: capabilities.rtcpPort ?? capabilities.port + 1,
    isRtcpMux,
    profile,
    payloads: chosen.map(({ own, offered }) => ({ ...offered, parameters: own.parameters })),
    direction,
    ptimeMs: capabilities.ptimeMs,
  };
  const sdp = serialiseLocal({
    sessionId: capabilities.sessionId,
    sessionVersion: capabilities.sessionVersion,
    address: capabilities.address,
    media: session.media.map((other, at) => (at === index ? audio : refusalOf(other))),
  });
  const agreed = chosen.map(({ offered }) => agreedCodec(offered, offered.payloadType));
  return {
    sdp,
    agreement: { ...agreementOf({ index, media, profile }, agreed, isRtcpMux), direction },
  };
}

/** Our offer of one audio stream (RFC 3264 §5). */
export function buildOffer(capabilities: Capabilities): string {
  return serialiseLocal({
    sessionId: capabilities.sessionId,
    sessionVersion: capabilities.sessionVersion,
    address: capabilities.address,
    media: [
      {
        port: capabilities.port,
        rtcpPort: capabilities.rtcpPort ?? capabilities.port + 1,
        isRtcpMux: capabilities.hasRtcpMux === true,
        profile: 'RTP/AVP',
        payloads: [...capabilities.codecs.map(toPayload), ...telephoneEvents(capabilities)],
        direction: capabilities.direction ?? 'sendrecv',
        ptimeMs: capabilities.ptimeMs,
      },
    ],
  });
}

/**
 * What an answer to our own offer means.
 *
 * @param offer - what we sent
 * @throws ParseError when the answer is not SDP
 * @throws ProtocolError 488 `sdp.answer.mismatch` when its sections are not the offer's, `sdp.audio.missing` when it
 * refuses the stream, `sdp.codec.none` when it names no codec that was offered
 */
export function agreementFrom(offer: string, answer: string): AudioAgreement {
  const ours = usableAudio(parseSessionDescription(offer));
  const session = parseSessionDescription(answer);
  const media = session.media[ours.index];
  if (media?.kind !== 'audio') {
    throw new ProtocolError('sdp.answer.mismatch', 'the answer has other streams', 488);
  }
  if (media.port === 0 || !isProfile(media.profile)) {
    throw new ProtocolError('sdp.audio.missing', 'the answer refuses the audio stream', 488);
  }
  const agreed: AgreedCodec[] = [];
  for (const theirs of media.payloads) {
    const offered = ours.media.payloads.filter((own) => isSameCodec(own, theirs));
    const same = offered.find(({ payloadType }) => payloadType === theirs.payloadType);
    const own = same ?? offered[0];
    if (own !== undefined) agreed.push(agreedCodec(theirs, own.payloadType));
  }
  const theirDirection = mirrored(media.direction);
  const own = ours.media.direction;
  return {
    ...agreementOf(
      { index: ours.index, media, profile: media.profile },
      agreed,
      media.isRtcpMux && ours.media.isRtcpMux,
    ),
    direction: directionOf(
      canSend(own) && canSend(theirDirection),
      canReceive(own) && canReceive(theirDirection),
    ),
  };
}

type UsableAudio = {
  readonly index: number;
  readonly media: MediaDescription;
  readonly profile: Profile;
};

function usableAudio(session: SessionDescription): UsableAudio {
  const index = activeAudioIndex(session);
  const media = index === undefined ? undefined : session.media[index];
  if (index === undefined || media === undefined || !isProfile(media.profile)) {
    throw new ProtocolError('sdp.audio.missing', 'no audio stream over RTP is offered', 488);
  }
  if (isSecureProfile(media.profile)) {
    throw new ProtocolError(
      'sdp.profile.unsupported',
      `${media.profile} is not supported by this end`,
      488,
    );
  }
  return { index, media, profile: media.profile };
}

type ChosenFormat = { readonly own: Pick<Codec, 'parameters'>; readonly offered: PayloadFormat };

/** Codecs first, in the order that decides; then telephone-events and comfort noise. */
function chooseFormats(
  offered: readonly PayloadFormat[],
  capabilities: Capabilities,
): readonly ChosenFormat[] {
  const chosen = commonCodecs(offered, capabilities).slice(0, capabilities.codecLimit);
  if (chosen.length === 0) {
    throw new ProtocolError('sdp.codec.none', 'no codec in common', 488);
  }
  if (capabilities.hasTelephoneEvent) {
    const events = telephoneEventsFor(
      chosen.map(({ offered: { clockRateHz } }) => clockRateHz),
      offered.filter(isTelephoneEvent),
    );
    for (const event of events) {
      chosen.push({ own: { parameters: TELEPHONE_EVENTS }, offered: event });
    }
  }
  // Payload type 13 has the clock of G.711 and makes no sense beside any other.
  const noise = offered.find(isComfortNoise);
  const fits = chosen[0]?.offered.clockRateHz === noise?.clockRateHz;
  if (capabilities.hasComfortNoise === true && noise !== undefined && fits) {
    chosen.push({ own: {}, offered: noise });
  }
  return chosen;
}

function commonCodecs(
  offered: readonly PayloadFormat[],
  { codecs, preference }: Capabilities,
): ChosenFormat[] {
  const pairs: ChosenFormat[] = [];
  if (preference === 'own') {
    for (const own of codecs) {
      const match = offered.find((format) => isSameCodec(own, format));
      if (match !== undefined) pairs.push({ own, offered: match });
    }
    return pairs;
  }
  for (const format of offered) {
    const own = codecs.find((codec) => isSameCodec(codec, format));
    if (own !== undefined) pairs.push({ own, offered: format });
  }
  return pairs;
}

/** One event format for each clock of the codecs; if none fits, the first, because some phones offer 8000 with Opus. */
function telephoneEventsFor(
  clockRatesHz: readonly number[],
  offered: readonly PayloadFormat[],
): readonly PayloadFormat[] {
  const fitting: PayloadFormat[] = [];
  for (const clockRateHz of new Set(clockRatesHz)) {
    const event = offered.find((format) => format.clockRateHz === clockRateHz);
    if (event !== undefined) fitting.push(event);
  }
  return fitting.length > 0 ? fitting : offered.slice(0, 1);
}

function agreedCodec(theirs: PayloadFormat, receivePayloadType: number): AgreedCodec {
  return {
    encoding: theirs.encoding,
    clockRateHz: theirs.clockRateHz,
    channels: theirs.channels,
    sendPayloadType: theirs.payloadType,
    receivePayloadType,
    remoteParameters: formatParameters(theirs.parameters),
  };
}

function agreementOf(
  { index, media, profile }: UsableAudio,
  agreed: readonly AgreedCodec[],
  isRtcpMux: boolean,
): Omit<AudioAgreement, 'direction'> {
  const isCodec = (format: AgreedCodec): boolean =>
    !isTelephoneEvent(format) && !isComfortNoise(format);
  const [first, ...rest] = agreed.filter(isCodec);
  if (first === undefined) {
    throw new ProtocolError('sdp.codec.none', 'no codec in common', 488);
  }
  const events = agreed.filter(isTelephoneEvent);
  const isReachable = media.address !== undefined && isUnicast(media.address);
  return {
    mediaIndex: index,
    profile,
    remote: {
      address: isReachable ? media.address : undefined,
      isHeld: media.isHeldByAddress,
      port: media.port,
      rtcpPort: isRtcpMux ? media.port : media.rtcp.port,
      isRtcpMux,
    },
    codecs: [first, ...rest],
    telephoneEvent:
      events.find(({ clockRateHz }) => clockRateHz === first.clockRateHz) ?? events[0],
    comfortNoise: agreed.find(isComfortNoise),
    ptimeMs: packetTime(media),
  };
}

function packetTime({ ptimeMs, maxPtimeMs }: MediaDescription): number | undefined {
  if (ptimeMs === undefined) return undefined;
  return maxPtimeMs === undefined ? ptimeMs : Math.min(ptimeMs, maxPtimeMs);
}

function refusalOf({ kind, profile, formats }: MediaDescription): RefusedMedia {
  return { kind, profile, formats };
}

function toPayload(codec: Codec): PayloadFormat {
  return { ...codec, parameters: codec.parameters };
}

/** One event format for each clock of our codecs, numbered from 101 past the types that are taken. */
function telephoneEvents({ codecs, hasTelephoneEvent }: Capabilities): PayloadFormat[] {
  if (!hasTelephoneEvent) return [];
  const taken = new Set(codecs.map(({ payloadType }) => payloadType));
  const events: PayloadFormat[] = [];
  let payloadType = 101;
  for (const clockRateHz of new Set(codecs.map((codec) => codec.clockRateHz))) {
    while (taken.has(payloadType)) payloadType += 1;
    taken.add(payloadType);
    events.push({
      payloadType,
      encoding: 'telephone-event',
      clockRateHz,
      channels: 1,
      parameters: TELEPHONE_EVENTS,
    });
  }
  return events;
}
