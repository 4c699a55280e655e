/** The port of one room participant: its leg, and RTCP, whose other end we are (RFC 3550 §6). */

import { randomBytes } from 'node:crypto';
import { RTP_HEADER_BYTES, RtpHeader } from '../../core/rtp/packet.ts';
import { ReceptionStats } from '../../core/rtp/reception-stats.ts';
import { composeRtcp, ntpTime, parseRtcp, RtcpReceiver } from '../../core/rtp/rtcp.ts';
import type { OutgoingRtcpPacket } from '../../core/rtp/rtcp.ts';
import type { AudioAgreement } from '../../core/sdp/offer-answer.ts';
import { canReceive, canSend } from '../../core/sdp/session-description.ts';
import type { RoomStatistics } from '../messages.ts';
import { ROOM_CODECS } from '../room/seam.ts';
import type { Participant, ParticipantMedia, ParticipantPort, RoomMixer } from '../room/seam.ts';
import type { Leg } from './leg.ts';

export type ParticipantName = {
  readonly room: string;
  readonly callId: string;
  readonly fromTag: string;
};

export class RoomPort implements ParticipantPort {
  readonly room: string;
  readonly callId: string;
  readonly fromTag: string;
  readonly leg: Leg;
  /** What we have said of ourselves last, and the offer that still waits for its answer. */
  localSdp: string | undefined;
  openOffer: string | undefined;
  sessionVersion = 0;
  readonly sessionId = String(randomBytes(6).readUIntBE(0, 6));
  nextReportMs: number;
  readonly #rtcpIntervalMs: number;
  readonly #cname = randomBytes(12).toString('base64url');
  readonly #header = new RtpHeader();
  #participant: Participant | undefined;
  #reception: ReceptionStats | undefined;
  #rtcpReceiver = new RtcpReceiver();
  #clockRateHz = 0;

  /** Of what we send; the SSRC is the mixer's as soon as it has sent. */
  #ssrc = randomBytes(4).readUInt32BE(0);
  #sentTimestamp = 0;
  #sentAtMs: number | undefined;
  #sentPackets = 0;
  #sentOctets = 0;
  #reportedPackets = 0;

  constructor(name: ParticipantName, leg: Leg, nowMs: number, rtcpIntervalMs: number) {
    this.room = name.room;
    this.callId = name.callId;
    this.fromTag = name.fromTag;
    this.leg = leg;
    this.#rtcpIntervalMs = rtcpIntervalMs;
    this.nextReportMs = nowMs + this.#interval();
    leg.sink = {
      onRtp: (packet, arrivalMs) => {
        this.#onRtp(packet, arrivalMs);
      },
      onRtcp: (packet, arrivalMs) => {
        this.#onRtcp(packet, arrivalMs);
      },
    };
  }

  /**
   * Enters the room, or changes what was agreed.
   *
   * @throws ResourceError when the mixer has no place
   */
  agree(agreement: AudioAgreement, mixer: RoomMixer): void {
    const media = participantMedia(agreement);
    if (this.#participant === undefined) this.#participant = mixer.join(this.room, this, media);
    else this.#participant.update(media);
    if (media.clockRateHz !== this.#clockRateHz) {
      this.#clockRateHz = media.clockRateHz;
      this.#reception = new ReceptionStats(media.clockRateHz);
    }
    this.leg.setRemote(agreement.remote);
  }

  get hasJoined(): boolean {
    return this.#participant !== undefined;
  }

  setMuted(isMuted: boolean): void {
    this.#participant?.setMuted(isMuted);
  }

  send(packet: Uint8Array, length: number): void {
    const view = length === packet.length ? packet : packet.subarray(0, length);
    this.#ssrc = readUint32(packet, 8);
    this.#sentTimestamp = readUint32(packet, 4);
    this.#sentAtMs = performance.now();
    this.#sentPackets += 1;
    this.#sentOctets += length - RTP_HEADER_BYTES;
    this.leg.sendRtp(view);
  }

  statistics(): RoomStatistics['participants'][number] | undefined {
    if (this.#participant === undefined) return undefined;
    return {
      ...this.leg.statistics(this.fromTag),
      ...this.#participant.statistics(),
      callId: this.callId,
    };
  }

  /** Sends the report that is due and sets the time of the next. */
  report(nowMs: number): void {
    this.nextReportMs = nowMs + this.#interval();
    if (!this.hasJoined) return;
    this.leg.sendRtcp(composeRtcp(this.#reportPackets(nowMs)));
  }

  /** Leaves the room with a BYE; the ports are the caller's to release. */
  leave(): void {
    this.#participant?.leave();
    this.leg.sink = undefined;
    if (this.hasJoined) {
      const bye: OutgoingRtcpPacket = { kind: 'bye', ssrcs: [this.#ssrc], reason: undefined };
      this.leg.sendRtcp(composeRtcp([...this.#reportPackets(performance.now()), bye]));
    }
    this.#participant = undefined;
  }

  /** From half to one and a half of the interval, so that reports do not march in step (RFC 3550 §6.2). */
  #interval(): number {
    return this.#rtcpIntervalMs * (0.5 + Math.random());
  }

  #onRtp(packet: Buffer, arrivalMs: number): void {
    if (this.#header.read(packet)) this.#reception?.receive(this.#header, arrivalMs);
    this.#participant?.onRtp(packet, arrivalMs);
  }

  #onRtcp(packet: Buffer, arrivalMs: number): void {
    for (const part of parseRtcp(packet) ?? []) {
      if (part.kind === 'senderReport') this.#rtcpReceiver.onSenderReport(part, arrivalMs);
    }
  }

  /** A sender report when something went out since the last one, else a receiver report; and who we are. */
  #reportPackets(nowMs: number): OutgoingRtcpPacket[] {
    const block = this.#reception?.report(this.#rtcpReceiver.echo(nowMs));
    const reports = block === undefined ? [] : [block];
    const ssrc = this.#ssrc;
    const name: OutgoingRtcpPacket = {
      kind: 'sourceDescription',
      chunks: [{ ssrc, cname: this.#cname }],
    };
    if (this.#sentAtMs === undefined || this.#sentPackets === this.#reportedPackets) {
      return [{ kind: 'receiverReport', ssrc, reports }, name];
    }
    this.#reportedPackets = this.#sentPackets;
    // The RTP clock runs on from the last packet: both timestamps of a report mean the same moment.
    const elapsed = Math.round(((nowMs - this.#sentAtMs) * this.#clockRateHz) / 1000);
    const report: OutgoingRtcpPacket = {
      kind: 'senderReport',
      ssrc,
      ...ntpTime(performance.timeOrigin + nowMs),
      rtpTimestamp: (this.#sentTimestamp + elapsed) >>> 0,
      packetCount: this.#sentPackets >>> 0,
      octetCount: this.#sentOctets >>> 0,
      reports,
    };
    return [report, name];
  }
}

function participantMedia(agreement: AudioAgreement): ParticipantMedia {
  const [codec] = agreement.codecs;
  const name = ROOM_CODECS.find((known) => known.toLowerCase() === codec.encoding.toLowerCase());
  return {
    codec: name ?? 'PCMU',
    sendPayloadType: codec.sendPayloadType,
    receivePayloadType: codec.receivePayloadType,
    clockRateHz: codec.clockRateHz,
    formatParameters: codec.remoteParameters,
    ptimeMs: Math.min(60, Math.max(10, agreement.ptimeMs ?? 20)),
    telephoneEvent: agreement.telephoneEvent,
    comfortNoisePayloadType: agreement.comfortNoise?.sendPayloadType,
    canTalk: canReceive(agreement.direction),
    canHear: canSend(agreement.direction),
  };
}

function readUint32(packet: Uint8Array, at: number): number {
  return (
    (((packet[at] ?? 0) << 24) |
      ((packet[at + 1] ?? 0) << 16) |
      ((packet[at + 2] ?? 0) << 8) |
      (packet[at + 3] ?? 0)) >>>
    0
  );
}
