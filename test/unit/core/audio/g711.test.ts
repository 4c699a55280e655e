import assert from 'node:assert/strict';
import { decodeG711, encodeG711, g711Table } from '../../../../core/audio/g711.ts';

const LAWS = ['PCMU', 'PCMA'] as const;

function encoded(law: (typeof LAWS)[number], sample: number): number {
  const bytes = new Uint8Array(1);
  encodeG711(law, Int16Array.of(sample), bytes);
  return bytes[0] ?? -1;
}

describe('G.711', () => {
  it('has the values of the tables of the Recommendation', () => {
    // G.711 tables 2a and 1a: ends of segments, smallest and largest values, scaled to 16 bits.
    const mulaw = [
      [0x80, 32124],
      [0x00, -32124],
      [0xff, 0],
      [0x7f, 0],
      [0xfe, 8],
      [0x8f, 16764],
    ];
    const alaw = [
      [0xaa, 32256],
      [0x2a, -32256],
      [0xd5, 8],
      [0x55, -8],
      [0xd4, 24],
    ];
    for (const [code = 0, value] of mulaw)
      assert.equal(g711Table('PCMU')[code], value, `mu ${code}`);
    for (const [code = 0, value] of alaw) assert.equal(g711Table('PCMA')[code], value, `A ${code}`);
    assert.deepEqual(
      [0, 1000, -1000, 8159, 32767, -32768].map((sample) => encoded('PCMU', sample)),
      [0xff, 0xce, 0x4e, 0x9f, 0x80, 0x00],
    );
    assert.deepEqual(
      [0, 1000, -1000, 8159, 32767, -32768].map((sample) => encoded('PCMA', sample)),
      [0xd5, 0xfa, 0x7a, 0x8a, 0xaa, 0x2a],
    );
  });

  for (const law of LAWS) {
    it(`${law}: each code survives decoding and encoding`, () => {
      for (let code = 0; code < 256; code++) {
        const value = g711Table(law)[code] ?? 0;
        const again = encoded(law, value);
        assert.equal(g711Table(law)[again], value, `code ${code}`);
      }
    });

    it(`${law}: rises with its input and errs by half a step at most`, () => {
      const table = g711Table(law);
      let previous = -Infinity;
      for (let sample = -32768; sample <= 32767; sample++) {
        const value = table[encoded(law, sample)] ?? 0;
        assert.ok(value >= previous, `sample ${sample}`);
        previous = value;
        const limit = 8 + Math.abs(sample) / 31;
        assert.ok(Math.abs(value - sample) <= limit, `sample ${sample} is ${value}`);
      }
    });
  }

  it('decodes a range of bytes', () => {
    const pcm = new Int16Array(4);
    assert.equal(decodeG711('PCMU', Uint8Array.of(1, 0x80, 0x00, 9), pcm, { start: 1, end: 3 }), 2);
    assert.deepEqual([...pcm], [32124, -32124, 0, 0]);
  });
});
