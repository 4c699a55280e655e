/** The connections of a scripted SIP user agent: TCP and TLS cut into messages, WebSockets with one message each. */

import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { WebSocket } from 'ws';
import { StreamFramer } from '../../core/sip/stream-framer.ts';

export type StreamTransport = 'tcp' | 'tls' | 'ws' | 'wss';

/** What comes by a connection. */
export type Arrivals = {
  message(bytes: Buffer, connection: Connection): void;
  /** The answer to our keep-alive (RFC 5626 section 3.5.1). */
  pong(): void;
  /** Bytes that are no SIP message. */
  garbage(bytes: Buffer): void;
  closed(connection: Connection): void;
};

export type Connection = {
  readonly remote: string;
  readonly localPort: number;
  readonly isClosed: boolean;
  readonly write: (bytes: Buffer) => void;
  /** Without a word to the other end's protocol. */
  destroy(): void;
};

/** Whom to trust, and which versions to speak; anybody's certificate is taken unless `ca` is given. */
export type TlsOptions = Pick<
  tls.ConnectionOptions,
  'ca' | 'servername' | 'minVersion' | 'maxVersion'
>;

const PING = /^\r\n\r\n$/;
const PONG = /^\r\n$/;

/** Connects; rejects when the other end, or its certificate, will not do. */
export async function openConnection(
  transport: StreamTransport,
  place: { readonly address: string; readonly port: number },
  arrivals: Arrivals,
  tlsOptions: TlsOptions = {},
): Promise<Connection> {
  const { address: host, port } = place;
  const secure = { ...tlsOptions, rejectUnauthorized: tlsOptions.ca !== undefined };
  switch (transport) {
    case 'tcp': {
      const socket = net.connect({ host, port });
      await once(socket, 'connect');
      return adopt(socket, arrivals);
    }
    case 'tls': {
      const socket = tls.connect({ host, port, ...secure });
      await once(socket, 'secureConnect');
      return adopt(socket, arrivals);
    }
    case 'ws':
    case 'wss': {
      const where = net.isIPv6(host) ? `[${host}]` : host;
      const webSocket = new WebSocket(`${transport}://${where}:${port}/`, 'sip', secure);
      // The socket is only to be had with the answer to the upgrade.
      const [[{ socket }]] = (await Promise.all([
        once(webSocket, 'upgrade'),
        once(webSocket, 'open'),
      ])) as [[{ socket: net.Socket }], unknown];
      return adoptWebSocket(webSocket, socket, arrivals);
    }
  }
}

/** Takes over a TCP or TLS connection, whoever opened it. */
export function adopt(socket: net.Socket, arrivals: Arrivals): Connection {
  const framer = new StreamFramer();
  const connection = connectionOf(socket, {
    write: (bytes) => socket.write(bytes),
    destroy: () => socket.destroy(),
  });
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    arrivals.closed(connection);
  });
  socket.on('data', (piece) => {
    framer.push(piece);
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
      if (frame.kind === 'message') arrivals.message(frame.bytes, connection);
      if (frame.kind === 'ping') socket.write('\r\n');
      if (frame.kind === 'pong') arrivals.pong();
      if (frame.kind === 'error') arrivals.garbage(frame.head);
    }
  });
  return connection;
}

function adoptWebSocket(webSocket: WebSocket, socket: net.Socket, arrivals: Arrivals): Connection {
  const connection = connectionOf(socket, {
    write: (bytes) => {
      webSocket.send(bytes, { binary: false });
    },
    destroy: () => {
      webSocket.terminate();
    },
  });
  webSocket.on('error', () => {
    webSocket.terminate();
  });
  webSocket.on('close', () => {
    arrivals.closed(connection);
  });
  webSocket.on('message', (payload) => {
    const bytes = payload as Buffer;
    const text = bytes.length <= 4 ? bytes.toString('latin1') : '';
    if (PONG.test(text)) arrivals.pong();
    else if (PING.test(text)) connection.write(Buffer.from('\r\n'));
    else arrivals.message(bytes, connection);
  });
  return connection;
}

function connectionOf(
  socket: net.Socket,
  { write, destroy }: { write: (bytes: Buffer) => unknown; destroy: () => unknown },
): Connection {
  return {
    remote: remoteKey(socket.remoteAddress, socket.remotePort),
    localPort: socket.localPort ?? 0,
    get isClosed() {
      return socket.destroyed;
    },
    write: (bytes) => {
      write(bytes);
    },
    destroy: () => {
      destroy();
    },
  };
}

/** One name for one other end. */
export function remoteKey(address: string | undefined, port: number | undefined): string {
  return `${address ?? ''} ${port ?? 0}`;
}
