/** Scenarios of calls: made, taken, refused, cancelled, and put together from two. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dialog, SipRequest } from '../../../registrar/app/srf.ts';
import { cancelOf } from '../../support/call-switch.ts';
import type { SipMessage } from '../../../core/sip/message.ts';
import { sdp } from '../../support/sdp.ts';
import { IncomingRequest } from '../../support/sip-peer.ts';
import {
  arrives,
  callback,
  comes,
  endedBy,
  hangUp,
  inspect,
  LOOK_MS,
  OTHER,
  OURS,
  statusOf,
  withResolver,
  scenarios,
} from './scenario.ts';

export const CALLS = scenarios([
  {
    title: 'createUAS, and the caller hangs up',
    run: async (stage) => {
      const { promise: acknowledged, resolve } = withResolver<boolean>();
      const { call, dialog } = await stage.callToApplication((created) => {
        created.on('ack', () => {
          resolve(true);
        });
      });
      const ended = endedBy(dialog);
      const hasAck = await acknowledged;
      const { statusCode } = await call.bye();
      const hasOffer = dialog.remote.sdp === sdp();
      return { hasAck, hasOffer, answer: call.remoteSdp, statusCode, reason: await ended };
    },
    expected: {
      hasAck: true,
      hasOffer: true,
      answer: OURS,
      statusCode: 200,
      reason: 'normal release',
    },
  },
  {
    title: 'createUAS, and the application hangs up',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication();
      const headers = { Reason: 'Q.850;cause=16' };
      const ended = callback<SipRequest | undefined>((done) => dialog.destroy({ headers }, done));
      const bye = await call.expectBye();
      await ended;
      return { reason: bye.header('Reason'), isConnected: dialog.connected };
    },
    expected: { reason: 'Q.850;cause=16', isConnected: false },
  },
  {
    title: 'a refusal with callback: 486, and the application hears that it went out',
    run: async (stage) => {
      const { promise, resolve } = withResolver<unknown>();
      await stage.application({
        invite: (_, response) => {
          response.send(486, { headers: { 'X-Why': 'lunch' } }, (error, sent) => {
            const { status } = sent as unknown as { status: number };
            resolve([error ?? undefined, status, sent.get('X-Why')]);
          });
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      const answer = await call.rejected(486);
      return { why: answer.header('X-Why'), sent: await promise };
    },
    expected: { why: 'lunch', sent: [undefined, 486, 'lunch'] },
  },
  {
    title: 'CANCEL before any answer of the application',
    run: async (stage) => {
      const { promise: arrived, resolve: arrive } = withResolver<SipRequest>();
      const { promise: cancelled, resolve } = withResolver<boolean>();
      await stage.application({
        invite: (request) => {
          request.on('cancel', () => {
            resolve(true);
          });
          arrive(request);
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      await arrived;
      const answer = await call.cancel();
      return { statusCode: answer.statusCode, isTold: await cancelled };
    },
    expected: { statusCode: 487, isTold: true },
  },
  {
    title: 'CANCEL while it rings; an answer that comes too late goes nowhere',
    run: async (stage) => {
      const { promise, resolve } = withResolver<string>();
      await stage.application({
        invite: (request, response) => {
          request.on('cancel', () => {
            response.send(486, {}, (error) => {
              resolve(error instanceof Error ? error.message : inspect(error));
            });
          });
          response.send(180);
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      await call.ringing();
      const answer = await call.cancel();
      return { statusCode: answer.statusCode, late: await promise };
    },
    expected: { statusCode: 487, late: 'Response not sent due to unknown transaction' },
  },
  {
    title: 'CANCEL that comes after the answer',
    run: async (stage) => {
      const { call, phone } = await stage.callToApplication();
      const invite = call.outgoing;
      assert.ok(invite);
      const { statusCode } = await (await cancelOf(invite)).final();
      const bye = await arrives(phone, 'BYE');
      if (bye === undefined) await call.bye();
      return { statusCode, isUp: bye === undefined };
    },
    expected: { statusCode: 200, isUp: true },
    difference: { row: 'late-cancel', outcome: { statusCode: 481 } },
  },
  {
    title: 'an INVITE without an offer: ours in the answer, theirs in the ACK',
    run: async (stage) => {
      const { promise, resolve } = withResolver<string | undefined>();
      const { up } = await stage.answering((dialog) => {
        dialog.on('ack', (ack: SipRequest) => {
          resolve(ack.body);
        });
      });
      const phone = await stage.phone();
      const call = await phone.invite(stage.service);
      await call.answered({ body: OTHER, contentType: 'application/sdp' });
      await up;
      const inAck = await promise;
      await call.bye();
      return { offer: call.remoteSdp, inAck };
    },
    expected: { offer: OURS, inAck: OTHER },
  },
  {
    title: 'createUAC: rings, is answered, is hung up by the called phone',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const seen: number[] = [];
      const made = application.srf.createUAC(
        { uri: phone.contactUri, localSdp: OURS, headers: { 'X-Call': 'one' } },
        { cbProvisional: ({ status }) => seen.push(status) },
      );
      const call = await phone.expectCall();
      call.ring(180);
      await sleep(50);
      await call.answer(sdp());
      const dialog = await made;
      const ended = endedBy(dialog);
      await call.bye();
      return {
        offer: call.remoteSdp,
        header: call.incoming?.message.header('X-Call'),
        seen,
        answer: dialog.remote.sdp === sdp(),
        ended: await ended,
      };
    },
    expected: { offer: OURS, header: 'one', seen: [180], answer: true, ended: 'normal release' },
  },
  {
    title: 'the 200 is repeated until the ACK comes',
    run: async (stage) => {
      const { up } = await stage.answering();
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      const first = await call.outgoing?.final(200);
      const again = await call.answered();
      await up;
      await call.bye();
      return { isSame: again.toTag === first?.toTag };
    },
    expected: { isSame: true },
  },
  {
    title: 'a 200 of the called phone that comes again is acknowledged again',
    run: async (stage) => {
      const { phone, call, dialog } = await stage.callFromApplication();
      call.incoming?.reply(200, { body: sdp(), contentType: 'application/sdp' });
      const isAcknowledged = await comes(phone.expectRequest('ACK', LOOK_MS));
      await hangUp(dialog, call);
      return { isAcknowledged };
    },
    expected: { isAcknowledged: true },
  },
  {
    title: 'a second 200 of another fork is acknowledged and hung up at once',
    run: async (stage) => {
      const { phone, call, dialog } = await stage.callFromApplication();
      assert.ok(call.incoming);
      const { message, path } = call.incoming;
      const fork = new IncomingRequest(phone, message, path);
      fork.reply(200, { body: sdp(), contentType: 'application/sdp' });
      const isOfFork = ({ method, toTag }: SipMessage, wanted: string): boolean =>
        method === wanted && toTag === fork.tag;
      const seen: Record<string, boolean> = {};
      for (const method of ['ACK', 'BYE']) {
        const request = await phone
          .expectRequestThat((each) => isOfFork(each, method), method, LOOK_MS)
          .catch(() => undefined);
        request?.reply(200);
        seen[method] = request !== undefined;
      }
      await hangUp(dialog, call);
      return seen;
    },
    expected: { ACK: true, BYE: true },
    difference: { row: 'forked-answer', outcome: { ACK: false, BYE: false } },
  },
  {
    title: 'createUAC refused by the called phone',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const made = application.srf.createUAC({ uri: phone.contactUri, localSdp: OURS }, {});
      const status = statusOf(made);
      await (await phone.expectCall()).reject(603);
      return { status: await status };
    },
    expected: { status: 603 },
  },
  {
    title: 'CANCEL by the application that crosses the 200: ACK, then BYE',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const { promise: sent, resolve } = withResolver<SipRequest>();
      const { promise: rings, resolve: ring } = withResolver<number>();
      const made = application.srf.createUAC(
        { uri: phone.contactUri, localSdp: OURS },
        {
          cbRequest: (_, request) => {
            if (request !== undefined) resolve(request);
          },
          cbProvisional: ({ status }) => {
            ring(status);
          },
        },
      );
      made.catch(() => undefined);
      const call = await phone.expectCall();
      call.ring(180);
      await rings;
      (await sent).cancel(() => undefined);
      const cancel = await call.expectRequest('CANCEL');
      const acknowledged = call.answer(sdp());
      cancel.reply(200);
      await acknowledged;
      const bye = await call.expectBye();
      return { reason: bye.header('Reason') };
    },
    expected: { reason: 'SIP;cause=200;text="ACK-BYE due to cancel race condition"' },
  },
  {
    title: 'CANCEL by the application waits for the first provisional response',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const { promise: sent, resolve } = withResolver<SipRequest>();
      const made = application.srf.createUAC(
        { uri: phone.contactUri, localSdp: OURS },
        {
          cbRequest: (_, request) => {
            if (request !== undefined) resolve(request);
          },
        },
      );
      const status = statusOf(made);
      const call = await phone.expectCall();
      await callback((done) => {
        void sent.then((request) => {
          request.cancel(done);
        });
      });
      await sleep(200);
      const isEarly = phone.unexpected.some(({ method }) => method === 'CANCEL');
      call.ring(180);
      await call.expectCancel();
      return { isEarly, status: await status };
    },
    expected: { isEarly: false, status: 487 },
  },
  {
    title: 'createB2BUA: both legs up, and BYE goes through',
    run: async (stage) => {
      const callee = await stage.phone({ user: 'bob' });
      const { promise: legs, resolve } = withResolver<{ uas: Dialog; uac: Dialog }>();
      const application = await stage.application({
        invite: (request, response) => {
          const options = { localSdpB: request.body ?? '' };
          void application.srf
            .createB2BUA(request, response, callee.contactUri, options)
            .then((both) => {
              both.uas.on('destroy', () => both.uac.destroy({}, () => undefined));
              both.uac.on('destroy', () => both.uas.destroy({}, () => undefined));
              resolve(both);
            });
        },
      });
      const caller = await stage.phone();
      const call = await caller.invite(stage.service, { sdp: sdp() });
      const taken = await callee.expectCall();
      taken.ring(180);
      await call.ringing();
      await Promise.all([taken.answer(OTHER), call.answered()]);
      await legs;
      await Promise.all([call.bye(), taken.expectBye()]);
      return { offer: taken.remoteSdp === sdp(), answer: call.remoteSdp === OTHER };
    },
    expected: { offer: true, answer: true },
  },
  {
    title: 'createB2BUA: CANCEL goes through',
    run: async (stage) => {
      const callee = await stage.phone({ user: 'bob' });
      const { promise: failed, resolve } = withResolver<unknown>();
      const application = await stage.application({
        invite: (request, response) => {
          application.srf
            .createB2BUA(request, response, callee.contactUri, { localSdpB: request.body ?? '' })
            .then(resolve, (error: unknown) => {
              resolve((error as { status: number }).status);
            });
        },
      });
      const caller = await stage.phone();
      const call = await caller.invite(stage.service, { sdp: sdp() });
      const taken = await callee.expectCall();
      taken.ring(180);
      await call.ringing();
      const [answer] = await Promise.all([call.cancel(), taken.expectCancel()]);
      return { statusCode: answer.statusCode, application: await failed };
    },
    expected: { statusCode: 487, application: 487 },
  },
  {
    title: 'a caller that never acknowledges is hung up',
    isSlow: true,
    run: async (stage) => {
      const { up } = await stage.answering();
      const phone = await stage.phone({ timeoutMs: 40_000 });
      const call = await phone.invite(stage.service, { sdp: sdp() });
      const ended = up.then(endedBy);
      await call.outgoing?.final(200);
      const bye = await call.expectRequest('BYE', 40_000);
      bye.reply(200);
      return { reason: bye.message.header('Reason'), told: await ended };
    },
    expected: { reason: 'SIP;cause=200;text="ACK timeout"', told: 'ACK timeout' },
  },
]);
