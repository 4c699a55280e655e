/** How a client's requests reach a relay: to our own worker, or over UDP to any ng listener. */

import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { MessagePort, Worker } from 'node:worker_threads';
import type { RelayEvent } from '../messages.ts';
import { isDictionary } from './dictionary.ts';
import type { Dictionary } from './dictionary.ts';
import { decodeBody, encodeMessage, splitCookie } from './message.ts';
import { PendingRequests } from './pending-requests.ts';

export type ControlChannel = {
  /** @throws ControlError `relay.timeout` or `relay.closed` */
  request(message: Dictionary): Promise<Dictionary>;
  /** Rejects what still waits. */
  close(reason: string): void;
};

/** What passes through a message port; `event` only towards the client. */
export type PortMessage =
  | { readonly kind: 'request'; readonly cookie: string; readonly message: Dictionary }
  | { readonly kind: 'reply'; readonly cookie: string; readonly message: Dictionary }
  | { readonly kind: 'event'; readonly event: RelayEvent };

/** Requests through a message port, or a worker's, which is one too. Events go to `onEvent`. */
export class PortChannel implements ControlChannel {
  readonly #port: Pick<MessagePort | Worker, 'postMessage'>;
  readonly #pending = new PendingRequests();
  readonly #deadlineMs: number;
  #count = 0;

  constructor(
    port: Pick<MessagePort | Worker, 'postMessage' | 'on'>,
    deadlineMs: number,
    onEvent: (event: RelayEvent) => void,
  ) {
    this.#port = port;
    this.#deadlineMs = deadlineMs;
    port.on('message', (message: PortMessage) => {
      if (message.kind === 'reply') this.#pending.settle(message.cookie, message.message);
      else if (message.kind === 'event') onEvent(message.event);
    });
  }

  request(message: Dictionary): Promise<Dictionary> {
    this.#count += 1;
    const cookie = String(this.#count);
    const reply = this.#pending.wait(cookie, this.#deadlineMs);
    this.#port.postMessage({ kind: 'request', cookie, message } satisfies PortMessage);
    return reply;
  }

  close(reason: string): void {
    this.#pending.close(reason);
  }
}

/** The first retransmission; each further one waits twice as long. */
const FIRST_RETRANSMIT_MS = 250;

/** Requests over UDP, retransmitted with the same cookie until the reply or the deadline comes. */
export class UdpChannel implements ControlChannel {
  readonly #socket: Socket;
  readonly #pending = new PendingRequests();
  readonly #deadlineMs: number;
  readonly #prefix = randomBytes(6).toString('hex');
  #count = 0;

  private constructor(socket: Socket, deadlineMs: number) {
    this.#socket = socket;
    this.#deadlineMs = deadlineMs;
    socket.on('message', (datagram) => {
      this.#onDatagram(datagram);
    });
    // "Connection refused" may be a relay that is just starting: retransmission and deadline decide.
    socket.on('error', ignore);
  }

  /** @throws the system's error when the host cannot be found */
  static async open(
    remote: { readonly host: string; readonly port: number },
    deadlineMs: number,
  ): Promise<UdpChannel> {
    const socket = createSocket(isIPv6(remote.host) ? 'udp6' : 'udp4');
    try {
      socket.connect(remote.port, remote.host);
      await once(socket, 'connect');
    } catch (error) {
      socket.close();
      throw error;
    }
    return new UdpChannel(socket, deadlineMs);
  }

  request(message: Dictionary): Promise<Dictionary> {
    this.#count += 1;
    const cookie = `${this.#prefix}_${this.#count}`;
    const reply = this.#pending.wait(cookie, this.#deadlineMs);
    if (this.#pending.has(cookie)) {
      this.#transmit(cookie, encodeMessage(cookie, message, 'bencode'), FIRST_RETRANSMIT_MS);
    }
    return reply;
  }

  close(reason: string): void {
    this.#pending.close(reason);
    this.#socket.close();
  }

  #transmit(cookie: string, datagram: Buffer, againAfterMs: number): void {
    if (!this.#pending.has(cookie)) return;
    this.#socket.send(datagram, ignore);
    setTimeout(() => {
      this.#transmit(cookie, datagram, againAfterMs * 2);
    }, againAfterMs).unref();
  }

  #onDatagram(datagram: Buffer): void {
    const message = splitCookie(datagram);
    if (message === undefined || !this.#pending.has(message.cookie)) return;
    let reply: unknown;
    try {
      reply = decodeBody(message.body);
    } catch {
      // Not a reply: the true one may still come.
      return;
    }
    if (isDictionary(reply)) this.#pending.settle(message.cookie, reply);
  }
}

function ignore(): void {
  // See where it is used.
}
