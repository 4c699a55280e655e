import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom } from '../../support/sip-texts.ts';

const DIALOG = 'sip||call-1;from-tag=alice1';

describe('engine: subscriptions', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    application = lab.application('subscribe', 'notify');
  });

  function subscribe(): string {
    phone.send(requestFrom(phone, 'SUBSCRIBE', { headers: ['Event: presence', 'Expires: 60'] }));
    const id = application.expect('sip', /^SUBSCRIBE/).fields[8] ?? '';
    application.respond(id, '202 Accepted', ['Expires: 60']);
    return phone.expect(/^202/).toTag ?? '';
  }

  function notify(state: string): void {
    application.command(
      DIALOG,
      `NOTIFY sip:placeholder SIP/2.0\r\nEvent: presence\r\nSubscription-State: ${state}\r\n\r\n`,
    );
  }

  it('puts Contact into the answer and into NOTIFY, which phones insist on', () => {
    subscribe();
    notify('active;expires=60');
    const message = phone.expect(/^NOTIFY/);
    assert.equal(message.header('Contact'), '<sip:127.0.0.1:5060>');
    phone.respond(message, '200 OK');
    notify('terminated;reason=timeout');
    phone.respond(phone.expect(/^NOTIFY/), '200 OK');
    lab.assertIdle();
  });

  it('passes a refresh in the dialog, and takes its Contact', () => {
    const toTag = subscribe();
    const elsewhere = lab.udpPeer(5091);
    const contact = '<sip:alice@127.0.0.1:5091>';
    phone.send(requestFrom(phone, 'SUBSCRIBE', { toTag, sequence: 2, contact }));
    const refresh = application.expect('sip', /^SUBSCRIBE/);
    assert.equal(refresh.fields[9], 'call-1;from-tag=alice1');
    application.respond(refresh.fields[8] ?? '', '200 OK', ['Expires: 60']);
    assert.ok(phone.expect(/^200/).has('Contact'));
    notify('terminated');
    elsewhere.respond(elsewhere.expect(/^NOTIFY/), '200 OK');
    lab.assertIdle();
  });

  it('ends when a watcher does not know it any more, or is gone', () => {
    for (const answers of [true, false]) {
      lab = new EngineLab();
      phone = lab.udpPeer(5090);
      application = lab.application('subscribe');
      subscribe();
      notify('active');
      const message = phone.expect(/^NOTIFY/);
      if (answers) phone.respond(message, '481 Call/Transaction Does Not Exist');
      else lab.advance(32_100);
      application.expect('sip', answers ? /481/ : /408/);
      phone.forget();
      lab.assertIdle();
    }
  });

  it('makes no dialog for a refused SUBSCRIBE', () => {
    phone.send(requestFrom(phone, 'SUBSCRIBE'));
    application.respond(application.next().fields[8] ?? '', '489 Bad Event');
    phone.expect(/^489/);
    assert.equal(lab.engine.stats().dialogs, 0);
    lab.assertIdle();
  });

  it('subscribes for an application, also when the NOTIFY overtakes the answer', () => {
    for (const isOvertaken of [true, false]) {
      const text =
        'SUBSCRIBE sip:bob@127.0.0.1:5090 SIP/2.0\r\nEvent: presence\r\nExpires: 60\r\n\r\n';
      application.command('sip||', text);
      const request = phone.expect(/^SUBSCRIBE/);
      assert.ok(request.has('Contact'));
      const answer = (): void => {
        phone.respond(request, '200 OK', ['Contact: <sip:bob@127.0.0.1:5090>', 'Expires: 60']);
        application.expect('sip', /200/);
      };
      const notified = (state: string, sequence: number): void => {
        phone.send(
          requestFrom(phone, 'NOTIFY', {
            from: '<sip:bob@127.0.0.1:5090>',
            fromTag: 'peer',
            toTag: request.fromTag,
            callId: request.callId,
            sequence,
            headers: ['Event: presence', `Subscription-State: ${state}`],
          }),
        );
        const report = application.expect('sip', /^NOTIFY/);
        assert.equal(report.fields[9], `${request.callId};from-tag=${request.fromTag ?? ''}`);
        application.respond(report.fields[8] ?? '', '200 OK');
        phone.expect(/^200/);
      };
      if (!isOvertaken) answer();
      notified('active', 1);
      if (isOvertaken) answer();
      assert.equal(lab.engine.stats().dialogs, 1);
      notified('terminated', 2);
      assert.equal(lab.engine.stats().dialogs, 0);
    }
    lab.assertIdle();
  });

  it('refreshes and ends a subscription of an application', () => {
    application.command(
      'sip||',
      'SUBSCRIBE sip:bob@127.0.0.1:5090 SIP/2.0\r\nEvent: presence\r\n\r\n',
    );
    const request = phone.expect(/^SUBSCRIBE/);
    phone.respond(request, '200 OK', ['Contact: <sip:bob@127.0.0.1:5090>']);
    application.expect('sip', /200/);
    const id = `${request.callId};from-tag=${request.fromTag ?? ''}`;
    application.command(`sip||${id}`, 'SUBSCRIBE sip:placeholder SIP/2.0\r\nExpires: 0\r\n\r\n');
    const end = phone.expect(/^SUBSCRIBE/);
    assert.equal(end.cseq.sequence, request.cseq.sequence + 1);
    assert.equal(end.toTag, 'peer');
    phone.respond(end, '200 OK', ['Contact: <sip:bob@127.0.0.1:5090>']);
    application.expect('sip', /200/);
    phone.send(
      requestFrom(phone, 'NOTIFY', {
        fromTag: 'peer',
        toTag: request.fromTag,
        callId: request.callId,
        headers: ['Event: presence', 'Subscription-State: terminated;reason=timeout'],
      }),
    );
    application.respond(application.expect('sip', /^NOTIFY/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.assertIdle();
  });
});
