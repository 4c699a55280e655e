/**
 * What one participant receives, as one unbroken RTP stream: one SSRC, consecutive sequence numbers, and timestamps
 * that follow the room's clock, wherever the sound of a tick comes from and through pauses.
 */

import { randomBytes } from 'node:crypto';
import { RTP_HEADER_BYTES, RtpHeader } from '../../core/rtp/packet.ts';
import { advanceSequence, advanceTimestamp } from '../../core/rtp/sequence.ts';
import { MediaFrame } from './media-frame.ts';
import { packetizerFor, type Packetizer } from './packetizer.ts';
import type { ParticipantMedia, ParticipantPort } from './seam.ts';

const FRAME_MS = 20;

export class OutgoingStream {
  readonly #port: ParticipantPort;
  readonly #header = new RtpHeader();
  #frameUnits = 0;
  #payloadType = 0;
  #eventPayloadType = 0;
  #packetizer: Packetizer | undefined;
  #pieces: MediaFrame | undefined;
  /** Timestamp of the tick at hand. */
  #timestamp = randomBytes(4).readUInt32BE(0);
  #eventTimestamp = 0;
  /** The next packet is the first after a pause. */
  #isTalkspurt = true;

  constructor(port: ParticipantPort) {
    this.#port = port;
    this.#header.ssrc = randomBytes(4).readUInt32BE(0);
    this.#header.sequenceNumber = randomBytes(2).readUInt16BE(0);
  }

  /** Applies what was agreed; the numbers go on. */
  configure(media: ParticipantMedia): void {
    this.#frameUnits = (FRAME_MS * media.clockRateHz) / 1000;
    this.#eventPayloadType = media.telephoneEvent?.sendPayloadType ?? 0;
    if (media.sendPayloadType !== this.#payloadType) this.#isTalkspurt = true;
    this.#payloadType = media.sendPayloadType;
    this.#packetizer = packetizerFor(media.codec, media.ptimeMs);
  }

  /** Sends this tick's sound and moves on to the next tick. */
  sendAudio(frame: MediaFrame): void {
    if (this.#packetizer === undefined) this.#send(frame, this.#payloadType, this.#timestamp);
    else this.#sendPieces(this.#packetizer, frame);
    this.pass(1);
  }

  /** Sends a telephone-event in place of sound; all packets of one event carry the time of its beginning. */
  sendEvent(frame: MediaFrame, isFirst: boolean): void {
    if (isFirst) {
      this.#packetizer?.clear();
      this.#eventTimestamp = this.#timestamp;
      this.#isTalkspurt = true;
    }
    this.#send(frame, this.#eventPayloadType, this.#eventTimestamp);
    this.pass(1);
  }

  /** Sends nothing for this tick. */
  pause(): void {
    if (!this.#isTalkspurt) this.#packetizer?.clear();
    this.#isTalkspurt = true;
    this.pass(1);
  }

  /** Moves the time on by so many ticks. */
  pass(ticks: number): void {
    this.#timestamp = advanceTimestamp(this.#timestamp, ticks * this.#frameUnits);
  }

  #sendPieces(packetizer: Packetizer, frame: MediaFrame): void {
    this.#pieces ??= new MediaFrame();
    let timestamp = advanceTimestamp(this.#timestamp, -packetizer.held);
    for (const { payload, duration } of packetizer.add(frame.payload)) {
      this.#pieces.setPayload(payload);
      this.#send(this.#pieces, this.#payloadType, timestamp);
      timestamp = advanceTimestamp(timestamp, duration);
    }
  }

  #send(frame: MediaFrame, payloadType: number, timestamp: number): void {
    const header = this.#header;
    header.payloadType = payloadType;
    header.marker = this.#isTalkspurt;
    header.sequenceNumber = advanceSequence(header.sequenceNumber);
    header.rtpTimestamp = timestamp;
    header.write(frame.packet);
    this.#isTalkspurt = false;
    this.#port.send(frame.packet, Math.max(frame.length, RTP_HEADER_BYTES));
  }
}
