import assert from 'node:assert/strict';
import { ResourceError } from '../../../../core/errors.ts';
import { AUDIO_CODECS, type CodecName } from '../../../../core/audio/codec.ts';
import { levelDbov } from '../../../../core/audio/level.ts';
import {
  describeScore,
  isAbsent,
  judge,
  scoreSound,
  type SoundScore,
} from '../../../../core/audio/score.ts';
import { parseTelephoneEvent } from '../../../../core/rtp/telephone-event.ts';
import { seededRandom } from '../../../support/random.ts';
import { VOICES, syntheticSpeech, type Voice } from '../../../support/speech.ts';
import { delayTrace } from '../../../support/arrival-traces.ts';
import {
  VirtualRooms,
  mediaOf,
  pcmOf,
  type Member,
  type MemberOptions,
} from '../../../support/virtual-room.ts';

const RATE: Readonly<Record<CodecName, number>> = { PCMU: 8000, PCMA: 8000, opus: 48000 };
const SECONDS = 3;
const spoken = new Map(VOICES.map((voice) => [voice, syntheticSpeech(voice, SECONDS)]));

function says(voice: Voice, codec: CodecName): Int16Array {
  const sound = spoken.get(voice);
  assert.ok(sound);
  return pcmOf(sound, RATE[codec]);
}

function assertHeard(member: Member, voice: Voice, least = 0.9): void {
  const reference = spoken.get(voice);
  assert.ok(reference);
  const score = scoreSound(reference, member.heardSound());
  assert.ok(score.ncc >= least, `${member.callId} hears ${voice}: ${describeScore(score)}`);
}

function assertNotHeard(member: Member, voice: Voice): void {
  const reference = spoken.get(voice);
  assert.ok(reference);
  const score = scoreSound(reference, member.heardSound());
  assert.ok(isAbsent(score), `${member.callId} hears ${voice}: ${describeScore(score)}`);
}

/** As one of several voices; so short a piece tells nothing of clocks. */
function assertInMix(score: SoundScore): void {
  const failures = judge(score, 'mix').failures.filter((failure) => failure !== 'skewPpm');
  assert.deepEqual(failures, [], describeScore(score));
}

function tone(hz: number, milliseconds: number, rate: number, amplitude = 8000): Int16Array {
  return Int16Array.from({ length: (milliseconds * rate) / 1000 }, (_, index) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hz * index) / rate)),
  );
}

/** Level of each packet that a member got, in the order of arrival. */
function levels(
  member: Member,
  codec: CodecName,
): { readonly atMs: number; readonly dbov: number }[] {
  const decoder = AUDIO_CODECS[codec].createDecoder();
  const out = new Int16Array(5760);
  return member.received.map(({ payload, atMs }) => ({
    atMs,
    dbov: levelDbov(out, decoder.decode(payload, out)),
  }));
}

function assertUnbroken(member: Member, clockRateHz: number): void {
  const units = clockRateHz / 50;
  const [first, ...rest] = member.received;
  assert.ok(first);
  assert.equal(first.marker, true);
  let previous = first;
  for (const packet of rest) {
    assert.equal(packet.ssrc, first.ssrc);
    assert.equal(packet.sequenceNumber, (previous.sequenceNumber + 1) & 0xffff);
    assert.equal(packet.rtpTimestamp, (previous.rtpTimestamp + units) >>> 0);
    assert.equal(packet.marker, false);
    previous = packet;
  }
}

/** Signal to noise of `heard` against `ideal` at the best shift of up to `reach` samples. */
function bestSnr(ideal: Float64Array, heard: Int16Array, reach: number): number {
  let best = -Infinity;
  for (let shift = 0; shift < reach; shift++) {
    let signal = 0;
    let noise = 0;
    for (let index = 0; index < ideal.length; index++) {
      const wanted = ideal[index] ?? 0;
      signal += wanted * wanted;
      noise += (wanted - (heard[index + shift] ?? 0)) ** 2;
    }
    best = Math.max(best, 10 * Math.log10(signal / Math.max(1, noise)));
  }
  return best;
}

describe('a room', () => {
  it('lets PCMU, PCMA and two Opus members hear each other, and nobody himself', () => {
    const rooms = new VirtualRooms();
    const codecs = ['PCMU', 'PCMA', 'opus', 'opus'] as const;
    const voices = VOICES.slice(0, 4);
    const members = voices.map((voice, index) => {
      const codec = codecs[index] ?? 'PCMU';
      const saysAtMs = 500 + index * (SECONDS * 1000 + 700);
      return rooms.join(voice, { codec, says: says(voice, codec), saysAtMs, phaseMs: 4.7 * index });
    });
    rooms.run(4 * (SECONDS * 1000 + 700) + 800);
    for (const member of members) {
      for (const voice of voices) {
        if (voice === member.callId) assertNotHeard(member, voice);
        else assertHeard(member, voice);
      }
    }
  });

  it('mixes three who talk at once, each without himself', () => {
    const rooms = new VirtualRooms();
    const codecs = ['PCMU', 'PCMA', 'opus'] as const;
    const voices = VOICES.slice(0, 3);
    const talkers = voices.map((voice, index) => {
      const codec = codecs[index] ?? 'PCMU';
      return rooms.join(voice, { codec, says: says(voice, codec), saysAtMs: 200 });
    });
    const listener = rooms.join('listener', { codec: 'PCMU' });
    rooms.run(SECONDS * 1000 + 800);
    for (const member of [...talkers, listener]) {
      for (const voice of voices) {
        const reference = spoken.get(voice);
        assert.ok(reference);
        const score = scoreSound(reference, member.heardSound());
        if (voice === member.callId) assert.ok(isAbsent(score), describeScore(score));
        else assertInMix(score);
      }
    }
  });

  it('is exact to 35 dB with three talkers in G.711', () => {
    const rooms = new VirtualRooms();
    const voices = VOICES.slice(0, 3);
    const pcm = voices.map((voice) => says(voice, 'PCMU'));
    for (const [index, voice] of voices.entries()) {
      const quiet = (pcm[index] ?? new Int16Array(0)).map((sample) => sample >> 1);
      rooms.join(voice, { codec: 'PCMU', says: quiet, saysAtMs: 200 });
    }
    const listener = rooms.join('listener', { codec: 'PCMU' });
    rooms.run(SECONDS * 1000 + 800);
    // All three talk from 300 ms on; what their codecs did to them belongs to the ideal.
    const from = 8000;
    const length = 8000;
    const ideal = new Float64Array(length);
    for (const voice of pcm) {
      const codec = AUDIO_CODECS.PCMU;
      const coded = new Int16Array(voice.length);
      const encoded = codec.createEncoder().encode(voice.map((sample) => sample >> 1));
      codec.createDecoder().decode(encoded, coded);
      for (let index = 0; index < length; index++) {
        ideal[index] = (ideal[index] ?? 0) + (coded[from + index] ?? 0);
      }
    }
    const heard = listener.heard();
    const snr = bestSnr(ideal, heard.subarray(from), 4000);
    assert.ok(snr >= 35, `${snr.toFixed(1)} dB`);
  });

  it('gives back nothing of a voice to its owner, even when the others are far too loud', () => {
    const rooms = new VirtualRooms();
    const mine = tone(1000, 3000, 8000, 6000);
    const me = rooms.join('me', { codec: 'PCMU', says: mine });
    for (const [index, hz] of [310, 470].entries()) {
      rooms.join(`loud${index}`, { codec: 'PCMU', says: tone(hz, 3000, 8000, 32000) });
    }
    rooms.run(3000);
    const heard = me.heard(2000, 2800);
    let cosine = 0;
    let sine = 0;
    for (const [index, sample] of heard.entries()) {
      cosine += sample * Math.cos((2 * Math.PI * 1000 * index) / 8000);
      sine += sample * Math.sin((2 * Math.PI * 1000 * index) / 8000);
    }
    const leak = (2 * Math.hypot(cosine, sine)) / heard.length;
    assert.ok(20 * Math.log10(leak / 6000) <= -40, `${20 * Math.log10(leak / 6000)} dB`);
  });

  it('keeps six loud talkers under -0.1 dBFS, and leaves one alone as he is', () => {
    const rooms = new VirtualRooms({ talkers: 6 });
    const listener = rooms.join('listener', { codec: 'PCMA' });
    for (let index = 0; index < 6; index++) {
      const hz = 300 + 171 * index;
      rooms.join(`talker${index}`, { codec: 'PCMA', says: tone(hz, 1500, 8000, 16384) });
    }
    rooms.run(1400);
    const peak = listener.heard().reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    assert.ok(peak <= 32768 * 10 ** (-0.1 / 20) && peak > 20000, String(peak));

    const quiet = new VirtualRooms();
    const alone = quiet.join('listener', { codec: 'PCMA' });
    quiet.join('talker', { codec: 'PCMA', says: tone(1000, 1500, 8000, 30000) });
    quiet.run(1400);
    const level = levelDbov(alone.heard(1500, 2300));
    const expected = 20 * Math.log10(30000 / 32768 / Math.SQRT2);
    assert.ok(Math.abs(level - expected) < 0.1, `${level} dBov, not ${expected}`);
  });

  const ONSETS: readonly (readonly [string, MemberOptions])[] = [
    ['PCMU', { codec: 'PCMU' }],
    ['PCMA', { codec: 'PCMA' }],
    ['Opus as SILK', { codec: 'opus', opus: { application: 'voip', bitrate: 24000 } }],
    ['Opus as CELT', { codec: 'opus', opus: { application: 'audio', bitrate: 32000 } }],
  ];
  for (const [name, options] of ONSETS) {
    it(`passes the first word on within 40 ms of its arrival: ${name}`, () => {
      for (const phaseMs of [1, 8, 15]) {
        const rooms = new VirtualRooms();
        const listener = rooms.join('listener', { codec: 'PCMU' });
        const rate = RATE[options.codec];
        // A quiet room, and a word that begins with a packet.
        const random = seededRandom(3);
        const says = Int16Array.from({ length: rate * 3 }, () => Math.round(12 * (random() - 0.5)));
        says.set(tone(440, 400, rate), 2 * rate);
        const startMs = rooms.nowMs;
        rooms.join('talker', { ...options, says, phaseMs });
        rooms.run(2600);
        const arrivedMs = startMs + phaseMs + 2020;
        const onset = levels(listener, 'PCMU').find(
          ({ atMs, dbov }) => atMs > startMs + 1000 && dbov > -40,
        );
        assert.ok(onset, 'never heard');
        const delayMs = onset.atMs - arrivedMs;
        assert.ok(delayMs >= 0 && delayMs <= 40, `phase ${phaseMs}: ${delayMs} ms`);
      }
    });
  }

  it('adds at most 20 ms at the median and 30 ms at the most without jitter', () => {
    const delays: number[] = [];
    for (let phaseMs = 0.5; phaseMs < 20; phaseMs += 1.5) {
      const rooms = new VirtualRooms();
      const listener = rooms.join('listener', { codec: 'PCMU' });
      const click = new Int16Array(8000 * 3);
      click.fill(8000, 16000, 16100);
      const startMs = rooms.nowMs;
      rooms.join('talker', { codec: 'PCMU', says: click, phaseMs });
      rooms.run(2400);
      const onset = levels(listener, 'PCMU').find(({ dbov }) => dbov > -30);
      delays.push((onset?.atMs ?? Infinity) - (startMs + phaseMs + 2020));
    }
    delays.sort((a, b) => a - b);
    const median = delays[delays.length >> 1] ?? Infinity;
    assert.ok(median <= 20 && (delays.at(-1) ?? Infinity) <= 30, delays.join(' '));
  });

  it('lets everybody hear the three of twenty who talk', () => {
    const rooms = new VirtualRooms();
    const voices = VOICES.slice(0, 3);
    const codecs: readonly CodecName[] = ['PCMU', 'opus', 'PCMA'];
    const members = Array.from({ length: 20 }, (_, index) => {
      const codec = codecs[index % 3] ?? 'PCMU';
      const voice = voices[index];
      const options = { codec, phaseMs: index, delayMs: delayTrace('lan', index + 1) };
      return voice === undefined
        ? rooms.join(`quiet${index}`, { ...options, says: new Int16Array(0) })
        : rooms.join(voice, { ...options, says: says(voice, codec), saysAtMs: 300 });
    });
    rooms.run(SECONDS * 1000 + 800);
    for (const member of members.slice(3, 6)) {
      for (const voice of voices) {
        const reference = spoken.get(voice);
        assert.ok(reference);
        const score = scoreSound(reference, member.heardSound());
        assertInMix(score);
      }
    }
    for (const member of members) {
      const expected = (SECONDS * 1000 + 800) / 20;
      assert.ok(Math.abs(member.received.length - expected) <= 1, String(member.received.length));
    }
  });

  it('hears the louder of those who compete for a place, and who was there first when they are alike', () => {
    const rooms = new VirtualRooms({ talkers: 1 });
    const first = rooms.join('first', { codec: 'PCMU', says: tone(513, 4000, 8000, 4000) });
    const alike = rooms.join('alike', {
      codec: 'PCMU',
      says: tone(707, 4000, 8000, 4000),
      saysAtMs: 500,
    });
    const loud = rooms.join('loud', {
      codec: 'PCMU',
      says: tone(900, 2000, 8000, 16000),
      saysAtMs: 2000,
    });
    rooms.run(1500);
    assert.deepEqual(talking(first, alike, loud), [true, false, false]);
    rooms.run(1000);
    assert.deepEqual(talking(first, alike, loud), [false, false, true]);
  });

  it('goes on while members come and go', () => {
    const rooms = new VirtualRooms();
    const anna = rooms.join('anna', { codec: 'PCMU', says: says('anna', 'PCMU'), saysAtMs: 3500 });
    const bruno = rooms.join('bruno', { codec: 'opus', says: says('bruno', 'opus') });
    rooms.run(500);
    const clara = rooms.join('clara', { codec: 'opus' });
    rooms.run(2600);
    bruno.leave();
    rooms.run(3900);
    assertHeard(anna, 'bruno');
    assertHeard(clara, 'anna');
    assert.ok(clara.heard(2600, 3000).some((sample) => Math.abs(sample) > 1000));
    const after = bruno.received.length;
    rooms.run(100);
    assert.equal(bruno.received.length, after);
    anna.leave();
    clara.leave();
    clara.leave();
    assert.equal(rooms.mixer.roomCount, 0);
    rooms.run(60);
    assert.equal(rooms.isIdle, true);
  });

  it('does not notice that a member changes SSRC or restarts his clock', () => {
    const rooms = new VirtualRooms();
    const listener = rooms.join('listener', { codec: 'PCMU' });
    const anna = rooms.join('anna', { codec: 'PCMU', says: says('anna', 'PCMU'), saysAtMs: 100 });
    rooms.run(1200);
    anna.ssrc = 12345;
    anna.timestampOffset = 99_999_999;
    rooms.run(1000);
    anna.timestampOffset = 500_000;
    rooms.run(1400);
    assertHeard(listener, 'anna');
    assertUnbroken(listener, 8000);
  });

  it('does not let delay grow over 10 minutes of clocks 100 ppm apart', () => {
    for (const driftPpm of [100, -100]) {
      const rooms = new VirtualRooms();
      const listener = rooms.join('listener', { codec: 'PCMU' });
      const seconds = 600;
      const clicks = new Int16Array(8000 * seconds);
      for (let second = 5; second < seconds; second += 5) {
        clicks.fill(8000, second * 8000, second * 8000 + 100);
      }
      const startMs = rooms.nowMs;
      rooms.join('talker', { codec: 'PCMU', says: clicks, phaseMs: 7, driftPpm });
      rooms.run(seconds * 1000);
      const heard = levels(listener, 'PCMU').filter(({ dbov }) => dbov > -30);
      const delays = heard.map(({ atMs }) => {
        const second = 5 * Math.round((atMs - startMs - 30) / 5000);
        const arrivedMs = startMs + 7 + (second * 1000 + 20) * (1 + driftPpm / 1e6);
        return atMs - arrivedMs;
      });
      assert.equal(delays.length, seconds / 5 - 1);
      assert.ok(Math.max(...delays) <= 30 && Math.min(...delays) >= 0, delays.join(' '));
    }
  }).timeout(60_000);

  it('inserts nothing into a steady tone of a minute', () => {
    const rooms = new VirtualRooms();
    const listener = rooms.join('listener', { codec: 'PCMU' });
    rooms.join('talker', {
      codec: 'PCMU',
      says: tone(1000, 61_000, 8000),
      phaseMs: 6,
      delayMs: delayTrace('lan'),
    });
    rooms.run(60_500);
    const heard = listener.heard(2000, 61_000);
    // A single sample too many or too few would turn the phase for all that follows.
    let cosine = 0;
    let sine = 0;
    let power = 0;
    for (const [index, sample] of heard.entries()) {
      cosine += sample * Math.cos((2 * Math.PI * 1000 * index) / 8000);
      sine += sample * Math.sin((2 * Math.PI * 1000 * index) / 8000);
      power += sample * sample;
    }
    const coherent = (2 * (cosine ** 2 + sine ** 2)) / heard.length / power;
    assert.ok(coherent > 0.999, String(coherent));
  });

  it('conceals what is lost', () => {
    const rooms = new VirtualRooms();
    const random = seededRandom(9);
    const listener = rooms.join('listener', { codec: 'PCMU' });
    const anna = rooms.join('anna', {
      codec: 'PCMU',
      says: says('anna', 'PCMU'),
      saysAtMs: 100,
      isLost: () => random() < 0.05,
    });
    rooms.run(SECONDS * 1000 + 500);
    assertHeard(listener, 'anna');
    assert.ok(anna.participant.statistics().lostPackets >= 3);
  });
});

function talking(...members: readonly Member[]): boolean[] {
  return members.map((member) => member.participant.statistics().isTalking);
}

describe('what a room sends to a member', () => {
  it('is one unbroken stream, whoever talks', () => {
    const rooms = new VirtualRooms();
    const members = (['PCMU', 'opus'] as const).map((codec, index) =>
      rooms.join(`m${index}`, {
        codec,
        says: says(VOICES[index] ?? 'anna', codec),
        saysAtMs: 300 + 1500 * index,
      }),
    );
    rooms.run(6000);
    for (const [index, member] of members.entries()) {
      assert.equal(member.received.length, 300);
      assertUnbroken(member, index === 0 ? 8000 : 48000);
    }
  });

  it('comes every 20 ms when nobody talks, and costs no encoding', () => {
    const rooms = new VirtualRooms();
    const narrow = rooms.join('narrow', { codec: 'PCMA' });
    const wide = rooms.join('wide', { codec: 'opus' });
    rooms.run(10_000);
    assert.equal(narrow.received.length, 500);
    assert.equal(wide.received.length, 500);
    assert.ok(wide.received.every(({ payload }) => payload.length <= 3));
    const noise = levelDbov(narrow.heard());
    assert.ok(noise < -60 && noise > -70, String(noise));
  });

  it('stops on hold and goes on with the right time and a marker', () => {
    const rooms = new VirtualRooms();
    const member = rooms.join('m', { codec: 'PCMU' });
    rooms.run(1000);
    member.participant.update(mediaOf('PCMU', { canHear: false }));
    rooms.run(1000);
    const before = member.received.at(-1);
    assert.equal(member.received.length, 50);
    member.participant.update(mediaOf('PCMU'));
    rooms.run(1000);
    const after = member.received[50];
    assert.ok(before && after);
    assert.equal(member.received.length, 100);
    assert.equal(after.marker, true);
    assert.equal(after.ssrc, before.ssrc);
    assert.equal(after.sequenceNumber, (before.sequenceNumber + 1) & 0xffff);
    assert.equal((after.rtpTimestamp - before.rtpTimestamp) >>> 0, 51 * 160);
  });

  it('has the packet time that the member asks for', () => {
    for (const [codec, ptimeMs, unit] of [
      ['PCMU', 10, 80],
      ['PCMU', 30, 240],
      ['PCMA', 60, 480],
      ['opus', 40, 1920],
      ['opus', 60, 2880],
      ['opus', 10, 960],
    ] as const) {
      const rooms = new VirtualRooms();
      const member = rooms.join('m', { codec, media: { ptimeMs } });
      rooms.join('anna', { codec: 'PCMU', says: says('anna', 'PCMU'), saysAtMs: 100 });
      rooms.run(3300);
      const [first, second] = member.received.slice(20);
      assert.ok(first && second);
      assert.equal((second.rtpTimestamp - first.rtpTimestamp) >>> 0, unit, `${codec} ${ptimeMs}`);
      const { durationOf } = AUDIO_CODECS[codec];
      assert.equal(durationOf(first.payload, 0, first.payload.length), unit);
      assertHeard(member, 'anna');
    }
  });

  it('follows a change of codec in the middle of a call', () => {
    const rooms = new VirtualRooms();
    const listener = rooms.join('listener', { codec: 'opus' });
    rooms.join('anna', { codec: 'PCMU', says: says('anna', 'PCMU'), saysAtMs: 3500 });
    rooms.run(1000);
    listener.participant.update(mediaOf('PCMA'));
    rooms.run(1000);
    const [before, after] = [listener.received[49], listener.received[50]];
    assert.ok(before && after);
    assert.deepEqual([before.payloadType, after.payloadType, after.marker], [96, 8, true]);
    assert.equal(after.ssrc, before.ssrc);
    assert.equal(after.payload.length, 160);
  });
});

describe('a member who may not be heard', () => {
  it('is silent for the others while muted, and heard again at once after that', () => {
    const rooms = new VirtualRooms();
    const listener = rooms.join('listener', { codec: 'PCMU' });
    const talker = rooms.join('talker', { codec: 'PCMU', says: tone(700, 6000, 8000) });
    rooms.run(1000);
    talker.participant.setMuted(true);
    rooms.run(1000);
    talker.participant.setMuted(false);
    rooms.run(1000);
    const heard = levels(listener, 'PCMU');
    const between = (from: number, to: number): number[] =>
      heard.filter(({ atMs }) => atMs >= from && atMs < to).map(({ dbov }) => dbov);
    assert.ok(between(1200, 2000).every((level) => level > -20));
    assert.ok(between(2100, 3000).every((level) => level < -60));
    assert.ok(between(3080, 4000).every((level) => level > -20));
    assert.equal(talker.participant.statistics().isMuted, false);
  });

  it('is not mixed on hold, even if packets come', () => {
    const rooms = new VirtualRooms();
    const listener = rooms.join('listener', { codec: 'PCMU' });
    rooms.join('held', {
      codec: 'PCMU',
      says: tone(700, 3000, 8000),
      media: { canTalk: false, canHear: false },
    });
    rooms.run(2000);
    assert.ok(levels(listener, 'PCMU').every(({ dbov }) => dbov < -60));
  });
});

describe('telephone-events in a room', () => {
  const telephoneEvent = (clockRateHz: number): MemberOptions['media'] => ({
    telephoneEvent: { sendPayloadType: 101, receivePayloadType: 101, clockRateHz },
  });

  /** Presses a key for 100 ms, in place of sound, as phones do. */
  function press(rooms: VirtualRooms, member: Member, event: number): void {
    member.setSending(false);
    let rtpTimestamp: number | undefined;
    for (let packet = 1; packet <= 7; packet++) {
      const flags = packet >= 5 ? 0x8a : 0x0a;
      const duration = Math.min(packet, 5) * 160;
      const payload = Uint8Array.of(event, flags, duration >> 8, duration & 0xff);
      const numbers = member.takeNumbers();
      rtpTimestamp ??= numbers.rtpTimestamp;
      const { sequenceNumber } = numbers;
      const marker = packet === 1;
      const { ssrc } = member;
      member.sendRaw({ payloadType: 101, marker, sequenceNumber, rtpTimestamp, ssrc, payload });
      rooms.run(20);
    }
    member.setSending(true);
  }

  it('are passed on to those who negotiated them, are told once, and are not mixed', () => {
    const rooms = new VirtualRooms();
    const sender = rooms.join('sender', {
      codec: 'PCMU',
      says: new Int16Array(0),
      media: telephoneEvent(8000) ?? {},
    });
    const narrow = rooms.join('narrow', { codec: 'PCMA', media: telephoneEvent(8000) ?? {} });
    const wide = rooms.join('wide', { codec: 'opus', media: telephoneEvent(48000) ?? {} });
    const deaf = rooms.join('deaf', { codec: 'PCMU' });
    rooms.run(500);
    press(rooms, sender, 5);
    rooms.run(100);
    press(rooms, sender, 11);
    rooms.run(600);

    assert.deepEqual(
      rooms.told
        .filter(({ kind }) => kind === 'digit')
        .map((told) => 'digit' in told && told.digit),
      ['5', '#'],
    );
    for (const [member, clockRateHz] of [
      [narrow, 8000],
      [wide, 48000],
    ] as const) {
      const events = member.received.filter(({ payloadType }) => payloadType === 101);
      const starts = new Map<number, typeof events>();
      for (const packet of events) {
        starts.set(packet.rtpTimestamp, [...(starts.get(packet.rtpTimestamp) ?? []), packet]);
      }
      assert.equal(starts.size, 2);
      for (const packets of starts.values()) {
        const parsed = packets.map(({ payload }) => parseTelephoneEvent(payload));
        assert.deepEqual(
          packets.map(({ marker }) => marker),
          packets.map((_, index) => index === 0),
        );
        assert.equal(parsed.filter((event) => event?.isEnd).length, 3);
        assert.equal(parsed.at(-1)?.duration, clockRateHz / 10);
      }
      assert.deepEqual(
        [...starts.values()].map(([first]) => first?.payload[0]),
        [5, 11],
      );
      // Sequence numbers run on through sound and events alike.
      for (const [index, packet] of member.received.entries()) {
        const previous = member.received[index - 1];
        if (previous === undefined) continue;
        assert.equal(packet.sequenceNumber, (previous.sequenceNumber + 1) & 0xffff);
      }
    }
    for (const member of [sender, deaf]) {
      assert.ok(member.received.every(({ payloadType }) => payloadType !== 101));
    }
    assert.ok(levels(deaf, 'PCMU').every(({ dbov }) => dbov < -60));
    assert.equal(sender.participant.statistics().lostPackets, 0);
  });

  it('end even when the packets that end them are lost, or their sender leaves', () => {
    const rooms = new VirtualRooms();
    const sender = rooms.join('sender', {
      codec: 'PCMU',
      says: new Int16Array(0),
      media: telephoneEvent(8000) ?? {},
    });
    const other = rooms.join('other', { codec: 'PCMU', media: telephoneEvent(8000) ?? {} });
    const start = (event: number): void => {
      const numbers = sender.takeNumbers();
      const payload = Uint8Array.of(event, 0x0a, 0, 160);
      const { ssrc } = sender;
      sender.sendRaw({ ...numbers, payloadType: 101, marker: true, ssrc, payload });
    };
    rooms.run(100);
    start(1);
    rooms.run(600);
    start(2);
    rooms.run(40);
    sender.leave();
    rooms.run(600);
    const last = other.received.at(-1);
    assert.equal(last?.payloadType, 0);
    assert.deepEqual(
      rooms.told
        .filter(({ kind }) => kind === 'digit')
        .map((told) => 'digit' in told && told.digit),
      ['1'],
    );
  });
});

describe('what a room tells', () => {
  it('names the talkers at most every 300 ms, loudest first', () => {
    const rooms = new VirtualRooms();
    rooms.join('listener', { codec: 'PCMU' });
    const burst = (hz: number, amplitude: number): Int16Array => {
      const pcm = new Int16Array(8000 * 4);
      for (let at = 0; at < pcm.length; at += 1200) pcm.set(tone(hz, 60, 8000, amplitude), at);
      return pcm;
    };
    rooms.join('quiet', { codec: 'PCMU', says: burst(500, 2000) });
    rooms.join('loud', { codec: 'PCMU', says: burst(700, 16000), saysAtMs: 1000 });
    rooms.run(4000);
    const told = rooms.told.filter((event) => event.kind === 'talkers');
    for (const [index, event] of told.entries()) {
      const previous = told[index - 1];
      if (previous !== undefined) assert.ok(event.atMs - previous.atMs >= 300);
    }
    assert.deepEqual(told[0]?.callIds, ['quiet']);
    assert.deepEqual(told[1]?.callIds, ['loud', 'quiet']);
  });

  it('counts for each member', () => {
    const rooms = new VirtualRooms();
    const member = rooms.join('m', { codec: 'PCMU', says: tone(800, 3000, 8000, 16384) });
    rooms.join('n', { codec: 'PCMU' });
    rooms.run(2000);
    const statistics = member.participant.statistics();
    assert.deepEqual(
      { ...statistics, levelDbov: 0, playoutDelayMs: 0 },
      {
        codec: 'PCMU',
        isMuted: false,
        isTalking: true,
        levelDbov: 0,
        latePackets: 0,
        lostPackets: 0,
        playoutDelayMs: 0,
      },
    );
    assert.ok(Math.abs(statistics.levelDbov + 9) <= 1, String(statistics.levelDbov));
    assert.ok(statistics.playoutDelayMs <= 25);
  });

  it('refuses members over its limits', () => {
    const rooms = new VirtualRooms({ maxParticipants: 1, maxRooms: 1 });
    rooms.join('a', { codec: 'PCMU' });
    const codes = ['lobby', 'other'].map((room) => {
      try {
        rooms.join('b', { codec: 'PCMU', room });
      } catch (error) {
        assert.ok(error instanceof ResourceError);
        return error.code;
      }
      return undefined;
    });
    assert.deepEqual(codes, ['room.full', 'room.too-many']);
  });

  it('survives whatever bytes a member sends', () => {
    const rooms = new VirtualRooms();
    const random = seededRandom(13);
    const members = (['PCMU', 'opus'] as const).map((codec) =>
      rooms.join(codec, {
        codec,
        media: {
          telephoneEvent: { sendPayloadType: 101, receivePayloadType: 101, clockRateHz: 8000 },
        },
      }),
    );
    const listener = rooms.join('listener', { codec: 'opus' });
    for (let round = 0; round < 3000; round++) {
      for (const [index, member] of members.entries()) {
        const length = Math.floor(random() * (round % 10 === 0 ? 1400 : 60));
        const bytes = Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
        if (length > 1) {
          bytes[0] = random() < 0.8 ? 0x80 : 0x80 | Math.floor(random() * 64);
          bytes[1] = [index === 0 ? 0 : 96, 101, 13][Math.floor(random() * 3)] ?? 0;
        }
        member.participant.onRtp(bytes, rooms.nowMs);
      }
      if (round % 4 === 0) rooms.run(5);
    }
    rooms.run(1000);
    assert.ok(listener.received.length > 100);
    for (const member of [...members, listener]) member.leave();
    assert.equal(rooms.mixer.participantCount, 0);
  });
});
