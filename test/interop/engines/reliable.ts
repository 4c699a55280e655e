/** Scenarios of reliable provisional responses (RFC 3262) and of what may happen before the answer (RFC 3311). */

import assert from 'node:assert/strict';
import type { SipRequest, SipResponse } from '../../../registrar/app/srf.ts';
import { sdp } from '../../support/sdp.ts';
import type { Call, SipPeer } from '../../support/sip-peer.ts';
import {
  callback,
  earlyRequest,
  hangUp,
  inspect,
  OTHER,
  OURS,
  prackFor,
  withResolver,
  scenarios,
  type Stage,
} from './scenario.ts';

type SendReliably = (
  status: number,
  options: object,
  callback: unknown,
  onPrack: (prack: SipRequest) => void,
) => void;

/**
 * A caller whom the application answers with a reliable 183, and after its PRACK with 200: at once, unless something
 * else is to come before (`goOn`), or nothing is.
 */
async function progressing(
  stage: Stage,
  onInvite?: (request: SipRequest) => void,
  isAnswered = true,
): Promise<{
  phone: SipPeer;
  call: Call;
  /** RAck of the PRACK, as the application got it. */
  pracked: Promise<string | undefined>;
  goOn: () => void;
}> {
  const { promise: pracked, resolve } = withResolver<string | undefined>();
  const { promise: before, resolve: goOn } = withResolver<undefined>();
  if (onInvite === undefined) goOn(undefined);
  const application = await stage.application({
    invite: (request, response) => {
      onInvite?.(request);
      const headers = { Require: '100rel', 'Content-Type': 'application/sdp' };
      const send = response.send.bind(response) as SendReliably;
      send(183, { headers, body: OURS }, undefined, (prack) => {
        resolve(prack.get('RAck'));
        if (!isAnswered) return;
        void before.then(() => application.srf.createUAS(request, response, { localSdp: OURS }));
      });
    },
  });
  const phone = await stage.phone();
  const headers = { Supported: '100rel' };
  const call = await phone.invite(stage.service, { sdp: sdp(), headers });
  return {
    phone,
    call,
    pracked,
    goOn: () => {
      goOn(undefined);
    },
  };
}

export const RELIABLE = scenarios([
  {
    title: 'a reliable 183 is repeated until PRACK, and then the call is answered',
    run: async (stage) => {
      const { phone, call, pracked } = await progressing(stage);
      await call.ringing(183);
      const again = await call.ringing(183);
      const prack = prackFor(call, again);
      const { statusCode } = await (await phone.sendRequest(prack)).final();
      await call.answered();
      const rack = await pracked;
      await call.request('BYE', { cseq: 3 }).final(200);
      return {
        require: again.header('Require'),
        prack: statusCode,
        isOurs: rack === prack.header('RAck'),
      };
    },
    expected: { require: '100rel', prack: 200, isOurs: true },
  },
  {
    title: 'UPDATE of the caller between a reliable 183 and the answer',
    run: async (stage) => {
      const offers: (string | undefined)[] = [];
      const { phone, call, pracked, goOn } = await progressing(stage, (request) => {
        request.on('update', (update: SipRequest, response: SipResponse) => {
          offers.push(update.body);
          response.send(200, { headers: { 'Content-Type': 'application/sdp' }, body: OURS });
        });
      });
      const progress = await call.ringing(183);
      await (await phone.sendRequest(prackFor(call, progress))).final(200);
      await pracked;
      const update = earlyRequest(call, progress, 'UPDATE', 3);
      update.setBody(OTHER, 'application/sdp');
      const answer = await (await phone.sendRequest(update)).final();
      goOn();
      const { statusCode } = await call.answered();
      await call.request('BYE', { cseq: 4 }).final(200);
      return {
        offers,
        update: answer.statusCode,
        answer: answer.body.toString(),
        call: statusCode,
      };
    },
    expected: { offers: [OTHER], update: 200, answer: OURS, call: 200 },
  },
  {
    title: 'the caller cancels after a reliable 183',
    run: async (stage) => {
      const { phone, call, pracked } = await progressing(stage, undefined, false);
      const progress = await call.ringing(183);
      await (await phone.sendRequest(prackFor(call, progress))).final(200);
      await pracked;
      return { statusCode: (await call.cancel()).statusCode };
    },
    expected: { statusCode: 487 },
  },
  {
    title: 'a caller that knows no reliable responses gets none, and the application is told',
    run: async (stage) => {
      const { promise, resolve } = withResolver<string>();
      await stage.application({
        invite: (_, response) => {
          const headers = { Require: '100rel', 'Content-Type': 'application/sdp' };
          response.send(183, { headers, body: OURS }, (error) => {
            resolve(error instanceof Error ? error.message : inspect(error));
            response.send(486);
          });
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      const { statusCode } = await call.rejected(486);
      return { statusCode, told: await promise };
    },
    expected: { statusCode: 486, told: 'Remote endpoint does not support 100rel' },
  },
  {
    title: 'a reliable 183 from a called phone is acknowledged with PRACK',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const made = application.srf.createUAC(
        { uri: phone.contactUri, localSdp: OURS, headers: { Supported: '100rel' } },
        {},
      );
      const call = await phone.expectCall();
      call.ring(183, {
        headers: { Require: '100rel', RSeq: '7', Contact: `<${phone.contactUri}>` },
        body: sdp(),
        contentType: 'application/sdp',
      });
      const prack = await call.expectRequest('PRACK');
      prack.reply(200);
      const ack = await call.answer(sdp());
      const dialog = await made;
      const ended = callback<SipRequest | undefined>((done) => dialog.destroy({}, done));
      await call.expectBye();
      await ended;
      return {
        rack: prack.message.header('RAck')?.replace(/ \d+ /, ' n '),
        prackAfterInvite: prack.message.cseq.sequence - (call.incoming?.message.cseq.sequence ?? 0),
        ackAfterInvite: ack.cseq.sequence - (call.incoming?.message.cseq.sequence ?? 0),
      };
    },
    expected: { rack: '7 n INVITE', prackAfterInvite: 1, ackAfterInvite: 0 },
  },
  {
    title: 'UPDATE of a called phone after its reliable 183 is answered by drachtio-srf',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const headers = { Supported: '100rel' };
      const made = application.srf.createUAC(
        { uri: phone.contactUri, localSdp: OURS, headers },
        {},
      );
      const call = await phone.expectCall();
      const invite = call.incoming;
      assert.ok(invite);
      call.ring(183, {
        headers: { Require: '100rel', RSeq: '7', Contact: `<${phone.contactUri}>` },
        body: sdp(),
        contentType: 'application/sdp',
      });
      (await call.expectRequest('PRACK')).reply(200);
      const { message } = invite;
      const update = await phone.request('UPDATE', message.contacts[0]?.uriText ?? '', {
        from: `${message.header('To') ?? ''};tag=${invite.tag}`,
        to: message.header('From') ?? '',
        callId: message.callId,
        body: OTHER,
        contentType: 'application/sdp',
      });
      const answer = await update.final();
      await call.answer();
      await hangUp(await made, call);
      return { statusCode: answer.statusCode, answer: answer.body.toString() };
    },
    expected: { statusCode: 200, answer: OURS },
  },
]);
