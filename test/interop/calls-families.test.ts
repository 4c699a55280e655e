import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { CallSwitch } from '../support/call-switch.ts';
import { packetsPass, RtpPeer } from '../support/rtp-peer.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';
const IPV6 = '::1';
const SDP = { contentType: 'application/sdp' };
const BY_IPV6 = sdp({ port: 42_000 }).replaceAll('IP4 127.0.0.1', 'IP6 ::1');

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((entry) => entry?.address === IPV6);

const lineOf = (description: string): string | undefined =>
  /^c=IN (\S+ \S+)/m.exec(description)?.[1];

describe('a call to devices on IPv4 and on IPv6', function () {
  let running: CallSwitch;
  let alice: SipPeer;
  let desk: SipPeer;
  let mobile: SipPeer;

  before(async function () {
    if (!hasIpv6) this.skip();
    running = await CallSwitch.start({
      'sip.listenAddresses': '127.0.0.1,::1',
      'rtp.listenAddresses': '127.0.0.1,::1',
    });
  });
  beforeEach(async () => {
    alice = await running.person('alice');
    desk = await running.person('bob');
    const server = running.endpointOn(IPV6);
    mobile = await running.person('bob', { address: IPV6, server });
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    if (hasIpv6) await running.stop();
  });

  const dial = async (): Promise<[Call, Call, Call]> => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const calls = await Promise.all([desk.expectCall(), mobile.expectCall()]);
    for (const taken of calls) taken.ring();
    await call.ringing();
    return [call, ...calls];
  };

  it('offers each an address of its own family, and keeps the ports of the winner only', async () => {
    const [call, atDesk, atMobile] = await dial();
    assert.equal(lineOf(atDesk.remoteSdp), 'IP4 127.0.0.1');
    assert.equal(lineOf(atMobile.remoteSdp), 'IP6 ::1');
    assert.equal(await running.relayedCalls(), 2);
    await Promise.all([call.answered(), atMobile.answer(BY_IPV6), atDesk.expectCancel()]);
    assert.equal(lineOf(call.remoteSdp), 'IP4 127.0.0.1');
    assert.deepEqual(await running.promisedAddresses(), ['127.0.0.1:40000', '[::1]:42000']);
    assert.equal(await running.relayedCalls(), 1);
    const held = call.expectReinvite(sdp({ version: 2 }));
    await atMobile.reinvite(BY_IPV6.replace('7 1 IN', '7 2 IN'));
    await held;
    await Promise.all([call.bye(), atMobile.expectBye()]);
    assert.equal((await running.lastRecord()).sipStatus, 200);
  });

  it('carries sound from one family to the other', async () => {
    const [atAlice, atBob] = await Promise.all([RtpPeer.open(), RtpPeer.open({ address: IPV6 })]);
    try {
      const call = await alice.invite(BOB, { sdp: atAlice.sdp() });
      const [atDesk, atMobile] = await Promise.all([desk.expectCall(), mobile.expectCall()]);
      atDesk.ring();
      await call.ringing();
      atBob.setRemote(atMobile.remoteSdp);
      await Promise.all([call.answered(), atMobile.answer(atBob.sdp()), atDesk.expectCancel()]);
      atAlice.setRemote(call.remoteSdp);
      await packetsPass(atBob, atAlice);
      await packetsPass(atAlice, atBob);
      await Promise.all([call.bye(), atMobile.expectBye()]);
    } finally {
      for (const peer of [atAlice, atBob]) peer.close();
    }
  });

  it('lets nothing be heard that would come from another port after the answer', async () => {
    const [call, atDesk, atMobile] = await dial();
    atMobile.ring(183, { body: BY_IPV6, ...SDP });
    const progress = await call.ringing(183);
    assert.equal(progress.body.length, 0);
    await atMobile.reject(486);
    const early = sdp({ port: 41_000 });
    atDesk.ring(183, { body: early, ...SDP });
    const heard = audioOf((await call.ringing(183)).body.toString()).port;
    await Promise.all([call.answered(), atDesk.answer(early)]);
    assert.equal(audioOf(call.remoteSdp).port, heard);
    await Promise.all([call.bye(), atDesk.expectBye()]);
  });

  it('frees the ports of both when nobody takes it', async () => {
    const [call, atDesk, atMobile] = await dial();
    await atMobile.reject(480);
    await Promise.all([call.rejected(486), atDesk.reject(486)]);
    await running.lastRecord();
    assert.equal(await running.relayedCalls(), 0);
  });
});

describe('a relay without an address of one family', () => {
  it('gives those devices an address of the other', async function () {
    if (!hasIpv6) this.skip();
    const running = await CallSwitch.start({ 'sip.listenAddresses': '127.0.0.1,::1' });
    try {
      const alice = await running.person('alice');
      const server = running.endpointOn(IPV6);
      const desk = await running.person('bob');
      const mobile = await running.person('bob', { address: IPV6, server });
      const call = await alice.invite(BOB, { sdp: sdp() });
      const [atDesk, atMobile] = await Promise.all([desk.expectCall(), mobile.expectCall()]);
      assert.equal(lineOf(atMobile.remoteSdp), 'IP4 127.0.0.1');
      atDesk.ring();
      await call.ringing();
      await Promise.all([
        call.answered(),
        atMobile.answer(sdp({ port: 42_000 })),
        atDesk.expectCancel(),
      ]);
      await Promise.all([call.bye(), atMobile.expectBye()]);
      await running.clear();
    } finally {
      await running.stop();
    }
  });
});
