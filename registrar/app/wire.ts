/**
 * The control connection to the SIP engine, transparent for bytes. drachtio-srf reads and writes it as UTF-8, which
 * destroys every body that is not (a deflated receipt from Linphone, for one). Here a byte that is not part of UTF-8
 * becomes a lone low surrogate, U+DC80 to U+DCFF, and goes back to that byte on the way out; all else is ordinary text.
 */
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { ControlError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { Srf } from './srf.ts';

/** The control protocol has five digits for the length. */
const MAX_FRAME_BYTES = 99_999;
/** A drachtio-server reads into a ring of 12,228 bytes; a longer message overwrites itself, and nothing is read any more. */
export const MAX_FRAME_BYTES_OF_DRACHTIO = 12_000;
const MAX_LENGTH_DIGITS = 7;
const ESCAPE_BASE = 0xdc00;
const LONE_SURROGATE = /[\uDC80-\uDCFF]/u;

/** Bytes from the network as text; `toBytes` gives back exactly these bytes, whatever they were. */
export function fromBytes(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  let valid = 0;
  let i = 0;
  while (i < bytes.length) {
    const length = sequenceLength(bytes, i);
    if (length === 0) {
      text += bytes.toString('utf8', valid, i);
      text += String.fromCharCode(ESCAPE_BASE + (bytes[i] ?? 0));
      i += 1;
      valid = i;
    } else i += length;
  }
  return text + bytes.toString('utf8', valid);
}

/** The bytes that `text` stands for: UTF-8, apart from what `fromBytes` had to escape. */
export function toBytes(text: string): Buffer {
  if (!LONE_SURROGATE.test(text)) return Buffer.from(text, 'utf8');
  const parts: Buffer[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0xd800 && code <= 0xdbff && isLowSurrogate(text.charCodeAt(i + 1))) i++;
    else if (code >= 0xdc80 && code <= 0xdcff) {
      parts.push(Buffer.from(text.slice(start, i), 'utf8'), Buffer.of(code - ESCAPE_BASE));
      start = i + 1;
    }
  }
  parts.push(Buffer.from(text.slice(start), 'utf8'));
  return Buffer.concat(parts);
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}

/** Bytes of the well-formed UTF-8 sequence at `at` (RFC 3629 section 4); 0 when there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  return length > 0 && isUtf8(bytes.subarray(at, at + length)) && at + length <= bytes.length
    ? length
    : 0;
}

/** Cuts the stream of `<length>#<payload>` into payloads, in linear time however it was cut on its way. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes needed before it is worth looking again. */
  #needed = 1;

  /** @throws ControlError `engine.frame.malformed` when this is not the control protocol */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return [];
    let rest = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#size);
    const payloads: Buffer[] = [];
    this.#needed = 1;
    for (;;) {
      const start = payloadStart(rest);
      if (start === undefined) break;
      const end = start + Number(rest.toString('latin1', 0, start - 1));
      if (rest.length < end) {
        this.#needed = end;
        break;
      }
      payloads.push(rest.subarray(start, end));
      rest = rest.subarray(end);
    }
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#size = rest.length;
    return payloads;
  }
}

/** Where the payload begins; undefined when the length is not complete yet. */
function payloadStart(bytes: Buffer): number | undefined {
  for (let i = 0; i <= MAX_LENGTH_DIGITS; i++) {
    const byte = bytes[i];
    if (byte === undefined) return undefined;
    if (byte === 0x23 && i > 0) return i + 1;
    if (byte < 0x30 || byte > 0x39) break;
  }
  throw new ControlError('engine.frame.malformed', 'the SIP engine sent no control message');
}

/** What of drachtio-srf's wire protocol is replaced, and what that needs. */
type WireProtocol = {
  /** True: a connection that goes away is not made again. */
  closing?: boolean;
  reconnectVars?: { retryTimer: NodeJS.Timeout | null };
  send(socket: Socket, message: string): string;
  on(event: 'connect' | 'connection', listener: (socket: Socket) => void): void;
  emit(event: 'msg', socket: Socket, message: string): void;
};

/**
 * Puts this in the place of drachtio-srf's own reading and writing. To be called right after `srf.connect`, before the
 * connection can be there.
 *
 * @param srf - connecting
 * @param log - hears of what drachtio-srf, or a listener of ours, throws on a message; the connection goes on
 * @param maxFrameBytes - what the engine can take in one message
 */
export function keepBytes(srf: Srf, log: Log, maxFrameBytes: number = MAX_FRAME_BYTES): void {
  const wire = agentOf(srf).wp;
  wire.send = (socket, message) => sendFrame(socket, message, maxFrameBytes);
  const listen = (socket: Socket): void => {
    const reader = new FrameReader();
    socket.removeAllListeners('data');
    socket.on('data', (chunk: Buffer) => {
      for (const payload of payloadsOf(reader, chunk, socket, log)) {
        try {
          wire.emit('msg', socket, fromBytes(payload));
        } catch (error) {
          log.error('engine.message.failed', () => ({ error }));
        }
      }
    });
  };
  wire.on('connect', listen);
  wire.on('connection', listen);
}

/**
 * Closes the connection, or gives up making it. drachtio-srf's own `disconnect` throws when there is none at the
 * moment, and goes on trying.
 */
export function disconnect(srf: Srf): void {
  const { wp, mapServer } = agentOf(srf);
  wp.closing = true;
  clearTimeout(wp.reconnectVars?.retryTimer ?? undefined);
  writeCollected();
  for (const socket of mapServer.keys()) socket.end();
}

/**
 * Resolves when the engine has dealt with all that was sent before on the first connection, such as the routes that
 * drachtio-srf sends when it has connected, and does not wait for.
 *
 * @throws ControlError `engine.closed` when there is no connection
 */
export function caughtUp(srf: Srf): Promise<void> {
  const { wp, mapServer } = agentOf(srf);
  const [entry] = mapServer;
  if (entry === undefined)
    throw new ControlError('engine.closed', 'the SIP engine is not connected');
  const [socket, { pendingRequests }] = entry;
  return new Promise((resolve) => {
    pendingRequests.set(wp.send(socket, 'ping'), resolve);
  });
}

type Agent = {
  readonly wp: WireProtocol;
  readonly mapServer: ReadonlyMap<Socket, { readonly pendingRequests: Map<string, () => void> }>;
};

function agentOf(srf: Srf): Agent {
  return (srf as unknown as { app: { client: Agent } }).app.client;
}

function payloadsOf(reader: FrameReader, chunk: Buffer, socket: Socket, log: Log): Buffer[] {
  try {
    return reader.push(chunk);
  } catch (error) {
    log.error('engine.frame.malformed', () => ({ error }));
    socket.destroy();
    return [];
  }
}

/** @throws ControlError `engine.message.too-long` */
function sendFrame(socket: Socket, message: string, maxFrameBytes: number): string {
  const id = randomUUID();
  const payload = toBytes(`${id}|${message}`);
  if (payload.length > maxFrameBytes) {
    throw new ControlError(
      'engine.message.too-long',
      `a control message of ${payload.length} bytes exceeds ${maxFrameBytes}`,
    );
  }
  collect(socket, Buffer.from(`${payload.length}#`, 'latin1'), payload);
  return id;
}

/** What is still to be written on each connection. */
const collected = new Map<Socket, Buffer[]>();

/**
 * One write to the system for all that is sent in this turn of the event loop: each wakes the engine's thread, which
 * costs more than all that is in the message.
 */
function collect(socket: Socket, ...parts: readonly Buffer[]): void {
  const waiting = collected.get(socket);
  if (waiting !== undefined) {
    waiting.push(...parts);
    return;
  }
  collected.set(socket, [...parts]);
  if (collected.size === 1) setImmediate(writeCollected);
}

function writeCollected(): void {
  const connections = [...collected];
  collected.clear();
  for (const [socket, parts] of connections)
    if (socket.writable) socket.write(Buffer.concat(parts));
}
