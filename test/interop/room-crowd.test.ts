/** Fifty people in one room over real sockets, three of them talking: everybody gets every packet and hears them all. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { AUDIO_CODECS } from '../../core/audio/codec.ts';
import type { Sound } from '../../core/audio/score.ts';
import { CallSwitch } from '../support/call-switch.ts';
import { RtpPeer } from '../support/rtp-peer.ts';
import type { Call } from '../support/sip-peer.ts';
import { measureAwake } from '../support/stalls.ts';

const PEOPLE = 50;
const PACKET_MS = 20;
const SECONDS = 3;
/** What each of the three says: clicks of his own pitch, one after the other. */
const PITCHES_HZ = [500, 900, 1400];
const CLICK_PACKETS = 5;
const PERIOD_PACKETS = 30;
const AMPLITUDE = 0.25;
const CLICKS = Math.floor((SECONDS * 1000) / PACKET_MS / PERIOD_PACKETS);
/** Packets that may be on their way at either end of a count, and jitter of the clock that sends them. */
const SLACK_PACKETS = 4;

type Person = { readonly rtp: RtpPeer; readonly call: Call; readonly pitchHz: number | undefined };

/** Payloads of one period of somebody's clicks, or of silence; `place` of three keeps them apart. */
function payloadsOf({ rtp, pitchHz }: Person, place: number): readonly Uint8Array[] {
  const codec = AUDIO_CODECS[rtp.codec];
  const frame = (codec.sampleRateHz * PACKET_MS) / 1000;
  const encoder = codec.createEncoder();
  const firstPacket = (place * PERIOD_PACKETS) / PITCHES_HZ.length;
  try {
    return Array.from({ length: PERIOD_PACKETS }, (_, packet) => {
      const isClick = packet >= firstPacket && packet < firstPacket + CLICK_PACKETS;
      const amplitude = pitchHz === undefined || !isClick ? 0 : AMPLITUDE * 32_767;
      const samples = Int16Array.from({ length: frame }, (__, index) => {
        const seconds = (packet * frame + index) / codec.sampleRateHz;
        return amplitude * Math.sin(2 * Math.PI * (pitchHz ?? 0) * seconds);
      });
      return Uint8Array.from(encoder.encode(samples));
    });
  } finally {
    encoder.close();
  }
}

/** How often a tone of this pitch begins. */
function clicksIn({ samples, sampleRateHz }: Sound, pitchHz: number): number {
  const window = (sampleRateHz * PACKET_MS) / 1000;
  const step = (2 * Math.PI * pitchHz) / sampleRateHz;
  let clicks = 0;
  let silentWindows = CLICK_PACKETS;
  for (let start = 0; start + window <= samples.length; start += window) {
    let real = 0;
    let imaginary = 0;
    for (let index = 0; index < window; index++) {
      const sample = samples[start + index] ?? 0;
      real += sample * Math.cos(step * index);
      imaginary += sample * Math.sin(step * index);
    }
    const amplitude = (2 * Math.hypot(real, imaginary)) / window;
    if (amplitude < AMPLITUDE / 2) silentWindows += 1;
    else {
      if (silentWindows >= CLICK_PACKETS) clicks += 1;
      silentWindows = 0;
    }
  }
  return clicks;
}

describe('a room with fifty people', function () {
  this.timeout(60_000);
  let running: CallSwitch;
  let people: Person[] = [];

  before(async () => {
    running = await CallSwitch.start({});
    people = await Promise.all(
      Array.from({ length: PEOPLE }, async (_, index) => {
        const user = `person${index}`;
        const password = await running.account(user);
        const sip = await running.stranger(user, { password });
        const rtp = await RtpPeer.open({ codec: index % 2 === 0 ? 'PCMU' : 'opus' });
        const call = await sip.invite('sip:lobby@parley.test', { sdp: rtp.sdp() });
        await call.answered();
        rtp.setRemote(call.remoteSdp);
        return { rtp, call, pitchHz: PITCHES_HZ[index] };
      }),
    );
  });

  after(async () => {
    await Promise.all(people.map(({ call }) => call.bye()));
    for (const { rtp } of people) rtp.close();
    await running.clear();
    await running.stop();
  });

  /** Everybody sends a packet every 20 ms until `isOver`. */
  const talk = async (isOver: () => boolean): Promise<void> => {
    const payloads = people.map(payloadsOf);
    const startedMs = performance.now();
    for (let packet = 0; !isOver(); packet++) {
      for (const [index, { rtp }] of people.entries()) {
        const payload = payloads[index]?.[packet % PERIOD_PACKETS];
        assert.ok(payload);
        rtp.send(payload);
      }
      await sleep(Math.max(0, startedMs + (packet + 1) * PACKET_MS - performance.now()));
    }
  };

  const assertWhole = ({ rtp }: Person, elapsedMs: number): void => {
    const due = elapsedMs / PACKET_MS;
    const came = rtp.received.length;
    assert.ok(
      Math.abs(came - due) <= SLACK_PACKETS,
      `${came} packets instead of ${due.toFixed(1)}`,
    );
    const [first] = rtp.received;
    for (const [index, { sequenceNumber }] of rtp.received.entries()) {
      assert.equal(
        sequenceNumber,
        ((first?.sequenceNumber ?? 0) + index) & 0xffff,
        'one is missing',
      );
    }
    assert.equal(rtp.sources.size, 1);
    assert.equal(rtp.malformed, 0);
  };

  const assertHears = async (listener: Person): Promise<void> => {
    const sound = await listener.rtp.heard();
    for (const pitchHz of PITCHES_HZ) {
      const clicks = clicksIn(sound, pitchHz);
      const who = `${listener.rtp.codec} ${listener.pitchHz ?? 'listener'} hears ${pitchHz} Hz`;
      if (pitchHz === listener.pitchHz) assert.equal(clicks, 0, who);
      // The count began somewhere in a period: one click may be cut at each end.
      else assert.ok(Math.abs(clicks - CLICKS) <= 1, `${who} ${clicks} times, not ${CLICKS}`);
    }
  };

  it('each gets fifty packets a second, and hears everybody who talks, but not himself', async () => {
    await measureAwake([], async () => {
      let isOver = false;
      const talking = talk(() => isOver);
      try {
        // Until every path is learned, and every jitter buffer has its depth.
        await sleep(PERIOD_PACKETS * PACKET_MS);
        for (const { rtp } of people) rtp.received.length = 0;
        const startedMs = performance.now();
        await sleep(SECONDS * 1000);
        const elapsedMs = performance.now() - startedMs;
        for (const person of people) assertWhole(person, elapsedMs);
      } finally {
        isOver = true;
        await talking;
      }
      for (const person of people) await assertHears(person);
    });
  });
});
