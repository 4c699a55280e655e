import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP } from '../../support/sip-texts.ts';

const BOB = 'sip:bob@127.0.0.1:5091';
const CAROL = 'sip:carol@127.0.0.1:5092';
const CDR = ['cdr:attempt', 'cdr:start', 'cdr:stop'] as const;

describe('engine: call records', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let bob: LabPeer;
  let carol: LabPeer;
  let application: LabApplication;

  function begin(hasCallRecords: boolean, ...verbs: readonly string[]): void {
    lab = new EngineLab({ hasCallRecords });
    phone = lab.udpPeer(5090);
    bob = lab.udpPeer(5091);
    carol = lab.udpPeer(5092);
    application = lab.application('invite', ...verbs);
  }

  function invite(branch = newBranch()): string {
    phone.send(requestFrom(phone, 'INVITE', { branch, uri: 'sip:bob@127.0.0.1:5060', body: SDP }));
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

  /** Orders a proxy of the INVITE that is waiting. */
  function proxy(options: string, ...destinations: readonly string[]): void {
    const text = `INVITE ${destinations[0] ?? ''} SIP/2.0\r\n\r\n`;
    application.send(`proxy|${invite()}|${options}|${destinations.join('|')}`, text);
  }

  it('of a proxied call: an attempt for each branch, start as proxy-uac and as proxy-uas, both sides of the BYE', () => {
    begin(true, ...CDR);
    proxy('remainInDialog|fullResponse||simultaneous||', BOB, CAROL);
    const [copy, other] = [bob.expect(/^INVITE/), carol.expect(/^INVITE/)];
    const route = copy.header('Record-Route') ?? '';
    carol.respond(other, '180 Ringing');
    phone.expect(/^180/);
    bob.respond(copy, '200 OK', [`Record-Route: ${route}`, `Contact: <${BOB}>`], SDP);
    carol.respond(carol.expect(/^CANCEL/), '200 OK');
    carol.respond(other, '487 Request Terminated');
    const { toTag } = phone.expect(/^200/);
    const about = { uri: BOB, toTag, headers: [`Route: ${route}`] };
    phone.send(requestFrom(phone, 'ACK', about));
    bob.expect(/^ACK/);
    phone.send(requestFrom(phone, 'BYE', { ...about, sequence: 2 }));
    bob.respond(bob.expect(/^BYE/), '200 OK');
    phone.expect(/^200/);
    const told = application.reports.filter(({ fields }) => fields[1]?.startsWith('cdr:'));
    // What came from a callee or went to one has our Via, too.
    assert.deepEqual(
      told.map(({ sip }) => sip?.headerValues('Via').length),
      [1, 2, 2, 2, 1, 2, 1, 2],
    );
    assert.deepEqual(records(), [
      'cdr:attempt network INVITE',
      'cdr:attempt application INVITE',
      'cdr:attempt application INVITE',
      'cdr:start network proxy-uac SIP/2.0 200 OK',
      'cdr:start application proxy-uas SIP/2.0 200 OK',
      'cdr:stop network call-canceled SIP/2.0 487 Request Terminated',
      'cdr:stop network normal-release BYE',
      'cdr:stop application normal-release BYE',
    ]);
    lab.assertIdle();
  });

  it('of a proxied call that nobody takes: stop of each branch, and of what the caller was told', () => {
    begin(true, ...CDR);
    proxy('|fullResponse||serial||', BOB, CAROL);
    bob.respond(bob.expect(/^INVITE/), '486 Busy Here');
    carol.expect(/^INVITE/);
    lab.advance(32_100);
    assert.equal(phone.received.at(-1)?.statusCode, 486);
    assert.deepEqual(records(), [
      'cdr:attempt network INVITE',
      'cdr:attempt application INVITE',
      'cdr:stop network call-rejected SIP/2.0 486 Busy Here',
      'cdr:attempt application INVITE',
      'cdr:stop network call-rejected SIP/2.0 408 Request Timeout',
      'cdr:stop application call-rejected SIP/2.0 486 Busy Here',
    ]);
    carol.forget();
    lab.assertIdle();
  });

  it('of a proxied call that the caller cancels', () => {
    begin(true, ...CDR);
    const branch = newBranch();
    const id = invite(branch);
    application.send(`proxy|${id}||||serial|||${BOB}`, 'INVITE sip:x SIP/2.0\r\n\r\n');
    const copy = bob.expect(/^INVITE/);
    bob.respond(copy, '180 Ringing');
    phone.send(requestFrom(phone, 'CANCEL', { branch, uri: 'sip:bob@127.0.0.1:5060' }));
    bob.respond(bob.expect(/^CANCEL/), '200 OK');
    bob.respond(copy, '487 Request Terminated');
    assert.deepEqual(records(), [
      'cdr:attempt network INVITE',
      'cdr:attempt application INVITE',
      'cdr:stop network call-canceled SIP/2.0 487 Request Terminated',
      'cdr:stop application call-canceled SIP/2.0 487 Request Terminated',
    ]);
    phone.forget();
    lab.assertIdle();
  });

  it('of a call to a name: the attempt is told before it is known where that is', () => {
    begin(true, ...CDR);
    lab.heldQueries = [];
    application.send('sip||', `INVITE sip:bob@pbx.test SIP/2.0\r\n\r\n${SDP}`);
    assert.deepEqual(records(), ['cdr:attempt application INVITE']);
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
