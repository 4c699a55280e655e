import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseXml, type XmlElement } from '../../core/xml.ts';
import type { SipMessage } from '../../core/sip/message.ts';
import { CallSwitch } from '../support/call-switch.ts';
import { audioOf, sdp } from '../support/sdp.ts';
import type { Call, Exchange, IncomingRequest, SipPeer } from '../support/sip-peer.ts';

const LOBBY = 'sip:lobby@parley.test';
const TURBO = 'sip:%23Turbo@parley.test';

/** A subscription of a test: SUBSCRIBE and the NOTIFYs that follow, in one dialog. */
class Watch {
  readonly peer: SipPeer;
  readonly exchange: Exchange;
  readonly callId: string;
  #accepted: Promise<SipMessage> | undefined;

  constructor(peer: SipPeer, exchange: Exchange) {
    this.peer = peer;
    this.exchange = exchange;
    this.callId = exchange.request.header('Call-ID') ?? '';
  }

  static async on(
    peer: SipPeer,
    uri: string,
    headers: Record<string, string> = {},
  ): Promise<Watch> {
    const exchange = await peer.request('SUBSCRIBE', uri, {
      headers: { Event: 'conference', Expires: '600', ...headers },
    });
    return new Watch(peer, exchange);
  }

  /** The 200 to the first SUBSCRIBE. */
  accepted(): Promise<SipMessage> {
    this.#accepted ??= this.exchange.final(200);
    return this.#accepted;
  }

  /** The next NOTIFY, answered; its state and what it says. */
  async next(): Promise<{ request: IncomingRequest; state: string; root: XmlElement }> {
    const request = await this.peer.expectRequestThat(
      ({ method, callId }) => method === 'NOTIFY' && callId === this.callId,
      'NOTIFY of the roster',
    );
    request.reply(200);
    const state = request.message.header('Subscription-State') ?? '';
    const body = request.message.body.toString();
    return { request, state, root: body === '' ? EMPTY : parseXml(body) };
  }

  async refresh(expires: number): Promise<void> {
    const established = await this.accepted();
    const again = await this.peer.request('SUBSCRIBE', established.contacts[0]?.uriText ?? '', {
      from: this.exchange.request.header('From') ?? '',
      to: established.header('To') ?? '',
      callId: this.callId,
      cseq: established.cseq.sequence + 1,
      headers: { Event: 'conference', Expires: String(expires) },
    });
    await again.final(200);
  }
}

const EMPTY: XmlElement = { name: '', attributes: new Map(), children: [], text: '' };

/** `[nickname, state, display text]` of each user in a roster document. */
function usersOf(root: XmlElement): string[][] {
  const users = root.children.find(({ name }) => name === 'users')?.children ?? [];
  return users.map(({ attributes, children }) => [
    /^sip:([^@]*)@/.exec(attributes.get('entity') ?? '')?.[1] ?? '',
    attributes.get('state') ?? 'full',
    children.find(({ name }) => name === 'display-text')?.text ?? '',
  ]);
}

describe('rooms of the switch', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  let bob: SipPeer;

  before(async () => {
    running = await CallSwitch.start({
      'rooms.newRoomCapacity': '2',
    });
  });
  beforeEach(async () => {
    alice = await running.person('alice');
    bob = await running.person('bob');
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  const join = async (peer: SipPeer, room = LOBBY, offer = sdp()): Promise<Call> => {
    const call = await peer.invite(room, { sdp: offer });
    await call.answered();
    return call;
  };

  it('answers as a focus: isfocus, the room in the user part, sound both ways', async () => {
    const call = await alice.invite(LOBBY, { sdp: sdp() });
    const ok = await call.answered();
    assert.match(ok.header('Contact') ?? '', /^<sip:lobby@127\.0\.0\.1:\d+[^>]*>;isfocus$/);
    assert.match(ok.header('Allow-Events') ?? '', /conference/);
    const audio = audioOf(call.remoteSdp);
    assert.equal(audio.direction, 'sendrecv');
    assert.equal(audio.formats.split(' ')[0], '0');
    await call.bye();
  });

  for (const uri of [
    LOBBY,
    'sip:LOBBY@127.0.0.1',
    'sip:1000@parley.test',
    'sip:%23lobby@localhost',
  ]) {
    it(`is reached as ${uri}`, async () => {
      const watch = await Watch.on(bob, LOBBY);
      await watch.next();
      const call = await join(alice, uri);
      assert.deepEqual(usersOf((await watch.next()).root), [['alice', 'full', 'Alice Example']]);
      await call.bye();
      await watch.refresh(0);
      await watch.next();
    });
  }

  it('makes a room on the first call to %23name, and forgets it when the last has left', async () => {
    const first = await join(alice, TURBO);
    const second = await join(bob, 'sip:%23turbo@parley.test');
    await first.bye();
    await second.bye();
  });

  it('sends the whole roster first, then only who came, held and left; versions rise by one', async () => {
    const inRoom = await join(alice);
    const watch = await Watch.on(bob, 'sip:lobby@127.0.0.1');
    const accepted = await watch.accepted();
    assert.equal(accepted.header('Expires'), '600');
    const full = await watch.next();
    assert.match(full.state, /^active;expires=\d+$/);
    assert.equal(full.request.message.header('Event'), 'conference');
    assert.ok(full.request.message.header('Contact') !== undefined, 'Twinkle insists on Contact');
    assert.equal(full.root.attributes.get('entity'), 'sip:lobby@127.0.0.1');
    assert.equal(full.root.attributes.get('state'), 'full');
    assert.equal(full.root.attributes.get('version'), '1');
    assert.deepEqual(usersOf(full.root), [['alice', 'full', 'Alice Example']]);

    const second = await join(bob);
    const came = await watch.next();
    assert.equal(came.root.attributes.get('state'), 'partial');
    assert.equal(came.root.attributes.get('version'), '2');
    assert.deepEqual(usersOf(came.root), [['bob', 'full', 'Bob Example']]);

    await inRoom.reinvite(sdp({ attributes: ['sendonly'], version: 2 }));
    assert.equal(audioOf(inRoom.remoteSdp).direction, 'recvonly');
    assert.match(
      (await watch.next()).request.message.body.toString(),
      /<status>sendonly<\/status>/,
    );

    await inRoom.bye();
    assert.deepEqual(usersOf((await watch.next()).root), [['alice', 'deleted', '']]);

    await watch.refresh(600);
    const again = await watch.next();
    assert.equal(again.root.attributes.get('state'), 'full');
    assert.deepEqual(usersOf(again.root), [['bob', 'full', 'Bob Example']]);
    await second.bye();
    await watch.next();
    await watch.refresh(0);
    assert.match((await watch.next()).state, /^terminated;reason=timeout/);
  });

  it('a subscription with Expires 0 asks once', async () => {
    const watch = await Watch.on(bob, LOBBY, { Expires: '0' });
    const only = await watch.next();
    assert.match(only.state, /^terminated/);
    assert.equal(only.root.attributes.get('state'), 'full');
  });

  it('drops a subscriber that does not know its subscription any more', async () => {
    const watch = await Watch.on(bob, LOBBY);
    const first = await bob.expectRequest('NOTIFY');
    first.reply(481);
    await watch.accepted();
  });

  it('refuses other event packages with 489', async () => {
    const exchange = await bob.request('SUBSCRIBE', LOBBY, { headers: { Event: 'dialog' } });
    const refused = await exchange.final(489);
    assert.equal(refused.header('Allow-Events'), 'conference');
  });

  it('takes a text to everybody else under the name of its sender', async () => {
    const carol = await running.person('carol');
    const calls = [await join(alice), await join(bob), await join(carol)];
    const sent = await alice.request('MESSAGE', LOBBY, {
      body: 'grüße, 世界',
      contentType: 'text/plain;charset=utf-8',
    });
    await sent.final(200);
    for (const peer of [bob, carol]) {
      const got = await peer.expectRequest('MESSAGE');
      got.reply(200);
      assert.equal(got.message.body.toString(), 'Alice Example: grüße, 世界');
      assert.match(got.message.header('From') ?? '', /^"Alice Example" <sip:lobby@parley\.test>/);
      assert.match(got.message.header('Content-Type') ?? '', /^text\/plain; ?charset=utf-8$/);
    }
    await sleep(50);
    assert.deepEqual(alice.unexpected, []);
    for (const call of calls) await call.bye();
  });

  it('says so when nobody else is there to read a text; keeps receipts to itself', async () => {
    const call = await join(alice);
    const lonely = await alice.request('MESSAGE', LOBBY, {
      body: 'hello?',
      contentType: 'text/plain',
    });
    assert.match((await lonely.final(480)).header('Warning') ?? '', /Nobody else is in the room/);
    const other = await join(bob);
    const receipt = await alice.request('MESSAGE', LOBBY, {
      body: '<imdn/>',
      contentType: 'message/imdn+xml',
    });
    await receipt.final(200);
    await sleep(50);
    assert.deepEqual(bob.unexpected, []);
    await Promise.all([call.bye(), other.bye()]);
  });

  it('refuses a full room, an offer without audio, and a codec that it does not have', async () => {
    const carol = await running.person('carol');
    const inside = [await join(alice, TURBO), await join(carol, TURBO)];
    const late = await bob.invite(TURBO, { sdp: sdp() });
    assert.match((await late.rejected(486)).header('Warning') ?? '', /The room is full/);
    for (const call of inside) await call.bye();
    const mute = await bob.invite(LOBBY, { sdp: sdp().replace('m=audio', 'm=video') });
    await mute.rejected(488);
    const g729 = await bob.invite(LOBBY, { sdp: sdp({ formats: '18' }) });
    await g729.rejected(488);
    const broken = await bob.invite(LOBBY, { sdp: 'no description at all' });
    assert.ok([400, 488].includes((await broken.outgoing?.final())?.statusCode ?? 0));
  });

  it('makes the offer itself when the INVITE has none, and takes the answer from the ACK', async () => {
    const call = await alice.invite(LOBBY);
    await call.answered({ body: sdp(), contentType: 'application/sdp' });
    assert.notEqual(audioOf(call.remoteSdp).port, 0);
    await call.bye();
  });

  it('hangs up when the ACK has no answer to our offer', async () => {
    const call = await alice.invite(LOBBY);
    await call.answered();
    const bye = await call.expectBye();
    assert.match(bye.header('Reason') ?? '', /cause=488/);
  });

  it('notices who has vanished without a BYE', async () => {
    const watchful = await CallSwitch.start({ 'calls.dialogCheckSeconds': '1' });
    const call = await join(await watchful.person('dave'));
    const probe = await call.expectRequest('OPTIONS');
    probe.reply(481);
    const bye = await call.expectBye();
    assert.match(bye.header('Reason') ?? '', /^SIP;cause=408;/);
    await watchful.clear();
    await watchful.stop();
  });

  it('wants to know who is calling, writing and watching', async () => {
    const stranger = await running.person('mallory');
    const options = { from: '<sip:alice@parley.test>;tag=x' };
    const call = await stranger.invite(LOBBY, { sdp: sdp(), ...options });
    await call.rejected(403);
    const text = await stranger.request('MESSAGE', LOBBY, { body: 'x', ...options });
    await text.final(403);
    const watch = await stranger.request('SUBSCRIBE', LOBBY, {
      headers: { Event: 'conference' },
      ...options,
    });
    await watch.final(403);
  });

  it('says goodbye to everybody when the switch stops', async () => {
    const other = await CallSwitch.start({});
    const dave = await other.person('dave');
    const call = await join(dave);
    const watch = await Watch.on(dave, LOBBY);
    await watch.next();
    const [bye, last] = await Promise.all([call.expectBye(), watch.next(), other.shutDown()]);
    assert.match(bye.header('Reason') ?? '', /^SIP;cause=503;text="Server is shutting down"/);
    assert.match(last.state, /^terminated;reason=noresource/);
    await other.closePeers();
  });
});
