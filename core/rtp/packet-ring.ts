/** The packets of one source, by sequence number, in memory that is allocated once and grows only when it must. */

/** An RTP packet to be kept, as it lies in a larger buffer. */
export type StoredPacket = {
  /** Unwrapped: grows for ever. */
  readonly sequence: number;
  readonly timestamp: number;
  /** Length of its audio in units of the RTP clock. */
  readonly duration: number;
  readonly isSilent: boolean;
};

const INITIAL_SLOTS = 16;
const MAX_SLOTS = 128;
const INITIAL_SLOT_BYTES = 176;
const EMPTY = -1;
const NO_BYTES = new Uint8Array(0);

export class PacketRing {
  #slots = INITIAL_SLOTS;
  #slotBytes = INITIAL_SLOT_BYTES;
  #sequences = new Float64Array(INITIAL_SLOTS).fill(EMPTY);
  #timestamps = new Float64Array(INITIAL_SLOTS);
  #durations = new Uint16Array(INITIAL_SLOTS);
  #lengths = new Uint16Array(INITIAL_SLOTS);
  #silent = new Uint8Array(INITIAL_SLOTS);
  #bytes = new Uint8Array(INITIAL_SLOTS * INITIAL_SLOT_BYTES);

  get capacity(): number {
    return this.#slots;
  }

  /** Keeps a copy of `payload[start, end)`; what was in the slot before is gone. */
  store(packet: StoredPacket, payload: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length > this.#slotBytes) this.#resize(this.#slots, Math.max(length, 2 * this.#slotBytes));
    const slot = this.#slotOf(packet.sequence);
    this.#sequences[slot] = packet.sequence;
    this.#timestamps[slot] = packet.timestamp;
    this.#durations[slot] = packet.duration;
    this.#lengths[slot] = length;
    this.#silent[slot] = packet.isSilent ? 1 : 0;
    const bytes = this.#bytes;
    let to = slot * this.#slotBytes;
    for (let from = start; from < end; from++) bytes[to++] = payload[from] ?? 0;
  }

  has(sequence: number): boolean {
    return this.#sequences[this.#slotOf(sequence)] === sequence;
  }

  timestamp(sequence: number): number {
    return this.#timestamps[this.#slotOf(sequence)] ?? 0;
  }

  duration(sequence: number): number {
    return this.#durations[this.#slotOf(sequence)] ?? 0;
  }

  isSilent(sequence: number): boolean {
    return this.#silent[this.#slotOf(sequence)] === 1;
  }

  /** A view of the payload, good until the next `store`. */
  payload(sequence: number): Uint8Array {
    const slot = this.#slotOf(sequence);
    if (this.#sequences[slot] !== sequence) return NO_BYTES;
    const start = slot * this.#slotBytes;
    return this.#bytes.subarray(start, start + (this.#lengths[slot] ?? 0));
  }

  /** Makes room for more packets, if the limit allows it. */
  grow(): boolean {
    if (this.#slots >= MAX_SLOTS) return false;
    this.#resize(2 * this.#slots, this.#slotBytes);
    return true;
  }

  clear(): void {
    this.#sequences.fill(EMPTY);
  }

  #slotOf(sequence: number): number {
    return sequence % this.#slots;
  }

  #resize(slots: number, slotBytes: number): void {
    const old = {
      slotBytes: this.#slotBytes,
      sequences: this.#sequences,
      timestamps: this.#timestamps,
      durations: this.#durations,
      lengths: this.#lengths,
      silent: this.#silent,
      bytes: this.#bytes,
    };
    this.#slots = slots;
    this.#slotBytes = slotBytes;
    this.#sequences = new Float64Array(slots).fill(EMPTY);
    this.#timestamps = new Float64Array(slots);
    this.#durations = new Uint16Array(slots);
    this.#lengths = new Uint16Array(slots);
    this.#silent = new Uint8Array(slots);
    this.#bytes = new Uint8Array(slots * slotBytes);
    old.sequences.forEach((sequence, from) => {
      if (sequence === EMPTY) return;
      const to = this.#slotOf(sequence);
      this.#sequences[to] = sequence;
      this.#timestamps[to] = old.timestamps[from] ?? 0;
      this.#durations[to] = old.durations[from] ?? 0;
      this.#lengths[to] = old.lengths[from] ?? 0;
      this.#silent[to] = old.silent[from] ?? 0;
      const start = from * old.slotBytes;
      this.#bytes.set(old.bytes.subarray(start, start + old.slotBytes), to * slotBytes);
    });
  }
}
