import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP } from '../../support/sip-texts.ts';

const RELIABLE = ['Require: 100rel'];

describe('engine: reliable provisional responses (RFC 3262)', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    application = lab.application('invite');
  });

  function invite(branch = newBranch()): string {
    phone.send(requestFrom(phone, 'INVITE', { branch, headers: ['Supported: 100rel'], body: SDP }));
    phone.expect(/^100/);
    return application.expect('sip', /^INVITE/).fields[8] ?? '';
  }

  function prack(toTag: string | undefined, rack: string, sequence = 2): void {
    phone.send(requestFrom(phone, 'PRACK', { toTag, sequence, headers: [`RAck: ${rack}`] }));
  }

  function acceptPrack(): void {
    const report = application.expect('sip', /^PRACK/);
    assert.equal(report.fields[9], 'call-1;from-tag=alice1');
    application.respond(report.fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
  }

  it('are refused where the caller does not support them', () => {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    const id = application.next().fields[8] ?? '';
    assert.deepEqual(application.respond(id, '183 Progress', RELIABLE).fields.slice(3), [
      'NOK',
      'Remote endpoint does not support 100rel',
    ]);
    application.respond(id, '486 Busy Here');
    lab.assertIdle();
  });

  it('are repeated at T1 doubling without bound, until the PRACK', () => {
    const id = invite();
    application.respond(id, '180 Ringing', RELIABLE);
    lab.advance(7_600);
    assert.equal(phone.received.length, 5);
    const ringing = phone.expect(/^180/);
    phone.forget();
    assert.ok(ringing.has('Contact'));
    prack(ringing.toTag, `${ringing.header('RSeq') ?? ''} 1 INVITE`);
    acceptPrack();
    lab.advance(20_000);
    phone.expectNothing();
    application.respond(id, '486 Busy Here');
    phone.expect(/^486/);
    lab.assertIdle();
  });

  it('wait for each other, numbered one by one', () => {
    const id = invite();
    application.respond(id, '183 Session Progress', RELIABLE, SDP);
    application.respond(id, '180 Ringing', RELIABLE);
    const first = phone.expect(/^183/);
    phone.expectNothing();
    const number = Number(first.header('RSeq'));
    prack(first.toTag, `${number} 1 INVITE`);
    const second = phone.expect(/^180/);
    assert.equal(Number(second.header('RSeq')), number + 1);
    acceptPrack();
    prack(first.toTag, `${number + 1} 1 INVITE`, 3);
    acceptPrack();
    application.respond(id, '486 Busy Here');
    phone.expect(/^486/);
    lab.assertIdle();
  });

  it('answers 481 to a PRACK that acknowledges nothing, or twice', () => {
    const id = invite();
    application.respond(id, '183 Session Progress', RELIABLE);
    const { toTag } = phone.received[0] ?? {};
    const rseq = phone.expect(/^183/).header('RSeq') ?? '';
    for (const rack of ['1 1 INVITE', `${rseq} 2 INVITE`, 'nonsense', rseq]) {
      prack(toTag, rack, 2);
      phone.expect(/^481/);
    }
    prack(toTag, `${rseq} 1 INVITE`, 3);
    acceptPrack();
    prack(toTag, `${rseq} 1 INVITE`, 4);
    phone.expect(/^481/);
    application.respond(id, '486 Busy Here');
    phone.expect(/^486/);
    lab.assertIdle();
  });

  it('hold back a 2xx until a session description sent before it is acknowledged', () => {
    const id = invite();
    application.respond(id, '183 Session Progress', RELIABLE, SDP);
    const progress = phone.expect(/^183/);
    application.send(`sip|${id}|`, `SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n${SDP}`);
    phone.expectNothing();
    application.expectNothing();
    prack(progress.toTag, `${progress.header('RSeq') ?? ''} 1 INVITE`);
    application.expect('response', /200/);
    phone.expect(/^200/);
    acceptPrack();
    phone.send(requestFrom(phone, 'ACK', { toTag: progress.toTag }));
    application.expect('sip', /^ACK/);
    phone.send(requestFrom(phone, 'BYE', { toTag: progress.toTag, sequence: 3 }));
    application.respond(application.next().fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.assertIdle();
  });

  it('do not hold back a 2xx when they carried no session description', () => {
    const id = invite();
    application.respond(id, '180 Ringing', RELIABLE);
    const ringing = phone.expect(/^180/);
    const { toTag } = ringing;
    application.respond(id, '200 OK', [], SDP);
    phone.expect(/^200/);
    // RFC 3262 §3: a PRACK that comes after the 2xx is answered all the same.
    prack(toTag, `${ringing.header('RSeq') ?? ''} 1 INVITE`);
    acceptPrack();
    prack(toTag, `${ringing.header('RSeq') ?? ''} 1 INVITE`, 3);
    phone.expect(/^481/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 4 }));
    application.respond(application.next().fields[8] ?? '', '200 OK');
    lab.advance(40_000);
    phone.forget();
    lab.assertIdle();
  });

  it('lead to a refusal when nobody acknowledges, and to 487 after a CANCEL', () => {
    application.respond(invite(), '183 Session Progress', RELIABLE, SDP);
    lab.advance(32_100);
    assert.equal(phone.received.at(-1)?.statusCode, 504);
    phone.forget();
    lab.assertIdle();

    const other = new EngineLab();
    lab = other;
    phone = other.udpPeer(5090);
    application = other.application('invite');
    const branch = newBranch();
    const id = invite(branch);
    application.respond(id, '183 Session Progress', RELIABLE, SDP);
    const held = application.send(`sip|${id}|`, 'SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n');
    phone.forget();
    phone.send(requestFrom(phone, 'CANCEL', { branch }));
    phone.expect(/^200/);
    phone.expect(/^487/);
    const refusal = application.expect('response');
    assert.deepEqual([refusal.fields[2], refusal.fields[3]], [held, 'NOK']);
    application.expect('sip', /^CANCEL/);
    phone.forget();
    other.assertIdle();
  });

  it('from several forks with one number are acknowledged where they came from (RFC 3262 §4)', () => {
    const text = `INVITE sip:bob@127.0.0.1:5090 SIP/2.0\r\nSupported: 100rel\r\n\r\n${SDP}`;
    application.command('sip||', text);
    const request = phone.expect(/^INVITE/);
    const id = `${request.callId};from-tag=${request.fromTag ?? ''}`;
    const progress = (tag: string, rseq: number): void => {
      const lines = [`Contact: <sip:${tag}@127.0.0.1:5090>`, 'Require: 100rel', `RSeq: ${rseq}`];
      phone.respond(request, '183 Session Progress', lines, '', tag);
      application.expect('sip', /183/);
    };
    const acknowledge = (rseq: number): string | undefined => {
      const rack = `rack: ${rseq} ${request.cseq.sequence} INVITE`;
      application.command(`sip||${id}`, `PRACK sip:ignored SIP/2.0\r\n${rack}\r\n\r\n`);
      const sent = phone.expect(/^PRACK/);
      phone.respond(sent, '200 OK');
      application.expect('sip', /200/);
      return sent.toTag;
    };
    progress('one', 1);
    progress('two', 1);
    assert.equal(acknowledge(1), 'one');
    assert.equal(acknowledge(1), 'two');
    progress('two', 2);
    assert.equal(acknowledge(2), 'two');
    progress('three', 2);
    assert.equal(acknowledge(2), 'three');
    progress('one', 2);
    assert.equal(acknowledge(2), 'one');
    phone.respond(request, '486 Busy Here');
    phone.expect(/^ACK/);
    application.expect('sip', /486/);
    lab.assertIdle();
  });

  it('from a called party are passed once each, in order, and acknowledged by the application', () => {
    const text = `INVITE sip:bob@127.0.0.1:5090 SIP/2.0\r\nSupported: 100rel\r\n\r\n${SDP}`;
    application.command('sip||', text);
    const request = phone.expect(/^INVITE/);
    const progress = (rseq: number): void => {
      const lines = ['Contact: <sip:bob@127.0.0.1:5090>', 'Require: 100rel', `RSeq: ${rseq}`];
      phone.respond(request, '183 Session Progress', lines);
    };
    progress(7);
    progress(7);
    progress(9);
    application.expect('sip', /183/);
    application.expectNothing();
    const id = `${request.callId};from-tag=${request.fromTag ?? ''}`;
    const number = request.cseq.sequence;
    application.command(
      `sip||${id}`,
      `PRACK sip:ignored SIP/2.0\r\nrack: 7 ${number} INVITE\r\n\r\n`,
    );
    const acknowledged = phone.expect(/^PRACK sip:bob@127.0.0.1:5090/);
    assert.equal(acknowledged.header('RAck'), `7 ${number} INVITE`);
    assert.equal(acknowledged.cseq.sequence, number + 1);
    phone.respond(acknowledged, '200 OK');
    application.expect('sip', /200/);
    progress(8);
    application.expect('sip', /183/);
    phone.respond(request, '486 Busy Here');
    phone.expect(/^ACK/);
    application.expect('sip', /486/);
    const late = application.command(
      `sip||${id}`,
      'PRACK sip:x SIP/2.0\r\nRAck: 8 1 INVITE\r\n\r\n',
    );
    assert.equal(late.fields[3], 'NOK');
    lab.assertIdle();
  });
});
