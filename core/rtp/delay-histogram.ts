/**
 * How late packets come, as a histogram that forgets (after NetEq's delay manager): which transit time covers a given
 * share of them.
 *
 * A transit time is arrival minus timestamp, in milliseconds on a clock of unknown zero. Old weight fades by a factor
 * for each packet, which is done by letting the weight of new ones grow.
 */

const BUCKET_MS = 10;
const BUCKETS = 64;
const FORGET = 0.9983;
/** Weights are scaled back before they lose precision. */
const MAX_WEIGHT = 1e9;
/** A lowest bucket with less than this share is given up, so that the range follows a drifting clock. */
const NEGLIGIBLE = 1e-3;

export class DelayHistogram {
  readonly #weights = new Float64Array(BUCKETS);
  /** Weighted sums of the offset inside the bucket and of its square: where in the bucket packets lie. */
  readonly #sums = new Float64Array(BUCKETS);
  readonly #squares = new Float64Array(BUCKETS);
  #originMs = 0;
  #total = 0;
  #weight = 1;

  get isEmpty(): boolean {
    return this.#total === 0;
  }

  add(transitMs: number): void {
    if (this.#total === 0) this.#originMs = transitMs - BUCKET_MS / 2;
    let offset = transitMs - this.#originMs;
    if (offset < 0) {
      this.#lowerOrigin(Math.ceil(-offset / BUCKET_MS));
      offset = transitMs - this.#originMs;
    }
    const bucket = Math.min(BUCKETS - 1, Math.floor(offset / BUCKET_MS));
    const inside = Math.min(BUCKET_MS, offset - bucket * BUCKET_MS);
    this.#weight /= FORGET;
    this.#weights[bucket] = (this.#weights[bucket] ?? 0) + this.#weight;
    this.#sums[bucket] = (this.#sums[bucket] ?? 0) + this.#weight * inside;
    this.#squares[bucket] = (this.#squares[bucket] ?? 0) + this.#weight * inside * inside;
    this.#total += this.#weight;
    if (this.#weight > MAX_WEIGHT) this.#rescale();
    if ((this.#weights[0] ?? 0) < NEGLIGIBLE * this.#total) this.#raiseOrigin();
  }

  /** The transit time that `share` (0 to 1) of the packets do not exceed; 0 when empty. */
  quantile(share: number): number {
    if (this.#total === 0) return 0;
    let below = 0;
    const wanted = share * this.#total;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const weight = this.#weights[bucket] ?? 0;
      if (weight > 0 && below + weight >= wanted) {
        return (
          this.#originMs + bucket * BUCKET_MS + this.#inside(bucket, (wanted - below) / weight)
        );
      }
      below += weight;
    }
    return this.#originMs;
  }

  clear(): void {
    this.#weights.fill(0);
    this.#sums.fill(0);
    this.#squares.fill(0);
    this.#total = 0;
    this.#weight = 1;
  }

  /** A share of one bucket, as if its packets were spread evenly around their mean with their deviation. */
  #inside(bucket: number, share: number): number {
    const weight = this.#weights[bucket] ?? 1;
    const mean = (this.#sums[bucket] ?? 0) / weight;
    const variance = Math.max(0, (this.#squares[bucket] ?? 0) / weight - mean * mean);
    const half = Math.sqrt(3 * variance);
    return Math.max(0, Math.min(BUCKET_MS, mean - half + 2 * half * share));
  }

  #lowerOrigin(steps: number): void {
    this.#originMs -= steps * BUCKET_MS;
    for (const values of [this.#weights, this.#sums, this.#squares]) {
      if (steps < BUCKETS) {
        values.copyWithin(steps, 0, BUCKETS - steps);
        values.fill(0, 0, steps);
      } else {
        values.fill(0);
      }
    }
    if (steps >= BUCKETS) this.#total = 0;
    else this.#total = this.#weights.reduce((sum, weight) => sum + weight, 0);
  }

  #raiseOrigin(): void {
    this.#total -= this.#weights[0] ?? 0;
    this.#originMs += BUCKET_MS;
    for (const values of [this.#weights, this.#sums, this.#squares]) {
      values.copyWithin(0, 1);
      values[BUCKETS - 1] = 0;
    }
  }

  #rescale(): void {
    const scale = 1 / this.#weight;
    for (const values of [this.#weights, this.#sums, this.#squares]) {
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        values[bucket] = (values[bucket] ?? 0) * scale;
      }
    }
    this.#total = this.#weights.reduce((sum, weight) => sum + weight, 0);
    this.#weight = 1;
  }
}
