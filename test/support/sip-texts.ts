/** Requests as phones write them, with every field that a test may want to choose. */

import { sip, type LabPeer } from './engine-lab.ts';

export const SDP = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', ''].join('\r\n');

export type RequestFields = {
  readonly uri?: string;
  readonly branch?: string;
  /** Further Via values below the phone's own. */
  readonly vias?: readonly string[];
  readonly from?: string;
  readonly fromTag?: string;
  readonly to?: string;
  readonly toTag?: string | undefined;
  readonly callId?: string;
  readonly sequence?: number;
  /** `undefined` leaves it out. */
  readonly contact?: string | undefined;
  readonly maxForwards?: number;
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
};

let branchCount = 0;

/** A branch that no other request has. */
export function newBranch(): string {
  branchCount += 1;
  return `z9hG4bKtest${branchCount}`;
}

/** A request of this phone; a session description brings its Content-Type. */
export function requestFrom(peer: LabPeer, method: string, fields: RequestFields = {}): Buffer {
  const { address, port } = peer.endpoint;
  const host = address.includes(':') ? `[${address}]` : address;
  const toTag = fields.toTag === undefined ? '' : `;tag=${fields.toTag}`;
  const contact = 'contact' in fields ? fields.contact : `<sip:alice@${host}:${port}>`;
  const { body = '' } = fields;
  const isSdp = body.toString().startsWith('v=0');
  return sip(
    [
      `${method} ${fields.uri ?? 'sip:bob@example.test'} SIP/2.0`,
      `Via: SIP/2.0/${peer.transport.toUpperCase()} ${host}:${port};branch=${fields.branch ?? newBranch()}`,
      ...(fields.vias ?? []).map((via) => `Via: ${via}`),
      `Max-Forwards: ${fields.maxForwards ?? 70}`,
      `From: ${fields.from ?? '<sip:alice@example.test>'};tag=${fields.fromTag ?? 'alice1'}`,
      `To: ${fields.to ?? '<sip:bob@example.test>'}${toTag}`,
      `Call-ID: ${fields.callId ?? 'call-1'}`,
      `CSeq: ${fields.sequence ?? 1} ${method}`,
      ...(contact === undefined ? [] : [`Contact: ${contact}`]),
      ...(isSdp ? ['Content-Type: application/sdp'] : []),
      ...(fields.headers ?? []),
    ],
    body,
  );
}
