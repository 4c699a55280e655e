import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { RefusedError } from '../../core/errors.ts';
import { nullLog } from '../../core/log.ts';
import { Phone } from '../../softphone/phone.ts';
import type { CallEnd, CallInfo, PhoneOptions, PhoneText } from '../../softphone/phone.ts';
import { SipPeer } from '../support/sip-peer.ts';
import type { Call, IncomingRequest } from '../support/sip-peer.ts';

const LIMIT_MS = 10_000;

async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `in vain: ${what}`);
    await sleep(5);
  }
}

function sdp(lines: readonly string[] = [], address = '127.0.0.1'): string {
  return [
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    `c=IN IP4 ${address}`,
    't=0 0',
    'm=audio 40000 RTP/AVP 0',
    ...lines,
    '',
  ].join('\r\n');
}

describe('a softphone and a scripted server', function () {
  this.timeout(30_000);
  let server: SipPeer;
  let phone: Phone;
  let ends: CallEnd[];
  let texts: PhoneText[];
  let digits: string[];

  const open = async (more: Partial<PhoneOptions> = {}): Promise<void> => {
    server = await SipPeer.open({ transport: 'tcp', user: 'bob', domain: 'lab.test' });
    phone = await Phone.open({
      nickname: 'anna',
      password: 'secret',
      displayName: 'Änna "A" \\ 日本',
      domain: 'lab.test',
      server: { host: '127.0.0.1', port: server.endpoint.port },
      product: 'Parley/test',
      codecs: ['opus', 'PCMU'],
      rtpPorts: { lowest: 16_384, highest: 32_767 },
      sound: 'none',
      log: nullLog,
      ...more,
    });
    ends = [];
    texts = [];
    digits = [];
    phone.on('ended', (_call, end) => ends.push(end));
    phone.on('text', (text) => texts.push(text));
    phone.on('digit', (_call, digit) => digits.push(digit));
    phone.start();
  };

  /** Answers one REGISTER. */
  const register = async (
    statusCode = 200,
    headers: Readonly<Record<string, string | readonly string[]>> = {},
  ): Promise<IncomingRequest> => {
    const request = await server.expectRequest('REGISTER');
    const contact = request.message.header('contact') ?? '';
    const granted = statusCode === 200 ? { Contact: contact } : {};
    request.reply(statusCode, { headers: { ...granted, ...headers } });
    return request;
  };

  const up = async (more: Partial<PhoneOptions> = {}): Promise<void> => {
    await open(more);
    await register();
    await until(() => phone.registration.kind === 'registered', 'registered');
  };

  /** Where the phone wants to be reached, which is the connection that it opened. */
  const reach = (): { uri: string; target: { address: string; port: number } } => {
    const contact = server.seen
      .map(({ message }) => message)
      .filter(({ method }) => method === 'REGISTER')
      .at(-1)?.contacts[0]?.uriText;
    assert.ok(contact);
    const port = Number(/:(\d+);/.exec(contact)?.[1]);
    return { uri: contact, target: { address: '127.0.0.1', port } };
  };

  const ring = async (body: string | undefined = sdp()): Promise<Call> => {
    const { uri, target } = reach();
    return server.invite(uri, { target, ...(body === '' ? {} : { sdp: body }) });
  };

  const incoming = (): CallInfo | undefined =>
    phone.calls().find(({ phase }) => phase === 'incoming');

  const talk = async (body?: string): Promise<Call> => {
    const call = await ring(body);
    await call.ringing();
    await until(() => incoming() !== undefined, 'it rings');
    await phone.answer(incoming()?.id ?? '');
    await call.answered();
    await until(() => phone.calls()[0]?.phase === 'established', 'established');
    return call;
  };

  afterEach(async () => {
    // The last REGISTER, so that the phone does not have to wait for an answer in vain.
    void server.expectRequest('REGISTER').then(
      (request) => request.reply(200),
      () => undefined,
    );
    await phone.stop();
    await server.close();
  });

  it('registers with its instance, a contact on its connection, and its name in UTF-8', async () => {
    await open();
    const { message } = await register();
    assert.equal(message.requestUri, 'sip:lab.test');
    assert.equal(message.from().displayName, 'Änna "A" \\ 日本');
    const [contact] = message.contacts;
    assert.match(contact?.uriText ?? '', /^sip:[0-9a-f]+@127\.0\.0\.1:\d+;transport=tcp$/);
    assert.equal(contact?.params.get('reg-id'), '1');
    assert.match(contact.params.get('+sip.instance') ?? '', /^<?urn:uuid:|"<urn:uuid:/);
    assert.equal(message.header('user-agent'), 'Parley/test');
    await until(() => phone.registration.kind === 'registered', 'registered');
    assert.equal(server.unexpected.length, 0);
  });

  it('MUST answer the strongest of several challenges, wherever it stands (RFC 8760)', async () => {
    await open();
    await register(401, {
      'WWW-Authenticate': [
        'Digest realm="lab", nonce="s", algorithm=SHA-256, qop="auth"',
        'Bearer realm="lab"',
        'Digest realm="lab", nonce="m", algorithm=MD5, qop="auth"',
      ],
    });
    const { message } = await register();
    assert.match(message.header('authorization') ?? '', /nonce="s".*algorithm=SHA-256/);
    assert.equal(message.cseq.sequence, 2);
  });

  it('MUST NOT try a wrong password twice', async () => {
    await open();
    const challenge = { 'WWW-Authenticate': 'Digest realm="lab", nonce="n", qop="auth"' };
    await register(401, challenge);
    await register(401, challenge);
    await until(() => phone.registration.kind === 'refused', 'refused');
    await sleep(200);
    assert.equal(server.unexpected.length, 0);
  });

  it('asks for a longer registration when told so, and comes back after a fault', async () => {
    await open();
    await register(423, { 'Min-Expires': '3600' });
    const { message } = await register(503, { 'Retry-After': '1' });
    assert.equal(message.expires, 3600);
    await until(() => phone.registration.kind === 'waiting', 'waiting');
    await register();
    await until(() => phone.registration.kind === 'registered', 'registered');
  });

  it('registers without a flow when a proxy in between keeps none (439, RFC 5626)', async () => {
    const asks = ({ message }: IncomingRequest): readonly unknown[] => [
      message.contacts[0]?.params.get('reg-id'),
      message.headerValues('Supported').includes('outbound'),
      message.headerValues('Supported').includes('path'),
    ];
    await open();
    const refused = await register(439);
    assert.deepEqual(asks(refused), ['1', true, true]);
    const plain = await register(200);
    assert.deepEqual(asks(plain), [undefined, false, true]);
    assert.equal(plain.message.callId, refused.message.callId);
    await until(() => phone.registration.kind === 'registered', 'registered');
    await talk().then((call) => call.bye());
    const stopping = phone.stop();
    assert.deepEqual(asks(await register()), [undefined, false, true]);
    await stopping;
  });

  it('gives in when it is refused without a flow as well', async () => {
    await open();
    await register(439);
    await register(439);
    await until(() => phone.registration.kind === 'refused', 'refused');
  });

  it('unregisters when it ends', async () => {
    await up();
    const stopping = phone.stop();
    const { message } = await register();
    assert.equal(message.expires, 0);
    await stopping;
  });

  it('sends what is outside of dialogs by the Service-Route of its registration (RFC 3608)', async () => {
    const way = ['<sip:127.0.0.1:5099;lr>', '<sip:to,ken@home.lab.test;lr>'];
    const routesOf = (method: string, callId: string): readonly (readonly string[])[] =>
      server.seen
        .map(({ message }) => message)
        .filter((message) => message.method === method && message.callId === callId)
        .map((message) => message.headerValues('Route'));
    await open();
    const first = await register(200, { 'Service-Route': way });
    assert.equal(first.message.has('Route'), false);
    await until(() => phone.registration.kind === 'registered', 'registered');

    const sent = phone.sendMessage('bob', 'Hello');
    const text = await server.expectRequest('MESSAGE');
    text.reply(200);
    await sent;
    assert.deepEqual(text.message.headerValues('Route'), way);

    phone.call('bob');
    const refused = await server.expectCall();
    await refused.reject(486);
    assert.deepEqual(routesOf('INVITE', refused.callId), [way]);
    assert.deepEqual(routesOf('ACK', refused.callId), [way]);
    await until(() => phone.calls().length === 0, 'refused');

    const { id } = phone.call('bob');
    const cancelled = await server.expectCall();
    cancelled.ring();
    await until(() => phone.calls()[0]?.phase === 'ringing', 'it rings');
    phone.hangUp(id);
    assert.deepEqual((await cancelled.expectCancel()).headerValues('Route'), way);
    await until(() => phone.calls().length === 0, 'cancelled');

    phone.call('bob');
    const call = await server.expectCall();
    const proxy = '<sip:recorded.lab.test;lr>';
    const ack = await call.answer(sdp(), { headers: { 'Record-Route': proxy } });
    assert.deepEqual(ack.headerValues('Route'), [proxy]);
    await until(() => phone.calls()[0]?.phase === 'established', 'answered');
    phone.hangUp(phone.calls()[0]?.id ?? '');
    assert.deepEqual((await call.expectBye()).headerValues('Route'), [proxy]);

    const stopping = phone.stop();
    assert.equal((await register()).message.has('Route'), false);
    await stopping;
  });

  it('takes the Service-Route of each registration instead of the one before', async () => {
    await open();
    // What is granted for so short is refreshed after a second.
    const next = async (route: Readonly<Record<string, string>>): Promise<readonly string[]> => {
      const { message } = await server.expectRequest('REGISTER').then((request) => {
        const contact = (request.message.header('contact') ?? '').replace(
          /expires=\d+/,
          'expires=6',
        );
        request.reply(200, { headers: { Contact: contact, ...route } });
        return request;
      });
      assert.equal(message.has('Route'), false);
      await until(() => phone.registration.kind === 'registered', 'registered');
      // The answer is read before anything else comes by this connection.
      const options = await server.request('OPTIONS', reach().uri, { target: reach().target });
      await options.final(200);
      const sent = phone.sendMessage('bob', 'Hello');
      const text = await server.expectRequest('MESSAGE');
      text.reply(200);
      await sent;
      return text.message.headerValues('Route');
    };
    assert.deepEqual(await next({ 'Service-Route': '<sip:one.lab.test;lr>' }), [
      '<sip:one.lab.test;lr>',
    ]);
    assert.deepEqual(await next({ 'Service-Route': '<sip:two.lab.test;lr>' }), [
      '<sip:two.lab.test;lr>',
    ]);
    assert.deepEqual(await next({ 'Service-Route': '<sip:strict.lab.test>' }), []);
    assert.deepEqual(await next({}), []);
  });

  it('is put on hold in both styles, and taken back', async () => {
    await up();
    const call = await talk();
    const held = (): boolean | undefined => phone.calls()[0]?.isHeldByPeer;
    for (const [body, expected] of [
      [sdp(['a=sendonly']), 'recvonly'],
      [sdp(['a=inactive']), 'inactive'],
      [sdp([], '0.0.0.0'), 'recvonly'],
    ] as const) {
      const answer = await call.reinvite(body);
      assert.match(answer.body.toString(), new RegExp(`a=${expected}`));
      assert.equal(held(), true);
      await call.reinvite(sdp());
      assert.equal(held(), false);
    }
    await call.bye({ headers: { Reason: 'SIP;cause=200;text="Lunch"' } });
    await until(() => ends.length === 1, 'an end');
    assert.equal(ends[0]?.text, 'Lunch');
  });

  it('offers by itself when an INVITE brings no offer', async () => {
    await up();
    const call = await ring('');
    await call.ringing();
    await until(() => incoming() !== undefined, 'it rings');
    await phone.answer(incoming()?.id ?? '');
    const answered = await call.answered({ body: sdp(), contentType: 'application/sdp' });
    assert.match(answered.body.toString(), /opus\/48000\/2/);
    await until(() => phone.calls()[0]?.codec === 'PCMU', 'agreed by the ACK');
    await call.bye();
  });

  for (const [title, body, statusCode] of [
    ['an offer without a codec of ours', sdp().replace('AVP 0', 'AVP 18'), 488],
    ['an offer without sound', sdp().replace('m=audio', 'm=video'), 488],
    ['an offer that is no SDP', 'hello', 400],
  ] as const) {
    it(`MUST refuse ${title} without ringing`, async () => {
      await up();
      await (await ring(body)).rejected(statusCode);
      assert.equal(phone.calls().length, 0);
    });
  }

  it('MUST refuse what it cannot do: reliable provisional answers, transfer, strange methods', async () => {
    await up();
    const { uri, target } = reach();
    const reliable = await server.invite(uri, {
      target,
      sdp: sdp(),
      headers: { Require: '100rel' },
    });
    await reliable.rejected(420);
    const call = await talk();
    await call.request('REFER', { headers: { 'Refer-To': '<sip:eve@evil.test>' } }).final(603);
    await call.request('UPDATE').final(405);
    await call.bye();
    assert.equal(
      server.seen.some(({ message }) => message.requestUri.includes('evil')),
      false,
    );
  });

  it('takes keys by INFO', async () => {
    await up();
    const call = await talk();
    const options = { body: 'Signal=5\r\nDuration=160\r\n', contentType: 'application/dtmf-relay' };
    await call.request('INFO', options).final(200);
    await until(() => digits.length === 1, 'a key');
    assert.deepEqual(digits, ['5']);
    await call.bye();
  });

  it('tells a call that was answered elsewhere from one that was given up', async () => {
    await up();
    for (const [headers, kind] of [
      [{ Reason: 'SIP;cause=200;text="Call completed elsewhere"' }, 'elsewhere'],
      [{}, 'cancelled'],
    ] as const) {
      const call = await ring();
      await call.ringing();
      await call.cancel({ headers });
      await until(() => ends.length > 0, 'an end');
      assert.equal(ends.pop()?.kind, kind);
    }
  });

  it('hangs up when the answer to its call is useless', async () => {
    await up();
    for (const body of [sdp().replace('AVP 0', 'AVP 18'), 'nonsense']) {
      phone.call('bob');
      const call = await server.expectCall();
      await call.answer(body);
      await call.expectBye();
      await until(() => phone.calls().length === 0, 'it ends');
    }
  });

  it('hears what is played before the answer (183), and goes on with the answer', async () => {
    await up();
    const { id } = phone.call('bob');
    const call = await server.expectCall();
    call.ring(183, { body: sdp(), contentType: 'application/sdp' });
    await until(() => phone.calls()[0]?.codec === 'PCMU', 'early sound');
    assert.equal(phone.calls()[0]?.phase, 'ringing');
    await call.answer(sdp());
    await until(() => phone.calls()[0]?.phase === 'established', 'answered');
    phone.hangUp(id);
    await call.expectBye();
  });

  it('MUST survive a BYE right behind the answer', async () => {
    await up();
    for (let turn = 0; turn < 5; turn += 1) {
      phone.call('bob');
      const call = await server.expectCall();
      const answering = call.answer(sdp());
      const ending = call.bye();
      await Promise.all([answering, ending]);
      await until(() => phone.calls().length === 0, 'it ends');
    }
    assert.equal(ends.length, 5);
  });

  it('tries again after both sides changed the call at once (491), and gives in to a refusal', async () => {
    await up();
    const call = await talk();
    const { id } = phone.calls()[0] ?? { id: '' };
    const holding = phone.hold(id);
    (await call.expectRequest('INVITE')).reply(491);
    await call.expectRequest('ACK');
    await call.expectReinvite(sdp(['a=recvonly']));
    await holding;
    assert.equal(phone.calls()[0]?.isHeld, true);
    const resuming = phone.resume(id);
    resuming.catch(() => undefined);
    (await call.expectRequest('INVITE')).reply(488);
    await call.expectRequest('ACK');
    await assert.rejects(resuming, RefusedError);
    assert.equal(phone.calls()[0]?.isHeld, true);
    await call.bye();
  });

  it('ends a call that the other side has forgotten (481)', async () => {
    await up();
    const call = await talk();
    const holding = phone.hold(phone.calls()[0]?.id ?? '');
    holding.catch(() => undefined);
    (await call.expectRequest('INVITE')).reply(481);
    await call.expectRequest('ACK');
    await assert.rejects(holding, RefusedError);
    assert.equal(phone.calls().length, 0);
    assert.equal(ends[0]?.kind, 'lost');
  });

  it('answers OPTIONS as an INVITE would be answered', async () => {
    await up({ maxCalls: 1 });
    const { uri, target } = reach();
    await (await server.request('OPTIONS', uri, { target })).final(200);
    const call = await talk();
    await (await server.request('OPTIONS', uri, { target })).final(486);
    await (await ring()).rejected(486);
    await call.bye();
  });

  it('reads texts in and outside of calls, packed or not, and refuses pictures', async () => {
    await up();
    const { uri, target } = reach();
    const send = async (
      contentType: string,
      body: string | Buffer,
      status: number,
    ): Promise<void> => {
      await (await server.request('MESSAGE', uri, { target, contentType, body })).final(status);
    };
    await send('text/plain', 'Grüße 日本', 200);
    await send(
      'message/cpim',
      'From: "Clara Holm" <sip:clara@lab.test>\r\n\r\nContent-Type: text/plain\r\n\r\nhi',
      200,
    );
    await send('message/imdn+xml', Buffer.from([0x78, 0x9c, 0xff, 0x00]), 200);
    await send('image/png', Buffer.from([0x89, 0x50, 0xff]), 415);
    const call = await talk();
    await call.request('MESSAGE', { contentType: 'text/plain', body: 'in the call' }).final(200);
    await call.bye();
    await until(() => texts.length === 3, 'three texts');
    assert.deepEqual(
      texts.map(({ text, nickname, name }) => [text, nickname, name]),
      [
        ['Grüße 日本', 'bob', 'bob'],
        ['hi', 'clara', 'Clara Holm'],
        ['in the call', 'bob', 'bob'],
      ],
    );
  });

  it('follows a roster through documents that come at once, and asks again when one is missing', async () => {
    await up();
    const joining = phone.joinRoom('turbo');
    const call = await server.expectCall();
    assert.equal(call.incoming?.message.requestUri, 'sip:%23turbo@lab.test');
    const contact = `<sip:%23turbo@127.0.0.1:${server.endpoint.port};transport=tcp>;isfocus`;
    await call.answer(sdp(), { headers: { Contact: contact } });
    await joining;
    const subscribe = await server.expectRequest('SUBSCRIBE');
    assert.equal(subscribe.message.header('event'), 'conference');
    const target = reach().target;
    const users = (list: readonly string[]): string =>
      list.map((name) => `<user entity="sip:${name}@lab.test"/>`).join('');
    const accepted = subscribe.reply(200, { headers: { Expires: '600', Contact: contact } });
    const toTag = /tag=([^;\s>]+)/.exec(accepted.header('to') ?? '')?.[1] ?? '';
    let cseq = 0;
    const notify = async (
      state: string,
      version: number,
      names: readonly string[],
    ): Promise<void> => {
      cseq += 1;
      const document = `<conference-info entity="x" state="${state}" version="${version}"><users state="${state}">${users(names)}</users></conference-info>`;
      const exchange = await server.request('NOTIFY', reach().uri, {
        target,
        callId: subscribe.message.callId,
        cseq,
        from: `<sip:%23turbo@lab.test>;tag=${toTag}`,
        to: subscribe.message.header('from') ?? '',
        contact,
        contentType: 'application/conference-info+xml',
        body: document,
        headers: { Event: 'conference', 'Subscription-State': 'active;expires=600' },
      });
      void exchange.final(200);
    };
    await Promise.all([
      notify('full', 1, ['anna']),
      notify('partial', 2, ['bob']),
      notify('partial', 3, ['clara']),
    ]);
    const seen = (): string =>
      phone
        .roster('turbo')
        .map(({ nickname }) => nickname)
        .join();
    await until(() => seen() === 'anna,bob,clara', 'three people');
    await notify('partial', 5, ['david']);
    (await server.expectRequest('SUBSCRIBE')).reply(200, {
      headers: { Expires: '600', Contact: contact },
    });
    await notify('full', 6, ['anna', 'david']);
    await until(() => seen() === 'anna,david', 'the full list');
    await call.bye();
    await until(() => phone.rooms().length === 0, 'out of the room');
  });
});

describe('a softphone and hostile bytes', function () {
  this.timeout(60_000);

  type Wire = { readonly port: number; readonly sockets: Set<Socket>; readonly server: Server };

  const listen = async (onConnection: (socket: Socket) => void): Promise<Wire> => {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { port: (server.address() as AddressInfo).port, sockets, server };
  };

  const openPhone = (port: number, more: Partial<PhoneOptions> = {}): Promise<Phone> =>
    Phone.open({
      nickname: 'anna',
      password: 'secret',
      server: { host: '127.0.0.1', port },
      product: 'Parley/test',
      codecs: ['opus', 'PCMU'],
      rtpPorts: { lowest: 16_384, highest: 32_767 },
      sound: 'none',
      log: nullLog,
      ...more,
    });

  const close = async ({ server, sockets }: Wire, phone: Phone): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await phone.stop();
  };

  it('answers pings, sends them, and leaves a server that stops answering', async () => {
    let pings = 0;
    let answers = 0;
    const wire = await listen((socket) => {
      socket.write('\r\n\r\n');
      socket.on('data', (bytes: Buffer) => {
        const text = bytes.toString();
        if (text === '\r\n') answers += 1;
        if (!text.endsWith('\r\n\r\n') || text.includes('SIP')) return;
        pings += 1;
        if (pings <= 2) socket.write('\r\n');
      });
    });
    const phone = await openPhone(wire.port, { keepAliveMs: 100, pongLimitMs: 300 });
    const states: string[] = [];
    phone.on('connection', ({ kind }) => states.push(kind));
    phone.start();
    try {
      await until(() => states.includes('disconnected'), 'it gives up');
      assert.ok(pings >= 3, `${pings} pings`);
      assert.equal(answers, 1);
    } finally {
      await close(wire, phone);
    }
  });

  it('connects again after each loss', async () => {
    let connections = 0;
    const wire = await listen((socket) => {
      connections += 1;
      setTimeout(() => socket.destroy(), 20);
    });
    const phone = await openPhone(wire.port);
    phone.start();
    try {
      await until(() => connections === 3, 'three connections');
    } finally {
      await close(wire, phone);
    }
  });

  it('MUST leave a stream that is not SIP', async () => {
    const wire = await listen((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n`);
    });
    const phone = await openPhone(wire.port);
    const reasons: string[] = [];
    phone.on('connection', (state) => {
      if (state.kind === 'disconnected') reasons.push(state.reason);
    });
    phone.start();
    try {
      await until(() => reasons.length > 0, 'it leaves');
      assert.match(reasons[0] ?? '', /not SIP/);
    } finally {
      await close(wire, phone);
    }
  });

  it('MUST take any message without falling over, and go on', async () => {
    let socket: Socket | undefined;
    const received: string[] = [];
    const wire = await listen((connection) => {
      socket = connection;
      connection.on('data', (bytes: Buffer) => received.push(bytes.toString()));
    });
    const phone = await openPhone(wire.port);
    phone.start();
    await until(() => received.join('').includes('REGISTER'), 'a REGISTER');
    const register = received.join('');
    const header = (name: string): string =>
      new RegExp(`^${name}: (.*)\r$`, 'm').exec(register)?.[1] ?? '';
    const contact = /Contact: <([^>]+)>/.exec(register)?.[1] ?? '';
    const response = `SIP/2.0 200 OK\r\nVia: ${header('Via')}\r\nFrom: ${header('From')}\r\nTo: ${header('To')};tag=x\r\nCall-ID: ${header('Call-ID')}\r\nCSeq: ${header('CSeq')}\r\nContact: <${contact}>;expires=60\r\n`;
    const request = (method: string): string =>
      `${method} ${contact} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5;branch=z9hG4bK${Math.random()}\r\nFrom: "x" <sip:eve@lab.test>;tag=1\r\nTo: <sip:anna@lab.test>\r\nCall-ID: ${Math.random()}\r\nCSeq: 1 ${method}\r\nContact: <sip:eve@127.0.0.1:5>\r\nMax-Forwards: 70\r\nEvent: conference\r\nSubscription-State: active\r\nContent-Type: application/sdp\r\n`;
    const methods = [
      'INVITE',
      'MESSAGE',
      'NOTIFY',
      'OPTIONS',
      'REFER',
      'SUBSCRIBE',
      'BYE',
      'INFO',
      'PRACK',
      'ODD',
    ];
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(response, ...methods.map(request)),
          fc.nat(600),
          fc.nat(8),
          fc.oneof(
            fc.string({ maxLength: 12 }),
            fc.constantFrom('%ff', ',', '"', '<', '\r\n ', ';', '\u0000'),
          ),
          async (message, at, cut, noise) => {
            const spoiled = (message.slice(0, at) + noise + message.slice(at + cut)).replace(
              /\r\n\r\n/g,
              '\r\n',
            );
            socket?.write(`${spoiled.replace(/(?:\r\n)+$/, '')}\r\nContent-Length: 0\r\n\r\n`);
            await sleep(1);
          },
        ),
        { seed: 4475, numRuns: 400 },
      );
      const before = received.length;
      socket?.write(`${request('OPTIONS')}Content-Length: 0\r\n\r\n`);
      await until(() => received.slice(before).join('').includes('SIP/2.0 '), 'it still answers');
    } finally {
      await close(wire, phone);
    }
  });
});
