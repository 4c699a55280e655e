/** The media of one call: its two sockets, what goes out and comes in, RTCP, and the figures of quality. */

import type { RemoteInfo } from 'node:dgram';
import { CODEC_NAMES } from '../../core/audio/codec.ts';
import type { CodecName } from '../../core/audio/codec.ts';
import { RtpHeader, datagramKind } from '../../core/rtp/packet.ts';
import { RtcpReceiver, composeRtcp, ntpTime, parseRtcp, roundTripMs } from '../../core/rtp/rtcp.ts';
import type { OutgoingRtcpPacket, ReportBlock } from '../../core/rtp/rtcp.ts';
import { TelephoneEventReceiver, digitOf } from '../../core/rtp/telephone-event.ts';
import type { AgreedCodec, AudioAgreement } from '../../core/sdp/offer-answer.ts';
import { canReceive, canSend } from '../../core/sdp/session-description.ts';
import { FRAME_SAMPLES } from './device.ts';
import type { Clock } from './device.ts';
import { RemoteSource } from './remote-source.ts';
import { openRtpPorts } from './rtp-ports.ts';
import type { PortRange, RtpPorts } from './rtp-ports.ts';
import { RtpReceiver, createDecoders } from './rtp-receiver.ts';
import type { Decoders } from './rtp-receiver.ts';
import { RtpSender } from './rtp-sender.ts';
import type { EncoderSettings } from './rtp-sender.ts';

export type RtpSessionOptions = {
  /** To bind to: the address that SDP will name, or the unspecified one. */
  readonly address: string;
  readonly ports: PortRange;
  readonly encoder: EncoderSettings;
  /** The least playout delay; 0 leaves it to the jitter buffer. */
  readonly minDelayMs: number;
  readonly clock: Clock;
  /** A key was pressed on the other side (told when it goes up). */
  readonly onDigit: (digit: string) => void;
};

/** How a call sounds, in both directions. */
export type MediaFigures = {
  /** What we send, and what comes; undefined before there was any. */
  readonly sendingCodec: CodecName | undefined;
  readonly receivingCodec: CodecName | undefined;
  readonly sentPackets: number;
  readonly receivedPackets: number;
  /** Of the packets for us, never arrived or too late, in percent since the call began. */
  readonly lossPercent: number;
  readonly jitterMs: number;
  readonly playoutDelayMs: number;
  readonly concealedFrames: number;
  /** As their RTCP tells; undefined without RTCP. */
  readonly roundTripMs: number | undefined;
  readonly remoteLossPercent: number | undefined;
  readonly remoteJitterMs: number | undefined;
  /** Not RTP, of an unknown payload type, or from somebody who is no part of this call. */
  readonly droppedPackets: number;
  readonly bitrate: number;
  readonly hasFec: boolean;
};

const NOTHING_RECEIVED = {
  receivingCodec: undefined,
  receivedPackets: 0,
  lossPercent: 0,
  jitterMs: 0,
  playoutDelayMs: 0,
  concealedFrames: 0,
} as const;
const RTCP_INTERVAL_MS = 5000;
/** What FEC is told when losses are reported: below 10 % the encoder leaves it out. */
const FEC_LOSS_PERCENT = 15;
const LOSS_FOR_FEC = 0.02;

export class RtpSession {
  readonly port: number;
  readonly #ports: RtpPorts;
  readonly #clock: Clock;
  readonly #onDigit: (digit: string) => void;
  readonly #sender: RtpSender;
  readonly #receiver: RtpReceiver;
  readonly #header = new RtpHeader();
  readonly #remote = new RemoteSource();
  readonly #rtcp = new RtcpReceiver();
  readonly #cname: string;
  #keys: { readonly receiver: TelephoneEventReceiver; readonly types: Set<number> } | undefined;
  #agreement: AudioAgreement | undefined;
  #cancelRtcp: (() => void) | undefined;
  #reportedPackets = 0;
  #dropped = 0;
  #roundTripMs: number | undefined;
  #remoteReport: ReportBlock | undefined;
  #isFecChosen = false;
  #isClosed = false;

  static async open(options: RtpSessionOptions): Promise<RtpSession> {
    const decoders = await createDecoders();
    const ports = await openRtpPorts(options.address, options.ports, Math.random);
    return new RtpSession(options, ports, decoders);
  }

  private constructor(options: RtpSessionOptions, ports: RtpPorts, decoders: Decoders) {
    this.port = ports.port;
    this.#ports = ports;
    this.#clock = options.clock;
    this.#onDigit = options.onDigit;
    this.#sender = new RtpSender(options.encoder, Math.random);
    this.#receiver = new RtpReceiver(decoders, options.minDelayMs);
    this.#cname = Math.random().toString(36).slice(2, 12);
    ports.rtp.on('message', (datagram, from) => {
      this.#receive(datagram, from);
    });
    ports.rtcp.on('message', (datagram) => {
      this.#receiveRtcp(datagram);
    });
  }

  /** What offer and answer have agreed; undefined before that. */
  get agreement(): AudioAgreement | undefined {
    return this.#agreement;
  }

  get canSend(): boolean {
    return this.#agreement !== undefined && canSend(this.#agreement.direction);
  }

  get canReceive(): boolean {
    return this.#agreement !== undefined && canReceive(this.#agreement.direction);
  }

  /** Begins, or goes on differently, as agreed by offer and answer. */
  apply(agreement: AudioAgreement): void {
    if (this.#isClosed) return;
    const isFirst = this.#agreement === undefined;
    this.#agreement = agreement;
    const { remote, telephoneEvent } = agreement;
    this.#remote.expect(remote.address, remote.port);
    const known = agreement.codecs.flatMap((agreed) => {
      const codec = codecNamed(agreed);
      return codec === undefined ? [] : [{ codec, agreed }];
    });
    const [first] = known;
    if (first !== undefined) {
      this.#sender.setFormat({
        codec: first.codec,
        payloadType: first.agreed.sendPayloadType,
        telephoneEvent: telephoneEvent && {
          payloadType: telephoneEvent.sendPayloadType,
          clockRateHz: telephoneEvent.clockRateHz,
        },
      });
    }
    this.#receiver.setFormats(
      known.map(({ codec, agreed }) => ({ codec, payloadType: agreed.receivePayloadType })),
    );
    this.#keys = telephoneEvent && {
      receiver: new TelephoneEventReceiver(telephoneEvent.clockRateHz),
      types: new Set([telephoneEvent.receivePayloadType]),
    };
    if (isFirst) this.#scheduleRtcp(RTCP_INTERVAL_MS / 2);
  }

  /**
   * One beat: sends what was captured and gives what is to be heard.
   *
   * @param captured - 960 samples
   * @param heard - room for 960 samples
   * @param dueMs - the moment of this frame on the session's clock
   */
  exchange(captured: Int16Array, heard: Int16Array, dueMs: number): void {
    if (this.#isClosed) {
      heard.fill(0, 0, FRAME_SAMPLES);
      return;
    }
    this.#send(captured, dueMs);
    this.#receiver.pull(dueMs, heard);
    if (!this.canReceive) heard.fill(0, 0, FRAME_SAMPLES);
    const lost = this.#keys?.receiver.poll(dueMs);
    if (lost?.kind === 'ended') this.#keyEnded(lost.event);
  }

  /** @returns false when the other side does not take keys, or one is no key */
  sendDigits(digits: string): boolean {
    return this.#sender.sendDigits(digits);
  }

  /** Changes the encoder from the next frame on. */
  adjust(settings: Partial<EncoderSettings>): void {
    if (settings.expectedLossPercent !== undefined) this.#isFecChosen = true;
    this.#sender.adjust(settings);
  }

  get figures(): MediaFigures {
    const { bitrate, fec } = this.#sender.settings;
    return {
      sendingCodec: this.#sender.format?.codec,
      sentPackets: this.#sender.counters.packets,
      bitrate,
      hasFec: fec,
      ...this.#receptionFigures(),
      ...this.#remoteFigures(),
    };
  }

  #receptionFigures() {
    const reception = this.#receiver.figures;
    if (reception === undefined) return { ...NOTHING_RECEIVED, droppedPackets: this.#dropped };
    const { receivedPackets, lostPackets, latePackets, concealedFrames } = reception;
    const expected = receivedPackets + lostPackets;
    return {
      receivingCodec: reception.codec,
      receivedPackets,
      lossPercent: expected === 0 ? 0 : (100 * (lostPackets + latePackets)) / expected,
      jitterMs: reception.jitterMs,
      playoutDelayMs: reception.playoutDelayMs,
      concealedFrames,
      droppedPackets: this.#dropped + reception.droppedPackets,
    };
  }

  #remoteFigures() {
    const report = this.#remoteReport;
    const clockRateHz = this.#agreement?.codecs[0].clockRateHz ?? 8000;
    return {
      roundTripMs: this.#roundTripMs,
      remoteLossPercent: report && (100 * report.fractionLost) / 256,
      remoteJitterMs: report && (1000 * report.jitter) / clockRateHz,
    };
  }

  /** Says good-bye by RTCP and frees both ports. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelRtcp?.();
    if (this.#agreement !== undefined) {
      this.#sendRtcp([{ kind: 'bye', ssrcs: [this.#sender.ssrc], reason: undefined }]);
    }
    this.#ports.rtp.close();
    this.#ports.rtcp.close();
    this.#sender.close();
    this.#receiver.close();
  }

  #send(captured: Int16Array, nowMs: number): void {
    const target = this.#remote.target;
    if (!this.canSend || target === undefined) {
      this.#sender.pause();
      return;
    }
    const packet = this.#sender.packetFor(captured, nowMs);
    if (packet !== undefined) this.#ports.rtp.send(packet, target.port, target.address, ignore);
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    const kind = datagramKind(datagram);
    if (kind === 'rtcp') {
      this.#receiveRtcp(datagram);
      return;
    }
    const header = this.#header;
    if (kind !== 'rtp' || !header.read(datagram) || !this.#remote.accepts(from)) {
      this.#dropped += 1;
      return;
    }
    const nowMs = this.#clock.nowMs();
    if (this.#keys?.types.has(header.payloadType) === true) {
      this.#receiver.skip(header, nowMs);
      const payload = datagram.subarray(header.payloadStart, header.payloadEnd);
      for (const told of this.#keys.receiver.push(payload, header.rtpTimestamp, nowMs)) {
        if (told.kind === 'ended') this.#keyEnded(told.event);
      }
    } else if (!this.#receiver.push(header, datagram, nowMs)) {
      this.#dropped += 1;
    }
  }

  #keyEnded(event: number): void {
    const digit = digitOf(event);
    if (digit !== undefined) this.#onDigit(digit);
  }

  #receiveRtcp(datagram: Buffer): void {
    const packets = parseRtcp(datagram);
    if (packets === undefined) {
      this.#dropped += 1;
      return;
    }
    for (const packet of packets) {
      if (packet.kind === 'senderReport') this.#rtcp.onSenderReport(packet, this.#clock.nowMs());
      if (packet.kind !== 'senderReport' && packet.kind !== 'receiverReport') continue;
      const report = packet.reports.find(({ ssrc }) => ssrc === this.#sender.ssrc);
      if (report !== undefined) this.#reported(report);
    }
  }

  #reported(report: ReportBlock): void {
    this.#remoteReport = report;
    this.#roundTripMs = roundTripMs(report, Date.now()) ?? this.#roundTripMs;
    // The encoder spends bits on FEC only while the other side loses packets.
    if (this.#isFecChosen || !this.#sender.settings.fec) return;
    const isLossy = report.fractionLost / 256 > LOSS_FOR_FEC;
    this.#sender.adjust({ expectedLossPercent: isLossy ? FEC_LOSS_PERCENT : 0 });
  }

  #scheduleRtcp(meanMs: number): void {
    // RFC 3550 §6.3.1: between half and one and a half times the interval, so that phones do not fall into step.
    this.#cancelRtcp = this.#clock.setTimer(
      () => {
        this.#sendRtcp([]);
        this.#scheduleRtcp(RTCP_INTERVAL_MS);
      },
      meanMs * (0.5 + Math.random()),
    );
  }

  #sendRtcp(more: readonly OutgoingRtcpPacket[]): void {
    const remote = this.#agreement?.remote;
    const address = this.#remote.target?.address;
    if (remote === undefined || address === undefined) return;
    const { ssrc, rtpTimestamp, counters } = this.#sender;
    const block = this.#receiver.statistics?.report(this.#rtcp.echo(this.#clock.nowMs()));
    const reports = block === undefined ? [] : [block];
    const hasSent = counters.packets > this.#reportedPackets;
    this.#reportedPackets = counters.packets;
    const report: OutgoingRtcpPacket = hasSent
      ? {
          kind: 'senderReport',
          ssrc,
          ...ntpTime(Date.now()),
          rtpTimestamp,
          packetCount: counters.packets,
          octetCount: counters.octets,
          reports,
        }
      : { kind: 'receiverReport', ssrc, reports };
    const names: OutgoingRtcpPacket = {
      kind: 'sourceDescription',
      chunks: [{ ssrc, cname: this.#cname }],
    };
    const datagram = composeRtcp([report, names, ...more]);
    const socket = remote.isRtcpMux ? this.#ports.rtp : this.#ports.rtcp;
    socket.send(datagram, remote.rtcpPort, address, ignore);
  }
}

function codecNamed({ encoding, clockRateHz }: AgreedCodec): CodecName | undefined {
  const name = CODEC_NAMES.find((known) => known.toLowerCase() === encoding.toLowerCase());
  const isUsual = clockRateHz === (name === 'opus' ? 48_000 : 8000);
  return isUsual ? name : undefined;
}

/** A datagram that cannot be sent is a lost one; losses are counted where they are noticed, on the other side. */
function ignore(): void {
  // Nothing to do.
}
