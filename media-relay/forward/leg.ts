/** One side of a call or one room participant: a port pair, where its packets come from and go to, and the counters. */

import { isUnicast } from '../../core/sdp/address.ts';
import type { ChosenAddress } from '../io/local-addresses.ts';
import type { PortPair } from '../io/port-pool.ts';
import type { RelaySettings } from '../options.ts';
import type { LegStatistics } from '../messages.ts';
import { Latch } from './latch.ts';

/** What a description promises of the other end. */
export type LegRemote = {
  /** Undefined when nothing can be sent there: a name, a group, our own port; then only latching can tell. */
  readonly address: string | undefined;
  readonly port: number;
  readonly rtcpPort: number;
  readonly isRtcpMux: boolean;
  /** Hold by address, or a refused stream: nothing is sent, whatever was learned. */
  readonly isHeld: boolean;
};

/** Takes what came in; `packet` is its own only until it returns. */
export type LegSink = {
  onRtp(packet: Buffer, nowMs: number): void;
  onRtcp(packet: Buffer, nowMs: number): void;
};

export type LegSettings = Pick<RelaySettings, 'latch' | 'maxPacketsPerSecond'>;

const RTP_HEADER_LENGTH = 12;
const RTCP_HEADER_LENGTH = 8;
/** Beyond any audio packet, also one that was fragmented on its way. */
const MAX_PACKET_LENGTH = 4096;

const NO_REMOTE: LegRemote = {
  address: undefined,
  port: 0,
  rtcpPort: 0,
  isRtcpMux: false,
  isHeld: false,
};

export class Leg {
  /** Who gets the packets; nobody while undefined. */
  sink: LegSink | undefined;
  readonly #now: () => number;
  readonly #latch: Latch;
  readonly #rtcpLatch: Latch;
  readonly #maxPacketsPerSecond: number;
  #pair: PortPair;
  #local: ChosenAddress;
  #remote = NO_REMOTE;
  #hasPeerRtcpOnRtpPort = false;
  #secondStartMs = 0;
  #packetsThisSecond = 0;

  #receivedPackets = 0;
  #receivedBytes = 0;
  #sentPackets = 0;
  #sentBytes = 0;
  #receivedRtcpPackets = 0;
  #sentRtcpPackets = 0;
  #droppedMalformed = 0;
  #droppedStranger = 0;
  #droppedExcess = 0;
  #lastPacketMs: number | undefined;

  constructor(pair: PortPair, local: ChosenAddress, settings: LegSettings, now: () => number) {
    this.#now = now;
    this.#latch = new Latch(settings.latch);
    this.#rtcpLatch = new Latch(settings.latch);
    this.#maxPacketsPerSecond = settings.maxPacketsPerSecond;
    this.#pair = pair;
    this.#local = local;
    this.#listen(pair);
  }

  get pair(): PortPair {
    return this.#pair;
  }

  /** The address that the other end is told. */
  get address(): string {
    return this.#local.advertise;
  }

  get boundAddress(): string {
    return this.#local.bind;
  }

  get port(): number {
    return this.#pair.rtp.localPort;
  }

  get rtcpPort(): number {
    return this.#pair.rtcp.localPort;
  }

  get lastPacketMs(): number | undefined {
    return this.#lastPacketMs;
  }

  /** An offer or answer of the other end: learning begins again, preferring what is promised here. */
  setRemote(remote: LegRemote): void {
    this.#remote = remote;
    this.#hasPeerRtcpOnRtpPort = remote.isRtcpMux;
    const { address, port, rtcpPort } = remote;
    const isPromised = address !== undefined && port !== 0 && isUnicast(address);
    this.#latch.promise(isPromised ? { address, port } : undefined);
    this.#rtcpLatch.promise(isPromised && rtcpPort !== 0 ? { address, port: rtcpPort } : undefined);
  }

  /** Takes over another pair, of another address family, and returns the old one for release. */
  move(pair: PortPair, local: ChosenAddress): PortPair {
    const old = this.#pair;
    this.#pair = pair;
    this.#local = local;
    this.#listen(pair);
    return old;
  }

  /** Sends one RTP packet to where this leg's packets come from, or else were promised. Never throws. */
  sendRtp(packet: Uint8Array): void {
    const address = this.#latch.destinationAddress;
    if (address === undefined || this.#remote.isHeld) return;
    this.#sentPackets += 1;
    this.#sentBytes += packet.length;
    this.#pair.rtp.send(packet, address, this.#latch.destinationPort);
  }

  sendRtcp(packet: Uint8Array): void {
    if (this.#remote.isHeld) return;
    const isMuxed = this.#hasPeerRtcpOnRtpPort;
    const latch = isMuxed ? this.#latch : this.#rtcpLatch;
    const address = latch.destinationAddress;
    if (address === undefined) return;
    this.#sentRtcpPackets += 1;
    (isMuxed ? this.#pair.rtp : this.#pair.rtcp).send(packet, address, latch.destinationPort);
  }

  statistics(fromTag: string): LegStatistics {
    const { address, port } = this.#latch;
    const promised = this.#latch.promised;
    return {
      fromTag,
      localPort: this.port,
      promised: promised === undefined ? undefined : endpointText(promised.address, promised.port),
      latched: address === undefined ? undefined : endpointText(address, port),
      receivedPackets: this.#receivedPackets,
      receivedBytes: this.#receivedBytes,
      sentPackets: this.#sentPackets,
      sentBytes: this.#sentBytes,
      receivedRtcpPackets: this.#receivedRtcpPackets,
      sentRtcpPackets: this.#sentRtcpPackets,
      droppedMalformed: this.#droppedMalformed,
      droppedStranger: this.#droppedStranger,
      droppedExcess: this.#droppedExcess,
      silentMs: this.#lastPacketMs === undefined ? undefined : this.#now() - this.#lastPacketMs,
    };
  }

  #listen(pair: PortPair): void {
    pair.rtp.onDatagram = (packet, address, port) => {
      this.#onRtpPort(packet, address, port);
    };
    pair.rtcp.onDatagram = (packet, address, port) => {
      this.#onRtcpPort(packet, address, port);
    };
  }

  /** RTP, and RTCP too where the other end multiplexes (RFC 5761 §4: types 192 to 223 in the second byte are RTCP). */
  #onRtpPort(packet: Buffer, address: string, port: number): void {
    if (isRtcp(packet)) {
      this.#onMuxedRtcp(packet, address, port);
      return;
    }
    if (!isRtp(packet)) {
      this.#droppedMalformed += 1;
      return;
    }
    const nowMs = this.#now();
    if (!this.#latch.admit(address, port, readSsrc(packet), readSequence(packet), nowMs)) {
      this.#droppedStranger += 1;
      return;
    }
    if (this.#isExcess(nowMs)) return;
    this.#lastPacketMs = nowMs;
    this.#receivedPackets += 1;
    this.#receivedBytes += packet.length;
    this.sink?.onRtp(packet, nowMs);
  }

  /** RTCP alone teaches nothing about where RTP comes from. */
  #onMuxedRtcp(packet: Buffer, address: string, port: number): void {
    if (address !== this.#latch.address || port !== this.#latch.port) {
      this.#droppedStranger += 1;
      return;
    }
    this.#hasPeerRtcpOnRtpPort = true;
    this.#acceptRtcp(packet, this.#now());
  }

  #onRtcpPort(packet: Buffer, address: string, port: number): void {
    if (!isRtcp(packet)) {
      this.#droppedMalformed += 1;
      return;
    }
    const nowMs = this.#now();
    // One host sends both, so RTCP may come only from where RTP comes from or was promised to.
    const isSameHost =
      this.#latch.address === undefined ||
      address === this.#latch.address ||
      address === this.#remote.address;
    if (!isSameHost || !this.#rtcpLatch.admit(address, port, 0, 0, nowMs)) {
      this.#droppedStranger += 1;
      return;
    }
    this.#acceptRtcp(packet, nowMs);
  }

  #acceptRtcp(packet: Buffer, nowMs: number): void {
    if (this.#isExcess(nowMs)) return;
    this.#lastPacketMs = nowMs;
    this.#receivedRtcpPackets += 1;
    this.sink?.onRtcp(packet, nowMs);
  }

  #isExcess(nowMs: number): boolean {
    if (nowMs - this.#secondStartMs >= 1000) {
      this.#secondStartMs = nowMs;
      this.#packetsThisSecond = 0;
    }
    this.#packetsThisSecond += 1;
    if (this.#packetsThisSecond <= this.#maxPacketsPerSecond) return false;
    this.#droppedExcess += 1;
    return true;
  }
}

/** Version 2, long enough, and not so long that nobody would send it. */
function hasRtpVersion(packet: Buffer, minLength: number): boolean {
  const { length } = packet;
  return length >= minLength && length <= MAX_PACKET_LENGTH && ((packet[0] ?? 0) & 0xc0) === 0x80;
}

function isRtp(packet: Buffer): boolean {
  return hasRtpVersion(packet, RTP_HEADER_LENGTH);
}

function isRtcp(packet: Buffer): boolean {
  const type = packet[1] ?? 0;
  return type >= 192 && type <= 223 && hasRtpVersion(packet, RTCP_HEADER_LENGTH);
}

function readSequence(packet: Buffer): number {
  return ((packet[2] ?? 0) << 8) | (packet[3] ?? 0);
}

function readSsrc(packet: Buffer): number {
  return (
    (((packet[8] ?? 0) << 24) |
      ((packet[9] ?? 0) << 16) |
      ((packet[10] ?? 0) << 8) |
      (packet[11] ?? 0)) >>>
    0
  );
}

function endpointText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
