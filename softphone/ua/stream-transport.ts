/** SIP over TCP or TLS for sip.js: one connection to the server, cut into messages, watched, and never in a hurry. */

import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { EmitterImpl, StateTransitionError, TransportState } from 'sip.js';
import type { Emitter, Transport } from 'sip.js';
import { ControlError, ParseError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { SipMessage } from '../../core/sip/message.ts';
import { StreamFramer } from '../../core/sip/stream-framer.ts';
import { keepOneChallenge } from './challenge.ts';
import { KeepAlive } from './keep-alive.ts';
import type { ServerAddress } from './locate.ts';

export type StreamTransportOptions = {
  /** TLS settings; undefined for TCP. */
  readonly tls: TlsOptions | undefined;
  readonly log: Log;
  readonly connectLimitMs?: number;
  readonly keepAliveMs?: number;
  readonly pongLimitMs?: number;
};

export type TlsOptions = {
  /** PEM certificates to trust besides the system's. */
  readonly ca: string | undefined;
  /** Accept any certificate: encrypted, but not safe from somebody in the middle. */
  readonly isUnverified: boolean;
};

/** A message that came, beside the text that sip.js gets of it. */
export type ReceivedBody = { readonly bytes: Buffer; readonly contentEncoding: string | undefined };

const NO_BODY: ReceivedBody = { bytes: Buffer.alloc(0), contentEncoding: undefined };
const PING = '\r\n\r\n';
const PONG = '\r\n';

/**
 * Contract of sip.js's `Transport`: `connect` and `disconnect` move the state, a lost connection moves it to
 * Disconnected with an error, and nothing is recovered in here (`Connection` does that).
 *
 * Each message is handed over in a turn of the event loop of its own: sip.js finishes a message in promises, and
 * drops a BYE or NOTIFY that arrives before it has finished the 200 in front of it.
 */
export class StreamTransport implements Transport {
  readonly protocol: string;
  onConnect: (() => void) | undefined;
  onDisconnect: ((error?: Error) => void) | undefined;
  onMessage: ((message: string) => void) | undefined;
  /** Of the message that is being handed over: its body as it came. Read it before the first `await`. */
  receivedBody: ReceivedBody = NO_BODY;
  /** Where `connect` goes. */
  target: ServerAddress = { host: '127.0.0.1', port: 5060 };
  /** Messages that were not SIP, or that made sip.js throw. */
  droppedMessages = 0;

  readonly #options: StreamTransportOptions;
  readonly #log: Log;
  readonly #stateChange = new EmitterImpl<TransportState>();
  #state: TransportState = TransportState.Disconnected;
  #socket: Socket | undefined;
  #local = { address: '127.0.0.1', port: 0 };
  #connecting: Promise<void> | undefined;
  #disconnecting: Promise<void> | undefined;
  #inbound: SipMessage[] = [];
  #drain: NodeJS.Immediate | undefined;
  #keepAlive: KeepAlive | undefined;
  #keepAliveTimer: NodeJS.Timeout | undefined;

  /** The first parameter is sip.js's own logger, which is not used. */
  constructor(_logger: unknown, options: StreamTransportOptions) {
    this.#options = options;
    this.#log = options.log;
    this.protocol = options.tls === undefined ? 'TCP' : 'TLS';
  }

  get state(): TransportState {
    return this.#state;
  }

  get stateChange(): Emitter<TransportState> {
    return this.#stateChange;
  }

  /** Our end of the connection, or of the last one. */
  get local(): { readonly address: string; readonly port: number } {
    return this.#local;
  }

  isConnected(): boolean {
    return this.#state === TransportState.Connected;
  }

  connect(): Promise<void> {
    switch (this.#state) {
      case TransportState.Connecting:
        return this.#connecting ?? Promise.resolve();
      case TransportState.Connected:
        return Promise.resolve();
      case TransportState.Disconnecting:
        return Promise.reject(new StateTransitionError('The connection is being closed.'));
      case TransportState.Disconnected:
        this.#connecting = this.#open();
        return this.#connecting;
    }
  }

  async #open(): Promise<void> {
    this.#transition(TransportState.Connecting);
    let socket: Socket;
    try {
      socket = await this.#dial();
    } catch (error) {
      this.#transition(TransportState.Disconnected);
      throw error;
    }
    // `disconnect` may have been called meanwhile.
    if (this.#state !== TransportState.Connecting) {
      socket.destroy();
      throw new ControlError('softphone.connection.closed', 'The connection was closed again.');
    }
    this.#adopt(socket);
  }

  #dial(): Promise<Socket> {
    const { tls, connectLimitMs = 10_000 } = this.#options;
    const { host, port } = this.target;
    return new Promise((resolve, reject) => {
      const socket =
        tls === undefined
          ? connectTcp({ host, port })
          : connectTls({
              host,
              port,
              // Names only: RFC 6066 §3 knows no addresses.
              ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
              rejectUnauthorized: !tls.isUnverified,
            });
      const fail = (reason: string): void => {
        socket.destroy();
        const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
        const message = `No connection to ${where}: ${reason}`;
        reject(new ControlError('softphone.connection.failed', message));
      };
      const timer = setTimeout(() => {
        fail('no answer');
      }, connectLimitMs);
      socket.once('error', (error: Error) => {
        clearTimeout(timer);
        fail(error.message);
      });
      socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
        clearTimeout(timer);
        socket.removeAllListeners('error');
        resolve(socket);
      });
    });
  }

  #adopt(socket: Socket): void {
    this.#socket = socket;
    this.#local = { address: socket.localAddress ?? '127.0.0.1', port: socket.localPort ?? 0 };
    socket.setNoDelay(true);
    const framer = new StreamFramer();
    let reason = 'closed by the server';
    socket.on('data', (bytes) => {
      framer.push(bytes);
      if (!this.#take(framer)) {
        reason = 'the server sent something that is not SIP';
        socket.destroy();
      }
    });
    socket.on('error', (error) => {
      reason = error.message;
    });
    // A half-closed connection is of no use to SIP.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.#lost(socket, reason);
    });
    this.#startKeepAlive(socket);
    this.#transition(TransportState.Connected);
    this.onConnect?.();
  }

  /** Takes every frame that is complete; false when the stream is beyond repair. */
  #take(framer: StreamFramer): boolean {
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
      this.#keepAlive?.received(frame.kind === 'pong');
      switch (frame.kind) {
        case 'ping':
          this.#socket?.write(PONG);
          break;
        case 'pong':
          break;
        case 'message':
          this.#queue(frame.bytes);
          break;
        case 'error':
          this.#log.warn('softphone.stream.malformed', () => ({ code: frame.error.code }));
          return false;
      }
    }
    return true;
  }

  #queue(bytes: Buffer): void {
    try {
      const message = SipMessage.parse(bytes);
      if (message.defect !== undefined) throw message.defect;
      this.#inbound.push(message);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.droppedMessages += 1;
      this.#log.warn('softphone.message.malformed', () => ({ code: error.code }));
    }
    this.#drain ??= setImmediate(() => {
      this.#handOver();
    });
  }

  #handOver(): void {
    this.#drain = undefined;
    const message = this.#inbound.shift();
    if (message === undefined) return;
    if (this.#inbound.length > 0) {
      this.#drain = setImmediate(() => {
        this.#handOver();
      });
    }
    this.receivedBody = {
      bytes: message.body,
      contentEncoding: message.header('content-encoding'),
    };
    try {
      this.onMessage?.(textFor(message));
    } catch (error) {
      // sip.js throws on some messages that it does not expect; none of them may end the program.
      this.droppedMessages += 1;
      this.#log.warn('softphone.message.refused', () => ({ error: String(error) }));
    } finally {
      this.receivedBody = NO_BODY;
    }
  }

  #startKeepAlive(socket: Socket): void {
    const { keepAliveMs = 30_000, pongLimitMs = 10_000 } = this.#options;
    const options = { intervalMs: keepAliveMs, pongLimitMs, random: Math.random };
    const keepAlive = new KeepAlive(options, performance.now());
    this.#keepAlive = keepAlive;
    const schedule = (): void => {
      const delayMs = Math.max(10, keepAlive.deadlineMs - performance.now());
      this.#keepAliveTimer = setTimeout(() => {
        const action = keepAlive.poll(performance.now());
        if (action === 'dead') {
          socket.destroy(new Error('the server does not answer any more'));
          return;
        }
        if (action === 'ping') socket.write(PING);
        schedule();
      }, delayMs);
    };
    schedule();
  }

  #lost(socket: Socket, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    clearTimeout(this.#keepAliveTimer);
    this.#keepAlive = undefined;
    const wasWanted = this.#state === TransportState.Disconnecting;
    this.#transition(TransportState.Disconnected);
    if (wasWanted) this.onDisconnect?.();
    else this.onDisconnect?.(new ControlError('softphone.connection.lost', reason));
  }

  disconnect(): Promise<void> {
    if (this.#state === TransportState.Disconnected) return Promise.resolve();
    if (this.#state === TransportState.Disconnecting) {
      return this.#disconnecting ?? Promise.resolve();
    }
    this.#transition(TransportState.Disconnecting);
    const socket = this.#socket;
    if (socket === undefined) {
      this.#transition(TransportState.Disconnected);
      return Promise.resolve();
    }
    this.#disconnecting = new Promise((resolve) => {
      const timer = setTimeout(() => socket.destroy(), 1000);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.end();
    });
    return this.#disconnecting;
  }

  async dispose(): Promise<void> {
    await this.disconnect();
    clearImmediate(this.#drain);
    this.#inbound = [];
  }

  send(message: string): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || !this.isConnected()) {
      const error = new ControlError('softphone.connection.closed', 'There is no connection.');
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      socket.write(message, 'utf8', (error) => {
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    });
  }

  #transition(state: TransportState): void {
    this.#state = state;
    this.#stateChange.emit(state);
  }
}

/**
 * The message as sip.js wants it: long header names, no folding, and of several challenges the one that we answer
 * (sip.js would take the last).
 */
function textFor(message: SipMessage): string {
  const lines = [
    message.isRequest
      ? `${message.method} ${message.requestUri} ${message.version}`
      : `${message.version} ${message.statusCode} ${message.reasonPhrase}`,
  ];
  const isChallenge = message.statusCode === 401 || message.statusCode === 407;
  message.forEachHeader((_id, name, value) => {
    if (!isChallenge || !/^(?:www|proxy)-authenticate$/i.test(name))
      lines.push(`${name}: ${value}`);
  });
  if (isChallenge) lines.push(...keepOneChallenge(message));
  return `${lines.join('\r\n')}\r\n\r\n${message.body.toString('utf8')}`;
}
