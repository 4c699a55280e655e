/** Nonces that carry their own age and signature, and a window of the counts that were used with each (RFC 7616 3.3, 3.4). */
import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * - `fresh`: may be used
 * - `stale`: was ours but is too old, or this count was used before: the client shall try again with a new one
 * - `foreign`: never ours, or from before a restart
 */
export type NonceState = 'fresh' | 'stale' | 'foreign';

export type NoncesOptions = {
  readonly secret: Buffer;
  readonly lifetimeMs: number;
  /** How many of the latest nonces are remembered for their counts; a power of two. Older ones are stale. */
  readonly remembered?: number;
};

const DEFAULT_REMEMBERED = 2 ** 18;
const SIGNATURE_BYTES = 12;
const SERIAL_BYTES = 6;
const TIME_BYTES = 6;
const BODY_BYTES = SERIAL_BYTES + TIME_BYTES;
/** How far behind the highest count a late one may be: requests overtake each other. */
const WINDOW = 32;

export class Nonces {
  readonly #secret: Buffer;
  readonly #lifetimeMs: number;
  readonly #mask: number;
  /** Per remembered nonce: the highest count that was used, and which of the 32 up to it were. */
  readonly #highest: Uint32Array;
  readonly #used: Uint32Array;
  #serial = 0;

  constructor({ secret, lifetimeMs, remembered = DEFAULT_REMEMBERED }: NoncesOptions) {
    this.#secret = secret;
    this.#lifetimeMs = lifetimeMs;
    this.#mask = remembered - 1;
    this.#highest = new Uint32Array(remembered);
    this.#used = new Uint32Array(remembered);
  }

  /** @param nowMs - wall clock */
  issue(nowMs: number): string {
    const serial = ++this.#serial;
    this.#highest[serial & this.#mask] = 0;
    this.#used[serial & this.#mask] = 0;
    const body = Buffer.allocUnsafe(BODY_BYTES + SIGNATURE_BYTES);
    body.writeUIntBE(serial, 0, SERIAL_BYTES);
    body.writeUIntBE(Math.floor(nowMs), SERIAL_BYTES, TIME_BYTES);
    this.#sign(body).copy(body, BODY_BYTES, 0, SIGNATURE_BYTES);
    return body.toString('base64url');
  }

  /**
   * Judges a nonce and marks this count as used. Call it only after the response proved right, so that a stranger
   * cannot use up counts.
   *
   * @param nc - the count; 1 for an answer without qop
   */
  use(nonce: string, nc: number, nowMs: number): NonceState {
    const body = Buffer.from(nonce, 'base64url');
    if (body.length !== BODY_BYTES + SIGNATURE_BYTES || !this.#isSigned(body)) return 'foreign';
    const ageMs = Math.floor(nowMs) - body.readUIntBE(SERIAL_BYTES, TIME_BYTES);
    const serial = body.readUIntBE(0, SERIAL_BYTES);
    const isRemembered = this.#serial - serial <= this.#mask;
    if (ageMs < 0 || ageMs > this.#lifetimeMs || !isRemembered) return 'stale';
    return this.#mark(serial & this.#mask, nc) ? 'fresh' : 'stale';
  }

  /** A sliding window as in IPsec (RFC 4303 section 3.4.3). */
  #mark(slot: number, nc: number): boolean {
    const highest = this.#highest[slot] ?? 0;
    const used = this.#used[slot] ?? 0;
    if (nc === 0) return false;
    if (nc > highest) {
      const shift = nc - highest;
      this.#highest[slot] = nc;
      this.#used[slot] = shift >= WINDOW ? 1 : (used << shift) | 1;
      return true;
    }
    const behind = highest - nc;
    if (behind >= WINDOW || ((used >>> behind) & 1) === 1) return false;
    this.#used[slot] = used | (1 << behind);
    return true;
  }

  #isSigned(body: Buffer): boolean {
    const expected = this.#sign(body).subarray(0, SIGNATURE_BYTES);
    return timingSafeEqual(expected, body.subarray(BODY_BYTES));
  }

  #sign(body: Buffer): Buffer {
    return createHmac('sha256', this.#secret).update(body.subarray(0, BODY_BYTES)).digest();
  }
}
