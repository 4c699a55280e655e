import assert from 'node:assert/strict';
import { ReceptionStats } from '../../../../core/rtp/reception-stats.ts';

const SSRC = 77;

function feed(
  stats: ReceptionStats,
  sequenceNumbers: readonly number[],
  arrival: (index: number) => number = (index) => index * 20,
): boolean[] {
  return sequenceNumbers.map((sequenceNumber, index) =>
    stats.receive(
      { ssrc: SSRC, sequenceNumber: sequenceNumber & 0xffff, rtpTimestamp: index * 160 },
      arrival(index),
    ),
  );
}

describe('reception statistics (RFC 3550 A.1, A.3, A.8)', () => {
  it('reports nothing before the first packet', () => {
    assert.equal(new ReceptionStats(8000).report(), undefined);
    assert.equal(new ReceptionStats(8000).summary().lostPackets, 0);
  });

  it('extends the sequence number over the wrap', () => {
    const stats = new ReceptionStats(8000);
    feed(stats, [65534, 65535, 0, 1]);
    assert.equal(stats.summary().extendedSequenceNumber, 0x10001);
    assert.equal(stats.summary().lostPackets, 0);
  });

  it('counts loss as a whole and in 256ths of the last interval', () => {
    const stats = new ReceptionStats(8000);
    feed(stats, [1, 2, 4, 5]);
    const first = stats.report();
    assert.equal(first?.cumulativeLost, 1);
    assert.equal(first.fractionLost, Math.floor(256 / 5));
    feed(stats, [6, 7]);
    const second = stats.report();
    assert.equal(second?.cumulativeLost, 1);
    assert.equal(second.fractionLost, 0);
  });

  it('goes negative when duplicates outnumber losses, and clamps to 24 bits', () => {
    const stats = new ReceptionStats(8000);
    feed(stats, [1, 1, 1]);
    assert.equal(stats.report()?.cumulativeLost, -2);
    const many = new ReceptionStats(8000);
    for (let sequence = 0; sequence < 0x7fffff + 40000; sequence += 2900) {
      many.receive({ ssrc: SSRC, sequenceNumber: sequence & 0xffff, rtpTimestamp: 0 }, 0);
    }
    assert.equal(many.report()?.cumulativeLost, 0x7fffff);
  });

  it('keeps jitter at zero when packets keep their distance', () => {
    const stats = new ReceptionStats(8000);
    feed(stats, [1, 2, 3, 4, 5]);
    assert.equal(stats.summary().jitterMs, 0);
  });

  it('moves jitter by a sixteenth of each deviation', () => {
    const stats = new ReceptionStats(8000);
    feed(stats, [1, 2], (index) => index * 20 + (index === 1 ? 16 : 0));
    assert.ok(Math.abs(stats.summary().jitterMs - 1) < 1e-9);
  });

  it('takes timestamps over their wrap for what they are', () => {
    const stats = new ReceptionStats(8000);
    stats.receive({ ssrc: SSRC, sequenceNumber: 1, rtpTimestamp: 4294967216 }, 0);
    stats.receive({ ssrc: SSRC, sequenceNumber: 2, rtpTimestamp: 80 }, 20);
    assert.equal(stats.summary().jitterMs, 0);
  });

  it('does not count one wild sequence number, but follows a restarted sender', () => {
    const stats = new ReceptionStats(8000);
    assert.deepEqual(feed(stats, [1, 2, 30000, 3]), [true, true, false, true]);
    assert.deepEqual(feed(stats, [40000, 40001, 40002]), [false, true, true]);
    assert.equal(stats.summary().receivedPackets, 2);
    assert.equal(stats.summary().lostPackets, 0);
  });

  it('begins anew with a new SSRC', () => {
    const stats = new ReceptionStats(8000);
    feed(stats, [1, 5]);
    stats.receive({ ssrc: 78, sequenceNumber: 9, rtpTimestamp: 0 }, 0);
    assert.equal(stats.report()?.ssrc, 78);
    assert.equal(stats.summary().lostPackets, 0);
  });
});
