/** One bound UDP socket of the media plane: hands datagrams on as they come, sends without callbacks. */

import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

/** `packet` belongs to the receiver until it returns; `address` and `port` are the sender's. */
export type DatagramListener = (packet: Buffer, address: string, port: number) => void;

type Lookup = (
  host: string,
  options: unknown,
  callback: (error: Error | null, address: string, family: number) => void,
) => void;

/**
 * Addresses in SDP are numbers: answering the look-up at once keeps `send` and `bind` synchronous and off the DNS
 * threads. Every caller has checked that `host` is a number of the socket's family.
 */
const lookupIpv4: Lookup = (host, _options, callback) => {
  callback(null, host, 4);
};

const lookupIpv6: Lookup = (host, _options, callback) => {
  callback(null, host, 6);
};

export class UdpPort {
  readonly localPort: number;
  /** Replace it to receive; packets are thrown away until then. */
  onDatagram: DatagramListener = ignore;
  readonly #socket: Socket;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.localPort = socket.address().port;
    socket.on('message', (packet, { address, port }) => {
      this.onDatagram(packet, address, port);
    });
    // Errors after binding are those of single datagrams; the next one may go through.
    socket.on('error', ignore);
  }

  /**
   * Binds a numeric address and a port; port 0 lets the system choose.
   *
   * @throws the system's error (`EADDRINUSE`, `EADDRNOTAVAIL`, ...) when the port cannot be had
   */
  static async open(address: string, port: number): Promise<UdpPort> {
    const socket = createSocket(
      isIPv6(address)
        ? { type: 'udp6', ipv6Only: true, lookup: lookupIpv6 }
        : { type: 'udp4', lookup: lookupIpv4 },
    );
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind({ address, port, exclusive: true }, () => {
        socket.removeAllListeners('error');
        resolve();
      });
    });
    return new UdpPort(socket);
  }

  /** Sends one datagram to a numeric address of the socket's own family and a port other than 0. Never throws. */
  send(packet: Uint8Array, address: string, port: number): void {
    if (this.#isClosed) return;
    try {
      this.#socket.send(packet, port, address);
    } catch {
      // What cannot be sent is lost, as any datagram may be.
    }
  }

  /** The port is free again when this returns. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onDatagram = ignore;
    this.#socket.close();
  }
}

function ignore(): void {
  // Nobody listens.
}
