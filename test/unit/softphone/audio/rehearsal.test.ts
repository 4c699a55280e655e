import assert from 'node:assert/strict';
import { CODEC_NAMES } from '../../../../core/audio/codec.ts';
import { rehearse } from '../../../../softphone/audio/rehearsal.ts';

const ENCODER = { bitrate: 32_000, fec: true, expectedLossPercent: 0 };

describe('the rehearsal of a call', () => {
  it('comes to every codec, and lets other work pass', async () => {
    let turns = 0;
    const counter = setInterval(() => (turns += 1), 0);
    assert.deepEqual(await rehearse(ENCODER, () => true), CODEC_NAMES);
    clearInterval(counter);
    assert.ok(turns > 0, 'nothing else came to its turn');
  });

  it('ends at once when a call comes', async () => {
    let asked = 0;
    assert.deepEqual(await rehearse(ENCODER, () => ++asked < 3), CODEC_NAMES.slice(0, 1));
    assert.equal(asked, 3);
  });
});
