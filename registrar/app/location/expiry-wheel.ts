/** Which accounts have a binding that expires soon, in buckets of one second; adding and moving cost the same for any number. */

const BUCKET_MS = 1000;

export class ExpiryWheel {
  readonly #buckets = new Map<number, Set<string>>();
  readonly #bucketOf = new Map<string, number>();
  #next: number;

  /** @param nowMs - wall clock */
  constructor(nowMs: number) {
    this.#next = Math.floor(nowMs / BUCKET_MS);
  }

  /** Number of accounts waited for. */
  get size(): number {
    return this.#bucketOf.size;
  }

  /** Sets, moves or (with `undefined`) removes the moment at which this account needs a look. */
  set(nickname: string, expiresAtMs: number | undefined): void {
    const before = this.#bucketOf.get(nickname);
    const after =
      expiresAtMs === undefined
        ? undefined
        : Math.max(Math.ceil(expiresAtMs / BUCKET_MS), this.#next);
    if (before === after) return;
    if (before !== undefined) this.#leave(nickname, before);
    if (after === undefined) return;
    this.#bucketOf.set(nickname, after);
    const bucket = this.#buckets.get(after);
    if (bucket === undefined) this.#buckets.set(after, new Set([nickname]));
    else bucket.add(nickname);
  }

  /** Takes out every account whose moment has come. */
  due(nowMs: number): string[] {
    const last = Math.floor(nowMs / BUCKET_MS);
    const due: string[] = [];
    // A clock that was set forward would make a long walk over empty buckets.
    if (last - this.#next > this.#buckets.size) {
      for (const [index, bucket] of this.#buckets) if (index <= last) due.push(...bucket);
    } else {
      for (let index = this.#next; index <= last; index++)
        due.push(...(this.#buckets.get(index) ?? []));
    }
    for (const nickname of due) this.set(nickname, undefined);
    this.#next = Math.max(this.#next, last + 1);
    return due;
  }

  #leave(nickname: string, index: number): void {
    this.#bucketOf.delete(nickname);
    const bucket = this.#buckets.get(index);
    bucket?.delete(nickname);
    if (bucket?.size === 0) this.#buckets.delete(index);
  }
}
