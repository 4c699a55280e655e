import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

const BOB = 'sip:bob@127.0.0.1:5091';
const CDR = ['cdr:attempt', 'cdr:start', 'cdr:stop'] as const;

describe('engine: call records', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let bob: LabPeer;
  let application: LabApplication;

  function begin(hasCallRecords: boolean, ...verbs: readonly string[]): void {
    lab = new EngineLab({ hasCallRecords });
    phone = lab.udpPeer(5090);
    bob = lab.udpPeer(5091);
    application = lab.application('invite', ...verbs);
  }

  function invite(): string {
    phone.send(requestFrom(phone, 'INVITE', { uri: 'sip:bob@127.0.0.1:5060', body: SDP }));
    phone.expect(/^100/);
    const at = application.reports.findIndex(({ fields }) => fields[1] === 'sip');
    return application.reports[at]?.fields[8] ?? '';
  }

  /** The events that came, without message id and time: name, source, role or reason, and start line. */
  function records(): string[] {
    const events = application.reports.filter(({ fields }) => fields[1]?.startsWith('cdr:'));
    application.reports.splice(0);
    return events.map(({ fields, text }) => {
      const [, name, source, time, detail] = fields;
      assert.match(time ?? '', /^10:0\d:\d\d\.\d{6}$/);
      const line = (text.split('\r\n')[1] ?? '').replace(/ sip:.*/, '');
      return [name, source, detail, line].filter((part) => part !== undefined).join(' ');
    });
  }

  it('of a call that the application answers: attempt, start as uas, stop', () => {
    begin(true, ...CDR);
    application.respond(invite(), '200 OK', [], SDP);
    const { toTag } = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2 }));
    const bye = application.reports.find(({ sip }) => sip?.isRequest && sip.method === 'BYE');
    const events = records();
    application.respond(bye?.fields[8] ?? '', '200 OK');
    assert.deepEqual(events, [
      'cdr:attempt network INVITE',
      'cdr:start application uas SIP/2.0 200 OK',
      'cdr:stop network normal-release BYE',
    ]);
    lab.assertIdle();
  });

  it('of a call that the application makes: attempt, start as uac, stop', () => {
    begin(true, ...CDR);
    application.send('sip||', `INVITE ${BOB} SIP/2.0\r\n\r\n${SDP}`);
    const sent = bob.expect(/^INVITE/);
    bob.respond(sent, '200 OK', [`Contact: <${BOB}>`], SDP);
    const dialogId = `${sent.callId};from-tag=${sent.fromTag ?? ''}`;
    application.send(`sip||${dialogId}`, 'ACK sip:x SIP/2.0\r\n\r\n');
    bob.expect(/^ACK/);
    application.send(`sip||${dialogId}`, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    bob.respond(bob.expect(/^BYE/), '200 OK');
    assert.deepEqual(records(), [
      'cdr:attempt application INVITE',
      'cdr:start network uac SIP/2.0 200 OK',
      'cdr:stop application normal-release BYE',
    ]);
    lab.assertIdle();
  });

  it('of a proxied call: attempt, start as proxy-uac and as proxy-uas, stop when the BYE passes', () => {
    begin(true, ...CDR);
    const options = 'remainInDialog|fullResponse||serial||';
    application.send(`proxy|${invite()}|${options}|${BOB}`, `INVITE ${BOB} SIP/2.0\r\n\r\n`);
    const copy = bob.expect(/^INVITE/);
    const route = copy.header('Record-Route') ?? '';
    bob.respond(copy, '200 OK', [`Record-Route: ${route}`, `Contact: <${BOB}>`], SDP);
    const { toTag } = phone.expect(/^200/);
    const about = { uri: BOB, toTag, headers: [`Route: ${route}`] };
    phone.send(requestFrom(phone, 'ACK', about));
    bob.expect(/^ACK/);
    phone.send(requestFrom(phone, 'BYE', { ...about, sequence: 2 }));
    bob.respond(bob.expect(/^BYE/), '200 OK');
    phone.expect(/^200/);
    const starts = application.reports.filter(({ fields }) => fields[1] === 'cdr:start');
    // What came from the callee has our Via; what went to the caller has not.
    assert.deepEqual(
      starts.map(({ sip }) => sip?.headerValues('Via').length),
      [2, 1],
    );
    assert.deepEqual(records(), [
      'cdr:attempt network INVITE',
      'cdr:start network proxy-uac SIP/2.0 200 OK',
      'cdr:start application proxy-uas SIP/2.0 200 OK',
      'cdr:stop network normal-release BYE',
    ]);
    lab.assertIdle();
  });

  it('of calls that come to nothing: stop with the reason', () => {
    begin(true, ...CDR);
    application.respond(invite(), '486 Busy Here');
    phone.expect(/^486/);
    phone.send(requestFrom(phone, 'ACK', {}));
    assert.deepEqual(records(), [
      'cdr:attempt network INVITE',
      'cdr:stop application call-rejected SIP/2.0 486 Busy Here',
    ]);
    lab.assertIdle();
  });

  it('go only to those that asked, and to nobody when they are off', () => {
    begin(true, 'cdr:stop');
    application.respond(invite(), '486 Busy Here');
    assert.deepEqual(records(), ['cdr:stop application call-rejected SIP/2.0 486 Busy Here']);
    begin(false, ...CDR);
    application.respond(invite(), '486 Busy Here');
    assert.deepEqual(records(), []);
  });
});
