import assert from 'node:assert/strict';
import { CallSwitch } from '../support/call-switch.ts';
import { sdp } from '../support/sdp.ts';
import type { SipPeer } from '../support/sip-peer.ts';

const BOB = 'sip:bob@parley.test';
/** Nobody could be reached there. */
const CONTACT = 'sip:bob@192.0.2.7:5999';
/** A drachtio-server drops every Route of an application; the first proxy gets the request all the same. */
const IS_ROUTE_DROPPED = process.env['PARLEY_TEST_SWITCH'] === 'drachtio-server';

describe('a device behind a proxy of its own (RFC 3327)', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  /** The proxy, and the device behind it in one. */
  let edge: SipPeer;
  let path: string;
  let route: string;

  before(async () => {
    running = await CallSwitch.start();
  });
  beforeEach(async () => {
    alice = await running.person('alice');
    const password = await running.account('bob');
    edge = await running.stranger('bob', { password });
    const place = edge.contactUri.replace(/^sip:[^@]*@/, '');
    path = `<sip:flow-7@${place};lr>, <sip:inner@192.0.2.8;lr>`;
    route = IS_ROUTE_DROPPED ? '' : path;
    const Via = 'SIP/2.0/UDP 192.0.2.7:5999;branch=z9hG4bKdevice';
    const headers = { Via, Path: path, Supported: 'path' };
    const ok = await edge.register({ contact: `<${CONTACT}>`, headers });
    assert.equal(ok.headerValues('Path').join(', '), path);
  });
  afterEach(async () => {
    await running.clear();
  });
  after(async () => {
    await running.stop();
  });

  const routed = (method: string): readonly unknown[] => {
    const request = edge.seen
      .map(({ message }) => message)
      .find((message) => message.isRequest && message.method === method);
    return [request?.requestUri, request?.headerValues('Route').join(', ')];
  };

  it('is called along its Path', async () => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const taken = await edge.expectCall();
    assert.deepEqual(routed('INVITE'), [CONTACT, route]);
    taken.ring();
    await call.ringing();
    await Promise.all([call.answered(), taken.answer(sdp({ port: 41_000 }))]);
    await Promise.all([call.bye(), taken.expectBye()]);
  });

  it('is told along its Path that nobody calls any more', async () => {
    const call = await alice.invite(BOB, { sdp: sdp() });
    const taken = await edge.expectCall();
    taken.ring();
    await call.ringing();
    await Promise.all([call.cancel(), taken.expectCancel()]);
    assert.deepEqual(routed('CANCEL'), [CONTACT, route]);
  });

  it('is written to along its Path', async () => {
    const [sent] = await Promise.all([
      alice.request('MESSAGE', BOB, { body: 'hello', contentType: 'text/plain' }),
      edge.expectRequest('MESSAGE').then((got) => got.reply(200)),
    ]);
    await sent.final(200);
    assert.deepEqual(routed('MESSAGE'), [CONTACT, route]);
  });
});
