/**
 * Which algorithms a challenge offers: all of them, SHA-256 first (RFC 8760 section 2.4), unless the client is known,
 * or has shown, not to survive a challenge that it does not understand.
 *
 * RFC 3261 section 22.3 lets a client skip what it does not know, but some give up on the first challenge that is not
 * MD5, whatever follows. Such a client gets MD5 alone; so does one that came back without an answer. Nothing is lost
 * by that: MD5 is on offer to everybody anyway, as long as the configuration allows it.
 */
import type { OfferedAlgorithm } from './credentials.ts';

export type Challenged = {
  readonly address: string;
  readonly nickname: string | undefined;
  readonly userAgent: string | undefined;
  /** The branch of the topmost Via. */
  readonly branch: string | undefined;
};

/** The product at the start of User-Agent, as found by trying or in the programs' own issue lists. */
const MD5_ONLY_AGENTS: readonly RegExp[] = [
  // SHA-256 came with 3.12.
  /^baresip v(?:[0-2]\.|3\.(?:\d|1[01])\.)/i,
  // SHA-256 came with 3.7.1; scenarios seldom name a version.
  /^sipp\b/i,
  /^asterisk\b/i,
  /^freeswitch\b/i,
  /^loadgen\b/i,
];

/** Branches that sipp makes: process, call and message number. */
const SIPP_BRANCH = /^z9hG4bK-\d+-\d+-\d+$/;

/** Parallel first requests of one phone are no sign of trouble; a device that gave up tries again later. */
const SUSPICIOUS_AFTER_MS = 3_000;
const REMEMBER_MS = 86_400_000;
const MAX_REMEMBERED = 10_000;

/** `isSimple`: came back without an answer once, and so gets MD5 alone. */
type Impression = { readonly atMs: number; readonly isSimple: boolean };

export class ChallengeChoice {
  readonly #algorithms: readonly OfferedAlgorithm[];
  /** Clients that have not answered a challenge with several algorithms; the one that was noted first comes first. */
  readonly #impressions = new Map<string, Impression>();

  constructor(algorithms: readonly OfferedAlgorithm[]) {
    this.#algorithms = algorithms;
  }

  /** The algorithms to offer now, in order; notes that a challenge goes out. */
  offer(client: Challenged, nowMs: number): readonly OfferedAlgorithm[] {
    if (this.#algorithms.length === 1 || !this.#algorithms.includes('MD5')) return this.#algorithms;
    if (isKnownForMd5(client)) return ['MD5'];
    const key = keyOf(client);
    const before = this.#impressions.get(key);
    const ageMs = before === undefined ? Infinity : nowMs - before.atMs;
    if (before === undefined || ageMs > REMEMBER_MS) {
      this.#note(key, { atMs: nowMs, isSimple: false });
      return this.#algorithms;
    }
    if (!before.isSimple && ageMs < SUSPICIOUS_AFTER_MS) return this.#algorithms;
    this.#note(key, { atMs: nowMs, isSimple: true });
    return ['MD5'];
  }

  /** The client has answered a challenge, right or wrong: if it was offered a choice, it can cope with one. */
  answered(client: Challenged): void {
    if (this.#impressions.size === 0) return;
    const key = keyOf(client);
    if (this.#impressions.get(key)?.isSimple === false) this.#impressions.delete(key);
  }

  #note(key: string, impression: Impression): void {
    this.#impressions.delete(key);
    this.#impressions.set(key, impression);
    if (this.#impressions.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#impressions.keys();
    if (oldest !== undefined) this.#impressions.delete(oldest);
  }
}

function isKnownForMd5({ userAgent, branch }: Challenged): boolean {
  if (branch !== undefined && SIPP_BRANCH.test(branch)) return true;
  return userAgent !== undefined && MD5_ONLY_AGENTS.some((agent) => agent.test(userAgent));
}

function keyOf({ address, nickname, userAgent }: Challenged): string {
  return `${address} ${nickname ?? ''} ${userAgent?.slice(0, 64) ?? ''}`;
}
