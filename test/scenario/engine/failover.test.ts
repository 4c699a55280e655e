import assert from 'node:assert/strict';
import type { Endpoint, ResolvedTarget, Transport } from '../../../registrar/engine/seam.ts';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

const NAME = 'pbx.test';
const URI = `sip:bob@${NAME}`;
const INVITE = `INVITE ${URI} SIP/2.0\r\nFrom: <sip:app@localhost>\r\n\r\n${SDP}`;
const OPTIONS = `OPTIONS ${URI} SIP/2.0\r\n\r\n`;
const TIMER_B_MS = 32_000;

function place(port: number, transport: Transport = 'udp'): ResolvedTarget {
  return { transport, remote: { address: '127.0.0.1', port } };
}

/** RFC 3263 section 4.3. */
describe('engine: the places that a name leads to', () => {
  let lab: EngineLab;
  let first: LabPeer;
  let second: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    first = lab.udpPeer(5091);
    second = lab.udpPeer(5092);
    application = lab.application();
    lab.names.set(NAME, [place(5091), place(5092)]);
  });

  for (const [method, text] of [
    ['INVITE', INVITE],
    ['OPTIONS', OPTIONS],
  ] as const) {
    it(`${method} goes on to the next when the first is silent until the end of the transaction`, () => {
      application.command('sip||', text);
      first.expect(new RegExp(`^${method}`));
      lab.advance(TIMER_B_MS - 100);
      second.expectNothing();
      application.expectNothing();
      lab.advance(200);
      const { branch } = first.received.at(-1)?.topVia() ?? {};
      const again = second.expect(new RegExp(`^${method}`));
      assert.notEqual(again.topVia().branch, branch);
      assert.deepEqual(lab.failedTargets, ['udp 127.0.0.1:5091']);
      second.respond(again, '404 Not Found');
      if (method === 'INVITE') second.expect(/^ACK/);
      application.expect('sip', /404/);
      application.expectNothing();
      lab.assertIdle();
    });

    it(`${method} goes on to the next when the first says 503, and the first is done with properly`, () => {
      application.command('sip||', text);
      const request = first.expect(new RegExp(`^${method}`));
      first.respond(request, '503 Service Unavailable');
      if (method === 'INVITE') first.expect(/^ACK/);
      const again = second.expect(new RegExp(`^${method}`));
      assert.equal(again.callId, request.callId);
      assert.deepEqual(again.cseq, request.cseq);
      assert.notEqual(again.topVia().branch, request.topVia().branch);
      assert.deepEqual(lab.failedTargets, ['udp 127.0.0.1:5091']);
      // Our ACK was lost.
      first.respond(request, '503 Service Unavailable');
      if (method === 'INVITE') {
        assert.equal(first.expect(/^ACK/).topVia().branch, request.topVia().branch);
      }
      second.expectNothing();
      second.respond(again, '404 Not Found');
      if (method === 'INVITE') second.expect(/^ACK/);
      application.expect('sip', /404/);
      application.expectNothing();
      first.expectNothing();
      lab.assertIdle();
    });

    it(`${method} goes on to the next when the network says that nobody is at the first`, () => {
      lab.unreachable.add(5091);
      application.command('sip||', text);
      second.respond(second.expect(new RegExp(`^${method}`)), '404 Not Found');
      application.expect('sip', /404/);
      assert.deepEqual(lab.failedTargets, ['udp 127.0.0.1:5091']);
      lab.assertIdle();
    });
  }

  it('the last one decides: its silence is 408, its 503 is passed on', () => {
    application.command('sip||', OPTIONS);
    lab.advance(2 * TIMER_B_MS + 100);
    application.expect('sip', /408/);
    assert.deepEqual(lab.failedTargets, ['udp 127.0.0.1:5091', 'udp 127.0.0.1:5092']);
    first.forget();
    second.forget();
    application.command('sip||', OPTIONS);
    first.respond(first.expect(/^OPTIONS/), '503 Service Unavailable');
    second.respond(second.expect(/^OPTIONS/), '503 Come Back Later');
    application.expect('sip', /503 Come Back Later/);
    lab.assertIdle();
  });

  it('connections that fail, before or after they were made, are no end of it', () => {
    const made: LabPeer[] = [];
    const open: Endpoint = { address: '127.0.0.1', port: 5094 };
    lab.names.set(NAME, [place(5093, 'tcp'), place(5094, 'tcp'), place(5092)]);
    lab.accept('tcp', open, (peer) => made.push(peer));
    application.command('sip||', OPTIONS);
    made[0]?.expect(/^OPTIONS/);
    made[0]?.close();
    second.respond(second.expect(/^OPTIONS/), '200 OK');
    application.expect('sip', /200/);
    assert.deepEqual(lab.failedTargets, ['tcp 127.0.0.1:5093', 'tcp 127.0.0.1:5094']);
    lab.assertIdle();
  });

  it('a place that has said anything else is the right one', () => {
    application.command('sip||', INVITE);
    const invite = first.expect(/^INVITE/);
    first.respond(invite, '180 Ringing');
    application.expect('sip', /180/);
    lab.advance(TIMER_B_MS + 1000);
    first.respond(invite, '500 Server Internal Error');
    application.expect('sip', /500/);
    second.expectNothing();
    assert.deepEqual(lab.failedTargets, []);
    lab.assertIdle();
  });

  it('a 503 after ringing lets the call ring elsewhere, where it can be cancelled', () => {
    const sent = application.command('sip||', INVITE);
    const invite = first.expect(/^INVITE/);
    first.respond(invite, '180 Ringing');
    application.expect('sip', /180/);
    first.respond(invite, '503 Service Unavailable');
    first.expect(/^ACK/);
    const again = second.expect(/^INVITE/);
    application.command(`sip|${sent.fields[10] ?? ''}|`, `CANCEL ${URI} SIP/2.0\r\n\r\n`);
    second.expectNothing();
    second.respond(again, '180 Ringing');
    const cancel = second.expect(/^CANCEL/);
    assert.equal(cancel.topVia().branch, again.topVia().branch);
    second.respond(cancel, '200 OK');
    second.respond(again, '487 Request Terminated');
    second.expect(/^ACK/);
    first.expectNothing();
    lab.assertIdle();
  });

  it('a request that was cancelled meanwhile goes nowhere else', () => {
    const sent = application.command('sip||', INVITE);
    const invite = first.expect(/^INVITE/);
    application.command(`sip|${sent.fields[10] ?? ''}|`, `CANCEL ${URI} SIP/2.0\r\n\r\n`);
    first.respond(invite, '503 Service Unavailable');
    first.expect(/^ACK/);
    application.expect('sip', /503/);
    second.expectNothing();
    lab.assertIdle();
  });

  it('addresses that no name led to are nobody’s news', () => {
    application.command('sip||', 'OPTIONS sip:bob@127.0.0.1:5091 SIP/2.0\r\n\r\n');
    lab.advance(TIMER_B_MS + 100);
    application.expect('sip', /408/);
    assert.deepEqual(lab.failedTargets, []);
    first.forget();
    lab.assertIdle();
  });

  it('requests that are proxied go on as well', () => {
    const proxying = lab.application('message');
    const phone = lab.udpPeer(5099);
    phone.send(requestFrom(phone, 'MESSAGE', { uri: 'sip:bob@127.0.0.1:5060' }));
    const id = proxying.expect('sip', /^MESSAGE/).fields[8] ?? '';
    proxying.send(`proxy|${id}||fullResponse||serial|||${URI}`, `MESSAGE ${URI} SIP/2.0\r\n\r\n`);
    first.respond(first.expect(/^MESSAGE/), '503 Service Unavailable');
    second.respond(second.expect(/^MESSAGE/), '200 OK');
    phone.expect(/^200/);
    lab.assertIdle();
  });
});
