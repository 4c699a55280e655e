/**
 * Brings a 32-bit mix into 16 bits without distortion: the gain falls where the mix is too loud and recovers slowly.
 *
 * It looks 5 ms ahead inside the frame, so nothing is delayed. What is loud at the very beginning of a frame is met by
 * a gain that falls within that quarter, and the few samples it comes too late for are clipped.
 */

/** -0.2 dBFS. */
const CEILING = 32021;
const QUARTERS = 4;
const RELEASE_MS = 1000;
const FRAME_MS = 20;

export class Limiter {
  /** At the end of the last frame. */
  #gain = 1;
  readonly #needed = new Float64Array(QUARTERS);

  /** Continues as another limiter would: for a listener who moves from one mix to another that sounds alike. */
  copyFrom(other: Limiter): void {
    this.#gain = other.#gain;
  }

  reset(): void {
    this.#gain = 1;
  }

  /**
   * Writes one frame of `mix` as 16 bits.
   *
   * @param voices - how many are in the mix; a lone voice cannot be too loud and passes untouched
   */
  process(mix: Int32Array, out: Int16Array, voices: number): void {
    if (voices <= 1 && this.#gain > 0.999) {
      this.#gain = 1;
      out.set(mix);
      return;
    }
    const quarter = out.length / QUARTERS;
    if (this.#measure(mix, quarter) && this.#gain > 0.999) {
      this.#gain = 1;
      out.set(mix);
      return;
    }
    for (let index = 0; index < QUARTERS; index++) {
      const target = Math.min(
        this.#released(quarter, out.length),
        this.#needed[index] ?? 1,
        this.#needed[index + 1] ?? 1,
      );
      this.#ramp(mix, out, { from: index * quarter, to: (index + 1) * quarter, target });
      this.#gain = target;
    }
  }

  /** The gain that each quarter needs to stay under the ceiling; true when none needs less than one. */
  #measure(mix: Int32Array, quarter: number): boolean {
    let isQuiet = true;
    for (let index = 0; index < QUARTERS; index++) {
      const peak = peakOf(mix, index * quarter, (index + 1) * quarter);
      this.#needed[index] = peak > CEILING ? CEILING / peak : 1;
      if (peak > CEILING) isQuiet = false;
    }
    return isQuiet;
  }

  #released(quarter: number, length: number): number {
    const quarterMs = (FRAME_MS * quarter) / length;
    return 1 - (1 - this.#gain) * Math.exp(-quarterMs / RELEASE_MS);
  }

  #ramp(
    mix: Int32Array,
    out: Int16Array,
    span: { readonly from: number; readonly to: number; readonly target: number },
  ): void {
    const step = (span.target - this.#gain) / (span.to - span.from);
    let gain = this.#gain;
    for (let index = span.from; index < span.to; index++) {
      gain += step;
      const value = (mix[index] ?? 0) * gain;
      out[index] = value > CEILING ? CEILING : value < -CEILING ? -CEILING : Math.round(value);
    }
  }
}

function peakOf(mix: Int32Array, from: number, to: number): number {
  let peak = 0;
  for (let index = from; index < to; index++) {
    const value = mix[index] ?? 0;
    const size = value < 0 ? -value : value;
    if (size > peak) peak = size;
  }
  return peak;
}
