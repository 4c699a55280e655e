import assert from 'node:assert/strict';
import { deflateSync, inflateSync } from 'node:zlib';
import { CallSwitch } from '../support/call-switch.ts';
import type { RequestOptions, SipPeer } from '../support/sip-peer.ts';
import type { SipMessage } from '../../core/sip/message.ts';

const BOB = 'sip:bob@parley.test';
const TEXT = 'text/plain;charset=utf-8';

describe('messages to a person', () => {
  let running: CallSwitch;
  let alice: SipPeer;
  let bob: SipPeer;

  before(async () => {
    running = await CallSwitch.start();
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

  const send = async (
    body: string | Buffer,
    options: RequestOptions & { sender?: SipPeer; uri?: string } = {},
  ): Promise<SipMessage> => {
    const { uri = BOB, sender = alice, ...rest } = options;
    const sent = await sender.request('MESSAGE', uri, { body, contentType: TEXT, ...rest });
    return sent.final();
  };

  it('arrive with the name of the sender, and nothing of his device', async () => {
    const answer = send('Grüße 😀', {
      headers: { Subject: 'Hi', Date: 'Fri, 20 Nov 2026 10:00:00 GMT' },
    });
    const got = await bob.expectRequest('MESSAGE');
    got.reply(200);
    const { message } = got;
    assert.equal(message.body.toString(), 'Grüße 😀');
    assert.equal(message.header('Content-Type'), TEXT);
    assert.equal(message.header('Subject'), 'Hi');
    assert.equal(message.header('Date'), 'Fri, 20 Nov 2026 10:00:00 GMT');
    assert.match(message.header('From') ?? '', /^"Alice Example" <sip:alice@parley\.test>;tag=/);
    assert.equal(message.header('To'), '<sip:bob@parley.test>');
    assert.equal(message.header('Max-Forwards'), '69');
    assert.ok(!message.bytes.toString('latin1').includes(`:${alice.port}`));
    assert.equal((await answer).statusCode, 200);
  });

  it('keep every byte of every body', async () => {
    const all = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const receipt = deflateSync('<imdn xmlns="urn:ietf:params:xml:ns:imdn"></imdn>');
    const bodies: [body: Buffer, headers: Record<string, string>, type: string][] = [
      [all, {}, 'application/octet-stream'],
      [Buffer.concat([Buffer.from('\r\n\r\n'), all, Buffer.from('|#\r\n')]), {}, 'x/y'],
      [receipt, { 'Content-Encoding': 'deflate', Priority: 'non-urgent' }, 'message/imdn+xml'],
      [Buffer.from([0xc3]), { 'Content-Disposition': 'notification' }, 'text/plain'],
      [
        Buffer.from('--b\r\nContent-Type: a/b\r\n\r\n\xff\xfe\r\n--b--\r\n', 'latin1'),
        {},
        'multipart/mixed;boundary=b',
      ],
    ];
    for (const [body, headers, contentType] of bodies) {
      const answer = send(body, { headers, contentType });
      const got = await bob.expectRequest('MESSAGE');
      got.reply(200);
      assert.deepEqual(got.message.body, body);
      assert.equal(got.message.header('Content-Type'), contentType);
      for (const [name, value] of Object.entries(headers)) {
        assert.equal(got.message.header(name), value);
      }
      assert.equal((await answer).statusCode, 200);
    }
    assert.match(inflateSync(receipt).toString(), /imdn/);
  });

  it('go to all devices, and one that takes it is enough', async () => {
    const desk = await running.person('bob');
    const other = await running.person('alice');
    const answer = send('all of you');
    const [first, second] = await Promise.all([
      bob.expectRequest('MESSAGE'),
      desk.expectRequest('MESSAGE'),
    ]);
    first.reply(415);
    second.reply(200);
    assert.equal((await answer).statusCode, 200);
    assert.deepEqual(other.unexpected, []);
  });

  it('come back with the best refusal when no device takes it', async () => {
    const desk = await running.person('bob');
    const answer = send('no');
    const [first, second] = await Promise.all([
      bob.expectRequest('MESSAGE'),
      desk.expectRequest('MESSAGE'),
    ]);
    first.reply(500);
    second.reply(415, { headers: { Accept: 'text/html' } });
    const response = await answer;
    assert.equal(response.statusCode, 415);
    assert.equal(response.header('Accept'), 'text/html');
  });

  it('get 404 for a stranger and 480 when nobody is there', async () => {
    assert.equal((await send('x', { uri: 'sip:nobody@parley.test' })).statusCode, 404);
    await bob.register({ expires: 0 });
    const response = await send('x');
    assert.equal(response.statusCode, 480);
    assert.match(response.header('Warning') ?? '', /No device is connected/);
  });

  it('get 480 when the connection of the only device has broken', async () => {
    const tablet = await running.person('dora', { transport: 'tcp' });
    await tablet.close();
    assert.equal((await send('x', { uri: 'sip:dora@parley.test' })).statusCode, 480);
  });

  it('must not be too long, and may be long', async () => {
    const carol = await running.person('carol', { transport: 'tcp' });
    const dave = await running.person('dave', { transport: 'tcp' });
    const uri = 'sip:dave@parley.test';
    const tooLong = await send('ü'.repeat(30_001), { sender: carol, uri });
    assert.equal(tooLong.statusCode, 413);
    const body = Buffer.alloc(60_000, 0xe9);
    const answer = send(body, { sender: carol, uri });
    const got = await dave.expectRequest('MESSAGE');
    got.reply(200);
    assert.deepEqual(got.message.body, body);
    assert.equal((await answer).statusCode, 200);
  });

  it('need a Content-Type, and the password of the sender', async () => {
    const untyped = alice.buildRequest('MESSAGE', BOB);
    untyped.setBody('x');
    assert.equal((await (await alice.sendRequest(untyped)).final()).statusCode, 400);
    const stranger = await running.stranger('alice', { password: 'wrong' });
    const refused = await stranger.request('MESSAGE', BOB, { body: 'x', contentType: TEXT });
    assert.ok([401, 403].includes((await refused.final()).statusCode));
    assert.deepEqual(bob.unexpected, []);
  });

  it('may be empty', async () => {
    const answer = alice.request('MESSAGE', BOB);
    const got = await bob.expectRequest('MESSAGE');
    got.reply(200);
    assert.equal(got.message.body.length, 0);
    assert.equal((await (await answer).final()).statusCode, 200);
  });
});
