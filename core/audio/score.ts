/**
 * Was a reference heard in a recording, and how well: a full-reference measure for telephone speech.
 *
 * Everything is measured at 8 kHz between 300 and 3400 Hz and free of gain: a global lag first, then for every
 * 400 ms of speech the normalised cross-correlation at that segment's own best lag, so that moves of a jitter buffer
 * and drifting clocks are reported (`jumps`, `skewPpm`) instead of hiding good sound.
 */

import { bandPass } from './band-pass.ts';
import { melCorrelation } from './mel.ts';
import {
  coverOf,
  matchSegments,
  RATE_HZ,
  rootMeanSquare,
  SEGMENT,
  TELEPHONE_BAND,
  type Segment,
} from './score-segments.ts';

/** Mono sound, full scale = 1. */
export type Sound = { readonly samples: Float32Array; readonly sampleRateHz: number };

/** `call`: one talker on a clean leg. `loose`: a lossy link is allowed. `mix`: one of several who talk at once. */
export type ScoreProfile = 'call' | 'loose' | 'mix';

export type SoundScore = {
  /** Seconds of the reference, of the recording, and of speech in the reference. */
  readonly referenceSeconds: number;
  readonly recordingSeconds: number;
  readonly speechSeconds: number;
  /** Median over the speech segments of the normalised cross-correlation, 0 to 1. */
  readonly ncc: number;
  /** Its 10th percentile. */
  readonly ncc10: number;
  /** Share of the speech segments with a correlation of 0.5 or more, on both sides of a step of the lag if there is one. */
  readonly cover: number;
  /** Mean over the segments of the signal-to-noise ratio after gain and lag, -10 to 35 dB. */
  readonly segmentSnrDb: number;
  /** Mean correlation of log-mel frames. */
  readonly spectrum: number;
  /** Share of the loud 20 ms frames that are missing in the recording. */
  readonly drop: number;
  /** Delay of the recording against the reference. */
  readonly lagSeconds: number;
  /** Drift of the recording's clock, positive when it runs late; undefined when there are too few segments. */
  readonly skewPpm: number | undefined;
  /** Steps of more than 8 ms between neighbouring segments, and the largest of all. */
  readonly jumps: number;
  readonly largestJumpMs: number;
  /** Level of the speech in the recording, and how far it is above the reference's. */
  readonly levelDbfs: number;
  readonly levelChangeDb: number;
};

/** `failures` names the measures that miss the profile; it is empty exactly when `isHeard`. */
export type Verdict = { readonly isHeard: boolean; readonly failures: readonly string[] };

type Speech = {
  readonly samples: Float32Array;
  /** RMS of every 20 ms frame, and whether it is within 30 dB of the loudest. */
  readonly frames: Float64Array;
  readonly isActive: readonly boolean[];
  readonly loudest: number;
};

const FRAME = 0.02 * RATE_HZ;
const SEGMENT_STEP = 0.2 * RATE_HZ;
/** A larger step of the lag is a jump. */
const JUMP_SECONDS = 0.008;
/** A jitter buffer takes out pitch periods, of 2.5 ms or more; a clock that runs so wrong fails by its correlation. */
const PLATEAU_STEP_SECONDS = 0.0025;
const SILENCE_DBFS = -65;
const SHORTEST_SECONDS = 0.5;

type Limits = {
  readonly ncc: number;
  readonly ncc10: number;
  readonly cover: number;
  readonly spectrum: number;
  readonly segmentSnrDb: number;
  readonly levelDbfs: number;
  readonly drop: number;
  readonly skewPpm: number;
  readonly levelChangeDb: readonly [number, number];
};

const LIMITS: Readonly<Record<ScoreProfile, Limits>> = {
  call: {
    ncc: 0.85,
    ncc10: 0.75,
    cover: 0.95,
    spectrum: 0.8,
    segmentSnrDb: 4,
    levelDbfs: -45,
    drop: 0.03,
    skewPpm: 500,
    levelChangeDb: [-15, 9],
  },
  loose: {
    ncc: 0.75,
    ncc10: 0.3,
    cover: 0.8,
    spectrum: 0.7,
    segmentSnrDb: 1,
    levelDbfs: -50,
    drop: 0.15,
    skewPpm: 2000,
    levelChangeDb: [-20, 12],
  },
  mix: {
    ncc: 0.45,
    ncc10: 0.2,
    cover: 0.5,
    spectrum: 0.3,
    segmentSnrDb: -5,
    levelDbfs: -50,
    drop: 0.05,
    skewPpm: 3000,
    levelChangeDb: [-20, 20],
  },
};

const decibels = (ratio: number): number => 20 * Math.log10(Math.max(ratio, 1e-9));

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The value below which `share` of the values lie, interpolated. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = share * (sorted.length - 1);
  const below = sorted[Math.floor(position)] ?? 0;
  const above = sorted[Math.ceil(position)] ?? 0;
  return below + (above - below) * (position - Math.floor(position));
}

function toTelephoneBand(sound: Sound): Float32Array {
  return bandPass(sound.samples, sound.sampleRateHz, RATE_HZ, TELEPHONE_BAND);
}

function findSpeech(samples: Float32Array): Speech {
  const frames = new Float64Array(Math.max(0, Math.ceil(samples.length / FRAME) - 1));
  for (let frame = 0; frame < frames.length; frame++) {
    frames[frame] = rootMeanSquare(samples, frame * FRAME, (frame + 1) * FRAME);
  }
  const loudest = frames.reduce((a, b) => Math.max(a, b), 0);
  const threshold = Math.max(loudest * 10 ** (-30 / 20), 1e-5);
  return { samples, frames, isActive: Array.from(frames, (rms) => rms > threshold), loudest };
}

/** Where the segments begin that are speech for 60 % of their time. */
function segmentStarts({ samples, isActive }: Speech): number[] {
  const starts: number[] = [];
  for (let start = 0; start < samples.length - SEGMENT; start += SEGMENT_STEP) {
    const frames = isActive.slice(start / FRAME, (start + SEGMENT) / FRAME);
    if (frames.filter(Boolean).length >= 0.6 * frames.length) starts.push(start);
  }
  return starts;
}

/** What the correlation explains of the recording against what it does not. */
function segmentSnrDb({ correlation, lag }: Segment): number {
  if (lag === undefined) return -10;
  const explained = Math.min(1, correlation ** 2);
  return Math.min(
    35,
    Math.max(-10, 10 * Math.log10((explained + 1e-12) / (1 - explained + 1e-12))),
  );
}

function spectrumOf(speech: Speech, recording: Float32Array, { start, lag }: Segment): number {
  if (lag === undefined) return 0;
  return melCorrelation(
    speech.samples.subarray(start, start + SEGMENT),
    recording.subarray(start + lag, start + lag + SEGMENT),
  );
}

type Timing = Pick<SoundScore, 'skewPpm' | 'jumps' | 'largestJumpMs'>;

/** Slope of the lags inside the plateaus between their steps, and the large steps. */
function timingOf(good: readonly { readonly start: number; readonly lag: number }[]): Timing {
  if (good.length < 5) return { skewPpm: undefined, jumps: 0, largestJumpMs: 0 };
  const points = good.map(({ start, lag }) => ({ at: start / RATE_HZ, lag: lag / RATE_HZ }));
  let jumps = 0;
  let largest = 0;
  let plateau: typeof points = [];
  const slopes: number[] = [];
  for (const point of points) {
    const step = Math.abs(point.lag - (plateau.at(-1)?.lag ?? point.lag));
    largest = Math.max(largest, step);
    if (step > JUMP_SECONDS) jumps += 1;
    if (step > PLATEAU_STEP_SECONDS) plateau = [];
    for (const earlier of plateau) {
      const between = point.at - earlier.at;
      if (between > 0.8) slopes.push((point.lag - earlier.lag) / between);
    }
    plateau.push(point);
  }
  const skewPpm = slopes.length >= 3 ? Math.round(quantile(slopes, 0.5) * 1e6) : 0;
  return { skewPpm, jumps, largestJumpMs: largest * 1e3 };
}

/** The lag of the segment that begins nearest to a place in the reference; to be asked in rising order. */
function lagFollower(clear: readonly Segment[]): (at: number) => number {
  const good = clear.filter(({ correlation }) => correlation > 0.6);
  const known = good.length > 0 ? good : clear;
  const distance = (index: number, at: number): number =>
    Math.abs((known[index]?.start ?? Infinity) - at);
  let nearest = 0;
  return (at) => {
    while (distance(nearest + 1, at) < distance(nearest, at)) nearest += 1;
    return known[nearest]?.lag ?? 0;
  };
}

/** Share of the reference's loud frames that are 20 dB below what the gain promises. */
function dropOf(speech: Speech, recording: Float32Array, segments: readonly Segment[]): number {
  const clear = segments.filter(({ correlation }) => correlation > 0.5);
  if (clear.length === 0) return 1;
  const gain = quantile(
    clear.map((segment) => Math.abs(segment.gain)),
    0.5,
  );
  const lagAt = lagFollower(clear);
  let missing = 0;
  let total = 0;
  for (const [frame, level] of speech.frames.entries()) {
    if (level < speech.loudest * 10 ** (-15 / 20)) continue;
    const at = frame * FRAME + lagAt(frame * FRAME);
    total += 1;
    const isInside = at >= 0 && at + FRAME <= recording.length;
    if (!isInside || rootMeanSquare(recording, at, at + FRAME) < 0.1 * gain * level) missing += 1;
  }
  return total === 0 ? 1 : missing / total;
}

function levelsOf(
  speech: Speech,
  segments: readonly Segment[],
): Pick<SoundScore, 'levelDbfs' | 'levelChangeDb'> {
  const heard = segments.filter(({ lag }) => lag !== undefined);
  const recorded = Math.sqrt(mean(heard.map(({ rms }) => rms ** 2)));
  const energies = Array.from(speech.frames, (rms) => rms ** 2);
  const spoken = Math.sqrt(mean(energies.filter((_, frame) => speech.isActive[frame])));
  const levelDbfs = decibels(recorded);
  return { levelDbfs, levelChangeDb: levelDbfs - decibels(spoken) };
}

/** What can be said of a recording that is silent or too short to hold anything. */
function unheard(speech: Speech, recording: Float32Array): SoundScore {
  const levelDbfs = decibels(rootMeanSquare(recording));
  return {
    ...durations(speech, recording),
    ncc: 0,
    ncc10: 0,
    cover: 0,
    segmentSnrDb: -10,
    spectrum: 0,
    drop: 1,
    lagSeconds: 0,
    skewPpm: undefined,
    jumps: 0,
    largestJumpMs: 0,
    levelDbfs,
    levelChangeDb: levelDbfs - decibels(speech.loudest),
  };
}

function durations(
  speech: Speech,
  recording: Float32Array,
): Pick<SoundScore, 'referenceSeconds' | 'recordingSeconds' | 'speechSeconds'> {
  return {
    referenceSeconds: speech.samples.length / RATE_HZ,
    recordingSeconds: recording.length / RATE_HZ,
    speechSeconds: (speech.isActive.filter(Boolean).length * FRAME) / RATE_HZ,
  };
}

/**
 * Looks for `reference` in `recording`. Silence and a recording under half a second score zero.
 *
 * @throws RangeError when the reference holds no 400 ms of speech: nothing could be said about any recording
 */
export function scoreSound(reference: Sound, recording: Sound): SoundScore {
  const speech = findSpeech(toTelephoneBand(reference));
  const starts = segmentStarts(speech);
  if (starts.length === 0) throw new RangeError('the reference holds no 400 ms of speech');
  const heard = toTelephoneBand(recording);
  const isSilent = decibels(rootMeanSquare(heard)) < SILENCE_DBFS;
  if (isSilent || heard.length < SHORTEST_SECONDS * RATE_HZ) return unheard(speech, heard);
  const { segments, globalLag } = matchSegments(speech.samples, heard, starts);
  const correlations = segments.map(({ correlation }) => correlation);
  const good = segments.flatMap(({ correlation, start, lag, lagFraction }) =>
    correlation > 0.6 && lag !== undefined ? [{ start, lag: lag + lagFraction }] : [],
  );
  return {
    ...durations(speech, heard),
    ncc: quantile(correlations, 0.5),
    ncc10: quantile(correlations, 0.1),
    cover: coverOf(speech.samples, heard, segments),
    segmentSnrDb: mean(segments.map(segmentSnrDb)),
    spectrum: mean(segments.map((segment) => spectrumOf(speech, heard, segment))),
    drop: dropOf(speech, heard, segments),
    lagSeconds: globalLag / RATE_HZ,
    ...timingOf(good),
    ...levelsOf(speech, segments),
  };
}

/** Is the score good enough for what the profile expects? */
export function judge(score: SoundScore, profile: ScoreProfile): Verdict {
  const limits = LIMITS[profile];
  const [quietest, loudest] = limits.levelChangeDb;
  const faults: Readonly<Record<string, boolean>> = {
    ncc: score.ncc < limits.ncc,
    ncc10: score.ncc10 < limits.ncc10,
    cover: score.cover < limits.cover,
    spectrum: score.spectrum < limits.spectrum,
    segmentSnrDb: score.segmentSnrDb < limits.segmentSnrDb,
    levelDbfs: score.levelDbfs < limits.levelDbfs,
    levelChangeDb: score.levelChangeDb < quietest || score.levelChangeDb > loudest,
    drop: score.drop > limits.drop,
    skewPpm: score.skewPpm === undefined || Math.abs(score.skewPpm) > limits.skewPpm,
  };
  const failures = Object.keys(faults).filter((name) => faults[name]);
  return { isHeard: failures.length === 0, failures };
}

/** True when the reference is not in the recording: an own voice that must not come back, a muted or held leg. */
export function isAbsent({ ncc, cover }: SoundScore): boolean {
  return cover < 0.3 || ncc < 0.4;
}

/** The score in one line, for tables and failure messages. */
export function describeScore(score: SoundScore): string {
  const skew = score.skewPpm === undefined ? 'unknown' : `${score.skewPpm} ppm`;
  return [
    `ncc ${score.ncc.toFixed(3)}`,
    `ncc10 ${score.ncc10.toFixed(3)}`,
    `cover ${score.cover.toFixed(2)}`,
    `spectrum ${score.spectrum.toFixed(2)}`,
    `SNR ${score.segmentSnrDb.toFixed(1)} dB`,
    `drop ${score.drop.toFixed(3)}`,
    `lag ${score.lagSeconds.toFixed(3)} s`,
    `skew ${skew}`,
    `jumps ${score.jumps}`,
    `level ${score.levelDbfs.toFixed(1)} dBFS (${score.levelChangeDb.toFixed(1)} dB)`,
    `heard ${score.recordingSeconds.toFixed(1)} s`,
  ].join(', ');
}
