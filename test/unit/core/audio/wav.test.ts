import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError } from '../../../../core/errors.ts';
import { pcmToBytes } from '../../../../core/audio/pcm.ts';
import {
  parseWav,
  parseWavHeader,
  wavHeader,
  WAV_HEADER_BYTES,
} from '../../../../core/audio/wav.ts';

const FORMAT = { sampleRateHz: 48000, channels: 1 };
const PCM = Int16Array.of(1, -2, 3, -4);

function file(header: Uint8Array, pcm = PCM): Buffer {
  return Buffer.concat([header, pcmToBytes(pcm)]);
}

function codeOf(bytes: Uint8Array): string {
  try {
    parseWavHeader(bytes);
  } catch (error) {
    assert.ok(error instanceof ParseError);
    return error.code;
  }
  return 'none';
}

describe('WAV', () => {
  it('reads what it writes', () => {
    const header = wavHeader(FORMAT, 8);
    assert.equal(header.length, WAV_HEADER_BYTES);
    assert.deepEqual(parseWav(file(header)), { sampleRateHz: 48000, pcm: PCM });
    assert.deepEqual(parseWavHeader(header), { ...FORMAT, dataOffset: 44, dataBytes: 8 });
  });

  it('writes the header that other programs write', () => {
    assert.equal(
      Buffer.from(wavHeader({ sampleRateHz: 8000, channels: 1 }, 320)).toString('hex'),
      '52494646' +
        '64010000' +
        '57415645' +
        '666d7420' +
        '10000000' +
        '0100' +
        '0100' +
        '401f0000' +
        '803e0000' +
        '0200' +
        '1000' +
        '64617461' +
        '40010000',
    );
  });

  it('takes all that follows when a recording was not finished', () => {
    assert.deepEqual(parseWav(file(wavHeader(FORMAT, 0))).pcm, PCM);
    assert.deepEqual(parseWav(file(wavHeader(FORMAT, Infinity))).pcm, PCM);
  });

  it('passes over other chunks, also of odd length', () => {
    const plain = file(wavHeader(FORMAT, 8));
    const odd = Buffer.from('LIST\x03\x00\x00\x00abc\x00', 'latin1');
    const withList = Buffer.concat([plain.subarray(0, 12), odd, plain.subarray(12)]);
    assert.deepEqual(parseWav(withList).pcm, PCM);
  });

  it('mixes stereo down', () => {
    const header = wavHeader({ sampleRateHz: 44100, channels: 2 }, 8);
    assert.deepEqual(
      parseWav(file(header, Int16Array.of(10, 20, 30, 50))).pcm,
      Int16Array.of(15, 40),
    );
  });

  it('says what is wrong', () => {
    assert.equal(codeOf(Buffer.from('not a file')), 'wav.malformed');
    assert.equal(codeOf(new Uint8Array(0)), 'wav.malformed');
    assert.equal(codeOf(wavHeader(FORMAT, 8).subarray(0, 30)), 'wav.malformed');
    const eight = Buffer.from(wavHeader(FORMAT, 8));
    eight.writeUInt16LE(8, 34);
    assert.equal(codeOf(eight), 'wav.unsupported');
    const floats = Buffer.from(wavHeader(FORMAT, 8));
    floats.writeUInt16LE(3, 20);
    assert.equal(codeOf(floats), 'wav.unsupported');
  });

  it('throws nothing else, whatever the bytes', () => {
    const start = Buffer.from('RIFF\x00\x00\x00\x00WAVE', 'latin1');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (bytes, isFmt) => {
        const rest = isFmt
          ? Buffer.concat([Buffer.from('fmt \x10\x00\x00\x00', 'latin1'), bytes])
          : bytes;
        codeOf(Buffer.concat([start, rest]));
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});
