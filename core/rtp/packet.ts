/** RTP packets (RFC 3550 §5.1): a checked parser and composer, and a header that is read and written in place. */

import { RtpPacket as LibraryPacket } from 'rtp.js/packets';

export const RTP_HEADER_BYTES = 12;

/** One RTP packet; `payload` is without padding. */
export type RtpPacket = {
  /** 0 to 127. */
  readonly payloadType: number;
  readonly marker: boolean;
  /** 0 to 65535. */
  readonly sequenceNumber: number;
  /** 0 to 2^32 - 1. */
  readonly rtpTimestamp: number;
  readonly ssrc: number;
  readonly payload: Uint8Array;
};

/** Whether a datagram on an RTP port is RTP, RTCP (RFC 5761 §4) or neither. */
export function datagramKind(bytes: Uint8Array, length = bytes.length): 'rtp' | 'rtcp' | undefined {
  if (length < 4 || (bytes[0] ?? 0) >> 6 !== 2) return undefined;
  const second = bytes[1] ?? 0;
  if (second >= 192 && second <= 223) return length >= 8 ? 'rtcp' : undefined;
  return length >= RTP_HEADER_BYTES ? 'rtp' : undefined;
}

/**
 * Parses one datagram. `payload` is a view of `bytes`, so copy it if the buffer is reused.
 *
 * @returns undefined when it is not a well-formed RTP packet; never throws
 */
export function parseRtpPacket(bytes: Uint8Array): RtpPacket | undefined {
  // The library lets a padding of no bytes pass.
  if (datagramKind(bytes) !== 'rtp' || !new RtpHeader().read(bytes)) return undefined;
  try {
    const packet = new LibraryPacket(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
    const payload = packet.getPayload();
    return {
      payloadType: packet.getPayloadType(),
      marker: packet.getMarker(),
      sequenceNumber: packet.getSequenceNumber(),
      rtpTimestamp: packet.getTimestamp(),
      ssrc: packet.getSsrc(),
      payload: new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength),
    };
  } catch {
    return undefined;
  }
}

/** The bytes of a packet without CSRCs, extension or padding. */
export function composeRtpPacket(packet: RtpPacket): Uint8Array {
  const bytes = new Uint8Array(RTP_HEADER_BYTES + packet.payload.length);
  const header = new RtpHeader();
  header.payloadType = packet.payloadType;
  header.marker = packet.marker;
  header.sequenceNumber = packet.sequenceNumber;
  header.rtpTimestamp = packet.rtpTimestamp;
  header.ssrc = packet.ssrc;
  header.write(bytes);
  bytes.set(packet.payload, RTP_HEADER_BYTES);
  return bytes;
}

/**
 * The header of one packet, reused from packet to packet so that hot paths allocate nothing.
 *
 * `read` fills the fields from a datagram; `write` puts the fixed twelve bytes in front of a payload.
 */
export class RtpHeader {
  payloadType = 0;
  marker = false;
  sequenceNumber = 0;
  rtpTimestamp = 0;
  ssrc = 0;
  /** Where the payload begins and ends (exclusive) in the datagram last read. */
  payloadStart = RTP_HEADER_BYTES;
  payloadEnd = RTP_HEADER_BYTES;

  /**
   * Reads the header of the first `length` bytes; CSRCs and extension are skipped, padding is taken off.
   *
   * @returns whether they are a well-formed RTP packet; the fields mean nothing when not
   */
  read(bytes: Uint8Array, length = bytes.length): boolean {
    if (length < RTP_HEADER_BYTES || length > bytes.length) return false;
    const first = byteAt(bytes, 0);
    if (first >> 6 !== 2) return false;
    const second = byteAt(bytes, 1);
    this.marker = second >= 0x80;
    this.payloadType = second & 0x7f;
    this.sequenceNumber = (byteAt(bytes, 2) << 8) | byteAt(bytes, 3);
    this.rtpTimestamp = word(bytes, 4);
    this.ssrc = word(bytes, 8);
    return this.#findPayload(bytes, length, first);
  }

  #findPayload(bytes: Uint8Array, length: number, first: number): boolean {
    let start = RTP_HEADER_BYTES + 4 * (first & 0x0f);
    if ((first & 0x10) !== 0) {
      if (start + 4 > length) return false;
      start += 4 + 4 * ((byteAt(bytes, start + 2) << 8) | byteAt(bytes, start + 3));
    }
    let end = length;
    if ((first & 0x20) !== 0) {
      const padding = byteAt(bytes, length - 1);
      if (padding === 0) return false;
      end -= padding;
    }
    this.payloadStart = start;
    this.payloadEnd = end;
    return start <= end;
  }

  /** Writes version 2, the fields, no CSRC, extension or padding, into the first twelve bytes. */
  write(bytes: Uint8Array): void {
    const { sequenceNumber, rtpTimestamp, ssrc } = this;
    bytes[0] = 0x80;
    bytes[1] = (this.marker ? 0x80 : 0) | this.payloadType;
    bytes[2] = sequenceNumber >> 8;
    bytes[3] = sequenceNumber;
    bytes[4] = rtpTimestamp >>> 24;
    bytes[5] = rtpTimestamp >>> 16;
    bytes[6] = rtpTimestamp >>> 8;
    bytes[7] = rtpTimestamp;
    bytes[8] = ssrc >>> 24;
    bytes[9] = ssrc >>> 16;
    bytes[10] = ssrc >>> 8;
    bytes[11] = ssrc;
  }
}

function byteAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}

function word(bytes: Uint8Array, offset: number): number {
  return (
    ((byteAt(bytes, offset) << 24) |
      (byteAt(bytes, offset + 1) << 16) |
      (byteAt(bytes, offset + 2) << 8) |
      byteAt(bytes, offset + 3)) >>>
    0
  );
}
