/** Behind a NAT: what phones are told instead of the switch's own addresses. */
import assert from 'node:assert/strict';
import type { SipMessage } from '../../core/sip/message.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import { CallSwitch } from '../support/call-switch.ts';
import { freePorts } from '../support/free-ports.ts';
import { sdp } from '../support/sdp.ts';
import type { PeerTransport, SipPeer } from '../support/sip-peer.ts';

const OUTSIDE = '203.0.113.5';
const MEDIA_OUTSIDE = '203.0.113.6';
const INSIDE = '127.0.0.1';
const DOMAIN = 'parley.test';

/** Where a message says that requests, and answers, are to go. */
function placesIn(message: SipMessage): { readonly contact: string; readonly via: string } {
  const uri = message.contacts[0]?.uri;
  assert.ok(uri?.kind === 'sip', 'no Contact');
  const { host, port } = message.topVia();
  return { contact: `${uri.host}:${uri.port ?? 5060}`, via: `${host}:${port ?? 5060}` };
}

function mediaAddress(description: string): string | undefined {
  return parseSessionDescription(description).media[0]?.address;
}

describe('external addresses', function () {
  this.timeout(30_000);
  let running: CallSwitch | undefined;

  afterEach(async () => {
    await running?.clear();
    await running?.stop();
    running = undefined;
  });

  /** @param port - 0: one that the system chooses */
  const start = async (
    port: number,
    settings: Record<string, string> = {},
  ): Promise<CallSwitch> => {
    running = await CallSwitch.start({
      'sip.port': String(port),
      'sip.externalAddress': OUTSIDE,
      'tls.enabled': 'no',
      ...settings,
    });
    return running;
  };
  const person = (user: string, transport: PeerTransport): Promise<SipPeer> => {
    assert.ok(running);
    return running.person(user, { transport });
  };

  for (const transport of ['udp', 'tcp'] as const) {
    it(`are in Contact, Via and SDP of a call by ${transport}, which goes on through them`, async () => {
      const { endpoint } = await start(await freePorts(1), {
        'relay.externalAddress': MEDIA_OUTSIDE,
      });
      const outside = `${OUTSIDE}:${endpoint.port}`;
      const [alice, bob] = [await person('alice', transport), await person('bob', transport)];
      // Phones outside may know the switch by that address alone.
      const call = await alice.invite(`sip:bob@${OUTSIDE}`, { sdp: sdp() });
      const taken = await bob.expectCall();
      const invite = taken.incoming?.message;
      assert.ok(invite);
      assert.deepEqual(placesIn(invite), { contact: outside, via: outside });
      assert.equal(mediaAddress(invite.body.toString()), MEDIA_OUTSIDE);
      const acknowledged = taken.answer(sdp());
      const ok = await call.answered();
      assert.equal(placesIn(ok).contact, outside);
      assert.equal(mediaAddress(call.remoteSdp), MEDIA_OUTSIDE);
      const ack = await acknowledged;
      assert.equal(ack.topVia().host, OUTSIDE);
      await Promise.all([call.bye(), taken.expectBye()]);
    });
  }

  it('have the port that the system chose', async () => {
    const { endpoint } = await start(0);
    const outside = `${OUTSIDE}:${endpoint.port}`;
    const [alice, bob] = [await person('alice', 'udp'), await person('bob', 'udp')];
    const call = await alice.invite(`sip:bob@${DOMAIN}`, { sdp: sdp() });
    const taken = await bob.expectCall();
    assert.ok(taken.incoming);
    assert.deepEqual(placesIn(taken.incoming.message), { contact: outside, via: outside });
    // Nothing is said of media: it is where the signalling came to.
    assert.equal(mediaAddress(taken.incoming.message.body.toString()), INSIDE);
    await taken.reject(603);
    await call.rejected(603);
  });

  it('are those of a room, its roster and its texts', async () => {
    const { endpoint } = await start(await freePorts(1), {
      'relay.externalAddress': MEDIA_OUTSIDE,
    });
    const outside = `${OUTSIDE}:${endpoint.port}`;
    const alice = await person('alice', 'udp');
    const call = await alice.invite(`sip:lobby@${OUTSIDE}`, { sdp: sdp() });
    const ok = await call.answered();
    assert.equal(placesIn(ok).contact, outside);
    assert.equal(mediaAddress(call.remoteSdp), MEDIA_OUTSIDE);
    const watch = await alice.request('SUBSCRIBE', `sip:lobby@${OUTSIDE}`, {
      headers: { Event: 'conference', Expires: '0' },
    });
    const notify = await alice.expectRequest('NOTIFY');
    notify.reply(200);
    await watch.final(200);
    assert.deepEqual(placesIn(notify.message), { contact: outside, via: outside });
    const bob = await person('bob', 'udp');
    const other = await bob.invite(`sip:lobby@${DOMAIN}`, { sdp: sdp() });
    await other.answered();
    const sent = await bob.request('MESSAGE', `sip:lobby@${DOMAIN}`, {
      body: 'x',
      contentType: 'text/plain',
    });
    const text = await alice.expectRequest('MESSAGE');
    text.reply(200);
    await sent.final(200);
    assert.equal(text.message.topVia().host, OUTSIDE);
    await Promise.all([call.bye(), other.bye()]);
  });

  it('are only for sockets of their family', async () => {
    await start(0, { 'sip.externalAddress': '2001:db8::5' });
    const bob = await person('bob', 'udp');
    const alice = await person('alice', 'udp');
    const call = await alice.invite(`sip:bob@${DOMAIN}`, { sdp: sdp() });
    const taken = await bob.expectCall();
    assert.ok(taken.incoming);
    assert.equal(taken.incoming.message.topVia().host, INSIDE);
    await taken.reject(486);
    await call.rejected(486);
  });
});
