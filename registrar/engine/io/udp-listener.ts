/** One UDP socket of the engine. */
import dgram from 'node:dgram';
import type { Endpoint, Listener } from '../seam.ts';
import type { InputSink } from './sink.ts';

const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

type SendError = Error & { readonly address?: string; readonly port?: number };
type LookupCallback = (error: Error | null, address: string, family: number) => void;

export class UdpListener {
  readonly #socket: dgram.Socket;
  readonly #onSent: (error: SendError | null) => void;

  private constructor(socket: dgram.Socket, listener: Listener, sink: InputSink) {
    this.#socket = socket;
    // One callback for every send: the error names the destination, so no closure per datagram is needed.
    this.#onSent = (error) => {
      if (error?.address === undefined || error.port === undefined) return;
      const remote = { address: error.address, port: error.port };
      sink({ kind: 'datagramFailed', listenerId: listener.id, remote, reason: error.message });
    };
    socket.on('message', (bytes, { address, port }) => {
      if (port === 0) return;
      sink({ kind: 'datagram', listenerId: listener.id, remote: { address, port }, bytes });
    });
    socket.on('error', () => {
      // Errors of single sends reach the callback above; the socket itself goes on.
    });
  }

  /**
   * Binds the listener's local endpoint.
   *
   * @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL)
   */
  static async open(listener: Listener, sink: InputSink): Promise<UdpListener> {
    const isIpv6 = listener.local.address.includes(':');
    const socket = dgram.createSocket({
      type: isIpv6 ? 'udp6' : 'udp4',
      ipv6Only: isIpv6,
      // Destinations are always numeric: answering at once saves a trip through the resolver for every datagram.
      lookup: (host: string, _options: unknown, callback: LookupCallback) => {
        callback(null, host, isIpv6 ? 6 : 4);
      },
    });
    await bind(socket, listener.local);
    trySetReceiveBuffer(socket);
    return new UdpListener(socket, listener, sink);
  }

  send(remote: Endpoint, bytes: Buffer): void {
    this.#socket.send(bytes, remote.port, remote.address, this.#onSent);
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.close(() => {
        resolve();
      });
    });
  }
}

/** Binds a socket and waits until it is bound or has failed; a failed socket is closed. */
function bind(socket: dgram.Socket, local: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', onError);
    socket.bind({ address: local.address, port: local.port, exclusive: true }, () => {
      socket.off('error', onError);
      resolve();
    });
  });
}

function trySetReceiveBuffer(socket: dgram.Socket): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  } catch {
    // The system's own limit is smaller; what it gave is what we have.
  }
}
