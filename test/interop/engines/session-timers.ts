/** Scenarios of session timers (RFC 4028), which the engine keeps without the application. */

import type { SipRequest } from '../../../registrar/app/srf.ts';
import { sdp } from '../../support/sdp.ts';
import type { Call } from '../../support/sip-peer.ts';
import { endedBy, hangUp, OURS, scenarios } from './scenario.ts';

const TIMER = { Supported: 'timer' };

/** The phone takes the refresh that the engine sends by itself. */
async function takeRefresh(call: Call): Promise<Record<string, unknown>> {
  const refresh = await call.expectRequest('INVITE');
  refresh.reply(200, {
    headers: { 'Session-Expires': '90;refresher=uac', Require: 'timer' },
    body: sdp(),
    contentType: 'application/sdp',
  });
  await call.expectRequest('ACK');
  const { message } = refresh;
  const [seconds, ...params] = (message.header('Session-Expires') ?? '').split(';');
  return { seconds, refresher: params.map((param) => param.trim()), sdp: message.body.toString() };
}

export const SESSION_TIMERS = scenarios([
  {
    title:
      'a session timer that the caller asks for is granted, and one that is too short is refused',
    run: async (stage) => {
      const { up } = await stage.answering();
      const phone = await stage.phone();
      const call = await phone.invite(stage.service, {
        sdp: sdp(),
        headers: { Supported: 'timer', 'Session-Expires': '120;refresher=uac' },
      });
      const granted = (await call.answered()).header('Session-Expires');
      await up;
      const short = call.request('INVITE', {
        body: sdp({ version: 2 }),
        contentType: 'application/sdp',
        headers: { Supported: 'timer', 'Session-Expires': '30' },
      });
      const refused = await short.final();
      await call.bye();
      return { granted, status: refused.statusCode, minimum: refused.header('Min-SE') };
    },
    expected: { granted: '120;refresher=uac', status: 422, minimum: '90' },
  },
  {
    title: 'a session timer that is too short at the start of a call is lengthened',
    run: async (stage) => {
      const headers = { ...TIMER, 'Session-Expires': '30;refresher=uac' };
      const { call, answer } = await stage.callToApplication(undefined, { headers });
      await call.bye();
      return { granted: answer.header('Session-Expires') };
    },
    expected: { granted: '90;refresher=uac' },
  },
  {
    title: 'the caller refreshes, by re-INVITE and by UPDATE, and the timer is granted anew',
    run: async (stage) => {
      const refreshes: string[] = [];
      const headers = { ...TIMER, 'Session-Expires': '90;refresher=uac' };
      const { call } = await stage.callToApplication(
        (dialog) => {
          dialog.on('refresh', ({ method }: SipRequest) => refreshes.push(method));
        },
        { headers },
      );
      const offer = { body: sdp(), contentType: 'application/sdp', headers };
      const invite = await call.request('INVITE', offer).final(200);
      call.ack();
      const update = await call.request('UPDATE', { headers }).final(200);
      await call.bye();
      return {
        refreshes,
        invite: invite.header('Session-Expires'),
        isSame: invite.body.toString() === OURS,
        update: update.header('Session-Expires'),
      };
    },
    expected: {
      refreshes: ['INVITE'],
      invite: '90;refresher=uac',
      isSame: true,
      update: '90;refresher=uac',
    },
    difference: { row: 'refresh-answer', outcome: { invite: undefined, update: undefined } },
  },
  {
    title: 'the engine refreshes for the application, which sees nothing of it',
    isSlow: true,
    run: async (stage) => {
      const events: string[] = [];
      const headers = { ...TIMER, 'Session-Expires': '90;refresher=uas' };
      const { call, answer, dialog } = await stage.callToApplication(
        (created) => {
          for (const event of ['refresh', 'modify', 'destroy', 'ack']) {
            created.on(event, () => events.push(event));
          }
        },
        { headers },
      );
      await stage.engine.pass(53);
      const refresh = await takeRefresh(call);
      await stage.engine.pass(53);
      const again = await takeRefresh(call);
      await hangUp(dialog, call);
      return {
        granted: answer.header('Session-Expires'),
        refresh,
        isSame: JSON.stringify(again) === JSON.stringify(refresh),
        events,
      };
    },
    expected: {
      granted: '90;refresher=uas',
      refresh: { seconds: '90', refresher: ['refresher=uac'], sdp: OURS },
      isSame: true,
      events: ['ack'],
    },
  },
  {
    title:
      'the engine refreshes a call that the application has made, as the called phone wants it',
    isSlow: true,
    run: async (stage) => {
      const headers = { 'Session-Expires': '90;refresher=uac', Require: 'timer' };
      const { call, dialog } = await stage.callFromApplication(headers);
      await stage.engine.pass(53);
      const { sdp: offer } = await takeRefresh(call);
      await hangUp(dialog, call);
      return { offer };
    },
    expected: { offer: OURS },
  },
  {
    title: 'a caller that does not refresh as it has promised is hung up',
    isSlow: true,
    run: async (stage) => {
      const headers = { ...TIMER, 'Session-Expires': '90;refresher=uac' };
      const { call, dialog } = await stage.callToApplication(undefined, { headers });
      const ended = endedBy(dialog);
      await stage.engine.pass(60);
      const isEarly = call.peer.unexpected.some(({ method }) => method === 'BYE');
      await stage.engine.pass(31);
      const bye = await call.expectBye();
      const reason = (bye.header('Reason') ?? '').replaceAll(' ', '');
      return { isEarly, reason, told: await ended };
    },
    expected: {
      isEarly: false,
      reason: 'SIP;cause=200;text="Sessiontimerexpired"',
      told: 'Session timer expired',
    },
  },
  {
    title: 'a refresh that the phone does not know the call of ends it',
    isSlow: true,
    run: async (stage) => {
      const headers = { ...TIMER, 'Session-Expires': '90;refresher=uas' };
      const { call, dialog } = await stage.callToApplication(undefined, { headers });
      const ended = endedBy(dialog);
      await stage.engine.pass(53);
      (await call.expectRequest('INVITE')).reply(481);
      await call.expectRequest('ACK');
      await call.expectBye();
      return { told: await ended };
    },
    expected: { told: 'Session timer expired' },
  },
]);
