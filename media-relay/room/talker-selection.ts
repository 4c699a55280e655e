/** Who is heard: the loudest few of those who speak, with hangover and hysteresis so that voices are not chopped. */

/** One who may become a talker. */
export type Candidate = {
  /** Smoothed. */
  readonly levelDbov: number;
  /** When the last packet with speech came; monotonic milliseconds. */
  readonly lastSpeechMs: number;
};

/** Through the pauses between words. */
const HANGOVER_MS = 500;
const LOUDER_DB = 3;
/** A little louder for so many ticks is enough too. */
const LITTLE_LOUDER_DB = 1;
const LOUDER_TICKS = 5;
/** Who pauses for so long gives way to anybody who speaks. */
const YIELD_MS = 120;

export class TalkerSelection<C extends Candidate> {
  readonly #places: number;
  readonly #candidates = new Set<C>();
  readonly #talkers = new Set<C>();
  #challenger: C | undefined;
  #challengeTicks = 0;

  /** @param places - how many are heard at once, 1 to 6 */
  constructor(places: number) {
    this.#places = places;
  }

  get talkers(): ReadonlySet<C> {
    return this.#talkers;
  }

  /** He speaks now. */
  note(candidate: C): void {
    this.#candidates.add(candidate);
  }

  /** He is muted or gone. */
  remove(candidate: C): void {
    this.#candidates.delete(candidate);
    this.#talkers.delete(candidate);
  }

  /** Fills and changes the places; at most one talker is displaced in a tick. */
  update(nowMs: number): void {
    for (const candidate of this.#candidates) {
      if (nowMs - candidate.lastSpeechMs > HANGOVER_MS) this.remove(candidate);
    }
    while (this.#talkers.size < this.#places) {
      const next = this.#loudestWaiting();
      if (next === undefined) return;
      this.#talkers.add(next);
    }
    if (this.#candidates.size > this.#talkers.size) this.#challenge(nowMs);
  }

  #challenge(nowMs: number): void {
    const challenger = this.#loudestWaiting();
    const weakest = this.#weakest(nowMs);
    if (challenger === undefined || weakest === undefined) return;
    if (nowMs - challenger.lastSpeechMs > YIELD_MS) return;
    const yields = nowMs - weakest.lastSpeechMs > YIELD_MS;
    const lead = challenger.levelDbov - weakest.levelDbov;
    if (yields || lead > LOUDER_DB || this.#isLouderFor(challenger, lead)) {
      this.#talkers.delete(weakest);
      this.#talkers.add(challenger);
      this.#challengeTicks = 0;
    }
  }

  #isLouderFor(challenger: C, lead: number): boolean {
    const isLouder = lead > LITTLE_LOUDER_DB;
    if (!isLouder || challenger !== this.#challenger) this.#challengeTicks = 0;
    this.#challenger = challenger;
    if (isLouder) this.#challengeTicks += 1;
    return this.#challengeTicks >= LOUDER_TICKS;
  }

  #loudestWaiting(): C | undefined {
    let loudest: C | undefined;
    for (const candidate of this.#candidates) {
      if (this.#talkers.has(candidate)) continue;
      if (loudest === undefined || candidate.levelDbov > loudest.levelDbov) loudest = candidate;
    }
    return loudest;
  }

  /** Of those who pause the first, else the quietest. */
  #weakest(nowMs: number): C | undefined {
    let weakest: C | undefined;
    for (const talker of this.#talkers) {
      if (nowMs - talker.lastSpeechMs > YIELD_MS) return talker;
      if (weakest === undefined || talker.levelDbov < weakest.levelDbov) weakest = talker;
    }
    return weakest;
  }
}
