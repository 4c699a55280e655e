/** Scenarios of the control connection: several applications, lost ones, routes, secrets, and call records. */

import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Middleware } from '../../../registrar/app/srf.ts';
import { sdp } from '../../support/sdp.ts';
import type { CallRecordHandler, PlainApplication } from '../../support/sip-engines.ts';
import { LOOK_MS, next, OTHER, OURS, withResolver, scenarios, type Stage } from './scenario.ts';

/** Another application that keeps call records: event, source, and role or reason. */
async function bookkeeper(stage: Stage): Promise<string[]> {
  const records: string[] = [];
  const keep =
    (event: string): CallRecordHandler =>
    (...details) => {
      const texts = details.filter((detail) => typeof detail === 'string');
      const known = texts.filter((text) => !/^\d\d:\d\d:\d\d/.test(text));
      records.push([event, ...known].join(' '));
    };
  const events = ['attempt', 'start', 'stop'].map((name) => [`cdr:${name}`, keep(name)] as const);
  await stage.application({}, Object.fromEntries(events));
  return records;
}

/** Waits for as many; what comes beyond is seen as well. */
async function settled(records: readonly string[], count: number): Promise<readonly string[]> {
  const end = Date.now() + LOOK_MS;
  while (records.length < count && Date.now() < end) await sleep(20);
  await sleep(100);
  return records.toSorted();
}

/** An application that connects its callers with a phone; `up` settles when the first two are connected. */
async function connecting(stage: Stage, uri: string): Promise<{ up: Promise<unknown> }> {
  const { promise: up, resolve } = withResolver<undefined>();
  const application = await stage.application({
    invite: (request, response) => {
      const options = { localSdpB: request.body ?? '' };
      void application.srf.createB2BUA(request, response, uri, options).then(
        ({ uas, uac }) => {
          uas.on('destroy', () => uac.destroy({}, () => undefined));
          uac.on('destroy', () => uas.destroy({}, () => undefined));
          resolve(undefined);
        },
        () => undefined,
      );
    },
  });
  return { up };
}

/** What is said to a connection that begins so, and whether it is closed then. */
async function answerTo(
  { engine }: Stage,
  payload: string,
): Promise<{ text: string; isClosed: boolean }> {
  const socket = net.connect(engine.controlPort, engine.host);
  let text = '';
  socket.on('data', (bytes: Buffer) => (text += bytes.toString()));
  socket.on('error', () => undefined);
  socket.write(`${payload.length}#${payload}`);
  const closed = next(socket, 'close').then(() => true);
  const isClosed = await Promise.race([closed, sleep(LOOK_MS, false)]);
  socket.destroy();
  return { text, isClosed };
}

export const APPLICATIONS = scenarios([
  {
    title: 'an application that is gone: its call ends',
    run: async (stage) => {
      const { phone, call, application } = await stage.callToApplication();
      await call.request('INFO').final(200);
      application.close();
      const bye = await phone.expectRequest('BYE', LOOK_MS).catch(() => undefined);
      bye?.reply(200);
      const { statusCode } = await call.request('BYE').final();
      return { reason: bye?.message.header('Reason'), statusCode };
    },
    expected: { reason: 'SIP;cause=503;text="Application gone"', statusCode: 481 },
    difference: { row: 'application-lost', outcome: { reason: undefined } },
  },
  {
    title: 'several applications take turns',
    run: async (stage) => {
      const counts = [0, 0, 0];
      for (const i of counts.keys()) {
        await stage.application({
          options: (_, response) => {
            counts[i] = (counts[i] ?? 0) + 1;
            response.send(200);
          },
        });
      }
      const phone = await stage.phone();
      for (let i = 0; i < 9; i++) await (await phone.request('OPTIONS', stage.service)).final(200);
      return { counts };
    },
    expected: { counts: [3, 3, 3] },
  },
  {
    title: 'a route that is taken back leaves the others',
    run: async (stage) => {
      const answer: Middleware = (_, response) => {
        response.send(200);
      };
      const application = await stage.application({ options: answer, message: answer });
      application.srf.unregisterForMessages('message');
      await sleep(100);
      const phone = await stage.phone();
      const message = await (await phone.request('MESSAGE', stage.service)).final();
      const options = await (await phone.request('OPTIONS', stage.service)).final();
      return { message: message.statusCode, options: options.statusCode };
    },
    expected: { message: 503, options: 200 },
    difference: { row: 'remove-route', outcome: { options: 503 } },
  },
  {
    title: 'a connection that has not authenticated may do nothing',
    run: async (stage) => {
      const { host, controlPort } = stage.engine;
      const socket = net.connect(controlPort, host);
      const answer = new Promise<string>((resolve) => {
        socket.once('data', (bytes: Buffer) => {
          resolve(bytes.toString());
        });
      });
      const payload = 'one|route|publish';
      socket.write(`${payload.length}#${payload}`);
      const isAccepted = (await answer).includes('|response|one|OK');
      socket.destroy();
      return { isAccepted };
    },
    expected: { isAccepted: false },
    difference: { row: 'authentication', outcome: { isAccepted: true } },
  },
  {
    title: 'an application that is gone has no more turns',
    run: async (stage) => {
      const counts = [0, 0];
      const applications: PlainApplication[] = [];
      for (const i of counts.keys()) {
        const application = await stage.application({
          options: (_, response) => {
            counts[i] = (counts[i] ?? 0) + 1;
            response.send(200);
          },
        });
        applications.push(application);
      }
      applications[0]?.close();
      await sleep(100);
      const phone = await stage.phone();
      for (let i = 0; i < 4; i++) await (await phone.request('OPTIONS', stage.service)).final(200);
      return { counts };
    },
    expected: { counts: [0, 4] },
  },
  {
    title: 'an application that is gone while its call rings',
    isSlow: true,
    run: async (stage) => {
      const application = await stage.application({
        invite: (_, response) => {
          response.send(180);
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      await call.ringing();
      application.close();
      const answer = await call.outgoing?.final(undefined, 40_000).catch(() => undefined);
      if (answer === undefined) await call.cancel();
      return { statusCode: answer?.statusCode };
    },
    expected: { statusCode: 480 },
    difference: { row: 'application-lost-early', outcome: { statusCode: undefined } },
  },
  {
    title: 'a wrong secret is refused, and the connection closed',
    run: async (stage) => {
      const { text, isClosed } = await answerTo(stage, 'one|authenticate|guess|');
      return { isRefused: text.includes('|response|one|NO|incorrect secret'), isClosed };
    },
    expected: { isRefused: true, isClosed: true },
  },
  {
    title: 'records of a call through the application: two of each',
    run: async (stage) => {
      const records = await bookkeeper(stage);
      const callee = await stage.phone({ user: 'bob' });
      const { up } = await connecting(stage, callee.contactUri);
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      const taken = await callee.expectCall();
      await Promise.all([taken.answer(OTHER), call.answered()]);
      await up;
      await Promise.all([call.bye(), taken.expectBye()]);
      return { records: await settled(records, 6) };
    },
    expected: {
      records: [
        'attempt application',
        'attempt network',
        'start application uas',
        'start network uac',
        'stop application normal-release',
        'stop network normal-release',
      ],
    },
  },
  {
    title: 'records of a call that the callee refuses',
    run: async (stage) => {
      const records = await bookkeeper(stage);
      const callee = await stage.phone({ user: 'bob' });
      await connecting(stage, callee.contactUri);
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      await (await callee.expectCall()).reject(486);
      await call.rejected(486);
      return { records: await settled(records, 4) };
    },
    expected: {
      records: [
        'attempt application',
        'attempt network',
        'stop application call-rejected',
        'stop network call-rejected',
      ],
    },
  },
  {
    title: 'records of a call that the caller cancels',
    run: async (stage) => {
      const records = await bookkeeper(stage);
      await stage.application({
        invite: (_, response) => {
          response.send(180);
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      await call.ringing();
      await call.cancel();
      return { records: await settled(records, 2) };
    },
    expected: { records: ['attempt network', 'stop network call-canceled'] },
  },
  {
    title: 'records of a proxied call',
    run: async (stage) => {
      const records = await bookkeeper(stage);
      const callee = await stage.phone({ user: 'bob' });
      const application = await stage.application({
        invite: (request) => {
          const options = { remainInDialog: true };
          void application.srf.proxyRequest(request, `sip:${callee.hostPort}`, options);
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      const taken = await callee.expectCall();
      await Promise.all([taken.answer(OURS), call.answered()]);
      await Promise.all([call.bye(), taken.expectBye()]);
      return { records: await settled(records, 6) };
    },
    expected: {
      records: [
        'attempt application',
        'attempt network',
        'start application proxy-uas',
        'start network proxy-uac',
        'stop application normal-release',
        'stop network normal-release',
      ],
    },
  },
  {
    title: 'records of a proxied call that the callee refuses',
    run: async (stage) => {
      const records = await bookkeeper(stage);
      const callee = await stage.phone({ user: 'bob' });
      const application = await stage.application({
        invite: (request) => {
          void application.srf.proxyRequest(request, `sip:${callee.hostPort}`, {});
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      await (await callee.expectCall()).reject(486);
      await call.rejected(486);
      return { records: await settled(records, 4) };
    },
    expected: {
      records: [
        'attempt application',
        'attempt network',
        'stop application call-rejected',
        'stop network call-rejected',
      ],
    },
  },
  {
    title: 'records of a proxied call that the caller cancels',
    run: async (stage) => {
      const records = await bookkeeper(stage);
      const callee = await stage.phone({ user: 'bob' });
      const application = await stage.application({
        invite: (request) => {
          void application.srf.proxyRequest(request, `sip:${callee.hostPort}`, {});
        },
      });
      const call = await (await stage.phone()).invite(stage.service, { sdp: sdp() });
      const taken = await callee.expectCall();
      taken.ring(180);
      await call.ringing();
      await Promise.all([call.cancel(), taken.expectCancel()]);
      return { records: await settled(records, 4) };
    },
    expected: {
      records: [
        'attempt application',
        'attempt network',
        'stop application call-canceled',
        'stop network call-canceled',
      ],
    },
    difference: {
      row: 'cdr-cancelled',
      outcome: {
        records: [
          'attempt application',
          'attempt network',
          'stop application call-rejected',
          'stop network call-canceled',
        ],
      },
    },
  },
]);
