import assert from 'node:assert/strict';
import { CallSwitch, cancelOf } from '../support/call-switch.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, SipPeer } from '../support/sip-peer.ts';

const SDP = { contentType: 'application/sdp' };

describe('inside a call through the switch', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  let bob: SipPeer;
  let call: Call;
  let taken: Call;

  before(async () => {
    running = await CallSwitch.start();
  });
  beforeEach(async () => {
    alice = await running.person('alice');
    bob = await running.person('bob');
    call = await alice.invite('sip:bob@parley.test', { sdp: sdp() });
    taken = await bob.expectCall();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  const hangUp = async (): Promise<void> => {
    await Promise.all([call.bye(), taken.expectBye()]);
  };

  for (const [name, held, seen, answer] of [
    ['sendonly', { attributes: ['sendonly'] }, 'sendonly', 'recvonly'],
    ['inactive', { attributes: ['inactive'] }, 'inactive', 'inactive'],
    ['0.0.0.0', { address: '0.0.0.0' }, 'sendonly', 'recvonly'],
  ] as const) {
    it(`passes hold by ${name} on, both ways, and takes it back`, async () => {
      for (const [asking, asked] of [
        [call, taken],
        [taken, call],
      ] as const) {
        const answered = asked.expectReinvite(sdp({ port: 42_000, attributes: [answer] }));
        const response = await asking.reinvite(sdp({ ...held, version: 2 }));
        const invite = await answered;
        assert.equal(audioOf(invite.body.toString()).direction, seen);
        assert.equal(audioOf(response.body.toString()).direction, answer);
        const resumed = asked.expectReinvite(sdp({ port: 42_000 }));
        await asking.reinvite(sdp({ version: 3 }));
        assert.equal(audioOf((await resumed).body.toString()).direction, 'sendrecv');
      }
      await hangUp();
    });
  }

  it('passes a change of codec on and keeps its ports', async () => {
    const before = [audioOf(call.remoteSdp).port, audioOf(taken.remoteSdp).port];
    const answered = taken.expectReinvite(sdp({ port: 41_000, formats: '9' }));
    const response = await call.reinvite(sdp({ formats: '9', version: 2 }));
    const invite = await answered;
    assert.equal(audioOf(invite.body.toString()).formats, '9');
    assert.deepEqual(
      [audioOf(response.body.toString()).port, audioOf(invite.body.toString()).port],
      before,
    );
    await hangUp();
  });

  it('passes a re-INVITE without SDP on: the other side makes the offer', async () => {
    const asked = call.request('INVITE');
    const invite = await taken.expectRequest('INVITE');
    assert.equal(invite.message.body.length, 0);
    invite.reply(200, { body: sdp({ port: 41_000, formats: '8 0' }), ...SDP });
    const response = await asked.final(200);
    assert.equal(audioOf(response.body.toString()).formats, '8 0');
    call.ack({ body: sdp({ formats: '8' }), ...SDP });
    const ack = await taken.expectRequest('ACK');
    assert.equal(audioOf(ack.message.body.toString()).formats, '8');
    await hangUp();
  });

  it('passes UPDATE with an offer on as a re-INVITE, and answers one without', async () => {
    const refresh = call.request('UPDATE');
    await refresh.final(200);
    const answered = taken.expectReinvite(sdp({ port: 41_000, attributes: ['recvonly'] }));
    const update = call.request('UPDATE', {
      body: sdp({ attributes: ['sendonly'], version: 2 }),
      ...SDP,
    });
    const response = await update.final(200);
    assert.equal(audioOf(response.body.toString()).direction, 'recvonly');
    await answered;
    await hangUp();
  });

  it('leaves the session as it was when the other side refuses an offer', async () => {
    const asked = call.request('INVITE', { body: sdp({ formats: '9', version: 2 }), ...SDP });
    const invite = await taken.expectRequest('INVITE');
    invite.reply(488, { headers: { Warning: '305 127.0.0.1 "No"' } });
    const response = await asked.final(488);
    assert.equal(response.header('Warning'), '305 parley.test "No"');
    const promised = await running.promisedAddresses();
    assert.deepEqual(promised, ['127.0.0.1:40000', '127.0.0.1:41000']);
    await hangUp();
  });

  it('answers 491 to an offer that crosses another, and 500 to a second one of the same side', async () => {
    const asked = call.request('INVITE', { body: sdp({ version: 2 }), ...SDP });
    const invite = await taken.expectRequest('INVITE');
    const crossing = taken.request('INVITE', { body: sdp({ version: 2 }), ...SDP });
    await crossing.final(491);
    const again = call.request('UPDATE', { body: sdp({ version: 3 }), ...SDP });
    const refused = await again.final(500);
    assert.match(refused.header('Retry-After') ?? '', /^(?:\d|10)$/);
    invite.reply(200, { body: sdp({ port: 41_000 }), ...SDP });
    await asked.final(200);
    call.ack();
    await taken.expectRequest('ACK');
    const answered = call.expectReinvite(sdp());
    await taken.reinvite(sdp({ port: 41_000, version: 2 }));
    await answered;
    await hangUp();
  });

  it('refuses a re-INVITE with something else than SDP, or with nonsense, and goes on', async () => {
    const text = call.request('INVITE', { body: 'x', contentType: 'text/plain' });
    await text.final(415);
    const nonsense = call.request('INVITE', { body: 'x', ...SDP });
    await nonsense.final(400);
    const answered = taken.expectReinvite(sdp({ port: 41_000 }));
    await call.reinvite(sdp({ version: 2 }));
    await answered;
    await hangUp();
  });

  it('tells the other side what held before when a re-INVITE is cancelled too late', async () => {
    const asked = call.request('INVITE', { body: sdp({ formats: '9', version: 2 }), ...SDP });
    const invite = await taken.expectRequest('INVITE');
    await asked.provisional(100);
    const cancel = await cancelOf(asked);
    await cancel.final(200);
    await asked.final(487);
    invite.reply(200, { body: sdp({ port: 41_000, formats: '9' }), ...SDP });
    await taken.expectRequest('ACK');
    const back = await taken.expectReinvite(sdp({ port: 41_000 }));
    assert.equal(audioOf(back.body.toString()).formats, '0 8');
    await hangUp();
  });

  it('passes INFO and MESSAGE on with every byte, and the answer back', async () => {
    const body = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    for (const [asking, asked] of [
      [call, taken],
      [taken, call],
    ] as const) {
      for (const method of ['INFO', 'MESSAGE']) {
        const headers = { 'Content-Encoding': 'deflate', 'Content-Disposition': 'render' };
        const sent = asking.request(method, { body, contentType: 'application/x-y', headers });
        const got = await asked.expectRequest(method);
        assert.deepEqual(got.message.body, body);
        assert.equal(got.message.header('Content-Type'), 'application/x-y');
        assert.equal(got.message.header('Content-Encoding'), 'deflate');
        assert.equal(got.message.header('Content-Disposition'), 'render');
        got.reply(202, { reasonPhrase: 'Later' });
        const response = await sent.final(202);
        assert.equal(response.reasonPhrase, 'Later');
      }
    }
    await hangUp();
  });

  it('passes a transfer on, and the news of it back', async () => {
    const { address, port } = running.endpoint;
    const refer = call.request('REFER', {
      headers: { 'Refer-To': `<sip:carol@${address}:${port};transport=tcp>` },
    });
    const got = await taken.expectRequest('REFER');
    assert.equal(got.message.header('Refer-To'), '<sip:carol@parley.test>');
    assert.equal(got.message.header('Referred-By'), '<sip:alice@parley.test>');
    assert.match(got.message.header('Contact') ?? '', /^<sip:alice@127\.0\.0\.1:/);
    got.reply(202);
    const accepted = await refer.final(202);
    assert.match(accepted.header('Contact') ?? '', /^<sip:bob@127\.0\.0\.1:/);
    const notify = taken.request('NOTIFY', {
      body: 'SIP/2.0 200 OK\r\n',
      contentType: 'message/sipfrag',
      headers: { Event: 'refer', 'Subscription-State': 'terminated;reason=noresource' },
    });
    const news = await call.expectRequest('NOTIFY');
    assert.equal(news.message.header('Event'), 'refer');
    assert.equal(news.message.header('Subscription-State'), 'terminated;reason=noresource');
    assert.match(news.message.header('Contact') ?? '', /^<sip:bob@127\.0\.0\.1:/);
    assert.equal(news.message.body.toString(), 'SIP/2.0 200 OK\r\n');
    news.reply(200);
    await notify.final(200);
    await hangUp();
  });

  it('lets the one who is transferred take the place of the other (RFC 3891)', async () => {
    const carol = await running.person('carol');
    const second = await alice.invite('sip:carol@parley.test', { sdp: sdp({ port: 40_100 }) });
    const secondTaken = await carol.expectCall();
    const [answer] = await Promise.all([
      second.answered(),
      secondTaken.answer(sdp({ port: 43_000 })),
    ]);
    const Replaces = `${second.callId};to-tag=${answer.toTag ?? ''};from-tag=${answer.fromTag ?? ''}`;
    const wrong = await bob.invite('sip:carol@parley.test', {
      sdp: sdp({ port: 41_100 }),
      headers: { Replaces: Replaces.replace('to-tag=', 'to-tag=x') },
    });
    await wrong.rejected(481);
    const third = await bob.invite('sip:carol@parley.test', {
      sdp: sdp({ port: 41_100 }),
      headers: { Replaces },
    });
    const invite = await secondTaken.expectReinvite(sdp({ port: 43_000, version: 2 }));
    assert.equal(invite.header('P-Asserted-Identity'), '"Bob Example" <sip:bob@parley.test>');
    await Promise.all([third.answered(), second.expectBye()]);
    assert.equal(audioOf(third.remoteSdp).port, audioOf(second.remoteSdp).port);
    const info = third.request('INFO', { body: 'x', contentType: 'text/plain' });
    (await secondTaken.expectRequest('INFO')).reply(200);
    await info.final(200);
    await Promise.all([secondTaken.bye(), third.expectBye()]);
    await hangUp();
  });

  it('answers OPTIONS itself and refuses what has no place in a call', async () => {
    await call.request('OPTIONS').final(200);
    const publish = call.request('PUBLISH', { headers: { Event: 'presence' } });
    const response = await publish.final(405);
    assert.match(response.header('Allow') ?? '', /INVITE/);
    await hangUp();
  });

  it('ends the call when the caller is gone in the middle of a request of the callee', async () => {
    const asked = taken.request('INFO', { body: 'x', contentType: 'text/plain' });
    (await call.expectRequest('INFO')).reply(481);
    await asked.final(480);
    await Promise.all([taken.expectBye(), call.expectBye()]);
  });
});
