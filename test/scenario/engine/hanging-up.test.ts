import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP } from '../../support/sip-texts.ts';

const DIALOG = 'call-1;from-tag=alice1';
const BYE = 'BYE sip:placeholder SIP/2.0\r\nReason: SIP;cause=200;text="enough"\r\n\r\n';

/** RFC 3261 section 15: who was called may not hang up before the ACK. */
describe('engine: hanging up before the caller has acknowledged', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let application: LabApplication;
  let toTag: string;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    application = lab.application('invite');
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    phone.expect(/^100/);
    const id = application.expect('sip', /^INVITE/).fields[8] ?? '';
    application.respond(id, '200 OK', [], SDP);
    toTag = phone.expect(/^200/).toTag ?? '';
  });

  function acknowledge(): void {
    phone.send(requestFrom(phone, 'ACK', { toTag }));
  }

  it('is told OK at once, and goes out as soon as the ACK is there', () => {
    const sent = application.command(`sip||${DIALOG}`, BYE);
    assert.deepEqual(sent.fields.slice(3, 6), ['OK', 'application', '0']);
    assert.match(sent.text, /\r\nBYE sip:alice@127\.0\.0\.1:5090 SIP\/2\.0\r\n/);
    lab.advance(600);
    phone.expect(/^200/);
    phone.expectNothing();
    acknowledge();
    const bye = phone.expect(/^BYE sip:alice@127.0.0.1:5090/);
    assert.equal(bye.header('Reason'), 'SIP;cause=200;text="enough"');
    application.expect('sip', /^ACK/);
    phone.respond(bye, '200 OK');
    const answer = application.expect('sip', /200/);
    assert.deepEqual(answer.fields.slice(8, 10), [sent.fields[10], DIALOG]);
    assert.equal(lab.engine.stats().dialogs, 0);
    lab.assertIdle();
  });

  it('goes out at the end of 64·T1 when no ACK comes, and no second BYE with it', () => {
    application.command(`sip||${DIALOG}`, BYE);
    lab.advance(31_900);
    assert.ok(phone.received.every(({ statusCode }) => statusCode === 200));
    phone.forget();
    lab.advance(200);
    const bye = phone.expect(/^BYE/);
    assert.equal(bye.header('Reason'), 'SIP;cause=200;text="enough"');
    phone.expectNothing();
    phone.respond(bye, '200 OK');
    application.expect('sip', /200/);
    application.expectNothing();
    lab.assertIdle();
  });

  it('has an end when the caller hangs up meanwhile: 481, as the caller would say', () => {
    const sent = application.command(`sip||${DIALOG}`, BYE);
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2 }));
    const answer = application.expect('sip', /481/);
    assert.deepEqual(answer.fields.slice(8, 10), [sent.fields[10], DIALOG]);
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    acknowledge();
    phone.expectNothing();
    lab.assertIdle();
  });

  it('waits as well when the application is gone, with or without its own BYE', () => {
    for (const withBye of [false, true]) {
      const other = new EngineLab();
      const caller = other.udpPeer(5090);
      const app = other.application('invite');
      caller.send(requestFrom(caller, 'INVITE', { body: SDP }));
      app.respond(app.next().fields[8] ?? '', '200 OK', [], SDP);
      caller.expect(/^100/);
      const tag = caller.expect(/^200/).toTag;
      if (withBye) app.command(`sip||${DIALOG}`, BYE);
      app.close();
      caller.expectNothing();
      caller.send(requestFrom(caller, 'ACK', { toTag: tag }));
      const bye = caller.expect(/^BYE/);
      assert.match(bye.header('Reason') ?? '', withBye ? /enough/ : /cause=503/);
      caller.expectNothing();
      caller.respond(bye, '200 OK');
      other.assertIdle();
    }
  });

  it('is over when a BYE of an application that is gone is challenged', () => {
    acknowledge();
    application.command(`sip||${DIALOG}`, BYE);
    application.close();
    const bye = phone.expect(/^BYE/);
    phone.expectNothing();
    phone.respond(bye, '401 Unauthorized');
    assert.equal(lab.engine.stats().dialogs, 0);
    lab.assertIdle();
  });

  it('does not wait for the ACK of a re-INVITE: the caller is known to be in the call', () => {
    acknowledge();
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, body: SDP }));
    phone.expect(/^100/);
    application.expect('sip', /^ACK/);
    application.respond(application.expect('sip', /^INVITE/).fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^200/);
    application.command(`sip||${DIALOG}`, BYE);
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('stops waiting when the caller sends another INVITE, which shows that it has the answer', () => {
    application.command(`sip||${DIALOG}`, BYE);
    phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, body: SDP }));
    phone.expect(/^100/);
    application.respond(application.expect('sip', /^INVITE/).fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^200/);
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('is no way to refuse a call that still rings', () => {
    const branch = newBranch();
    phone.send(requestFrom(phone, 'INVITE', { callId: 'rings', branch, body: SDP }));
    const id = application.expect('sip', /^INVITE/).fields[8] ?? '';
    application.respond(id, '180 Ringing');
    phone.forget();
    const refused = application.command('sip||rings;from-tag=alice1', BYE);
    assert.deepEqual(refused.fields.slice(3), [
      'NOK',
      'Server error: unable to find dialog for dialog id provided',
    ]);
    phone.expectNothing();
    application.respond(id, '486 Busy Here');
    phone.expect(/^486/);
  });
});
