/**
 * The trace as a pcap file (version 2.4, raw IP) that Wireshark and sngrep read.
 *
 * Every message is one UDP packet with the true addresses and ports, also when it came by TCP, TLS or WebSocket: what
 * is shown is the message, not the segments that carried it, and nothing needs decrypting.
 */
import net from 'node:net';
import type { Endpoint } from '../seam.ts';
import { addressBytes } from './address-bytes.ts';
import type { Captured } from './captured.ts';

const LINKTYPE_RAW = 101;
const SNAPSHOT_BYTES = 262_144;
const UDP = 17;
const UDP_HEADER_BYTES = 8;
const HOP_LIMIT = 64;
/** IPv4 counts its own header in its 16 bits. */
const MAX_PAYLOAD_BYTES = 65_535 - 20 - UDP_HEADER_BYTES;

/** What the file begins with. */
export function pcapFileHeader(): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(SNAPSHOT_BYTES, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  return header;
}

/** One record: its header and the packet. A message over 64 kB is cut. */
export function pcapRecord(captured: Captured): Buffer {
  const isIncoming = captured.direction === 'in';
  const source = isIncoming ? captured.remote : captured.local;
  const destination = isIncoming ? captured.local : captured.remote;
  const packet = ipPacket(source, destination, captured.bytes.subarray(0, MAX_PAYLOAD_BYTES));
  const header = Buffer.alloc(16);
  header.writeUInt32LE(Math.floor(captured.timeMs / 1000), 0);
  header.writeUInt32LE(Math.floor((captured.timeMs % 1000) * 1000), 4);
  header.writeUInt32LE(packet.length, 8);
  header.writeUInt32LE(packet.length, 12);
  return Buffer.concat([header, packet]);
}

function ipPacket(source: Endpoint, destination: Endpoint, payload: Buffer): Buffer {
  const datagram = Buffer.alloc(UDP_HEADER_BYTES + payload.length);
  datagram.writeUInt16BE(source.port, 0);
  datagram.writeUInt16BE(destination.port, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  payload.copy(datagram, UDP_HEADER_BYTES);
  // A flow whose own end is not known yet is written as 0.0.0.0; both ends must be of one family.
  const isIpv6 = net.isIPv6(source.address) || net.isIPv6(destination.address);
  const from = addressBytes(source.address, isIpv6);
  const to = addressBytes(destination.address, isIpv6);
  datagram.writeUInt16BE(udpChecksum(from, to, datagram), 6);
  const header = isIpv6 ? ipv6Header(from, to, datagram) : ipv4Header(from, to, datagram);
  return Buffer.concat([header, datagram]);
}

function ipv4Header(from: Buffer, to: Buffer, datagram: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(header.length + datagram.length, 2);
  header[8] = HOP_LIMIT;
  header[9] = UDP;
  from.copy(header, 12);
  to.copy(header, 16);
  header.writeUInt16BE(onesComplementSum([header]), 10);
  return header;
}

function ipv6Header(from: Buffer, to: Buffer, datagram: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(datagram.length, 4);
  header[6] = UDP;
  header[7] = HOP_LIMIT;
  from.copy(header, 8);
  to.copy(header, 24);
  return header;
}

/** RFC 768 and RFC 8200 section 8.1: over a pseudo header and the datagram; 0 is written as all ones. */
function udpChecksum(from: Buffer, to: Buffer, datagram: Buffer): number {
  const rest = Buffer.alloc(4);
  rest[1] = UDP;
  rest.writeUInt16BE(datagram.length, 2);
  const sum = onesComplementSum([from, to, rest, datagram]);
  return sum === 0 ? 0xffff : sum;
}

/** RFC 1071. Every part but the last has an even length. */
function onesComplementSum(parts: readonly Buffer[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i + 1 < part.length; i += 2) sum += part.readUInt16BE(i);
    if (part.length % 2 === 1) sum += (part.at(-1) ?? 0) << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
