import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP, type RequestFields } from '../../support/sip-texts.ts';

const IN = 'call-1;from-tag=alice1';
const BOB = 'sip:bob@127.0.0.1:5091';
const CONTACT_OF_BOB = `Contact: <${BOB}>`;
const INVITE = `INVITE ${BOB} SIP/2.0\r\nFrom: <sip:app@localhost>\r\n\r\n${SDP}`;

/** Rules of dialogs that only show when both sides act at once, or somebody acts twice. */
describe('engine: rules of dialogs', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let bob: LabPeer;
  let elsewhere: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    bob = lab.udpPeer(5091);
    elsewhere = lab.udpPeer(5095);
    application = lab.application('invite', 'message');
  });

  function command(dialogId: string, method: string, ...lines: readonly string[]): string {
    const text = [`${method} sip:placeholder SIP/2.0`, ...lines, '', ''].join('\r\n');
    const isInvite = method === 'INVITE';
    const sent = application.command(`sip||${dialogId}`, isInvite ? text + SDP : text);
    assert.equal(sent.fields[3], 'OK', sent.text);
    return sent.fields[10] ?? '';
  }

  /** A call in that is up; gives our tag. */
  function callIn(fields: RequestFields = {}): string {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP, ...fields }));
    phone.expect(/^100/);
    const id = application.expect('sip', /^INVITE/).fields[8] ?? '';
    application.respond(id, '200 OK', [], SDP);
    const toTag = phone.expect(/^200/).toTag ?? '';
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    return toTag;
  }

  /** A call out that is up, its 2xx with these headers; gives the INVITE and the id of the dialog. */
  function callOut(headers: readonly string[] = [CONTACT_OF_BOB]): {
    invite: SipMessage;
    id: string;
  } {
    application.command('sip||', INVITE);
    const invite = bob.expect(/^INVITE/);
    bob.respond(invite, '200 OK', headers, SDP);
    application.expect('sip', /200/);
    const id = `${invite.callId};from-tag=${invite.fromTag ?? ''}`;
    command(id, 'ACK');
    return { invite, id };
  }

  function end(dialogId: string, peer: LabPeer): void {
    command(dialogId, 'BYE');
    peer.respond(peer.expect(/^BYE/), '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  }

  describe('the remote target', () => {
    const MOVED = '<sip:moved@127.0.0.1:5095>';

    it('follows an UPDATE that is accepted, not one that is refused (RFC 3311 §5.2)', () => {
      const toTag = callIn();
      const update = (sequence: number, contact: string, status: string): void => {
        phone.send(requestFrom(phone, 'UPDATE', { toTag, sequence, contact }));
        const id = application.expect('sip', /^UPDATE/).fields[8] ?? '';
        application.respond(id, status, [`CSeq: ${sequence} UPDATE`]);
        phone.expect(new RegExp(`^${status}`));
      };
      update(2, '<sip:nowhere@127.0.0.1:5096>', '488 Not Acceptable Here');
      command(IN, 'INFO');
      phone.respond(phone.expect(/^INFO sip:alice@127.0.0.1:5090/), '200 OK');
      application.expect('sip', /200/);
      update(3, MOVED, '200 OK');
      command(IN, 'BYE');
      elsewhere.respond(elsewhere.expect(/^BYE sip:moved@127.0.0.1:5095/), '200 OK');
      lab.assertIdle();
    });

    for (const method of ['INVITE', 'UPDATE']) {
      it(`follows the 2xx to an ${method} of ours, not a refusal (RFC 3261 §12.2.1.2)`, () => {
        const { id } = callOut();
        bob.forget();
        command(id, method);
        const headers = ['Contact: <sip:nowhere@127.0.0.1:5096>'];
        bob.respond(bob.expect(new RegExp(`^${method}`)), '488 Not Acceptable Here', headers);
        if (method === 'INVITE') bob.expect(/^ACK/);
        application.expect('sip', /488/);
        command(id, method);
        bob.respond(bob.expect(new RegExp(`^${method} ${BOB}`)), '200 OK', [`Contact: ${MOVED}`]);
        application.expect('sip', /200/);
        if (method === 'INVITE') {
          command(id, 'ACK');
          elsewhere.expect(/^ACK sip:moved@127.0.0.1:5095/);
        }
        command(id, 'BYE');
        elsewhere.respond(elsewhere.expect(/^BYE sip:moved@127.0.0.1:5095/), '200 OK');
        lab.assertIdle();
      });
    }
  });

  describe('a route set', () => {
    it('with a strict router in front: it gets itself as Request-URI, in ACK and BYE of ours, too', () => {
      const route = 'Record-Route: <sip:127.0.0.1:5096;lr>, <sip:127.0.0.1:5095;method=INVITE>';
      const { id } = callOut([CONTACT_OF_BOB, route]);
      const routes = ['<sip:127.0.0.1:5096;lr>', `<${BOB}>`];
      const ack = elsewhere.expect(/^ACK sip:127.0.0.1:5095$/);
      assert.deepEqual(ack.headerValues('Route'), routes);
      command(id, 'BYE');
      const bye = elsewhere.expect(/^BYE sip:127.0.0.1:5095$/);
      assert.deepEqual(bye.headerValues('Route'), routes);
      elsewhere.respond(bye, '200 OK');
      lab.assertIdle();
    });

    it('does not change with a re-INVITE, whatever Record-Route that brings (RFC 3261 §12.2)', () => {
      const toTag = callIn();
      const headers = ['Record-Route: <sip:127.0.0.1:5095;lr>'];
      phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, headers, body: SDP }));
      phone.expect(/^100/);
      application.respond(application.expect('sip', /^INVITE/).fields[8] ?? '', '200 OK', [], SDP);
      phone.expect(/^200/);
      phone.send(requestFrom(phone, 'ACK', { toTag, sequence: 2 }));
      application.expect('sip', /^ACK/);
      command(IN, 'BYE');
      const bye = phone.expect(/^BYE/);
      assert.equal(bye.has('Route'), false);
      phone.respond(bye, '200 OK');
      lab.assertIdle();
    });
  });

  describe('UPDATE', () => {
    it('meets 491 while an INVITE of ours is open with its offer, and 500 while one of theirs is (RFC 3311 §5.2)', () => {
      const toTag = callIn();
      command(IN, 'INVITE');
      const ours = phone.expect(/^INVITE/);
      phone.send(requestFrom(phone, 'UPDATE', { toTag, sequence: 2, body: SDP }));
      phone.expect(/^491/);
      phone.respond(ours, '488 Not Acceptable Here');
      phone.expect(/^ACK/);
      application.expect('sip', /488/);
      phone.send(requestFrom(phone, 'UPDATE', { toTag, sequence: 3, body: SDP }));
      const id = application.expect('sip', /^UPDATE/).fields[8] ?? '';
      phone.send(requestFrom(phone, 'UPDATE', { toTag, sequence: 4, body: SDP }));
      const seconds = Number(phone.expect(/^500/).header('Retry-After'));
      assert.ok(seconds >= 0 && seconds <= 10);
      application.respond(id, '200 OK', ['CSeq: 3 UPDATE'], SDP);
      phone.expect(/^200/);
      end(IN, phone);
    });

    it('of an application goes out in its early dialog, too', () => {
      application.command('sip||', INVITE);
      const invite = bob.expect(/^INVITE/);
      bob.respond(invite, '183 Session Progress', [CONTACT_OF_BOB]);
      application.expect('sip', /183/);
      const id = `${invite.callId};from-tag=${invite.fromTag ?? ''}`;
      command(id, 'UPDATE');
      const update = bob.expect(/^UPDATE/);
      assert.deepEqual([update.toTag, update.cseq.sequence], ['peer', invite.cseq.sequence + 1]);
      bob.respond(update, '200 OK', [CONTACT_OF_BOB]);
      assert.equal(application.expect('sip', /200/).fields[9], id);
      bob.respond(invite, '486 Busy Here');
      bob.expect(/^ACK/);
      application.expect('sip', /486/);
      lab.assertIdle();
    });
  });

  describe('CANCEL', () => {
    it('of a re-INVITE ends that alone: 200, 487, and the call goes on', () => {
      const toTag = callIn();
      const branch = newBranch();
      phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 2, branch, body: SDP }));
      phone.expect(/^100/);
      const transactionId = application.expect('sip', /^INVITE/).fields[8];
      phone.send(requestFrom(phone, 'CANCEL', { toTag, sequence: 2, branch }));
      phone.expect(/^200/);
      assert.equal(phone.expect(/^487/).toTag, toTag);
      phone.send(requestFrom(phone, 'ACK', { toTag, sequence: 2, branch }));
      assert.deepEqual(application.expect('sip', /^CANCEL/).fields.slice(8, 9), [transactionId]);
      assert.equal(lab.engine.stats().dialogs, 1);
      phone.send(requestFrom(phone, 'INVITE', { toTag, sequence: 3, body: SDP }));
      phone.expect(/^100/);
      application.respond(application.expect('sip', /^INVITE/).fields[8] ?? '', '488 No');
      phone.expect(/^488/);
      end(IN, phone);
    });

    it('of an application ends its own re-INVITE alone', () => {
      const { id } = callOut();
      bob.forget();
      const transactionId = command(id, 'INVITE');
      const reinvite = bob.expect(/^INVITE/);
      bob.respond(reinvite, '100 Trying');
      application.command(`sip|${transactionId}|`, `CANCEL ${BOB} SIP/2.0\r\n\r\n`);
      bob.respond(bob.expect(/^CANCEL/), '200 OK');
      bob.respond(reinvite, '487 Request Terminated');
      bob.expect(/^ACK/);
      application.expect('sip', /487/);
      end(id, bob);
    });

    it('for nobody is forgotten when the INVITE times out without a word', () => {
      const sent = application.command('sip||', INVITE);
      application.command(`sip|${sent.fields[10] ?? ''}|`, `CANCEL ${BOB} SIP/2.0\r\n\r\n`);
      lab.advance(32_100);
      assert.ok(bob.received.every(({ method }) => method === 'INVITE'));
      application.expect('sip', /408/);
      lab.assertIdle();
    });

    it('that meets the answers of two forks: both are acknowledged and hung up', () => {
      const sent = application.command('sip||', INVITE);
      const invite = bob.expect(/^INVITE/);
      bob.respond(invite, '180 Ringing', [CONTACT_OF_BOB], '', 'one');
      application.expect('sip', /180/);
      application.command(`sip|${sent.fields[10] ?? ''}|`, `CANCEL ${BOB} SIP/2.0\r\n\r\n`);
      bob.expect(/^CANCEL/);
      bob.respond(invite, '200 OK', [CONTACT_OF_BOB], SDP, 'one');
      bob.respond(invite, '200 OK', [CONTACT_OF_BOB], SDP, 'two');
      const [ack, bye] = [bob.expect(/^ACK/), bob.expect(/^BYE/)];
      assert.deepEqual([ack.toTag, bye.toTag], ['two', 'two']);
      bob.respond(bye, '200 OK');
      application.expect('sip', /200/);
      command(`${invite.callId};from-tag=${invite.fromTag ?? ''}`, 'ACK');
      assert.equal(bob.expect(/^ACK/).toTag, 'one');
      const own = bob.expect(/^BYE/);
      assert.equal(own.toTag, 'one');
      bob.respond(own, '200 OK');
      application.expect('sip', /^BYE/);
      lab.assertIdle();
    });
  });

  describe('a 2xx that comes again', () => {
    it('to a re-INVITE is answered with the same ACK, unseen by the application', () => {
      const { id } = callOut();
      bob.forget();
      command(id, 'INVITE');
      const reinvite = bob.expect(/^INVITE/);
      bob.respond(reinvite, '200 OK', [CONTACT_OF_BOB], SDP);
      application.expect('sip', /200/);
      bob.respond(reinvite, '200 OK', [CONTACT_OF_BOB], SDP);
      application.expectNothing();
      bob.expectNothing();
      command(id, 'ACK');
      const ack = bob.expect(/^ACK/);
      assert.equal(ack.cseq.sequence, reinvite.cseq.sequence);
      bob.respond(reinvite, '200 OK', [CONTACT_OF_BOB], SDP);
      assert.deepEqual(bob.expect(/^ACK/).bytes, ack.bytes);
      application.expectNothing();
      end(id, bob);
    });

    it('from a fork that lost is acknowledged again, and hung up once', () => {
      const { invite, id } = callOut();
      bob.forget();
      bob.respond(invite, '200 OK', [CONTACT_OF_BOB], SDP, 'late');
      const ack = bob.expect(/^ACK/);
      bob.respond(bob.expect(/^BYE/), '200 OK');
      bob.respond(invite, '200 OK', [CONTACT_OF_BOB], SDP, 'late');
      assert.deepEqual(bob.expect(/^ACK/).bytes, ack.bytes);
      bob.expectNothing();
      end(id, bob);
    });

    it('later than 64·T1 belongs to nothing any more, and is counted', () => {
      const { invite, id } = callOut();
      bob.forget();
      lab.advance(32_100);
      bob.respond(invite, '200 OK', [CONTACT_OF_BOB], SDP, 'late');
      bob.expectNothing();
      assert.equal(lab.engine.stats().counters.refusals['strayResponse'], 1);
      end(id, bob);
    });
  });

  it('lists that applications fold into one line are all there for the other side', () => {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    phone.expect(/^100/);
    const id = application.expect('sip').fields[8] ?? '';
    application.respond(id, '300 Multiple Choices', [
      'Contact: "A, B" <sip:a@h.test>;q=0.5,<sip:b@h.test>',
      'WWW-Authenticate: Digest realm="x", nonce="1",Digest realm="x", nonce="2"',
    ]);
    const choices = phone.expect(/^300/);
    const uris = choices.contacts.map(({ uriText }) => uriText);
    assert.deepEqual(uris, ['sip:a@h.test', 'sip:b@h.test']);
    assert.match(
      choices.header('WWW-Authenticate') ?? '',
      /nonce="1",Digest realm="x", nonce="2"$/,
    );
    lab.assertIdle();
  });

  it('one Call-ID may carry a call in and a call out, each with its own tags', () => {
    const toTag = callIn();
    const text = INVITE.replace('\r\n\r\n', '\r\nCall-ID: call-1\r\n\r\n');
    application.command('sip||', text);
    const invite = bob.expect(/^INVITE/);
    assert.equal(invite.callId, 'call-1');
    bob.respond(invite, '200 OK', [CONTACT_OF_BOB], SDP);
    application.expect('sip', /200/);
    const out = `call-1;from-tag=${invite.fromTag ?? ''}`;
    command(out, 'ACK');
    bob.expect(/^ACK/);
    command(out, 'INFO');
    bob.respond(bob.expect(/^INFO/), '200 OK');
    application.expect('sip', /200/);
    phone.send(requestFrom(phone, 'INFO', { toTag, sequence: 2 }));
    const info = application.expect('sip', /^INFO/);
    assert.equal(info.fields[9], IN);
    application.respond(info.fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    command(IN, 'BYE');
    phone.respond(phone.expect(/^BYE/), '200 OK');
    application.expect('sip', /200/);
    assert.equal(lab.engine.stats().dialogs, 1);
    end(out, bob);
  });
});
