/** Tags, branches, Call-IDs and transaction names, from a source of randomness that is given. */

const POOL_BYTES = 8192;
const HEX: readonly string[] = Array.from({ length: 256 }, (_, n) =>
  n.toString(16).padStart(2, '0'),
);
/** 32 symbols, all of them token characters (RFC 3261 §25.1) and hard to confuse. */
const SYMBOLS = '0123456789abcdefghjkmnpqrstvwxyz';

export class Ids {
  readonly #random: (bytes: number) => Buffer;
  #pool: Buffer;
  #offset = 0;
  readonly #messagePrefix: string;
  #messageCount = 0;

  /** @param random - that many unpredictable bytes; tags and branches must not be guessable (RFC 3261 §19.3) */
  constructor(random: (bytes: number) => Buffer) {
    this.#random = random;
    this.#pool = random(POOL_BYTES);
    this.#messagePrefix = this.#hex(10).replace(/^(.{8})(.{4})(.{4})(.{4})$/, '$1-$2-$3-$4-');
  }

  /** A tag for From or To: 13 symbols, 65 bits. */
  tag(): string {
    return this.#token(13);
  }

  /** A Via branch with the magic cookie (RFC 3261 §8.1.1.7): 75 bits. */
  branch(): string {
    return 'z9hG4bK' + this.#token(15);
  }

  /** A Call-ID without a host part, as RFC 3261 §20.8 allows: 128 bits. */
  callId(): string {
    return this.#uuid();
  }

  /** The name of a transaction as applications see it. */
  transactionId(): string {
    return this.#uuid();
  }

  /** The id of one control message; applications ignore it, so it is only unique, not secret. */
  messageId(): string {
    this.#messageCount += 1;
    return this.#messagePrefix + this.#messageCount.toString(16).padStart(12, '0');
  }

  /** A whole number from 1 to `max`, for RSeq (RFC 3262 §3) and CSeq starts. */
  number(max: number): number {
    const at = this.#take(4);
    return 1 + (this.#pool.readUInt32LE(at) % max);
  }

  #uuid(): string {
    const hex = this.#hex(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  #hex(bytes: number): string {
    const at = this.#take(bytes);
    let text = '';
    for (let i = at; i < at + bytes; i += 1) text += HEX[this.#pool[i] ?? 0] ?? '';
    return text;
  }

  #token(symbols: number): string {
    const at = this.#take(symbols);
    let text = '';
    for (let i = at; i < at + symbols; i += 1) text += SYMBOLS.charAt((this.#pool[i] ?? 0) & 31);
    return text;
  }

  /** Reserves bytes of the pool and returns where they begin. */
  #take(bytes: number): number {
    if (this.#offset + bytes > this.#pool.length) {
      this.#pool = this.#random(POOL_BYTES);
      this.#offset = 0;
    }
    const at = this.#offset;
    this.#offset += bytes;
    return at;
  }
}
