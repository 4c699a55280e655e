import assert from 'node:assert/strict';
import type { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { SipPeer, type PeerOptions } from '../support/sip-peer.ts';

describe('registration with a whole switch', function () {
  this.timeout(60_000);
  const live = new LiveSwitch();
  const peers: SipPeer[] = [];

  before(async () => {
    await live.start();
    await live.addAccounts([
      { user: 'alice', password: 'secret' },
      { user: 'Zoë', password: 'pässword' },
    ]);
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) await peer.close();
    for (const user of ['alice', 'zoë']) live.forgetBindings(user);
    await live.nothingLeft();
  });
  after(() => live.stop());

  const peer = async (options: PeerOptions = {}): Promise<SipPeer> => {
    const defaults = {
      server: live.server,
      user: 'alice',
      password: 'secret',
      domain: live.domain,
    };
    const opened = await SipPeer.open({ ...defaults, ...options });
    peers.push(opened);
    return opened;
  };

  for (const transport of ['udp', 'tcp'] as const) {
    for (const algorithm of ['SHA-256', 'MD5'] as const) {
      it(`works over ${transport.toUpperCase()} with ${algorithm}`, async () => {
        const alice = await peer({ transport, algorithm });
        const answer = await alice.register({ expires: 120 });
        assert.equal(answer.contacts[0]?.uriText, alice.contactUri);
        assert.equal(answer.contacts[0].params.get('expires'), '120');
        assert.ok(answer.has('Date'));
        live.isReachable('alice', transport);
        await alice.register({ expires: 0 });
        live.isUnreachable('alice');
      });
    }
  }

  it('sends both challenges, SHA-256 first, each in a header line of its own', async () => {
    const alice = await SipPeer.open({ server: live.server, user: 'alice', domain: live.domain });
    peers.push(alice);
    const answer = await alice.register({ expect: 401 });
    const challenges = answer.headerFields('WWW-Authenticate');
    assert.equal(challenges.length, 2);
    assert.match(challenges[0] ?? '', /^Digest realm="parley\.test", .*algorithm=SHA-256/);
    assert.match(challenges[1] ?? '', /^Digest realm="parley\.test", .*algorithm=MD5/);
  });

  it('takes any name or address of the switch for its domain', async () => {
    for (const domain of [live.domain, '127.0.0.1', 'localhost', `127.0.0.1:${live.server.port}`]) {
      const alice = await peer({ domain });
      await alice.register();
    }
    assert.equal(live.running.context.location.bindingsOf('alice').length, 4);
    const stranger = await peer({ domain: 'elsewhere.example' });
    await stranger.register({ expect: 403 });
  });

  it('takes names and passwords that are not ASCII', async () => {
    const zoe = await peer({ user: 'zo%C3%AB', password: 'pässword' });
    await zoe.register();
    live.isReachable('zoë');
  });

  it('refuses wrong passwords and other people', async () => {
    const wrong = await peer({ password: 'guess' });
    await wrong.register({ expect: 401 });
    const alice = await peer();
    await alice.register({ to: `<sip:zo%C3%AB@${live.domain}>`, expect: 403 });
    await alice.register({ from: `<sip:bob@${live.domain}>;tag=1`, expect: 403 });
    live.isUnreachable('alice');
  });

  it('shows all devices to each, and removes them one by one or together', async () => {
    const [desk, mobile] = [await peer(), await peer({ transport: 'tcp' })];
    await desk.register();
    const both = await mobile.register();
    assert.equal(both.contacts.length, 2);
    const removed = await desk.register({ contact: '*', expires: 0 });
    assert.equal(removed.contacts.length, 0);
  });

  it('tells what is wrong with a Contact', async () => {
    const alice = await peer();
    const bad = await alice.register({ contact: '<sip:a@h>;q=9', expect: 400 });
    assert.match(bad.reasonPhrase, /Bad Contact/);
    const brief = await alice.register({ expires: 5, expect: 423 });
    assert.equal(brief.header('Min-Expires'), '60');
  });

  it('answers 439 to a device that asks for flows through a proxy that keeps none (RFC 5626)', async () => {
    const alice = await peer({ transport: 'tcp' });
    const contact = `<${alice.contactUri}>;+sip.instance="<urn:uuid:1>";reg-id=1`;
    const Via = 'SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKdevice';
    const Supported = 'outbound';
    await alice.register({ contact, headers: { Supported, Via }, expect: 439 });
    live.isUnreachable('alice');
    const Path = '<sip:192.0.2.9;lr;ob>';
    const kept = await alice.register({ contact, headers: { Supported, Via, Path } });
    assert.equal(kept.header('Require'), 'outbound');
    const direct = await alice.register({ contact, headers: { Supported } });
    assert.equal(direct.header('Flow-Timer'), '120');
  });

  it('answers OPTIONS to everybody, and 405 or 489 to what it does not do', async () => {
    const stranger = await peer({ user: 'nobody' });
    const options = await (await stranger.request('OPTIONS', `sip:${live.domain}`)).final(200);
    assert.match(options.header('Allow') ?? '', /INVITE/);
    const publish = await (
      await stranger.request('PUBLISH', `sip:alice@${live.domain}`)
    ).final(489);
    assert.equal(publish.header('Allow-Events'), 'conference');
    const info = await (await stranger.request('INFO', `sip:alice@${live.domain}`)).final(405);
    assert.match(info.header('Allow') ?? '', /INVITE/);
  });

  it('says to a user who asks whether another can be reached', async () => {
    const [alice, other] = [await peer(), await peer({ transport: 'tcp' })];
    const ask = async (user: string): Promise<number> =>
      (await (await alice.request('OPTIONS', `sip:${user}@${live.domain}`)).final()).statusCode;
    assert.equal(await ask('zo%C3%AB'), 480);
    assert.equal(await ask('nobody'), 404);
    assert.equal(await ask('lobby'), 200);
    await other.register();
    assert.equal(await ask('alice'), 200);
  });

  it('serves a hundred devices that register at once', async () => {
    const everybody = await Promise.all(Array.from({ length: 50 }, () => peer()));
    await Promise.all(everybody.map((one) => one.register()));
    assert.equal(live.running.context.location.bindingsOf('alice').length, 50);
  });

  it('stays unmoved by REGISTERs that make no sense', async () => {
    const vandal = await peer();
    const spoil: readonly ((request: OutgoingMessage) => OutgoingMessage)[] = [
      (request) => request.set('Contact', '<<<<'),
      (request) => request.set('Expires', '-1'),
      (request) => request.set('Authorization', 'Digest ====,,,"'),
      (request) => request.set('To', '<sip:alice@'),
      (request) => request.set('Contact', Array(200).fill('<sip:a@h>').join(', ')),
    ];
    for (const change of spoil) {
      const request = vandal.buildRequest('REGISTER', `sip:${live.domain}`, {
        to: `<${vandal.aor}>`,
      });
      const { statusCode } = await (await vandal.sendRequest(change(request))).final();
      assert.ok(statusCode >= 400 && statusCode < 500, `${statusCode}`);
    }
    live.isUnreachable('alice');
    await vandal.register();
  });
});

describe('a switch that asks its devices whether they are there', function () {
  this.timeout(60_000);

  it('forgets the one whose connection is gone, and keeps the other', async () => {
    const live = new LiveSwitch();
    await live.start({ 'registration.probeSeconds': '1' });
    const people = ['alice', 'bob'].map((user) => ({ user, password: 'secret' }));
    await live.addAccounts(people);
    const { server, domain } = live;
    const [alice, bob] = await Promise.all(
      people.map((person) => SipPeer.open({ server, domain, transport: 'tcp', ...person })),
    );
    assert.ok(alice && bob);
    try {
      await alice.register();
      await bob.register();
      const answering = (async () => {
        for (let i = 0; i < 3; i++) (await alice.expectRequest('OPTIONS')).reply(200);
      })();
      const gone = new Promise((resolve) =>
        live.running.context.location.on('bindingRemoved', resolve),
      );
      await bob.close();
      await Promise.all([answering, gone]);
      live.isUnreachable('bob');
      live.isReachable('alice', 'tcp');
    } finally {
      await Promise.all([alice.close(), bob.close()]);
      await live.discard();
    }
  });
});
