import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ControlError, RefusedError, ResourceError } from '../../../core/errors.ts';
import { composeRtcp } from '../../../core/rtp/rtcp.ts';
import { parseSessionDescription } from '../../../core/sdp/parse.ts';
import { nullLog } from '../../../core/log.ts';
import { relayInWorker } from '../../../media-relay/control/worker-relay.ts';
import { startMediaRelay } from '../../../media-relay/public.ts';
import type {
  CallStatistics,
  LegStatistics,
  MediaRelay,
  RelayEvent,
} from '../../../media-relay/public.ts';
import { freePorts } from '../../support/free-ports.ts';
import { RtpPeer } from '../../support/rtp-peer.ts';
import type { RtpPeerOptions } from '../../support/rtp-peer.ts';

const HOST = '127.0.0.1';
/** Containers often have no IPv6, not even on loopback. */
const HAS_IPV6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);
const PAYLOAD = Buffer.alloc(160, 0x55);

/** The leg that faces the peer with that tag. */
function legOf(call: CallStatistics | undefined, tag: string): LegStatistics {
  const leg = call?.legs.find(({ fromTag }) => fromTag === tag);
  assert.ok(leg, `no leg ${tag}`);
  return leg;
}

function portIn(sdp: string): number {
  return parseSessionDescription(sdp).media[0]?.port ?? -1;
}

describe('two-party calls through a relay worker', () => {
  let relay: MediaRelay;
  let peers: RtpPeer[];
  let callCount = 0;

  before(async () => {
    relay = await startMediaRelay({
      addresses: [{ bind: HOST }, ...(HAS_IPV6 ? [{ bind: '::1' }] : [])],
      latch: { windowMs: 100, minPackets: 3, rebindAfterMs: 300, isStrict: false },
    });
  });

  after(async () => {
    await relay.close();
  });

  beforeEach(() => {
    peers = [];
  });

  afterEach(async () => {
    for (const callId of await relay.list()) await relay.delete({ callId });
    for (const peer of peers) peer.close();
    const { calls, portsInUse } = await relay.statistics();
    assert.deepEqual({ calls, portsInUse }, { calls: 0, portsInUse: 0 });
  });

  async function open(options: RtpPeerOptions = {}): Promise<RtpPeer> {
    const peer = await RtpPeer.open(options);
    peers.push(peer);
    return peer;
  }

  type UpCall = { callId: string; alice: RtpPeer; bob: RtpPeer };

  /** A call that both sides have agreed on; nothing has been sent yet. */
  async function connect(
    aliceOptions: RtpPeerOptions = {},
    bobOptions: RtpPeerOptions = {},
  ): Promise<UpCall> {
    const alice = await open(aliceOptions);
    const bob = await open(bobOptions);
    const callId = `call-${callCount++}`;
    const offer = await relay.offer({
      callId,
      fromTag: 'alice',
      sdp: alice.sdp(),
      towards: bob.address,
    });
    bob.setRemote(offer.sdp);
    const answer = await relay.answer({ callId, fromTag: 'alice', toTag: 'bob', sdp: bob.sdp() });
    alice.setRemote(answer.sdp);
    return { callId, alice, bob };
  }

  /** Sends until the other side has received `count` more; what is sent is sent at once, so none may be missing. */
  async function pass(from: RtpPeer, to: RtpPeer, count = 10): Promise<void> {
    const before = to.received.length;
    for (let index = 0; index < count; index++) from.send(PAYLOAD);
    await to.until(() => to.received.length >= before + count);
  }

  it('forwards both ways, unchanged and in order, and counts', async () => {
    const { callId, alice, bob } = await connect();
    await pass(alice, bob, 50);
    await pass(bob, alice, 30);
    assert.deepEqual(
      bob.received.map(({ sequenceNumber, ssrc }) => ({ sequenceNumber, ssrc })),
      Array.from({ length: 50 }, (_, index) => ({
        sequenceNumber: (alice.sequenceNumber - 50 + index) & 0xffff,
        ssrc: alice.ssrc,
      })),
    );
    assert.deepEqual(Buffer.from(alice.received[0]?.payload ?? []), PAYLOAD);
    assert.deepEqual([...bob.sources], [`${HOST}:${bob.remote?.port ?? 0}`]);
    const ended = await relay.delete({ callId });
    const [a, b] = [legOf(ended, 'alice'), legOf(ended, 'bob')];
    assert.deepEqual(
      [a.receivedPackets, a.sentPackets, b.receivedPackets, b.sentPackets],
      [50, 30, 30, 50],
    );
    assert.equal(a.receivedBytes, 50 * 172);
    assert.equal(a.latched, `${HOST}:${alice.port}`);
    assert.equal(a.promised, a.latched);
    assert.equal(a.localPort, alice.remote?.port);
    assert.ok((a.silentMs ?? -1) >= 0);
  });

  it('learns where a phone behind a NAT really is, and keeps to it', async () => {
    const { callId, alice, bob } = await connect();
    const nat = await open({ ssrc: 77 });
    nat.remote = bob.remote;
    await pass(nat, alice, 5);
    await pass(alice, nat, 5);
    assert.equal(legOf(await relay.query(callId), 'bob').latched, `${HOST}:${nat.port}`);
    assert.equal(bob.received.length, 0);
  });

  it('drops strangers once it has heard the promised source, and counts them', async () => {
    const { callId, alice, bob } = await connect();
    await pass(bob, alice);
    const stranger = await open();
    stranger.remote = bob.remote;
    for (let index = 0; index < 20; index++) stranger.send(PAYLOAD);
    await pass(bob, alice);
    await pass(alice, bob);
    assert.equal(stranger.received.length, 0);
    assert.equal(alice.received.length, 20);
    const leg = legOf(await relay.query(callId), 'bob');
    assert.equal(leg.droppedStranger, 20);
    assert.equal(leg.latched, `${HOST}:${bob.port}`);
  });

  it('drops what is not RTP, of any size, and counts it', async () => {
    const { callId, alice, bob } = await connect();
    await pass(alice, bob, 3);
    const bad = [
      Buffer.alloc(0),
      Buffer.from([0x80]),
      Buffer.alloc(11, 0x80),
      Buffer.alloc(172, 0x00),
      Buffer.alloc(172, 0xff),
      Buffer.from('INVITE sip:x SIP/2.0\r\n\r\n'),
      Buffer.alloc(65_000, 0x80),
    ];
    for (const bytes of bad) alice.sendRaw(bytes);
    await pass(alice, bob, 3);
    assert.equal(bob.received.length, 6);
    assert.equal(bob.malformed, 0);
    assert.equal(legOf(await relay.query(callId), 'alice').droppedMalformed, bad.length);
  });

  it('passes RTCP on, port to port', async () => {
    const { callId, alice, bob } = await connect();
    const report = composeRtcp([{ kind: 'receiverReport', ssrc: alice.ssrc, reports: [] }]);
    alice.sendRtcp(report);
    await bob.until(() => bob.receivedRtcp.length === 1);
    assert.deepEqual(bob.receivedRtcp[0], Buffer.from(report));
    bob.sendRtcp(report);
    await alice.until(() => alice.receivedRtcp.length === 1);
    alice.sendRtcp(Buffer.from('not RTCP at all'));
    await pass(alice, bob);
    const leg = legOf(await relay.query(callId), 'alice');
    assert.deepEqual(
      [leg.receivedRtcpPackets, leg.sentRtcpPackets, leg.droppedMalformed],
      [1, 1, 1],
    );
  });

  it('takes up rtcp-mux for the offerer and separates it for the answerer', async () => {
    const alice = await open();
    const bob = await open();
    const muxed = alice.sdp().replace(/a=rtcp:.*\r\n/u, 'a=rtcp-mux\r\n');
    const offer = await relay.offer({ callId: 'mux', fromTag: 'alice', sdp: muxed });
    assert.doesNotMatch(offer.sdp, /rtcp-mux/u);
    bob.setRemote(offer.sdp);
    const answer = await relay.answer({
      callId: 'mux',
      fromTag: 'alice',
      toTag: 'bob',
      sdp: bob.sdp(),
    });
    assert.match(answer.sdp, /a=rtcp-mux\r\n/u);
    alice.setRemote(answer.sdp);
    await pass(alice, bob, 1);
    const report = composeRtcp([{ kind: 'receiverReport', ssrc: alice.ssrc, reports: [] }]);
    alice.sendRaw(report);
    await bob.until(() => bob.receivedRtcp.length === 1);
    bob.sendRtcp(report);
    await alice.until(() => alice.receivedRtcp.length === 1);
    assert.equal(alice.malformed, 0);
  });

  it('lets early media through before the answer', async () => {
    const alice = await open();
    const bob = await open();
    const offer = await relay.offer({ callId: 'early', fromTag: 'alice', sdp: alice.sdp() });
    bob.setRemote(offer.sdp);
    await pass(bob, alice, 5);
  });

  it('keeps its ports through a re-offer from either side', async () => {
    const { callId, alice, bob } = await connect();
    const ports = [alice.remote?.port, bob.remote?.port];
    const offer = await relay.offer({
      callId,
      fromTag: 'bob',
      toTag: 'alice',
      sdp: bob.sdp({ direction: 'sendonly', version: 2 }),
    });
    assert.match(offer.sdp, /a=sendonly/u);
    const answer = await relay.answer({
      callId,
      fromTag: 'bob',
      toTag: 'alice',
      sdp: alice.sdp({ direction: 'recvonly', version: 2 }),
    });
    assert.match(answer.sdp, /a=recvonly/u);
    assert.deepEqual([portIn(offer.sdp), portIn(answer.sdp)], ports);
    const again = await relay.offer({ callId, fromTag: 'alice', sdp: alice.sdp({ version: 3 }) });
    assert.equal(portIn(again.sdp), ports[1]);
    await pass(bob, alice);
    const { portsInUse } = await relay.statistics();
    assert.equal(portsInUse, 4);
  });

  it('follows a phone that moves with a re-offer', async () => {
    const { callId, alice, bob } = await connect();
    await pass(alice, bob, 10);
    const moved = await open({ ssrc: 4711 });
    await relay.offer({ callId, fromTag: 'alice', toTag: 'bob', sdp: moved.sdp({ version: 2 }) });
    moved.remote = alice.remote;
    await pass(bob, moved);
    await pass(moved, bob);
    assert.equal(alice.received.length, 0);
  });

  it('sends nothing to who is on hold by 0.0.0.0, and goes on afterwards', async () => {
    const { callId, alice, bob } = await connect();
    await pass(alice, bob);
    await pass(bob, alice);
    const held = await relay.offer({
      callId,
      fromTag: 'alice',
      toTag: 'bob',
      sdp: alice.sdp({ address: '0.0.0.0', version: 2 }),
    });
    assert.match(held.sdp, /a=sendonly/u);
    assert.doesNotMatch(held.sdp, /0\.0\.0\.0/u);
    for (let index = 0; index < 10; index++) bob.send(PAYLOAD);
    await pass(alice, bob);
    assert.equal(alice.received.length, 10);
    await relay.offer({ callId, fromTag: 'alice', toTag: 'bob', sdp: alice.sdp({ version: 3 }) });
    await pass(bob, alice);
  });

  it('gives the call to the fork that answers last', async () => {
    const { callId, alice, bob } = await connect();
    const carol = await open();
    carol.remote = bob.remote;
    await pass(bob, alice);
    const answer = await relay.answer({
      callId,
      fromTag: 'alice',
      toTag: 'carol',
      sdp: carol.sdp(),
    });
    assert.equal(portIn(answer.sdp), alice.remote?.port);
    await pass(alice, carol);
    await pass(carol, alice);
    assert.equal(await relay.delete({ callId, fromTag: 'alice', toTag: 'nobody' }), undefined);
    await relay.delete({ callId, fromTag: 'alice', toTag: 'bob' });
    await pass(alice, carol);
    await relay.delete({ callId, fromTag: 'alice', toTag: 'carol' });
    assert.deepEqual(await relay.list(), []);
  });

  it('keeps two phones that point at themselves from filling the machine', async () => {
    const { callId, alice, bob } = await connect();
    const own = (port: number): string =>
      bob.sdp({ version: 2 }).replace(/m=audio \d+/u, `m=audio ${port}`);
    await relay.answer({
      callId,
      fromTag: 'alice',
      toTag: 'bob',
      sdp: own(alice.remote?.port ?? 0),
    });
    for (let index = 0; index < 5; index++) alice.send(PAYLOAD);
    await relay.answer({ callId, fromTag: 'alice', toTag: 'bob', sdp: own(bob.remote?.port ?? 0) });
    for (let index = 0; index < 5; index++) alice.send(PAYLOAD);
    await relay.ping();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const call = await relay.query(callId);
    assert.ok(legOf(call, 'alice').receivedPackets <= 10);
    assert.ok(legOf(call, 'bob').receivedPackets <= 10);
  });

  it('bounds a loop that leads through two calls', async () => {
    const first = await connect();
    const second = await connect();
    const aim = (peer: RtpPeer, port: number): string =>
      peer.sdp({ version: 2 }).replace(/m=audio \d+/u, `m=audio ${port}`);
    const { callId } = first;
    const bobs = { fromTag: 'alice', toTag: 'bob' };
    await relay.answer({
      callId,
      ...bobs,
      sdp: aim(first.bob, second.alice.remote?.port ?? 0),
    });
    await relay.answer({
      callId: second.callId,
      ...bobs,
      sdp: aim(second.bob, first.alice.remote?.port ?? 0),
    });
    for (let index = 0; index < 20; index++) first.alice.send(PAYLOAD);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { receivedPackets } = legOf(await relay.query(callId), 'alice');
    assert.ok(receivedPackets <= 2000, `${receivedPackets} packets went round`);
  });

  it('bridges IPv4 and IPv6', async function () {
    if (!HAS_IPV6) this.skip();
    const { alice, bob } = await connect({}, { address: '::1' });
    assert.equal(bob.remote?.address, '::1');
    assert.equal(alice.remote?.address, HOST);
    await pass(alice, bob);
    await pass(bob, alice);
  });

  it('moves a leg that changes from IPv4 to IPv6', async function () {
    if (!HAS_IPV6) this.skip();
    const { callId, alice, bob } = await connect();
    await pass(alice, bob);
    const six = await open({ address: '::1' });
    await relay.offer({ callId, fromTag: 'alice', toTag: 'bob', sdp: six.sdp({ version: 2 }) });
    const answer = await relay.answer({
      callId,
      fromTag: 'alice',
      toTag: 'bob',
      sdp: bob.sdp({ version: 2 }),
    });
    six.setRemote(answer.sdp);
    assert.equal(six.remote?.address, '::1');
    await pass(six, bob);
    await pass(bob, six);
    assert.equal((await relay.statistics()).portsInUse, 4);
  });

  it('carries sound through without a sample changed', async () => {
    const { alice, bob } = await connect();
    const tone = Float32Array.from({ length: 4000 }, (_, index) => Math.sin(index / 3) / 2);
    await alice.play(tone, { isPaced: false });
    await bob.until(() => bob.received.length === 25);
    const { samples } = await bob.heard();
    assert.equal(samples.length, 4000);
    const error = Math.max(
      ...samples.map((sample, index) => Math.abs(sample - (tone[index] ?? 0))),
    );
    assert.ok(error < 0.02, String(error));
  });

  it('refuses what it cannot relay, and holds no port for it', async () => {
    const alice = await open();
    const refused = (sdp: string, code: string): Promise<void> =>
      assert.rejects(
        relay.offer({ callId: 'bad', fromTag: 'alice', sdp }),
        (error) => error instanceof RefusedError && error.code === code,
      );
    await refused('garbage', 'sdp.line');
    await refused(alice.sdp().replace('m=audio', 'm=video'), 'sdp.audio.missing');
    await refused(alice.sdp().replace(/m=audio \d+/u, 'm=audio 0'), 'sdp.audio.missing');
    await refused(alice.sdp().replace('RTP/AVP', 'UDP/TLS/RTP/SAVPF'), 'sdp.profile.unsupported');
    await refused(`${alice.sdp()}${'a=x:y\r\n'.repeat(20_000)}`, 'sdp.size');
    await assert.rejects(
      relay.offer({
        callId: 'bad',
        fromTag: 'alice',
        sdp: alice.sdp(),
        transportProtocol: 'RTP/SAVP',
      }),
      RefusedError,
    );
    assert.equal((await relay.statistics()).portsInUse, 0);
  });

  it('answers for calls that it does not know', async () => {
    const alice = await open();
    assert.equal(await relay.query('unknown'), undefined);
    assert.equal(await relay.delete({ callId: 'unknown' }), undefined);
    await assert.rejects(
      relay.answer({ callId: 'unknown', fromTag: 'a', toTag: 'b', sdp: alice.sdp() }),
      (error) => error instanceof RefusedError && error.sipStatus === 481,
    );
  });

  it('keeps a call alive when an answer is refused', async () => {
    const { callId, alice, bob } = await connect();
    await assert.rejects(
      relay.answer({ callId, fromTag: 'alice', toTag: 'bob', sdp: 'garbage' }),
      RefusedError,
    );
    await assert.rejects(
      relay.answer({
        callId,
        fromTag: 'alice',
        toTag: 'bob',
        sdp: bob.sdp().replace('m=audio', 'm=video'),
      }),
      RefusedError,
    );
    await pass(alice, bob);
  });

  it('passes on a refused stream with port 0', async () => {
    const alice = await open();
    const bob = await open();
    await relay.offer({ callId: 'no', fromTag: 'alice', sdp: alice.sdp() });
    const sdp = bob.sdp().replace(/m=audio \d+/u, 'm=audio 0');
    const answer = await relay.answer({ callId: 'no', fromTag: 'alice', toTag: 'bob', sdp });
    assert.equal(portIn(answer.sdp), 0);
  });

  it('sets up and ends many calls at once, and has every port back', async () => {
    const alice = await open();
    const bob = await open();
    const calls = Array.from({ length: 200 }, (_, index) => `many-${index}`);
    await Promise.all(
      calls.map(async (callId) => {
        const offer = relay.offer({ callId, fromTag: 'a', sdp: alice.sdp() });
        const answer = relay.answer({ callId, fromTag: 'a', toTag: 'b', sdp: bob.sdp() });
        await Promise.all([offer, answer]);
      }),
    );
    assert.equal((await relay.statistics()).portsInUse, 800);
    assert.equal((await relay.list()).length, 200);
    await Promise.all(calls.map((callId) => relay.delete({ callId })));
    assert.equal((await relay.statistics()).portsInUse, 0);
  });
});

describe('a relay with little room', () => {
  it('says that ports are exhausted, and goes on when one is free again', async () => {
    const min = await freePorts(8);
    const relay = await startMediaRelay({
      addresses: [{ bind: HOST }],
      portRange: { min, max: min + 7 },
    });
    const alice = await RtpPeer.open();
    try {
      const offer = (callId: string): Promise<unknown> =>
        relay.offer({ callId, fromTag: 'a', sdp: alice.sdp() });
      await offer('1');
      await offer('2');
      await assert.rejects(
        offer('3'),
        (error) => error instanceof ResourceError && error.code === 'relay.ports.exhausted',
      );
      assert.deepEqual(await relay.list(), ['1', '2']);
      await relay.delete({ callId: '1' });
      await offer('3');
      assert.equal((await relay.statistics()).portsInUse, 8);
    } finally {
      alice.close();
      await relay.close();
    }
  });

  it('deletes calls without packets when it is told to', async () => {
    const relay = await startMediaRelay({ addresses: [{ bind: HOST }], idleTimeoutMs: 200 });
    const alice = await RtpPeer.open();
    try {
      await relay.offer({ callId: 'idle', fromTag: 'a', sdp: alice.sdp() });
      while ((await relay.list()).length > 0) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal((await relay.statistics()).portsInUse, 0);
    } finally {
      alice.close();
      await relay.close();
    }
  });

  it('has no address of the family that is asked for', async () => {
    const relay = await startMediaRelay({ addresses: [{ bind: HOST }] });
    const alice = await RtpPeer.open();
    try {
      await assert.rejects(
        relay.offer({ callId: 'six', fromTag: 'a', sdp: alice.sdp({ address: '::1' }) }),
        (error) => error instanceof RefusedError && error.code === 'relay.family.unavailable',
      );
      assert.equal((await relay.statistics()).portsInUse, 0);
    } finally {
      alice.close();
      await relay.close();
    }
  });

  it('says what is wrong with its settings', async () => {
    const start = (
      settings: Parameters<typeof startMediaRelay>[0],
      reason: RegExp,
    ): Promise<void> =>
      assert.rejects(startMediaRelay(settings), (error) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, reason);
        return true;
      });
    await start({ addresses: [{ bind: '203.0.113.1' }] }, /203\.0\.113\.1/u);
    await start({ addresses: [{ bind: 'localhost' }] }, /localhost/u);
    await start({ addresses: [{ bind: HOST, advertise: '::1' }] }, /127/u);
    await start({ portRange: { min: 30_000, max: 20_000 } }, /30000 to 20000/u);
    await start({ addresses: [{ bind: HOST }], ng: { host: '203.0.113.1', port: 1 } }, /ng/u);
  });

  it('advertises another address than it binds', async () => {
    const relay = await startMediaRelay({ addresses: [{ bind: HOST, advertise: '192.0.2.9' }] });
    const alice = await RtpPeer.open();
    try {
      const { sdp } = await relay.offer({ callId: 'nat', fromTag: 'a', sdp: alice.sdp() });
      assert.match(sdp, /c=IN IP4 192\.0\.2\.9\r\n/u);
    } finally {
      alice.close();
      await relay.close();
    }
  });

  it('advertises the address that routing would choose when it binds them all', async () => {
    const relay = await startMediaRelay();
    const alice = await RtpPeer.open();
    try {
      const { sdp } = await relay.offer({
        callId: 'any',
        fromTag: 'a',
        sdp: alice.sdp(),
        towards: HOST,
      });
      assert.match(sdp, /c=IN IP4 127\.0\.0\.1\r\n/u);
      const six = await relay.offer({
        callId: 'six',
        fromTag: 'a',
        sdp: alice.sdp(),
        towards: '::1',
      });
      assert.match(six.sdp, /c=IN IP6 ::1\r\n/u);
    } finally {
      alice.close();
      await relay.close();
    }
  });
});

describe('losing a relay', () => {
  it('rejects what waits and what comes after close', async () => {
    const relay = await startMediaRelay({ addresses: [{ bind: HOST }] });
    const waiting = assert.rejects(relay.ping(), isClosed);
    await Promise.all([waiting, relay.close()]);
    await assert.rejects(relay.ping(), isClosed);
  });

  it('tells when the worker dies, and rejects what waits', async () => {
    const code = `
      const { parentPort } = require('node:worker_threads');
      parentPort.postMessage({ kind: 'started' });
      parentPort.once('message', () => process.exit(3));`;
    const relay = await relayInWorker(new Worker(code, { eval: true }), nullLog);
    const events: RelayEvent[] = [];
    const lost = new Promise<void>((resolve) => {
      relay.onEvent((event) => {
        events.push(event);
        resolve();
      });
    });
    await assert.rejects(relay.ping(), isClosed);
    await lost;
    assert.deepEqual(events, [{ kind: 'lost', reason: "the relay's worker ended with code 3" }]);
    await assert.rejects(relay.ping(), isClosed);
    await relay.close();
  });

  it('says why a worker does not start', async () => {
    const failing = new Worker('throw new Error("no such luck")', { eval: true });
    await assert.rejects(relayInWorker(failing, nullLog), /no such luck/u);
  });
});

function isClosed(error: unknown): boolean {
  return error instanceof ControlError && error.code === 'relay.closed';
}
