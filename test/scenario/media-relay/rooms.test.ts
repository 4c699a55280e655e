import assert from 'node:assert/strict';
import { RefusedError } from '../../../core/errors.ts';
import { parseRtcp } from '../../../core/rtp/rtcp.ts';
import type { RtcpPacket } from '../../../core/rtp/rtcp.ts';
import { parseSessionDescription } from '../../../core/sdp/parse.ts';
import { startMediaRelay } from '../../../media-relay/public.ts';
import type { MediaRelay, RelayEvent, RoomStatistics } from '../../../media-relay/public.ts';
import { RtpPeer } from '../../support/rtp-peer.ts';
import type { RtpPeerOptions } from '../../support/rtp-peer.ts';

const ROOM = 'lobby';

/** A second of a tone at half of full scale. */
function tone(hertz: number, sampleRateHz: number, seconds = 1): Float32Array {
  return Float32Array.from(
    { length: seconds * sampleRateHz },
    (_, index) => Math.sin((2 * Math.PI * hertz * index) / sampleRateHz) / 2,
  );
}

/** How strong one frequency is on average over pieces of 50 ms, so that a shift of time in between costs nothing. */
function strength(samples: Float32Array, hertz: number, sampleRateHz: number): number {
  const size = sampleRateHz / 20;
  const pieces = Math.floor(samples.length / size);
  let total = 0;
  for (let piece = 0; piece < pieces; piece++) {
    let re = 0;
    let im = 0;
    for (let index = 0; index < size; index++) {
      const angle = (2 * Math.PI * hertz * index) / sampleRateHz;
      re += (samples[piece * size + index] ?? 0) * Math.cos(angle);
      im += (samples[piece * size + index] ?? 0) * Math.sin(angle);
    }
    total += (2 * Math.hypot(re, im)) / size;
  }
  return total / pieces;
}

describe('room participants at a relay worker', () => {
  let relay: MediaRelay;
  let peers: RtpPeer[];
  let events: RelayEvent[];

  before(async () => {
    relay = await startMediaRelay({ addresses: [{ bind: '127.0.0.1' }], rtcpIntervalMs: 500 });
    relay.onEvent((event) => {
      events.push(event);
    });
  });

  after(async () => {
    await relay.close();
  });

  beforeEach(() => {
    peers = [];
    events = [];
  });

  afterEach(async () => {
    for (const [index, peer] of peers.entries()) {
      await relay.roomLeave({ room: ROOM, ...keyOf(index) });
      peer.close();
    }
    const { rooms, participants, portsInUse } = await relay.statistics();
    assert.deepEqual(
      { rooms, participants, portsInUse },
      { rooms: 0, participants: 0, portsInUse: 0 },
    );
  });

  function keyOf(index: number): { callId: string; fromTag: string } {
    return { callId: `call-${index}`, fromTag: `tag-${index}` };
  }

  async function join(options: RtpPeerOptions = {}): Promise<RtpPeer> {
    const peer = await RtpPeer.open(options);
    const key = keyOf(peers.length);
    peers.push(peer);
    const { sdp } = await relay.roomJoin({ room: ROOM, ...key, sdp: peer.sdp() });
    peer.setRemote(sdp);
    return peer;
  }

  async function participants(): Promise<RoomStatistics['participants']> {
    return (await relay.roomQuery(ROOM))?.participants ?? [];
  }

  it('lets everybody hear the others and nobody himself, whatever the codec', async () => {
    const [alice, bob, carol] = [
      await join({ codec: 'PCMU' }),
      await join({ codec: 'opus' }),
      await join({ codec: 'PCMA' }),
    ];
    const hertz = [400, 700, 1000];
    await Promise.all([
      alice.play(tone(400, 8000, 2)),
      bob.play(tone(700, 48_000, 2)),
      carol.play(tone(1000, 8000, 2)),
    ]);
    for (const [index, peer] of [alice, bob, carol].entries()) {
      const { samples, sampleRateHz } = await peer.heard();
      // The second half: codecs have settled and everybody has been taken up.
      const settled = samples.subarray(Math.floor(samples.length / 2));
      for (const [other, frequency] of hertz.entries()) {
        const heard = strength(settled, frequency, sampleRateHz);
        if (other === index) assert.ok(heard < 0.02, `${index} hears himself: ${heard}`);
        else assert.ok(heard > 0.1, `${index} hears ${other} only at ${heard}`);
      }
    }
    const talking = await participants();
    assert.deepEqual(
      talking.map(({ codec }) => codec),
      ['PCMU', 'opus', 'PCMA'],
    );
    assert.ok(
      talking.every(
        ({ receivedPackets, sentPackets }) => receivedPackets === 100 && sentPackets > 40,
      ),
    );
    assert.ok(events.some((event) => event.kind === 'talkers' && event.callIds.length === 3));
  });

  it('offers when there is no offer, and joins with the answer', async () => {
    const peer = await RtpPeer.open({ codec: 'PCMA' });
    peers.push(peer);
    const key = { room: ROOM, ...keyOf(0) };
    const { sdp } = await relay.roomJoin({ ...key, towards: '127.0.0.1' });
    assert.deepEqual(
      parseSessionDescription(sdp).media[0]?.payloads.map(({ encoding }) => encoding),
      ['opus', 'PCMU', 'PCMA', 'telephone-event', 'telephone-event'],
    );
    assert.deepEqual(await participants(), []);
    peer.setRemote(sdp);
    await relay.roomAnswer({ ...key, sdp: peer.sdp() });
    assert.deepEqual(
      (await participants()).map(({ codec }) => codec),
      ['PCMA'],
    );
    await peer.until(() => peer.received.length >= 3);
    await assert.rejects(
      relay.roomAnswer({ ...key, sdp: peer.sdp() }),
      (error) => error instanceof RefusedError && error.sipStatus === 481,
    );
  });

  it('keeps port and RTP stream through a re-offer, and counts its version', async () => {
    const alice = await join();
    await alice.until(() => alice.received.length >= 5);
    const before = alice.received.at(-1);
    const key = { room: ROOM, ...keyOf(0) };
    const same = await relay.roomJoin({ ...key, sdp: alice.sdp() });
    const held = await relay.roomJoin({
      ...key,
      sdp: alice.sdp({ direction: 'sendonly', version: 2 }),
    });
    assert.match(held.sdp, /a=recvonly/u);
    const version = (sdp: string): number =>
      Number(parseSessionDescription(sdp).origin.sessionVersion);
    assert.equal(version(held.sdp), version(same.sdp) + 1);
    assert.equal(parseSessionDescription(held.sdp).media[0]?.port, alice.remote?.port);
    await relay.roomJoin({ ...key, sdp: alice.sdp({ version: 3 }) });
    const count = alice.received.length;
    await alice.until(() => alice.received.length >= count + 5);
    assert.equal(alice.received.at(-1)?.ssrc, before?.ssrc);
    assert.equal((await relay.statistics()).portsInUse, 2);
  });

  it('mutes and unmutes', async () => {
    const alice = await join();
    await join();
    const key = { room: ROOM, ...keyOf(0) };
    await relay.roomMute({ ...key, isMuted: true });
    assert.deepEqual(
      (await participants()).map(({ isMuted }) => isMuted),
      [true, false],
    );
    await relay.roomMute({ ...key, isMuted: false });
    assert.equal((await participants())[0]?.isMuted, false);
    await assert.rejects(
      relay.roomMute({ room: ROOM, callId: 'who', fromTag: 'who', isMuted: true }),
      (error) => error instanceof RefusedError && error.sipStatus === 404,
    );
    assert.equal(alice.malformed, 0);
  });

  it('reports keys, once each', async () => {
    const alice = await join();
    await alice.sendDigits('*6');
    const digits = (): string[] =>
      events.flatMap((event) =>
        event.kind === 'dtmf' && event.room === ROOM && event.callId === 'call-0'
          ? [event.digit]
          : [],
      );
    while (digits().length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(digits(), ['*', '6']);
  });

  it('sends sender reports that map RTP to wall-clock time, and says goodbye (RFC 3550 §6)', async () => {
    const alice = await join();
    const isReport = (packet: RtcpPacket): boolean => packet.kind === 'senderReport';
    const reports = (): RtcpPacket[] =>
      alice.receivedRtcp.flatMap((bytes) => parseRtcp(bytes) ?? []).filter(isReport);
    const playing = alice.play(tone(400, 8000));
    await alice.until(() => reports().length >= 1, 20_000);
    const [report] = reports();
    assert.ok(report?.kind === 'senderReport');
    assert.equal(report.ssrc, alice.received[0]?.ssrc);
    assert.equal(report.octetCount, report.packetCount * 160);
    assert.ok(Math.abs(report.packetCount - alice.received.length) <= 10);
    const last = alice.received.at(-1);
    const lagMs = ((report.rtpTimestamp - (last?.rtpTimestamp ?? 0)) | 0) / 8;
    assert.ok(lagMs >= -200 && lagMs <= 500, String(lagMs));
    const unixMs = (report.ntpSeconds - 2_208_988_800) * 1000;
    assert.ok(Math.abs(unixMs - Date.now()) < 5000);
    const [block] = report.reports;
    assert.equal(block?.ssrc, alice.ssrc);
    assert.equal(block.cumulativeLost, 0);
    await playing;
    await relay.roomLeave({ room: ROOM, ...keyOf(0) });
    await alice.until(() =>
      alice.receivedRtcp.some((bytes) => parseRtcp(bytes)?.some(({ kind }) => kind === 'bye')),
    );
  });

  it('keeps strangers and garbage from the room', async () => {
    const alice = await join();
    const bob = await join();
    alice.send(Buffer.alloc(160, 0xff));
    const stranger = await RtpPeer.open();
    stranger.remote = alice.remote;
    for (let index = 0; index < 30; index++) stranger.send(Buffer.alloc(160, index));
    for (const size of [0, 1, 11, 12, 13, 1500, 60_000]) {
      alice.sendRaw(Buffer.alloc(size, 0x80));
      alice.sendRaw(Buffer.alloc(size, 0xbf));
    }
    await bob.until(() => bob.received.length >= 10);
    const [first] = await participants();
    assert.equal(first?.droppedStranger, 30);
    assert.ok(first.droppedMalformed >= 8);
    stranger.close();
  });

  it('refuses who has no codec in common, and holds no port for it', async () => {
    const peer = await RtpPeer.open();
    const sdp = peer
      .sdp()
      .replace('RTP/AVP 0 101', 'RTP/AVP 18')
      .replace(/a=rtpmap:.*\r\n/gu, '');
    await assert.rejects(
      relay.roomJoin({ room: ROOM, callId: 'c', fromTag: 't', sdp }),
      (error) =>
        error instanceof RefusedError && error.code === 'sdp.codec.none' && error.sipStatus === 488,
    );
    await assert.rejects(
      relay.roomJoin({ room: ROOM, callId: 'c', fromTag: 't', sdp: '' }),
      RefusedError,
    );
    assert.equal((await relay.statistics()).portsInUse, 0);
    peer.close();
  });

  it('knows no room that nobody is in, and lets anybody leave it', async () => {
    assert.equal(await relay.roomQuery('nowhere'), undefined);
    await relay.roomLeave({ room: 'nowhere', callId: 'c', fromTag: 't' });
  });

  it('takes many in and out at once, and has every port back', async () => {
    const peer = await RtpPeer.open();
    const keys = Array.from({ length: 100 }, (_, index) => ({
      callId: `many-${index}`,
      fromTag: 'x',
    }));
    await Promise.all(keys.map((key) => relay.roomJoin({ room: 'many', ...key, sdp: peer.sdp() })));
    assert.equal((await relay.statistics()).participants, 100);
    await Promise.all(keys.map((key) => relay.roomLeave({ room: 'many', ...key })));
    peer.close();
  });
});
