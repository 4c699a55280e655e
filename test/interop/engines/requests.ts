/** Scenarios of requests outside dialogs: REGISTER, OPTIONS, MESSAGE and what bodies go through. */

import {
  closedTcpPort,
  comes,
  GREETING,
  LOOK_MS,
  withResolver,
  type Outcome,
  scenarios,
  type Stage,
} from './scenario.ts';

/** A MESSAGE from a phone: how it is answered, and whether the application got all of it. */
async function bodyUp(stage: Stage, body: string, transport: 'udp' | 'tcp'): Promise<Outcome> {
  let isWhole = false;
  await stage.application({
    message: (request, response) => {
      isWhole = request.body === body;
      response.send(200);
    },
  });
  const phone = await stage.phone({ transport });
  const content = { body, contentType: 'text/plain' };
  const exchange = await phone.request('MESSAGE', stage.service, content);
  const { statusCode } = await exchange.final();
  return { statusCode, isWhole };
}

/** What arrives of a MESSAGE to a phone, if it arrives. */
async function bodyDown(
  stage: Stage,
  body: string,
  transport: 'udp' | 'tcp',
): Promise<Buffer | undefined> {
  const application = await stage.application();
  const phone = await stage.phone({ transport });
  const headers = { 'Content-Type': 'text/plain' };
  const sent = application.request(phone.contactUri, { method: 'MESSAGE', headers, body });
  const arrived = await phone.expectRequest('MESSAGE', LOOK_MS).catch(() => undefined);
  arrived?.reply(200);
  if (arrived !== undefined) await sent;
  return arrived?.message.body;
}

export const REQUESTS = scenarios([
  {
    title: 'REGISTER is answered with the contacts that the application gives',
    run: async (stage) => {
      await stage.application({
        register: (request, response) => {
          const contact = `${request.get('Contact') ?? ''};expires=300`;
          response.send(200, { headers: { Contact: contact, Expires: '300' } });
        },
      });
      const phone = await stage.phone();
      const answer = await phone.register();
      const [contact] = answer.contacts;
      return {
        isOwnContact: contact?.uriText === phone.contactUri,
        expires: answer.header('Expires'),
        hasTag: answer.toTag !== undefined,
      };
    },
    expected: { isOwnContact: true, expires: '300', hasTag: true },
  },
  {
    title: 'OPTIONS go both ways',
    run: async (stage) => {
      const application = await stage.application({
        options: (_, response) => {
          response.send(200, { headers: { Accept: 'application/sdp' } });
        },
      });
      const phone = await stage.phone();
      const exchange = await phone.request('OPTIONS', stage.service);
      const accept = (await exchange.final(200)).header('Accept');
      const back = application.request(phone.contactUri, { method: 'OPTIONS' });
      (await phone.expectRequest('OPTIONS')).reply(486);
      const { status, source } = await back;
      return { accept, status, source };
    },
    expected: { accept: 'application/sdp', status: 486, source: 'network' },
  },
  {
    title: 'MESSAGE carries text beyond ASCII both ways',
    run: async (stage) => {
      const { promise, resolve } = withResolver<string | undefined>();
      const application = await stage.application({
        message: (request, response) => {
          resolve(request.body);
          response.send(202);
        },
      });
      const phone = await stage.phone();
      const content = { body: GREETING, contentType: 'text/plain' };
      await (await phone.request('MESSAGE', stage.service, content)).final(202);
      const headers = { 'Content-Type': 'text/plain;charset=UTF-8' };
      const sent = application.request(phone.contactUri, {
        method: 'MESSAGE',
        headers,
        body: GREETING,
      });
      const arrived = await phone.expectRequest('MESSAGE');
      arrived.reply(200);
      return {
        up: await promise,
        down: arrived.message.body.toString(),
        type: arrived.message.header('Content-Type'),
        status: (await sent).status,
      };
    },
    expected: { up: GREETING, down: GREETING, type: 'text/plain;charset=UTF-8', status: 200 },
  },
  {
    title: 'a request that comes again is answered again, and the application sees it once',
    run: async (stage) => {
      let count = 0;
      await stage.application({
        message: (_, response) => {
          count += 1;
          response.send(202);
        },
      });
      const phone = await stage.phone({ retransmits: false });
      const content = { body: 'x', contentType: 'text/plain' };
      const exchange = await phone.request('MESSAGE', stage.service, content);
      const first = await exchange.final();
      await phone.sendBytes(exchange.request.serialise());
      const again = await exchange.final();
      return { count, statusCode: again.statusCode, isSame: again.toTag === first.toTag };
    },
    expected: { count: 1, statusCode: 202, isSame: true },
  },
  {
    title: 'a challenge to a request of the application is answered by drachtio-srf',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const auth = { username: 'service', password: 'secret' };
      const sent = application.request(phone.contactUri, { method: 'OPTIONS', auth });
      const first = await phone.expectRequest('OPTIONS');
      const challenge = 'Digest realm="phone", nonce="abc", algorithm=MD5, qop="auth"';
      first.reply(401, { headers: { 'WWW-Authenticate': challenge } });
      const second = await phone.expectRequest('OPTIONS');
      second.reply(200);
      const { status } = await sent;
      const [one, two] = [first.message, second.message];
      return {
        status,
        isOneCall: one.callId === two.callId && one.fromTag === two.fromTag,
        step: two.cseq.sequence - one.cseq.sequence,
        username: /username="([^"]*)"/.exec(two.header('Authorization') ?? '')?.[1],
      };
    },
    expected: { status: 200, isOneCall: true, step: 1, username: 'service' },
  },
  {
    title: 'a request that no application wants is refused',
    run: async (stage) => {
      await stage.application();
      const phone = await stage.phone();
      const { statusCode } = await (await phone.request('PUBLISH', stage.service)).final();
      return { statusCode };
    },
    expected: { statusCode: 503 },
  },
  {
    title: 'an application that never answers a MESSAGE',
    isSlow: true,
    run: async (stage) => {
      await stage.application({ message: () => undefined });
      const phone = await stage.phone({ retransmits: false });
      const exchange = await phone.request('MESSAGE', stage.service);
      const limit = stage.name === 'embedded' ? 10_000 : 70_000;
      return { isRefused: await comes(exchange.final(503, limit)) };
    },
    expected: { isRefused: true },
    difference: { row: 'silent-drop', outcome: { isRefused: false } },
  },
  {
    title: 'a request to a TCP port where nobody listens: 503',
    run: async (stage) => {
      const application = await stage.application();
      const uri = `sip:bob@127.0.0.1:${await closedTcpPort()};transport=tcp`;
      const { status, source } = await application.request(uri, { method: 'OPTIONS' });
      return { status, source };
    },
    expected: { status: 503, source: 'network' },
  },
  {
    title: 'a body of 20 kB from a phone over TCP',
    run: async (stage) => bodyUp(stage, 'abcdefghij'.repeat(2000), 'tcp'),
    expected: { statusCode: 200, isWhole: true },
    difference: { row: 'large-on-stream', outcome: { statusCode: 400, isWhole: false } },
  },
  {
    title: 'a body of 11 kB to a phone over TCP',
    run: async (stage) => {
      const body = await bodyDown(stage, 'abcdefghij'.repeat(1100), 'tcp');
      return { length: body?.length };
    },
    expected: { length: 11_000 },
  },
  {
    title: 'a body of 20 kB to a phone over TCP',
    run: async (stage) => {
      const body = await bodyDown(stage, 'abcdefghij'.repeat(2000), 'tcp');
      return { length: body?.length };
    },
    expected: { length: 20_000 },
    difference: { row: 'control-buffer', outcome: { length: undefined } },
  },
  {
    title: 'a zero byte in a body from a phone',
    run: async (stage) => bodyUp(stage, 'one\0two', 'udp'),
    expected: { statusCode: 200, isWhole: true },
    difference: { row: 'zero-byte-in', outcome: { statusCode: 400, isWhole: false } },
  },
  {
    title: 'a zero byte in a body to a phone',
    run: async (stage) => ({ body: (await bodyDown(stage, 'one\0two', 'udp'))?.toString() }),
    expected: { body: 'one\0two' },
    difference: { row: 'zero-byte-out', outcome: { body: 'one' } },
  },
  {
    title: 'Content-Encoding is the business of the two ends',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const sent = application.request(phone.contactUri, {
        method: 'MESSAGE',
        headers: { 'Content-Type': 'text/plain', 'Content-Encoding': 'deflate' },
        body: 'already packed',
      });
      const arrived = await phone.expectRequest('MESSAGE');
      arrived.reply(200);
      await sent;
      return { isUntouched: arrived.message.body.toString() === 'already packed' };
    },
    expected: { isUntouched: true },
    difference: { row: 'content-encoding', outcome: { isUntouched: false } },
  },
  {
    title: 'REFER outside a dialog',
    run: async (stage) => {
      await stage.application({
        refer: (_, response) => {
          response.send(202);
        },
      });
      const phone = await stage.phone({ retransmits: false });
      const refer = await phone.request('REFER', stage.service, {
        headers: { 'Refer-To': '<sip:bob@127.0.0.1>' },
      });
      return { isAccepted: await comes(refer.final(202, LOOK_MS)) };
    },
    expected: { isAccepted: true },
    difference: { row: 'refer-outside', outcome: { isAccepted: false } },
  },
]);
