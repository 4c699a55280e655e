import assert from 'node:assert/strict';
import type { ConfigError } from '../../../core/errors.ts';
import { EngineLab, SECRET, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

const HANDLERS = [
  { method: 'INVITE', uri: 'tcp://127.0.0.1:3001' },
  { uri: 'tls://app.test:3002' },
];

describe('engine: applications that it connects to', () => {
  let lab: EngineLab;
  let phone: LabPeer;

  beforeEach(() => {
    lab = new EngineLab({ requestHandlers: HANDLERS });
    phone = lab.udpPeer(5090);
  });

  /** Accepts the dial and shows the secret. */
  function ready(): LabApplication {
    const application = lab.acceptDial();
    assert.equal(application.command(`authenticate|${SECRET}|`).fields[3], 'OK');
    return application;
  }

  it('get the request when they have authenticated, without any route', () => {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    phone.expect(/^100/);
    const { transport, host, port } = lab.dials[0] ?? {};
    assert.deepEqual(
      { transport, host, port },
      { transport: 'tcp', host: '127.0.0.1', port: 3001 },
    );
    const application = lab.acceptDial();
    application.expectNothing();
    assert.equal(application.command(`authenticate|${SECRET}|`).fields[3], 'OK');
    const request = application.expect('sip', /^INVITE/);
    assert.deepEqual(request.fields.slice(10, 12), ['127.0.0.1', '5060']);
    application.respond(request.fields[8] ?? '', '200 OK', [], SDP);
    const { toTag } = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2 }));
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    application.close();
    assert.equal(lab.engine.stats().applications, 0);
    assert.equal(lab.dials.length, 0);
    lab.assertIdle();
  });

  it('are called once for each request, by the handler of its method or that of all, before any route', () => {
    const routed = lab.application('message', 'invite');
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'one' }));
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'two' }));
    phone.send(requestFrom(phone, 'STRANGE', { callId: 'three' }));
    assert.deepEqual(
      lab.dials.map(({ transport, host, port }) => `${transport}://${host}:${port}`),
      ['tls://app.test:3002', 'tls://app.test:3002', 'tls://app.test:3002'],
    );
    for (const callId of ['one', 'two', 'three']) {
      const application = ready();
      const { fields, sip } = application.expect('sip');
      assert.equal(sip?.callId, callId);
      application.respond(fields[8] ?? '', '200 OK');
      phone.expect(/^200/);
    }
    routed.expectNothing();
    lab.assertIdle();
  });

  it('that are not there make it 480 for the caller, whatever the method', () => {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP, callId: 'i' }));
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'm' }));
    phone.expect(/^100/);
    lab.refuseDial();
    phone.expect(/^480/);
    lab.refuseDial();
    phone.expect(/^480/);
    const { applications, counters } = lab.engine.stats();
    assert.equal(applications, 0);
    assert.equal(counters.controlErrors['dialFailed'], 2);
    lab.assertIdle();
  });

  for (const [what, words] of [
    ['show a wrong secret', ['authenticate|wrong|']],
    ['ask for something before they authenticate', ['ping']],
  ] as const) {
    it(`that ${what} see nothing of the request, and the caller gets 480`, () => {
      phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
      phone.expect(/^100/);
      const application = lab.acceptDial();
      for (const word of words) application.send(word);
      const refusal = application.expect('response');
      assert.deepEqual(refusal.fields.slice(3), ['NO', 'incorrect secret']);
      application.expectNothing();
      assert.equal(application.isClosed, true);
      phone.expect(/^480/);
      lab.assertIdle();
    });
  }

  it('that never answer the call, or never authenticate, or hang up make it 480 in time', () => {
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'silent' }));
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'mute' }));
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'gone' }));
    const silent = lab.dials.shift();
    const mute = lab.acceptDial();
    lab.acceptDial().close();
    assert.equal(phone.expect(/^480/).callId, 'gone');
    lab.advance(4_999);
    assert.ok(phone.received.every(({ statusCode }) => statusCode === 100));
    phone.forget();
    lab.advance(1);
    const refused = [phone.expect(/^480/).callId, phone.expect(/^480/).callId];
    assert.deepEqual(refused, ['silent', 'mute']);
    assert.equal(mute.isClosed, true);
    // The connection that comes about at last finds nobody who waits for it.
    lab.feed({ kind: 'controlConnected', controlId: silent?.controlId ?? 0 });
    assert.equal(lab.engine.stats().applications, 0);
    assert.equal(lab.engine.stats().counters.controlErrors['dialTimeout'], 2);
    lab.assertIdle();
  });

  it('hear nothing of a call that was cancelled before they authenticated, and are let go', () => {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP, branch: 'z9hG4bKone' }));
    phone.send(requestFrom(phone, 'CANCEL', { branch: 'z9hG4bKone' }));
    phone.expect(/^100/);
    phone.expect(/^200/);
    phone.expect(/^487/);
    const application = ready();
    application.expectNothing();
    assert.equal(application.isClosed, true);
    lab.assertIdle();
  });

  it('may make calls of their own, and keep the connection while one is up', () => {
    phone.send(requestFrom(phone, 'MESSAGE', {}));
    const application = ready();
    application.respond(application.expect('sip').fields[8] ?? '', '200 OK');
    lab.advance(30_000);
    const bob = lab.udpPeer(5091);
    application.command('sip||', `INVITE sip:bob@127.0.0.1:5091 SIP/2.0\r\n\r\n${SDP}`);
    const sent = bob.expect(/^INVITE/);
    bob.respond(sent, '200 OK', ['Contact: <sip:bob@127.0.0.1:5091>'], SDP);
    const dialogId = `${sent.callId};from-tag=${sent.fromTag ?? ''}`;
    application.send(`sip||${dialogId}`, 'ACK sip:x SIP/2.0\r\n\r\n');
    bob.expect(/^ACK/);
    lab.advance(200_000);
    assert.equal(application.isClosed, false);
    bob.send(
      requestFrom(bob, 'BYE', {
        callId: sent.callId,
        fromTag: 'peer',
        toTag: sent.fromTag,
        sequence: 7,
      }),
    );
    application.reports.splice(0, application.reports.length - 1);
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    lab.advance(31_000);
    assert.equal(application.isClosed, false);
    lab.advance(33_000);
    assert.equal(application.isClosed, true);
    lab.assertIdle();
  });

  it('keep the connection while a request of theirs is proxied', () => {
    phone.send(requestFrom(phone, 'INVITE', { uri: 'sip:bob@127.0.0.1:5060', body: SDP }));
    const application = ready();
    const bob = lab.udpPeer(5091);
    const id = application.expect('sip').fields[8] ?? '';
    const order = `proxy|${id}||fullResponse||serial|||sip:bob@127.0.0.1:5091`;
    application.send(order, 'INVITE sip:bob@127.0.0.1:5091 SIP/2.0\r\n\r\n');
    const copy = bob.expect(/^INVITE/);
    bob.respond(copy, '180 Ringing');
    lab.advance(100_000);
    bob.respond(copy, '486 Busy Here');
    application.expect('response');
    assert.equal(application.expect('response').fields[4], 'done');
    phone.forget();
    lab.assertIdle();
    assert.equal(application.isClosed, true);
  });

  it('lose their calls when they end the session while one is up', () => {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    const application = ready();
    application.respond(application.expect('sip').fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    phone.send(requestFrom(phone, 'ACK', { toTag: phone.expect(/^200/).toTag }));
    application.close();
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('may authenticate twice', () => {
    phone.send(requestFrom(phone, 'MESSAGE', {}));
    const application = ready();
    const { fields } = application.expect('sip');
    assert.equal(application.command(`authenticate|${SECRET}|`).fields[3], 'OK');
    application.respond(fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.assertIdle();
  });

  it('are no more than allowed: 503 beyond that', () => {
    lab = new EngineLab({ requestHandlers: HANDLERS, limits: { outboundSessions: 1 } });
    phone = lab.udpPeer(5090);
    const routed = lab.application('message');
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'one' }));
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'two' }));
    const refusal = phone.expect(/^503/);
    assert.equal(refusal.callId, 'two');
    assert.ok(Number(refusal.header('Retry-After')) >= 1);
    assert.equal(lab.engine.stats().counters.refusals['overload'], 1);
    lab.refuseDial();
    phone.expect(/^480/);
    routed.expectNothing();
    lab.assertIdle();
  });

  it('are reported with the attempt before the call is refused', () => {
    lab = new EngineLab({ requestHandlers: HANDLERS, hasCallRecords: true });
    phone = lab.udpPeer(5090);
    const listener = lab.application('cdr:attempt', 'cdr:stop');
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    lab.refuseDial();
    listener.expect('cdr:attempt', /^INVITE/);
    listener.expect('cdr:stop', /480/);
    listener.expectNothing();
    lab.assertIdle();
  });

  it('have places that make sense, one for each method', () => {
    const wrong = [
      [{ uri: 'ftp://127.0.0.1:80' }],
      [{ uri: 'http://' }],
      [{ uri: 'tcp://' }],
      [{ uri: 'tcp://host:0' }],
      [{ uri: 'tcp://host:65536' }],
      [{ uri: 'tcp://user@host:1' }],
      [{ method: 'IN VITE', uri: 'tcp://host:1' }],
      [{ uri: 'tcp://host:1' }, { method: '*', uri: 'tcp://other:1' }],
      [
        { method: 'invite', uri: 'tcp://host:1' },
        { method: 'INVITE', uri: 'tcp://host:1' },
      ],
    ];
    for (const requestHandlers of wrong) {
      assert.throws(
        () => new EngineLab({ requestHandlers }),
        (error: ConfigError) => error.code === 'engine.requestHandler',
        JSON.stringify(requestHandlers),
      );
    }
    lab = new EngineLab({ requestHandlers: [{ method: 'message', uri: 'tcp://[::1]' }] });
    phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'MESSAGE', {}));
    const { host, port } = lab.dials[0] ?? {};
    assert.deepEqual({ host, port }, { host: '::1', port: 9021 });
  });
});
