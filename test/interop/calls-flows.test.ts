import assert from 'node:assert/strict';
import { CallSwitch } from '../support/call-switch.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';
const SDP = { contentType: 'application/sdp' };
const INSTANCE = '"<urn:uuid:00000000-0000-1000-8000-00000000000b>"';

describe('several flows of one device (RFC 5626 section 7)', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  /** In the order in which they registered; the newest is the first to be tried. */
  let wifi: SipPeer;
  let mobile: SipPeer;

  before(async () => {
    running = await CallSwitch.start();
  });
  beforeEach(async () => {
    alice = await running.person('alice');
    wifi = await flow(1);
    mobile = await flow(2);
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  async function flow(regId: number): Promise<SipPeer> {
    const password = await running.account('bob');
    const peer = await running.stranger('bob', { password, transport: 'tcp' });
    const contact = `<${peer.contactUri}>;+sip.instance=${INSTANCE};reg-id=${regId}`;
    await peer.register({ contact, headers: { Supported: 'outbound' } });
    return peer;
  }

  const ringing = (peer: SipPeer): number =>
    peer.seen.filter(({ message }) => message.isRequest && message.method === 'INVITE').length;

  const hangUp = async (call: Call, taken: Call): Promise<void> => {
    await Promise.all([call.bye(), taken.expectBye()]);
  };

  it('ring by one of them only', async () => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const taken = await mobile.expectCall();
    taken.ring();
    await call.ringing();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
    assert.equal(ringing(wifi), 0);
    await hangUp(call, taken);
  });

  it('are tried one after the other when a flow has failed, which is forgotten', async () => {
    mobile.loseConnections();
    const call = await alice.invite(BOB, { sdp: sdp() });
    const taken = await wifi.expectCall();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
    assert.equal(running.bindingCount('bob'), 1);
    await hangUp(call, taken);
  });

  it('are tried in turn when the flow fails while it rings', async () => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const lost = await mobile.expectCall();
    lost.ring();
    await call.ringing();
    mobile.loseConnections();
    const taken = await wifi.expectCall();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
    await hangUp(call, taken);
  });

  for (const status of [408, 430]) {
    it(`are tried in turn after ${status}`, async () => {
      const call = await alice.invite(BOB, { sdp: sdp() });
      const [, taken] = await Promise.all([
        mobile.expectCall().then((lost) => lost.reject(status)),
        wifi.expectCall(),
      ]);
      await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
      await hangUp(call, taken);
    });
  }

  it('are not tried any more once the device has spoken', async () => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const busy = await mobile.expectCall();
    await Promise.all([busy.reject(486), call.rejected(486)]);
    assert.equal(ringing(wifi), 0);
  });

  it('are not tried any more once the device has begun to answer', async () => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const early = await mobile.expectCall();
    early.ring(183, { body: sdp({ port: 41_000 }), ...SDP });
    await call.ringing(183);
    await Promise.all([early.reject(408), call.rejected(408)]);
    assert.equal(ringing(wifi), 0);
  });

  it('all fail: the caller hears that nobody is there, at once', async () => {
    mobile.loseConnections();
    wifi.loseConnections();
    const call = await alice.invite(BOB, { sdp: sdp() });
    await call.rejected(480);
    assert.equal(running.bindingCount('bob'), 0);
  });

  it('get a text by one of them, and by the next when that has failed', async () => {
    const write = (body: string): Promise<number> =>
      alice
        .request('MESSAGE', BOB, { body, contentType: 'text/plain' })
        .then((sent) => sent.final())
        .then(({ statusCode }) => statusCode);
    const [one, first] = await Promise.all([
      write('one'),
      mobile.expectRequest('MESSAGE').then((got) => {
        got.reply(200);
        return got.message.body.toString();
      }),
    ]);
    assert.deepEqual([one, first], [200, 'one']);
    mobile.loseConnections();
    const [two, second] = await Promise.all([
      write('two'),
      wifi.expectRequest('MESSAGE').then((got) => {
        got.reply(200);
        return got.message.body.toString();
      }),
    ]);
    assert.deepEqual([two, second], [200, 'two']);
    assert.deepEqual(
      wifi.seen.filter(({ message }) => message.isRequest && message.method === 'MESSAGE').length,
      1,
    );
  });

  it('ring beside other devices', async () => {
    const desk = await running.person('bob');
    const call = await alice.invite(BOB, { sdp: sdp() });
    const [atDesk, atMobile] = await Promise.all([desk.expectCall(), mobile.expectCall()]);
    atDesk.ring();
    await call.ringing();
    await Promise.all([
      call.answered(),
      atMobile.answer(sdp({ port: 41_000 })),
      atDesk.expectCancel(),
    ]);
    assert.equal(audioOf(call.remoteSdp).formats, '0 8');
    assert.equal(ringing(wifi), 0);
    await hangUp(call, atMobile);
  });
});
