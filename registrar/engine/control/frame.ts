/** Framing of the drachtio control protocol: `<bytes>#<payload>` in both directions, cut anywhere by TCP. */

import { ParseError } from '../../../core/errors.ts';

/** The protocol's own bound: a length has at most five digits. */
const MAX_LENGTH_DIGITS = 5;

const HASH = 0x23;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const CRLF = '\r\n';
const EMPTY = Buffer.alloc(0);

/**
 * Cuts the payloads out of one control connection's bytes.
 *
 * Pieces of an unfinished payload are kept as they came and joined once, so that a payload that arrives byte by
 * byte costs no more than its length.
 */
export class FrameReader {
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** Payload bytes still missing plus those kept; -1 while the length itself is being read. */
  #wanted = -1;
  #digits = 0;
  #length = 0;
  readonly #queue: Buffer[] = [];

  /**
   * Takes any piece of the stream; complete payloads are then given by `next`.
   *
   * @throws ParseError `control.frame.length` when a length is not 1 to 5 digits and `#`; the connection is lost
   */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#wanted < 0) {
        offset = this.#readLength(chunk, offset);
        continue;
      }
      const take = Math.min(this.#wanted - this.#pieceBytes, chunk.length - offset);
      const piece = chunk.subarray(offset, offset + take);
      offset += take;
      this.#pieceBytes += take;
      this.#pieces.push(piece);
      if (this.#pieceBytes === this.#wanted) this.#finish();
    }
  }

  /** The next complete payload, without its length; `undefined` until more bytes come. */
  next(): Buffer | undefined {
    return this.#queue.shift();
  }

  #readLength(chunk: Buffer, start: number): number {
    let offset = start;
    while (offset < chunk.length) {
      const byte = chunk[offset] ?? 0;
      offset += 1;
      if (byte === HASH && this.#digits > 0) {
        this.#wanted = this.#length;
        this.#digits = 0;
        this.#length = 0;
        if (this.#wanted === 0) this.#finish();
        return offset;
      }
      if (byte < DIGIT_0 || byte > DIGIT_9 || this.#digits === MAX_LENGTH_DIGITS) {
        throw new ParseError(
          'control.frame.length',
          'a control message has no valid length',
          offset,
        );
      }
      this.#length = this.#length * 10 + (byte - DIGIT_0);
      this.#digits += 1;
    }
    return offset;
  }

  #finish(): void {
    const [first = EMPTY] = this.#pieces;
    this.#queue.push(this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#wanted = -1;
  }
}

/**
 * Writes one framed message.
 *
 * @param leader - the fields, joined by `|`
 * @param sip - the SIP message that follows the leader, as parts in order
 */
export function encodeFrame(leader: string, ...sip: readonly Buffer[]): Buffer {
  const leaderBytes = Buffer.byteLength(leader, 'utf8');
  let size = leaderBytes;
  if (sip.length > 0) {
    size += CRLF.length;
    for (const part of sip) size += part.length;
  }
  const prefix = `${size}#`;
  const frame = Buffer.allocUnsafe(prefix.length + size);
  let offset = frame.write(prefix, 0, 'latin1');
  offset += frame.write(leader, offset, leaderBytes === leader.length ? 'latin1' : 'utf8');
  if (sip.length > 0) {
    offset += frame.write(CRLF, offset, 'latin1');
    for (const part of sip) offset += part.copy(frame, offset);
  }
  return frame;
}

/** The two halves of a payload: the fields of the leader, and the SIP text that may follow it. */
export type ControlMessage = {
  readonly fields: readonly string[];
  readonly sip: Buffer | undefined;
};

/** Splits a payload at its first CRLF, and the leader at each `|`; no escaping exists. */
export function splitPayload(payload: Buffer): ControlMessage {
  const end = payload.indexOf(CRLF, 0, 'latin1');
  const leader = payload.toString('utf8', 0, end < 0 ? payload.length : end);
  return {
    fields: leader.split('|'),
    sip: end < 0 ? undefined : payload.subarray(end + CRLF.length),
  };
}
