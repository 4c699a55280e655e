import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEngine } from '../../registrar/engine/public.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { seededRandom } from '../support/random.ts';
import { RtpPeer } from '../support/rtp-peer.ts';
import { SipPeer } from '../support/sip-peer.ts';
import type { PeerOptions } from '../support/sip-peer.ts';

let branches = 0;

type Transport = 'udp' | 'tcp';

/** Requests and responses that no parser may take, each with one fault; `@` is the sender's host and port. */
const MALFORMED: Readonly<Record<string, string>> = {
  'no headers at all': 'INVITE sip:anna@parley.test SIP/2.0\r\n\r\n',
  'no Via': 'OPTIONS sip:parley.test SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n',
  'a Via without a host':
    'OPTIONS sip:parley.test SIP/2.0\r\nVia: SIP/2.0/UDP ;branch=z9hG4bK1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\r\n',
  'another method in CSeq': message('OPTIONS', { CSeq: '1 INVITE' }),
  'a CSeq beyond 2**31': message('OPTIONS', { CSeq: '4294967296 OPTIONS' }),
  'a CSeq that is no number': message('OPTIONS', { CSeq: 'one OPTIONS' }),
  'no Call-ID': message('OPTIONS', { 'Call-ID': undefined }),
  'no From': message('INVITE', { From: undefined }),
  'a From without an end': message('INVITE', { From: '"anna <sip:anna@parley.test' }),
  'a To of nothing but brackets': message('MESSAGE', { To: '<>' }),
  'a negative length': message('MESSAGE', { 'Content-Length': '-5' }),
  'a length beyond all memory': message('MESSAGE', { 'Content-Length': '99999999999999999999' }),
  'a longer length than there is': message('MESSAGE', { 'Content-Length': '5000' }),
  'Max-Forwards of words': message('INVITE', { 'Max-Forwards': 'many' }),
  'Max-Forwards 0': message('INVITE', { 'Max-Forwards': '0' }),
  'an unknown version': message('OPTIONS').replace('SIP/2.0\r\n', 'SIP/7.0\r\n'),
  'a lower-case method': message('invite'),
  'a Request-URI without a scheme': message('OPTIONS', {}, 'parley.test'),
  'a Request-URI in brackets': message('OPTIONS', {}, '<sip:parley.test>'),
  'spaces in the Request-URI': message('OPTIONS', {}, 'sip:anna and bruno@parley.test'),
  'an escape that is none': message('OPTIONS', {}, 'sip:%zz%4@parley.test'),
  'a port of six digits': message('OPTIONS', {}, 'sip:anna@parley.test:506060'),
  'a header without a colon': message('OPTIONS', { 'X Strange': '' }).replace(
    'X Strange: ',
    'X Strange',
  ),
  'a NUL in a header': message('OPTIONS', { Subject: 'good\u0000bye' }),
  'a Route to nowhere': message('INVITE', { Route: '<sip:;lr>' }),
  'an unknown extension required': message('INVITE', { Require: 'telepathy' }),
  'a Contact of nonsense': message('REGISTER', { Contact: '<<<:::>>>;;;q=7;expires=soon' }),
  'a hundred thousand commas': message('REGISTER', { Contact: ','.repeat(20_000) }),
  'nested quotes': message('OPTIONS', { Subject: '"'.repeat(3001), Contact: '"\\"\\'.repeat(500) }),
  'an Authorization of nonsense': message('REGISTER', { Authorization: 'Digest ===,,"realm' }),
  'ten thousand headers': message('OPTIONS', { Subject: 'x\r\nX: y'.repeat(6_000) }),
  'a response to nothing': message('OPTIONS').replace(/^.*/, 'SIP/2.0 200 OK'),
  'a response with status 99': message('OPTIONS').replace(/^.*/, 'SIP/2.0 99 Balloons'),
  'an ACK for nothing': message('ACK'),
  'a CANCEL for nothing': message('CANCEL'),
  'a BYE for nothing': message('BYE', { To: '<sip:anna@parley.test>;tag=nobody' }),
  'a NOTIFY for nothing': message('NOTIFY', { To: '<sip:anna@parley.test>;tag=nobody' }),
  'a PRACK for nothing': message('PRACK', { RAck: '1 2 INVITE' }),
  HTTP: 'GET / HTTP/1.1\r\nHost: parley.test\r\n\r\n',
  RTP: '\u0080\u0000\u0001\u0002aaaabbbbcccccccccc',
  TLS: '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
};

/** A request that is in order but for `changes`; a header that is undefined is left out. */
function message(
  method: string,
  changes: Readonly<Record<string, string | undefined>> = {},
  uri = 'sip:anna@parley.test',
): string {
  branches += 1;
  const headers: Record<string, string | undefined> = {
    Via: `SIP/2.0/TRANSPORT @;branch=z9hG4bKbad${branches};rport`,
    'Max-Forwards': '70',
    From: '<sip:stranger@example.org>;tag=1',
    To: '<sip:anna@parley.test>',
    'Call-ID': `bad-${branches}`,
    CSeq: `1 ${method}`,
    Contact: '<sip:stranger@@>',
    'Content-Length': '0',
    ...changes,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return [`${method} ${uri} SIP/2.0`, ...lines, '', ''].join('\r\n');
}

describe('bad input to the whole switch', function () {
  this.timeout(60_000);
  const parley = new LiveSwitch();
  const people: SipPeer[] = [];
  const sounds: RtpPeer[] = [];

  const sound = async (address?: string): Promise<RtpPeer> => {
    const peer = await RtpPeer.open(address === undefined ? {} : { address });
    sounds.push(peer);
    return peer;
  };

  const person = async (user: string, options: Partial<PeerOptions> = {}): Promise<SipPeer> => {
    const peer = await SipPeer.open({
      server: parley.server,
      user,
      domain: parley.domain,
      password: `${user}-secret`,
      ...options,
    });
    people.push(peer);
    return peer;
  };

  /** A stranger's OPTIONS, by both transports, is answered at once. */
  const isServing = async (): Promise<void> => {
    for (const transport of ['udp', 'tcp'] as const) {
      const peer = await SipPeer.open({ server: parley.server, transport, domain: parley.domain });
      const options = await peer.request('OPTIONS', `sip:${parley.domain}`);
      await options.final(200);
      await peer.close();
    }
  };

  before(async () => {
    await parley.start();
    await parley.addAccounts(
      ['anna', 'bruno'].map((user) => ({ user, password: `${user}-secret` })),
    );
  });

  afterEach(async () => {
    await isServing();
    for (const peer of people.splice(0)) await peer.close();
    for (const peer of sounds.splice(0)) peer.close();
    for (const user of ['anna', 'bruno']) parley.forgetBindings(user);
    await parley.nothingLeft();
  });

  after(async () => {
    await parley.stop();
  });

  for (const transport of ['udp', 'tcp'] as const) {
    describe(`malformed SIP over ${transport.toUpperCase()}`, () => {
      const send = async (text: string, transportName: Transport): Promise<SipPeer> => {
        const peer = await SipPeer.open({
          server: parley.server,
          transport: transportName,
          retransmits: false,
        });
        const filled = text
          .replaceAll(
            'SIP/2.0/TRANSPORT @',
            `SIP/2.0/${transportName.toUpperCase()} ${peer.hostPort}`,
          )
          .replaceAll('@@', `@${peer.hostPort}`);
        await peer.sendBytes(Buffer.from(filled, 'latin1'));
        return peer;
      };

      for (const [what, text] of Object.entries(MALFORMED)) {
        it(`${what}: an error or silence`, async () => {
          const peer = await send(text, transport);
          await isServing();
          const answers = peer.seen.filter(({ direction }) => direction === 'in');
          for (const { message: answer } of answers) {
            assert.ok(!answer.isRequest, peer.transcript());
            // A 100 says only that the request was read; what follows must be an error.
            assert.ok(answer.statusCode === 100 || answer.statusCode >= 400, peer.transcript());
          }
          await peer.close();
        });
      }

      it('a thousand messages with one byte changed, cut off or added', async () => {
        const random = seededRandom(transport === 'udp' ? 1 : 2);
        const good = Object.values(MALFORMED);
        const peer = await SipPeer.open({ server: parley.server, transport });
        for (let round = 0; round < 1000; round++) {
          const text = good[Math.floor(random() * good.length)] ?? '';
          const bytes = Buffer.from(text.slice(0, 4000), 'latin1');
          const at = Math.floor(random() * bytes.length);
          const kind = random();
          const spoilt =
            kind < 0.3
              ? bytes.subarray(0, at)
              : kind < 0.6
                ? Buffer.concat([
                    bytes.subarray(0, at),
                    Buffer.from([random() * 256]),
                    bytes.subarray(at),
                  ])
                : bytes.fill(Math.floor(random() * 256), at, at + 1);
          await peer.sendBytes(spoilt).catch(() => undefined);
        }
        await isServing();
        await peer.close();
      });

      it('ten thousand random bytes at a time', async () => {
        const peer = await SipPeer.open({ server: parley.server, transport });
        for (let round = 0; round < 50; round++) {
          await peer.sendBytes(randomBytes(10_000)).catch(() => undefined);
        }
        await isServing();
        await peer.close();
      });
    });
  }

  describe('what a caller may get wrong', () => {
    it('a Contact of nonsense does not register and does not harm the next REGISTER', async () => {
      const anna = await person('anna');
      for (const contact of ['<<<:::>>>', 'sip:', '<sip:anna@>', '"anna', '<tel:+4930>;q=9', '*']) {
        const refused = await anna.request('REGISTER', `sip:${parley.domain}`, {
          to: `<${anna.aor}>`,
          contact,
          headers: { Expires: '300' },
        });
        const response = await refused.final();
        assert.ok(response.statusCode >= 400 && response.statusCode < 500, anna.transcript());
      }
      parley.isUnreachable('anna');
      await anna.register();
      parley.isReachable('anna');
    });

    it('a Contact that leads nowhere in a call: the call ends, nothing stays', async () => {
      const anna = await person('anna');
      const bruno = await person('bruno');
      await bruno.register();
      const audio = await sound();
      const call = await anna.invite(bruno.aor, {
        sdp: audio.sdp(),
        contact: '<sip:nobody@192.0.2.1:9>',
      });
      const called = await bruno.expectCall();
      await called.reject(486);
      await call.rejected(486);
      const spoilt = await anna.invite(bruno.aor, { sdp: audio.sdp(), contact: '<<<:::>>>' });
      const response = await spoilt.outgoing?.final();
      assert.ok(response && response.statusCode >= 400, anna.transcript());
    });

    const withoutAudio = [
      'v=0',
      'o=- 1 1 IN IP4 127.0.0.1',
      's=-',
      'c=IN IP4 127.0.0.1',
      't=0 0',
      'm=video 40000 RTP/AVP 96',
      'a=rtpmap:96 VP8/90000',
      '',
    ].join('\r\n');
    const unknownCodec = withoutAudio
      .replace('m=video 40000 RTP/AVP 96', 'm=audio 40000 RTP/AVP 97')
      .replace('a=rtpmap:96 VP8/90000', 'a=rtpmap:97 WARBLE/11025');
    const OFFERS: Readonly<Record<string, string>> = {
      'SDP without audio': withoutAudio,
      'SDP with a codec that nobody knows': unknownCodec,
      'SDP that is none': 'Dear switch, please call me back.',
      'SDP with a port out of range': unknownCodec.replace('40000', '400000'),
      'SDP with ten thousand formats': unknownCodec.replace(
        '97',
        Array.from({ length: 10_000 }, (_, index) => index % 128).join(' '),
      ),
    };

    for (const [what, sdp] of Object.entries(OFFERS)) {
      it(`${what} to a room is refused with 4xx`, async () => {
        const anna = await person('anna', { transport: 'tcp' });
        const call = await anna.invite(`sip:lobby@${parley.domain}`, { sdp });
        const response = await call.outgoing?.final();
        assert.ok(response, 'no answer');
        assert.ok(response.statusCode >= 400 && response.statusCode < 500, anna.transcript());
      });

      it(`${what} to a person who refuses it: nothing stays`, async () => {
        const anna = await person('anna', { transport: 'tcp' });
        const bruno = await person('bruno', { transport: 'tcp' });
        await bruno.register();
        const call = await anna.invite(bruno.aor, { sdp });
        const refusal = call.outgoing?.final();
        const called = await bruno.expectCall(1000).catch(() => undefined);
        await called?.reject(488);
        const response = await refusal;
        assert.ok(response && response.statusCode >= 400, anna.transcript());
      });
    }

    it('a body of 60 kB over TCP arrives whole or is refused with 413', async () => {
      const anna = await person('anna', { transport: 'tcp' });
      const bruno = await person('bruno', { transport: 'tcp' });
      await bruno.register();
      const body = Buffer.alloc(60_000, 'Parley. ');
      const sent = await anna.request('MESSAGE', bruno.aor, { body, contentType: 'text/plain' });
      const arrived = bruno.expectRequest('MESSAGE', 5000).then((request) => {
        assert.deepEqual(request.message.body, body);
        request.reply(200);
        return true;
      });
      const wasDelivered = arrived.catch(() => false);
      const response = await sent.final();
      if (response.statusCode === 413) return;
      assert.equal(response.statusCode, 200, anna.transcript());
      assert.equal(await wasDelivered, true);
    });

    it('a body of 60 kB in one datagram, and one that claims more than it has', async () => {
      const anna = await person('anna', { retransmits: false });
      const big = anna.buildRequest('MESSAGE', `sip:bruno@${parley.domain}`, {
        body: Buffer.alloc(60_000, 'x'),
        contentType: 'text/plain',
      });
      const response = await (await anna.sendRequest(big)).final();
      assert.ok(response.statusCode >= 400, anna.transcript());
      await anna.sendBytes(Buffer.concat([big.serialise().subarray(0, 30_000)]));
    });

    it('an INVITE with a body of 60 kB of anything', async () => {
      const anna = await person('anna', { transport: 'tcp' });
      const invite = await anna.request('INVITE', `sip:lobby@${parley.domain}`, {
        body: randomBytes(60_000),
        contentType: 'application/octet-stream',
      });
      const response = await invite.final();
      assert.ok(response.statusCode >= 400, anna.transcript());
    });
  });

  it('RTP from a stranger is dropped and counted, and the call goes on', async () => {
    const anna = await person('anna');
    const bruno = await person('bruno');
    await bruno.register();
    const [annaAudio, brunoAudio, stranger] = [
      await sound(),
      await sound(),
      await sound('127.0.0.2'),
    ];
    const call = await anna.invite(bruno.aor, { sdp: annaAudio.sdp() });
    const called = await bruno.expectCall();
    brunoAudio.setRemote(called.remoteSdp);
    const answered = call.answered();
    await called.answer(brunoAudio.sdp());
    await answered;
    annaAudio.setRemote(call.remoteSdp);
    const payload = Buffer.alloc(160, 0x55);
    const talk = async (): Promise<void> => {
      for (let packet = 0; packet < 50; packet++) {
        annaAudio.send(payload);
        brunoAudio.send(payload);
        await sleep(5);
      }
    };
    await talk();
    stranger.remote = annaAudio.remote;
    const foreign = Buffer.alloc(160, 0x2a);
    for (let packet = 0; packet < 200; packet++) {
      stranger.send(foreign);
      stranger.sendRaw(randomBytes(packet * 7));
      stranger.sendRaw(Buffer.alloc(0));
      // What no socket has room for would be lost in the kernel, where nobody counts it.
      if (packet % 10 === 9) await sleep(5);
    }
    await talk();
    const isForeign = ({ payload: heard }: { payload: Uint8Array }): boolean =>
      Buffer.from(heard).equals(foreign);
    assert.ok(brunoAudio.received.length >= 90, `${brunoAudio.received.length} packets`);
    assert.deepEqual(brunoAudio.received.filter(isForeign), []);
    assert.equal(stranger.received.length, 0);
    const { relay } = parley.running.context;
    const [callId = ''] = await relay.list();
    const legs = (await relay.query(callId))?.legs ?? [];
    const dropped = legs.reduce((sum, leg) => sum + leg.droppedStranger, 0);
    assert.ok(dropped >= 200, `${dropped} dropped`);
    const ended = called.expectBye();
    await call.bye();
    await ended;
  });

  it('a thousand half-open TCP connections: others are served, and all are given up', async () => {
    const { address, port } = parley.server;
    const isOpen = new Set<net.Socket>();
    const sockets = Array.from({ length: 1000 }, () => {
      // From another address than the one that is to be served.
      const socket = net.connect({ host: address, port, localAddress: '127.0.0.3' });
      socket.on('connect', () => isOpen.add(socket));
      socket.on('close', () => isOpen.delete(socket));
      socket.on('error', () => undefined);
      socket.write('REGISTER sip:parley.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.3');
      return socket;
    });
    await Promise.race([
      Promise.all(sockets.map((socket) => once(socket, 'connect'))),
      sleep(10_000),
    ]);
    assert.ok(isOpen.size > 0);
    await isServing();
    const anna = await person('anna', { transport: 'tcp' });
    await anna.register();
    for (const socket of sockets) socket.destroy();
    const end = Date.now() + 10_000;
    const connections = async (): Promise<number> =>
      (await parley.running.holdings()).engine['connections'] ?? 0;
    while ((await connections()) > 1 && Date.now() < end) await sleep(50);
    assert.equal(await connections(), 1, 'only who registered is still connected');
  });
});

describe('bad input to the control connection of an engine in use', function () {
  this.timeout(60_000);
  const secret = randomBytes(12).toString('hex');
  const parley = new LiveSwitch();
  let engine: Awaited<ReturnType<typeof startEngine>>;

  before(async () => {
    engine = await startEngine({
      listen: (['udp', 'tcp'] as const).map((transport) => ({
        transport,
        address: '127.0.0.1',
        port: 0,
      })),
      control: { address: '127.0.0.1', port: 0 },
      secret,
    });
    await parley.start({
      'engine.mode': 'drachtio',
      'engine.host': '127.0.0.1',
      'engine.port': String(engine.controlPort),
      'engine.secret': secret,
    });
    await parley.addAccounts([{ user: 'anna', password: 'anna-secret' }]);
  });

  after(async () => {
    await parley.stop();
    await engine.stop();
  });

  const CONTROL: Readonly<Record<string, string>> = {
    'no length': 'authenticate|now\r\n',
    'a length that is no number': 'many#abc|authenticate|x',
    'a negative length': '-7#abc',
    'a length beyond all memory': '99999999999999#abc|authenticate|x',
    'an empty message': '0#',
    'a message without a command': '5#abcd|',
    'a wrong secret': '43#8f6a0b2c-0000-0000-0000-00000000000a|authe|x',
    'a command before the secret': '48#8f6a0b2c-0000-0000-0000-00000000000a|route|INVITE',
    HTTP: 'GET / HTTP/1.1\r\n\r\n',
    'bytes that are no text': '\u00ff\u00fe\u0000\u0080'.repeat(500),
  };

  for (const [what, text] of Object.entries(CONTROL)) {
    it(`${what}: that connection alone suffers`, async () => {
      const socket = net.connect(engine.controlPort, '127.0.0.1');
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      socket.write(Buffer.from(text, 'latin1'));
      const anna = await SipPeer.open({
        server: { address: '127.0.0.1', port: engine.listeners[0]?.local.port ?? 0 },
        user: 'anna',
        domain: parley.domain,
        password: 'anna-secret',
      });
      await anna.register();
      await anna.register({ expires: 0 });
      await anna.close();
      socket.destroy();
      await parley.nothingLeft();
      const end = Date.now() + 5000;
      while ((await engine.stats()).applications > 1 && Date.now() < end) await sleep(20);
      const { applications, dialogs, pendingRequests, sentRequests } = await engine.stats();
      assert.deepEqual([applications, dialogs, pendingRequests, sentRequests], [1, 0, 0, 0]);
    });
  }
});
