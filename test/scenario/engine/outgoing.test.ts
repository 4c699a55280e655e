import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import {
  EngineLab,
  listener,
  sip,
  type LabApplication,
  type LabPeer,
} from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

const URI = 'sip:bob@127.0.0.1:5091';
const CONTACT = ['Contact: <sip:bob@127.0.0.1:5091>'];
const INVITE = `INVITE ${URI} SIP/2.0\r\nFrom: <sip:app@localhost>\r\n\r\n${SDP}`;

describe('engine: requests of applications', () => {
  let lab: EngineLab;
  let bob: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    bob = lab.udpPeer(5091);
    application = lab.application();
  });

  function dialogIdOf(text: { callId: string; fromTag: string | undefined }): string {
    return `${text.callId};from-tag=${text.fromTag ?? ''}`;
  }

  function bye(dialogId: string): void {
    application.command(`sip||${dialogId}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    bob.respond(bob.expect(/^BYE/), '200 OK');
    application.expect('sip', /200/);
  }

  it('makes what the application left out: tags, Call-ID, CSeq, Contact, Via, Max-Forwards', () => {
    const sent = application.command('sip||', `INVITE ${URI} SIP/2.0\r\n\r\n${SDP}`);
    const invite = bob.expect(/^INVITE/);
    assert.deepEqual(sent.sip?.bytes, invite.bytes);
    assert.equal(invite.from().uriText, 'sip:127.0.0.1:5060');
    assert.ok(invite.fromTag);
    assert.equal(invite.to().uriText, URI);
    assert.equal(invite.header('Contact'), '<sip:127.0.0.1:5060>');
    assert.equal(invite.header('Content-Type'), 'application/sdp');
    assert.equal(invite.maxForwards, 70);
    assert.ok(invite.topVia().hasCookie);
    assert.ok(invite.cseq.sequence > 0);
    bob.respond(invite, '486 Busy Here');
    bob.expect(/^ACK/);
    lab.assertIdle();
  });

  it('keeps what the application chose, so that a challenge can be answered', () => {
    const lines = [
      `MESSAGE ${URI} SIP/2.0`,
      'from: "App" <sip:app@localhost>;tag=kept',
      'to: "Bob" <sip:bob@example.test>',
      'call-id: chosen',
      'cseq: 41 MESSAGE',
      'max-forwards: 12',
      'content-type: text/plain',
      'x-mine: one',
      'weird-header: two',
      'route: <sip:evil.example>',
      'via: SIP/2.0/UDP evil',
      '',
      'hi',
    ];
    application.command('sip||', lines.join('\r\n'));
    const message = bob.expect(/^MESSAGE/);
    assert.equal(message.header('From'), '"App" <sip:app@127.0.0.1:5060>;tag=kept');
    assert.equal(message.header('To'), '"Bob" <sip:bob@example.test>');
    assert.equal(message.callId, 'chosen');
    assert.equal(message.cseq.sequence, 41);
    assert.equal(message.maxForwards, 12);
    assert.equal(message.has('Route'), false);
    assert.equal(message.headerValues('Via').length, 1);
    const text = message.bytes.toString();
    assert.match(text, /\r\nx-mine: one\r\nWeird-Header: two\r\n/);
    assert.match(text, /\r\nCall-ID: chosen\r\nCSeq: 41 MESSAGE\r\n/);
    bob.respond(message, '202 Accepted');
    const report = application.expect('sip', /202/);
    assert.deepEqual(report.fields.slice(9), ['', '']);
    lab.assertIdle();
  });

  it('refuses what cannot be sent, in the words of the protocol', () => {
    const cases: [string, string][] = [
      ['OPTIONS bogus SIP/2.0\r\n\r\n', 'invalid request-uri: OPTIONS bogus SIP/2.0'],
      [`FOO ${URI} SIP/2.0\r\n\r\n`, `invalid request-uri: FOO ${URI} SIP/2.0`],
      ['OPTIONS sip:127.0.0.1:5060 SIP/2.0\r\n\r\n', 'can not send request to myself'],
      ['OPTIONS sip:x@127.0.0.1 SIP/2.0\r\n\r\n', 'can not send request to myself'],
      [`MESSAGE ${URI} SIP/2.0\r\n\r\nhi`, 'missing content-type'],
      [
        `OPTIONS ${URI};transport=tls SIP/2.0\r\n\r\n`,
        'requested protocol/transport not available',
      ],
      [
        `OPTIONS ${URI};transport=pigeon SIP/2.0\r\n\r\n`,
        'requested protocol/transport not available',
      ],
      ['OPTIONS sips:bob@127.0.0.1 SIP/2.0\r\n\r\n', 'requested protocol/transport not available'],
    ];
    for (const [text, reason] of cases) {
      assert.deepEqual(application.command('sip||', text).fields.slice(3), ['NOK', reason]);
    }
    bob.expectNothing();
    lab.assertIdle();
  });

  it('tells OK before the first response, and swallows 100', () => {
    const id = application.send('sip||', INVITE);
    const invite = bob.expect(/^INVITE/);
    bob.respond(invite, '100 Trying');
    bob.respond(invite, '180 Ringing');
    const ok = application.expect('response', /^INVITE/);
    assert.equal(ok.fields[2], id);
    const ringing = application.expect('sip', /180/);
    assert.equal(ringing.fields[8], ok.fields[10]);
    assert.equal(ringing.fields[9], dialogIdOf(invite));
    bob.respond(invite, '603 Decline');
    assert.equal(application.expect('sip', /603/).fields[9], dialogIdOf(invite));
    lab.assertIdle();
  });

  it('repeats an INVITE over UDP until any response comes (timer A)', () => {
    application.command('sip||', INVITE);
    lab.advance(3_600);
    assert.equal(bob.received.length, 4);
    const invite = bob.expect();
    bob.forget();
    bob.respond(invite, '100 Trying');
    lab.advance(60_000);
    bob.expectNothing();
    bob.respond(invite, '480 Temporarily Unavailable');
    lab.assertIdle();
  });

  it('acknowledges a failure by itself, each time it is repeated, and tells it once', () => {
    application.command('sip||', INVITE);
    const invite = bob.expect();
    bob.respond(invite, '486 Busy Here');
    bob.respond(invite, '486 Busy Here');
    const [first, second] = [bob.expect(/^ACK/), bob.expect(/^ACK/)];
    assert.deepEqual(first.bytes, second.bytes);
    assert.equal(first.requestUri, invite.requestUri);
    assert.equal(first.topVia().branch, invite.topVia().branch);
    assert.equal(first.toTag, 'peer');
    application.expect('sip', /486/);
    application.expectNothing();
    const ack = application.command(`sip||${dialogIdOf(invite)}`, `ACK ${URI} SIP/2.0\r\n\r\n`);
    assert.equal(ack.fields[3], 'NOK');
    assert.match(ack.fields[4] ?? '', /^Server error: ACK for non-success/);
    lab.assertIdle();
  });

  it('swallows repeated 2xx until the application acknowledges, then repeats the ACK', () => {
    application.command('sip||', INVITE);
    const invite = bob.expect();
    bob.respond(invite, '200 OK', CONTACT, SDP);
    bob.respond(invite, '200 OK', CONTACT, SDP);
    application.expect('sip', /200/);
    application.expectNothing();
    bob.expectNothing();
    const dialogId = dialogIdOf(invite);
    application.command(`sip||${dialogId}`, `ACK ${URI} SIP/2.0\r\n\r\n`);
    const ack = bob.expect(/^ACK sip:bob@127.0.0.1:5091/);
    assert.equal(ack.cseq.sequence, invite.cseq.sequence);
    assert.notEqual(ack.topVia().branch, invite.topVia().branch);
    bob.respond(invite, '200 OK', CONTACT, SDP);
    assert.deepEqual(bob.expect(/^ACK/).bytes, ack.bytes);
    application.expectNothing();
    bye(dialogId);
    lab.assertIdle();
  });

  it('acknowledges and hangs up further forks that answer (RFC 3261 §13.2.2.4)', () => {
    application.command('sip||', INVITE);
    const invite = bob.expect();
    bob.respond(invite, '180 Ringing', CONTACT, '', 'one');
    bob.respond(invite, '180 Ringing', CONTACT, '', 'two');
    bob.respond(invite, '200 OK', CONTACT, SDP, 'two');
    for (let i = 0; i < 3; i += 1) application.expect('sip');
    application.command(`sip||${dialogIdOf(invite)}`, `ACK ${URI} SIP/2.0\r\n\r\n`);
    assert.equal(bob.expect(/^ACK/).toTag, 'two');
    bob.respond(invite, '200 OK', CONTACT, SDP, 'one');
    const [ack, hangUp] = [bob.expect(/^ACK/), bob.expect(/^BYE/)];
    assert.deepEqual([ack.toTag, hangUp.toTag], ['one', 'one']);
    bob.respond(hangUp, '200 OK');
    application.expectNothing();
    assert.equal(lab.engine.stats().dialogs, 1);
    bye(dialogIdOf(invite));
    lab.assertIdle();
  });

  it('takes route set and target from the 2xx, reversed', () => {
    const proxy = lab.udpPeer(5092);
    application.command('sip||', INVITE);
    const invite = bob.expect();
    const routes = 'Record-Route: <sip:10.0.0.9;lr>,<sip:127.0.0.1:5092;lr>';
    bob.respond(invite, '200 OK', ['Contact: <sip:b@10.0.0.7>', routes], SDP);
    application.expect('sip', /200/);
    application.command(`sip||${dialogIdOf(invite)}`, `ACK ${URI} SIP/2.0\r\n\r\n`);
    const ack = proxy.expect(/^ACK sip:b@10.0.0.7/);
    assert.deepEqual(ack.headerValues('Route'), ['<sip:127.0.0.1:5092;lr>', '<sip:10.0.0.9;lr>']);
    application.command(`sip||${dialogIdOf(invite)}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    const end = proxy.expect(/^BYE/);
    assert.equal(end.cseq.sequence, invite.cseq.sequence + 1);
    proxy.respond(end, '200 OK');
    lab.assertIdle();
  });

  it('hangs up when the application never acknowledges', () => {
    application.command('sip||', INVITE);
    bob.respond(bob.expect(), '200 OK', CONTACT, SDP);
    application.expect('sip', /200/);
    lab.advance(32_100);
    bob.respond(bob.expect(/^BYE/), '200 OK');
    assert.equal(application.expect('sip', /^BYE/).fields[8], 'unsolicited');
    lab.assertIdle();
  });

  it('holds a CANCEL back until a provisional response, 100 included', () => {
    const sent = application.command('sip||', INVITE);
    const invite = bob.expect();
    const cancel = application.command(
      `sip|${sent.fields[10] ?? ''}|`,
      `CANCEL ${URI} SIP/2.0\r\nReason: SIP;cause=200;text="elsewhere"\r\n\r\n`,
    );
    assert.deepEqual(cancel.fields.slice(3, 6), ['OK', 'application', '0']);
    bob.expectNothing();
    bob.respond(invite, '100 Trying');
    const out = bob.expect(/^CANCEL/);
    assert.equal(out.topVia().branch, invite.topVia().branch);
    assert.equal(out.cseq.sequence, invite.cseq.sequence);
    assert.equal(out.header('To'), invite.header('To'));
    assert.equal(out.header('Reason'), 'SIP;cause=200;text="elsewhere"');
    bob.respond(out, '200 OK');
    application.expectNothing();
    bob.respond(invite, '487 Request Terminated');
    bob.expect(/^ACK/);
    application.expect('sip', /487/);
    const again = application.command(
      `sip|${sent.fields[10] ?? ''}|`,
      `CANCEL ${URI} SIP/2.0\r\n\r\n`,
    );
    assert.match(again.fields[4] ?? '', /^unable to cancel unknown transaction id: /);
    lab.assertIdle();
  });

  it('never sends a CANCEL for an INVITE that is refused before', () => {
    const sent = application.command('sip||', INVITE);
    const invite = bob.expect();
    application.command(`sip|${sent.fields[10] ?? ''}|`, `CANCEL ${URI} SIP/2.0\r\n\r\n`);
    bob.respond(invite, '486 Busy Here');
    bob.expect(/^ACK/);
    bob.expectNothing();
    application.expect('sip', /486/);
    lab.assertIdle();
  });

  it('makes up a 487 when nothing comes within 32 s of a CANCEL', () => {
    const sent = application.command('sip||', INVITE);
    bob.respond(bob.expect(), '180 Ringing');
    application.expect('sip', /180/);
    application.command(`sip|${sent.fields[10] ?? ''}|`, `CANCEL ${URI} SIP/2.0\r\n\r\n`);
    bob.respond(bob.expect(/^CANCEL/), '200 OK');
    lab.advance(32_100);
    const end = application.expect('sip', /487/);
    assert.equal(end.fields[3], '0');
    lab.assertIdle();
  });

  it('tells invented failures a moment after the OK, as if the network had answered', () => {
    lab.unreachable.add(9);
    const sent = application.command('sip||', 'OPTIONS sip:127.0.0.1:9 SIP/2.0\r\n\r\n');
    application.expectNothing();
    lab.advance(2);
    application.expectNothing();
    lab.advance(10);
    const failure = application.expect('sip', /503 Service Unavailable/);
    assert.deepEqual(failure.fields.slice(2, 7), ['network', '0', 'udp', '', '0']);
    assert.equal(failure.fields[8], sent.fields[10]);
    assert.ok(failure.sip?.toTag);
    lab.assertIdle();
  });

  it('says when it wants to be called, and for what', () => {
    application.command('sip||', INVITE);
    const startMs = lab.clock.nowMs;
    const next = lab.engine.nextDeadline();
    assert.deepEqual([next?.atMs, next?.reason], [startMs + 500, 'A']);
    bob.respond(bob.expect(/^INVITE/), '100 Trying');
    assert.equal(lab.engine.nextDeadline(), undefined);
    application.command('sip||', `OPTIONS ${URI} SIP/2.0\r\n\r\n`);
    lab.advance(31_900);
    const last = lab.engine.nextDeadline();
    assert.deepEqual([last?.atMs, last?.reason], [startMs + 32_000, 'F']);
  });

  it('answers 408 after 32 s of silence', () => {
    application.command('sip||', INVITE);
    application.command('sip||', `OPTIONS ${URI} SIP/2.0\r\n\r\n`);
    lab.advance(31_900);
    application.expectNothing();
    lab.advance(200);
    application.expect('sip', /408/);
    application.expect('sip', /408/);
    bob.forget();
    lab.assertIdle();
  });

  it('resolves names, says so at once, and tries the places in order', () => {
    lab.heldQueries = [];
    const tcp = { address: '127.0.0.1', port: 5093 };
    const sent = application.command('sip||', 'OPTIONS sip:bob@pbx.test SIP/2.0\r\n\r\n');
    assert.deepEqual(sent.fields.slice(4, 9), ['application', '0', 'unknown', '', '0']);
    const [query] = lab.heldQueries;
    assert.deepEqual(
      [query?.host, query?.port, query?.transport, query?.secure],
      ['pbx.test', undefined, undefined, false],
    );
    lab.feed({
      kind: 'resolved',
      queryId: query?.queryId ?? 0,
      targets: [
        { transport: 'tcp', remote: tcp },
        { transport: 'udp', remote: { address: '127.0.0.1', port: 5091 } },
      ],
      error: undefined,
    });
    const options = bob.expect(/^OPTIONS sip:bob@pbx.test/);
    assert.equal(options.topVia().transport, 'UDP');
    bob.respond(options, '200 OK');
    assert.equal(application.expect('sip', /200/).fields[8], sent.fields[10]);
    lab.assertIdle();
  });

  it('answers 503 for names that lead nowhere', () => {
    application.command('sip||', 'OPTIONS sip:nowhere.invalid SIP/2.0\r\n\r\n');
    application.expectNothing();
    lab.advance(10);
    application.expect('sip', /503 DNS Error/);
    lab.assertIdle();
  });

  it('sends to the next hop that the application names', () => {
    application.command(
      'sip|||sip:127.0.0.1:5091',
      'OPTIONS sip:carol@example.test SIP/2.0\r\n\r\n',
    );
    bob.respond(bob.expect(/^OPTIONS sip:carol@example.test/), '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  });

  it('sends along a route set whose first entry is the next hop that the application names (RFC 3327, RFC 3608)', () => {
    const send = (nextHop: string, ...routes: readonly string[]): SipMessage => {
      const lines = [
        'INVITE sip:carol@10.0.0.7 SIP/2.0',
        ...routes.map((route) => `route: ${route}`),
      ];
      application.command(`sip|||${nextHop}`, `${lines.join('\r\n')}\r\n\r\n${SDP}`);
      return bob.expect(/^INVITE/);
    };
    const edge = '<sip:token@127.0.0.1:5091;lr;ob>';
    const along = send('sip:token@127.0.0.1:5091;ob;lr', `${edge},<sip:10.0.0.8;lr>`);
    assert.equal(along.requestUri, 'sip:carol@10.0.0.7');
    assert.deepEqual(along.headerValues('Route'), [edge, '<sip:10.0.0.8;lr>']);
    bob.respond(along, '180 Ringing');
    const ringing = application.expect('sip', /180/);
    application.command(`sip|${ringing.fields[8] ?? ''}|`, 'CANCEL sip:x SIP/2.0\r\n\r\n');
    const cancel = bob.expect(/^CANCEL/);
    assert.deepEqual(cancel.headerValues('Route'), along.headerValues('Route'));
    bob.respond(cancel, '200 OK');
    bob.respond(along, '487 Request Terminated');
    assert.deepEqual(bob.expect(/^ACK/).headerValues('Route'), along.headerValues('Route'));
    application.expect('sip', /487/);

    const strict = send('sip:127.0.0.1:5091', '<sip:127.0.0.1:5091>', '<sip:10.0.0.8;lr>');
    assert.equal(strict.requestUri, 'sip:127.0.0.1:5091');
    assert.deepEqual(strict.headerValues('Route'), ['<sip:10.0.0.8;lr>', '<sip:carol@10.0.0.7>']);
    bob.respond(strict, '486 Busy Here');
    bob.expect(/^ACK/);
    application.expect('sip', /486/);

    const copied = send('sip:127.0.0.1:5091', '<sip:10.0.0.8;lr>');
    assert.equal(copied.has('Route'), false);
    bob.respond(copied, '486 Busy Here');
    bob.expect(/^ACK/);
    lab.assertIdle();
  });

  it('sends more than 1300 bytes by TCP where that is possible (RFC 3261 §18.1.1)', () => {
    let peer: LabPeer | undefined;
    lab.accept('tcp', { address: '127.0.0.1', port: 5091 }, (accepted) => {
      peer = accepted;
    });
    const body = 'x'.repeat(1_300);
    const sent = application.command(
      'sip||',
      `MESSAGE ${URI} SIP/2.0\r\nContent-Type: text/plain\r\n\r\n${body}`,
    );
    assert.equal(sent.fields[6], 'tcp');
    assert.ok(peer);
    const message = peer.expect(/^MESSAGE/);
    assert.equal(message.topVia().transport, 'TCP');
    peer.respond(message, '200 OK');
    application.expect('sip', /200/);
    lab.advance(200_000);
    assert.ok(peer.isClosed, 'an idle connection of ours is closed');
    lab.assertIdle();
  });

  it('falls back to UDP when the peer takes no TCP, and remembers it', () => {
    const body = 'x'.repeat(1_300);
    const text = `MESSAGE ${URI} SIP/2.0\r\nContent-Type: text/plain\r\n\r\n${body}`;
    application.command('sip||', text);
    bob.respond(bob.expect(/^MESSAGE/), '200 OK');
    application.expect('sip', /200/);
    lab.heldConnects = [];
    application.command('sip||', text);
    assert.equal(lab.heldConnects.length, 0);
    bob.respond(bob.expect(/^MESSAGE/), '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  });

  it('does not wait long for a TCP connection that stands in for UDP', () => {
    lab.heldConnects = [];
    const body = 'x'.repeat(1_300);
    application.command(
      'sip||',
      `MESSAGE ${URI} SIP/2.0\r\nContent-Type: text/plain\r\n\r\n${body}`,
    );
    lab.advance(900);
    bob.expectNothing();
    lab.advance(200);
    bob.respond(bob.expect(/^MESSAGE/), '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  });

  it('keeps to UDP when the URI names it', () => {
    const body = 'x'.repeat(1_300);
    application.command(
      'sip||',
      `MESSAGE ${URI};transport=udp SIP/2.0\r\nContent-Type: text/plain\r\n\r\n${body}`,
    );
    bob.respond(bob.expect(/^MESSAGE/), '200 OK');
    lab.assertIdle();
  });

  it('connects where there is no connection, and uses it again', () => {
    const remote = { address: '127.0.0.1', port: 5094 };
    const accepted: LabPeer[] = [];
    lab.accept('tcp', remote, (peer) => accepted.push(peer));
    for (let i = 0; i < 3; i += 1) {
      application.command('sip||', 'OPTIONS sip:127.0.0.1:5094;transport=tcp SIP/2.0\r\n\r\n');
    }
    assert.equal(accepted.length, 1);
    const [peer] = accepted;
    assert.ok(peer);
    for (let i = 0; i < 3; i += 1) {
      const options: SipMessage = peer.expect(/^OPTIONS/);
      assert.equal(options.from().uriText, 'sip:127.0.0.1:5060;transport=tcp');
      peer.respond(options, '200 OK');
      application.expect('sip', /200/);
    }
    lab.advance(200_000);
    lab.assertIdle();
    assert.equal(lab.engine.stats().flows, 0);
  });

  it('answers 503 when a connection cannot be made, and when it breaks before the answer', () => {
    application.command('sip||', 'OPTIONS sip:127.0.0.1:5095;transport=tcp SIP/2.0\r\n\r\n');
    lab.advance(10);
    application.expect('sip', /503/);
    let peer: LabPeer | undefined;
    lab.accept('tcp', { address: '127.0.0.1', port: 5095 }, (accepted) => {
      peer = accepted;
    });
    application.command('sip||', 'OPTIONS sip:127.0.0.1:5095;transport=tcp SIP/2.0\r\n\r\n');
    peer?.close();
    lab.advance(10);
    application.expect('sip', /503/);
    lab.assertIdle();
  });

  it('names its external address where it has one', () => {
    const external = { address: '203.0.113.5', port: 5060 };
    const natted = new EngineLab({
      listeners: [listener(1, 'udp', { address: '10.0.0.2', port: 5060 }, external)],
    });
    const app = natted.application('message');
    const phone = natted.udpPeer(5091, '198.51.100.7');
    app.command('sip||', `INVITE sip:bob@198.51.100.7:5091 SIP/2.0\r\n\r\n${SDP}`);
    const invite = phone.expect(/^INVITE/);
    assert.equal(invite.header('Contact'), '<sip:203.0.113.5:5060>');
    assert.equal(invite.topVia().host, '203.0.113.5');
    phone.send(requestFrom(phone, 'MESSAGE'));
    assert.deepEqual(app.expect('sip').fields.slice(10, 12), ['10.0.0.2', '5060']);
  });

  it('drops responses that fit nothing or are malformed', () => {
    application.command('sip||', `OPTIONS ${URI} SIP/2.0\r\n\r\n`);
    const options = bob.expect();
    const text = sip([
      'SIP/2.0 200 OK',
      'Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKother',
      'From: <sip:a@b>;tag=1',
      'To: <sip:a@b>;tag=2',
      'Call-ID: x',
      'CSeq: 1 OPTIONS',
    ]);
    bob.send(text);
    bob.send(Buffer.from(text.toString().replace('CSeq: 1 OPTIONS', 'CSeq: one')));
    application.expectNothing();
    assert.equal(lab.engine.stats().counters.refusals['strayResponse'], 1);
    assert.equal(lab.engine.stats().counters.refusals['malformedResponse'], 1);
    bob.respond(options, '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  });

  it('drops responses with the Via of somebody else, below ours or instead of it (RFC 3261 §8.1.3.3, §18.1.2)', () => {
    application.command('sip||', INVITE);
    const invite = bob.expect(/^INVITE/);
    const via = invite.header('Via') ?? '';
    const foreign = 'SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKother';
    for (const vias of [
      [`Via: ${via}, ${foreign}`],
      [`Via: ${via}`, `v: ${foreign}`],
      [`Via: ${via.replace('127.0.0.1:5060', '127.0.0.1:5066')}`],
      [`Via: ${via.replace('127.0.0.1:5060', '10.0.0.1:5060')}`],
    ]) {
      bob.send(
        sip([
          'SIP/2.0 180 Ringing',
          ...vias,
          `From: ${invite.header('From') ?? ''}`,
          `To: ${invite.header('To') ?? ''};tag=peer`,
          `Call-ID: ${invite.callId}`,
          `CSeq: ${invite.header('CSeq') ?? ''}`,
        ]),
      );
    }
    application.expectNothing();
    assert.equal(lab.engine.stats().counters.refusals['misroutedResponse'], 4);
    bob.respond(invite, '180 Ringing');
    application.expect('sip', /180/);
    bob.respond(invite, '486 Busy Here');
    bob.expect(/^ACK/);
    lab.assertIdle();
  });

  it('survives a flow of responses that nobody asked for, in any order', () => {
    const sent = application.command('sip||', INVITE);
    const invite = bob.expect();
    bob.respond(invite, '200 OK', CONTACT, SDP);
    bob.respond(invite, '180 Ringing', CONTACT);
    bob.respond(invite, '486 Busy Here');
    application.expect('sip', /200/);
    application.expectNothing();
    assert.ok(sent);
    application.command(`sip||${dialogIdOf(invite)}`, `ACK ${URI} SIP/2.0\r\n\r\n`);
    bob.forget();
    bye(dialogIdOf(invite));
    lab.assertIdle();
  });
});
