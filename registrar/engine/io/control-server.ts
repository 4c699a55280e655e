/** The connections of drachtio applications: those that they open to our ports, and those that we open to them. */
import net from 'node:net';
import tls, { rootCertificates } from 'node:tls';
import type { CounterFamily } from '../counters.ts';
import type { ControlId, Endpoint, EngineOutput } from '../seam.ts';
import { ConnectionCensus, type InputSink } from './sink.ts';
import { ServerCertificates, type TlsIdentity } from './server-certificates.ts';
import { countConnections, createTlsServer, listen, serverName } from './stream-listener.ts';

const KEEP_ALIVE_MS = 45_000;
/** More than any fleet of applications has, and so few from one address that strangers there cannot take every place. */
const LIMITS = { maxConnections: 1_000, maxConnectionsPerAddress: 100 };
/** An application that leaves so much unread has ceased to work. */
const MAX_UNREAD_BYTES = 67_108_864;

/** A port for applications. */
export type ControlPort = {
  readonly local: Endpoint;
  /** For TLS; plain TCP without it. */
  readonly identity?: TlsIdentity | undefined;
  /** Not for the owner's applications. */
  readonly isFurther?: boolean | undefined;
};

export class ControlServer {
  readonly #servers: net.Server[] = [];
  /** Of those that speak TLS. */
  readonly #certificates: ServerCertificates[] = [];
  readonly #connections = new Map<ControlId, net.Socket>();
  /** What is still to be written, by connection. */
  readonly #collected = new Map<net.Socket, Buffer[]>();
  /** What carries TLS on our port, from before the handshake on. */
  readonly #carriers = new Set<net.Socket>();
  /** Connections that we are opening. */
  readonly #dialled = new Map<ControlId, net.Socket>();
  readonly #sink: InputSink;
  readonly #census = new ConnectionCensus(LIMITS);
  #nextId = 1;

  constructor(sink: InputSink) {
    this.#sink = sink;
  }

  /** Of connections, by kind; `slowApplication` is one that let too much pile up. */
  get refusals(): CounterFamily {
    return this.#census.refusals;
  }

  /**
   * Opens a port.
   *
   * @returns its number
   * @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL)
   */
  async listen({ local, identity, isFurther }: ControlPort): Promise<number> {
    const accept = (socket: net.Socket): void => {
      if (socket.destroyed) return;
      const controlId = this.#nextId++;
      this.#attach(controlId, socket);
      this.#sink({ kind: 'controlOpened', controlId, isFurther });
    };
    const server =
      identity === undefined ? net.createServer(accept) : this.#carrying(identity, accept);
    countConnections(server, { census: this.#census });
    await listen(server, local);
    this.#servers.push(server);
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  /** Gives new TLS connections another certificate. */
  exchangeIdentity(identity: TlsIdentity): void {
    for (const certificates of this.#certificates) certificates.exchange(identity);
  }

  /**
   * Queues a control message. All that one turn of the event loop has to say to an application leaves in one piece:
   * under load that is one system call for some thirty datagrams instead of one for each.
   */
  send(id: ControlId, bytes: Buffer): void {
    const socket = this.#connections.get(id);
    if (socket === undefined) return;
    if (socket.writableLength > MAX_UNREAD_BYTES) {
      this.refusals.add('slowApplication');
      socket.destroy();
      return;
    }
    const waiting = this.#collected.get(socket);
    if (waiting !== undefined) {
      waiting.push(bytes);
      return;
    }
    this.#collected.set(socket, [bytes]);
    if (this.#collected.size === 1) setImmediate(this.#write);
  }

  /**
   * Opens a connection to an application; how it went arrives through the sink.
   *
   * @param trustedAuthorities - certificate authorities to trust besides those of Node, in PEM
   */
  dial(
    { controlId, transport, host, port }: Extract<EngineOutput, { kind: 'connectControl' }>,
    trustedAuthorities: string | undefined,
  ): void {
    const ca =
      trustedAuthorities === undefined ? {} : { ca: [...rootCertificates, trustedAuthorities] };
    const isSecure = transport === 'tls';
    const socket = isSecure
      ? tls.connect({ host, port, ...ca, ...serverName(host) })
      : net.connect({ host, port });
    this.#dialled.set(controlId, socket);
    let reason = 'closed by the application';
    socket.on('error', (error: Error) => {
      reason = error.message;
    });
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      if (!this.#dialled.delete(controlId)) return;
      this.#attach(controlId, socket);
      this.#sink({ kind: 'controlConnected', controlId });
    });
    socket.once('close', () => {
      if (this.#dialled.delete(controlId)) this.#sink({ kind: 'controlFailed', controlId, reason });
    });
  }

  /** Sends what is queued, then closes that application's connection. */
  end(id: ControlId): void {
    const dialled = this.#dialled.get(id);
    if (dialled !== undefined) {
      this.#dialled.delete(id);
      dialled.destroy();
      return;
    }
    const socket = this.#connections.get(id);
    if (socket === undefined) return;
    this.#write();
    socket.end();
    socket.once('finish', () => {
      socket.destroySoon();
    });
  }

  /** Resolves when the end of every connection has been reported. */
  async close(): Promise<void> {
    const ends = [...this.#connections.values()].map(ended);
    const connections = [
      this.#connections.values(),
      this.#dialled.values(),
      this.#carriers.values(),
    ];
    for (const sockets of connections) for (const socket of sockets) socket.destroy();
    await Promise.all([...this.#servers.map(closed), ...ends]);
  }

  /** Knows what carries TLS from before the handshake on. */
  #carrying(identity: TlsIdentity, accept: (socket: net.Socket) => void): tls.Server {
    const certificates = new ServerCertificates(identity);
    this.#certificates.push(certificates);
    const server = createTlsServer(certificates);
    server.on('connection', (socket: net.Socket) => {
      this.#carriers.add(socket);
      socket.once('close', () => this.#carriers.delete(socket));
    });
    return server.on('secureConnection', accept);
  }

  readonly #write = (): void => {
    for (const [socket, parts] of this.#collected) {
      const [first] = parts;
      if (socket.writable && first !== undefined) {
        socket.write(parts.length === 1 ? first : Buffer.concat(parts));
      }
    }
    this.#collected.clear();
  };

  #attach(controlId: ControlId, socket: net.Socket): void {
    this.#connections.set(controlId, socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('data', (bytes: Buffer) => {
      this.#sink({ kind: 'controlBytes', controlId, bytes });
    });
    socket.on('error', () => {
      // 'close' follows and reports it.
    });
    socket.once('close', () => {
      this.#connections.delete(controlId);
      this.#sink({ kind: 'controlClosed', controlId });
    });
  }
}

function ended(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
}

function closed(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}
