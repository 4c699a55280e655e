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
  /**
   * @param canWait - nobody waits for what this does: it may go, and its reply may come, together with others
   * @throws ControlError `relay.timeout` or `relay.closed`
   */
  request(message: Dictionary, canWait?: boolean): Promise<Dictionary>;
  /** Rejects what still waits. */
  close(reason: string): void;
};

/** A command or its reply; the cookie tells which belong together. */
export type PortItem = {
  readonly cookie: string;
  readonly message: Dictionary;
  /** See `ControlChannel.request`; that of a reply is that of its command. */
  readonly canWait: boolean;
};

/** What passes through a message port; `event` only towards the client. */
export type PortMessage =
  | { readonly kind: 'requests'; readonly items: readonly PortItem[] }
  | { readonly kind: 'replies'; readonly items: readonly PortItem[] }
  | { readonly kind: 'event'; readonly event: RelayEvent };

/** How long an item that can wait does so when no other comes. */
const PATIENCE_MS = 20;

/**
 * Gives away in one piece what comes together in one turn of the event loop: waking another thread is what costs. What
 * can wait goes with the next item that cannot; the order stays.
 */
export class Batch {
  readonly #send: (items: readonly PortItem[]) => void;
  #items: PortItem[] = [];
  #isFlushDue = false;
  #patience: NodeJS.Timeout | undefined;

  constructor(send: (items: readonly PortItem[]) => void) {
    this.#send = send;
  }

  add(item: PortItem): void {
    this.#items.push(item);
    if (this.#isFlushDue) return;
    if (item.canWait) {
      this.#patience ??= setTimeout(this.#flush, PATIENCE_MS);
      return;
    }
    this.#isFlushDue = true;
    setImmediate(this.#flush);
  }

  /** Drops what has not gone. */
  close(): void {
    clearTimeout(this.#patience);
    this.#items = [];
  }

  readonly #flush = (): void => {
    this.#isFlushDue = false;
    clearTimeout(this.#patience);
    this.#patience = undefined;
    const items = this.#items;
    this.#items = [];
    if (items.length > 0) this.#send(items);
  };
}

/** Requests through a message port, or a worker's, which is one too. Events go to `onEvent`. */
export class PortChannel implements ControlChannel {
  readonly #requests: Batch;
  readonly #pending = new PendingRequests();
  readonly #deadlineMs: number;
  #count = 0;

  constructor(
    port: Pick<MessagePort | Worker, 'postMessage' | 'on'>,
    deadlineMs: number,
    onEvent: (event: RelayEvent) => void,
  ) {
    this.#requests = new Batch((items) => {
      port.postMessage({ kind: 'requests', items } satisfies PortMessage);
    });
    this.#deadlineMs = deadlineMs;
    port.on('message', (message: PortMessage) => {
      if (message.kind === 'replies') {
        for (const { cookie, message: reply } of message.items) this.#pending.settle(cookie, reply);
      } else if (message.kind === 'event') onEvent(message.event);
    });
  }

  request(message: Dictionary, canWait = false): Promise<Dictionary> {
    this.#count += 1;
    const cookie = String(this.#count);
    const reply = this.#pending.wait(cookie, this.#deadlineMs);
    this.#requests.add({ cookie, message, canWait });
    return reply;
  }

  close(reason: string): void {
    this.#requests.close();
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
