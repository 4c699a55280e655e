import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import {
  EngineLab,
  seededRandom,
  sip,
  type LabApplication,
  type LabPeer,
} from '../../support/engine-lab.ts';
import { requestFrom, SDP } from '../../support/sip-texts.ts';

function assertRetryAfter(refusal: SipMessage, least: number, most: number): void {
  const seconds = Number(refusal.header('Retry-After'));
  assert.ok(seconds >= least && seconds <= most, `${seconds} is not ${least} to ${most}`);
}

describe('engine: limits', () => {
  it('answers 503 with Retry-After beyond the requests in flight, and recovers', () => {
    const lab = new EngineLab({ limits: { transactions: 3 } });
    const application = lab.application('message');
    const phone = lab.udpPeer(5090);
    for (let i = 0; i < 5; i += 1) phone.send(requestFrom(phone, 'MESSAGE', { callId: `m${i}` }));
    assertRetryAfter(phone.expect(/^503/), 1, 2);
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

  it('tells a flooder when its next request may come, and not all the same', () => {
    const limits = { requestsPerSecondPerAddress: 0.1, requestBurstPerAddress: 20 };
    const lab = new EngineLab({ limits });
    lab.application('message');
    const phone = lab.udpPeer(5090, '10.0.0.66');
    for (let i = 0; i < 35; i += 1) phone.send(requestFrom(phone, 'MESSAGE', { callId: `m${i}` }));
    assert.equal(phone.received.length, 15);
    for (const refusal of phone.received) assertRetryAfter(refusal, 10, 16);
    assert.ok(new Set(phone.received.map((refusal) => refusal.header('Retry-After'))).size > 3);
    // Its place in the bucket is nearer now.
    lab.advance(6_000);
    phone.forget();
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'again' }));
    assertRetryAfter(phone.expect(/^503/), 4, 7);
    lab.advance(4_001);
    phone.forget();
    phone.send(requestFrom(phone, 'MESSAGE', { callId: 'late' }));
    phone.expectNothing();
  });

  it('tells of a shortage that has no end in sight that it may take as long again, a minute at most', () => {
    const lab = new EngineLab({ limits: { dialogs: 1 } });
    const application = lab.application('invite');
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '180 Ringing');
    let count = 0;
    const refused = (): SipMessage => {
      phone.forget();
      count += 1;
      phone.send(requestFrom(phone, 'INVITE', { callId: `second${count}`, body: SDP }));
      return phone.expect(/^503/);
    };
    assertRetryAfter(refused(), 1, 2);
    for (let seconds = 0; seconds < 20; seconds += 5) {
      lab.advance(5_000);
      refused();
    }
    assertRetryAfter(refused(), 20, 31);
    for (let seconds = 0; seconds < 100; seconds += 5) {
      lab.advance(5_000);
      refused();
    }
    assertRetryAfter(refused(), 60, 91);
    // Nobody was refused for a while: it is over, and what comes now is a new one.
    lab.advance(11_000);
    assertRetryAfter(refused(), 1, 2);
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

describe('engine: an application that is behind', () => {
  const limits = { waitingRequests: 3, refusalsPerSecond: 2 };

  function flood(phone: LabPeer, from: number, count: number): void {
    for (let i = from; i < from + count; i += 1) {
      phone.send(requestFrom(phone, 'REGISTER', { callId: `r${i}`, fromTag: `t${i}` }));
    }
  }

  it('is given no more than it can take; the rest gets 503, and then silence', () => {
    const lab = new EngineLab({ limits });
    const application = lab.application('register');
    const phone = lab.udpPeer(5090);
    flood(phone, 0, 10);
    assert.equal(application.reports.length, 3);
    assertRetryAfter(phone.expect(/^503/), 1, 2);
    phone.expect(/^503/);
    phone.expectNothing();
    const { refusals } = lab.engine.stats().counters;
    assert.deepEqual([refusals['behindRefused'], refusals['behindDropped']], [2, 5]);
    // An answer to the last one says that it has read all of them.
    application.respond(application.reports[2]?.fields[8] ?? '', '100 Trying');
    flood(phone, 10, 4);
    assert.equal(application.reports.length, 6);
    phone.forget();
    lab.assertIdle();
  });

  it('still gets what belongs to its calls, and refuses before anything else is looked at', () => {
    const lab = new EngineLab({ limits });
    const application = lab.application('invite', 'register');
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    const { toTag } = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    flood(phone, 0, 3);
    phone.send(requestFrom(phone, 'REGISTER', { callId: 'bad', headers: ['Expires: never'] }));
    phone.expect(/^503/);
    application.reports.length = 0;
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 2 }));
    application.respond(application.expect('sip', /^BYE/).fields[8] ?? '', '200 OK');
    phone.expect(/^200/);
    lab.advance(40_000);
    phone.forget();
    lab.assertIdle();
  });

  it('is asked again when what it never answered is given up', () => {
    const lab = new EngineLab({ limits });
    const application = lab.application('register');
    const phone = lab.udpPeer(5090);
    flood(phone, 0, 3);
    lab.advance(31_000);
    application.reports.length = 0;
    flood(phone, 3, 1);
    application.expect('sip', /^REGISTER/);
  });

  it('loses its turn to another one that is not', () => {
    const lab = new EngineLab({ limits });
    const slow = lab.application('register');
    const quick = lab.application('register');
    const phone = lab.udpPeer(5090);
    for (let i = 0; i < 12; i += 1) {
      flood(phone, i, 1);
      for (const report of quick.reports.splice(0)) quick.respond(report.fields[8] ?? '', '200 OK');
      quick.reports.length = 0;
    }
    assert.equal(slow.reports.length, 3);
    assert.equal(lab.engine.stats().counters.responsesSent['200'], 9);
  });

  it('is spared a call that asks too much', () => {
    const lab = new EngineLab({ limits: { requestsPerDialog: 2 } });
    const application = lab.application('invite');
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'INVITE', { body: SDP }));
    application.respond(application.next().fields[8] ?? '', '200 OK', [], SDP);
    phone.expect(/^100/);
    const { toTag } = phone.expect(/^200/);
    phone.send(requestFrom(phone, 'ACK', { toTag }));
    application.expect('sip', /^ACK/);
    for (let sequence = 2; sequence < 6; sequence += 1) {
      phone.send(requestFrom(phone, 'INFO', { toTag, sequence }));
    }
    assert.equal(application.reports.length, 2);
    phone.expect(/^503/);
    phone.expect(/^503/);
    assert.equal(lab.engine.stats().counters.refusals['dialogBusy'], 2);
    phone.send(requestFrom(phone, 'BYE', { toTag, sequence: 6 }));
    assert.equal(application.reports.length, 3);
    lab.advance(40_000);
    phone.forget();
    lab.assertIdle();
  });
});

describe('engine: connections that hold us up', () => {
  const WHOLE = (phone: LabPeer): Buffer => requestFrom(phone, 'OPTIONS', { callId: 'whole' });

  function connected(): { lab: EngineLab; phone: LabPeer; refusals: () => Record<string, number> } {
    const lab = new EngineLab();
    lab.application('options', 'register');
    const phone = lab.streamPeer(42_000);
    return { lab, phone, refusals: () => lab.engine.stats().counters.refusals };
  }

  it('are closed when a message does not come to its end, however it trickles', () => {
    const { lab, phone, refusals } = connected();
    phone.send(WHOLE(phone));
    const slow = requestFrom(phone, 'OPTIONS', { headers: [`X: ${'y'.repeat(60)}`] });
    for (let at = 0; at < 30 && !phone.isClosed; at += 1) {
      phone.send(slow.subarray(at, at + 1));
      lab.advance(1_000);
    }
    assert.ok(phone.isClosed);
    assert.equal(refusals()['stalledMessage'], 1);
    lab.assertIdle();
  });

  it('stay while every message ends in time', () => {
    const { lab, phone } = connected();
    for (let i = 0; i < 40; i += 1) {
      const whole = requestFrom(phone, 'OPTIONS', { callId: `o${i}` });
      phone.send(whole.subarray(0, 50));
      lab.advance(3_000);
      phone.send(whole.subarray(50));
    }
    assert.ok(!phone.isClosed);
  });

  it('are closed when they never say anything, keep-alives or not', () => {
    for (const transport of ['tcp', 'ws'] as const) {
      const lab = new EngineLab();
      const phone = lab.streamPeer(42_000, transport);
      for (let i = 0; i < 8; i += 1) {
        phone.send(Buffer.from('\r\n\r\n'));
        lab.advance(5_000);
      }
      assert.ok(phone.isClosed, transport);
      assert.equal(lab.engine.stats().counters.refusals['silentConnection'], 1);
      lab.assertIdle();
    }
  });

  it('are closed when nobody is registered by them and nothing goes over them', () => {
    const lab = new EngineLab();
    const application = lab.application('options', 'register');
    const guest = lab.streamPeer(42_000);
    const device = lab.streamPeer(42_001);
    guest.send(WHOLE(guest));
    application.respond(application.next().fields[8] ?? '', '200 OK');
    const contact = '<sip:alice@127.0.0.1:42001;transport=tcp>';
    device.send(requestFrom(device, 'REGISTER', { contact }));
    application.respond(application.next().fields[8] ?? '', '200 OK', [
      `Contact: ${contact};expires=600`,
    ]);
    lab.advance(320_000);
    assert.ok(guest.isClosed);
    assert.ok(!device.isClosed);
    lab.advance(300_000);
    assert.ok(device.isClosed);
    assert.equal(lab.engine.stats().flows, 0);
    lab.assertIdle();
  });
});

describe('engine: what nobody asked for', () => {
  it('is counted by its kind, and never answered', () => {
    const lab = new EngineLab();
    lab.application('message');
    const phone = lab.udpPeer(5090);
    const response = [
      'SIP/2.0 200 OK',
      'Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKnever',
      'From: <sip:a@example.test>;tag=1',
      'To: <sip:b@example.test>;tag=2',
      'Call-ID: nobody-asked',
    ];
    phone.send(sip([...response, 'CSeq: 1 INVITE']));
    phone.send(sip([...response, 'CSeq: none']));
    phone.send(Buffer.from([0, 1, 2, 255]));
    phone.send(requestFrom(phone, 'ACK', { toTag: 'x' }));
    phone.expectNothing();
    phone.send(requestFrom(phone, 'BYE', { toTag: 'x' }));
    phone.expect(/^481/);
    phone.send(requestFrom(phone, 'CANCEL'));
    phone.expect(/^481/);
    const { refusals, messagesByTransport } = lab.engine.stats().counters;
    assert.deepEqual(refusals, {
      strayResponse: 1,
      malformedResponse: 1,
      garbage: 1,
      strayAck: 1,
      noDialog: 2,
    });
    assert.equal(messagesByTransport['udp'], 6);
    lab.assertIdle();
  });

  it('is bounded for each address like new requests, when it names a dialog or an INVITE', () => {
    const limits = { requestsPerSecondPerAddress: 2, requestBurstPerAddress: 2 };
    const lab = new EngineLab({ limits });
    const phone = lab.udpPeer(5090, '10.0.0.7');
    for (let i = 0; i < 3; i += 1) {
      phone.send(requestFrom(phone, 'BYE', { toTag: `x${i}` }));
      phone.send(requestFrom(phone, 'CANCEL'));
    }
    const { refusals } = lab.engine.stats().counters;
    assert.deepEqual(refusals, { noDialog: 2, rateRefused: 2, rateDropped: 2 });
    lab.assertIdle();
  });

  it('is counted for a whole IPv6 network', () => {
    const limits = { requestsPerSecondPerAddress: 2, requestBurstPerAddress: 2 };
    const lab = new EngineLab({ limits });
    const application = lab.application('message');
    for (let i = 1; i < 10; i += 1) {
      const phone = lab.udpPeer(5090, `2001:db8::${i}`);
      phone.send(requestFrom(phone, 'MESSAGE', { callId: `m${i}` }));
    }
    const neighbour = lab.udpPeer(5090, '2001:db8:0:1::1');
    neighbour.send(requestFrom(neighbour, 'MESSAGE', { callId: 'other' }));
    assert.equal(application.reports.length, 3);
  });

  it('holds the loopback address to its limit as well, when it is told to', () => {
    const limits = { requestsPerSecondPerAddress: 2, requestBurstPerAddress: 2 };
    for (const [unboundAddresses, served] of [
      [['127.0.0.1'], 9],
      [[], 2],
    ] as const) {
      const lab = new EngineLab({ limits: { ...limits, unboundAddresses } });
      const application = lab.application('message');
      const phone = lab.udpPeer(5090);
      for (let i = 0; i < 9; i += 1) phone.send(requestFrom(phone, 'MESSAGE', { callId: `m${i}` }));
      assert.equal(application.reports.length, served);
    }
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
