/** The bit rate that Opus members of a room ask for: `maxaveragebitrate` (RFC 7587 §6.1). */
import assert from 'node:assert/strict';
import { syntheticSpeech } from '../../../support/speech.ts';
import { mediaOf, pcmOf, VirtualRooms, type Member } from '../../../support/virtual-room.ts';

const SECONDS = 4;
const SPOKEN = pcmOf(syntheticSpeech('anna', SECONDS), 8000);
const USUAL = 32_000;
const LEAST = 24_000;

/** Bits per second of payload, while somebody spoke. */
function bitrateOf({ received }: Member, fromMs: number, toMs: number): number {
  const packets = received.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const bytes = packets.reduce((sum, { payload }) => sum + payload.length, 0);
  assert.ok(packets.length > 100, `only ${packets.length} packets`);
  return (bytes * 8000) / (toMs - fromMs);
}

const asking = (text: string | undefined): { media: ReturnType<typeof mediaOf> } => ({
  media: mediaOf('opus', {
    formatParameters: new Map(text === undefined ? [] : [['maxaveragebitrate', text]]),
  }),
});

/** A room in which one speaks, and these Opus members listen. */
function listen(...asked: readonly (string | undefined)[]): readonly number[] {
  const rooms = new VirtualRooms();
  rooms.join('speaker', { codec: 'PCMU', says: SPOKEN, saysAtMs: 0 });
  const listeners = asked.map((text, index) =>
    rooms.join(`listener${index}`, { codec: 'opus', ...asking(text) }),
  );
  const startMs = rooms.nowMs;
  rooms.run(SECONDS * 1000);
  return listeners.map((member) => bitrateOf(member, startMs + 500, startMs + SECONDS * 1000));
}

describe('the bit rate of Opus in a room', () => {
  const [usual = 0] = listen(undefined);

  it('is what Opus makes of the usual one when nobody asks', () => {
    assert.ok(Math.abs(usual / USUAL - 1) < 0.3, `${usual}`);
  });

  it('is the least that a member asks for, for all who hear the same stream', () => {
    const [a = 0, b = 0] = listen('26000', undefined);
    assert.equal(a, b);
    assert.ok(Math.abs(a / usual - 26_000 / USUAL) < 0.06, `${a} of ${usual}`);
  });

  for (const text of ['6000', '1']) {
    it(`stays good to hear when somebody asks for ${text}`, () => {
      const [got = 0] = listen(text);
      assert.ok(Math.abs(got / usual - LEAST / USUAL) < 0.06, `${got} of ${usual}`);
    });
  }

  for (const text of ['510000', '', '0', '-6000', '0x1770', 'much', '1e99', '32000.5']) {
    it(`is the usual one when somebody asks for "${text}"`, () => {
      assert.equal(listen(text)[0], usual);
    });
  }

  it('rises again when the one who asked for less has left', () => {
    const rooms = new VirtualRooms();
    rooms.join('speaker', {
      codec: 'PCMU',
      says: Int16Array.from([...SPOKEN, ...SPOKEN]),
      saysAtMs: 0,
    });
    const stays = rooms.join('stays', { codec: 'opus', ...asking(undefined) });
    const leaves = rooms.join('leaves', { codec: 'opus', ...asking(String(LEAST)) });
    const startMs = rooms.nowMs;
    rooms.run(SECONDS * 1000);
    leaves.leave();
    rooms.run(SECONDS * 1000);
    const changeMs = startMs + SECONDS * 1000;
    const before = bitrateOf(stays, startMs + 500, changeMs);
    const after = bitrateOf(stays, changeMs + 500, changeMs + SECONDS * 1000);
    assert.ok(Math.abs(before / after - LEAST / USUAL) < 0.08, `${before}, then ${after}`);
  });
});
