/** The listening socket to which drachtio applications connect. */
import net from 'node:net';
import type { ControlId, Endpoint } from '../seam.ts';
import type { InputSink } from './sink.ts';
import { listen } from './stream-listener.ts';

const KEEP_ALIVE_MS = 45_000;

export class ControlServer {
  readonly #server: net.Server;
  readonly #connections = new Map<ControlId, net.Socket>();
  /** What is still to be written, by connection. */
  readonly #collected = new Map<net.Socket, Buffer[]>();
  #nextId = 1;

  private constructor(sink: InputSink) {
    this.#server = net.createServer((socket) => {
      this.#accept(socket, sink);
    });
  }

  /** @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL) */
  static async open(local: Endpoint, sink: InputSink): Promise<ControlServer> {
    const control = new ControlServer(sink);
    await listen(control.#server, local);
    return control;
  }

  /** The port that was bound. */
  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  /**
   * Queues a control message. All that one turn of the event loop has to say to an application leaves in one piece:
   * under load that is one system call for some thirty datagrams instead of one for each.
   */
  send(id: ControlId, bytes: Buffer): void {
    const socket = this.#connections.get(id);
    if (socket === undefined) return;
    const waiting = this.#collected.get(socket);
    if (waiting !== undefined) {
      waiting.push(bytes);
      return;
    }
    this.#collected.set(socket, [bytes]);
    if (this.#collected.size === 1) setImmediate(this.#write);
  }

  /** Sends what is queued, then closes that application's connection. */
  end(id: ControlId): void {
    const socket = this.#connections.get(id);
    if (socket === undefined) return;
    this.#write();
    socket.end();
    socket.once('finish', () => {
      socket.destroySoon();
    });
  }

  close(): Promise<void> {
    for (const socket of this.#connections.values()) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
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

  #accept(socket: net.Socket, sink: InputSink): void {
    const controlId = this.#nextId++;
    this.#connections.set(controlId, socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    sink({ kind: 'controlOpened', controlId });
    socket.on('data', (bytes: Buffer) => {
      sink({ kind: 'controlBytes', controlId, bytes });
    });
    socket.on('error', () => {
      // 'close' follows and reports it.
    });
    socket.once('close', () => {
      this.#connections.delete(controlId);
      sink({ kind: 'controlClosed', controlId });
    });
  }
}
