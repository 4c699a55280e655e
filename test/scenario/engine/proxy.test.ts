import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP, type RequestFields } from '../../support/sip-texts.ts';

const BOB = 'sip:bob@127.0.0.1:5091';
const CAROL = 'sip:carol@127.0.0.1:5092';

describe('engine: proxied requests (RFC 3261 §16)', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let bob: LabPeer;
  let carol: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    phone = lab.udpPeer(5090);
    bob = lab.udpPeer(5091);
    carol = lab.udpPeer(5092);
    application = lab.application('invite', 'message', 'register');
  });

  function invite(fields: RequestFields = {}): string {
    phone.send(
      requestFrom(phone, 'INVITE', { uri: 'sip:bob@127.0.0.1:5060', body: SDP, ...fields }),
    );
    phone.expect(/^100/);
    return application.expect('sip', /^INVITE/).fields[8] ?? '';
  }

  /** Orders a proxy; `options` are the six fields between transaction id and destinations. */
  function proxy(id: string, options: string, ...destinations: readonly string[]): string {
    const text = `INVITE ${destinations[0] ?? ''} SIP/2.0\r\nX-Added: yes\r\n\r\n`;
    return application.send(`proxy|${id}|${options}|${destinations.join('|')}`, text);
  }

  function answers(id: string): string[] {
    const mine = application.reports.filter(({ fields }) => fields[2] === id);
    application.reports.splice(0);
    return mine.map(({ fields, sip }) =>
      sip === undefined ? fields.slice(3).join('|') : String(sip.statusCode),
    );
  }

  it('pass on everything of the request, one hop less, with our Via and Record-Route on top', () => {
    const id = invite({ maxForwards: 20, headers: ['X-Mine: 1', 'Supported: 100rel'] });
    proxy(id, 'remainInDialog|fullResponse||serial||', BOB);
    const copy = bob.expect(/^INVITE sip:bob@127.0.0.1:5091/);
    assert.equal(copy.maxForwards, 19);
    assert.deepEqual(copy.headerValues('Record-Route'), ['<sip:127.0.0.1:5060;lr>']);
    const vias = copy.headerValues('Via');
    assert.equal(vias.length, 2);
    assert.match(vias[1] ?? '', /5090.*rport=5090/);
    assert.equal(copy.header('X-Mine'), '1');
    assert.equal(copy.header('X-Added'), 'yes');
    assert.equal(copy.header('From'), '<sip:alice@example.test>;tag=alice1');
    assert.equal(copy.header('Contact'), '<sip:alice@127.0.0.1:5090>');
    assert.equal(copy.body.toString(), SDP);
    bob.respond(copy, '486 Busy Here');
    const busy = phone.expect(/^486/);
    assert.equal(busy.headerValues('Via').length, 1);
    lab.assertIdle();
  });

  it('keep a Request-URI that is not ours, and the Routes of others', () => {
    const id = invite({
      uri: 'sip:bob@example.test',
      headers: ['Route: <sip:127.0.0.1:5060;lr>, <sip:10.0.0.8;lr>'],
    });
    proxy(id, '|fullResponse||serial||', BOB);
    const copy = bob.expect(/^INVITE sip:bob@example.test/);
    assert.deepEqual(copy.headerValues('Route'), ['<sip:10.0.0.8;lr>']);
    assert.equal(copy.has('Record-Route'), false);
    bob.respond(copy, '603 Decline');
    phone.expect(/^603/);
    lab.assertIdle();
  });

  it('try one destination after the other, and tell the application of each failure', () => {
    const id = invite();
    const order = proxy(id, '|fullResponse||serial||', BOB, CAROL);
    bob.respond(bob.expect(/^INVITE/), '486 Busy Here');
    bob.expect(/^ACK/);
    const copy = carol.expect(/^INVITE/);
    carol.respond(copy, '180 Ringing', [], '', 'c');
    phone.expect(/^180/);
    carol.respond(copy, '200 OK', ['Contact: <sip:carol@127.0.0.1:5092>'], SDP, 'c');
    assert.equal(phone.expect(/^200/).toTag, 'c');
    assert.deepEqual(answers(order), ['486', '200', 'OK|done']);
    lab.assertIdle();
  });

  it('go to the next destination when the first stays silent', () => {
    const id = invite();
    proxy(id, '|fullResponse||serial|1s|', BOB, CAROL);
    const silent = bob.expect(/^INVITE/);
    lab.advance(1_100);
    const copy = carol.expect(/^INVITE/);
    bob.forget();
    bob.respond(silent, '180 Ringing');
    bob.respond(bob.expect(/^CANCEL/), '200 OK');
    bob.respond(silent, '487 Request Terminated');
    carol.respond(copy, '200 OK', ['Contact: <sip:carol@127.0.0.1:5092>'], SDP);
    phone.received.some(({ statusCode }) => statusCode === 200);
    lab.assertIdle();
  });

  it('obey the final timeout', () => {
    const id = invite();
    const order = proxy(id, '|fullResponse||serial||500ms', BOB, CAROL);
    const ringing = bob.expect(/^INVITE/);
    bob.respond(ringing, '180 Ringing');
    lab.advance(600);
    bob.respond(bob.expect(/^CANCEL/), '200 OK');
    bob.respond(ringing, '487 Request Terminated');
    carol.respond(carol.expect(/^INVITE/), '404 Not Found');
    assert.equal(phone.received.at(-1)?.statusCode, 404);
    assert.deepEqual(answers(order), ['487', '404', 'OK|done']);
    lab.assertIdle();
  });

  it('fork, take the first 2xx, cancel the others, and pass on a second one', () => {
    const id = invite();
    const order = proxy(id, 'remainInDialog|fullResponse||simultaneous||', BOB, CAROL);
    const [one, two] = [bob.expect(/^INVITE/), carol.expect(/^INVITE/)];
    carol.respond(two, '180 Ringing', [], '', 'c');
    bob.respond(one, '200 OK', ['Contact: <sip:bob@127.0.0.1:5091>'], SDP, 'b');
    carol.respond(carol.expect(/^CANCEL/), '200 OK');
    carol.respond(two, '200 OK', ['Contact: <sip:carol@127.0.0.1:5092>'], SDP, 'c');
    phone.expect(/^180/);
    assert.deepEqual([phone.expect(/^200/).toTag, phone.expect(/^200/).toTag], ['b', 'c']);
    assert.deepEqual(answers(order), ['200', 'OK|done']);
    lab.assertIdle();
  });

  it('answer with the best of all failures, with every challenge', () => {
    const dave = lab.udpPeer(5093);
    const id = invite();
    proxy(id, '|fullResponse||simultaneous||', BOB, CAROL, 'sip:dave@127.0.0.1:5093');
    const [one, two, three] = [bob.expect(), carol.expect(), dave.expect()];
    bob.respond(one, '404 Not Found');
    dave.respond(three, '407 Proxy Authentication Required', [
      'Proxy-Authenticate: Digest realm="d"',
    ]);
    carol.respond(two, '401 Unauthorized', ['WWW-Authenticate: Digest realm="c"']);
    const best = phone.expect(/^40[17]/);
    assert.ok(best.has('WWW-Authenticate') && best.has('Proxy-Authenticate'));
    lab.assertIdle();
  });

  it('stop everything on a 6xx', () => {
    const id = invite();
    proxy(id, '|fullResponse||simultaneous||', BOB, CAROL);
    const [one, two] = [bob.expect(), carol.expect()];
    carol.respond(two, '180 Ringing');
    bob.respond(one, '603 Decline');
    carol.respond(carol.expect(/^CANCEL/), '200 OK');
    carol.respond(two, '487 Request Terminated');
    phone.expect(/^180/);
    phone.expect(/^603/);
    lab.assertIdle();
  });

  it('answer 500 instead of the 503 of a destination, and 408 when nobody says anything', () => {
    proxy(invite(), '|fullResponse||serial||', BOB);
    bob.respond(bob.expect(), '503 Service Unavailable');
    phone.expect(/^500/);
    lab.advance(60_000);
    phone.forget();
    application.reports.splice(0);
    const order = proxy(invite({ callId: 'two' }), '|fullResponse||serial||', BOB);
    lab.advance(32_200);
    assert.equal(phone.received.at(-1)?.statusCode, 408);
    assert.deepEqual(answers(order), ['OK|done']);
    bob.forget();
    lab.advance(40_000);
    lab.assertIdle();
  });

  it('follow redirections when told to', () => {
    const order = proxy(invite(), '|fullResponse|followRedirects|serial||', BOB);
    bob.respond(bob.expect(), '302 Moved Temporarily', [`Contact: <${CAROL}>`]);
    carol.respond(carol.expect(/^INVITE sip:carol@127.0.0.1:5092/), '486 Busy Here');
    phone.expect(/^486/);
    assert.deepEqual(answers(order), ['302', '486', 'OK|done']);
    proxy(invite({ callId: 'two' }), '|fullResponse||serial||', BOB);
    bob.forget();
    const again = lab.sent.at(-1)?.message;
    assert.ok(again);
    bob.respond(again, '302 Moved Temporarily', [`Contact: <${CAROL}>`]);
    phone.expect(/^302/);
    lab.assertIdle();
  });

  it('do not loop in redirections', () => {
    proxy(invite(), '|fullResponse|followRedirects|serial||', BOB);
    bob.respond(bob.expect(), '302 Moved Temporarily', [`Contact: <${BOB}>, <sip:bob@127.0.0.1>`]);
    phone.expect(/^(?:408|302)/);
    lab.assertIdle();
  });

  it('cancel all branches for the caller, without a word to the application but the end', () => {
    const branch = newBranch();
    const order = proxy(invite({ branch }), '|fullResponse||simultaneous||', BOB, CAROL);
    const [one, two] = [bob.expect(), carol.expect()];
    bob.respond(one, '180 Ringing');
    carol.respond(two, '183 Session Progress');
    phone.forget();
    phone.send(requestFrom(phone, 'CANCEL', { branch, uri: 'sip:bob@127.0.0.1:5060' }));
    phone.expect(/^200/);
    for (const [peer, request] of [
      [bob, one],
      [carol, two],
    ] as [LabPeer, SipMessage][]) {
      peer.respond(peer.expect(/^CANCEL/), '200 OK');
      peer.respond(request, '487 Request Terminated');
      peer.expect(/^ACK/);
    }
    phone.expect(/^487/);
    assert.deepEqual(answers(order), ['487', '487', 'OK|done']);
    lab.assertIdle();
  });

  it('give up an INVITE after Timer C, each 1xx granting more time', () => {
    proxy(invite(), '|fullResponse||serial||', BOB);
    const copy = bob.expect();
    bob.respond(copy, '180 Ringing');
    lab.advance(100_000);
    bob.respond(copy, '180 Ringing');
    lab.advance(184_000);
    bob.expectNothing();
    lab.advance(1_100);
    bob.respond(bob.expect(/^CANCEL/), '200 OK');
    lab.advance(32_100);
    assert.equal(phone.received.at(-1)?.statusCode, 408);
    lab.advance(40_000);
    lab.assertIdle();
  });

  it('do not take 100 for a reason to wait longer (RFC 3261 §16.7 step 2)', () => {
    proxy(invite(), '|fullResponse||serial||', BOB);
    const copy = bob.expect();
    lab.advance(10_000);
    bob.forget();
    bob.respond(copy, '100 Trying');
    phone.expectNothing();
    lab.advance(174_900);
    bob.expectNothing();
    lab.advance(200);
    bob.respond(bob.expect(/^CANCEL/), '200 OK');
    bob.respond(copy, '487 Request Terminated');
    phone.expect(/^487/);
    lab.assertIdle();
  });

  it('other than INVITE are never answered 408, neither ours nor that of a destination (RFC 4320 §4.2)', () => {
    for (const [callId, answer] of [
      ['silent', undefined],
      ['late', '408 Request Timeout'],
    ] as const) {
      phone.send(requestFrom(phone, 'MESSAGE', { callId, uri: 'sip:bob@127.0.0.1:5060' }));
      const id = application.expect('sip', /^MESSAGE/).fields[8] ?? '';
      const order = proxy(id, '|fullResponse||serial||', BOB);
      const copy = bob.expect(/^MESSAGE/);
      if (answer === undefined) lab.advance(32_100);
      else bob.respond(copy, answer);
      assert.equal(answers(order).at(-1), 'OK|done');
      assert.ok(phone.received.every(({ statusCode }) => statusCode === 100));
      phone.forget();
      bob.forget();
    }
    lab.assertIdle();
  });

  it('keep the rest of the dialog on its way through us, both directions', () => {
    proxy(invite(), 'remainInDialog|fullResponse||serial||', BOB);
    const copy = bob.expect();
    bob.respond(
      copy,
      '200 OK',
      ['Contact: <sip:bob@127.0.0.1:5091>', `Record-Route: ${copy.header('Record-Route') ?? ''}`],
      SDP,
    );
    const { toTag } = phone.expect(/^200/);
    application.reports.splice(0);
    const route = 'Route: <sip:127.0.0.1:5060;lr>';
    phone.send(
      requestFrom(phone, 'ACK', { uri: 'sip:bob@127.0.0.1:5091', toTag, headers: [route] }),
    );
    const ack = bob.expect(/^ACK sip:bob@127.0.0.1:5091/);
    assert.equal(ack.has('Route'), false);
    assert.equal(ack.maxForwards, 69);
    bob.send(
      requestFrom(bob, 'BYE', {
        uri: 'sip:alice@127.0.0.1:5090',
        from: '<sip:bob@example.test>',
        fromTag: toTag ?? '',
        to: '<sip:alice@example.test>',
        toTag: 'alice1',
        headers: [route],
      }),
    );
    const bye = phone.expect(/^BYE sip:alice@127.0.0.1:5090/);
    phone.respond(bye, '200 OK');
    assert.equal(bob.expect(/^200/).headerValues('Via').length, 1);
    application.expectNothing();
    lab.assertIdle();
  });

  it('refuse a request of a dialog whose hops are used up, or that leads only to us', () => {
    const route = 'Route: <sip:127.0.0.1:5060;lr>';
    const fields = { toTag: 'x', headers: [route] };
    phone.send(requestFrom(phone, 'BYE', { ...fields, uri: BOB, maxForwards: 0 }));
    phone.expect(/^483/);
    phone.send(requestFrom(phone, 'BYE', { ...fields, uri: 'sip:127.0.0.1:5060' }));
    phone.expect(/^481/);
    bob.expectNothing();
    lab.assertIdle();
  });

  it('record both sides when they are on different sockets (RFC 5658)', () => {
    const tcp = lab.streamPeer(43_000);
    tcp.send(requestFrom(tcp, 'INVITE', { uri: 'sip:bob@127.0.0.1:5060', body: SDP }));
    proxy(application.expect('sip').fields[8] ?? '', 'remainInDialog|fullResponse||serial||', BOB);
    const copy = bob.expect();
    assert.deepEqual(copy.headerValues('Record-Route'), [
      '<sip:127.0.0.1:5060;lr>',
      '<sip:127.0.0.1:5060;transport=tcp;lr>',
    ]);
    bob.respond(copy, '486 Busy Here');
    tcp.expect(/^100/);
    const { toTag } = tcp.expect(/^486/);
    assert.equal(toTag, 'peer');
    lab.advance(40_000);
    lab.assertIdle();
  });

  it('add Path to REGISTER instead of Record-Route (RFC 3327)', () => {
    phone.send(requestFrom(phone, 'REGISTER', { uri: 'sip:127.0.0.1:5060' }));
    proxy(application.expect('sip').fields[8] ?? '', 'remainInDialog|fullResponse||serial||', BOB);
    const copy = bob.expect(/^REGISTER/);
    assert.equal(copy.header('Path'), '<sip:127.0.0.1:5060;lr>');
    assert.equal(copy.header('Require'), 'path');
    assert.equal(copy.has('Record-Route'), false);
    const headers = ['Path: <sip:127.0.0.1:5060;lr>', 'Service-Route: <sip:home.test;lr>'];
    bob.respond(copy, '200 OK', headers);
    const ok = phone.expect(/^200/);
    assert.equal(ok.header('Path'), '<sip:127.0.0.1:5060;lr>');
    assert.equal(ok.header('Service-Route'), '<sip:home.test;lr>');
    lab.assertIdle();
  });

  it('are refused when the request is unknown or answered, has no hops left, or leads nowhere', () => {
    const nok = (id: string, ...destinations: readonly string[]): readonly string[] => {
      const order = proxy(id, '|fullResponse||serial||', ...destinations);
      const report = application.reports.find(({ fields }) => fields[2] === order);
      application.reports.splice(0);
      return report?.fields.slice(3) ?? [];
    };
    assert.deepEqual(nok('nosuch', BOB), ['NOK', 'Unknown transaction id: nosuch']);
    const answered = invite();
    application.respond(answered, '180 Ringing');
    assert.deepEqual(nok(answered, BOB), ['NOK', `Unknown transaction id: ${answered}`]);
    application.respond(answered, '486 Busy Here');
    phone.forget();
    assert.deepEqual(nok(invite({ callId: 'b' }), 'nonsense'), [
      'NOK',
      'error proxying request to ',
    ]);
    assert.equal(phone.received.at(-1)?.statusCode, 500);
    phone.send(requestFrom(phone, 'REGISTER', { callId: 'c', maxForwards: 0 }));
    assert.deepEqual(nok(application.next().fields[8] ?? '', BOB), [
      'NOK',
      'Rejected with 483 Too Many Hops due to Max-Forwards value of 0',
    ]);
    assert.equal(phone.received.at(-1)?.statusCode, 483);
    const short = application.command('proxy|x|||||||', 'INVITE sip:a@b SIP/2.0\r\n\r\n');
    assert.deepEqual(short.fields.slice(3), [
      'NOK',
      'Invalid proxy request: not enough information provided',
    ]);
    lab.assertIdle();
  });

  it('answer repetitions of the request from the transaction', () => {
    const branch = newBranch();
    proxy(invite({ branch }), '|fullResponse||serial||', BOB);
    const copy = bob.expect();
    bob.respond(copy, '180 Ringing');
    phone.expect(/^180/);
    phone.send(requestFrom(phone, 'INVITE', { branch, uri: 'sip:bob@127.0.0.1:5060', body: SDP }));
    phone.expect(/^180/);
    bob.expectNothing();
    bob.respond(copy, '486 Busy Here');
    lab.assertIdle();
  });

  it('tell the application the end at once when it does not want the responses', () => {
    const id = invite();
    const order = proxy(id, '|||serial||', BOB);
    assert.deepEqual(answers(order), ['OK|done']);
    bob.respond(bob.expect(), '486 Busy Here');
    phone.expect(/^486/);
    application.expectNothing();
    lab.assertIdle();
  });

  it('go on when the application is gone', () => {
    proxy(invite(), '|fullResponse||serial||', BOB, CAROL);
    application.close();
    bob.respond(bob.expect(), '486 Busy Here');
    carol.respond(carol.expect(), '404 Not Found');
    phone.expect(/^486|^404/);
    lab.assertIdle();
  });
});
