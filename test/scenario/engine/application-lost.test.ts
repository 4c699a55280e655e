import assert from 'node:assert/strict';
import { EngineLab, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

describe('engine: an application that is gone', () => {
  let lab: EngineLab;
  let phone: LabPeer;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
  });

  it('has its calls hung up with a Reason, incoming and outgoing', () => {
    const application = lab.application('invite');
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    const { toTag } = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    const bob = lab.udpPeer(5091);
    application.command('sip||', `INVITE sip:bob@127.0.0.1:5091 SIP/2.0\r\n\r\n${SDP}`);
    const invite = bob.expect(/^INVITE/);
    bob.respond(invite, '200 OK', ['Contact: <sip:bob@127.0.0.1:5091>'], SDP);
    const dialogId = `${invite.callId};from-tag=${invite.fromTag ?? ''}`;
    application.command(`sip||${dialogId}`, 'ACK sip:x SIP/2.0\r\n\r\n');
    bob.expect(/^ACK/);
    application.close();
    for (const peer of [phone, bob]) {
      const bye = peer.expect(/^BYE/);
      assert.match(bye.header('Reason') ?? '', /^SIP;cause=503;text="Application gone"$/);
      peer.respond(bye, '200 OK');
    }
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2 }));
    phone.expect(/^481/);
    lab.assertIdle();
    assert.equal(lab.engine.stats().applications, 0);
  });

  it('has waiting requests refused: 480 for calls, 503 for the rest', () => {
    const application = lab.application('invite', 'message');
    phone.send(requestFrom(phone, 'INVITE', { body: SDP, callId: 'i' }));
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'm' }));
    phone.expect(/^100/);
    application.close();
    phone.expect(/^480/);
    assert.match(phone.expect(/^503/).header('Retry-After') ?? '', /^[5-8]$/);
    lab.assertIdle();
  });

  it('has ringing calls cancelled, and answers that come all the same hung up', () => {
    const application = lab.application();
    application.command('sip||', `INVITE sip:bob@127.0.0.1:5090 SIP/2.0\r\n\r\n${SDP}`);
    application.command('sip||', `INVITE sip:bob@127.0.0.1:5090 SIP/2.0\r\n\r\n${SDP}`);
    const [ringing, silent] = [phone.expect(/^INVITE/), phone.expect(/^INVITE/)];
    phone.respond(ringing, '180 Ringing');
    application.close();
    phone.respond(phone.expect(/^CANCEL/), '200 OK');
    phone.respond(ringing, '487 Request Terminated');
    phone.expect(/^ACK/);
    phone.respond(silent, '200 OK', ['Contact: <sip:bob@127.0.0.1:5090>'], SDP);
    phone.expect(/^ACK/);
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('has its subscriptions ended, so that watchers subscribe again', () => {
    const application = lab.application('subscribe');
    phone.send(requestFrom(phone, 'SUBSCRIBE', { headers: ['Event: presence'] }));
    application.respond(application.next().fields[8] ?? '', '202 Accepted', ['Expires: 60']);
    phone.expect(/^202/);
    application.close();
    const notify = phone.expect(/^NOTIFY/);
    assert.equal(notify.header('Event'), 'presence');
    assert.equal(notify.header('Subscription-State'), 'terminated;reason=deactivated');
    phone.respond(notify, '200 OK');
    lab.assertIdle();
  });

  it('does not take the calls of others with it', () => {
    const one = lab.application('invite');
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    one.respond(one.next().fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    phone.send(requestFrom(phone, 'ACK', { toTag: phone.expect(/^200/).toTag }));
    lab.application('message').close();
    phone.expectNothing();
    assert.equal(lab.engine.stats().dialogs, 1);
    one.close();
    phone.respond(phone.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });

  it('leaves its dialogs to another connection that knows their ids', () => {
    const one = lab.application('invite');
    const two = lab.application();
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    one.respond(one.next().fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    phone.send(requestFrom(phone, 'ACK', { toTag: phone.expect(/^200/).toTag }));
    two.command('sip||call-1;from-tag=alice1', 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    phone.respond(phone.expect(/^BYE/), '200 OK');
    two.expect('sip', /200/);
    lab.assertIdle();
  });
});
