/** Replies of the ng control protocol: results and failures in the words of rtpengine, with our own beside them. */

import {
  ControlError,
  ParseError,
  ProtocolError,
  RefusedError,
  ResourceError,
  SwitchError,
} from '../../core/errors.ts';
import type { CallStatistics, LegStatistics } from '../messages.ts';
import { dictionaryOf, isDictionary, listOf, numberOf, textOf } from './dictionary.ts';
import type { Dictionary, DictionaryValue } from './dictionary.ts';

/** Any failure as a reply; `error-code`, `sip-status` and `retry-after` are our additions. */
export function errorReply(error: unknown): Dictionary {
  const isExpected = error instanceof SwitchError;
  return {
    result: 'error',
    'error-reason': isExpected ? error.message : 'Internal error',
    'error-code': isExpected ? error.code : 'relay.internal',
    'sip-status': sipStatusOf(error),
    'retry-after': error instanceof ResourceError ? error.retryAfterSeconds : undefined,
  };
}

function sipStatusOf(error: unknown): number {
  if (error instanceof ParseError) return 400;
  const hasStatus =
    error instanceof RefusedError ||
    error instanceof ProtocolError ||
    error instanceof ResourceError;
  return hasStatus ? error.sipStatus : 500;
}

type KnownReason = readonly [pattern: RegExp, code: string, sipStatus: number];

/** What rtpengine says instead of codes. */
const KNOWN_REASONS: readonly KnownReason[] = [
  [/unknown call-id/iu, 'relay.call.unknown', 481],
  [/out of (?:ports|resources)|no more (?:ports|slots)/iu, 'relay.ports.exhausted', 503],
  [/parse sdp|no sdp/iu, 'sdp.line', 400],
  [/unrecognized command/iu, 'relay.command.unknown', 501],
];
const UNKNOWN_REASON: KnownReason = [/^/u, 'relay.refused', 488];

/**
 * Nothing when the result is not an error.
 *
 * @throws RefusedError, or ResourceError for 503; ControlError `relay.refused` when there is no result at all
 */
export function throwIfError(reply: Dictionary): void {
  const result = textOf(reply, 'result');
  if (result === 'ok' || result === 'pong') return;
  if (result !== 'error') {
    throw new ControlError('relay.refused', `the relay answered ${result ?? 'without a result'}`);
  }
  const reason = textOf(reply, 'error-reason') ?? 'no reason given';
  const known = KNOWN_REASONS.find(([pattern]) => pattern.test(reason)) ?? UNKNOWN_REASON;
  const code = textOf(reply, 'error-code') ?? known[1];
  const sipStatus = numberOf(reply, 'sip-status') ?? known[2];
  if (sipStatus === 503) throw new ResourceError(code, reason, numberOf(reply, 'retry-after'));
  throw new RefusedError(code, reason, sipStatus);
}

/** Drops what is undefined and rounds to microseconds, so that both encodings can carry it. */
export function plain(values: Readonly<Record<string, unknown>>): Dictionary {
  const dictionary: Record<string, DictionaryValue> = {};
  for (const [key, value] of Object.entries(values)) {
    if (typeof value === 'number') dictionary[key] = Math.round(value * 1000) / 1000;
    else if (typeof value === 'string' || typeof value === 'boolean') dictionary[key] = value;
    else if (Array.isArray(value)) {
      dictionary[key] = value.map((item: unknown) =>
        isDictionary(item) ? plain(item) : String(item),
      );
    } else if (isDictionary(value)) dictionary[key] = plain(value);
  }
  return dictionary;
}

/**
 * A call in the shape of rtpengine's `query` and `delete`: `tags`, by tag, with one audio stream of RTP and one of RTCP,
 * counted by what came in. `leg` is ours: all of `LegStatistics`.
 */
export function callReply(call: CallStatistics, nowSeconds: number): Dictionary {
  const tags: Record<string, Dictionary> = {};
  let packets = 0;
  let bytes = 0;
  let rtcpPackets = 0;
  for (const leg of call.legs) {
    tags[leg.fromTag] = tagReply(leg, nowSeconds);
    packets += leg.receivedPackets;
    bytes += leg.receivedBytes;
    rtcpPackets += leg.receivedRtcpPackets;
  }
  return {
    result: 'ok',
    tags,
    totals: { RTP: { packets, bytes, errors: 0 }, RTCP: { packets: rtcpPackets, errors: 0 } },
  };
}

function tagReply(leg: LegStatistics, nowSeconds: number): Dictionary {
  const silentSeconds = (leg.silentMs ?? 0) / 1000;
  const rtp: Dictionary = {
    'local port': leg.localPort,
    endpoint: endpointReply(leg.latched ?? leg.promised),
    'advertised endpoint': endpointReply(leg.promised),
    'last packet': Math.floor(nowSeconds - silentSeconds),
    flags: ['RTP'],
    stats: {
      packets: leg.receivedPackets,
      bytes: leg.receivedBytes,
      errors: leg.droppedMalformed + leg.droppedStranger,
    },
  };
  const rtcp: Dictionary = {
    'local port': leg.localPort + 1,
    flags: ['RTCP'],
    stats: { packets: leg.receivedRtcpPackets, errors: 0 },
  };
  return {
    tag: leg.fromTag,
    medias: [{ index: 1, type: 'audio', streams: [rtp, rtcp] }],
    leg: plain(leg),
  };
}

function endpointReply(text: string | undefined): Dictionary | undefined {
  if (text === undefined) return undefined;
  const colon = text.lastIndexOf(':');
  const address = text.slice(0, colon).replace(/^\[|\]$/gu, '');
  return {
    family: address.includes(':') ? 'IPv6' : 'IPv4',
    address,
    port: Number(text.slice(colon + 1)),
  };
}

/** Reads `callReply`, or what rtpengine gives in its place; counters that it does not have are 0. */
export function readCallReply(callId: string, reply: Dictionary): CallStatistics {
  const tags = dictionaryOf(reply, 'tags') ?? {};
  const legs = Object.entries(tags).map(([tag, value]) => {
    const entry = isDictionary(value) ? value : {};
    return readLeg(dictionaryOf(entry, 'leg') ?? foreignLeg(tag, entry));
  });
  return { callId, legs };
}

/** The fields of `LegStatistics`, whoever sent them. */
export function readLeg(leg: Dictionary): LegStatistics {
  const count = (key: string): number => numberOf(leg, key) ?? 0;
  return {
    fromTag: textOf(leg, 'fromTag') ?? '',
    localPort: count('localPort'),
    promised: textOf(leg, 'promised'),
    latched: textOf(leg, 'latched'),
    receivedPackets: count('receivedPackets'),
    receivedBytes: count('receivedBytes'),
    sentPackets: count('sentPackets'),
    sentBytes: count('sentBytes'),
    receivedRtcpPackets: count('receivedRtcpPackets'),
    sentRtcpPackets: count('sentRtcpPackets'),
    droppedMalformed: count('droppedMalformed'),
    droppedStranger: count('droppedStranger'),
    droppedExcess: count('droppedExcess'),
    silentMs: numberOf(leg, 'silentMs'),
  };
}

function foreignLeg(tag: string, entry: Dictionary): Dictionary {
  const media = listOf(entry, 'medias')[0];
  const streams = isDictionary(media) ? listOf(media, 'streams').filter(isDictionary) : [];
  const [rtp = {}, rtcp = {}] = streams;
  const stats = dictionaryOf(rtp, 'stats') ?? {};
  const lastPacket = numberOf(rtp, 'last packet');
  const packets = numberOf(stats, 'packets') ?? 0;
  return {
    fromTag: tag,
    localPort: numberOf(rtp, 'local port'),
    promised: foreignEndpoint(dictionaryOf(rtp, 'advertised endpoint')),
    latched: packets > 0 ? foreignEndpoint(dictionaryOf(rtp, 'endpoint')) : undefined,
    receivedPackets: packets,
    receivedBytes: numberOf(stats, 'bytes'),
    receivedRtcpPackets: numberOf(dictionaryOf(rtcp, 'stats') ?? {}, 'packets'),
    droppedMalformed: numberOf(stats, 'errors'),
    silentMs:
      packets > 0 && lastPacket !== undefined
        ? Math.max(0, Date.now() - lastPacket * 1000)
        : undefined,
  };
}

function foreignEndpoint(endpoint: Dictionary | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const address = textOf(endpoint, 'address') ?? '';
  const port = numberOf(endpoint, 'port') ?? 0;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
