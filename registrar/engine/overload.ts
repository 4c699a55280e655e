/** How much one address may ask of us: a token bucket each, so that a flood from one is no fault of the others. */

export type BudgetLimits = {
  readonly requestsPerSecondPerAddress: number;
  readonly requestBurstPerAddress: number;
  readonly unboundAddresses: readonly string[];
};

/** Serve it, answer 503, or say nothing, because even the refusals have become too many. */
export type Admission = 'served' | 'refused' | 'dropped';

type Bucket = { tokens: number; filledAtMs: number };

const SECOND_MS = 1000;
/** Buckets kept before those that are full again are thrown away. */
const MAX_BUCKETS = 20_000;

export class RequestBudget {
  readonly #limits: BudgetLimits;
  readonly #buckets = new Map<string, Bucket>();

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  /** Takes one token of this address. */
  admit(address: string, nowMs: number): Admission {
    const { requestsPerSecondPerAddress: rate, requestBurstPerAddress: burst } = this.#limits;
    if (rate === 0 || this.#limits.unboundAddresses.includes(address)) return 'served';
    let bucket = this.#buckets.get(address);
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_BUCKETS) this.#forgetFull(nowMs);
      // More addresses than we can remember at once is itself a flood.
      if (this.#buckets.size >= MAX_BUCKETS) return 'dropped';
      bucket = { tokens: burst, filledAtMs: nowMs };
      this.#buckets.set(address, bucket);
    }
    const gained = ((nowMs - bucket.filledAtMs) * rate) / SECOND_MS;
    bucket.tokens = Math.min(burst, bucket.tokens + gained) - 1;
    bucket.filledAtMs = nowMs;
    if (bucket.tokens >= 0) return 'served';
    // Refusals count as well: twice the rate in all is the most that anybody gets answers to.
    const isHopeless = bucket.tokens < -burst;
    if (isHopeless) bucket.tokens = -burst;
    return isHopeless ? 'dropped' : 'refused';
  }

  #forgetFull(nowMs: number): void {
    const { requestsPerSecondPerAddress: rate, requestBurstPerAddress: burst } = this.#limits;
    for (const [address, { tokens, filledAtMs }] of this.#buckets) {
      const current = tokens + ((nowMs - filledAtMs) * rate) / SECOND_MS;
      if (current >= burst) this.#buckets.delete(address);
    }
  }
}
