/** TCP and TLS: listening sockets of the engine, and connections that it opens. */
import net from 'node:net';
import tls from 'node:tls';
import type { Endpoint, FlowId, Listener } from '../seam.ts';
import type { ServerCertificates } from './server-certificates.ts';
import type { ConnectionCensus, ConnectionLimits, FlowIds, InputSink, StreamFlow } from './sink.ts';

/** What accepted and opened connections of one engine share. */
export type StreamContext = {
  readonly sink: InputSink;
  readonly flowIds: FlowIds;
  readonly census: ConnectionCensus;
  readonly limits: ConnectionLimits;
  /** Flows by id; a flow leaves it when its socket has closed. */
  readonly flows: Map<FlowId, StreamFlow>;
};

const KEEP_ALIVE_MS = 45_000;
const CONNECT_TIMEOUT_MS = 10_000;

export class StreamListener {
  readonly #server: net.Server;

  private constructor(server: net.Server) {
    this.#server = server;
  }

  /**
   * @param certificates - undefined for plain TCP
   * @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL)
   */
  static async open(
    listener: Listener,
    context: StreamContext,
    certificates: ServerCertificates | undefined,
  ): Promise<StreamListener> {
    const accept = (socket: net.Socket): void => {
      acceptFlow(socket, listener, context);
    };
    const server = certificates === undefined ? net.createServer() : createTlsServer(certificates);
    countConnections(server, context);
    server.on(certificates === undefined ? 'connection' : 'secureConnection', accept);
    await listen(server, listener.local);
    return new StreamListener(server);
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }
}

/** Listens and waits until the socket listens or has failed. */
export function listen(server: net.Server, local: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(
      { host: local.address, port: local.port, exclusive: true, ipv6Only: true, backlog: 1024 },
      () => {
        server.off('error', reject);
        server.on('error', () => {
          // Running out of descriptors refuses one connection; the listener itself goes on.
        });
        resolve();
      },
    );
  });
}

/** Before anything else happens to a connection, a TLS handshake for instance. */
export function countConnections(
  server: net.Server,
  { census }: Pick<StreamContext, 'census'>,
): void {
  server.prependListener('connection', (socket: net.Socket) => {
    census.admit(socket);
  });
}

/** A TLS server that nobody can make wait for a handshake. */
export function createTlsServer(certificates: ServerCertificates): tls.Server {
  const server = tls.createServer({
    ...certificates.options,
    handshakeTimeout: CONNECT_TIMEOUT_MS,
  });
  certificates.serve(server);
  server.on('tlsClientError', (_error, socket) => {
    socket.destroy();
  });
  return server;
}

function acceptFlow(socket: net.Socket, listener: Listener, context: StreamContext): void {
  const { remoteAddress, remotePort } = socket;
  if (socket.destroyed || remoteAddress === undefined || remotePort === undefined) {
    socket.destroy();
    return;
  }
  const flowId = context.flowIds.accepted();
  const remote = { address: remoteAddress, port: remotePort };
  context.flows.set(flowId, flowOf(socket, context));
  context.sink({ kind: 'flowAccepted', flowId, listenerId: listener.id, remote });
  attach(socket, flowId, context);
}

/** Opens a connection for the engine; success, failure and bytes arrive through the sink. */
export function openFlow(
  flowId: FlowId,
  remote: Endpoint,
  context: StreamContext,
  secure:
    | { readonly serverName: string | undefined; readonly options: tls.SecureContextOptions }
    | undefined,
): void {
  const address = { host: remote.address, port: remote.port };
  const socket =
    secure === undefined
      ? net.connect(address)
      : tls.connect({ ...address, ...secure.options, ...serverName(secure.serverName) });
  const timeout = setTimeout(() => {
    socket.destroy(new Error('connect timed out'));
  }, CONNECT_TIMEOUT_MS);
  socket.once('close', () => {
    clearTimeout(timeout);
  });
  socket.once(secure === undefined ? 'connect' : 'secureConnect', () => {
    clearTimeout(timeout);
    const local = { address: socket.localAddress ?? '', port: socket.localPort ?? 0 };
    context.sink({ kind: 'flowConnected', flowId, local });
  });
  context.flows.set(flowId, flowOf(socket, context));
  attach(socket, flowId, context);
}

/** SNI is for names only, never for addresses. */
export function serverName(name: string | undefined): { servername?: string } {
  return name === undefined || net.isIP(name) !== 0 ? {} : { servername: name };
}

function attach(socket: net.Socket, flowId: FlowId, context: StreamContext): void {
  let reason = 'closed by peer';
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  socket.on('data', (bytes: Buffer) => {
    context.sink({ kind: 'flowBytes', flowId, bytes });
  });
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.once('close', () => {
    context.flows.delete(flowId);
    context.sink({ kind: 'flowClosed', flowId, reason });
  });
}

function flowOf(socket: net.Socket, { limits, census }: StreamContext): StreamFlow {
  return {
    write(bytes) {
      if (socket.destroyed) return;
      if (socket.writableLength > limits.maxQueuedBytes) {
        census.refusals.add('slowReader');
        socket.destroy(new Error('peer does not read'));
        return;
      }
      socket.write(bytes);
    },
    end() {
      socket.end();
      // A peer that never closes its half would keep the descriptor; after the flush it is ours to take.
      socket.once('finish', () => {
        socket.destroySoon();
      });
    },
    destroy() {
      socket.destroy();
    },
  };
}
