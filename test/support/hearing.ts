/** What tests expect of a recording: a voice is in it, well, or is not in it at all. */

import assert from 'node:assert/strict';
import { describeScore, isAbsent, judge, scoreSound } from '../../core/audio/score.ts';
import type { Sound } from '../../core/audio/score.ts';

/** A relay adds nothing: what is below this was not lost in a codec. */
const CORRELATION = 0.9;

/** Fails, with the score, unless the voice is heard as well as on any good call. */
export function assertHeard(voice: Sound, recording: Sound | undefined, who: string): void {
  assert.ok(recording, `${who}: nothing was recorded`);
  const score = scoreSound(voice, recording);
  if (process.env['DEBUG_SCORES']) process.stderr.write(`${who}: ${describeScore(score)}\n`);
  assert.deepEqual(judge(score, 'call').failures, [], `${who}: ${describeScore(score)}`);
  assert.ok(score.ncc >= CORRELATION, `${who}: ${describeScore(score)}`);
}

/** Fails, with the score, when the voice is in the recording; a recording there must be. */
export function assertAbsent(voice: Sound, recording: Sound | undefined, who: string): void {
  assert.ok(recording, `${who}: nothing was recorded`);
  const score = scoreSound(voice, recording);
  if (process.env['DEBUG_SCORES']) process.stderr.write(`${who}: ${describeScore(score)}\n`);
  assert.ok(isAbsent(score), `${who}, and should not: ${describeScore(score)}`);
}
