import assert from 'node:assert/strict';
import { CallSwitch } from '../support/call-switch.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, SipPeer } from '../support/sip-peer.ts';

const SDP = { contentType: 'application/sdp' };
const ALLOW = 'INVITE, ACK, CANCEL, BYE, UPDATE';
const HELD = { body: sdp({ attributes: ['sendonly'], version: 2 }), ...SDP };
const HOLDING = { body: sdp({ port: 41_000, attributes: ['recvonly'], version: 2 }), ...SDP };

describe('UPDATE in a call through the switch (RFC 3311)', () => {
  let running: CallSwitch;
  let call: Call;
  let taken: Call;

  before(async () => {
    running = await CallSwitch.start();
  });
  beforeEach(async () => {
    const alice = await running.person('alice');
    const bob: SipPeer = await running.person('bob');
    const headers = { Allow: ALLOW };
    call = await alice.invite('sip:bob@parley.test', { sdp: sdp(), headers });
    taken = await bob.expectCall();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }), { headers })]);
  });
  afterEach(async () => {
    await Promise.all([call.bye(), taken.expectBye()]);
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  it('stays UPDATE on its way to a phone that allows it, both ways', async () => {
    for (const [asking, asked] of [
      [call, taken],
      [taken, call],
    ] as const) {
      const update = asking.request('UPDATE', HELD);
      const got = await asked.expectRequest('UPDATE');
      assert.equal(audioOf(got.message.body.toString()).direction, 'sendonly');
      assert.match(got.message.header('Contact') ?? '', /^<sip:(?:alice|bob)@127\.0\.0\.1:/);
      assert.match(got.message.header('Allow') ?? '', /UPDATE/);
      got.reply(200, HOLDING);
      const response = await update.final(200);
      assert.equal(audioOf(response.body.toString()).direction, 'recvonly');
      assert.match(response.header('Contact') ?? '', /^<sip:(?:alice|bob)@127\.0\.0\.1:/);
    }
  });

  it('changes what the relay knows of the two phones', async () => {
    const update = call.request('UPDATE', { body: sdp({ port: 40_010, version: 2 }), ...SDP });
    const got = await taken.expectRequest('UPDATE');
    got.reply(200, { body: sdp({ port: 41_010, version: 2 }), ...SDP });
    await update.final(200);
    assert.deepEqual(await running.promisedAddresses(), ['127.0.0.1:40010', '127.0.0.1:41010']);
  });

  for (const status of [488, 491, 504]) {
    it(`brings ${status} back, and the session stays as it was`, async () => {
      const update = call.request('UPDATE', { body: sdp({ port: 40_010, version: 2 }), ...SDP });
      (await taken.expectRequest('UPDATE')).reply(status);
      await update.final(status);
      assert.deepEqual(await running.promisedAddresses(), ['127.0.0.1:40000', '127.0.0.1:41000']);
    });
  }

  for (const status of [405, 501]) {
    it(`becomes a re-INVITE for a phone that says ${status} in spite of its Allow`, async () => {
      const update = call.request('UPDATE', HELD);
      (await taken.expectRequest('UPDATE')).reply(status);
      const invite = await taken.expectReinvite(HOLDING.body);
      assert.equal(audioOf(invite.body.toString()).direction, 'sendonly');
      await update.final(200);
    });
  }

  it('becomes a re-INVITE once the phone has left it out of its Allow', async () => {
    const first = taken.request('UPDATE', { headers: { Allow: 'INVITE, ACK, CANCEL, BYE' } });
    await first.final(200);
    const update = call.request('UPDATE', HELD);
    await taken.expectReinvite(HOLDING.body);
    await update.final(200);
  });

  it('is answered 491 when it crosses another, and 500 when it is the second of one side', async () => {
    const update = call.request('UPDATE', HELD);
    const got = await taken.expectRequest('UPDATE');
    await taken.request('UPDATE', HOLDING).final(491);
    const again = await call.request('UPDATE', HELD).final(500);
    assert.match(again.header('Retry-After') ?? '', /^(?:\d|10)$/);
    got.reply(200, HOLDING);
    await update.final(200);
    const back = taken.request('UPDATE', HOLDING);
    (await call.expectRequest('UPDATE')).reply(200, HELD);
    await back.final(200);
  });

  it('is not the fault of who asks when the answer is no answer', async () => {
    for (const body of ['', 'nonsense']) {
      const update = call.request('UPDATE', HELD);
      (await taken.expectRequest('UPDATE')).reply(200, body === '' ? {} : { body, ...SDP });
      await update.final(502);
    }
    assert.deepEqual(await running.promisedAddresses(), ['127.0.0.1:40000', '127.0.0.1:41000']);
  });
});
