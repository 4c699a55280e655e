import assert from 'node:assert/strict';
import { CallSwitch } from '../support/call-switch.ts';
import { packetsPass, RtpPeer } from '../support/rtp-peer.ts';
import { sdp } from '../support/sdp.ts';
import type { Call, PeerOptions, SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';

/** alice has called bob, who has answered. */
async function callBetween(
  running: CallSwitch,
  options: { alice?: PeerOptions; bob?: PeerOptions } = {},
): Promise<{ alice: SipPeer; bob: SipPeer; call: Call; taken: Call }> {
  const alice = await running.person('alice', options.alice);
  const bob = await running.person('bob', options.bob);
  const call = await alice.invite(BOB, { sdp: sdp() });
  const taken = await bob.expectCall();
  await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
  return { alice, bob, call, taken };
}

/** A phone that is there; until its peer is closed. */
async function answerProbes(call: Call): Promise<void> {
  for (;;) {
    const probe = await call.expectRequest('OPTIONS', 60_000).catch(() => undefined);
    if (probe === undefined) return;
    probe.reply(200);
  }
}

describe('phones that vanish in the middle of a call', () => {
  let running: CallSwitch;

  before(async () => {
    running = await CallSwitch.start({ 'calls.dialogCheckSeconds': '1' });
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  it('are asked when they are silent, and any answer means that they are there', async () => {
    const { call, taken } = await callBetween(running);
    // The ACK of the caller was a sign of life: he is asked one round later.
    (await taken.expectRequest('OPTIONS')).reply(405);
    for (let round = 0; round < 2; round++) {
      (await taken.expectRequest('OPTIONS')).reply(405);
      (await call.expectRequest('OPTIONS')).reply(200);
    }
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('end it for both when they know nothing of it any more', async () => {
    const { call, taken } = await callBetween(running);
    const probe = await taken.expectRequest('OPTIONS');
    probe.reply(481);
    const bye = await call.expectBye();
    assert.match(bye.header('Reason') ?? '', /The callee cannot be reached any more/);
    await taken.expectBye();
    assert.equal((await running.lastRecord()).endedBy, 'switch');
  });

  it('end it for the other when their connection breaks', async () => {
    const { bob, call } = await callBetween(running, { bob: { transport: 'tcp' } });
    await bob.close();
    const bye = await call.expectBye();
    assert.match(bye.header('Reason') ?? '', /The callee cannot be reached any more/);
  });

  it('end it for the other when nothing listens there any more', async () => {
    const { alice, call, taken } = await callBetween(running);
    // When this is answered, the ACK has arrived.
    await call.request('OPTIONS').final(200);
    await alice.close();
    const ended = taken.expectBye(15_000);
    void answerProbes(taken);
    const bye = await ended;
    assert.match(bye.header('Reason') ?? '', /The caller cannot be reached any more/);
    await running.untilNoCalls();
  });
});

describe('sound in a call', () => {
  let running: CallSwitch;
  const sounds: RtpPeer[] = [];

  before(async () => {
    running = await CallSwitch.start();
  });
  afterEach(async () => {
    for (const sound of sounds.splice(0)) sound.close();
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  const sound = async (): Promise<RtpPeer> => {
    const peer = await RtpPeer.open();
    sounds.push(peer);
    return peer;
  };

  it('passes both ways, after a change of address, and to who takes the place of one', async () => {
    const [alice, bob, carol] = await Promise.all(
      ['alice', 'bob', 'carol'].map((user) => running.person(user)),
    );
    assert(alice !== undefined && bob !== undefined && carol !== undefined);
    const [near, far, moved, third] = [await sound(), await sound(), await sound(), await sound()];
    const call = await alice.invite(BOB, { sdp: near.sdp() });
    const taken = await bob.expectCall();
    const [answer] = await Promise.all([call.answered(), taken.answer(far.sdp())]);
    near.setRemote(call.remoteSdp);
    far.setRemote(taken.remoteSdp);
    await packetsPass(near, far);
    await packetsPass(far, near);

    const answered = taken.expectReinvite(far.sdp({ version: 2 }));
    await call.reinvite(moved.sdp({ version: 2 }));
    await answered;
    moved.setRemote(call.remoteSdp);
    await packetsPass(moved, far);
    await packetsPass(far, moved);

    const Replaces = `${call.callId};to-tag=${answer.toTag ?? ''};from-tag=${answer.fromTag ?? ''}`;
    const joined = await carol.invite(BOB, { sdp: third.sdp(), headers: { Replaces } });
    const asked = taken.expectReinvite(far.sdp({ version: 3 }));
    await Promise.all([joined.answered(), call.expectBye(), asked]);
    third.setRemote(joined.remoteSdp);
    await packetsPass(third, far);
    await packetsPass(far, third);
    await Promise.all([joined.bye(), taken.expectBye()]);
    const legs = JSON.parse((await running.lastRecord()).legs ?? '[]') as {
      receivedPackets: number;
    }[];
    assert.equal(legs.length, 2);
    for (const leg of legs) assert.ok(leg.receivedPackets >= 3);
  });
});

describe('a caller who never acknowledges the answer', () => {
  it('loses the call, and so does the callee', async function () {
    // 64 times T1: seven seconds with ours, 32 with that of a drachtio-server.
    this.timeout(60_000);
    const running = await CallSwitch.start();
    const alice = await running.person('alice');
    const bob = await running.person('bob');
    const call = await alice.invite(BOB, { sdp: sdp() });
    const taken = await bob.expectCall();
    await Promise.all([taken.answer(sdp({ port: 41_000 })), call.outgoing?.final(200)]);
    const byes = await Promise.all([call.expectBye(45_000), taken.expectBye(45_000)]);
    for (const bye of byes) assert.match(bye.header('Reason') ?? '', /ACK timeout/);
    assert.equal((await running.lastRecord()).endedBy, 'switch');
    await running.clear();
    await running.stop();
  });
});

describe('many calls at once', () => {
  it('end and leave nothing behind, however each of them ends', async () => {
    const running = await CallSwitch.start();
    const callers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => running.person(`caller${index}`)),
    );
    const callees = await Promise.all(
      Array.from({ length: 20 }, (_, index) => running.person(`callee${index}`)),
    );
    const endings: ((call: Call, taken: Call) => Promise<unknown>)[] = [
      async (call, taken) => {
        await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
        await Promise.all([call.bye(), taken.expectBye()]);
      },
      async (call, taken) => {
        await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
        await Promise.all([taken.bye(), call.expectBye()]);
      },
      async (call, taken) => {
        taken.ring();
        await call.ringing();
        await Promise.all([taken.expectCancel(), call.cancel()]);
      },
      (call, taken) => Promise.all([taken.reject(486), call.rejected(486)]),
    ];
    await Promise.all(
      callers.map(async (caller, index) => {
        const callee = callees[index];
        const end = endings[index % endings.length];
        assert(callee !== undefined && end !== undefined);
        for (let round = 0; round < 5; round++) {
          const call = await caller.invite(`sip:${callee.user}@parley.test`, { sdp: sdp() });
          await end(call, await callee.expectCall());
        }
      }),
    );
    await running.clear();
    await running.stop();
  });
});

describe('the end of the switch', () => {
  it('is told to everybody: BYE in calls, 503 and CANCEL where it rings', async () => {
    const running = await CallSwitch.start();
    const { alice, call, taken } = await callBetween(running);
    const dora = await running.person('dora');
    const ringing = await alice.invite('sip:dora@parley.test', { sdp: sdp() });
    const rung = await dora.expectCall();
    rung.ring();
    await ringing.ringing();
    const [byes] = await Promise.all([
      Promise.all([call.expectBye(), taken.expectBye()]),
      ringing.rejected(503),
      rung.expectCancel(),
      running.shutDown(),
    ]);
    for (const bye of byes) {
      assert.equal(bye.header('Reason'), 'SIP;cause=503;text="Server is shutting down"');
    }
    await running.closePeers();
  });
});
