import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { FRAME_SAMPLES, systemClock } from '../../../../softphone/audio/device.ts';
import { SoundDevice } from '../../../../softphone/audio/sound-device.ts';
import type { SoundChild } from '../../../../softphone/audio/sound-device.ts';
import type { SoundReport, SoundRequest } from '../../../../softphone/audio/sound-process.ts';

const FRAME_BYTES = FRAME_SAMPLES * 2;

/** The process for the sound card, without a sound card. */
class FakeChild extends EventEmitter {
  readonly request: SoundRequest;
  readonly stdin = new PassThrough();
  readonly microphone = new PassThrough();
  readonly stdio = [this.stdin, null, null, this.microphone, undefined] as const;
  exitCode: number | null = null;
  signalCode: NodeJS.Signals | null = null;

  constructor(request: SoundRequest) {
    super();
    this.request = request;
    this.stdin.on('finish', () => {
      this.#end(0, null);
    });
  }

  kill(): boolean {
    this.#end(null, 'SIGKILL');
    return true;
  }

  tell(report: SoundReport): void {
    this.emit('message', report);
  }

  #end(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.exitCode !== null || this.signalCode !== null) return;
    this.exitCode = code;
    this.signalCode = signal;
    setImmediate(() => this.emit('exit', code, signal));
  }
}

describe('the sound card behind its process', () => {
  const children: FakeChild[] = [];
  const faults: string[] = [];
  let device: SoundDevice;

  beforeEach(() => {
    children.length = 0;
    faults.length = 0;
    const fork = (request: SoundRequest): SoundChild => {
      const child = new FakeChild(request);
      children.push(child);
      return child as unknown as SoundChild;
    };
    device = new SoundDevice(
      { microphone: 'desk' },
      (fault) => faults.push(fault),
      systemClock,
      fork,
    );
  });

  afterEach(() => device.stop());

  const child = (index: number): FakeChild => {
    const found = children[index];
    assert.ok(found, `there is no child ${index}`);
    return found;
  };

  /** Lets streams and immediates run. */
  const settle = async (): Promise<void> => {
    for (let count = 0; count < 5; count += 1) await turn();
  };

  it('puts frames together from whatever pieces the microphone gives, and plays the answer', async () => {
    const levels: number[] = [];
    device.start((captured) => {
      levels.push(captured[0] ?? NaN);
      return new Int16Array(FRAME_SAMPLES).fill(7);
    });
    const sound = Buffer.alloc(2 * FRAME_BYTES);
    for (let at = 0; at < 2 * FRAME_SAMPLES; at += 1) {
      sound.writeInt16LE(at < FRAME_SAMPLES ? 11 : 12, at * 2);
    }
    for (const [from, to] of [
      [0, 960],
      [960, 2901],
      [2901, 2 * FRAME_BYTES],
    ]) {
      child(0).microphone.write(sound.subarray(from, to));
      await settle();
    }
    assert.deepEqual(levels, [11, 12]);
    const played = child(0).stdin.read() as Buffer;
    assert.equal(played.length, 2 * FRAME_BYTES);
    assert.equal(played.readInt16LE(0), 7);
    assert.equal(child(0).request.isRelaxed, false);
  });

  it('MUST take in what else has come before it takes the beat: late is what came after it', async () => {
    const order: string[] = [];
    device.start((captured) => {
      order.push('beat');
      return captured;
    });
    child(0).microphone.on('data', () => {
      order.push('sound came');
      process.nextTick(() => order.push('packet came'));
    });
    child(0).microphone.write(Buffer.alloc(FRAME_BYTES));
    await settle();
    assert.deepEqual(order, ['sound came', 'packet came', 'beat']);
  });

  it('MUST use the last tenth of a second of a burst only: sound that is late stays late', async () => {
    let frames = 0;
    device.start((captured) => {
      frames += 1;
      return captured;
    });
    child(0).microphone.write(Buffer.alloc(30 * FRAME_BYTES));
    await settle();
    assert.equal(frames, 5);
  });

  for (const kind of ['stuck', 'unsteady'] as const) {
    it(`MUST open a speaker that is ${kind} again, with more delay, and go on meanwhile`, async () => {
      device.start((captured) => captured);
      child(0).tell({ kind });
      assert.equal(children.length, 2);
      assert.deepEqual([child(1).request.isRelaxed, child(1).request.microphone], [true, 'desk']);
      assert.equal(child(0).signalCode, 'SIGKILL');
      await settle();
      assert.equal(faults.length, 1);
      let frames = 0;
      await device.stop();
      device.start((captured) => {
        frames += 1;
        return captured;
      });
      assert.equal(child(2).request.isRelaxed, true);
      child(2).microphone.write(Buffer.alloc(FRAME_BYTES));
      await settle();
      assert.equal(frames, 1);
    });
  }

  it('MUST give up a speaker that is stuck again and again, and go on without it', async () => {
    device.start((captured) => captured);
    for (let count = 0; count < 6; count += 1) {
      child(count).tell({ kind: 'stuck' });
      await settle();
    }
    assert.equal(children.length, 6);
    assert.match(faults.at(-1) ?? '', /stopped working/);
    assert.equal(faults.length, 6);
  });
});
