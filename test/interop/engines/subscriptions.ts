/** Scenarios of subscriptions (RFC 6665), with the application at either end. */

import type { Dialog, SipRequest, SipResponse } from '../../../registrar/app/srf.ts';
import { callback, next, withResolver, scenarios } from './scenario.ts';

export const SUBSCRIPTIONS = scenarios([
  {
    title: 'SUBSCRIBE makes a dialog: NOTIFY, refresh, and the end by the application',
    run: async (stage) => {
      const { promise: up, resolve } = withResolver<Dialog>();
      const headers = { Expires: '60' };
      let refreshes = 0;
      const application = await stage.application({
        subscribe: (request, response) => {
          void application.srf.createUAS(request, response, { headers }).then((dialog) => {
            dialog.on('subscribe', (_: SipRequest, answer: SipResponse) => {
              refreshes++;
              answer.send(202, { headers });
            });
            resolve(dialog);
          });
        },
      });
      const phone = await stage.phone();
      const exchange = await phone.request('SUBSCRIBE', stage.service, {
        headers: { Event: 'presence', Expires: '60' },
      });
      const accepted = await exchange.final();
      const dialog = await up;
      const state = { Event: 'presence', 'Subscription-State': 'active;expires=60' };
      const notified = callback<SipResponse | undefined>((done) =>
        dialog.request({ method: 'NOTIFY', headers: state }, done),
      );
      const notify = await phone.expectRequest('NOTIFY');
      notify.reply(200);
      await notified;
      const refresh = phone.buildRequest('SUBSCRIBE', accepted.contacts[0]?.uriText ?? '', {
        from: exchange.request.header('From') ?? '',
        to: accepted.header('To') ?? '',
        callId: exchange.request.header('Call-ID') ?? '',
        cseq: 2,
        headers: { Event: 'presence', Expires: '60' },
      });
      const refreshed = await (await phone.sendRequest(refresh)).final();
      const ended = callback<SipRequest | undefined>((done) => dialog.destroy({}, done));
      const last = await phone.expectRequest('NOTIFY');
      last.reply(200);
      await ended;
      return {
        accepted: accepted.statusCode,
        state: notify.message.header('Subscription-State'),
        hasContact: notify.message.contacts.length,
        refreshed: refreshed.statusCode,
        refreshes,
        last: last.message.header('Subscription-State'),
      };
    },
    expected: {
      accepted: 202,
      state: 'active;expires=60',
      hasContact: 1,
      refreshed: 202,
      refreshes: 1,
      last: 'terminated',
    },
    difference: { row: 'notify-without-contact', outcome: { hasContact: 0 } },
  },
  {
    title: 'the subscriber ends its subscription; the last NOTIFY follows',
    run: async (stage) => {
      const { promise: up, resolve } = withResolver<Dialog>();
      const headers = { Expires: '60' };
      const application = await stage.application({
        subscribe: (request, response) => {
          void application.srf.createUAS(request, response, { headers }).then(resolve);
        },
      });
      const phone = await stage.phone();
      const exchange = await phone.request('SUBSCRIBE', stage.service, {
        headers: { Event: 'presence', Expires: '60' },
      });
      const accepted = await exchange.final();
      const dialog = await up;
      const left = next(dialog, 'unsubscribe');
      const end = phone.buildRequest('SUBSCRIBE', accepted.contacts[0]?.uriText ?? '', {
        from: exchange.request.header('From') ?? '',
        to: accepted.header('To') ?? '',
        callId: exchange.request.header('Call-ID') ?? '',
        cseq: 2,
        headers: { Event: 'presence', Expires: '0' },
      });
      const { statusCode } = await (await phone.sendRequest(end)).final();
      await left;
      const ended = callback<SipRequest | undefined>((done) => dialog.destroy({}, done));
      const last = await phone.expectRequest('NOTIFY');
      last.reply(200);
      await ended;
      return { statusCode, last: last.message.header('Subscription-State') };
    },
    expected: { statusCode: 202, last: 'terminated' },
  },
  {
    title: 'the application subscribes: accepted, told, refreshed, and over with the last NOTIFY',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone({ user: 'bob' });
      const headers = { Event: 'presence', Expires: '60' };
      const made = application.srf.createUAC(
        // drachtio-srf finds the end of a subscription only where both parties have one name.
        {
          uri: phone.contactUri,
          method: 'SUBSCRIBE',
          headers: { ...headers, From: `<${phone.contactUri}>` },
        },
        {},
      );
      const subscribe = await phone.expectRequest('SUBSCRIBE');
      subscribe.reply(202, { headers: { Expires: '60' } });
      const dialog = await made;
      const states: (string | undefined)[] = [];
      dialog.on('notify', (request: SipRequest, response: SipResponse) => {
        states.push(request.get('Subscription-State'));
        response.send(200);
      });
      const { message } = subscribe;
      const notify = async (state: string, cseq: number): Promise<number> => {
        const exchange = await phone.request('NOTIFY', message.contacts[0]?.uriText ?? '', {
          from: `${message.header('To') ?? ''};tag=${subscribe.tag}`,
          to: message.header('From') ?? '',
          callId: message.callId,
          cseq,
          headers: { Event: 'presence', 'Subscription-State': state },
        });
        return (await exchange.final()).statusCode;
      };
      const first = await notify('active;expires=60', 1);
      const refreshed = callback<SipResponse | undefined>((done) =>
        dialog.request({ method: 'SUBSCRIBE', headers }, done),
      );
      const refresh = await phone.expectRequest('SUBSCRIBE');
      refresh.reply(200, { headers: { Expires: '60' } });
      const { status } = (await refreshed) ?? {};
      const ended = next(dialog, 'destroy');
      const last = await notify('terminated;reason=noresource', 2);
      await ended;
      return {
        first,
        status,
        isInDialog: refresh.message.toTag === subscribe.tag,
        step: refresh.message.cseq.sequence - message.cseq.sequence,
        last,
        states,
        after: await notify('active', 3),
      };
    },
    expected: {
      first: 200,
      status: 200,
      isInDialog: true,
      step: 1,
      last: 200,
      states: ['active;expires=60', 'terminated;reason=noresource'],
      after: 503,
    },
    difference: { row: 'last-notify', outcome: { last: 500 } },
  },
]);
