import assert from 'node:assert/strict';
import { CallSwitch, prack } from '../support/call-switch.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';

describe('setting up a call through the switch', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  let bob: SipPeer;

  before(async () => {
    running = await CallSwitch.start({ 'calls.ringTimeoutSeconds': '2' });
  });
  beforeEach(async () => {
    alice = await running.person('alice');
    bob = await running.person('bob');
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  const dial = (
    options: { offer?: string; headers?: Record<string, string> } = {},
  ): Promise<Call> =>
    alice.invite(BOB, {
      ...(options.offer === '' ? {} : { sdp: options.offer ?? sdp() }),
      headers: options.headers ?? {},
    });

  const establish = async (
    offer = sdp(),
    answer = sdp({ port: 41_000 }),
  ): Promise<{ call: Call; taken: Call }> => {
    const call = await dial({ offer });
    const taken = await bob.expectCall();
    taken.ring();
    await call.ringing();
    await Promise.all([call.answered(), taken.answer(answer)]);
    return { call, taken };
  };

  it('rings, is answered and ends with the BYE of the caller; nobody sees the other device', async () => {
    const { call, taken } = await establish();
    const invite = taken.incoming?.message;
    assert(invite !== undefined);
    assert.match(invite.header('From') ?? '', /^"Alice Example" <sip:alice@parley\.test>;tag=/);
    assert.match(invite.header('To') ?? '', /^<sip:bob@parley\.test>$/);
    assert.equal(invite.header('P-Asserted-Identity'), '"Alice Example" <sip:alice@parley.test>');
    assert.match(invite.header('Contact') ?? '', /^<sip:alice@127\.0\.0\.1:/);
    assert.equal(invite.header('Max-Forwards'), '69');
    const [toBob, toAlice] = [audioOf(taken.remoteSdp), audioOf(call.remoteSdp)];
    assert.notEqual(toBob.port, 40_000);
    assert.notEqual(toAlice.port, 41_000);
    assert.notEqual(toBob.port, toAlice.port);
    for (const { message, direction } of alice.seen) {
      const text = message.bytes.toString('latin1');
      if (direction === 'in') assert.ok(!text.includes(`:${bob.port}`), text);
    }
    for (const { message, direction } of bob.seen) {
      const text = message.bytes.toString('latin1');
      if (direction === 'in') assert.ok(!text.includes(`:${alice.port}`), text);
    }
    const [, bye] = await Promise.all([
      call.bye({ headers: { Reason: 'SIP;cause=200;text="Had to go"' } }),
      taken.expectBye(),
    ]);
    assert.equal(bye.header('Reason'), 'SIP;cause=200;text="Had to go"');
    const record = await running.lastRecord();
    assert.equal(record.caller, 'alice');
    assert.equal(record.callee, 'bob');
    assert.equal(record.sipStatus, 200);
    assert.equal(record.endedBy, 'caller');
    assert.equal(record.reason, 'Had to go');
    assert.ok(record.answeredAtMs !== null && record.endedAtMs >= record.answeredAtMs);
  });

  it('ends with the BYE of the callee', async () => {
    const { call, taken } = await establish();
    await Promise.all([taken.bye(), call.expectBye()]);
    assert.equal((await running.lastRecord()).endedBy, 'callee');
  });

  it('survives both hanging up at once', async () => {
    const { call, taken } = await establish();
    const byes = [call.request('BYE'), taken.request('BYE')];
    for (const bye of byes) assert.ok([200, 481].includes((await bye.final()).statusCode));
  });

  it('goes over TCP as over UDP', async () => {
    const carol = await running.person('carol', { transport: 'tcp' });
    const call = await carol.invite(BOB, { sdp: sdp() });
    const taken = await bob.expectCall();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
    await Promise.all([taken.bye(), call.expectBye()]);
    const back = await bob.invite('sip:carol@parley.test', { sdp: sdp() });
    const takenBack = await carol.expectCall();
    assert.match(takenBack.incoming?.message.header('Contact') ?? '', /;transport=tcp>/);
    await Promise.all([back.answered(), takenBack.answer(sdp({ port: 41_000 }))]);
    await Promise.all([back.bye(), takenBack.expectBye()]);
  });

  for (const [status, phrase] of [
    [486, 'Busy Here'],
    [603, 'Decline'],
    [480, 'Away'],
    [607, 'Unwanted'],
    [488, 'Not Acceptable Here'],
    [302, 'Moved Temporarily'],
  ] as const) {
    it(`passes ${status} on with its words`, async () => {
      const call = await dial();
      const taken = await bob.expectCall();
      const headers = { Reason: 'Q.850;cause=17;text="user busy"', 'User-Agent': 'phone' };
      const moved = status === 302 ? { Contact: '<sip:office@elsewhere.test>' } : {};
      await Promise.all([
        taken.reject(status, { reasonPhrase: phrase, headers: { ...headers, ...moved } }),
        call.rejected(status).then((response) => {
          assert.equal(response.reasonPhrase, phrase);
          assert.equal(response.header('Reason'), headers.Reason);
          assert.equal(response.header('Contact'), moved.Contact);
          assert.equal(response.header('User-Agent'), undefined);
        }),
      ]);
      const record = await running.lastRecord();
      assert.equal(record.sipStatus, status);
      assert.equal(record.endedBy, 'callee');
      assert.equal(record.answeredAtMs, null);
    });
  }

  it('does not pass a challenge or a 503 of a device on', async () => {
    for (const [theirs, ours] of [
      [407, 403],
      [503, 500],
    ] as const) {
      const call = await dial();
      const taken = await bob.expectCall();
      const headers = { 'Proxy-Authenticate': 'Digest realm="x", nonce="y"' };
      const [, response] = await Promise.all([
        taken.reject(theirs, { headers }),
        call.rejected(ours),
      ]);
      assert.equal(response.header('Proxy-Authenticate'), undefined);
    }
  });

  it('passes CANCEL on with its Reason', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    taken.ring();
    await call.ringing();
    const Reason = 'SIP;cause=200;text="Changed my mind"';
    const [cancel] = await Promise.all([
      taken.expectCancel(),
      call.cancel({ headers: { Reason } }),
    ]);
    assert.equal(cancel.header('Reason'), Reason);
    const record = await running.lastRecord();
    assert.equal(record.sipStatus, 487);
    assert.equal(record.endedBy, 'caller');
  });

  it('hangs up on a device whose 200 crosses the CANCEL', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    taken.ring();
    await call.ringing();
    await call.cancel();
    await taken.answer(sdp({ port: 41_000 }));
    await taken.expectBye();
  });

  it('gives up when nobody answers: 480, and CANCEL to the device', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    taken.ring();
    const [cancel, response] = await Promise.all([taken.expectCancel(), call.rejected(480)]);
    assert.match(cancel.header('Reason') ?? '', /cause=408/);
    assert.match(response.header('Reason') ?? '', /No answer/);
  });

  it('rings no longer than the caller asks for', async () => {
    const call = await dial({ headers: { Expires: '1' } });
    const taken = await bob.expectCall();
    taken.ring();
    const startedMs = performance.now();
    await Promise.all([taken.expectCancel(), call.rejected(480)]);
    assert.ok(performance.now() - startedMs < 1900);
  });

  it('answers 404 for a stranger and 480 for somebody without a device', async () => {
    const nobody = await alice.invite('sip:nobody@parley.test', { sdp: sdp() });
    await nobody.rejected(404);
    await bob.register({ expires: 0 });
    const response = await (await dial()).rejected(480);
    assert.match(response.header('Warning') ?? '', /No device is connected/);
    await bob.register();
  });

  it('refuses what is no offer', async () => {
    for (const [offer, status] of [
      ['v=0\r\nnonsense\r\n', 400],
      [sdp({ port: 0 }), 488],
      [sdp().replace('m=audio', 'm=video'), 488],
    ] as const) {
      const response = await (await dial({ offer })).rejected(status);
      assert.match(response.header('Warning') ?? '', /^3\d\d parley\.test "/);
    }
    const text = await alice.invite(BOB, { body: 'hello', contentType: 'text/plain' });
    const response = await text.rejected(415);
    assert.equal(response.header('Accept'), 'application/sdp');
  });

  it('leaves an unknown codec to the two phones', async () => {
    const odd = sdp({ formats: '97', attributes: ['rtpmap:97 made-up/16000'] });
    const { call, taken } = await establish(odd, odd);
    assert.match(taken.remoteSdp, /a=rtpmap:97 made-up\/16000/);
    assert.equal(audioOf(call.remoteSdp).formats, '97');
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('offers AVPF as AVP to the device and answers in AVPF', async () => {
    const offer = sdp({ profile: 'RTP/AVPF', attributes: ['rtcp-fb:* ccm tmmbr'] });
    const { call, taken } = await establish(offer);
    assert.equal(audioOf(taken.remoteSdp).profile, 'RTP/AVP');
    assert.ok(!taken.remoteSdp.includes('rtcp-fb'));
    assert.equal(audioOf(call.remoteSdp).profile, 'RTP/AVPF');
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('passes the keys of SRTP between the two ends', async () => {
    const keys = 'crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz';
    const secured = sdp({ profile: 'RTP/SAVP', attributes: [keys] });
    const { call, taken } = await establish(secured, secured);
    assert.ok(taken.remoteSdp.includes(keys) && call.remoteSdp.includes(keys));
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('lets the callee make the offer when the caller makes none', async () => {
    const call = await dial({ offer: '' });
    const taken = await bob.expectCall();
    assert.equal(taken.remoteSdp, '');
    const answered = call.answered({
      body: sdp({ port: 40_500 }),
      contentType: 'application/sdp',
    });
    const ack = await taken.answer(sdp({ port: 41_000 }));
    await answered;
    assert.notEqual(audioOf(call.remoteSdp).port, 41_000);
    const answer = audioOf(ack.body.toString());
    assert.ok(answer.port > 0 && answer.port !== 40_500);
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('ends a call whose answer is missing in the ACK', async () => {
    const call = await dial({ offer: '' });
    const taken = await bob.expectCall();
    const [ack] = await Promise.all([taken.answer(sdp({ port: 41_000 })), call.answered()]);
    assert.equal(ack.body.length, 0);
    await Promise.all([call.expectBye(), taken.expectBye()]);
  });

  it('passes early media on, then the answer', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    const answer = { body: sdp({ port: 41_000 }), contentType: 'application/sdp' };
    taken.ring(183, answer);
    const progress = await call.ringing(183);
    const early = audioOf(progress.body.toString()).port;
    assert.ok(early > 0 && early !== 41_000);
    await Promise.all([call.answered(), taken.answer(answer.body)]);
    assert.equal(audioOf(call.remoteSdp).port, early);
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('answers reliably when the caller requires 100rel, and with SDP not before the PRACK', async () => {
    const call = await dial({ headers: { Require: '100rel' } });
    const taken = await bob.expectCall();
    const answer = { body: sdp({ port: 41_000 }), contentType: 'application/sdp' };
    taken.ring(183, answer);
    const progress = await call.ringing(183);
    assert.match(progress.header('Require') ?? '', /100rel/);
    await taken.answer(answer.body);
    const acknowledgement = await prack(call, progress);
    await acknowledgement.final(200);
    await call.answered();
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('takes a re-INVITE of the callee that comes before the caller knows of the answer', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    const [invite, response] = await Promise.all([
      call.answered().then(() => call.expectReinvite(sdp({ version: 2 }))),
      taken
        .answer(sdp({ port: 41_000 }))
        .then(() => taken.reinvite(sdp({ port: 41_000, attributes: ['sendonly'], version: 2 }))),
    ]);
    assert.equal(audioOf(invite.body.toString()).direction, 'sendonly');
    assert.equal(audioOf(response.body.toString()).direction, 'sendrecv');
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('says 502 to the caller and BYE to a device that answers nonsense', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    await Promise.all([taken.answer('nonsense'), call.rejected(502)]);
    await taken.expectBye();
  });

  it('carries an INVITE of 60 kB, or says why not', async () => {
    const carol = await running.person('carol', { transport: 'tcp' });
    const dave = await running.person('dave', { transport: 'tcp' });
    const lines = Array.from({ length: 600 }, (_, index) => `x-filler:${index} ${'y'.repeat(80)}`);
    const call = await carol.invite('sip:dave@parley.test', { sdp: sdp({ attributes: lines }) });
    const taken = await dave.expectCall();
    assert.ok(taken.remoteSdp.includes('a=x-filler:599'));
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('answers 482 to its own INVITE when it comes back', async () => {
    const call = await dial();
    const taken = await bob.expectCall();
    const hop = taken.incoming?.message.header('X-Parley-Hop') ?? '';
    const loop = await alice.invite(BOB, { sdp: sdp(), headers: { 'X-Parley-Hop': hop } });
    await loop.rejected(482);
    await Promise.all([taken.reject(486), call.rejected(486)]);
  });

  describe('at several devices', () => {
    let desk: SipPeer;
    let mobile: SipPeer;

    beforeEach(async () => {
      desk = await running.person('bob');
      mobile = await running.person('bob', { transport: 'tcp' });
    });
    afterEach(async () => {
      await desk.register({ expires: 0 });
      await mobile.register({ expires: 0 });
    });

    it('rings all; the first to answer wins, the others are told', async () => {
      const call = await dial();
      const rings = await Promise.all([bob, desk, mobile].map((peer) => peer.expectCall()));
      for (const ring of rings) ring.ring();
      await call.ringing();
      const [first, second, third] = rings as [Call, Call, Call];
      const [, , ...cancels] = await Promise.all([
        call.answered(),
        second.answer(sdp({ port: 41_000 })),
        first.expectCancel(),
        third.expectCancel(),
      ]);
      for (const cancel of cancels) {
        assert.equal(cancel.header('Reason'), 'SIP;cause=200;text="Call completed elsewhere"');
      }
      await Promise.all([call.bye(), second.expectBye()]);
    });

    it('hangs up on the second of two that answer at once', async () => {
      const call = await dial();
      const rings = await Promise.all([bob, desk, mobile].map((peer) => peer.expectCall()));
      const [first, second, third] = rings as [Call, Call, Call];
      third.ring();
      const taken = [first, second].map((ring) => ring.answer(sdp({ port: 41_000 })));
      await Promise.all([call.answered(), third.expectCancel(), ...taken]);
      await Promise.any([first, second].map((ring) => ring.expectBye()));
      await call.bye();
      await Promise.all([first, second].map((ring) => ring.expectBye(1000).catch(() => undefined)));
    });

    it('stops all when one declines with 603', async () => {
      const call = await dial();
      const rings = await Promise.all([bob, desk, mobile].map((peer) => peer.expectCall()));
      for (const ring of rings) ring.ring();
      const [first, second, third] = rings as [Call, Call, Call];
      await Promise.all([
        call.rejected(603),
        first.reject(603),
        second.expectCancel(),
        third.expectCancel(),
      ]);
    });

    it('waits for the others when one is busy, and tells the best of all refusals', async () => {
      const call = await dial();
      const rings = await Promise.all([bob, desk, mobile].map((peer) => peer.expectCall()));
      for (const ring of rings) ring.ring();
      const [first, second, third] = rings as [Call, Call, Call];
      await first.reject(480);
      await second.reject(486);
      await Promise.all([call.rejected(486), third.reject(500)]);
    });

    it('takes the answer of another device after early media of the first', async () => {
      const call = await dial();
      const rings = await Promise.all([bob, desk, mobile].map((peer) => peer.expectCall()));
      const [first, second, third] = rings as [Call, Call, Call];
      third.ring();
      const early = { body: sdp({ port: 41_000 }), contentType: 'application/sdp' };
      first.ring(183, early);
      await call.ringing(183);
      await Promise.all([
        call.answered(),
        second.answer(sdp({ port: 42_000, formats: '8' })),
        first.expectCancel(),
        third.expectCancel(),
      ]);
      assert.equal(audioOf(call.remoteSdp).formats, '8');
      await Promise.all([second.bye(), call.expectBye()]);
    });
  });

  it('rings the other devices of the caller himself', async () => {
    const mobile = await running.person('alice');
    const call = await alice.invite('sip:alice@parley.test', { sdp: sdp() });
    const [own, other] = await Promise.all([alice.expectCall(), mobile.expectCall()]);
    await Promise.all([own.reject(486), other.answer(sdp({ port: 41_000 })), call.answered()]);
    await Promise.all([call.bye(), other.expectBye()]);
  });

  it('answers OPTIONS as it would answer INVITE', async () => {
    const ask = async (uri: string): Promise<number> =>
      (await (await alice.request('OPTIONS', uri)).final()).statusCode;
    assert.equal(await ask(BOB), 200);
    assert.equal(await ask('sip:nobody@parley.test'), 404);
    await bob.register({ expires: 0 });
    assert.equal(await ask(BOB), 480);
    await bob.register();
  });
});
