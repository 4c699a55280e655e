import assert from 'node:assert/strict';
import fc from 'fast-check';
import { JitterBuffer, type Playout } from '../../../../core/rtp/jitter-buffer.ts';
import { TRACE_NAMES, delayTrace, type TraceName } from '../../../support/arrival-traces.ts';
import { seededRandom } from '../../../support/random.ts';

const PTIME_MS = 20;
const SSRC = 1;

type Packet = {
  readonly index: number;
  readonly arrivalMs: number;
  readonly isSilent?: boolean;
  /** In milliseconds, when it is not 20 times the index. */
  readonly mediaMs?: number;
  readonly ssrc?: number;
};

function newBuffer(options: { quantile?: number; minDelayMs?: number } = {}): JitterBuffer {
  return new JitterBuffer({
    clockRateHz: 8000,
    durationOf: (_payload, start, end) => end - start,
    ...options,
  });
}

/** The index travels in the payload, so that what is played can be told apart. */
function push(buffer: JitterBuffer, packet: Packet, ptimeMs = PTIME_MS): string {
  const { index, arrivalMs, mediaMs = index * ptimeMs } = packet;
  const payload = Buffer.alloc(ptimeMs * 8);
  payload.writeUInt32BE(index);
  return buffer.push(
    {
      ssrc: packet.ssrc ?? SSRC,
      sequenceNumber: (index + 65530) & 0xffff,
      rtpTimestamp: (mediaMs * 8 + 4294966000) % 4294967296,
      payload,
    },
    arrivalMs,
    packet.isSilent ?? false,
  );
}

function indexOf(playout: Playout): number | undefined {
  if (playout.kind !== 'frame' && playout.kind !== 'skip') return undefined;
  return Buffer.from(playout.payload).readUInt32BE(0);
}

type Played = { readonly kind: Playout['kind']; readonly index: number | undefined };

/** Runs packets through a buffer that is pulled every 20 ms of virtual time. */
function run(
  buffer: JitterBuffer,
  packets: readonly Packet[],
  { untilMs, ptimeMs = PTIME_MS }: { readonly untilMs: number; readonly ptimeMs?: number },
): Played[] {
  const arriving = [...packets].sort((a, b) => a.arrivalMs - b.arrivalMs);
  const played: Played[] = [];
  let heldMs = 0;
  for (let nowMs = 0; nowMs < untilMs; nowMs += 20) {
    while ((arriving[0]?.arrivalMs ?? Infinity) <= nowMs) {
      const packet = arriving.shift();
      if (packet !== undefined) push(buffer, packet, ptimeMs);
    }
    while (heldMs < 20) {
      const playout = buffer.pull(nowMs, heldMs);
      played.push({ kind: playout.kind, index: indexOf(playout) });
      // A player shortens a frame by whole pitch periods: here by 16 of its 20 ms.
      heldMs += playout.samples / 8 - (playout.kind === 'skip' ? 16 : 0);
    }
    heldMs -= 20;
  }
  return played;
}

const steady = (count: number, delay: (index: number) => number = () => 5): Packet[] =>
  Array.from({ length: count }, (_, index) => ({
    index,
    arrivalMs: index * PTIME_MS + delay(index),
  }));

const countOf = (played: readonly Played[], kind: Playout['kind']): number =>
  played.filter((piece) => piece.kind === kind).length;

const kinds = (played: readonly Played[]): string =>
  [...new Set(played.map(({ kind }) => kind))]
    .map((kind) => `${kind} ${countOf(played, kind)}`)
    .join(', ');

describe('jitter buffer', () => {
  it('plays every packet once, in order, over the wrap of sequence and timestamp', () => {
    const played = run(newBuffer(), steady(100), { untilMs: 2100 });
    const indices = played.flatMap(({ index }) => (index === undefined ? [] : [index]));
    assert.deepEqual(
      indices,
      Array.from({ length: 100 }, (_, index) => index),
    );
  });

  it('begins within two ticks of the first packet', () => {
    const played = run(newBuffer(), steady(10), { untilMs: 200 });
    assert.ok(played.findIndex(({ index }) => index === 0) <= 2);
  });

  it('puts reordered packets in order when they come in time', () => {
    const buffer = newBuffer({ minDelayMs: 60 });
    const packets = steady(50, (index) => (index % 7 === 3 ? 45 : 5));
    const played = run(buffer, packets, { untilMs: 1200 });
    const indices = played.flatMap(({ index }) => (index === undefined ? [] : [index]));
    assert.deepEqual(
      indices,
      Array.from({ length: 50 }, (_, index) => index),
    );
  });

  it('says that a packet is missing and gives the next one for FEC', () => {
    const buffer = newBuffer({ minDelayMs: 40 });
    for (const packet of steady(10)) if (packet.index !== 4) push(buffer, packet);
    const pieces: Playout[] = [];
    for (let nowMs = 60; pieces.length < 6; nowMs += 20) pieces.push(buffer.pull(nowMs));
    const missing = pieces.find((piece) => piece.kind === 'missing');
    assert.ok(missing?.kind === 'missing' && missing.next !== undefined);
    assert.equal(Buffer.from(missing.next).readUInt32BE(0), 5);
    assert.equal(buffer.counters.lostPackets, 1);
  });

  it('gives no packet for FEC for the first of two lost ones', () => {
    const buffer = newBuffer({ minDelayMs: 60 });
    for (const packet of steady(10))
      if (packet.index !== 3 && packet.index !== 4) push(buffer, packet);
    const nexts: boolean[] = [];
    for (let nowMs = 80; nowMs < 240; nowMs += 20) {
      const piece = buffer.pull(nowMs);
      if (piece.kind === 'missing') nexts.push(piece.next !== undefined);
    }
    assert.deepEqual(nexts, [false, true]);
  });

  it('counts late and duplicate packets and plays none of them twice', () => {
    const buffer = newBuffer();
    const packets = steady(100, (index) => (index === 50 ? 400 : 5));
    const played = run(buffer, [...packets, { index: 60, arrivalMs: 1290 }], { untilMs: 2020 });
    assert.equal(countOf(played, 'missing'), 1);
    assert.equal(countOf(played, 'frame'), 99);
    const { latePackets, duplicatePackets, lostPackets, receivedPackets } = buffer.counters;
    assert.deepEqual(
      { latePackets, duplicatePackets, lostPackets, receivedPackets },
      { latePackets: 1, duplicatePackets: 1, lostPackets: 0, receivedPackets: 100 },
    );
  });

  it('hears silence, not loss, where the sender paused (DTX)', () => {
    const packets = Array.from({ length: 20 }, (_, index) => {
      const mediaMs = index * 20 + (index >= 10 ? 60 : 0);
      return { index, mediaMs, arrivalMs: mediaMs + 5 };
    });
    const buffer = newBuffer({ minDelayMs: 100 });
    const played = run(buffer, packets, { untilMs: 700 });
    const between = played.slice(
      played.findIndex(({ index }) => index === 9) + 1,
      played.findIndex(({ index }) => index === 10),
    );
    assert.deepEqual(
      between.map(({ kind }) => kind),
      ['silence', 'silence', 'silence'],
    );
    assert.equal(buffer.counters.lostPackets, 0);
  });

  it('does not take the packets of a telephone-event as lost', () => {
    const buffer = newBuffer({ minDelayMs: 40 });
    const kinds: string[] = [];
    for (let index = 0; index < 40; index++) {
      const nowMs = index * 20 + 5;
      if (index < 10 || index >= 15) push(buffer, { index, arrivalMs: nowMs });
      else buffer.skip({ ssrc: SSRC, sequenceNumber: (index + 65530) & 0xffff });
      kinds.push(buffer.pull(nowMs).kind);
    }
    assert.equal(buffer.counters.lostPackets, 0);
    assert.equal(kinds.includes('missing'), false);
    assert.equal(kinds.filter((kind) => kind === 'frame').length >= 32, true);
  });

  it('conceals at most five frames when a sender stops, then waits for him', () => {
    const packets = [
      ...steady(50),
      ...Array.from({ length: 50 }, (_, index) => ({
        index: index + 50,
        mediaMs: 3000 + index * 20,
        arrivalMs: 3005 + index * 20,
      })),
    ];
    const played = run(newBuffer(), packets, { untilMs: 4020 });
    assert.equal(countOf(played, 'missing'), 5);
    assert.equal(countOf(played, 'frame'), 100);
  });

  it('follows a new SSRC at once', () => {
    const packets = steady(100).map((packet) =>
      packet.index < 50 ? packet : { ...packet, ssrc: 99, mediaMs: packet.index * 20 + 777_777 },
    );
    const played = run(newBuffer(), packets, { untilMs: 2100 });
    assert.ok(countOf(played, 'frame') >= 98, JSON.stringify(played));
  });

  it('follows a clock that leaps, with the same SSRC', () => {
    for (const leapMs of [5000, -5000, 1_000_000]) {
      const packets = steady(100).map((packet) =>
        packet.index < 50 ? packet : { ...packet, mediaMs: packet.index * 20 + leapMs },
      );
      const played = run(newBuffer(), packets, { untilMs: 2100 });
      assert.ok(countOf(played, 'frame') >= 98, `${leapMs}: ${countOf(played, 'frame')}`);
    }
  });

  it('drops one packet that makes no sense and goes on', () => {
    const buffer = newBuffer();
    const odd = { index: 20_000, mediaMs: 123_456_789, arrivalMs: 1000 };
    const played = run(buffer, [...steady(100), odd], { untilMs: 2100 });
    assert.equal(countOf(played, 'frame'), 100);
    assert.equal(buffer.counters.droppedPackets, 1);
  });

  it('refuses what the codec finds malformed', () => {
    const buffer = newBuffer();
    const empty = { ssrc: 1, sequenceNumber: 1, rtpTimestamp: 1, payload: new Uint8Array(0) };
    assert.equal(buffer.push(empty, 0), 'malformed');
  });

  for (const ptimeMs of [10, 30, 40, 60]) {
    it(`plays packets of ${ptimeMs} ms evenly`, () => {
      const packets = Array.from({ length: 300 }, (_, index) => ({
        index,
        arrivalMs: (index + 1) * ptimeMs,
      }));
      const played = run(newBuffer(), packets, { untilMs: 299 * ptimeMs, ptimeMs });
      assert.equal(countOf(played, 'missing') + countOf(played, 'stretch'), 0);
      assert.ok(countOf(played, 'frame') >= 295, String(countOf(played, 'frame')));
    });
  }

  it('inserts and drops nothing in a steady tone of 60 s', () => {
    const buffer = newBuffer();
    const played = run(
      buffer,
      steady(3000, () => 3.3),
      { untilMs: 60_000 },
    );
    assert.equal(buffer.counters.insertedFrames + buffer.counters.skippedFrames, 0);
    assert.equal(
      countOf(played, 'frame'),
      played.filter(({ kind }) => kind !== 'buffering').length,
    );
  });

  for (const ppm of [100, -100]) {
    it(`does not let delay grow over 10 minutes of a clock ${ppm} ppm off, even without a pause`, () => {
      const buffer = newBuffer();
      const packets = steady(30_000).map(({ index }) => ({
        index,
        arrivalMs: index * PTIME_MS * (1 + ppm / 1e6) + 3,
      }));
      const played = run(buffer, packets, { untilMs: 599_900 });
      assert.ok(buffer.playoutDelayMs <= 30, String(buffer.playoutDelayMs));
      // 60 ms of drift are three frames, moved one at a time.
      const moved = buffer.counters.insertedFrames + buffer.counters.skippedFrames;
      assert.ok(moved >= 1 && moved <= 5, String(moved));
      assert.ok(countOf(played, 'missing') <= 12, String(countOf(played, 'missing')));
    });
  }

  it('moves in speech by one concealed frame when it is far too short, and in silence at will', () => {
    const jump = (index: number): number => (index < 100 ? 5 : 75);
    const speech = newBuffer();
    const inSpeech = run(speech, steady(300, jump), { untilMs: 6100 });
    assert.ok(countOf(inSpeech, 'stretch') >= 1, kinds(inSpeech));
    assert.ok(speech.counters.latePackets <= 4, String(speech.counters.latePackets));
    const silence = newBuffer();
    const packets = steady(300, jump).map((packet) => ({ ...packet, isSilent: true }));
    const inSilence = run(silence, packets, { untilMs: 6100 });
    assert.equal(countOf(inSilence, 'stretch') + countOf(inSilence, 'missing'), 0);
    assert.ok(countOf(inSilence, 'silence') >= 3, kinds(inSilence));
  });

  it('gives the packets from before the playout point, to prime a cold decoder', () => {
    const buffer = newBuffer();
    for (const packet of steady(30)) push(buffer, packet);
    const first = buffer.pull(29 * 20 + 25);
    const index = indexOf(first) ?? -1;
    assert.ok(index >= 27, String(index));
    assert.deepEqual(
      buffer.history(4).map((payload) => Buffer.from(payload).readUInt32BE(0)),
      [index - 4, index - 3, index - 2, index - 1],
    );
    assert.equal(Buffer.from(buffer.latest(1)[0] ?? []).readUInt32BE(0), 29);
  });

  it('begins again at the right place after it was released', () => {
    const buffer = newBuffer();
    for (let index = 0; index < 500; index++) {
      push(buffer, { index, arrivalMs: index * 20 + 5 });
      if (index < 100) buffer.pull(index * 20 + 10);
      if (index === 100) buffer.release();
    }
    const again = indexOf(buffer.pull(499 * 20 + 10)) ?? -1;
    assert.ok(again >= 498, String(again));
    assert.equal(buffer.counters.latePackets, 0);
  });

  it('survives any order, loss, duplication and nonsense of packets, and plays in order', () => {
    const packet = fc.record({
      index: fc.integer({ min: 0, max: 400 }),
      arrivalMs: fc.integer({ min: 0, max: 8000 }),
      isSilent: fc.boolean(),
      mediaMs: fc.option(fc.integer({ min: -10_000, max: 1e6 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 400 }), (packets) => {
        const buffer = newBuffer();
        const known = packets.map(({ mediaMs, ...rest }) =>
          mediaMs === undefined ? rest : { ...rest, mediaMs: Math.max(0, mediaMs) },
        );
        const played = run(buffer, known, { untilMs: 8200 });
        assert.ok(played.length >= 410);
        assert.ok(buffer.counters.receivedPackets <= packets.length);
      }),
      { seed: 47, numRuns: 60 },
    );
  });
});

/** Late packets in percent, and how long packets wait over the 10 ms that a grid of 20 ms costs on average. */
function traceFigures(name: TraceName): { readonly late: number; readonly waitMs: number } {
  const packets = 30_000;
  const driftPpm = 100;
  const delay = delayTrace(name);
  const random = seededRandom(7);
  const buffer = newBuffer();
  const arrivals = Float64Array.from(
    { length: packets },
    (_, index) => index * PTIME_MS * (1 + driftPpm / 1e6) + delay(index),
  );
  let isSpeech = false;
  let left = 0;
  let next = 0;
  let waited = 0;
  let played = 0;
  for (let nowMs = 0; next < packets; nowMs += PTIME_MS) {
    for (; (arrivals[next] ?? Infinity) <= nowMs; next++) {
      if (left-- <= 0) {
        isSpeech = !isSpeech;
        left = isSpeech ? 50 + 100 * random() : 15 + 50 * random();
      }
      push(buffer, { index: next, arrivalMs: arrivals[next] ?? 0, isSilent: !isSpeech });
    }
    const index = indexOf(buffer.pull(nowMs));
    if (index === undefined) continue;
    waited += nowMs - (arrivals[index] ?? 0);
    played += 1;
  }
  const { latePackets, receivedPackets } = buffer.counters;
  return { late: (100 * latePackets) / receivedPackets, waitMs: waited / played - PTIME_MS / 2 };
}

describe('jitter buffer on networks of several kinds, 10 minutes each, clocks 100 ppm apart', () => {
  const LIMITS: Readonly<Record<TraceName, { readonly late: number; readonly waitMs: number }>> = {
    lan: { late: 0, waitMs: 10 },
    wan: { late: 1.5, waitMs: 25 },
    wifi: { late: 1.5, waitMs: 95 },
    lte: { late: 1.5, waitMs: 60 },
    steps: { late: 2.8, waitMs: 71 },
  };
  for (const name of TRACE_NAMES) {
    const limit = LIMITS[name];
    it(`${name}: at most ${limit.late} % late, ${limit.waitMs} ms in the buffer`, () => {
      const { late, waitMs } = traceFigures(name);
      assert.ok(late <= limit.late, `${late.toFixed(2)} % late`);
      assert.ok(waitMs <= limit.waitMs, `${waitMs.toFixed(1)} ms`);
    });
  }
});
