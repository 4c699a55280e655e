/** SIP over WebSocket (RFC 7118): one WebSocket message is one SIP message. */
import http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Listener } from '../seam.ts';
import type { ServerCertificates } from './server-certificates.ts';
import { countConnections, listen, type StreamContext } from './stream-listener.ts';
import type { StreamFlow } from './sink.ts';

const SUBPROTOCOL = 'sip';
const PING_INTERVAL_MS = 30_000;

export class WebSocketListener {
  readonly #server: http.Server | https.Server;
  readonly #upgrader: WebSocketServer;

  private constructor(server: http.Server | https.Server, upgrader: WebSocketServer) {
    this.#server = server;
    this.#upgrader = upgrader;
  }

  /**
   * @param certificates - undefined for plain ws
   * @param maxMessageBytes - larger WebSocket messages close the connection with 1009
   * @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL)
   */
  static async open(
    listener: Listener,
    context: StreamContext,
    certificates: ServerCertificates | undefined,
    maxMessageBytes: number,
  ): Promise<WebSocketListener> {
    const { upgradeTimeoutMs } = context.limits;
    const server =
      certificates === undefined
        ? http.createServer(refusePlainRequest)
        : secureServer(certificates, upgradeTimeoutMs);
    countConnections(server, context);
    server.headersTimeout = server.requestTimeout = server.timeout = upgradeTimeoutMs;
    const upgrader = new WebSocketServer({
      noServer: true,
      maxPayload: maxMessageBytes,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    server.on('upgrade', (request, socket: Duplex, head) => {
      if (!offersSip(request)) {
        socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
        return;
      }
      upgrader.handleUpgrade(request, socket, head, (webSocket) => {
        acceptWebSocket(webSocket, request, listener, context);
      });
    });
    await listen(server, listener.local);
    return new WebSocketListener(server, upgrader);
  }

  close(): Promise<void> {
    for (const client of this.#upgrader.clients) client.terminate();
    this.#server.closeAllConnections();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }
}

function secureServer(certificates: ServerCertificates, handshakeTimeout: number): https.Server {
  const server = https.createServer(
    { ...certificates.options, handshakeTimeout },
    refusePlainRequest,
  );
  certificates.serve(server);
  return server;
}

function offersSip(request: http.IncomingMessage): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? '';
  return offered.split(',').some((name) => name.trim().toLowerCase() === SUBPROTOCOL);
}

function refusePlainRequest(_request: http.IncomingMessage, response: http.ServerResponse): void {
  response.writeHead(426, { 'Content-Type': 'text/plain', Upgrade: 'websocket' });
  response.end('This port speaks SIP over WebSocket (RFC 7118).\n');
}

function acceptWebSocket(
  webSocket: WebSocket,
  request: http.IncomingMessage,
  listener: Listener,
  context: StreamContext,
): void {
  const { remoteAddress, remotePort } = request.socket;
  if (remoteAddress === undefined || remotePort === undefined) {
    webSocket.terminate();
    return;
  }
  const flowId = context.flowIds.accepted();
  context.flows.set(flowId, flowOf(webSocket, context));
  context.sink({
    kind: 'flowAccepted',
    flowId,
    listenerId: listener.id,
    remote: { address: remoteAddress, port: remotePort },
  });
  const stopPings = keepAlive(webSocket);
  webSocket.on('message', (payload) => {
    context.sink({ kind: 'flowBytes', flowId, bytes: toBuffer(payload) });
  });
  webSocket.on('error', (error) => {
    // A protocol fault closes the connection; 'close' follows and reports it.
    if (isTooLarge(error)) context.census.refusals.add('oversizedMessage');
  });
  webSocket.once('close', (code) => {
    stopPings();
    context.flows.delete(flowId);
    context.sink({ kind: 'flowClosed', flowId, reason: `WebSocket closed with ${code}` });
  });
}

/** More than the `maxPayload` that the server was given. */
function isTooLarge(error: Error): boolean {
  return 'code' in error && error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';
}

/** Pings a browser that has no way to send CRLF itself; two silent intervals end the connection. */
function keepAlive(webSocket: WebSocket): () => void {
  let isAlive = true;
  webSocket.on('pong', () => {
    isAlive = true;
  });
  const timer = setInterval(() => {
    if (!isAlive) {
      webSocket.terminate();
      return;
    }
    isAlive = false;
    webSocket.ping();
  }, PING_INTERVAL_MS);
  return () => {
    clearInterval(timer);
  };
}

function toBuffer(payload: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(payload)) return payload;
  return Array.isArray(payload) ? Buffer.concat(payload) : Buffer.from(payload);
}

function flowOf(webSocket: WebSocket, { limits, census }: StreamContext): StreamFlow {
  return {
    write(bytes) {
      if (webSocket.readyState !== webSocket.OPEN) return;
      if (webSocket.bufferedAmount > limits.maxQueuedBytes) {
        census.refusals.add('slowReader');
        webSocket.terminate();
        return;
      }
      // Text where it is text: browsers' stacks expect strings, and a frame of binary is legal but unusual.
      webSocket.send(bytes, { binary: !isUtf8Text(bytes) });
    },
    end() {
      webSocket.close(1000);
    },
    destroy() {
      webSocket.terminate();
    },
  };
}

const decoder = new TextDecoder('utf-8', { fatal: true });

function isUtf8Text(bytes: Buffer): boolean {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
