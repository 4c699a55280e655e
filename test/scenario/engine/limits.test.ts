import assert from 'node:assert/strict';
import { EngineLab, seededRandom, type LabApplication } from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

describe('engine: limits', () => {
  it('answers 503 with Retry-After beyond the requests in flight, and recovers', () => {
    const lab = new EngineLab({ limits: { transactions: 3 } });
    const application = lab.application('message');
    const phone = lab.udpPeer(5090);
    for (let i = 0; i < 5; i += 1) phone.send(requestFrom(phone, 'MESSAGE', { callId: `m${i}` }));
    assert.equal(phone.expect(/^503/).header('Retry-After'), '5');
    phone.expect(/^503/);
    assert.equal(application.reports.length, 3);
    for (let i = 0; i < 3; i += 1) {
      application.respond(application.next().fields[8] ?? '', '200 OK');
      phone.expect(/^200/);
    }
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'again' }));
    application.expect('sip', /^MESSAGE/);
    lab.advance(40_000);
    phone.forget();
    lab.assertIdle();
  });

  it('keeps calls alive when there are too many new ones', () => {
    const lab = new EngineLab({ limits: { dialogs: 1 } });
    const application = lab.application('invite', 'message');
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    const { toTag } = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    phone.send(requestFrom(phone, 'INVITE', { callId: 'second', body: SDP }));
    phone.expect(/^503/);
    phone.send(requestFrom(phone, 'MESSAGE', { toTag, sequence: 2 }));
    application.respond(application.expect('sip', /^MESSAGE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 3 }));
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.assertIdle();
  });

  it('bounds the requests of one address, drops even the refusals of a flood, and leaves others alone', () => {
    const limits = { requestsPerSecondPerAddress: 10, requestBurstPerAddress: 20 };
    const lab = new EngineLab({ limits });
    const application = lab.application('message');
    const flooder = lab.udpPeer(5090, '10.0.0.66');
    for (let i = 0; i < 100; i += 1) {
      flooder.send(requestFrom(flooder, 'MESSAGE', { callId: `m${i}` }));
    }
    assert.equal(application.reports.length, 20);
    assert.ok(flooder.received.every(({ statusCode }) => statusCode === 503));
    assert.equal(flooder.received.length, 20);
    const other = lab.udpPeer(5090, '10.0.0.7');
    other.send(requestFrom(other, 'MESSAGE', { callId: 'other' }));
    assert.equal(application.reports.length, 21);
    lab.advance(3_000);
    flooder.send(requestFrom(flooder, 'MESSAGE', { callId: 'later' }));
    assert.equal(application.reports.length, 22);
    const { refusals } = lab.engine.stats().counters;
    assert.equal(refusals['rateRefused'], 20);
    assert.equal(refusals['rateDropped'], 60);
  });

  it('does not count requests of dialogs, nor repetitions', () => {
    const limits = { requestsPerSecondPerAddress: 1, requestBurstPerAddress: 1 };
    const lab = new EngineLab({ limits });
    const application = lab.application('invite');
    const phone = lab.udpPeer(5090, '10.0.0.7');
    const invite = requestFrom(phone, 'INVITE', { body: SDP });
    for (let i = 0; i < 10; i += 1) phone.send(invite);
    application.respond(application.next().fields[8] ?? '', '200 OK', [], SDP);
    const { toTag } = phone.received.at(-1) ?? {};
    phone.forget();
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    for (let sequence = 2; sequence < 12; sequence += 1) {
      phone.send(requestFrom(phone, 'INFO', { toTag, sequence }));
      application.respond(application.expect('sip', /^INFO/).fields[8] ?? '', '200 OK');
      phone.expect(/^200/);
    }
  });

  it('refuses messages that are too big', () => {
    const lab = new EngineLab({
      limits: { headerBytes: 2_000, headerCount: 30, messageBytes: 3_000 },
    });
    const application = lab.application('message');
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'MESSAGE', { headers: [`X-A: ${'a'.repeat(3_000)}`] }));
    phone.expect(/^513/);
    const many = Array.from({ length: 40 }, (_, i) => `X-${i}: y`);
    phone.send(requestFrom(phone, 'MESSAGE', { headers: many }));
    phone.expect(/^513/);
    phone.send(requestFrom(phone, 'MESSAGE', { body: 'b'.repeat(3_100) }));
    phone.expect(/^413/);
    application.expectNothing();
    lab.assertIdle();
  });

  it('holds little of requests that nobody answers, and nothing in the end', () => {
    const lab = new EngineLab({ limits: { waitingRequests: 5_000 } });
    lab.application('register');
    const phone = lab.udpPeer(5090);
    for (let i = 0; i < 5_000; i += 1) {
      phone.send(requestFrom(phone, 'REGISTER', { callId: `r${i}`, fromTag: `t${i}` }));
    }
    assert.equal(lab.engine.stats().pendingRequests, 5_000);
    lab.advance(31_000);
    phone.forget();
    lab.assertIdle();
  });
});

describe('engine: hostile bytes', () => {
  /** A call in progress, so that there is state to be confused. */
  function busyLab(): { lab: EngineLab; application: LabApplication; transactionId: string } {
    const lab = new EngineLab();
    const application = lab.application('invite', 'message', 'subscribe', 'register', 'options');
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    const transactionId = application.next().fields[8] ?? '';
    application.respond(transactionId, '180 Ringing');
    return { lab, application, transactionId };
  }

  // eslint-disable-next-line complexity -- one throw of the dice after the other
  it('never make the engine throw: requests and responses with pieces changed, cut and repeated', () => {
    const { lab, application, transactionId } = busyLab();
    const phone = lab.udpPeer(5090);
    const tcp = lab.streamPeer(42_000);
    const random = seededRandom('hostile');
    const seeds = ['INVITE', 'REGISTER', 'ACK', 'BYE', 'CANCEL', 'PRACK', 'SUBSCRIBE', 'NOTIFY'];
    for (let round = 0; round < 4_000; round += 1) {
      const dice = random(16);
      const method = seeds[(dice[0] ?? 0) % seeds.length] ?? 'INVITE';
      const toTag = (dice[1] ?? 0) % 2 === 0 ? undefined : 'x';
      const bytes = Buffer.from(requestFrom(phone, method, { toTag, body: SDP }));
      for (let change = 0; change < (dice[2] ?? 0) % 6; change += 1) {
        bytes[((dice[3 + change] ?? 0) * 251 + change * 7) % bytes.length] = dice[9 + change] ?? 0;
      }
      const end = (dice[15] ?? 0) % 8 === 0 ? (dice[14] ?? 0) * 2 : bytes.length;
      (round % 9 === 0 && !tcp.isClosed ? tcp : phone).send(bytes.subarray(0, end));
    }
    lab.advance(40_000);
    application.send(`sip|${transactionId}|`, 'SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\n\r\n');
    lab.assertIdle();
  });

  it('never make the engine throw: control messages with pieces changed', () => {
    const random = seededRandom('control');
    for (let round = 0; round < 300; round += 1) {
      const { lab, application } = busyLab();
      const dice = random(8);
      const text = Buffer.from(
        `sip||\r\nINVITE sip:bob@127.0.0.1:5091 SIP/2.0\r\nFrom: <sip:a@localhost>\r\n\r\n${SDP}`,
      );
      for (let change = 0; change < 4; change += 1) {
        text[((dice[change] ?? 0) * 3) % text.length] = dice[change + 4] ?? 0;
      }
      const [leader = '', ...rest] = text.toString('latin1').split('\r\n');
      application.send(leader, Buffer.from(rest.join('\r\n'), 'latin1'));
      lab.advance(10);
    }
  });
});
