import assert from 'node:assert/strict';
import {
  Unwrapper,
  advanceSequence,
  advanceTimestamp,
  sequenceDifference,
  timestampDifference,
} from '../../../../core/rtp/sequence.ts';

describe('sequence numbers and timestamps that wrap', () => {
  it('takes differences the short way round', () => {
    assert.equal(sequenceDifference(2, 65534), 4);
    assert.equal(sequenceDifference(65534, 2), -4);
    assert.equal(sequenceDifference(32768, 0), -32768);
    assert.equal(timestampDifference(10, 4294967290), 16);
    assert.equal(timestampDifference(4294967290, 10), -16);
  });

  it('advances over the wrap', () => {
    assert.equal(advanceSequence(65535), 0);
    assert.equal(advanceSequence(65530, 10), 4);
    assert.equal(advanceTimestamp(4294967290, 160), 154);
    assert.equal(advanceTimestamp(5, -10), 4294967291);
  });

  it('unwraps numbers in order, out of order and from before the first', () => {
    const unwrapper = Unwrapper.ofSequenceNumbers();
    const first = unwrapper.unwrap(65534);
    assert.equal(unwrapper.unwrap(1) - first, 3);
    assert.equal(unwrapper.unwrap(65535) - first, 1);
    assert.equal(unwrapper.unwrap(65000) - first, -534);
    assert.equal(unwrapper.peek(2) - first, 4);
    unwrapper.reset();
    assert.equal(unwrapper.unwrap(7), 0x10000 + 7);
  });

  it('counts on through many wraps', () => {
    const unwrapper = Unwrapper.ofTimestamps();
    const first = unwrapper.unwrap(4294967000);
    let last = first;
    for (let step = 1; step <= 20; step++) {
      last = unwrapper.unwrap((4294967000 + step * 1_000_000_000) % 4294967296);
    }
    assert.equal(last - first, 20_000_000_000);
  });
});
