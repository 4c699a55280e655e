/**
 * A process of its own for the sound card: microphone samples go out on descriptor 3, speaker samples come in on 0.
 *
 * naudiodon prints to the standard output, blocks threads of the pool while it waits, reads the sound server's
 * settings from the environment once, and takes its process along when a driver crashes. In here none of that
 * reaches the phone.
 */

import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { DEVICE_RATE_HZ, FRAME_SAMPLES } from './device.ts';
import { PlaybackFeed } from './playback-feed.ts';

/** What this process tells its parent. */
export type SoundReport =
  | {
      readonly kind: 'devices';
      readonly inputs: readonly string[];
      readonly outputs: readonly string[];
    }
  | { readonly kind: 'started'; readonly input: boolean; readonly output: boolean }
  /** The speaker takes nothing any more; another process can open it again. */
  | { readonly kind: 'stuck' }
  /** The speaker loses sound, because its buffer is too short for this machine as it is now. */
  | { readonly kind: 'unsteady' }
  | { readonly kind: 'failed'; readonly reason: string };

/** What its parent asks for, as JSON in the first argument; names may be a part of the device's name. */
export type SoundRequest = {
  readonly mode: 'probe' | 'run';
  readonly microphone?: string | undefined;
  readonly speaker?: string | undefined;
  /** More delay, for a machine that is too busy for little. */
  readonly isRelaxed?: boolean | undefined;
};

type SoundStream = {
  start(): void;
  on(event: 'data', listener: (bytes: Buffer) => void): void;
  write(bytes: Buffer, done: (error?: Error | null) => void): boolean;
};

type SoundCard = {
  readonly id: number;
  readonly name: string;
  readonly maxInputChannels: number;
  readonly maxOutputChannels: number;
};

/** The part of naudiodon that is used; it is optional and may be absent, also at compile time. */
type PortAudio = {
  readonly SampleFormat16Bit: number;
  getDevices(): readonly SoundCard[];
  AudioIO(options: Readonly<Record<string, unknown>>): SoundStream;
};

const FRAME_BYTES = FRAME_SAMPLES * 2;
/** Half a frame at a time: a buffer is a few times that. */
const BUFFER_SAMPLES = FRAME_SAMPLES / 2;
const CAPTURE_DESCRIPTOR = 3;
const WATCH_MS = 250;
const DEFAULT_DEVICE = -1;

function report(message: SoundReport): void {
  process.send?.(message);
}

function main(request: SoundRequest): void {
  // The crash reporter that naudiodon brings along writes into the working directory.
  process.chdir(tmpdir());
  let portAudio: PortAudio;
  try {
    portAudio = createRequire(import.meta.url)('naudiodon') as PortAudio;
  } catch {
    report({ kind: 'failed', reason: 'the optional package naudiodon is not installed' });
    return;
  }
  const cards = portAudio.getDevices();
  const inputs = cards.filter((card) => card.maxInputChannels > 0);
  const outputs = cards.filter((card) => card.maxOutputChannels > 0);
  if (request.mode === 'probe') {
    const nameOf = (card: SoundCard): string => card.name;
    report({ kind: 'devices', inputs: inputs.map(nameOf), outputs: outputs.map(nameOf) });
    return;
  }
  // Two streams, not one: a duplex stream loses its rhythm on sound servers.
  const isRelaxed = request.isRelaxed === true;
  const speaker = openFirst(
    portAudio,
    'outOptions',
    candidates(outputs, request.speaker),
    isRelaxed ? FRAME_SAMPLES : BUFFER_SAMPLES,
  );
  const microphone = openFirst(
    portAudio,
    'inOptions',
    candidates(inputs, request.microphone),
    BUFFER_SAMPLES,
  );
  if (speaker !== undefined) play(speaker, isRelaxed);
  if (microphone !== undefined) capture(microphone);
  if (speaker === undefined && microphone === undefined) {
    report({ kind: 'failed', reason: 'neither microphone nor speaker could be opened' });
    process.exit(1);
  }
  report({ kind: 'started', input: microphone !== undefined, output: speaker !== undefined });
}

/** The named device alone; or else the default one and, should it refuse, every other. */
function candidates(cards: readonly SoundCard[], wanted: string | undefined): readonly number[] {
  if (cards.length === 0) return [];
  if (wanted === undefined) return [DEFAULT_DEVICE, ...cards.map((card) => card.id)];
  return cards.filter((card) => card.name.includes(wanted)).map((card) => card.id);
}

/** Options that are `undefined` make naudiodon complain, so none is. `highwaterMark` is its own spelling. */
function openFirst(
  portAudio: PortAudio,
  direction: 'inOptions' | 'outOptions',
  deviceIds: readonly number[],
  bufferSamples: number,
): SoundStream | undefined {
  for (const deviceId of deviceIds) {
    try {
      const stream = portAudio.AudioIO({
        [direction]: {
          deviceId,
          sampleRate: DEVICE_RATE_HZ,
          channelCount: 1,
          sampleFormat: portAudio.SampleFormat16Bit,
          framesPerBuffer: bufferSamples,
          maxQueue: 1,
          highwaterMark: BUFFER_SAMPLES * 2,
          closeOnError: false,
        },
      });
      stream.start();
      return stream;
    } catch {
      // This one refuses; the next may not.
    }
  }
  return undefined;
}

function capture(microphone: SoundStream): void {
  const out = new Socket({ fd: CAPTURE_DESCRIPTOR, readable: false, writable: true });
  out.on('error', () => process.exit(0));
  microphone.on('data', (bytes) => {
    // A parent that does not keep up loses sound instead of getting it late for ever.
    if (out.writableLength < 8 * FRAME_BYTES) out.write(bytes);
  });
}

function play(speaker: SoundStream, isRelaxed: boolean): void {
  const feed = new PlaybackFeed(
    (piece, done) => {
      speaker.write(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength), () => {
        done();
      });
    },
    () => performance.now(),
  );
  const frame = new Int16Array(FRAME_SAMPLES);
  const bytesOfFrame = Buffer.from(frame.buffer);
  let filled = 0;
  process.stdin.on('data', (bytes: Buffer) => {
    for (let at = 0; at < bytes.length;) {
      const copied = bytes.copy(bytesOfFrame, filled, at);
      at += copied;
      filled += copied;
      if (filled < FRAME_BYTES) return;
      feed.push(frame);
      filled = 0;
    }
  });
  feed.start();
  const watch = setInterval(() => {
    const isUnsteady = feed.hasGaps && !isRelaxed;
    if (!feed.isStuck && !isUnsteady) return;
    clearInterval(watch);
    report({ kind: feed.isStuck ? 'stuck' : 'unsteady' });
  }, WATCH_MS);
}

// The parent's end closes when it stops the device and when it dies; either way there is nothing left to do.
process.stdin.on('end', () => process.exit(0));
process.stdin.on('error', () => process.exit(0));
process.stdin.resume();
process.on('disconnect', () => process.exit(0));
main(JSON.parse(process.argv[2] ?? '{"mode":"probe"}') as SoundRequest);
