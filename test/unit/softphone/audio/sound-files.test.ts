import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseWav, wavHeader } from '../../../../core/audio/wav.ts';
import { ConfigError } from '../../../../core/errors.ts';
import { readSoundFile } from '../../../../softphone/audio/sound-file.ts';
import { WavWriter } from '../../../../softphone/audio/wav-writer.ts';

function unexpected(error: unknown): void {
  throw error;
}

describe('sound files of the softphone', () => {
  let folder = '';
  const file = (name: string): string => path.join(folder, name);

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'parley-sound-'));
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  const tone = (rateHz: number, seconds: number): Int16Array =>
    Int16Array.from({ length: rateHz * seconds }, (_, index) =>
      Math.round(9000 * Math.sin((2 * Math.PI * 440 * index) / rateHz)),
    );

  const write = async (
    name: string,
    pcm: Int16Array,
    sampleRateHz: number,
    channels = 1,
  ): Promise<string> => {
    const header = wavHeader({ sampleRateHz, channels }, pcm.byteLength);
    await writeFile(file(name), Buffer.concat([header, Buffer.from(pcm.buffer)]));
    return file(name);
  };

  for (const rateHz of [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]) {
    it(`MUST play ${rateHz} Hz at the pitch and length that it has`, async () => {
      const samples = await readSoundFile(await write('tone.wav', tone(rateHz, 1), rateHz));
      assert.ok(Math.abs(samples.length - 48_000) < 50, `${samples.length} samples`);
      let crossings = 0;
      for (let index = 1; index < samples.length; index += 1) {
        if ((samples[index - 1] ?? 0) < 0 && (samples[index] ?? 0) >= 0) crossings += 1;
      }
      // The filter rings a little where the tone begins.
      assert.ok(Math.abs(crossings - 440) <= 6, `${crossings} Hz`);
      assert.ok(Math.abs(Math.max(...samples) - 9000) < 200);
    });
  }

  it('MUST mix stereo to one channel', async () => {
    const pcm = Int16Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? 1000 : 3000));
    const samples = await readSoundFile(await write('stereo.wav', pcm, 48_000, 2));
    assert.equal(samples.length, 100);
    assert.ok(samples.every((sample) => sample === 2000));
  });

  it('MUST say in one sentence what cannot be played', async () => {
    await writeFile(file('text.wav'), 'hello');
    for (const name of ['absent.wav', 'text.wav']) {
      await assert.rejects(readSoundFile(file(name)), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /^The file .* cannot be (?:read|played)[^\n]*\.$/);
        return true;
      });
    }
    const odd = await write('odd.wav', tone(8001, 1), 8001);
    await assert.rejects(readSoundFile(odd), ConfigError);
  });

  it('records what it is given', async () => {
    const writer = await WavWriter.create(file('heard.wav'), 48_000, unexpected);
    const pcm = tone(48_000, 3);
    for (let at = 0; at < pcm.length; at += 960) writer.write(pcm.subarray(at, at + 960));
    assert.equal(writer.seconds, 3);
    await writer.close();
    const read = parseWav(await readFile(file('heard.wav')));
    assert.equal(read.sampleRateHz, 48_000);
    assert.deepEqual(read.pcm, pcm);
  });

  it('MUST be a whole file at any moment, up to its last second', async () => {
    const writer = await WavWriter.create(file('killed.wav'), 8000, unexpected);
    assert.equal(parseWav(await readFile(file('killed.wav'))).pcm.length, 0);
    for (let second = 0; second < 2.5; second += 0.5) writer.write(tone(8000, 0.5));
    let length = 0;
    for (let turn = 0; turn < 200 && length < 16_000; turn += 1) {
      await sleep(10);
      length = parseWav(await readFile(file('killed.wav'))).pcm.length;
    }
    assert.equal(length, 16_000);
    await writer.close();
    assert.equal(parseWav(await readFile(file('killed.wav'))).pcm.length, 20_000);
  });

  it('MUST refuse a place where it cannot write', async () => {
    const creating = WavWriter.create(path.join(folder, 'no', 'such.wav'), 8000, unexpected);
    await assert.rejects(creating, ConfigError);
  });
});
