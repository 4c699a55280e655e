/** How much may be asked of us: token buckets for each address, so that a flood from one is no fault of the others. */

export type BudgetLimits = {
  readonly requestsPerSecondPerAddress: number;
  readonly requestBurstPerAddress: number;
  readonly unboundAddresses: readonly string[];
};

/** Serve it, answer 503, or say nothing, because even the refusals have become too many. */
export type Admission = 'served' | 'refused' | 'dropped';

const SECOND_MS = 1000;
/** Addresses remembered before those with full buckets are forgotten. */
const MAX_ADDRESSES = 20_000;
/** Looking for those costs time, which a flood of invented addresses must not be able to make us spend. */
const FORGET_INTERVAL_MS = 100;

/** So many things each second for ever, and so many at once. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#filledAtMs = nowMs;
  }

  /** @returns false when there is none left */
  take(nowMs: number): boolean {
    this.#tokens = this.#tokensAt(nowMs);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** How long until there is one again; 0 when there is one. */
  waitMs(nowMs: number): number {
    const missing = 1 - this.#tokensAt(nowMs);
    return missing <= 0 ? 0 : (missing * SECOND_MS) / this.#perSecond;
  }

  isFull(nowMs: number): boolean {
    return this.#tokensAt(nowMs) >= this.#burst;
  }

  #tokensAt(nowMs: number): number {
    const gained = ((nowMs - this.#filledAtMs) * this.#perSecond) / SECOND_MS;
    return Math.min(this.#burst, this.#tokens + gained);
  }
}

type Account = { readonly requests: TokenBucket; readonly refusals: TokenBucket };

export class RequestBudget {
  readonly #limits: BudgetLimits;
  readonly #accounts = new Map<string, Account>();
  #forgottenAtMs = -Infinity;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  /** Takes one token of this address; refusals have tokens of their own, as many again. */
  admit(address: string, nowMs: number): Admission {
    const { requestsPerSecondPerAddress: rate, unboundAddresses } = this.#limits;
    if (rate === 0 || unboundAddresses.includes(address)) return 'served';
    const account = this.#accountOf(networkOf(address), nowMs);
    // More addresses than we can remember at once is itself a flood.
    if (account === undefined) return 'dropped';
    if (account.requests.take(nowMs)) return 'served';
    return account.refusals.take(nowMs) ? 'refused' : 'dropped';
  }

  /** How long an address that was refused has to wait for its next request. */
  waitMs(address: string, nowMs: number): number {
    return this.#accounts.get(networkOf(address))?.requests.waitMs(nowMs) ?? 0;
  }

  #accountOf(network: string, nowMs: number): Account | undefined {
    const known = this.#accounts.get(network);
    if (known !== undefined) return known;
    if (this.#accounts.size >= MAX_ADDRESSES) this.#forgetFull(nowMs);
    if (this.#accounts.size >= MAX_ADDRESSES) return undefined;
    const { requestsPerSecondPerAddress: rate, requestBurstPerAddress } = this.#limits;
    const burst = Math.max(1, requestBurstPerAddress);
    const account = {
      requests: new TokenBucket(rate, burst, nowMs),
      refusals: new TokenBucket(rate, burst, nowMs),
    };
    this.#accounts.set(network, account);
    return account;
  }

  #forgetFull(nowMs: number): void {
    if (nowMs < this.#forgottenAtMs + FORGET_INTERVAL_MS) return;
    this.#forgottenAtMs = nowMs;
    for (const [network, { requests, refusals }] of this.#accounts) {
      if (requests.isFull(nowMs) && refusals.isFull(nowMs)) this.#accounts.delete(network);
    }
  }
}

/** Since when there has been too much of something; over as soon as there has been none for a while. */
export class Shortage {
  readonly #calmAfterMs: number;
  #sinceMs = 0;
  #lastMs = -Infinity;

  constructor(calmAfterMs: number) {
    this.#calmAfterMs = calmAfterMs;
  }

  /** Notes a refusal. @returns how long it has lasted */
  lastedMs(nowMs: number): number {
    if (nowMs - this.#lastMs > this.#calmAfterMs) this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
    return nowMs - this.#sinceMs;
  }
}

/** Longer than this nobody is sent away, however bad it looks. */
const MAX_RETRY_SECONDS = 60;

/**
 * Seconds for Retry-After (RFC 3261 §20.33): the time that it will take, at least one second, and up to half as much
 * again and one more, so that all those who were refused together do not come back together.
 *
 * @param dice - a whole number from 1 to what it is given
 */
export function retryAfterSeconds(waitMs: number, dice: (max: number) => number): number {
  const seconds = Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(waitMs / SECOND_MS)));
  const spread = Math.floor(seconds / 2) + 1;
  return seconds + dice(spread + 1) - 1;
}

const IPV6_GROUPS = 8;
/** RFC 4291 §2.5.4: whoever has one IPv6 address has all that begin with these groups. */
const NETWORK_GROUPS = 4;

/** Whom an address is counted as: IPv4 itself, IPv6 the /64 network. */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address;
  const [before = '', after] = address.split('::');
  const left = groupsOf(before);
  if (after === undefined) return left.slice(0, NETWORK_GROUPS).join(':');
  const right = groupsOf(after);
  const zeros = Math.max(0, IPV6_GROUPS - left.length - right.length);
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...right];
  return groups.slice(0, NETWORK_GROUPS).join(':');
}

function groupsOf(text: string): readonly string[] {
  return text === '' ? [] : text.split(':');
}
