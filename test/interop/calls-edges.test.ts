import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { nullLog } from '../../core/log.ts';
import { Phone } from '../../softphone/phone.ts';
import { CallSwitch } from '../support/call-switch.ts';
import { EdgeProxy } from '../support/edge-proxy.ts';
import { freePorts } from '../support/free-ports.ts';
import { sdp } from '../support/sdp.ts';
import type { SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';

for (const transport of ['udp', 'tcp'] as const) {
  describe(`a phone behind two proxies, which reach the switch by ${transport} (RFC 3327)`, function () {
    this.timeout(60_000);
    let dataFolder: string;
    let running: CallSwitch;
    /** The proxy that the phone speaks to, and the one that the switch speaks to. */
    let outer: EdgeProxy;
    let inner: EdgeProxy;
    let alice: SipPeer;
    let bob: SipPeer;
    let way: readonly string[];

    const start = (): Promise<CallSwitch> => CallSwitch.start({ dataFolder });

    before(function () {
      // That server drops every Route of an application: docs/drachtio.md.
      if (process.env['PARLEY_TEST_SWITCH'] === 'drachtio-server') this.skip();
    });
    beforeEach(async () => {
      dataFolder = await mkdtemp(path.join(tmpdir(), 'parley-edges-'));
      running = await start();
      const { address, port } = transport === 'udp' ? running.endpoint : running.streamEndpoint;
      inner = await EdgeProxy.start(`sip:${address}:${port};transport=${transport}`);
      outer = await EdgeProxy.start(inner.uriFor(transport));
      alice = await running.person('alice');
      const password = await running.account('bob');
      bob = await running.stranger('bob', { password, server: outer.endpoint });
      const ok = await bob.register({ headers: { Supported: 'path' } });
      way = ok.headerValues('Path');
      inner.seen.length = 0;
      outer.seen.length = 0;
    });
    afterEach(async () => {
      await running.clear();
      // After a restart he belongs to the switch before.
      await bob.close();
      await Promise.all([running.stop(), inner.stop(), outer.stop()]);
      await rm(dataFolder, { recursive: true, force: true });
    });

    const talk = async (): Promise<void> => {
      const call = await alice.invite(BOB, { sdp: sdp() });
      const taken = await bob.expectCall();
      taken.ring();
      await call.ringing();
      await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
      await Promise.all([call.bye(), taken.expectBye()]);
    };

    it('is called through both, which take themselves off the way', async () => {
      // Each proxy is there once for each socket that the request has passed.
      const ports = new Set(way.map((entry) => /:(\d+)[;>]/.exec(entry)?.[1]));
      assert.ok(ports.size >= 2 && way.every((entry) => entry.includes(';lr')), way.join(', '));
      await talk();
      const invite = bob.seen.find(
        ({ message }) => message.isRequest && message.method === 'INVITE',
      );
      assert.equal(invite?.message.requestUri, bob.contactUri);
      assert.deepEqual(invite.message.headerValues('Route'), []);
      assert.equal(invite.message.headerFields('Via').length, 3);
      assert.deepEqual(inner.seen, [`INVITE ${way.length}`]);
      assert.deepEqual(outer.seen.length, 1);
    });

    it('hears through both that the caller has given up, and can refuse', async () => {
      const call = await alice.invite(BOB, { sdp: sdp() });
      const taken = await bob.expectCall();
      taken.ring();
      await call.ringing();
      await Promise.all([call.cancel(), taken.expectCancel()]);
      const again = await alice.invite(BOB, { sdp: sdp() });
      await Promise.all([(await bob.expectCall()).reject(486), again.rejected(486)]);
    });

    it('is reached the same way after the switch was started again, for calls and texts', async () => {
      await alice.close();
      await running.shutDown();
      running = await start();
      alice = await running.person('alice');
      await talk();
      const content = { body: 'hello', contentType: 'text/plain' };
      const [sent] = await Promise.all([
        alice.request('MESSAGE', BOB, content),
        bob.expectRequest('MESSAGE').then((got) => got.reply(200)),
      ]);
      await sent.final(200);
      assert.deepEqual(inner.seen, [`INVITE ${way.length}`, `MESSAGE ${way.length}`]);
    });

    it('is forgotten when its proxy has lost it (430), until it registers again', async () => {
      outer.hasLostPhones = true;
      const call = await alice.invite(BOB, { sdp: sdp() });
      await call.rejected(480);
      assert.equal(running.bindingCount('bob'), 0);
      assert.equal(outer.seen.length, 1);
      outer.hasLostPhones = false;
      await bob.register({ headers: { Supported: 'path' } });
      await talk();
    });
  });
}

describe('a softphone that is told to send by a proxy and the switch (RFC 3608)', function () {
  this.timeout(60_000);
  let running: CallSwitch;
  let edge: EdgeProxy;
  let phone: Phone;

  before(function () {
    // The ports of that server are not ours to choose.
    if (process.env['PARLEY_TEST_SWITCH'] === 'drachtio-server') this.skip();
  });
  beforeEach(async () => {
    const port = await freePorts(1);
    const registrar = `sip:127.0.0.1:${port};transport=tcp`;
    edge = await EdgeProxy.start(registrar);
    running = await CallSwitch.start({
      'sip.port': String(port),
      'tls.enabled': 'false',
      'registration.serviceRoutes': `${edge.uriFor('tcp')};lr,${registrar};lr`,
    });
    const password = await running.account('bob');
    phone = await Phone.open({
      nickname: 'bob',
      password,
      displayName: 'Bob',
      domain: 'parley.test',
      server: { host: '127.0.0.1', port: Number(/:(\d+);/.exec(edge.uriFor('tcp'))?.[1]) },
      product: 'Parley/test',
      codecs: ['PCMU'],
      rtpPorts: { lowest: 16_384, highest: 32_767 },
      sound: 'none',
      log: nullLog,
    });
  });
  afterEach(async () => {
    await phone.stop();
    await running.clear();
    await Promise.all([running.stop(), edge.stop()]);
  });

  it('registers through the proxy, which keeps no flows, and is heard by both ways', async () => {
    const registered = new Promise<void>((resolve) => {
      phone.on('registration', ({ kind }) => {
        if (kind === 'registered') resolve();
      });
    });
    phone.start();
    await registered;
    assert.equal(running.bindingCount('bob'), 1);
    assert.ok(
      edge.seen.every((line) => line === 'REGISTER 0'),
      edge.seen.join(', '),
    );
    edge.seen.length = 0;

    const alice = await running.person('alice');
    const [, text] = await Promise.all([
      phone.sendMessage('alice', 'Hello'),
      alice.expectRequest('MESSAGE').then((got) => {
        got.reply(200);
        return got.message.body.toString();
      }),
    ]);
    assert.equal(text, 'Hello');

    const { id } = phone.call('alice');
    const taken = await alice.expectCall();
    await taken.answer(sdp({ port: 41_000 }));
    phone.hangUp(id);
    await taken.expectBye();
    assert.deepEqual([...new Set(edge.seen)], ['MESSAGE 2', 'INVITE 2']);
    await phone.stop();
    assert.equal(running.bindingCount('bob'), 0);
  });
});
