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

const DEFAULTS = {
  uri: 'sip:bob@example.test',
  vias: [],
  from: '<sip:alice@example.test>',
  fromTag: 'alice1',
  to: '<sip:bob@example.test>',
  callId: 'call-1',
  sequence: 1,
  maxForwards: 70,
  headers: [],
  body: '',
} as const;

/** A request of this phone; a session description brings its Content-Type. */
export function requestFrom(peer: LabPeer, method: string, fields: RequestFields = {}): Buffer {
  const { address, port } = peer.endpoint;
  const host = address.includes(':') ? `[${address}]` : address;
  const all = { ...DEFAULTS, branch: newBranch(), ...fields };
  const toTag = all.toTag === undefined ? '' : `;tag=${all.toTag}`;
  const contact = 'contact' in fields ? fields.contact : `<sip:alice@${host}:${port}>`;
  const isSdp = all.body.toString().startsWith('v=0');
  return sip(
    [
      `${method} ${all.uri} SIP/2.0`,
      `Via: SIP/2.0/${peer.transport.toUpperCase()} ${host}:${port};branch=${all.branch}`,
      ...all.vias.map((via) => `Via: ${via}`),
      `Max-Forwards: ${all.maxForwards}`,
      `From: ${all.from};tag=${all.fromTag}`,
      `To: ${all.to}${toTag}`,
      `Call-ID: ${all.callId}`,
      `CSeq: ${all.sequence} ${method}`,
      ...(contact === undefined ? [] : [`Contact: ${contact}`]),
      ...(isSdp ? ['Content-Type: application/sdp'] : []),
      ...all.headers,
    ],
    all.body,
  );
}
