import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP, type RequestFields } from '../../support/sip-texts.ts';

const CONTACT_OF_PHONE = 'Contact: <sip:alice@127.0.0.1:5090>';
const DIALOG = 'call-1;from-tag=alice1';

describe('engine: calls that come in', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    application = lab.application('invite', 'message');
  });

  function invite(fields: RequestFields = {}): string {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP, ...fields }));
    phone.expect(/^100/);
    return application.expect('sip', /^INVITE/).fields[8] ?? '';
  }

  /** Answers the INVITE and acknowledges; gives our tag. */
  function establish(fields: RequestFields = {}): string {
    const transactionId = invite(fields);
    application.respond(transactionId, '200 OK', ['Content-Type: application/sdp'], SDP);
    const toTag = phone.expect(/^200/).toTag ?? '';
    phone.send(requestFrom(phone, 'ACK', { ...fields, toTag, body: '', branch: newBranch() }));
    application.expect('sip', /^ACK/);
    return toTag;
  }

  function hangUp(toTag: string, sequence = 2): void {
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence, contact: undefined }));
    const bye = application.expect('sip', /^BYE/);
    application.respond(bye.fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
  }

  it('tells the application of the first ACK only, with the id of the INVITE', () => {
    const transactionId = invite();
    application.respond(transactionId, '200 OK', [], SDP);
    const toTag = phone.expect(/^200/).toTag;
    const ack = requestFrom(phone, 'ACK', { toTag });
    phone.send(ack);
    phone.send(ack);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    const report = application.expect('sip', /^ACK/);
    assert.deepEqual(report.fields.slice(8, 10), [transactionId, DIALOG]);
    application.expectNothing();
    lab.advance(40_000);
    phone.expectNothing();
    hangUp(toTag ?? '');
    lab.assertIdle();
  });

  it('repeats the 2xx at T1, doubling up to T2, and hangs up after 32 s without ACK', () => {
    application.respond(invite(), '200 OK', [], SDP);
    const times: number[] = [];
    for (let at = 0; at < 32_500; at += 100) {
      const before = phone.received.length;
      lab.advance(100);
      if (phone.received.length > before) times.push(at + 100);
    }
    assert.deepEqual(
      times,
      [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500, 32_000, 32_500],
    );
    const bye = phone.received.find(({ method }) => method === 'BYE');
    assert.match(bye?.header('Reason') ?? '', /text="ACK timeout"/);
    const report = application.expect('sip', /^BYE/);
    assert.deepEqual(report.fields.slice(2, 3), ['application']);
    assert.deepEqual(report.fields.slice(8, 10), ['unsolicited', DIALOG]);
    assert.ok(bye);
    phone.respond(bye, '200 OK');
    lab.assertIdle();
  });

  it('does not repeat a 2xx on a connection without proxies, but hangs up all the same', () => {
    const tcp = lab.streamPeer(40_001);
    tcp.send(requestFrom(tcp, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '200 OK', [], SDP);
    tcp.forget();
    lab.advance(31_900);
    tcp.expectNothing();
    lab.advance(200);
    tcp.respond(tcp.expect(/^BYE/), '200 OK');
    application.expect('sip', /^BYE/);
    lab.assertIdle();
  });

  it('says each minute that it still rings, so that no proxy gives it up (RFC 3261 §13.3.1.1)', () => {
    const transactionId = invite();
    lab.advance(50_000);
    phone.expectNothing();
    application.respond(transactionId, '180 Ringing');
    lab.advance(30_000);
    application.respond(transactionId, '183 Session Progress', [], SDP);
    phone.forget();
    lab.advance(59_900);
    phone.expectNothing();
    lab.advance(200);
    const progress = phone.expect(/^183/);
    assert.equal(progress.body.toString(), SDP);
    lab.advance(120_000);
    assert.deepEqual(
      [phone.expect(/^183/).bytes, phone.expect(/^183/).bytes],
      [progress.bytes, progress.bytes],
    );
    application.expectNothing();
    application.respond(transactionId, '486 Busy Here');
    phone.forget();
    lab.assertIdle();
  });

  it('gives one tag to all answers, or the one that the application chooses', () => {
    const transactionId = invite();
    application.respond(transactionId, '180 Ringing', ['To: <sip:bob@example.test>;tag=chosen']);
    assert.equal(phone.expect(/^180/).toTag, 'chosen');
    application.respond(transactionId, '183 Session Progress', ['To: <sip:x@y>;tag=other']);
    assert.equal(phone.expect(/^183/).toTag, 'chosen');
    application.respond(transactionId, '486 Busy Here');
    const busy = phone.expect(/^486/);
    assert.equal(busy.toTag, 'chosen');
    assert.equal(busy.has('Contact'), false);
    lab.assertIdle();
  });

  it('refuses a second final answer, and one to a transaction that nobody knows', () => {
    const transactionId = invite();
    application.respond(transactionId, '486 Busy Here');
    for (const id of [transactionId, 'nonsense']) {
      assert.deepEqual(application.respond(id, '200 OK').fields.slice(3), [
        'NOK',
        'Response not sent due to unknown transaction',
      ]);
    }
    lab.assertIdle();
  });

  it('refuses answers that are none', () => {
    const transactionId = invite();
    for (const status of ['099 Nothing', '700 Much']) {
      assert.deepEqual(application.respond(transactionId, status).fields[3], 'NOK');
    }
    application.respond(transactionId, '603 Decline');
    phone.expect(/^603/);
    lab.assertIdle();
  });

  it('adds Contact to a 2xx but not to an unreliable 1xx, and fills in localhost', () => {
    const transactionId = invite();
    application.respond(transactionId, '180 Ringing');
    assert.equal(phone.expect(/^180/).has('Contact'), false);
    const sent = application.respond(
      transactionId,
      '200 OK',
      ['Contact: <sip:bob@localhost;user=phone>'],
      SDP,
    );
    assert.equal(phone.expect(/^200/).header('Contact'), '<sip:bob@127.0.0.1:5060;user=phone>');
    assert.equal(sent.sip?.header('Contact'), '<sip:bob@127.0.0.1:5060;user=phone>');
    phone.forget();
  });

  it('names its own address and transport on a connection', () => {
    const tcp = lab.streamPeer(40_002);
    tcp.send(requestFrom(tcp, 'INVITE', { body: SDP }));
    const id = application.next().fields[8] ?? '';
    application.respond(id, '200 OK', ['Contact: <sip:bob@localhost>'], SDP);
    tcp.expect(/^100/);
    assert.equal(tcp.expect(/^200/).header('Contact'), '<sip:bob@127.0.0.1:5060;transport=tcp>');
  });

  it('copies Record-Route, and sends requests of the dialog along it in order', () => {
    const headers = ['Record-Route: <sip:127.0.0.1:5092;lr>, <sip:10.0.0.9;lr>'];
    const proxy = lab.udpPeer(5092);
    const transactionId = invite({ headers });
    application.respond(transactionId, '200 OK', [], SDP);
    const ok = phone.expect(/^200/);
    assert.equal(ok.header('Record-Route'), '<sip:127.0.0.1:5092;lr>, <sip:10.0.0.9;lr>');
    phone.send(requestFrom(phone, 'ACK', { toTag: ok.toTag }));
    application.expect('sip', /^ACK/);
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    const bye = proxy.expect(/^BYE sip:alice@127.0.0.1:5090/);
    assert.deepEqual(bye.headerValues('Route'), ['<sip:127.0.0.1:5092;lr>', '<sip:10.0.0.9;lr>']);
    assert.equal(bye.cseq.sequence, 2);
    proxy.respond(bye, '200 OK');
    lab.assertIdle();
  });

  it('puts a strict router into the Request-URI (RFC 3261 §12.2.1.1)', () => {
    const proxy = lab.udpPeer(5092);
    const headers = ['Record-Route: <sip:127.0.0.1:5092>'];
    const transactionId = invite({ headers });
    application.respond(transactionId, '200 OK', [], SDP);
    phone.send(requestFrom(phone, 'ACK', { toTag: phone.expect(/^200/).toTag }));
    application.expect('sip', /^ACK/);
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    const bye = proxy.expect(/^BYE sip:127.0.0.1:5092/);
    assert.equal(bye.header('Route'), '<sip:alice@127.0.0.1:5090>');
    proxy.respond(bye, '200 OK');
    lab.assertIdle();
  });

  it('follows the remote target that a re-INVITE gives (RFC 3261 §12.2.2)', () => {
    const toTag = establish();
    const elsewhere = lab.udpPeer(5095);
    const contact = '<sip:alice@127.0.0.1:5095>';
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, contact, body: SDP }));
    phone.expect(/^100/);
    const reinvite = application.expect('sip', /^INVITE/);
    assert.equal(reinvite.fields[9], DIALOG);
    application.respond(reinvite.fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag, sequence: 2 }));
    application.expect('sip', /^ACK/);
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    const bye = elsewhere.expect(/^BYE sip:alice@127.0.0.1:5095/);
    elsewhere.respond(bye, '200 OK');
    lab.assertIdle();
  });

  it('repeats the 2xx to a re-INVITE until its ACK, and hangs up without one (RFC 3261 §14.2)', () => {
    const toTag = establish();
    const reinvite = (sequence: number): void => {
      phone.send(requestFrom(phone, 'INVITE', { toTag, sequence, body: SDP }));
      phone.expect(/^100/);
      const id = application.expect('sip', /^INVITE/).fields[8] ?? '';
      application.respond(id, '200 OK', [], SDP);
      phone.expect(/^200/);
    };
    reinvite(2);
    lab.advance(600);
    phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag, sequence: 1 }));
    lab.advance(1_000);
    phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag, sequence: 2 }));
    application.expect('sip', /^ACK/);
    lab.advance(10_000);
    phone.expectNothing();
    reinvite(3);
    lab.advance(32_100);
    const bye = phone.received.find(({ method }) => method === 'BYE');
    assert.ok(bye);
    phone.forget();
    phone.respond(bye, '200 OK');
    application.expect('sip', /^BYE/);
    lab.assertIdle();
  });

  it('keeps the remote target when the re-INVITE is refused', () => {
    const toTag = establish();
    const contact = '<sip:alice@127.0.0.1:5095>';
    const branch = newBranch();
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, contact, branch, body: SDP }));
    application.respond(application.next().fields[8] ?? '', '488 Not Acceptable Here');
    phone.forget();
    phone.send(requestFrom(phone, 'ACK', { toTag, sequence: 2, branch }));
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    phone.respond(phone.expect(/^BYE sip:alice@127.0.0.1:5090/), '200 OK');
    lab.assertIdle();
  });

  it('answers 500 to requests out of order (RFC 3261 §12.2.2)', () => {
    const toTag = establish({ sequence: 10 });
    phone.send(requestFrom(phone, 'MESSAGE', { toTag, sequence: 9 }));
    phone.expect(/^500/);
    application.expectNothing();
    hangUp(toTag, 11);
    lab.assertIdle();
  });

  it('answers 491 while an INVITE of ours is open, and 500 with Retry-After while one of theirs is', () => {
    const toTag = establish();
    application.command(
      `sip||${DIALOG}`,
      `INVITE sip:placeholder SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n${SDP}`,
    );
    const ours = phone.expect(/^INVITE/);
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, body: SDP }));
    phone.expect(/^491/);
    phone.respond(ours, '200 OK', [CONTACT_OF_PHONE], SDP);
    application.expect('sip', /200/);
    application.command(`sip||${DIALOG}`, 'ACK sip:placeholder SIP/2.0\r\n\r\n');
    phone.expect(/^ACK/);
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 3, body: SDP }));
    phone.expect(/^100/);
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 4, body: SDP }));
    assert.match(phone.expect(/^500/).header('Retry-After') ?? '', /^\d+$/);
    const glare = application.command(
      `sip||${DIALOG}`,
      `INVITE sip:placeholder SIP/2.0\r\n\r\n${SDP}`,
    );
    assert.equal(glare.fields[3], 'OK');
    application.expect('sip', /^INVITE/);
    lab.advance(10);
    const refusal = application.expect('sip', /491/);
    assert.equal(refusal.fields[8], glare.fields[10]);
    phone.forget();
  });

  it('sends a refresh of its own numbering after that of the INVITE, and answers for the dialog', () => {
    const toTag = establish({ sequence: 7 });
    application.command(
      `sip||${DIALOG}`,
      'INFO sip:placeholder SIP/2.0\r\nContent-Type: a/b\r\n\r\nx',
    );
    const info = phone.expect(/^INFO sip:alice@127.0.0.1:5090/);
    assert.equal(info.cseq.sequence, 8);
    assert.equal(info.fromTag, toTag);
    assert.equal(info.toTag, 'alice1');
    phone.respond(info, '200 OK');
    assert.equal(application.expect('sip', /200/).fields[9], DIALOG);
    hangUp(toTag, 8);
    lab.assertIdle();
  });

  it('sends requests of a dialog to where a phone behind a NAT speaks from, URI unchanged', () => {
    const contact = '<sip:alice@10.1.2.3:5060>';
    establish({ contact });
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    const bye = phone.expect(/^BYE sip:alice@10.1.2.3:5060/);
    phone.respond(bye, '200 OK');
    lab.assertIdle();
  });

  it('follows a phone whose NAT gives it another port', () => {
    const toTag = establish({ contact: '<sip:alice@10.1.2.3:5060>' });
    const moved = lab.udpPeer(5099);
    moved.send(requestFrom(moved, 'MESSAGE', { toTag, sequence: 2 }));
    application.respond(application.expect('sip', /^MESSAGE/).fields[8] ?? '', '200 OK');
    moved.expect(/^200/);
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    moved.respond(moved.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('answers a CANCEL, then 487 to the INVITE, and tells the application with the same id', () => {
    const branch = newBranch();
    const transactionId = invite({ branch });
    phone.send(requestFrom(phone, 'CANCEL', { branch, contact: undefined }));
    const [ok, terminated] = [phone.expect(/^200/), phone.expect(/^487/)];
    assert.equal(ok.toTag, terminated.toTag);
    const report = application.expect('sip', /^CANCEL/);
    assert.deepEqual(report.fields.slice(8), [transactionId, '', '']);
    const late = application.respond(transactionId, '487 Request Terminated');
    assert.equal(late.fields[3], 'NOK');
    phone.send(requestFrom(phone, 'ACK', { branch, toTag: terminated.toTag }));
    application.expectNothing();
    lab.assertIdle();
  });

  it('matches a CANCEL by its branch, not by Call-ID alone', () => {
    const transactionId = invite();
    phone.send(requestFrom(phone, 'CANCEL', { contact: undefined }));
    phone.expect(/^481/);
    application.expectNothing();
    application.respond(transactionId, '486 Busy Here');
    phone.expect(/^486/);
    lab.assertIdle();
  });

  it('answers a CANCEL that comes too late with 200 and changes nothing (RFC 3261 §9.2)', () => {
    const branch = newBranch();
    const transactionId = invite({ branch });
    application.respond(transactionId, '200 OK', [], SDP);
    const toTag = phone.expect(/^200/).toTag ?? '';
    phone.send(requestFrom(phone, 'CANCEL', { branch, contact: undefined }));
    phone.expect(/^200/);
    phone.expectNothing();
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    application.expectNothing();
    hangUp(toTag);
    lab.assertIdle();
  });

  it('refuses a second INVITE with the Call-ID and tag of one that is open, and of a dialog', () => {
    const transactionId = invite();
    phone.send(requestFrom(phone, 'INVITE', { sequence: 2, body: SDP }));
    phone.expect(/^491/);
    application.respond(transactionId, '200 OK', [], SDP);
    const toTag = phone.expect(/^200/).toTag ?? '';
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    phone.send(requestFrom(phone, 'INVITE', { sequence: 3, body: SDP }));
    phone.expect(/^480/);
    hangUp(toTag, 4);
    lab.assertIdle();
  });

  it('takes a challenged INVITE again with the next number', () => {
    const branch = newBranch();
    const first = invite({ branch });
    const challenge =
      'WWW-Authenticate: Digest realm="a", nonce="b", algorithm=SHA-256,Digest realm="a", nonce="b"';
    application.respond(first, '401 Unauthorized', [challenge]);
    const refusal = phone.expect(/^401/);
    assert.match(refusal.header('WWW-Authenticate') ?? '', /SHA-256,Digest realm/);
    phone.send(requestFrom(phone, 'ACK', { branch, toTag: refusal.toTag }));
    phone.send(requestFrom(phone, 'INVITE', { sequence: 2, body: SDP }));
    application.respond(application.expect('sip', /^INVITE/).fields[8] ?? '', '603 Decline');
    phone.forget();
    lab.assertIdle();
  });

  it('ends the dialog at once with a BYE, and answers it even if the application does not', () => {
    const toTag = establish();
    const bye = requestFrom(phone, 'BYE', { toTag, sequence: 2, contact: undefined });
    phone.send(bye);
    assert.equal(application.expect('sip', /^BYE/).fields[9], DIALOG);
    assert.equal(lab.engine.stats().dialogs, 0);
    lab.advance(31_000);
    assert.equal(phone.received.at(-1)?.statusCode, 200);
    phone.forget();
    lab.assertIdle();
  });

  it('refuses an open re-INVITE when the dialog ends', () => {
    const toTag = establish();
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, body: SDP }));
    phone.expect(/^100/);
    application.expect('sip', /^INVITE/);
    hangUpOver(toTag);
    lab.assertIdle();
  });

  function hangUpOver(toTag: string): void {
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 3, contact: undefined }));
    phone.expect(/^487/);
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
  }

  it('answers 487 to the INVITE when the caller hangs up before the answer', () => {
    const transactionId = invite();
    application.respond(transactionId, '180 Ringing');
    const toTag = phone.expect(/^180/).toTag;
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2, contact: undefined }));
    phone.expect(/^487/);
    const bye = application.expect('sip', /^BYE/);
    application.respond(bye.fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.assertIdle();
  });

  it('reports a BYE of the application, whose answer ends the dialog', () => {
    const toTag = establish();
    const sent = application.command(
      `sip||${DIALOG}`,
      'BYE sip:placeholder SIP/2.0\r\nReason: SIP;cause=480;text="gone"\r\n\r\n',
    );
    const bye = phone.expect(/^BYE/);
    assert.equal(bye.header('Reason'), 'SIP;cause=480;text="gone"');
    assert.equal(lab.engine.stats().dialogs, 1);
    phone.respond(bye, '200 OK');
    assert.equal(application.expect('sip', /200/).fields[8], sent.fields[10]);
    assert.equal(lab.engine.stats().dialogs, 0);
    phone.send(requestFrom(phone, 'MESSAGE', { toTag, sequence: 2 }));
    application.expect('sip', /^MESSAGE/);
    const gone = application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    assert.deepEqual(gone.fields.slice(3), [
      'NOK',
      'Server error: unable to find dialog for dialog id provided',
    ]);
  });

  it('keeps the dialog when a BYE is challenged, and ends it when nobody answers', () => {
    establish();
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    phone.respond(phone.expect(/^BYE/), '401 Unauthorized');
    application.expect('sip', /401/);
    application.command(`sip||${DIALOG}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    lab.advance(32_100);
    application.expect('sip', /408/);
    phone.forget();
    lab.assertIdle();
  });

  it('passes an UPDATE before the answer under the id of the INVITE, and tells the answers apart', () => {
    const transactionId = invite();
    application.respond(transactionId, '183 Session Progress');
    const toTag = phone.expect(/^183/).toTag;
    phone.send(requestFrom(phone, 'UPDATE', { toTag, sequence: 2, body: SDP }));
    const update = application.expect('sip', /^UPDATE/);
    assert.equal(update.fields[8], transactionId);
    application.respond(transactionId, '200 OK', ['cseq: 2 UPDATE'], SDP);
    assert.equal(phone.expect(/^200/).cseq.method, 'UPDATE');
    application.respond(transactionId, '200 OK', ['cseq: 1 INVITE'], SDP);
    assert.equal(phone.expect(/^200/).cseq.method, 'INVITE');
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    hangUp(toTag ?? '', 3);
    lab.assertIdle();
  });

  it('makes no difference whether the other side puts all Vias in one line', () => {
    const upstream =
      'SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKup, SIP/2.0/TCP 10.0.0.2;branch=z9hG4bKup2';
    const transactionId = invite({ vias: [upstream] });
    application.respond(transactionId, '486 Busy Here');
    const busy: SipMessage = phone.expect(/^486/);
    assert.equal(busy.headerValues('Via').length, 3);
    assert.match(busy.headerValues('Via')[2] ?? '', /10\.0\.0\.2/);
    lab.assertIdle();
  });

  it('says so when the connection of the answer has closed', () => {
    const tcp = lab.streamPeer(40_003);
    tcp.send(requestFrom(tcp, 'MESSAGE'));
    const id = application.expect('sip').fields[8] ?? '';
    tcp.close();
    assert.deepEqual(application.respond(id, '200 OK').fields.slice(3), [
      'NOK',
      'transport for response has been shutdown or closed',
    ]);
    lab.assertIdle();
  });
});
