import assert from 'node:assert/strict';
import { RefusedError } from '../../core/errors.ts';
import { composeRtcp } from '../../core/rtp/rtcp.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import { connectMediaRelay, startMediaRelay } from '../../media-relay/public.ts';
import type { CallStatistics, LegStatistics, MediaRelay } from '../../media-relay/public.ts';
import { freePorts } from '../support/free-ports.ts';
import { requirePeer } from '../support/peers.ts';
import { Program } from '../support/program.ts';
import { RtpPeer } from '../support/rtp-peer.ts';

const HOST = '127.0.0.1';
const PAYLOAD = Buffer.alloc(160, 0x55);

type Running = { readonly relay: MediaRelay; stop(): Promise<void> };

/** Our own relay, reached as a foreign one is: over UDP. */
async function runParley(): Promise<Running> {
  const worker = await startMediaRelay({
    addresses: [{ bind: HOST }],
    ng: { host: HOST, port: 0 },
  });
  assert.ok(worker.ngEndpoint);
  const relay = await connectMediaRelay(worker.ngEndpoint);
  return {
    relay,
    stop: async () => {
      await relay.close();
      await worker.close();
    },
  };
}

/** Debian's rtpengine in userspace, without its kernel module. */
async function runRtpengine(): Promise<Running> {
  const first = await freePorts(42);
  const program = await Program.start('rtpengine', [
    `--interface=${HOST}`,
    `--listen-ng=${HOST}:${first}`,
    '--table=-1',
    `--port-min=${first + 2}`,
    `--port-max=${first + 41}`,
    '--foreground',
    '--log-stderr',
    '--log-level=4',
  ]);
  const relay = await connectMediaRelay({ host: HOST, port: first, deadlineMs: 10_000 });
  await relay.ping();
  return {
    relay,
    stop: async () => {
      await relay.close();
      await program.stop();
    },
  };
}

function legOf(call: CallStatistics | undefined, tag: string): LegStatistics {
  const leg = call?.legs.find(({ fromTag }) => fromTag === tag);
  assert.ok(leg, `no leg ${tag}`);
  return leg;
}

function audioPort(sdp: string): number {
  return parseSessionDescription(sdp).media[0]?.port ?? -1;
}

for (const engine of ['parley', 'rtpengine'] as const) {
  describe(`two-party calls through ${engine} over ng`, function () {
    this.timeout(30_000);
    let running: Running | undefined;
    let relay: MediaRelay;
    let alice: RtpPeer;
    let bob: RtpPeer;

    before(async function () {
      if (engine === 'rtpengine') requirePeer(this, 'rtpengine');
      running = engine === 'parley' ? await runParley() : await runRtpengine();
      relay = running.relay;
    });

    after(async () => {
      await running?.stop();
    });

    beforeEach(async () => {
      alice = await RtpPeer.open();
      bob = await RtpPeer.open();
    });

    afterEach(async () => {
      alice.close();
      bob.close();
      for (const callId of await relay.list()) await relay.delete({ callId });
      const { calls, portsInUse } = await relay.statistics();
      assert.deepEqual({ calls, portsInUse }, { calls: 0, portsInUse: 0 });
    });

    async function connect(callId: string, offered = alice.sdp()): Promise<string> {
      const call = { callId, fromTag: 'alice' };
      const offer = await relay.offer({ ...call, sdp: offered, transportProtocol: 'RTP/AVP' });
      bob.setRemote(offer.sdp);
      const answer = await relay.answer({ ...call, toTag: 'bob', sdp: bob.sdp() });
      alice.setRemote(answer.sdp);
      return answer.sdp;
    }

    async function pass(from: RtpPeer, to: RtpPeer): Promise<void> {
      const count = to.received.length;
      for (let index = 0; index < 10; index++) from.send(PAYLOAD);
      await to.until(() => to.received.length >= count + 10);
    }

    it('forwards both ways, counts, and frees the ports', async () => {
      await connect('forward');
      assert.equal(alice.remote?.address, HOST);
      await pass(alice, bob);
      await pass(bob, alice);
      assert.deepEqual(Buffer.from(bob.received[9]?.payload ?? []), PAYLOAD);
      assert.equal(bob.received[0]?.ssrc, alice.ssrc);
      assert.deepEqual(await relay.list(), ['forward']);
      const call = await relay.query('forward');
      for (const [tag, peer] of [
        ['alice', alice],
        ['bob', bob],
      ] as const) {
        const leg = legOf(call, tag);
        assert.equal(leg.receivedPackets, 10);
        assert.equal(leg.localPort, peer.remote?.port);
        assert.equal(leg.promised, `${HOST}:${peer.port}`);
        assert.equal(leg.latched, `${HOST}:${peer.port}`);
      }
      const { portsInUse, portsTotal } = await relay.statistics();
      assert.equal(portsInUse, 4);
      assert.ok(portsTotal >= 40);
      const ended = await relay.delete({ callId: 'forward', fromTag: 'alice', toTag: 'bob' });
      assert.equal(legOf(ended, 'alice').receivedPackets, 10);
    });

    it('passes RTCP on', async () => {
      await connect('rtcp');
      await pass(alice, bob);
      const report = composeRtcp([{ kind: 'receiverReport', ssrc: alice.ssrc, reports: [] }]);
      alice.sendRtcp(report);
      await bob.until(() => bob.receivedRtcp.length > 0);
      assert.deepEqual(bob.receivedRtcp[0], Buffer.from(report));
    });

    it('offers plain AVP for AVPF, and answers AVPF', async () => {
      const offered = alice.sdp().replace('RTP/AVP', 'RTP/AVPF');
      const answer = await connect('avpf', offered);
      assert.match(answer, /^m=audio \d+ RTP\/AVPF /mu);
      await pass(alice, bob);
    });

    it('keeps its ports through a re-offer from the other side', async () => {
      await connect('again');
      await pass(alice, bob);
      const call = { callId: 'again', fromTag: 'bob', toTag: 'alice' };
      const offer = await relay.offer({
        ...call,
        sdp: bob.sdp({ direction: 'sendonly', version: 2 }),
      });
      assert.match(offer.sdp, /a=sendonly/u);
      const answer = await relay.answer({
        ...call,
        sdp: alice.sdp({ direction: 'recvonly', version: 2 }),
      });
      assert.match(answer.sdp, /a=recvonly/u);
      assert.deepEqual(
        [audioPort(offer.sdp), audioPort(answer.sdp)],
        [alice.remote?.port, bob.remote?.port],
      );
      await pass(bob, alice);
    });

    it('refuses nonsense and calls that it does not know', async () => {
      const call = { callId: 'unknown', fromTag: 'alice' };
      await assert.rejects(relay.offer({ ...call, sdp: 'nonsense' }), RefusedError);
      await assert.rejects(
        relay.answer({ ...call, toTag: 'bob', sdp: bob.sdp() }),
        (error) => error instanceof RefusedError && error.sipStatus === 481,
      );
      assert.equal(await relay.query('unknown'), undefined);
      assert.equal(await relay.delete(call), undefined);
    });

    if (engine === 'rtpengine') {
      it('refuses rooms, which it does not know, politely', async () => {
        await assert.rejects(
          relay.roomJoin({ room: 'lobby', ...{ callId: 'c', fromTag: 't' }, sdp: alice.sdp() }),
          (error) => error instanceof RefusedError && error.code === 'relay.command.unknown',
        );
      });
    }
  });
}
