/** Scenarios of requests inside a call that is up: re-INVITE, UPDATE, INFO, REFER, and calls that are no more. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { SipRequest, SipResponse } from '../../../registrar/app/srf.ts';
import { sdp } from '../../support/sdp.ts';
import { callback, LOOK_MS, next, OTHER, OURS, scenarios } from './scenario.ts';

export const IN_DIALOG = scenarios([
  {
    title: 'dialog.modify sends a re-INVITE and acknowledges the answer',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication();
      const modified = callback<string>((done) => dialog.modify(OTHER, {}, done));
      const invite = await call.expectReinvite(sdp({ version: 3 }));
      const answer = await modified;
      await call.bye();
      return {
        offer: invite.body.toString(),
        answer: answer === sdp({ version: 3 }),
        hasContact: invite.contacts.length,
      };
    },
    expected: { offer: OTHER, answer: true, hasContact: 1 },
  },
  {
    title: 'a re-INVITE from the phone (hold) reaches the application',
    run: async (stage) => {
      const offers: string[] = [];
      const { call } = await stage.callToApplication((created) => {
        created.on('modify', (request: SipRequest, response: SipResponse) => {
          offers.push(request.body ?? '');
          const headers = { 'Content-Type': 'application/sdp', Contact: created.local.contact };
          response.send(200, { headers, body: OTHER });
        });
      });
      const hold = sdp({ version: 2, attributes: ['sendonly'] });
      await call.reinvite(hold);
      const { remoteSdp } = call;
      await call.bye();
      return { offered: offers[0] === hold, count: offers.length, answer: remoteSdp };
    },
    expected: { offered: true, count: 1, answer: OTHER },
  },
  {
    title: 'INFO inside a dialog goes both ways',
    run: async (stage) => {
      const digits: (string | undefined)[] = [];
      const { call, dialog } = await stage.callToApplication((created) => {
        created.on('info', (request: SipRequest, response: SipResponse) => {
          digits.push(request.body);
          response.send(200);
        });
      });
      const dtmf = { contentType: 'application/dtmf-relay', body: 'Signal=5\r\n' };
      await call.request('INFO', dtmf).final(200);
      const sent = callback<SipResponse | undefined>((done) =>
        dialog.request(
          { method: 'INFO', body: 'x', headers: { 'Content-Type': 'text/plain' } },
          done,
        ),
      );
      const info = await call.expectRequest('INFO');
      info.reply(415);
      const status = (await sent)?.status;
      await call.bye();
      return { digits, down: info.message.body.toString(), status };
    },
    expected: { digits: ['Signal=5\r\n'], down: 'x', status: 415 },
  },
  {
    title: 'a request in a dialog that is no more fails with ENODIALOG',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication();
      const ended = next(dialog, 'destroy');
      await call.bye();
      await ended;
      const failure = await callback<unknown>((done) =>
        dialog.request({ method: 'INFO' }, done),
      ).catch((error: unknown) => error);
      const { code, message } = failure as { code?: string; message: string };
      return { code, message };
    },
    expected: {
      code: 'ENODIALOG',
      message: 'Server error: unable to find dialog for dialog id provided',
    },
  },
  {
    title: 'a request of the phone in a dialog that is no more: 481',
    run: async (stage) => {
      const { call } = await stage.callToApplication();
      await call.bye();
      const invite = call.request('INVITE', { body: sdp(), contentType: 'application/sdp' });
      const { statusCode } = await invite.final();
      const bye = await call.request('BYE').final();
      return { invite: statusCode, bye: bye.statusCode };
    },
    expected: { invite: 481, bye: 481 },
  },
  {
    title: 'a new Contact in a re-INVITE is where the next request goes (target refresh)',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication();
      const elsewhere = await stage.phone({ user: 'elsewhere' });
      const invite = call.request('INVITE', {
        body: sdp({ version: 2 }),
        contentType: 'application/sdp',
        contact: `<${elsewhere.contactUri}>`,
      });
      await invite.final(200);
      call.ack();
      await sleep(100);
      const ended = callback<SipRequest | undefined>((done) => dialog.destroy({}, done));
      const [old, moved] = [call.peer, elsewhere].map((phone) =>
        phone.expectRequest('BYE', LOOK_MS).then(
          (bye) => {
            bye.reply(200);
            return true;
          },
          () => false,
        ),
      );
      const went = { old: await old, moved: await moved };
      await ended;
      return went;
    },
    expected: { old: false, moved: true },
    difference: { row: 'target-refresh', outcome: { old: true, moved: false } },
  },
  {
    title: 'UPDATE from the phone in a call that is up reaches the application',
    run: async (stage) => {
      const offers: (string | undefined)[] = [];
      const { call } = await stage.callToApplication((created) => {
        created.on('update', (request: SipRequest, response: SipResponse) => {
          offers.push(request.body);
          response.send(200, { headers: { 'Content-Type': 'application/sdp' }, body: OURS });
        });
      });
      const update = { body: OTHER, contentType: 'application/sdp' };
      const answer = await call.request('UPDATE', update).final();
      await call.bye();
      return {
        offers,
        statusCode: answer.statusCode,
        answer: answer.body.toString(),
        cseq: answer.cseq.method,
      };
    },
    expected: { offers: [OTHER], statusCode: 200, answer: OURS, cseq: 'UPDATE' },
  },
  {
    title: 'UPDATE by the application in a call that is up',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication();
      const headers = { 'Content-Type': 'application/sdp' };
      const sent = callback<SipResponse | undefined>((done) =>
        dialog.request({ method: 'UPDATE', body: OTHER, headers }, done),
      );
      const update = await call.expectRequest('UPDATE');
      update.reply(200, { body: sdp(), contentType: 'application/sdp' });
      const answer = await sent;
      await call.bye();
      return {
        offer: update.message.body.toString(),
        status: answer?.status,
        isAnswer: answer?.body === sdp(),
      };
    },
    expected: { offer: OTHER, status: 200, isAnswer: true },
  },
  {
    title: 'a re-INVITE that is refused, from either side, leaves the call as it was',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication((created) => {
        created.on('modify', (_: SipRequest, response: SipResponse) => {
          response.send(488);
        });
      });
      const content = { body: OTHER, contentType: 'application/sdp' };
      const up = await call.request('INVITE', content).final();
      const modified = callback<string>((done) => dialog.modify(OTHER, {}, done));
      const refused = modified.catch((error: unknown) => (error as { status: number }).status);
      const invite = await call.expectRequest('INVITE');
      invite.reply(488);
      await call.expectRequest('ACK');
      const down = await refused;
      const info = await call.request('INFO').final();
      await call.bye();
      return { up: up.statusCode, down, info: info.statusCode };
    },
    expected: { up: 488, down: 488, info: 200 },
  },
  {
    title: 'a re-INVITE from the phone that crosses one of the application',
    run: async (stage) => {
      const { call, dialog } = await stage.callToApplication();
      const modified = callback<string>((done) => dialog.modify(OTHER, {}, done));
      const ours = await call.expectRequest('INVITE');
      const content = { body: sdp({ version: 2 }), contentType: 'application/sdp' };
      const theirs = call.request('INVITE', content);
      const { statusCode } = await theirs.final();
      if (statusCode === 200) call.ack();
      ours.reply(200, { body: sdp({ version: 3 }), contentType: 'application/sdp' });
      await call.expectRequest('ACK');
      await modified;
      await call.bye();
      return { statusCode };
    },
    expected: { statusCode: 491 },
    difference: { row: 'glare', outcome: { statusCode: 200 } },
  },
  {
    title: 'REFER inside a dialog, and the NOTIFY of how it went',
    run: async (stage) => {
      const targets: (string | undefined)[] = [];
      const { call, dialog } = await stage.callToApplication((created) => {
        created.on('refer', (request: SipRequest, response: SipResponse) => {
          targets.push(request.get('Refer-To'));
          response.send(202);
        });
      });
      const headers = { 'Refer-To': '<sip:carol@127.0.0.1>' };
      const { statusCode } = await call.request('REFER', { headers }).final();
      const state = { Event: 'refer', 'Subscription-State': 'terminated;reason=noresource' };
      const content = { 'Content-Type': 'message/sipfrag;version=2.0' };
      const body = 'SIP/2.0 200 OK\r\n';
      const sent = callback<SipResponse | undefined>((done) =>
        dialog.request({ method: 'NOTIFY', headers: { ...state, ...content }, body }, done),
      );
      const notify = await call.expectRequest('NOTIFY');
      notify.reply(200);
      const status = (await sent)?.status;
      const info = await call.request('INFO').final();
      await call.bye();
      return {
        targets,
        statusCode,
        told: notify.message.body.toString(),
        status,
        info: info.statusCode,
      };
    },
    expected: {
      targets: ['<sip:carol@127.0.0.1>'],
      statusCode: 202,
      told: 'SIP/2.0 200 OK\r\n',
      status: 200,
      info: 200,
    },
  },
]);
