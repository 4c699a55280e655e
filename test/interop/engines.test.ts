/**
 * One suite of scenarios over our engine and over a real drachtio-server, with an application in between that knows
 * drachtio-srf only. Where the two differ, the scenario says what the other does, and docs/drachtio.md says why.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dialog, Middleware, SipRequest, SipResponse } from '../../registrar/app/srf.ts';
import type { SipMessage } from '../../core/sip/message.ts';
import type { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { sdp } from '../support/sdp.ts';
import {
  ENGINE_NAMES,
  externalEngine,
  PlainApplication,
  startTestEngine,
  WITHOUT_EXTERNAL,
  type EngineName,
  type ProxyOptions,
  type ProxyResult,
  type RunningTestEngine,
} from '../support/sip-engines.ts';
import { SipPeer, type Call, type PeerOptions } from '../support/sip-peer.ts';

const GREETING = 'Grüße aus Übersee – こんにちは 🙂';
const OURS = sdp({ port: 41_000 });
const OTHER = sdp({ port: 42_000, version: 2 });
/** How long to look for something that may not come. */
const LOOK_MS = 1500;

/** What can be seen from outside, in terms that do not depend on ports, tags and times. */
type Outcome = Readonly<Record<string, unknown>>;

type Scenario = {
  readonly title: string;
  readonly run: (stage: Stage) => Promise<Outcome>;
  readonly expected: Outcome;
  /** What a drachtio-server does instead; `row` is the entry in docs/drachtio.md. */
  readonly difference?: { readonly row: string; readonly outcome: Outcome };
  /** It takes so long that the other engine is asked only with PARLEY_TEST_SLOW=1. */
  readonly isSlow?: true;
};

/** The engine, and what one scenario opens on it. */
class Stage {
  readonly engine: RunningTestEngine;
  readonly name: EngineName;
  readonly #closers: (() => unknown)[] = [];

  constructor(name: EngineName, engine: RunningTestEngine) {
    this.name = name;
    this.engine = engine;
  }

  async phone(options: PeerOptions = {}): Promise<SipPeer> {
    const peer = await SipPeer.open({ server: this.engine.sip, user: 'alice', ...options });
    this.#closers.push(() => peer.close());
    return peer;
  }

  async application(
    handlers: Readonly<Record<string, Middleware>> = {},
  ): Promise<PlainApplication> {
    const application = await PlainApplication.connect(this.engine, handlers);
    this.#closers.push(() => {
      application.close();
    });
    return application;
  }

  /** The application's address, as a phone would dial it. */
  get service(): string {
    return `sip:service@${this.engine.sip.address}:${this.engine.sip.port}`;
  }

  /** An application that answers each INVITE; `up` settles when the first call is up. */
  async answering(
    onDialog: (dialog: Dialog) => void = () => undefined,
    headers: Record<string, string> = {},
  ): Promise<{ application: PlainApplication; up: Promise<Dialog> }> {
    const { promise: up, resolve } = withResolver<Dialog>();
    const application = await this.application({
      invite: (request, response) => {
        void application.srf
          .createUAS(request, response, { localSdp: OURS, headers })
          .then((dialog) => {
            onDialog(dialog);
            resolve(dialog);
          });
      },
    });
    return { application, up };
  }

  /** A call that a phone has made to such an application. */
  async callToApplication(
    onDialog?: (dialog: Dialog) => void,
    options: PeerOptions = {},
  ): Promise<{ phone: SipPeer; call: Call; dialog: Dialog; application: PlainApplication }> {
    const { application, up } = await this.answering(onDialog);
    const phone = await this.phone(options);
    const call = await phone.invite(this.service, { sdp: sdp() });
    await call.answered();
    return { phone, call, dialog: await up, application };
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** The first arguments of the next such event. */
function next(
  emitter: { once(event: string, listener: (...args: never[]) => void): unknown },
  event: string,
): Promise<readonly unknown[]> {
  return new Promise((resolve) => {
    emitter.once(event, (...values: readonly unknown[]) => {
      resolve(values);
    });
  });
}

/** Does it come, or is it missed? */
async function comes(event: Promise<unknown>): Promise<boolean> {
  return event.then(
    () => true,
    () => false,
  );
}

function callback<T>(start: (done: (error: unknown, value: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null || error === undefined) resolve(value);
      else reject(error instanceof Error ? error : new Error(inspect(error)));
    });
  });
}

function inspect(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const endedBy = async (dialog: Dialog): Promise<unknown> => (await next(dialog, 'destroy'))[1];

/** RFC 3262 section 7.1: what acknowledges a reliable provisional response. */
function prackFor(
  phone: SipPeer,
  call: Call,
  response: Awaited<ReturnType<Call['ringing']>>,
): OutgoingMessage {
  const invite = call.outgoing?.request;
  return phone
    .buildRequest('PRACK', response.contacts[0]?.uriText ?? '', {
      from: invite?.header('From') ?? '',
      to: response.header('To') ?? '',
      callId: call.callId,
      cseq: 2,
    })
    .add('RAck', `${response.header('RSeq') ?? ''} ${response.header('CSeq') ?? ''}`);
}

async function closedTcpPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A caller, a proxy and as many called phones. */
async function proxied(
  stage: Stage,
  count: number,
  options: ProxyOptions,
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
      const places = phones.map(({ hostPort }) => `sip:${hostPort}`);
      void application.srf.proxyRequest(request, places, options).then(resolve);
    },
  });
  const caller = await stage.phone();
  const call = await caller.invite(stage.service, { sdp: sdp() });
  return { call, phones, result };
}

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

const SCENARIOS: readonly Scenario[] = [
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
    title: 'createUAC refused by the called phone',
    run: async (stage) => {
      const application = await stage.application();
      const phone = await stage.phone();
      const made = application.srf.createUAC({ uri: phone.contactUri, localSdp: OURS }, {});
      const status = made.then(
        () => 200,
        (error: unknown) => (error as { status: number }).status,
      );
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
      const status = made.then(
        () => 200,
        (error: unknown) => (error as { status: number }).status,
      );
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
    title: 'a reliable 183 is repeated until PRACK, and then the call is answered',
    run: async (stage) => {
      const { promise: pracked, resolve } = withResolver<string | undefined>();
      const application = await stage.application({
        invite: (request, response) => {
          const headers = { Require: '100rel', 'Content-Type': 'application/sdp' };
          const send = response.send.bind(response) as (
            status: number,
            options: object,
            callback: unknown,
            onPrack: (prack: SipRequest) => void,
          ) => void;
          send(183, { headers, body: OURS }, undefined, (prack) => {
            resolve(prack.get('RAck'));
            void application.srf.createUAS(request, response, { localSdp: OURS });
          });
        },
      });
      const phone = await stage.phone();
      const call = await phone.invite(stage.service, {
        sdp: sdp(),
        headers: { Supported: '100rel' },
      });
      await call.ringing(183);
      const again = await call.ringing(183);
      const prack = prackFor(phone, call, again);
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
    title: 'proxy, one after the other: the second takes it, and the rest of the call goes past us',
    run: async (stage) => {
      const { call, phones, result } = await proxied(stage, 2, { forking: 'sequential' });
      const [first, second] = phones;
      assert.ok(first !== undefined && second !== undefined);
      await (await first.expectCall()).reject(486);
      const taken = await second.expectCall();
      await talkPast(call, taken);
      const { finalStatus, responses } = await result;
      return {
        finalStatus,
        statuses: responses.flatMap(({ msgs }) => msgs.map(({ status }) => status)),
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
];

/** What may remain a while after everybody has gone. */
const REMAINS = /^(?:applications|refusedConnections|connections|flows|flowBindings)$/;

async function nothingLeft(engine: RunningTestEngine): Promise<void> {
  const end = Date.now() + 15_000;
  for (;;) {
    const left = Object.entries((await engine.holdings()) ?? {}).filter(
      ([name, count]) => count !== 0 && !REMAINS.test(name),
    );
    const counts = Object.fromEntries(left);
    if (left.length === 0) return;
    if (Date.now() > end) assert.deepEqual(counts, {}, 'something is left');
    await sleep(100);
  }
}

for (const name of ENGINE_NAMES) {
  const isThere = name === 'embedded' || externalEngine() !== undefined;
  describe(`an application over the ${name} engine${isThere ? '' : ` (${WITHOUT_EXTERNAL})`}`, () => {
    let engine: RunningTestEngine | undefined;
    let stage: Stage;

    before(async function () {
      if (!isThere) this.skip();
      engine = await startTestEngine(name);
    });
    beforeEach(() => {
      assert.ok(engine);
      stage = new Stage(name, engine);
    });
    afterEach(async () => {
      await stage.close();
    });
    after(async function () {
      this.timeout(30_000);
      if (engine === undefined) return;
      try {
        await nothingLeft(engine);
      } finally {
        await engine.stop();
      }
    });

    for (const { title, run, expected, difference, isSlow } of SCENARIOS) {
      const isOther = name === 'drachtio-server';
      const isAsked = !(isOther && isSlow === true) || process.env['PARLEY_TEST_SLOW'] === '1';
      it(isAsked ? title : `${title} (skipped: slow, see PARLEY_TEST_SLOW)`, async function () {
        if (!isAsked) this.skip();
        this.timeout(isSlow === true ? 90_000 : 20_000);
        const differs = isOther ? (difference?.outcome ?? {}) : {};
        assert.deepEqual(await run(stage), { ...expected, ...differs });
      });
    }
  });
}

describe('what differs between the engines', () => {
  it('is explained, row by row', () => {
    const document = path.resolve(import.meta.dirname, '../../docs/drachtio.md');
    const rows = [...readFileSync(document, 'utf8').matchAll(/^\| `([a-z-]+)` +\|/gm)];
    const listed = rows.map(([, row]) => row).sort();
    const known = SCENARIOS.flatMap(({ difference }) => (difference ? [difference.row] : []));
    assert.deepEqual(listed, known.sort());
  });
});
