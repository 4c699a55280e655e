/** The trace as HEP3 packets for a Homer server (the generic encapsulation protocol, version 3). */
import net from 'node:net';
import { SipMessage } from '../../../core/sip/message.ts';
import { addressBytes } from './address-bytes.ts';
import type { Captured } from './captured.ts';

const CHUNK = {
  family: 0x0001,
  protocol: 0x0002,
  sourceIpv4: 0x0003,
  destinationIpv4: 0x0004,
  sourceIpv6: 0x0005,
  destinationIpv6: 0x0006,
  sourcePort: 0x0007,
  destinationPort: 0x0008,
  seconds: 0x0009,
  microseconds: 0x000a,
  payloadType: 0x000b,
  captureAgent: 0x000c,
  payload: 0x000f,
  correlation: 0x0011,
} as const;

const AF_INET = 2;
const AF_INET6 = 10;
const PAYLOAD_SIP = 1;
const UDP = 17;
const TCP = 6;
const CHUNK_HEADER_BYTES = 6;

/** @param agentId - tells several switches apart in Homer, 32 bits */
export function hepPacket(captured: Captured, agentId: number): Buffer {
  const isIncoming = captured.direction === 'in';
  const source = isIncoming ? captured.remote : captured.local;
  const destination = isIncoming ? captured.local : captured.remote;
  const isIpv6 = net.isIPv6(source.address) || net.isIPv6(destination.address);
  const chunks = [
    chunk(CHUNK.family, byte(isIpv6 ? AF_INET6 : AF_INET)),
    chunk(CHUNK.protocol, byte(captured.transport === 'udp' ? UDP : TCP)),
    chunk(isIpv6 ? CHUNK.sourceIpv6 : CHUNK.sourceIpv4, addressBytes(source.address, isIpv6)),
    chunk(
      isIpv6 ? CHUNK.destinationIpv6 : CHUNK.destinationIpv4,
      addressBytes(destination.address, isIpv6),
    ),
    chunk(CHUNK.sourcePort, uint16(source.port)),
    chunk(CHUNK.destinationPort, uint16(destination.port)),
    chunk(CHUNK.seconds, uint32(Math.floor(captured.timeMs / 1000))),
    chunk(CHUNK.microseconds, uint32(Math.floor((captured.timeMs % 1000) * 1000))),
    chunk(CHUNK.payloadType, byte(PAYLOAD_SIP)),
    chunk(CHUNK.captureAgent, uint32(agentId)),
  ];
  const callId = callIdOf(captured.bytes);
  if (callId !== undefined) chunks.push(chunk(CHUNK.correlation, Buffer.from(callId)));
  const room =
    65_535 - 6 - CHUNK_HEADER_BYTES - chunks.reduce((sum, { length }) => sum + length, 0);
  chunks.push(chunk(CHUNK.payload, captured.bytes.subarray(0, room)));
  const length = chunks.reduce((sum, part) => sum + part.length, 6);
  return Buffer.concat([Buffer.from('HEP3'), uint16(length), ...chunks]);
}

function callIdOf(bytes: Buffer): string | undefined {
  try {
    return SipMessage.parse(bytes).header('Call-ID');
  } catch {
    return undefined;
  }
}

/** Vendor 0 (the protocol's own chunks), type, length with this header, payload. */
function chunk(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(CHUNK_HEADER_BYTES);
  header.writeUInt16BE(type, 2);
  header.writeUInt16BE(CHUNK_HEADER_BYTES + payload.length, 4);
  return Buffer.concat([header, payload]);
}

function byte(value: number): Buffer {
  return Buffer.from([value]);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
