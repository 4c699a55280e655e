import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

const DIALOG = 'sip||call-1;from-tag=alice1';
const CONTACT = ['Contact: <sip:alice@127.0.0.1:5090>'];

describe('engine: session timers (RFC 4028)', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    application = lab.application('invite');
  });

  /** A call in, asked and answered with these headers; gives the 200 that the phone got. */
  function establish(asked: readonly string[], answered: readonly string[] = []): string {
    phone.send(requestFrom(phone, 'INVITE', { headers: asked, body: SDP }));
    const id = application.expect('sip', /^INVITE/).fields[8] ?? '';
    application.respond(id, '200 OK', ['Content-Type: application/sdp', ...answered], SDP);
    phone.expect(/^100/);
    const ok = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag: ok.toTag }));
    application.expect('sip', /^ACK/);
    sessionExpires = ok.header('Session-Expires');
    require = ok.header('Require');
    return ok.toTag ?? '';
  }

  let sessionExpires: string | undefined;
  let require: string | undefined;

  function end(): void {
    application.command(DIALOG, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  }

  it('echo what the caller asked for, at least 90 s, when it names who refreshes', () => {
    establish(['Supported: timer', 'Session-Expires: 60;refresher=uac']);
    assert.equal(sessionExpires, '90;refresher=uac');
    assert.equal(require, 'timer');
    end();
  });

  it('are not promised to a caller that names no refresher, nor to one that asks for none', () => {
    establish(['Supported: timer', 'Session-Expires: 200']);
    assert.equal(sessionExpires, undefined);
    end();
    assert.equal(lab.engine.stats().sessionTimers, 0);
  });

  it('are refreshed by us at half time with the last session description, unseen by the application', () => {
    establish(['Supported: timer', 'Session-Expires: 100;refresher=uas']);
    for (let round = 0; round < 3; round += 1) {
      lab.advance(49_000);
      phone.expectNothing();
      lab.advance(1_100);
      const refresh = phone.expect(/^INVITE sip:alice@127.0.0.1:5090/);
      assert.equal(refresh.body.toString(), SDP);
      assert.equal(refresh.header('Session-Expires'), '100;refresher=uac');
      assert.equal(refresh.cseq.sequence, 2 + round);
      phone.respond(refresh, '200 OK', [...CONTACT, 'Session-Expires: 100;refresher=uac'], SDP);
      assert.equal(phone.expect(/^ACK/).cseq.sequence, 2 + round);
      phone.respond(refresh, '200 OK', CONTACT, SDP);
      phone.expect(/^ACK/);
      application.expectNothing();
    }
    end();
  });

  it('end the call when the other side does not refresh', () => {
    establish(['Supported: timer', 'Session-Expires: 90;refresher=uac']);
    lab.advance(89_900);
    phone.expectNothing();
    lab.advance(200);
    const bye = phone.expect(/^BYE/);
    assert.match(bye.header('Reason') ?? '', /text="Session timer expired"/);
    phone.respond(bye, '200 OK');
    assert.equal(application.expect('sip', /^BYE/).fields[8], 'unsolicited');
    lab.assertIdle();
  });

  it('start anew with each re-INVITE and UPDATE', () => {
    const asked = ['Supported: timer', 'Session-Expires: 90;refresher=uac'];
    const toTag = establish(asked);
    for (let round = 0; round < 4; round += 1) {
      lab.advance(60_000);
      const fields = { toTag, sequence: 2 + round, headers: asked };
      phone.send(requestFrom(phone, 'UPDATE', fields));
      const update = application.expect('sip', /^UPDATE/);
      application.respond(update.fields[8] ?? '', '200 OK', ['CSeq: 2 UPDATE']);
      assert.equal(phone.expect(/^200/).header('Session-Expires'), '90;refresher=uac');
    }
    end();
  });

  it('refuse an interval below the minimum with 422, which the application does not see', () => {
    const toTag = establish([]);
    for (const method of ['INVITE', 'UPDATE']) {
      const fields = { toTag, sequence: 2, headers: ['Session-Expires: 30'] };
      phone.send(requestFrom(phone, method, fields));
      assert.equal(phone.expect(/^422/).header('Min-SE'), '90');
    }
    application.expectNothing();
    end();
  });

  it('hang up when the refresh is refused, wait when it crosses another, and lengthen on 422', () => {
    establish(['Supported: timer', 'Session-Expires: 90;refresher=uas']);
    lab.advance(45_100);
    phone.respond(phone.expect(/^INVITE/), '491 Request Pending');
    phone.expect(/^ACK/);
    lab.advance(2_000);
    phone.expectNothing();
    while (phone.received.length === 0) lab.advance(100);
    phone.respond(phone.expect(/^INVITE/), '422 Session Interval Too Small', ['Min-SE: 180']);
    phone.expect(/^ACK/);
    const longer = phone.expect(/^INVITE/);
    assert.equal(longer.header('Session-Expires'), '180;refresher=uac');
    phone.respond(longer, '481 Call/Transaction Does Not Exist');
    phone.expect(/^ACK/);
    phone.respond(phone.expect(/^BYE/), '200 OK');
    application.expect('sip', /^BYE/);
    lab.assertIdle();
  });

  it('hang up when nobody answers the refresh', () => {
    establish(['Supported: timer', 'Session-Expires: 90;refresher=uas']);
    lab.advance(45_100 + 32_100);
    const bye = phone.received.find(({ method }) => method === 'BYE');
    assert.ok(bye);
    phone.forget();
    phone.respond(bye, '200 OK');
    application.expect('sip', /^BYE/);
    lab.assertIdle();
  });

  it('count from the answer of the application when it sets them itself', () => {
    establish(['Supported: timer'], ['Session-Expires: 100;refresher=uas', 'Require: timer']);
    lab.advance(50_100);
    phone.respond(phone.expect(/^INVITE/), '200 OK', CONTACT, SDP);
    phone.expect(/^ACK/);
    end();
  });

  it('are kept for calls out: we refresh unless the called party does', () => {
    application.command('sip||', `INVITE sip:bob@127.0.0.1:5090 SIP/2.0\r\n\r\n${SDP}`);
    const invite = phone.expect(/^INVITE/);
    phone.respond(invite, '200 OK', [...CONTACT, 'Session-Expires: 90;refresher=uac'], SDP);
    application.expect('sip', /200/);
    const dialogId = `${invite.callId};from-tag=${invite.fromTag ?? ''}`;
    application.command(`sip||${dialogId}`, 'ACK sip:x SIP/2.0\r\n\r\n');
    phone.expect(/^ACK/);
    lab.advance(45_100);
    const refresh = phone.expect(/^INVITE/);
    assert.equal(refresh.cseq.sequence, invite.cseq.sequence + 1);
    phone.respond(refresh, '200 OK', [...CONTACT, 'Session-Expires: 90;refresher=uas'], SDP);
    phone.expect(/^ACK/);
    lab.advance(89_000);
    phone.expectNothing();
    lab.advance(1_100);
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('stop with the call', () => {
    const toTag = establish(['Supported: timer', 'Session-Expires: 90;refresher=uas']);
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2 }));
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.advance(100_000);
    phone.expectNothing();
    lab.assertIdle();
  });
});
