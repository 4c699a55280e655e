import assert from 'node:assert/strict';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { reasonPhraseOf } from '../../core/sip/status.ts';
import {
  CallSwitch,
  earlyRequest,
  earlyRequestBack,
  prack,
  ringReliably,
} from '../support/call-switch.ts';
import { packetsPass, RtpPeer } from '../support/rtp-peer.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';
const SDP = { contentType: 'application/sdp' };
const ANSWER = sdp({ port: 41_000 });
const KNOWS_ALL = { Supported: '100rel', Allow: 'INVITE, ACK, BYE, CANCEL, PRACK, UPDATE' };

describe('reliable provisional answers of devices (RFC 3262)', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  let bob: SipPeer;

  before(async () => {
    running = await CallSwitch.start();
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

  const dial = async (headers: Record<string, string> = {}): Promise<[Call, Call]> => {
    const call = await alice.invite(BOB, { sdp: sdp(), headers });
    return [call, await bob.expectCall()];
  };

  const reinviteAndHangUp = async (call: Call, taken: Call): Promise<void> => {
    const answered = call.expectReinvite(sdp({ version: 9 }));
    await taken.reinvite(sdp({ port: 41_000, version: 9 }));
    await answered;
    await Promise.all([taken.bye(), call.expectBye()]);
  };

  it('are offered with an offer only', async () => {
    const [call, taken] = await dial();
    assert.equal(taken.incoming?.message.header('Supported'), 'replaces, 100rel');
    assert.match(taken.incoming.message.header('Allow') ?? '', /\bPRACK\b/);
    await Promise.all([taken.reject(486), call.rejected(486)]);
    const empty = await alice.invite(BOB);
    const asked = await bob.expectCall();
    assert.equal(asked.incoming?.message.header('Supported'), 'replaces');
    await Promise.all([asked.reject(486), empty.rejected(486)]);
  });

  it('get a PRACK each, and reach a caller who does not know them as others do', async () => {
    const [call, taken] = await dial();
    const first = await ringReliably(taken, 180, { rseq: 7 });
    const { sequence } = taken.incoming?.message.cseq ?? { sequence: 0 };
    assert.equal(first.header('RAck'), `7 ${sequence} INVITE`);
    const ringing = await call.ringing(180);
    assert.equal(ringing.header('Require'), undefined);
    const second = await ringReliably(taken, 183, { rseq: 8, body: ANSWER });
    assert.equal(second.header('RAck'), `8 ${sequence} INVITE`);
    const progress = await call.ringing(183);
    assert.equal(progress.header('RSeq'), undefined);
    const early = audioOf(progress.body.toString()).port;
    // RFC 3261 section 13.2.1: the answer was given; the 2xx need not repeat it.
    await Promise.all([call.answered(), taken.answer()]);
    assert.equal(audioOf(call.remoteSdp).port, early);
    const addresses = await running.promisedAddresses();
    assert.deepEqual(addresses, ['127.0.0.1:40000', '127.0.0.1:41000']);
    await reinviteAndHangUp(call, taken);
  });

  it('are acknowledged once, however often they come', async () => {
    const [call, taken] = await dial();
    const reliable = { headers: { Require: '100rel', RSeq: '3' } };
    taken.ring(180, reliable);
    (await taken.expectRequest('PRACK')).reply(200);
    taken.ring(180, reliable);
    await ringReliably(taken, 183, { rseq: 4 });
    await Promise.all([taken.reject(486), call.rejected(486)]);
    const pracks = bob.seen.filter(
      ({ message }) => message.isRequest && message.method === 'PRACK',
    );
    assert.equal(pracks.length, 2);
  });

  it('reach a caller who supports them as reliably, and the 200 says the same', async () => {
    const [call, taken] = await dial(KNOWS_ALL);
    const acknowledged = ringReliably(taken, 183, { rseq: 1, body: ANSWER });
    const progress = await call.ringing(183);
    assert.equal(progress.header('Require'), '100rel');
    await acknowledged;
    await (await prack(call, progress)).final(200);
    await Promise.all([call.answered(), taken.answer()]);
    assert.equal(call.remoteSdp, progress.body.toString());
    await reinviteAndHangUp(call, taken);
  });

  it('leave the ports where they were when the call fails after all', async () => {
    const [call, taken] = await dial(KNOWS_ALL);
    const acknowledged = ringReliably(taken, 183, { rseq: 1, body: ANSWER });
    const progress = await call.ringing(183);
    await acknowledged;
    await (await prack(call, progress)).final(200);
    await Promise.all([taken.reject(486), call.rejected(486)]);
  });

  it('let the caller change the session before the answer by UPDATE (RFC 3311)', async () => {
    const [call, taken] = await dial(KNOWS_ALL);
    const acknowledged = ringReliably(taken, 183, { rseq: 1, body: ANSWER });
    const progress = await call.ringing(183);
    await acknowledged;
    const { sequence } = progress.cseq;
    const offer = { body: sdp({ attributes: ['sendonly'], version: 2 }), ...SDP };
    const tooEarly = await earlyRequest(call, progress, 'UPDATE', {
      cseq: sequence + 1,
      ...offer,
    });
    await tooEarly.final(491);
    const acknowledgement = await earlyRequest(call, progress, 'PRACK', {
      cseq: sequence + 2,
      headers: { RAck: `${progress.header('RSeq') ?? ''} ${sequence} INVITE` },
    });
    await acknowledgement.final(200);
    const update = await earlyRequest(call, progress, 'UPDATE', { cseq: sequence + 3, ...offer });
    const asked = await taken.expectRequest('UPDATE');
    assert.equal(audioOf(asked.message.body.toString()).direction, 'sendonly');
    asked.reply(200, { body: sdp({ port: 41_002, attributes: ['recvonly'], version: 2 }), ...SDP });
    const response = await update.final(200);
    assert.equal(audioOf(response.body.toString()).direction, 'recvonly');
    await Promise.all([call.answered(), taken.answer(ANSWER)]);
    assert.equal(call.remoteSdp, '');
    const addresses = await running.promisedAddresses();
    assert.deepEqual(addresses, ['127.0.0.1:40000', '127.0.0.1:41002']);
    await Promise.all([taken.bye(), call.expectBye()]);
  });

  it('let the callee change the session before the answer, and the refusal back', async () => {
    const [call, taken] = await dial(KNOWS_ALL);
    const acknowledged = ringReliably(taken, 183, { rseq: 1, body: ANSWER });
    const progress = await call.ringing(183);
    await acknowledged;
    await (await prack(call, progress)).final(200);
    const offer = { body: sdp({ port: 41_000, attributes: ['inactive'], version: 2 }), ...SDP };
    const refused = await earlyRequestBack(taken, 'UPDATE', offer);
    (await call.expectRequest('UPDATE')).reply(488);
    await refused.final(488);
    // 481 would end a call that is up; this one still has its INVITE.
    const unknown = await earlyRequestBack(taken, 'UPDATE', { ...offer, cseq: 2 });
    (await call.expectRequest('UPDATE')).reply(481);
    await unknown.final(480);
    const update = await earlyRequestBack(taken, 'UPDATE', { ...offer, cseq: 3 });
    const asked = await call.expectRequest('UPDATE');
    assert.equal(audioOf(asked.message.body.toString()).direction, 'inactive');
    asked.reply(200, { body: sdp({ attributes: ['inactive'], version: 2 }), ...SDP });
    const response = await update.final(200);
    assert.equal(audioOf(response.body.toString()).direction, 'inactive');
    await Promise.all([taken.reject(486), call.rejected(486)]);
  });

  it('carry sound before the answer, also to where an UPDATE has moved it', async () => {
    const [atAlice, atBob, elsewhere] = await Promise.all([
      RtpPeer.open(),
      RtpPeer.open(),
      RtpPeer.open(),
    ]);
    try {
      const call = await alice.invite(BOB, { sdp: atAlice.sdp(), headers: KNOWS_ALL });
      const taken = await bob.expectCall();
      atBob.setRemote(taken.remoteSdp);
      const acknowledged = ringReliably(taken, 183, { rseq: 1, body: atBob.sdp() });
      const progress = await call.ringing(183);
      await acknowledged;
      await (await prack(call, progress)).final(200);
      atAlice.setRemote(progress.body.toString());
      await packetsPass(atBob, atAlice);
      await packetsPass(atAlice, atBob);
      const offer = { body: elsewhere.sdp({ version: 2 }), ...SDP };
      const update = await earlyRequestBack(taken, 'UPDATE', offer);
      const asked = await call.expectRequest('UPDATE');
      asked.reply(200, { body: atAlice.sdp({ version: 2 }), ...SDP });
      elsewhere.setRemote((await update.final(200)).body.toString());
      await packetsPass(elsewhere, atAlice);
      await packetsPass(atAlice, elsewhere);
      await Promise.all([call.answered(), taken.answer()]);
      await packetsPass(atAlice, elsewhere);
      await Promise.all([taken.bye(), call.expectBye()]);
    } finally {
      for (const peer of [atAlice, atBob, elsewhere]) peer.close();
    }
  });

  it('refuse an UPDATE that could only become a re-INVITE, which must wait for the answer', async () => {
    const [call, taken] = await dial(KNOWS_ALL);
    const acknowledged = ringReliably(taken, 183, { rseq: 1, body: ANSWER, allow: 'INVITE, ACK' });
    const progress = await call.ringing(183);
    await acknowledged;
    await (await prack(call, progress)).final(200);
    const { sequence } = progress.cseq;
    const offer = { body: sdp({ version: 2 }), ...SDP };
    const update = await earlyRequest(call, progress, 'UPDATE', { cseq: sequence + 2, ...offer });
    await update.final(504);
    const refresh = await earlyRequest(call, progress, 'UPDATE', { cseq: sequence + 3 });
    await refresh.final(200);
    await Promise.all([call.answered(), taken.answer()]);
    await reinviteAndHangUp(call, taken);
  });

  it('refuse an UPDATE to an offer without an answer: 500 to the caller, 491 to the callee', async () => {
    const [call, taken] = await dial();
    taken.ring();
    const ringing = await call.ringing();
    const { sequence } = ringing.cseq;
    const offer = { body: sdp({ version: 2 }), ...SDP };
    const update = await earlyRequest(call, ringing, 'UPDATE', { cseq: sequence + 1, ...offer });
    assert.match((await update.final(500)).header('Retry-After') ?? '', /^(?:\d|10)$/);
    await (await earlyRequestBack(taken, 'UPDATE', offer)).final(491);
    await Promise.all([taken.reject(486), call.rejected(486)]);
  });

  describe('from behind a proxy that forks', () => {
    const answerAs = (
      taken: Call,
      toTag: string,
      { status, rseq, body = '' }: { status: number; rseq?: number; body?: string },
    ): void => {
      const { incoming } = taken;
      assert.ok(incoming);
      const reasonPhrase = reasonPhraseOf(status);
      const response = OutgoingMessage.responseTo(incoming.message, status, {
        reasonPhrase,
        toTag,
      });
      response.add('Contact', `<sip:${toTag}@127.0.0.1:${bob.port}>`);
      if (rseq !== undefined) response.add('Require', '100rel').add('RSeq', String(rseq));
      if (body !== '') response.setBody(body, SDP.contentType);
      bob.sendMessage(response, incoming.path);
    };

    it('get their PRACK each, and the one that takes the call has its own answer', async () => {
      const [call, taken] = await dial();
      answerAs(taken, 'one', { status: 183, rseq: 1, body: ANSWER });
      (await taken.expectRequest('PRACK')).reply(200);
      await call.ringing(183);
      const other = sdp({ port: 42_000, formats: '8' });
      answerAs(taken, 'two', { status: 183, rseq: 1, body: other });
      const second = await taken.expectRequest('PRACK');
      assert.equal(second.message.toTag, 'two');
      assert.match(second.message.requestUri, /^sip:two@/);
      second.reply(200);
      answerAs(taken, 'two', { status: 200 });
      await Promise.all([call.answered(), taken.expectRequest('ACK')]);
      assert.equal(audioOf(call.remoteSdp).formats, '8');
      assert.deepEqual(await running.promisedAddresses(), ['127.0.0.1:40000', '127.0.0.1:42000']);
      const bye = call.bye();
      (await taken.expectRequest('BYE')).reply(200);
      await bye;
    });

    it('leave nothing behind, however many they are', async () => {
      const [call, taken] = await dial(KNOWS_ALL);
      for (let index = 0; index < 60; index++) {
        const body = sdp({ port: 41_000 + 2 * index });
        answerAs(taken, `tag${index}`, { status: 183, rseq: 1, body });
        (await taken.expectRequest('PRACK')).reply(200);
      }
      const progress = await call.ringing(183);
      await (await prack(call, progress)).final(200);
      await Promise.all([taken.reject(486), call.rejected(486)]);
    });
  });

  describe('at several devices', () => {
    let desk: SipPeer;

    beforeEach(async () => {
      desk = await running.person('bob', { transport: 'tcp' });
    });

    it('each has its own answer, and the one that takes the call need not repeat it', async () => {
      const [call, first] = await dial();
      const second = await desk.expectCall();
      await ringReliably(first, 183, { rseq: 1, body: ANSWER });
      await call.ringing(183);
      await ringReliably(second, 183, { rseq: 50, body: sdp({ port: 42_000, formats: '8' }) });
      await Promise.all([call.answered(), second.answer(), first.expectCancel()]);
      assert.equal(audioOf(call.remoteSdp).formats, '8');
      const addresses = await running.promisedAddresses();
      assert.deepEqual(addresses, ['127.0.0.1:40000', '127.0.0.1:42000']);
      await Promise.all([second.bye(), call.expectBye()]);
    });

    it('do not bind a caller to the first of them', async () => {
      const [call, first] = await dial(KNOWS_ALL);
      const second = await desk.expectCall();
      await ringReliably(first, 183, { rseq: 1, body: ANSWER });
      const progress = await call.ringing(183);
      assert.equal(progress.header('Require'), undefined);
      assert.ok(progress.body.length > 0);
      await Promise.all([
        call.answered(),
        second.answer(sdp({ port: 42_000, formats: '8' })),
        first.expectCancel(),
      ]);
      assert.equal(audioOf(call.remoteSdp).formats, '8');
      await Promise.all([second.bye(), call.expectBye()]);
    });

    it('are told without early media to a caller who takes nothing else', async () => {
      const [call, first] = await dial({ Require: '100rel' });
      const second = await desk.expectCall();
      await ringReliably(first, 183, { rseq: 1, body: ANSWER });
      const progress = await call.ringing(183);
      assert.equal(progress.header('Require'), '100rel');
      assert.equal(progress.body.length, 0);
      await (await prack(call, progress)).final(200);
      await Promise.all([
        call.answered(),
        second.answer(sdp({ port: 42_000, formats: '8' })),
        first.expectCancel(),
      ]);
      assert.equal(audioOf(call.remoteSdp).formats, '8');
      await Promise.all([second.bye(), call.expectBye()]);
    });
  });
});
