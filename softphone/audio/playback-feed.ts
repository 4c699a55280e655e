/** Keeps a sound card fed: it never waits for samples, and never has more than a few frames ahead of it. */

/** Frames that may wait; above that the oldest goes, so a delay cannot stay (a late start, a faster clock). */
const MAXIMUM_WAITING = 3;

/**
 * Sits between frames that come at one pace and a card that takes them at its own.
 *
 * A card whose writer has nothing to give stalls its whole stream, so silence goes out whenever nothing waits.
 */
export class PlaybackFeed {
  readonly #write: (frame: Buffer, done: () => void) => void;
  readonly #silence: Buffer;
  readonly #waiting: Buffer[] = [];
  #isWriting = false;
  #isStopped = false;
  /** Frames dropped because the card was slower than the caller. */
  dropped = 0;
  /** Frames of silence sent because nothing had come. */
  filled = 0;

  /**
   * @param frameBytes - size of every frame
   * @param write - hands one frame to the card; `done` when the card has taken it
   */
  constructor(frameBytes: number, write: (frame: Buffer, done: () => void) => void) {
    this.#silence = Buffer.alloc(frameBytes);
    this.#write = write;
  }

  start(): void {
    this.#next();
  }

  /** @param frame - kept until it is written */
  push(frame: Buffer): void {
    this.#waiting.push(frame);
    while (this.#waiting.length > MAXIMUM_WAITING) {
      this.#waiting.shift();
      this.dropped += 1;
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  #next(): void {
    if (this.#isWriting || this.#isStopped) return;
    let frame = this.#waiting.shift();
    if (frame === undefined) {
      frame = this.#silence;
      this.filled += 1;
    }
    this.#isWriting = true;
    this.#write(frame, () => {
      this.#isWriting = false;
      this.#next();
    });
  }
}
