/** One packet's worth of sound, laid out so that each listener's header can be written in front of it in place. */

import { RTP_HEADER_BYTES } from '../../core/rtp/packet.ts';

/** The longest Opus packet. */
const MAX_PAYLOAD_BYTES = 1275;

export class MediaFrame {
  /** The header's room, then the payload. */
  readonly packet = Buffer.alloc(RTP_HEADER_BYTES + MAX_PAYLOAD_BYTES);
  /** Of header and payload together; the header alone when there is none. */
  length = RTP_HEADER_BYTES;

  /** @param payload - at most 1275 bytes; copied */
  setPayload(payload: Uint8Array): void {
    this.packet.set(payload, RTP_HEADER_BYTES);
    this.length = RTP_HEADER_BYTES + payload.length;
  }

  get payload(): Uint8Array {
    return this.packet.subarray(RTP_HEADER_BYTES, this.length);
  }
}
