/** Symmetric RTP (RFC 4961): learns where a leg's packets really come from, then holds on to it (RFC 7362 §4). */

import type { LatchPolicy } from '../options.ts';

/** How well a source fits what SDP promised; a better one takes the place of a worse one. */
const RANK_STALE = 0;
const RANK_ANY = 1;
const RANK_SAME_HOST = 2;
const RANK_PROMISED = 3;

/** A source is quiet when nothing came for three packet times of 20 ms. */
const QUIET_MS = 60;
/** How long after a changed promise the old source must go on alone to be believed again. */
const STALE_LOCK_MS = 5000;
/** How far a moved stream's sequence number may have run on (60 s of 20 ms packets). */
const MAX_SEQUENCE_STEP = 3000;

export type Endpoint = { readonly address: string; readonly port: number };

/**
 * One direction of one port. Open: any source may be learned, better ones displace worse ones; after `windowMs` and
 * `minPackets` from one source it locks. Locked: others are strangers, except the promised address itself, and the
 * same stream (SSRC and running sequence) from a new address after `rebindAfterMs` of silence, which is a NAT that
 * changed its mind.
 */
export class Latch {
  /** Where packets come from; undefined until the first came. Read on the hot path. */
  address: string | undefined;
  port = 0;
  readonly #policy: LatchPolicy;
  #promised: Endpoint | undefined;
  #rank = RANK_STALE;
  #isLocked = false;
  #openedMs: number | undefined;
  #packets = 0;
  #lastMs = 0;
  #ssrc = 0;
  #sequence = 0;

  constructor(policy: LatchPolicy) {
    this.#policy = policy;
  }

  get promised(): Endpoint | undefined {
    return this.#promised;
  }

  get isLocked(): boolean {
    return this.#isLocked;
  }

  /**
   * A new offer or answer: learning begins again. What was learned stays, and stays preferred when the promise is the
   * same as before; a changed promise makes it the last choice.
   */
  promise(promised: Endpoint | undefined): void {
    const isChanged =
      promised?.address !== this.#promised?.address || promised?.port !== this.#promised?.port;
    const hadPromise = this.#promised !== undefined;
    this.#promised = promised;
    this.#isLocked = false;
    this.#openedMs = undefined;
    this.#packets = 0;
    if (this.address === undefined) return;
    const rank = this.#rankOf(this.address, this.port);
    this.#rank = isChanged && hadPromise && rank !== RANK_PROMISED ? RANK_STALE : rank;
  }

  /** Where to send: what was learned unless a new promise has overtaken it. */
  get destinationAddress(): string | undefined {
    return this.#usesLearned ? this.address : this.#promised?.address;
  }

  get destinationPort(): number {
    return this.#usesLearned ? this.port : (this.#promised?.port ?? 0);
  }

  get #usesLearned(): boolean {
    return this.address !== undefined && (this.#rank !== RANK_STALE || this.#isLocked);
  }

  /**
   * Whether a packet from there is this leg's.
   *
   * @param ssrc - 0 where packets have none to compare
   * @param nowMs - monotonic
   */
  // eslint-disable-next-line max-params -- called for every packet: an object would be an allocation
  admit(address: string, port: number, ssrc: number, sequence: number, nowMs: number): boolean {
    if (port !== this.port || address !== this.address) {
      if (!this.#displaces(address, port, ssrc, sequence, nowMs)) return false;
      this.#learn(address, port);
    }
    this.#lastMs = nowMs;
    this.#ssrc = ssrc;
    this.#sequence = sequence;
    if (!this.#isLocked) this.#tryLock(nowMs);
    return true;
  }

  #learn(address: string, port: number): void {
    this.address = address;
    this.port = port;
    this.#rank = this.#rankOf(address, port);
    this.#packets = 0;
  }

  #tryLock(nowMs: number): void {
    this.#packets += 1;
    this.#openedMs ??= nowMs;
    const openMs = nowMs - this.#openedMs;
    const neededMs = this.#rank === RANK_STALE ? STALE_LOCK_MS : this.#policy.windowMs;
    this.#isLocked =
      this.#rank === RANK_PROMISED ||
      (openMs >= neededMs && this.#packets >= this.#policy.minPackets);
  }

  // eslint-disable-next-line max-params -- as `admit`
  #displaces(
    address: string,
    port: number,
    ssrc: number,
    sequence: number,
    nowMs: number,
  ): boolean {
    const rank = this.#rankOf(address, port);
    if (rank === RANK_PROMISED) return true;
    if (this.#policy.isStrict) return false;
    if (this.address === undefined) return true;
    const silentMs = nowMs - this.#lastMs;
    const isSameStream = ssrc !== 0 && ssrc === this.#ssrc;
    if (this.#isLocked) {
      const step = (sequence - this.#sequence) & 0xffff;
      const isContinued = isSameStream && step > 0 && step <= MAX_SEQUENCE_STEP;
      return isContinued && silentMs >= this.#policy.rebindAfterMs;
    }
    if (rank > this.#rank) return true;
    if (rank === this.#rank) return isSameStream || silentMs >= QUIET_MS;
    return silentMs >= this.#policy.rebindAfterMs;
  }

  #rankOf(address: string, port: number): number {
    if (this.#promised?.address !== address) return RANK_ANY;
    return this.#promised.port === port ? RANK_PROMISED : RANK_SAME_HOST;
  }
}
