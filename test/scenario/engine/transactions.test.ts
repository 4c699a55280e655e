import assert from 'node:assert/strict';
import { EngineLab, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP } from '../../support/sip-texts.ts';

describe('engine: requests from the network', () => {
  let lab: EngineLab;
  let phone: LabPeer;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
  });

  it('absorbs repetitions until the application answers, then repeats the answer', () => {
    const application = lab.application('message');
    const message = requestFrom(phone, 'MESSAGE');
    phone.send(message);
    phone.send(message);
    const report = application.expect('sip', /^MESSAGE/);
    application.expectNothing();
    phone.expectNothing();
    application.respond(report.fields[8] ?? '', '200 OK');
    const first = phone.expect(/^200/);
    phone.send(message);
    assert.deepEqual(phone.expect(/^200/).bytes, first.bytes);
    application.expectNothing();
    lab.assertIdle();
  });

  it('sends 100 for a slow request other than INVITE only when its sender repeats at T2 (RFC 4320 §4.1)', () => {
    lab.application('message');
    phone.send(requestFrom(phone, 'MESSAGE'));
    lab.advance(3_400);
    phone.expectNothing();
    lab.advance(200);
    phone.expect(/^100/);
  });

  it('answers 100 to an INVITE at once, and repeats it', () => {
    lab.application('invite');
    const invite = requestFrom(phone, 'INVITE', { body: SDP });
    phone.send(invite);
    phone.expect(/^100/);
    phone.send(invite);
    phone.expect(/^100/);
  });

  it('repeats a refusal until the ACK, which it keeps to itself (RFC 3261 §17.2.1)', () => {
    const application = lab.application('invite');
    const branch = newBranch();
    phone.send(requestFrom(phone, 'INVITE', { branch, body: SDP }));
    const report = application.expect('sip', /^INVITE/);
    application.respond(report.fields[8] ?? '', '486 Busy Here');
    phone.expect(/^100/);
    const toTag = phone.expect(/^486/).toTag;
    lab.advance(1_600);
    assert.equal(phone.received.length, 2);
    phone.send(requestFrom(phone, 'ACK', { branch, toTag, contact: undefined }));
    phone.forget();
    lab.advance(20_000);
    phone.expectNothing();
    application.expectNothing();
    lab.assertIdle();
  });

  it('gives up a refusal that is never acknowledged', () => {
    const application = lab.application('invite');
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '404 Not Found');
    lab.assertIdle();
  });

  it('answers 482 to a copy that came another way (RFC 3261 §8.2.2.2)', () => {
    const application = lab.application('message');
    phone.send(requestFrom(phone, 'MESSAGE'));
    phone.send(requestFrom(phone, 'MESSAGE'));
    phone.expect(/^482/);
    application.expect('sip');
    application.expectNothing();
  });

  it('answers 483 when no hops are left, but takes REGISTER and OPTIONS', () => {
    const application = lab.application('invite', 'message', 'register', 'options');
    phone.send(requestFrom(phone, 'INVITE', { maxForwards: 0, body: SDP }));
    phone.expect(/^483/);
    phone.send(requestFrom(phone, 'MESSAGE', { maxForwards: 0 }));
    phone.expect(/^483/);
    application.expectNothing();
    phone.send(requestFrom(phone, 'OPTIONS', { maxForwards: 0 }));
    application.expect('sip', /^OPTIONS/);
  });

  it('answers 481 to BYE, UPDATE, PRACK and CANCEL that fit nothing', () => {
    const application = lab.application('bye', 'update', 'prack', 'invite');
    for (const method of ['BYE', 'UPDATE', 'PRACK', 'CANCEL']) {
      phone.send(requestFrom(phone, method));
      phone.expect(/^481/);
      phone.send(requestFrom(phone, method, { toTag: 'unknown' }));
      phone.expect(/^481/);
    }
    application.expectNothing();
    lab.assertIdle();
  });

  it('answers 481 to an INVITE with the tag of a dialog that is gone', () => {
    lab.application('invite');
    phone.send(requestFrom(phone, 'INVITE', { toTag: 'gone', body: SDP }));
    phone.expect(/^481/);
    lab.assertIdle();
  });

  it('hands REFER outside dialogs, and other methods with a stale tag, to applications', () => {
    const application = lab.application('refer', 'message');
    phone.send(requestFrom(phone, 'REFER', { headers: ['Refer-To: <sip:carol@example.test>'] }));
    application.expect('sip', /^REFER/);
    phone.send(requestFrom(phone, 'MESSAGE', { toTag: 'stale' }));
    application.expect('sip', /^MESSAGE/);
  });

  it('answers 501 with Allow to methods that nobody knows, unless an application does', () => {
    const application = lab.application('dance');
    phone.send(requestFrom(phone, 'JUMP'));
    assert.match(phone.expect(/^501/).header('Allow') ?? '', /INVITE/);
    phone.send(requestFrom(phone, 'DANCE'));
    application.expect('sip', /^DANCE/);
  });

  it('answers 416 to a Request-URI that it cannot mean anything by', () => {
    lab.application('message');
    phone.send(requestFrom(phone, 'MESSAGE', { uri: 'mailto:bob@example.test' }));
    phone.expect(/^416/);
  });

  it('says nothing to a stray ACK', () => {
    lab.application('invite');
    phone.send(requestFrom(phone, 'ACK'));
    phone.send(requestFrom(phone, 'ACK', { toTag: 'x' }));
    phone.expectNothing();
    lab.assertIdle();
  });

  it('answers 400 to what it can answer, drops the rest, and counts both', () => {
    const application = lab.application('message', 'invite');
    const whole = requestFrom(phone, 'MESSAGE').toString();
    phone.send(Buffer.from(whole.replace(/CSeq: 1 MESSAGE/, 'CSeq: 1 INVITE')));
    phone.expect(/^400/);
    phone.send(Buffer.from(whole.replace(/Via: .*\r\n/, '')));
    phone.send(Buffer.from('hello, is anybody there?\r\n\r\n'));
    phone.send(Buffer.alloc(2_000, 0x41));
    phone.send(Buffer.of(0, 0, 0, 0));
    phone.send(Buffer.from('\r\n\r\n'));
    phone.expectNothing();
    application.expectNothing();
    const { refusals } = lab.engine.stats().counters;
    assert.equal(refusals['malformedRequest'], 2);
    assert.equal(refusals['garbage'], 2);
    lab.assertIdle();
  });

  it('answers 400 to an INVITE or SUBSCRIBE without a Contact that it could use', () => {
    lab.application('invite', 'subscribe');
    phone.send(requestFrom(phone, 'INVITE', { contact: undefined, body: SDP }));
    phone.expect(/^400/);
    phone.send(requestFrom(phone, 'SUBSCRIBE', { contact: '<tel:+4930123>' }));
    phone.expect(/^400/);
  });

  it('answers where the request came from, whatever Via says (RFC 3581)', () => {
    const application = lab.application('message');
    const text = requestFrom(phone, 'MESSAGE')
      .toString()
      .replace('127.0.0.1:5090', '10.9.8.7:4444');
    phone.send(Buffer.from(text));
    const report = application.expect('sip');
    assert.match(
      report.sip?.header('Via') ?? '',
      /10\.9\.8\.7:4444.*rport=5090.*received=127\.0\.0\.1/,
    );
    application.respond(report.fields[8] ?? '', '200 OK');
    assert.match(phone.expect(/^200/).header('Via') ?? '', /rport=5090/);
  });

  it('works over IPv6', () => {
    const application = lab.application('message');
    const six = lab.udpPeer(5090, '::1');
    six.send(requestFrom(six, 'MESSAGE'));
    const report = application.expect('sip');
    assert.deepEqual(report.fields.slice(4, 7), ['udp', '::1', '5090']);
    application.respond(report.fields[8] ?? '', '200 OK');
    six.expect(/^200/);
    const sent = application.command(
      'sip||',
      'OPTIONS sip:x@[0:0:0:0:0:0:0:1]:5090 SIP/2.0\r\nFrom: <sip:app@localhost>\r\n\r\n',
    );
    assert.equal(sent.fields[3], 'OK');
    const options = six.expect(/^OPTIONS/);
    assert.equal(options.topVia().host, '::1');
    assert.equal(options.from().uriText, 'sip:app@[::1]:5060');
    six.respond(options, '200 OK');
    lab.assertIdle();
  });

  it('refuses for an application that stays silent: 408 to INVITE after 64 s, 503 to others in time', () => {
    const application = lab.application('invite', 'message');
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'm' }));
    phone.send(requestFrom(phone, 'INVITE', { callId: 'i', body: SDP }));
    phone.expect(/^100/);
    phone.forget();
    lab.advance(31_000);
    assert.equal(phone.received.at(-1)?.statusCode, 503);
    phone.forget();
    lab.advance(32_900);
    phone.expectNothing();
    lab.advance(200);
    phone.expect(/^408/);
    const [message, invite] = [application.next(), application.next()];
    for (const report of [message, invite]) {
      const late = application.respond(report.fields[8] ?? '', '200 OK');
      assert.deepEqual(late.fields.slice(3), [
        'NOK',
        'Response not sent due to unknown transaction',
      ]);
    }
    lab.assertIdle();
  });

  it('keeps a body of 60 kB and bytes that are no text as they are', () => {
    const application = lab.application('message');
    const tcp = lab.streamPeer(40_000);
    const body = Buffer.alloc(60_000, Buffer.from([0, 255, 128, 13, 10, 200]));
    tcp.send(requestFrom(tcp, 'MESSAGE', { headers: ['Content-Type: application/x'], body }));
    const report = application.expect('sip');
    assert.ok(report.sip?.body.equals(body));
  });

  it('takes the body of an application as it is, whatever its Content-Length says', () => {
    const application = lab.application();
    const text =
      'MESSAGE sip:bob@127.0.0.1:5090 SIP/2.0\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nhéllo – wörld';
    application.command('sip||', text);
    const message = phone.expect(/^MESSAGE/);
    assert.equal(message.body.toString('utf8'), 'héllo – wörld');
    assert.equal(message.contentLength, 17);
  });
});
