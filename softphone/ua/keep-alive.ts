/** CRLF keep-alive of a stream connection (RFC 5626 §3.5.1, §4.4.1): when to ping, and when the peer is gone. */

export type KeepAliveOptions = {
  /** The longest time between two pings; each comes at 80 to 100 % of it. */
  readonly intervalMs: number;
  /** How long the pong may take. */
  readonly pongLimitMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
};

/**
 * Deviation from RFC 5626 §4.4.1: a missing pong ends the connection only if the peer has answered a ping before,
 * since servers that know nothing of this keep-alive are otherwise good servers. Any other bytes count as a sign
 * of life too.
 */
export class KeepAlive {
  readonly #options: KeepAliveOptions;
  #nextPingMs: number;
  #pingedMs: number | undefined;
  #hasPonged = false;

  constructor(options: KeepAliveOptions, nowMs: number) {
    this.#options = options;
    this.#nextPingMs = nowMs + this.#interval();
  }

  /** When `poll` wants to be called next. */
  get deadlineMs(): number {
    if (this.#pingedMs === undefined || !this.#hasPonged) return this.#nextPingMs;
    return Math.min(this.#nextPingMs, this.#pingedMs + this.#options.pongLimitMs);
  }

  /** Something came from the peer. */
  received(isPong: boolean): void {
    if (isPong && this.#pingedMs !== undefined) this.#hasPonged = true;
    this.#pingedMs = undefined;
  }

  /** What to do now: send CRLF CRLF, give the connection up, or nothing. */
  poll(nowMs: number): 'ping' | 'dead' | undefined {
    if (this.#pingedMs !== undefined && this.#hasPonged) {
      if (nowMs - this.#pingedMs >= this.#options.pongLimitMs) return 'dead';
    }
    if (nowMs < this.#nextPingMs) return undefined;
    this.#nextPingMs = nowMs + this.#interval();
    this.#pingedMs ??= nowMs;
    return 'ping';
  }

  #interval(): number {
    return this.#options.intervalMs * (0.8 + 0.2 * this.#options.random());
  }
}
