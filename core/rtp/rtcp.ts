/**
 * RTCP (RFC 3550 §6): sender and receiver reports, SDES CNAME and BYE, as data; and what two reports say together.
 *
 * Written by hand, because rtp.js 0.15.5 reads the cumulative loss with a mask of 12 bits and as sign and magnitude.
 */

const SENDER_REPORT = 200;
const RECEIVER_REPORT = 201;
const SOURCE_DESCRIPTION = 202;
const BYE = 203;
const SDES_CNAME = 1;
const REPORT_BLOCK_BYTES = 24;
const MAX_COUNT = 31;
/** Seconds from 1900 (NTP) to 1970 (Unix). */
const NTP_EPOCH_SECONDS = 2208988800;

export type ReportBlock = {
  /** The source that is reported on. */
  readonly ssrc: number;
  /** Of the packets since the last report, in 256ths. */
  readonly fractionLost: number;
  /** -2^23 to 2^23 - 1. */
  readonly cumulativeLost: number;
  readonly extendedHighestSequenceNumber: number;
  /** In units of the RTP clock. */
  readonly jitter: number;
  /** Middle 32 bits of the NTP time of the last SR from that source, 0 for none. */
  readonly lastSr: number;
  /** Since that SR arrived, in 1/65536 s. */
  readonly delaySinceLastSr: number;
};

export type RtcpPacket =
  | {
      readonly kind: 'senderReport';
      readonly ssrc: number;
      readonly ntpSeconds: number;
      readonly ntpFraction: number;
      readonly rtpTimestamp: number;
      readonly packetCount: number;
      readonly octetCount: number;
      readonly reports: readonly ReportBlock[];
    }
  | {
      readonly kind: 'receiverReport';
      readonly ssrc: number;
      readonly reports: readonly ReportBlock[];
    }
  | {
      readonly kind: 'sourceDescription';
      readonly chunks: readonly { readonly ssrc: number; readonly cname: string | undefined }[];
    }
  | { readonly kind: 'bye'; readonly ssrcs: readonly number[]; readonly reason: string | undefined }
  /** Anything else that is framed well: APP, feedback, XR. */
  | { readonly kind: 'other'; readonly packetType: number };

/**
 * Parses one compound RTCP datagram.
 *
 * @returns undefined when any part of it is malformed (RFC 3550 A.2 and the lengths inside); never throws
 */
export function parseRtcp(bytes: Uint8Array): readonly RtcpPacket[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const packets: RtcpPacket[] = [];
  for (let offset = 0; offset < bytes.length;) {
    if (offset + 4 > bytes.length) return undefined;
    const first = view.getUint8(offset);
    const end = offset + 4 * (view.getUint16(offset + 2) + 1);
    if (first >> 6 !== 2 || end > bytes.length) return undefined;
    let contentEnd = end;
    if ((first & 0x20) !== 0) {
      const padding = view.getUint8(end - 1);
      if (padding === 0 || padding % 4 !== 0 || end !== bytes.length) return undefined;
      contentEnd -= padding;
      if (contentEnd < offset + 4) return undefined;
    }
    const content = new DataView(bytes.buffer, bytes.byteOffset + offset, contentEnd - offset);
    const packet = parseOne(content, first & 0x1f);
    if (packet === undefined) return undefined;
    packets.push(packet);
    offset = end;
  }
  return packets.length === 0 ? undefined : packets;
}

function parseOne(view: DataView, count: number): RtcpPacket | undefined {
  const packetType = view.getUint8(1);
  switch (packetType) {
    case SENDER_REPORT:
      return parseSenderReport(view, count);
    case RECEIVER_REPORT: {
      const reports = view.byteLength < 8 ? undefined : parseReports(view, 8, count);
      return reports && { kind: 'receiverReport', ssrc: view.getUint32(4), reports };
    }
    case SOURCE_DESCRIPTION:
      return parseSourceDescription(view, count);
    case BYE:
      return parseBye(view, count);
    default:
      return { kind: 'other', packetType };
  }
}

function parseSenderReport(view: DataView, count: number): RtcpPacket | undefined {
  if (view.byteLength < 28) return undefined;
  const reports = parseReports(view, 28, count);
  return (
    reports && {
      kind: 'senderReport',
      ssrc: view.getUint32(4),
      ntpSeconds: view.getUint32(8),
      ntpFraction: view.getUint32(12),
      rtpTimestamp: view.getUint32(16),
      packetCount: view.getUint32(20),
      octetCount: view.getUint32(24),
      reports,
    }
  );
}

function parseReports(view: DataView, from: number, count: number): ReportBlock[] | undefined {
  if (from + count * REPORT_BLOCK_BYTES > view.byteLength) return undefined;
  return Array.from({ length: count }, (_, index) => {
    const offset = from + index * REPORT_BLOCK_BYTES;
    return {
      ssrc: view.getUint32(offset),
      fractionLost: view.getUint8(offset + 4),
      cumulativeLost: (view.getInt32(offset + 4) << 8) >> 8,
      extendedHighestSequenceNumber: view.getUint32(offset + 8),
      jitter: view.getUint32(offset + 12),
      lastSr: view.getUint32(offset + 16),
      delaySinceLastSr: view.getUint32(offset + 20),
    };
  });
}

function parseSourceDescription(view: DataView, count: number): RtcpPacket | undefined {
  const chunks: { ssrc: number; cname: string | undefined }[] = [];
  let offset = 4;
  for (let index = 0; index < count; index++) {
    if (offset + 4 > view.byteLength) return undefined;
    const ssrc = view.getUint32(offset);
    const items = parseItems(view, offset + 4);
    if (items === undefined) return undefined;
    chunks.push({ ssrc, cname: items.cname });
    offset = items.end;
  }
  return { kind: 'sourceDescription', chunks };
}

/** One chunk's items, up to the zero octet that ends the list and the padding to the next word. */
function parseItems(
  view: DataView,
  from: number,
): { cname: string | undefined; end: number } | undefined {
  let cname: string | undefined;
  for (let offset = from; offset < view.byteLength;) {
    const type = view.getUint8(offset);
    if (type === 0) return { cname, end: (offset + 4) & ~3 };
    if (offset + 2 > view.byteLength) return undefined;
    const end = offset + 2 + view.getUint8(offset + 1);
    if (end > view.byteLength) return undefined;
    if (type === SDES_CNAME) cname = text(view, offset + 2, end);
    offset = end;
  }
  return undefined;
}

function parseBye(view: DataView, count: number): RtcpPacket | undefined {
  const reasonAt = 4 + 4 * count;
  if (reasonAt > view.byteLength) return undefined;
  const ssrcs = Array.from({ length: count }, (_, index) => view.getUint32(4 + 4 * index));
  if (reasonAt === view.byteLength) return { kind: 'bye', ssrcs, reason: undefined };
  const end = reasonAt + 1 + view.getUint8(reasonAt);
  if (end > view.byteLength) return undefined;
  return { kind: 'bye', ssrcs, reason: text(view, reasonAt + 1, end) };
}

function text(view: DataView, from: number, to: number): string {
  return Buffer.from(view.buffer, view.byteOffset + from, to - from).toString('utf8');
}

/** The packets that can be composed: all but `other`. */
export type OutgoingRtcpPacket = Exclude<RtcpPacket, { readonly kind: 'other' }>;

/** One compound datagram; a report comes first in it (RFC 3550 §6.1). At most 31 reports or chunks in each packet. */
export function composeRtcp(packets: readonly OutgoingRtcpPacket[]): Uint8Array {
  return Buffer.concat(packets.map(composeOne));
}

function composeOne(packet: OutgoingRtcpPacket): Buffer {
  switch (packet.kind) {
    case 'senderReport': {
      const reports = packet.reports.slice(0, MAX_COUNT);
      const { ntpSeconds, ntpFraction, rtpTimestamp, packetCount, octetCount } = packet;
      const words = [packet.ssrc, ntpSeconds, ntpFraction, rtpTimestamp, packetCount, octetCount];
      return framed(SENDER_REPORT, reports.length, [...words, ...reports.flatMap(reportWords)]);
    }
    case 'receiverReport': {
      const reports = packet.reports.slice(0, MAX_COUNT);
      const words = [packet.ssrc, ...reports.flatMap(reportWords)];
      return framed(RECEIVER_REPORT, reports.length, words);
    }
    case 'sourceDescription': {
      const chunks = packet.chunks.slice(0, MAX_COUNT);
      const body = chunks.flatMap(({ ssrc, cname }) => [
        words32([ssrc]),
        padded(Buffer.concat([counted(SDES_CNAME, cname ?? ''), Buffer.of(0)])),
      ]);
      return framed(SOURCE_DESCRIPTION, chunks.length, [], Buffer.concat(body));
    }
    case 'bye': {
      const ssrcs = packet.ssrcs.slice(0, MAX_COUNT);
      const tail =
        packet.reason === undefined ? Buffer.alloc(0) : counted(undefined, packet.reason);
      return framed(BYE, ssrcs.length, ssrcs, padded(tail));
    }
  }
}

function reportWords(report: ReportBlock): number[] {
  return [
    report.ssrc,
    (report.fractionLost << 24) | (report.cumulativeLost & 0xffffff),
    report.extendedHighestSequenceNumber,
    report.jitter,
    report.lastSr,
    report.delaySinceLastSr,
  ];
}

/** A text of at most 255 bytes with its length in front, and the item type before that. */
function counted(type: number | undefined, value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8').subarray(0, 255);
  return Buffer.concat([Buffer.from([...(type === undefined ? [] : [type]), bytes.length]), bytes]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

function words32(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * words.length);
  words.forEach((word, index) => bytes.writeUInt32BE(word >>> 0, 4 * index));
  return bytes;
}

function framed(
  packetType: number,
  count: number,
  words: readonly number[],
  tail: Buffer = Buffer.alloc(0),
): Buffer {
  const body = Buffer.concat([words32(words), tail]);
  const header = Buffer.of(0x80 | count, packetType, 0, 0);
  header.writeUInt16BE(body.length / 4, 2);
  return Buffer.concat([header, body]);
}

/** Wall-clock time as the two words of an NTP timestamp. */
export function ntpTime(unixMs: number): { ntpSeconds: number; ntpFraction: number } {
  const seconds = Math.floor(unixMs / 1000);
  const fraction = Math.floor(((unixMs - seconds * 1000) / 1000) * 0x100000000);
  return { ntpSeconds: (seconds + NTP_EPOCH_SECONDS) >>> 0, ntpFraction: fraction >>> 0 };
}

/** The middle 32 bits of an NTP timestamp: 16 of seconds, 16 of fraction. */
export function compactNtp(time: { ntpSeconds: number; ntpFraction: number }): number {
  return (((time.ntpSeconds & 0xffff) << 16) | (time.ntpFraction >>> 16)) >>> 0;
}

/**
 * The round trip that a report block about our own stream tells (RFC 3550 §6.4.1).
 *
 * @param nowUnixMs - when the report arrived, on the clock that our SR was stamped with
 * @returns undefined when they have not seen an SR of ours, or the clock went backwards
 */
export function roundTripMs(report: ReportBlock, nowUnixMs: number): number | undefined {
  if (report.lastSr === 0) return undefined;
  const elapsed = (compactNtp(ntpTime(nowUnixMs)) - report.lastSr - report.delaySinceLastSr) >>> 0;
  return elapsed >= 0x80000000 ? undefined : (elapsed * 1000) / 65536;
}

/** Remembers a peer's last SR, to echo it in our report blocks. */
export class RtcpReceiver {
  #lastSr = 0;
  #arrivalMs = 0;

  /** @param arrivalMs - monotonic milliseconds */
  onSenderReport(report: Extract<RtcpPacket, { kind: 'senderReport' }>, arrivalMs: number): void {
    this.#lastSr = compactNtp(report);
    this.#arrivalMs = arrivalMs;
  }

  /** The LSR and DLSR fields for a report sent now. */
  echo(nowMs: number): { readonly lastSr: number; readonly delaySinceLastSr: number } {
    if (this.#lastSr === 0) return { lastSr: 0, delaySinceLastSr: 0 };
    const delay = Math.floor(((nowMs - this.#arrivalMs) * 65536) / 1000);
    return { lastSr: this.#lastSr, delaySinceLastSr: Math.max(0, delay) >>> 0 };
  }
}
