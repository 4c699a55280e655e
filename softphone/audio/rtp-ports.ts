/** A pair of UDP ports for one call: RTP on an even one, RTCP on the next (RFC 3550 §11). */

import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { ResourceError } from '../../core/errors.ts';

/** Both ends inclusive. */
export type PortRange = { readonly lowest: number; readonly highest: number };

export type RtpPorts = { readonly rtp: Socket; readonly rtcp: Socket; readonly port: number };

const ATTEMPTS = 50;
/** Room for a burst of a stalled process. */
const RECEIVE_BUFFER_BYTES = 1 << 18;

/**
 * Binds a random free pair of the range.
 *
 * @param random - uniform in [0, 1)
 * @throws ResourceError `softphone.ports.exhausted`
 */
export async function openRtpPorts(
  address: string,
  range: PortRange,
  random: () => number,
): Promise<RtpPorts> {
  const first = Math.ceil(range.lowest / 2);
  const pairs = Math.max(0, Math.floor((range.highest - 1) / 2) - first + 1);
  for (let attempt = 0; attempt < ATTEMPTS && pairs > 0; attempt += 1) {
    const port = (first + Math.floor(random() * pairs)) * 2;
    const rtp = await bind(address, port);
    if (rtp === undefined) continue;
    const rtcp = await bind(address, port + 1);
    if (rtcp !== undefined) return { rtp, rtcp, port };
    rtp.close();
  }
  const { lowest, highest } = range;
  const message = `No pair of UDP ports is free between ${lowest} and ${highest}.`;
  throw new ResourceError('softphone.ports.exhausted', message);
}

function bind(address: string, port: number): Promise<Socket | undefined> {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4' });
  return new Promise((resolve) => {
    socket.once('error', () => {
      socket.close();
      resolve(undefined);
    });
    socket.bind({ address, port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      // What comes back as ICMP errors is counted by nobody: the other side may not be there yet.
      socket.on('error', () => undefined);
      try {
        socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
      } catch {
        // The system's own size will do.
      }
      resolve(socket);
    });
  });
}
