import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError } from '../../../../core/errors.ts';
import { decodeBencode, encodeBencode } from '../../../../media-relay/control/bencode.ts';

function decode(text: string): unknown {
  return decodeBencode(Buffer.from(text));
}

describe('bencode', () => {
  for (const [text, value] of [
    ['i0e', 0],
    ['i42e', 42],
    ['i-7e', -7],
    ['0:', ''],
    ['4:spam', 'spam'],
    ['3:\u20ac', '\u20ac'],
    ['le', []],
    ['li1e1:ae', [1, 'a']],
    ['de', {}],
    ['d1:bi2e1:ai1ee', { b: 2, a: 1 }],
    ['d3:onel3:twod5:threei3eeee', { one: ['two', { three: 3 }] }],
  ] as const) {
    it(`decodes ${text}`, () => {
      assert.equal(JSON.stringify(decode(text)), JSON.stringify(value));
    });
  }

  for (const text of [
    '',
    'i',
    'ie',
    'i-e',
    'i-0e',
    'i01e',
    'i1',
    'i1.5e',
    'i9007199254740993e',
    '5:spam',
    '-1:a',
    '01:a',
    '99999999999999999999:a',
    ':a',
    'l',
    'li1e',
    'd1:ae',
    'di1ei2ee',
    'd1:ai1e1:ai2ee',
    'i1ei2e',
    'x',
    '4:spam ',
    'l'.repeat(40) + 'e'.repeat(40),
    `l${'le'.repeat(60_000)}e`,
  ]) {
    it(`refuses ${text.length > 30 ? `${text.length} bytes` : `"${text}"`}`, () => {
      assert.throws(() => decode(text), ParseError);
    });
  }

  it('gives no meaning to names of the language', () => {
    const value = decode('d9:__proto__d1:ai1ee11:constructor1:xe') as Record<string, unknown>;
    assert.deepEqual(Object.keys(value), ['__proto__', 'constructor']);
    assert.equal(({} as Record<string, unknown>)['a'], undefined);
  });

  it('sorts keys by their bytes, leaves out undefined, and writes fractions as text', () => {
    const bytes = encodeBencode({ b: 1, a: undefined, B: true, '\u20ac': 1.5, aa: [false] });
    assert.equal(bytes.toString(), 'd1:Bi1e2:aali0ee1:bi1e3:\u20ac3:1.5e');
  });

  it('counts bytes, not characters', () => {
    assert.equal(encodeBencode('\u{1f4de}').toString(), '4:\u{1f4de}');
  });

  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.string({ unit: 'grapheme' }),
      fc.integer(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie('value'), { maxKeys: 4 }),
    ),
  })).value as fc.Arbitrary<string>;

  it('gives back what it was given', () => {
    fc.assert(
      fc.property(value, (given) => {
        const once = encodeBencode(given);
        assert.deepEqual(encodeBencode(decodeBencode(once)), once);
      }),
      { seed: 20261120 },
    );
  });

  it('throws nothing but ParseError for any bytes', () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(value, fc.nat(), fc.nat(255)).map(([given, at, byte]) => {
        const bytes = encodeBencode(given);
        bytes[at % bytes.length] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          decodeBencode(bytes);
        } catch (error) {
          assert.ok(error instanceof ParseError, String(error));
        }
      }),
      { seed: 20261120, numRuns: 3000 },
    );
  });
});
