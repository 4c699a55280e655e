/** STUN Binding requests on the SIP port: how a device on UDP keeps its way to us open and sees that it lives (RFC 5626 §8). */

import { addressBytes } from '../trace/address-bytes.ts';
import type { Endpoint } from '../seam.ts';

const HEADER_BYTES = 20;
const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const BINDING_ERROR = 0x0111;
const COOKIE = 0x2112a442;
const USERNAME = 0x0006;
const MESSAGE_INTEGRITY = 0x0008;
const ERROR_CODE = 0x0009;
const UNKNOWN_ATTRIBUTES = 0x000a;
const XOR_MAPPED_ADDRESS = 0x0020;
/** RFC 5389 §15: those below must be understood. */
const FIRST_OPTIONAL = 0x8000;
/** Known, and without meaning where nobody is authenticated. */
const IGNORED: ReadonlySet<number> = new Set([USERNAME, MESSAGE_INTEGRITY]);
const MAX_UNKNOWN = 8;
/** Class 4, number 20. */
const UNKNOWN_ATTRIBUTE = Buffer.from([0, 0, 4, 20]);

/** RFC 5389 §6: two zero bits and the magic cookie; no SIP message begins so. */
export function isStun(bytes: Buffer): boolean {
  return (
    bytes.length >= HEADER_BYTES && (bytes[0] ?? 0xff) < 0x40 && bytes.readUInt32BE(4) === COOKIE
  );
}

/**
 * @param remote - where the request came from: what the answer tells
 * @returns `undefined` for what is no well-formed Binding request
 */
export function stunAnswer(bytes: Buffer, remote: Endpoint): Buffer | undefined {
  if (!isStun(bytes) || bytes.readUInt16BE(0) !== BINDING_REQUEST) return undefined;
  const unknown = unknownAttributes(bytes);
  if (unknown === undefined) return undefined;
  // Cookie and transaction id.
  const id = bytes.subarray(4, HEADER_BYTES);
  if (unknown.length === 0) {
    return encode(BINDING_SUCCESS, id, [XOR_MAPPED_ADDRESS, xorMapped(remote, id)]);
  }
  const listed = Buffer.alloc(unknown.length * 2);
  unknown.forEach((type, index) => listed.writeUInt16BE(type, index * 2));
  return encode(BINDING_ERROR, id, [ERROR_CODE, UNKNOWN_ATTRIBUTE], [UNKNOWN_ATTRIBUTES, listed]);
}

/** Attributes that must be understood and are not; `undefined` when the lengths do not fit together. */
function unknownAttributes(bytes: Buffer): readonly number[] | undefined {
  if (bytes.readUInt16BE(2) !== bytes.length - HEADER_BYTES) return undefined;
  const unknown: number[] = [];
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    if (at + 4 > bytes.length) return undefined;
    const type = bytes.readUInt16BE(at);
    at += 4 + padded(bytes.readUInt16BE(at + 2));
    if (type < FIRST_OPTIONAL && !IGNORED.has(type) && unknown.length < MAX_UNKNOWN) {
      unknown.push(type);
    }
  }
  return at === bytes.length ? unknown : undefined;
}

/** RFC 5389 §15.2: disguised, so that no NAT that rewrites addresses in packets finds it. */
function xorMapped({ address, port }: Endpoint, mask: Buffer): Buffer {
  const isIpv6 = address.includes(':');
  const host = addressBytes(address, isIpv6);
  const value = Buffer.alloc(4 + host.length);
  value.writeUInt16BE(isIpv6 ? 2 : 1, 0);
  value.writeUInt16BE(port ^ mask.readUInt16BE(0), 2);
  host.forEach((byte, index) => (value[4 + index] = byte ^ (mask[index] ?? 0)));
  return value;
}

function encode(
  type: number,
  id: Buffer,
  ...attributes: readonly (readonly [type: number, value: Buffer])[]
): Buffer {
  const parts = attributes.map(([attribute, value]) => {
    const part = Buffer.alloc(4 + padded(value.length));
    part.writeUInt16BE(attribute, 0);
    part.writeUInt16BE(value.length, 2);
    value.copy(part, 4);
    return part;
  });
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(
    parts.reduce((sum, { length }) => sum + length, 0),
    2,
  );
  return Buffer.concat([head, id, ...parts]);
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
