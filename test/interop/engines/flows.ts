/** Scenarios of connections that phones have opened and are reached by: TCP and WebSocket (RFC 5626, RFC 7118). */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Middleware } from '../../../registrar/app/srf.ts';
import { sdp } from '../../support/sdp.ts';
import type { PlainApplication } from '../../support/sip-engines.ts';
import type { SipPeer } from '../../support/sip-peer.ts';
import { callback, hangUp, OTHER, OURS, scenarios, type Scenario, type Stage } from './scenario.ts';

const accept: Middleware = (request, response) => {
  const contact = `${request.get('Contact') ?? ''};expires=300`;
  response.send(200, { headers: { Contact: contact } });
};

/** A registrar that takes everybody, and a phone that has registered with it over this transport. */
async function registered(
  stage: Stage,
  transport: 'tcp' | 'ws',
  handlers: Readonly<Record<string, Middleware>> = {},
): Promise<{ application: PlainApplication; phone: SipPeer }> {
  const application = await stage.application({ register: accept, ...handlers });
  const server = transport === 'ws' ? application.webSocket : stage.engine.sip;
  const phone = await stage.phone({ transport, server, user: 'web' });
  await phone.register();
  return { application, phone };
}

const reached = (transport: 'tcp' | 'ws'): Scenario['run'] => {
  return async (stage) => {
    const { application, phone } = await registered(stage, transport);
    const headers = { 'Content-Type': 'text/plain' };
    const sent = application.request(phone.contactUri, { method: 'MESSAGE', headers, body: 'x' });
    const message = await phone.expectRequest('MESSAGE');
    message.reply(200);
    const { status } = await sent;
    const made = application.srf.createUAC({ uri: phone.contactUri, localSdp: OURS }, {});
    const call = await phone.expectCall();
    await call.answer(sdp());
    const dialog = await made;
    const modified = callback<string>((done) => dialog.modify(OTHER, {}, done));
    await call.expectReinvite(sdp({ version: 3 }));
    await modified;
    const info = await call.request('INFO').final();
    await hangUp(dialog, call);
    const via = message.message.topVia();
    const connections = phone.connectionCount;
    return { status, via: via.transport, info: info.statusCode, connections };
  };
};

const gone = (transport: 'tcp' | 'ws'): Scenario['run'] => {
  return async (stage) => {
    const { application, phone } = await registered(stage, transport);
    phone.loseConnections();
    await sleep(100);
    const { status, source } = await application.request(phone.contactUri, { method: 'OPTIONS' });
    return { status, source };
  };
};

export const FLOWS = scenarios([
  {
    title: 'a phone that has registered by TCP is reached by that connection',
    run: reached('tcp'),
    expected: { status: 200, via: 'TCP', info: 200, connections: 1 },
  },
  {
    title: 'a phone that has registered by WebSocket is reached by it, calls and all',
    run: reached('ws'),
    expected: { status: 200, via: 'WS', info: 200, connections: 1 },
  },
  {
    title: 'a phone whose TCP connection is closed is gone',
    run: gone('tcp'),
    expected: { status: 410, source: 'network' },
  },
  {
    title: 'a phone whose WebSocket is closed is gone',
    run: gone('ws'),
    expected: { status: 410, source: 'network' },
  },
  {
    title: 'a phone calls by WebSocket, and the application hangs up',
    run: async (stage) => {
      const { application, up } = await stage.answering();
      const phone = await stage.phone({ transport: 'ws', server: application.webSocket });
      const call = await phone.invite(stage.service, { sdp: sdp() });
      await call.answered();
      const bye = await hangUp(await up, call);
      return { answer: call.remoteSdp, via: bye.topVia().transport };
    },
    expected: { answer: OURS, via: 'WS' },
  },
]);
