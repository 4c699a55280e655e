/** What tests expect of a recording: a voice is in it, well, or is not in it at all. */

import assert from 'node:assert/strict';
import { describeScore, isAbsent, judge, scoreSound } from '../../core/audio/score.ts';
import type { ScoreProfile, Sound } from '../../core/audio/score.ts';

export type Demand = { readonly profile: ScoreProfile; readonly correlation: number };

/** A relay adds nothing: on a leg without a sound server what is below this was not lost in a codec. */
export const CLEAR: Demand = { profile: 'call', correlation: 0.9 };
/** A sound server may lose a piece now and then; the voice is as clear as on any leg. */
export const THROUGH_SOUND_SERVER: Demand = { profile: 'loose', correlation: 0.9 };

/** Fails, with the score, unless the voice is heard as well as is demanded. */
export function assertHeard(
  voice: Sound,
  recording: Sound | undefined,
  who: string,
  { profile, correlation }: Demand = CLEAR,
): void {
  assert.ok(recording, `${who}: nothing was recorded`);
  const score = scoreSound(voice, recording);
  if (process.env['DEBUG_SCORES']) process.stderr.write(`${who}: ${describeScore(score)}\n`);
  assert.deepEqual(judge(score, profile).failures, [], `${who}: ${describeScore(score)}`);
  assert.ok(score.ncc >= correlation, `${who}: ${describeScore(score)}`);
}

/** Fails, with the score, when the voice is in the recording; a recording there must be. */
export function assertAbsent(voice: Sound, recording: Sound | undefined, who: string): void {
  assert.ok(recording, `${who}: nothing was recorded`);
  const score = scoreSound(voice, recording);
  if (process.env['DEBUG_SCORES']) process.stderr.write(`${who}: ${describeScore(score)}\n`);
  assert.ok(isAbsent(score), `${who}, and should not: ${describeScore(score)}`);
}
