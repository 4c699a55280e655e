/** Scenarios of requests that the application proxies instead of answering (RFC 3261 section 16). */

import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import { sdp } from '../../support/sdp.ts';
import type { ProxyOptions, ProxyResult } from '../../support/sip-engines.ts';
import type { Call, SipPeer } from '../../support/sip-peer.ts';
import {
  comes,
  GREETING,
  LOOK_MS,
  OTHER,
  prackFor,
  scenarios,
  withResolver,
  type Stage,
} from './scenario.ts';

/** RFC 3261 section 16.6 step 11: more than three minutes since the last provisional response. */
const TIMER_C_SECONDS = 186;

/** A caller, a proxy and as many called phones, of which the application names so many at first. */
async function proxied(
  stage: Stage,
  count: number,
  options: ProxyOptions,
  named = count,
): Promise<{
  call: Call;
  phones: readonly SipPeer[];
  result: Promise<ProxyResult>;
}> {
  const phones: SipPeer[] = [];
  for (let i = 0; i < count; i++) phones.push(await stage.phone({ user: `callee${i}` }));
  const { promise: result, resolve } = withResolver<ProxyResult>();
  const application = await stage.application({
    invite: (request) => {
      const places = phones.slice(0, named).map(({ hostPort }) => `sip:${hostPort}`);
      void application.srf.proxyRequest(request, places, options).then(resolve);
    },
  });
  const caller = await stage.phone();
  const headers = { Supported: '100rel' };
  const call = await caller.invite(stage.service, { sdp: sdp(), headers });
  return { call, phones, result };
}

/** A request in the dialog that goes straight to the other phone, as where no proxy has recorded its route. */
async function past(
  call: Call,
  taken: Call,
  method: 'ACK' | 'BYE',
  answer: SipMessage,
): Promise<void> {
  const invite = call.outgoing?.request;
  const request = call.peer.buildRequest(method, answer.contacts[0]?.uriText ?? '', {
    from: invite?.header('From') ?? '',
    to: answer.header('To') ?? '',
    callId: call.callId,
    cseq: answer.cseq.sequence + (method === 'ACK' ? 0 : 1),
  });
  if (method === 'ACK') await call.peer.sendBytes(request.serialise(), taken.peer.endpoint);
  else await (await call.peer.sendRequest(request, taken.peer.endpoint)).final(200);
}

/** The called phone answers, and the two end the call between themselves. */
async function talkPast(call: Call, taken: Call): Promise<string> {
  const acknowledged = taken.answer(OTHER);
  const answer = await call.outgoing?.final(200);
  assert.ok(answer);
  await past(call, taken, 'ACK', answer);
  await acknowledged;
  await Promise.all([past(call, taken, 'BYE', answer), taken.expectBye()]);
  return answer.body.toString();
}

/** What each branch has answered finally, in the order in which the application was told. */
function statusesOf({ responses }: ProxyResult): readonly number[] {
  return responses.flatMap(({ msgs }) => msgs.map(({ status }) => status));
}

export const PROXY = scenarios([
  {
    title: 'proxy, one after the other: the second takes it, and the rest of the call goes past us',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 2, { forking: 'sequential' });
      const [first, second] = phones;
      assert.ok(first !== undefined && second !== undefined);
      await (await first.expectCall()).reject(486);
      const taken = await second.expectCall();
      await talkPast(call, taken);
      const report = await result;
      return {
        finalStatus: report.finalStatus,
        statuses: statusesOf(report),
        recordRoute: taken.incoming?.message.recordRoutes.length,
        vias: taken.incoming?.message.headerFields('Via').length,
        hops: taken.incoming?.message.header('Max-Forwards'),
      };
    },
    expected: { finalStatus: 200, statuses: [486, 200], recordRoute: 0, vias: 2, hops: '69' },
  },
  {
    title: 'proxy, all at once: the first answer wins, the others are cancelled',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 2, { forking: 'simultaneous' });
      const [winner, loser] = await Promise.all(phones.map((phone) => phone.expectCall()));
      assert.ok(winner !== undefined && loser !== undefined);
      loser.ring(180);
      winner.ring(180);
      await call.ringing();
      const [answer] = await Promise.all([talkPast(call, winner), loser.expectCancel()]);
      return { finalStatus: (await result).finalStatus, answer };
    },
    expected: { finalStatus: 200, answer: OTHER },
  },
  {
    title: 'proxy, all at once, and nobody wants it: the best refusal',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 2, { forking: 'simultaneous' });
      const [one, other] = await Promise.all(phones.map((phone) => phone.expectCall()));
      await one?.reject(404);
      await other?.reject(603);
      const answer = await call.outgoing?.final();
      return { statusCode: answer?.statusCode, finalStatus: (await result).finalStatus };
    },
    expected: { statusCode: 603, finalStatus: 603 },
  },
  {
    title: 'proxy, and the caller cancels',
    run: async (stage) => {
      const { call, phones } = await proxied(stage, 1, {});
      const taken = await phones[0]?.expectCall();
      taken?.ring(180);
      await call.ringing();
      const [answer] = await Promise.all([call.cancel(), taken?.expectCancel()]);
      return { statusCode: answer.statusCode };
    },
    expected: { statusCode: 487 },
  },
  {
    title: 'proxy that stays in the dialog: BYE goes through it, unseen by the application',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 1, { remainInDialog: true });
      const taken = await phones[0]?.expectCall();
      await Promise.all([taken?.answer(OTHER), call.answered()]);
      await result;
      const [, bye] = await Promise.all([call.bye(), taken?.expectBye()]);
      return {
        recordRoute: taken?.incoming?.message.recordRoutes.length,
        vias: bye?.headerFields('Via').length,
      };
    },
    expected: { recordRoute: 1, vias: 2 },
  },
  {
    title: 'proxy that follows redirects: the caller sees nothing of them',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 3, { followRedirects: true }, 1);
      const [first, second, third] = phones;
      assert.ok(first !== undefined && second !== undefined && third !== undefined);
      const contact = `<sip:${second.hostPort}>, <sip:${third.hostPort}>`;
      await (await first.expectCall()).reject(302, { headers: { Contact: contact } });
      await (await second.expectCall()).reject(486);
      await talkPast(call, await third.expectCall());
      return { statuses: statusesOf(await result) };
    },
    expected: { statuses: [302, 486, 200] },
  },
  {
    title: 'proxy that does not follow redirects leaves them to the caller',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 1, {});
      const headers = { Contact: '<sip:elsewhere@127.0.0.1:9>' };
      await (await phones[0]?.expectCall())?.reject(302, { headers });
      const answer = await call.rejected(302);
      return { contact: answer.contacts[0]?.uriText, finalStatus: (await result).finalStatus };
    },
    expected: { contact: 'sip:elsewhere@127.0.0.1:9', finalStatus: 302 },
  },
  {
    title: 'proxy, one after the other: who says nothing at all is passed over',
    run: async (stage) => {
      const options = { forking: 'sequential', provisionalTimeout: '300ms' } as const;
      const { call, phones, result } = await proxied(stage, 2, options);
      const [silent, second] = phones;
      assert.ok(silent !== undefined && second !== undefined);
      await silent.expectCall();
      await talkPast(call, await second.expectCall());
      return { finalStatus: (await result).finalStatus };
    },
    expected: { finalStatus: 200 },
  },
  {
    title: 'proxy, and a challenge of the callee: it goes to the caller as it is',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 1, {});
      const challenge = 'Digest realm="callee", nonce="abc", algorithm=MD5';
      const headers = { 'Proxy-Authenticate': challenge };
      await (await phones[0]?.expectCall())?.reject(407, { headers });
      const answer = await call.rejected(407);
      return {
        isWhole: answer.header('Proxy-Authenticate')?.includes('nonce="abc"'),
        finalStatus: (await result).finalStatus,
      };
    },
    expected: { isWhole: true, finalStatus: 407 },
  },
  {
    title: 'proxy of a MESSAGE: text beyond ASCII goes through, and the answer comes back',
    run: async (stage) => {
      const callee = await stage.phone({ user: 'bob' });
      const { promise: result, resolve } = withResolver<ProxyResult>();
      const application = await stage.application({
        message: (request) => {
          const place = `sip:${callee.hostPort}`;
          void application.srf.proxyRequest(request, place, {}).then(resolve);
        },
      });
      const phone = await stage.phone();
      const content = { body: GREETING, contentType: 'text/plain' };
      const sent = await phone.request('MESSAGE', stage.service, content);
      const arrived = await callee.expectRequest('MESSAGE');
      arrived.reply(202);
      const { statusCode } = await sent.final();
      return {
        body: arrived.message.body.toString(),
        statusCode,
        finalStatus: (await result).finalStatus,
      };
    },
    expected: { body: GREETING, statusCode: 202, finalStatus: 202 },
  },
  {
    title: 'proxy that stays in the dialog: re-INVITE, its ACK and INFO from both sides',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 1, { remainInDialog: true });
      const taken = await phones[0]?.expectCall();
      assert.ok(taken);
      await Promise.all([taken.answer(OTHER), call.answered()]);
      await result;
      const [invite] = await Promise.all([taken.expectReinvite(sdp()), call.reinvite(OTHER)]);
      const [back] = await Promise.all([call.expectReinvite(sdp()), taken.reinvite(OTHER)]);
      const info = taken.request('INFO');
      (await call.expectRequest('INFO')).reply(415);
      const { statusCode } = await info.final();
      await Promise.all([taken.bye(), call.expectBye()]);
      return {
        vias: [invite, back].map((message) => message.headerFields('Via').length),
        routes: [invite, back].map((message) => message.routes.length),
        statusCode,
      };
    },
    expected: { vias: [2, 2], routes: [0, 0], statusCode: 415 },
  },
  {
    title: 'proxy that stays in the dialog: a reliable 183 and its PRACK',
    run: async (stage) => {
      const { call, phones } = await proxied(stage, 1, { remainInDialog: true });
      const taken = await phones[0]?.expectCall();
      assert.ok(taken);
      const rings = { Require: '100rel', RSeq: '7', Contact: `<${taken.peer.contactUri}>` };
      taken.ring(183, { headers: rings });
      const progress = await call.ringing(183);
      const prack = prackFor(call, progress);
      const exchange = await call.peer.sendRequest(prack);
      const arrived = await taken.expectRequest('PRACK');
      arrived.reply(200);
      const { statusCode } = await exchange.final();
      await Promise.all([taken.answer(OTHER), call.answered()]);
      await Promise.all([call.request('BYE', { cseq: 3 }).final(200), taken.expectBye()]);
      return { rack: arrived.message.header('RAck'), statusCode };
    },
    expected: { rack: '7 1 INVITE', statusCode: 200 },
  },
  {
    title: 'proxy of a call that rings for ever: Timer C ends it',
    isSlow: true,
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 1, {});
      const taken = await phones[0]?.expectCall();
      assert.ok(taken?.incoming);
      taken.ring(180);
      await call.ringing();
      await stage.engine.pass(TIMER_C_SECONDS);
      (await taken.expectRequest('CANCEL')).reply(200);
      taken.incoming.reply(487);
      const isAcknowledged = await comes(taken.expectRequest('ACK', LOOK_MS));
      const answer = await call.outgoing?.final();
      const { finalStatus } = await result;
      return { isAcknowledged, statusCode: answer?.statusCode, finalStatus };
    },
    expected: { isAcknowledged: true, statusCode: 487, finalStatus: 487 },
    difference: {
      row: 'timer-c',
      outcome: { isAcknowledged: false, statusCode: 408, finalStatus: undefined },
    },
  },
]);
