/** A hierarchical timer wheel: many deadlines at little cost, driven by a clock that is given (Varghese and Lauck). */

/** Names a scheduled timer until it is due or cancelled; later it names nothing, never another timer. */
export type TimerHandle = number;

/** 256 slots a level and 5 levels of 1 ms ticks: almost 35 years. */
const SLOT_BITS = 8;
const SLOTS = 1 << SLOT_BITS;
const LEVELS = 5;
const SPAN_MS = Array.from({ length: LEVELS + 1 }, (_, level) => SLOTS ** level);
const LONGEST_MS = SLOTS ** LEVELS - 1;
/** Handles are generation * HANDLE_SPAN + entry. */
const HANDLE_SPAN = 2 ** 24;
const NONE = -1;

/**
 * Timers with a payload each. `schedule` and `cancel` take constant time and allocate nothing once the wheel has grown
 * to the number of timers in flight.
 */
export class TimerWheel<Payload> {
  /** The tick up to which everything due has been handed out. */
  #nowTick: number;
  #size = 0;

  // One entry per timer, in parallel arrays; free entries are chained by #next.
  #at = new Float64Array(0);
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  #slot = new Int32Array(0);
  #generation = new Float64Array(0);
  readonly #payload: (Payload | undefined)[] = [];
  #free = NONE;

  // One slot per level and position, each a chain in the order of scheduling.
  readonly #head = new Int32Array(LEVELS * SLOTS).fill(NONE);
  readonly #tail = new Int32Array(LEVELS * SLOTS).fill(NONE);
  /** A lower bound of the deadlines in each slot; exact until the earliest is cancelled. */
  readonly #earliest = new Float64Array(LEVELS * SLOTS).fill(Infinity);
  /** One bit per slot that is not empty. */
  readonly #occupied = new Int32Array((LEVELS * SLOTS) / 32);

  /** @param nowMs - monotonic time in milliseconds, not negative */
  constructor(nowMs: number) {
    this.#nowTick = Math.floor(nowMs);
  }

  /** Number of timers in flight. */
  get size(): number {
    return this.#size;
  }

  /** Schedules `payload` for `atMs`; a moment that has passed is due at the next `advance`. */
  schedule(atMs: number, payload: Payload): TimerHandle {
    if (this.#free === NONE) this.#grow();
    const entry = this.#free;
    this.#free = this.#next[entry] ?? NONE;
    this.#payload[entry] = payload;
    const tick = Math.ceil(atMs);
    this.#at[entry] = Math.min(Math.max(tick, this.#nowTick + 1), this.#nowTick + LONGEST_MS);
    this.#link(entry);
    this.#size++;
    return (this.#generation[entry] ?? 0) * HANDLE_SPAN + entry;
  }

  /** Removes a timer. False when it was due or cancelled before. */
  cancel(handle: TimerHandle): boolean {
    const entry = handle % HANDLE_SPAN;
    const generation = (handle - entry) / HANDLE_SPAN;
    if (this.#generation[entry] !== generation || this.#slot[entry] === NONE) return false;
    this.#unlink(entry);
    this.#release(entry);
    return true;
  }

  /**
   * Hands out everything due at `nowMs`, earliest first, equal deadlines in the order of scheduling. `onDue` may
   * schedule and cancel; what it schedules for a moment up to `nowMs` is handed out in this call too, one tick later at
   * least. A `nowMs` earlier than the last one does nothing.
   */
  advance(nowMs: number, onDue: (payload: Payload) => void): void {
    const target = Math.floor(nowMs);
    for (;;) {
      const slot = this.#firstSlot();
      const slotTick = slot === NONE ? Infinity : this.#tickOfSlot(slot);
      if (slotTick > target) break;
      this.#nowTick = Math.max(this.#nowTick, slotTick);
      if (slot < SLOTS) this.#handOut(slot, onDue);
      else this.#cascade(slot);
    }
    this.#nowTick = Math.max(this.#nowTick, target);
  }

  /**
   * When to call `advance` next, in milliseconds, or `undefined` when nothing is scheduled. Never later than the
   * earliest timer; it can be earlier, once, when a timer before that one was cancelled.
   */
  nextDeadline(): number | undefined {
    const slot = this.#firstSlot();
    return slot === NONE ? undefined : this.#earliest[slot];
  }

  /** What `nextDeadline` is for: the earliest timer, the first of several; looks at all that are in its slot. */
  peek(): Payload | undefined {
    const slot = this.#firstSlot();
    if (slot === NONE) return undefined;
    let first = this.#head[slot] ?? NONE;
    for (let entry = this.#next[first] ?? NONE; entry !== NONE; entry = this.#next[entry] ?? NONE) {
      if ((this.#at[entry] ?? 0) < (this.#at[first] ?? 0)) first = entry;
    }
    return this.#payload[first];
  }

  /** The first tick that belongs to a slot, in the turn of its level that is under way. */
  #tickOfSlot(slot: number): number {
    const level = slot >> SLOT_BITS;
    const turn = SPAN_MS[level + 1] ?? 1;
    const turnStart = Math.floor(this.#nowTick / turn) * turn;
    return turnStart + (slot & (SLOTS - 1)) * (SPAN_MS[level] ?? 1);
  }

  /** The slot with the earliest timers: in the lowest level that has any, since all in a level come before the next. */
  #firstSlot(): number {
    if (this.#size === 0) return NONE;
    for (let word = 0; word < this.#occupied.length; word++) {
      const bits = this.#occupied[word] ?? 0;
      if (bits !== 0) return word * 32 + (31 - Math.clz32(bits & -bits));
    }
    return NONE;
  }

  #handOut(slot: number, onDue: (payload: Payload) => void): void {
    // The slot stands for one tick, and nothing can be scheduled for a tick that has come, so the chain only shrinks.
    for (let entry = this.#head[slot] ?? NONE; entry !== NONE; entry = this.#head[slot] ?? NONE) {
      const payload = this.#payload[entry] as Payload;
      this.#unlink(entry);
      this.#release(entry);
      onDue(payload);
    }
  }

  /** Spreads a slot of a higher level, whose time has come, over the levels below. */
  #cascade(slot: number): void {
    let entry = this.#head[slot] ?? NONE;
    this.#clear(slot);
    while (entry !== NONE) {
      const next = this.#next[entry] ?? NONE;
      this.#link(entry);
      entry = next;
    }
  }

  /** Appends an entry to the slot of its deadline. */
  #link(entry: number): void {
    const at = this.#at[entry] ?? 0;
    let level = 0;
    while (level < LEVELS - 1 && !this.#isSameTurn(at, level)) level++;
    const slot = level * SLOTS + (Math.floor(at / (SPAN_MS[level] ?? 1)) % SLOTS);
    const tail = this.#tail[slot] ?? NONE;
    this.#slot[entry] = slot;
    this.#previous[entry] = tail;
    this.#next[entry] = NONE;
    if (tail === NONE) this.#head[slot] = entry;
    else this.#next[tail] = entry;
    this.#tail[slot] = entry;
    this.#occupied[slot >> 5] = (this.#occupied[slot >> 5] ?? 0) | (1 << (slot & 31));
    if (at < (this.#earliest[slot] ?? Infinity)) this.#earliest[slot] = at;
  }

  #isSameTurn(tick: number, level: number): boolean {
    const turn = SPAN_MS[level + 1] ?? 1;
    return Math.floor(tick / turn) === Math.floor(this.#nowTick / turn);
  }

  #unlink(entry: number): void {
    const slot = this.#slot[entry] ?? 0;
    const next = this.#next[entry] ?? NONE;
    const previous = this.#previous[entry] ?? NONE;
    if (previous === NONE) this.#head[slot] = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#tail[slot] = previous;
    else this.#previous[next] = previous;
    if (this.#head[slot] === NONE) this.#clear(slot);
  }

  #clear(slot: number): void {
    this.#head[slot] = NONE;
    this.#tail[slot] = NONE;
    this.#earliest[slot] = Infinity;
    this.#occupied[slot >> 5] = (this.#occupied[slot >> 5] ?? 0) & ~(1 << (slot & 31));
  }

  #release(entry: number): void {
    this.#payload[entry] = undefined;
    this.#slot[entry] = NONE;
    this.#generation[entry] = (this.#generation[entry] ?? 0) + 1;
    this.#next[entry] = this.#free;
    this.#free = entry;
    this.#size--;
  }

  #grow(): void {
    const old = this.#at.length;
    const size = Math.max(64, old * 2);
    this.#at = grown(this.#at, new Float64Array(size));
    this.#next = grown(this.#next, new Int32Array(size));
    this.#previous = grown(this.#previous, new Int32Array(size));
    this.#slot = grown(this.#slot, new Int32Array(size));
    this.#generation = grown(this.#generation, new Float64Array(size));
    for (let entry = size - 1; entry >= old; entry--) {
      this.#payload[entry] = undefined;
      this.#slot[entry] = NONE;
      this.#next[entry] = this.#free;
      this.#free = entry;
    }
  }
}

function grown<Store extends Float64Array | Int32Array>(from: Store, to: Store): Store {
  to.set(from);
  return to;
}
