/** Linear-phase band-pass and change of sampling rate in one polyphase filter, for measuring and for test signals. */

/** `edgeHz` is half the width of the transition at each end of the band, 100 Hz unless told; wider is faster. */
export type Band = { readonly lowHz: number; readonly highHz: number; readonly edgeHz?: number };

/** Blackman window: how many taps per (rate / transition width). */
const WINDOW_FACTOR = 5.5;

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The ideal band-pass at `t` seconds from its centre, times a Blackman window of `halfSeconds` to either side. */
function impulseAt(t: number, band: Band, halfSeconds: number): number {
  if (Math.abs(t) >= halfSeconds) return 0;
  const low = 2 * band.lowHz;
  const high = 2 * band.highHz;
  const ideal =
    t === 0
      ? high - low
      : (Math.sin(Math.PI * high * t) - Math.sin(Math.PI * low * t)) / (Math.PI * t);
  const phase = (Math.PI * t) / halfSeconds;
  return ideal * (0.42 + 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase));
}

/** One row of taps for each place that an output sample can have between two input samples. */
function kernelsFor(band: Band, fromHz: number, phases: number, half: number): Float64Array[] {
  return Array.from({ length: phases }, (_, phase) => {
    const taps = new Float64Array(2 * half + 1);
    for (let tap = 0; tap < taps.length; tap++) {
      const t = (tap - half - phase / phases) / fromHz;
      taps[tap] = impulseAt(t, band, (half + 1) / fromHz) / fromHz;
    }
    return taps;
  });
}

/**
 * `samples` at `fromHz`, limited to `band`, at `toHz`. The delay is zero: sample 0 stays at time 0.
 * The rates are whole numbers; a band edge above half of either rate is lowered to what that rate can carry.
 */
export function bandPass(
  samples: Float32Array,
  fromHz: number,
  toHz: number,
  band: Band,
): Float32Array {
  const { lowHz, highHz, edgeHz = 100 } = band;
  const limited = { lowHz, highHz: Math.min(highHz, Math.min(fromHz, toHz) / 2 - edgeHz) };
  const divisor = greatestCommonDivisor(fromHz, toHz);
  const phases = toHz / divisor;
  const advance = fromHz / divisor;
  const half = Math.ceil((WINDOW_FACTOR * fromHz) / (4 * edgeHz));
  const kernels = kernelsFor(limited, fromHz, phases, half);
  const out = new Float32Array(Math.floor((samples.length * toHz) / fromHz));
  for (let index = 0; index < out.length; index++) {
    const position = index * advance;
    const centre = Math.floor(position / phases);
    const kernel = kernels[position % phases] ?? new Float64Array(0);
    const first = Math.max(0, centre - half);
    const last = Math.min(samples.length - 1, centre + half);
    let sum = 0;
    for (let at = first; at <= last; at++) {
      sum += (samples[at] ?? 0) * (kernel[at - centre + half] ?? 0);
    }
    out[index] = sum;
  }
  return out;
}
