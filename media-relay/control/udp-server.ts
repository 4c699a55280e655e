/** The ng control protocol over UDP, as rtpengine serves it: one datagram in, one out, and the same out for the same in. */

import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { RefusedError } from '../../core/errors.ts';
import type { Dictionary } from './dictionary.ts';
import { decodeBody, encodeMessage, encodingOf, splitCookie } from './message.ts';
import type { Encoding } from './message.ts';
import { errorReply } from './reply.ts';

/** Clients retransmit for a few seconds; rtpengine remembers for this long too. */
const REPLY_LIFETIME_MS = 30_000;
const MAX_REPLIES = 10_000;
const MAX_REPLY_BYTES = 16 * 1024 * 1024;
/** What IPv4 leaves of 65,535 bytes. */
const MAX_DATAGRAM_BYTES = 65_507;

type StoredReply = { bytes: Buffer | undefined; readonly atMs: number };

export class UdpControlServer {
  readonly #socket: Socket;
  readonly #handle: (request: Dictionary) => Promise<Dictionary>;
  /** By sender and cookie, oldest first; without bytes while the command runs. */
  readonly #replies = new Map<string, StoredReply>();
  #replyBytes = 0;
  #isClosed = false;

  private constructor(socket: Socket, handle: (request: Dictionary) => Promise<Dictionary>) {
    this.#socket = socket;
    this.#handle = handle;
    socket.on('message', (datagram, remote) => {
      void this.#onDatagram(datagram, remote);
    });
    socket.on('error', ignore);
  }

  /**
   * @param handle - carries out a command and never rejects
   * @throws the system's error when the address cannot be bound
   */
  static async open(
    address: { readonly host: string; readonly port: number },
    handle: (request: Dictionary) => Promise<Dictionary>,
  ): Promise<UdpControlServer> {
    const socket = createSocket(isIPv6(address.host) ? 'udp6' : 'udp4');
    socket.bind(address.port, address.host);
    await once(socket, 'listening');
    return new UdpControlServer(socket, handle);
  }

  get address(): { readonly host: string; readonly port: number } {
    const { address, port } = this.#socket.address();
    return { host: address, port };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }

  /** Without a cookie there is nobody to answer; anything else gets a reply, an error if need be. */
  async #onDatagram(datagram: Buffer, remote: RemoteInfo): Promise<void> {
    const message = splitCookie(datagram);
    if (message === undefined) return;
    const { cookie, body } = message;
    const key = `${remote.address} ${remote.port} ${cookie}`;
    const known = this.#replies.get(key);
    if (known !== undefined) {
      // While the first copy is being worked on, the others need no answer: its own is on the way.
      if (known.bytes !== undefined) this.#send(known.bytes, remote);
      return;
    }
    const stored: StoredReply = { bytes: undefined, atMs: performance.now() };
    this.#replies.set(key, stored);
    const reply = encodeReply(cookie, await this.#reply(body), encodingOf(body));
    if (this.#replies.get(key) === stored) {
      stored.bytes = reply;
      this.#replyBytes += reply.length;
    }
    this.#forgetOld();
    this.#send(reply, remote);
  }

  async #reply(body: Buffer): Promise<Dictionary> {
    let request: Dictionary;
    try {
      request = decodeBody(body);
    } catch (error) {
      return errorReply(error);
    }
    return await this.#handle(request);
  }

  #forgetOld(): void {
    const sinceMs = performance.now() - REPLY_LIFETIME_MS;
    for (const [key, { bytes, atMs }] of this.#replies) {
      const isTooMuch = this.#replies.size > MAX_REPLIES || this.#replyBytes > MAX_REPLY_BYTES;
      if (atMs > sinceMs && !isTooMuch) return;
      this.#replyBytes -= bytes?.length ?? 0;
      this.#replies.delete(key);
    }
  }

  #send(reply: Buffer, remote: RemoteInfo): void {
    if (this.#isClosed) return;
    this.#socket.send(reply, remote.port, remote.address, ignore);
  }
}

/** An answer that fits no datagram would never arrive, and the client would wonder. */
function encodeReply(cookie: string, reply: Dictionary, encoding: Encoding): Buffer {
  const bytes = encodeMessage(cookie, reply, encoding);
  if (bytes.length <= MAX_DATAGRAM_BYTES) return bytes;
  const error = new RefusedError('relay.reply.too-large', 'The reply fits no datagram', 413);
  return encodeMessage(cookie, errorReply(error), encoding);
}

function ignore(): void {
  // A reply that cannot be sent is asked for again.
}
