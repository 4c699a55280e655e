/**
 * What mixing costs: processor time per tick of 20 ms and per participant, packets from memory, no sockets.
 *
 * Everybody sends 50 packets a second, so that silent members cost what they cost in a call. Packets are made before.
 * Run it with `npm run bench:mixer`, optionally with a part of a case's name.
 */

import { AUDIO_CODECS, type CodecName } from '../../core/audio/codec.ts';
import type { OpusSettings } from '../../core/audio/opus.ts';
import { RTP_HEADER_BYTES, RtpHeader } from '../../core/rtp/packet.ts';
import { Mixer } from '../../media-relay/room/mixer.ts';
import type { Participant } from '../../media-relay/room/seam.ts';
import { seededRandom } from '../support/random.ts';
import { syntheticSpeech } from '../support/speech.ts';
import { mediaOf, pcmOf } from '../support/virtual-room.ts';

const TICK_MS = 20;
const WARM_UP_TICKS = 300;
const TICKS = 500;
const REPEATS = 3;
/** Two seconds of speech, over and over. */
const LOOP = 100;
const WARM_PACKETS = 50;

type Case = {
  readonly name: string;
  readonly participants: number;
  readonly rooms: number;
  /** In each room. */
  readonly talking: number;
  readonly codecs: readonly CodecName[];
  readonly opus?: Partial<OpusSettings>;
};

const VOIP = { application: 'voip', bitrate: 24000 } as const;

const CASES: readonly Case[] = [
  { name: 'G.711, all talking', participants: 100, rooms: 1, talking: 100, codecs: ['PCMU'] },
  { name: 'G.711, all talking', participants: 1000, rooms: 1, talking: 1000, codecs: ['PCMU'] },
  { name: 'G.711, 3 talking', participants: 1000, rooms: 1, talking: 3, codecs: ['PCMU'] },
  { name: 'G.711, 3 talking', participants: 5000, rooms: 1, talking: 3, codecs: ['PCMU'] },
  { name: 'G.711, 3 talking', participants: 5000, rooms: 100, talking: 3, codecs: ['PCMU'] },
  { name: 'Opus, all talking', participants: 50, rooms: 1, talking: 50, codecs: ['opus'] },
  { name: 'Opus, 3 talking', participants: 1000, rooms: 1, talking: 3, codecs: ['opus'] },
  { name: 'Opus, 3 talking', participants: 5000, rooms: 1, talking: 3, codecs: ['opus'] },
  { name: 'Opus, 3 talking', participants: 500, rooms: 10, talking: 3, codecs: ['opus'] },
  {
    name: 'Opus SILK, 3 talking',
    participants: 500,
    rooms: 10,
    talking: 3,
    codecs: ['opus'],
    opus: VOIP,
  },
  { name: 'Opus, 1 talking', participants: 500, rooms: 10, talking: 1, codecs: ['opus'] },
  {
    name: 'half and half, 3 talking',
    participants: 5000,
    rooms: 1,
    talking: 3,
    codecs: ['PCMU', 'opus'],
  },
  { name: 'idle, Opus', participants: 1000, rooms: 1, talking: 0, codecs: ['opus'] },
  { name: 'idle, G.711', participants: 1000, rooms: 1, talking: 0, codecs: ['PCMU'] },
];

type Source = {
  readonly participant: Participant;
  readonly payloads: readonly Uint8Array[];
  readonly units: number;
  readonly payloadType: number;
};

const cache = new Map<string, Uint8Array[]>();

/** A loop of packets: speech, or the noise of a quiet room. */
function payloadsFor(
  codec: CodecName,
  isTalking: boolean,
  opus: Partial<OpusSettings>,
): Uint8Array[] {
  const key = JSON.stringify([codec, isTalking, opus]);
  const known = cache.get(key);
  if (known !== undefined) return known;
  const { sampleRateHz } = AUDIO_CODECS[codec];
  const random = seededRandom(1);
  const pcm = isTalking
    ? pcmOf(syntheticSpeech('bruno', 3), sampleRateHz)
    : Int16Array.from({ length: sampleRateHz * 3 }, () => Math.round(20 * (random() - 0.5)));
  const encoder = AUDIO_CODECS[codec].createEncoder(opus);
  const frame = sampleRateHz / 50;
  // The first packets of an encoder are larger than all others, which would look like somebody's first word.
  const payloads = Array.from({ length: WARM_PACKETS + LOOP }, (_, index) =>
    Uint8Array.from(encoder.encode(pcm.subarray(index * frame, (index + 1) * frame))),
  ).slice(WARM_PACKETS);
  cache.set(key, payloads);
  return payloads;
}

class Bench {
  readonly #mixer: Mixer;
  readonly #sources: Source[] = [];
  readonly #header = new RtpHeader();
  readonly #packet = Buffer.alloc(1500);
  #nowMs = 0;
  #wake: (() => void) | undefined;
  #tick = 0;
  ingestMs = 0;
  sent = 0;

  constructor(test: Case) {
    this.#mixer = new Mixer({
      now: () => this.#nowMs,
      sleep: {
        after: (_delayMs, callback) => {
          this.#wake = callback;
          return () => {
            this.#wake = undefined;
          };
        },
      },
      listener: { onTalkers: () => undefined, onDigit: () => undefined },
    });
    const send = (): void => {
      this.sent += 1;
    };
    for (let index = 0; index < test.participants; index++) {
      const room = String(index % test.rooms);
      const isTalking = Math.floor(index / test.rooms) < test.talking;
      const codec = test.codecs[Math.floor(index / test.rooms) % test.codecs.length] ?? 'PCMU';
      const media = mediaOf(codec);
      const port = { callId: String(index), fromTag: 'tag', send };
      this.#sources.push({
        participant: this.#mixer.join(room, port, media),
        payloads: payloadsFor(codec, isTalking, codec === 'opus' ? (test.opus ?? {}) : {}),
        units: (media.clockRateHz * TICK_MS) / 1000,
        payloadType: media.receivePayloadType,
      });
    }
  }

  /** One packet from everybody, and one tick of every room. */
  step(): void {
    const startMs = performance.now();
    const header = this.#header;
    const packet = this.#packet;
    for (const [index, source] of this.#sources.entries()) {
      const payload = source.payloads[(this.#tick + index * 7) % LOOP] ?? new Uint8Array(0);
      header.payloadType = source.payloadType;
      header.sequenceNumber = this.#tick & 0xffff;
      header.rtpTimestamp = (this.#tick * source.units) >>> 0;
      header.ssrc = index;
      header.write(packet);
      packet.set(payload, RTP_HEADER_BYTES);
      source.participant.onRtp(packet.subarray(0, RTP_HEADER_BYTES + payload.length), this.#nowMs);
    }
    this.ingestMs += performance.now() - startMs;
    this.#tick += 1;
    const endMs = this.#tick * TICK_MS;
    while (this.#nowMs < endMs) {
      this.#nowMs += 2;
      this.#wake?.();
    }
  }

  close(): void {
    this.#mixer.close();
  }
}

type Cost = { readonly totalUs: number; readonly ingestUs: number; readonly sentShare: number };

/** The cheapest of some repeats: the machine does other things too. */
function measure(test: Case): Cost {
  const bench = new Bench(test);
  for (let tick = 0; tick < WARM_UP_TICKS; tick++) bench.step();
  let best: Cost | undefined;
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    bench.ingestMs = 0;
    bench.sent = 0;
    const before = process.cpuUsage();
    for (let tick = 0; tick < TICKS; tick++) bench.step();
    const { user, system } = process.cpuUsage(before);
    const cost = {
      totalUs: (user + system) / TICKS,
      ingestUs: (bench.ingestMs * 1000) / TICKS,
      sentShare: bench.sent / TICKS / test.participants,
    };
    if (best === undefined || cost.totalUs < best.totalUs) best = cost;
  }
  bench.close();
  return best ?? { totalUs: 0, ingestUs: 0, sentShare: 0 };
}

function line(cells: readonly string[]): string {
  const widths = [26, 14, 12, 12, 12, 12, 10];
  return cells.map((cell, index) => cell.padEnd(widths[index] ?? 10)).join(' ');
}

const wanted = process.argv[2]?.toLowerCase() ?? '';
const titles = [
  'case',
  'people/rooms',
  'us per tick',
  'us each',
  'ingest us',
  'us per room',
  '% of core',
];
process.stdout.write(`${line(titles)}\n`);
for (const test of CASES) {
  if (!test.name.toLowerCase().includes(wanted)) continue;
  const { totalUs, ingestUs, sentShare } = measure(test);
  if (Math.abs(sentShare - 1) > 0.01)
    throw new Error(`${test.name}: sent ${sentShare} of all packets`);
  const cells = [
    test.name,
    `${test.participants}/${test.rooms}`,
    totalUs.toFixed(0),
    (totalUs / test.participants).toFixed(2),
    ingestUs.toFixed(0),
    (totalUs / test.rooms).toFixed(0),
    ((100 * totalUs) / (TICK_MS * 1000)).toFixed(1),
  ];
  process.stdout.write(`${line(cells)}\n`);
}
