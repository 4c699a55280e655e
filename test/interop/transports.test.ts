import assert from 'node:assert/strict';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { SipMessage } from '../../core/sip/message.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { sdp } from '../support/sdp.ts';
import { SipPeer, type PeerOptions, type PeerTransport } from '../support/sip-peer.ts';

const IPV4 = '127.0.0.1';
const IPV6 = '::1';
type Address = typeof IPV4 | typeof IPV6;

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((entry) => entry?.address === IPV6);
const ADDRESSES = hasIpv6 ? `${IPV4},${IPV6}` : IPV4;

/** Each with another one at the other end. */
const PAIRS: readonly (readonly [PeerTransport, Address, PeerTransport, Address])[] = [
  ['udp', IPV4, 'tcp', IPV4],
  ['tcp', IPV4, 'tls', IPV4],
  ['tls', IPV4, 'ws', IPV4],
  ['ws', IPV4, 'wss', IPV4],
  ['wss', IPV4, 'udp', IPV4],
  ['udp', IPV6, 'udp', IPV4],
  ['tcp', IPV6, 'tls', IPV6],
  ['tls', IPV6, 'wss', IPV6],
];
const STREAMS = ['tcp', 'tls', 'ws', 'wss'] as const;
const PATIENCE_MS = 10_000;
const AT_ONCE_MS = 2000;

/** The control protocol, and so the registrar, names a WebSocket by what carries it. */
const carrierOf = (transport: PeerTransport): PeerTransport =>
  transport === 'ws' ? 'tcp' : transport === 'wss' ? 'tls' : transport;

/** What URIs call it (RFC 7118 §5.2.2); UDP is what they mean when they say nothing. */
const uriTransport = ({ transport }: SipPeer): string | undefined =>
  transport === 'udp' ? undefined : transport === 'wss' ? 'ws' : transport;

const contactTransport = (message: SipMessage | undefined): string | undefined => {
  const [contact] = message?.contacts ?? [];
  return contact?.uri.kind === 'sip' ? contact.uri.params.get('transport') : undefined;
};

const nameOf = (transport: PeerTransport, address: Address): string =>
  `${transport.toUpperCase()} on ${address}`;

describe('transports', function () {
  this.timeout(60_000);
  const parley = new LiveSwitch();
  const peers: SipPeer[] = [];

  before(async () => {
    await parley.start({
      'sip.listenAddresses': ADDRESSES,
      'rtp.listenAddresses': ADDRESSES,
      'tls.webSocketPort': '0',
      'tls.secureWebSocketPort': '0',
    });
    await parley.addAccounts(['anna', 'bruno'].map((user) => ({ user, password: user })));
  });
  afterEach(async () => {
    await Promise.all(peers.splice(0).map((peer) => peer.close()));
    parley.forgetBindings('anna');
    parley.forgetBindings('bruno');
    await parley.nothingLeft();
  });
  after(async () => {
    await parley.stop();
  });

  const open = async (
    user: string,
    transport: PeerTransport,
    { address = IPV4, ...more }: PeerOptions = {},
  ): Promise<SipPeer> => {
    const peer = await SipPeer.open({
      server: parley.place(transport, address),
      transport,
      address,
      user,
      password: user,
      domain: parley.domain,
      ...more,
    });
    peers.push(peer);
    return peer;
  };
  const registered = async (...args: Parameters<typeof open>): Promise<SipPeer> => {
    const peer = await open(...args);
    await peer.register();
    return peer;
  };

  const call = async (
    caller: SipPeer,
    callee: SipPeer,
    hangsUp: 'caller' | 'callee',
  ): Promise<void> => {
    const outgoing = await caller.invite(`sip:${callee.user}@${parley.domain}`, { sdp: sdp() });
    const incoming = await callee.expectCall();
    assert.equal(contactTransport(incoming.incoming?.message), uriTransport(callee));
    incoming.ring();
    await outgoing.ringing();
    const acknowledged = incoming.answer(sdp());
    assert.equal(contactTransport(await outgoing.answered()), uriTransport(caller));
    await acknowledged;
    if (hangsUp === 'caller') await Promise.all([outgoing.bye(), incoming.expectBye()]);
    else await Promise.all([incoming.bye(), outgoing.expectBye()]);
  };

  const write = async (sender: SipPeer, recipient: SipPeer, text: string): Promise<void> => {
    const sent = await sender.request('MESSAGE', `sip:${recipient.user}@${parley.domain}`, {
      body: text,
      contentType: 'text/plain;charset=utf-8',
    });
    const got = await recipient.expectRequest('MESSAGE');
    got.reply(200);
    assert.equal(got.message.body.toString(), text);
    await sent.final(200);
  };

  /** For what shows neither in a message nor in an answer. */
  const until = async (isTrue: () => boolean, what: string): Promise<void> => {
    const end = Date.now() + PATIENCE_MS;
    while (!isTrue()) {
      assert.ok(Date.now() < end, `not within ${PATIENCE_MS} ms: ${what}`);
      await sleep(20);
    }
  };

  for (const [one, oneAddress, other, otherAddress] of PAIRS) {
    const title = `${nameOf(one, oneAddress)} and ${nameOf(other, otherAddress)}`;

    it(`${title}: register, call, hang up and write both ways`, async function () {
      if (!hasIpv6 && [oneAddress, otherAddress].includes(IPV6)) this.skip();
      const anna = await registered('anna', one, { address: oneAddress });
      const bruno = await registered('bruno', other, { address: otherAddress });
      parley.isReachable('anna', carrierOf(one));
      parley.isReachable('bruno', carrierOf(other));
      await call(anna, bruno, 'caller');
      await call(anna, bruno, 'callee');
      await call(bruno, anna, 'caller');
      await call(bruno, anna, 'callee');
      await write(anna, bruno, `Grüße über ${one} 😀`);
      await write(bruno, anna, `Grüße über ${other} 😀`);
      for (const peer of [anna, bruno]) {
        assert.deepEqual(peer.garbage, []);
        // What it got came by the connection that it had opened itself.
        assert.equal(peer.connectionCount, peer.transport === 'udp' ? 0 : 1);
      }
      await anna.register({ expires: 0 });
      parley.isUnreachable('anna');
    });
  }

  for (const transport of STREAMS) {
    describe(`a device on ${transport.toUpperCase()}`, () => {
      it('that has lost its connection is known to be gone at once, and is forgotten', async () => {
        const anna = await registered('anna', 'udp');
        for (const method of ['INVITE', 'MESSAGE']) {
          const bruno = await registered('bruno', transport);
          bruno.loseConnections();
          // A datagram of ours must not overtake the end of the connection.
          await until(() => bruno.connectionCount === 0, 'the end of the connection');
          await sleep(100);
          const since = Date.now();
          const body =
            method === 'INVITE'
              ? { body: sdp(), contentType: 'application/sdp' }
              : { body: 'there?', contentType: 'text/plain' };
          const sent = await anna.request(method, `sip:bruno@${parley.domain}`, body);
          await sent.final(480);
          assert.ok(Date.now() - since < AT_ONCE_MS);
          await until(() => parley.bindingsOf('bruno').length === 0, 'the end of the registration');
        }
      });

      it('that loses its connection while it rings ends the call at once', async () => {
        const anna = await registered('anna', 'udp');
        const bruno = await registered('bruno', transport);
        const outgoing = await anna.invite(`sip:bruno@${parley.domain}`, { sdp: sdp() });
        (await bruno.expectCall()).ring();
        await outgoing.ringing();
        bruno.loseConnections();
        await outgoing.rejected(480, AT_ONCE_MS);
      });

      it('that comes back by a new connection is reached by that one', async () => {
        const anna = await registered('anna', 'udp');
        const bruno = await registered('bruno', transport);
        bruno.loseConnections();
        await until(() => bruno.connectionCount === 0, 'the end of the connection');
        await bruno.register();
        assert.equal(bruno.connectionCount, 1);
        await call(anna, bruno, 'callee');
        await write(anna, bruno, 'welcome back');
        assert.equal(bruno.connectionCount, 1);
      });

      it('gets a CRLF for its double CRLF (RFC 5626 §3.5.1), and nothing for a single one', async () => {
        const anna = await registered('anna', transport);
        await anna.sendBytes('\r\n');
        await anna.sendBytes('\r\n\r\n');
        await until(() => anna.pongs > 0, 'the pong');
        await anna.register();
        assert.equal(anna.pongs, 1);
      });
    });
  }

  for (const transport of ['tcp', 'tls'] as const) {
    it(`takes messages that ${transport.toUpperCase()} cuts anywhere`, async () => {
      const anna = await registered('anna', transport);
      const bruno = await registered('bruno', 'udp');
      const request = anna
        .buildRequest('OPTIONS', `sip:${parley.domain}`, { body: 'ü😀', contentType: 'text/plain' })
        .add('Subject', 'folded\r\n over lines: Grüße');
      const bytes = request.serialise();
      const before = anna.seen.length;
      for (const byte of bytes) {
        await anna.sendBytes(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      const answers = (): readonly number[] =>
        anna.seen.slice(before).map(({ message }) => message.statusCode);
      await until(() => answers().length > 0, 'the answer');
      assert.deepEqual(answers(), [200]);
      await write(anna, bruno, 'and the next one is read as well');
    });
  }

  for (const transport of ['ws', 'wss'] as const) {
    it(`refuses ${transport.toUpperCase()} without the subprotocol sip with 400 (RFC 7118 §4)`, async () => {
      for (const offered of [[], ['chat'], ['sipx']]) {
        const { address, port } = parley.place(transport);
        const webSocket = new WebSocket(`${transport}://${address}:${port}`, offered, {
          rejectUnauthorized: false,
        });
        const [, response] = (await once(webSocket, 'unexpected-response')) as [
          unknown,
          { statusCode: number },
        ];
        assert.equal(response.statusCode, 400);
        webSocket.on('error', () => undefined);
        webSocket.terminate();
      }
    });

    it(`chooses sip among the subprotocols that ${transport.toUpperCase()} offers`, async () => {
      const { address, port } = parley.place(transport);
      const webSocket = new WebSocket(`${transport}://${address}:${port}`, ['chat', 'sip'], {
        rejectUnauthorized: false,
      });
      await once(webSocket, 'open');
      assert.equal(webSocket.protocol, 'sip');
      webSocket.close();
      await once(webSocket, 'close');
    });
  }

  it('sends a large message by TCP where the datagram would be over 1300 bytes and the device listens', async () => {
    // Its TCP port is the one of its UDP socket, as with real phones; `udp` is only what it registers by.
    const bruno = await registered('bruno', 'udp');
    const listening = await SipPeer.open({
      transport: 'tcp',
      user: 'bruno',
      port: bruno.port,
      timeoutMs: PATIENCE_MS,
    });
    peers.push(listening);
    const anna = await registered('anna', 'tcp');
    const text = 'x'.repeat(4000);
    const sent = await anna.request('MESSAGE', `sip:bruno@${parley.domain}`, {
      body: text,
      contentType: 'text/plain',
    });
    const got = await listening.expectRequest('MESSAGE');
    assert.equal(got.message.topVia().transport, 'TCP');
    assert.equal(got.message.body.toString(), text);
    got.reply(200);
    await sent.final(200);
    assert.deepEqual(bruno.unexpected, []);
    await write(anna, bruno, 'small ones go by UDP');
  });

  it('sends a large message by UDP to a device that has no TCP', async () => {
    const anna = await registered('anna', 'tcp');
    const bruno = await registered('bruno', 'udp');
    await write(anna, bruno, 'x'.repeat(4000));
  });
});
