/** An RTP endpoint for tests: real sockets on loopback; sends sound or any bytes, keeps and decodes what comes. */

import { AUDIO_CODECS } from '../../core/audio/codec.ts';
import type { CodecName } from '../../core/audio/codec.ts';
import type { Sound } from '../../core/audio/score.ts';
import { composeRtpPacket, parseRtpPacket } from '../../core/rtp/packet.ts';
import type { RtpPacket } from '../../core/rtp/packet.ts';
import { eventOf, TelephoneEventSender } from '../../core/rtp/telephone-event.ts';
import { ipVersion } from '../../core/sdp/address.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import type { Direction } from '../../core/sdp/session-description.ts';
import { UdpPort } from '../../media-relay/io/udp-port.ts';

export type RtpPeerOptions = {
  /** What it sends and decodes; PCMU when absent. */
  readonly codec?: CodecName;
  /** Numeric; 127.0.0.1 when absent. */
  readonly address?: string;
  readonly ssrc?: number;
};

/** Sends from one to the other until it arrives: the first packets may be what the relay learns from. */
export async function packetsPass(from: RtpPeer, to: RtpPeer): Promise<void> {
  const before = to.received.length;
  const timer = setInterval(() => {
    from.send(new Uint8Array(160).fill(0xd5));
  }, PACKET_MS);
  try {
    await to.until(() => to.received.length > before);
  } finally {
    clearInterval(timer);
  }
}

type Remote = { address: string; port: number; rtcpPort: number };

const PACKET_MS = 20;
const OPUS_PAYLOAD_TYPE = 96;
const EVENT_PAYLOAD_TYPE = 101;

export class RtpPeer {
  readonly codec: CodecName;
  readonly address: string;
  readonly ssrc: number;
  /** Whole packets in the order of arrival; each a copy. */
  readonly received: RtpPacket[] = [];
  readonly receivedRtcp: Buffer[] = [];
  /** Where each of `received` came from, `address:port`. */
  readonly sources = new Set<string>();
  /** Datagrams on the RTP port that are not RTP. */
  malformed = 0;
  sequenceNumber = Math.floor(Math.random() * 0x10000);
  rtpTimestamp = Math.floor(Math.random() * 0x100000000);
  remote: Remote | undefined;
  readonly #rtp: UdpPort;
  readonly #rtcp: UdpPort;
  #waiters: (() => void)[] = [];

  private constructor(rtp: UdpPort, rtcp: UdpPort, options: RtpPeerOptions, address: string) {
    this.#rtp = rtp;
    this.#rtcp = rtcp;
    this.codec = options.codec ?? 'PCMU';
    this.address = address;
    this.ssrc = options.ssrc ?? Math.floor(Math.random() * 0xffffffff) + 1;
    rtp.onDatagram = (bytes, from, port) => {
      this.#onRtp(Buffer.from(bytes), `${from}:${port}`);
    };
    rtcp.onDatagram = (bytes) => {
      this.receivedRtcp.push(Buffer.from(bytes));
      this.#wake();
    };
  }

  /** Opens two ports that the system chooses. */
  static async open(options: RtpPeerOptions = {}): Promise<RtpPeer> {
    const address = options.address ?? '127.0.0.1';
    const rtp = await UdpPort.open(address, 0);
    return new RtpPeer(rtp, await UdpPort.open(address, 0), options, address);
  }

  get port(): number {
    return this.#rtp.localPort;
  }

  get rtcpPort(): number {
    return this.#rtcp.localPort;
  }

  get payloadType(): number {
    return AUDIO_CODECS[this.codec].payloadType ?? OPUS_PAYLOAD_TYPE;
  }

  /** Its description, as offer or as answer: one codec and telephone-event. */
  sdp(options: { direction?: Direction; address?: string; version?: number } = {}): string {
    const { direction = 'sendrecv', address = this.address, version = 1 } = options;
    const { name, clockRateHz, channels } = AUDIO_CODECS[this.codec];
    const at = `IN IP${ipVersion(address) ?? 4} ${address}`;
    const type = this.payloadType;
    return [
      'v=0',
      `o=peer 1 ${version} ${at}`,
      's=-',
      `c=${at}`,
      't=0 0',
      `m=audio ${this.port} RTP/AVP ${type} ${EVENT_PAYLOAD_TYPE}`,
      `a=rtcp:${this.rtcpPort} ${at}`,
      `a=rtpmap:${type} ${name}/${clockRateHz}${channels === 1 ? '' : `/${channels}`}`,
      `a=rtpmap:${EVENT_PAYLOAD_TYPE} telephone-event/8000`,
      `a=${direction}`,
      'a=ptime:20',
      '',
    ].join('\r\n');
  }

  /** Takes from a description where to send. */
  setRemote(sdp: string): void {
    const media = parseSessionDescription(sdp).media.find(({ kind }) => kind === 'audio');
    if (media?.address === undefined) throw new Error('no audio address in the description');
    const rtcpPort = media.isRtcpMux ? media.port : media.rtcp.port;
    this.remote = { address: media.address, port: media.port, rtcpPort };
  }

  /** Sends one payload and counts sequence number and timestamp on. */
  send(payload: Uint8Array, options: Partial<RtpPacket> & { samples?: number } = {}): void {
    this.sendRaw(
      composeRtpPacket({
        payloadType: this.payloadType,
        marker: false,
        sequenceNumber: this.sequenceNumber,
        rtpTimestamp: this.rtpTimestamp,
        ssrc: this.ssrc,
        ...options,
        payload,
      }),
    );
    this.sequenceNumber = (this.sequenceNumber + 1) & 0xffff;
    const { clockRateHz } = AUDIO_CODECS[this.codec];
    const samples = options.samples ?? (clockRateHz * PACKET_MS) / 1000;
    this.rtpTimestamp = (this.rtpTimestamp + samples) >>> 0;
  }

  /** Sends bytes as they are from the RTP port. */
  sendRaw(bytes: Uint8Array, to: Pick<Remote, 'address' | 'port'> | undefined = this.remote): void {
    if (to === undefined) throw new Error('nowhere to send to');
    this.#rtp.send(bytes, to.address, to.port);
  }

  sendRtcp(bytes: Uint8Array): void {
    if (this.remote === undefined) throw new Error('nowhere to send to');
    this.#rtcp.send(bytes, this.remote.address, this.remote.rtcpPort);
  }

  /**
   * Encodes and sends sound at the codec's own sampling rate, one packet every 20 ms, or as fast as the loop turns.
   *
   * @param samples - full scale is 1; a last piece of less than 20 ms is left out
   */
  async play(samples: Float32Array, options: { isPaced?: boolean } = {}): Promise<void> {
    const codec = AUDIO_CODECS[this.codec];
    const { sampleRateHz, clockRateHz } = codec;
    const frame = (sampleRateHz * PACKET_MS) / 1000;
    const encoder = codec.createEncoder();
    const startedMs = performance.now();
    try {
      for (let index = 0; (index + 1) * frame <= samples.length; index += 1) {
        const piece = samples.subarray(index * frame, (index + 1) * frame);
        const pcm = Int16Array.from(piece, toPcm);
        this.send(encoder.encode(pcm), {
          marker: index === 0,
          samples: (clockRateHz * PACKET_MS) / 1000,
        });
        const dueMs = startedMs + (index + 1) * PACKET_MS;
        await sleep(options.isPaced === false ? 0 : dueMs - performance.now());
      }
    } finally {
      encoder.close();
    }
  }

  /** Sends keys as telephone-events (RFC 4733), 100 ms each. */
  async sendDigits(digits: string): Promise<void> {
    const sender = new TelephoneEventSender(8000);
    for (const digit of digits) sender.enqueue(eventOf(digit) ?? 0);
    while (sender.isActive) {
      const packet = sender.next(this.rtpTimestamp, performance.now());
      if (packet === undefined) this.rtpTimestamp = (this.rtpTimestamp + 160) >>> 0;
      else this.send(packet.payload, { ...packet, payloadType: EVENT_PAYLOAD_TYPE });
      await sleep(PACKET_MS);
    }
  }

  /** What the received audio sounds like, put in place by RTP timestamp; gaps are silent. Keys are left out. */
  async heard(): Promise<Sound> {
    const codec = AUDIO_CODECS[this.codec];
    const { sampleRateHz, clockRateHz } = codec;
    const packets = this.received.filter(({ payloadType }) => payloadType === this.payloadType);
    const [first] = packets;
    if (first === undefined) return { samples: new Float32Array(0), sampleRateHz };
    const decoder = await codec.createFecDecoder();
    const pcm = new Int16Array(0.12 * sampleRateHz);
    const pieces = packets.map((packet) => {
      const count = decoder.decode(packet.payload, pcm);
      const ticks = (packet.rtpTimestamp - first.rtpTimestamp) | 0;
      return { at: Math.round((ticks * sampleRateHz) / clockRateHz), pcm: pcm.slice(0, count) };
    });
    decoder.close();
    const length = Math.max(...pieces.map((piece) => piece.at + piece.pcm.length));
    const samples = new Float32Array(Math.max(0, length));
    for (const piece of pieces) {
      if (piece.at < 0) continue;
      piece.pcm.forEach((sample, index) => {
        samples[piece.at + index] = sample / 32768;
      });
    }
    return { samples, sampleRateHz };
  }

  /** Resolves when `isDone` holds; it is asked again after each datagram. Rejects after `timeoutMs`. */
  async until(isDone: () => boolean, timeoutMs = 10_000): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!isDone()) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0)
        throw new Error(`${this.received.length} packets came, and not what was due`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  close(): void {
    this.#rtp.close();
    this.#rtcp.close();
  }

  #onRtp(bytes: Buffer, source: string): void {
    const packet = parseRtpPacket(bytes);
    if (packet !== undefined) {
      this.received.push(packet);
      this.sources.add(source);
    } else if ((bytes[1] ?? 0) >= 192) this.receivedRtcp.push(bytes);
    else this.malformed += 1;
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

function toPcm(sample: number): number {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

/** Waits; with 0 or less it only lets the event loop turn once. */
function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    if (milliseconds <= 0) setImmediate(resolve);
    else setTimeout(resolve, milliseconds);
  });
}
