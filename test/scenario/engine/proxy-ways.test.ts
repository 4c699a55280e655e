import assert from 'node:assert/strict';
import type { SipMessage } from '../../../core/sip/message.ts';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { newBranch, requestFrom, SDP, type RequestFields } from '../../support/sip-texts.ts';

const US = 'sip:127.0.0.1:5060';
const OUR_ROUTE = `<${US};lr>`;
const BOB = 'sip:bob@127.0.0.1:5091';
const CAROL = 'sip:carol@127.0.0.1:5092';
const DAVE = 'sip:dave@127.0.0.1:5093';

describe('engine: the ways of proxied requests', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let bob: LabPeer;
  let carol: LabPeer;
  let dave: LabPeer;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    [phone, bob, carol, dave] = [5090, 5091, 5092, 5093].map((port) => lab.udpPeer(port)) as [
      LabPeer,
      LabPeer,
      LabPeer,
      LabPeer,
    ];
    application = lab.application('invite', 'message');
  });

  function invite(fields: RequestFields = {}): string {
    phone.send(
      requestFrom(phone, 'INVITE', { uri: 'sip:bob@127.0.0.1:5060', body: SDP, ...fields }),
    );
    phone.expect(/^100/);
    return application.expect('sip', /^INVITE/).fields[8] ?? '';
  }

  /** `options` are the six fields between transaction id and destinations. */
  function proxy(id: string, options: string, ...destinations: readonly string[]): string {
    const text = `INVITE ${destinations[0] ?? ''} SIP/2.0\r\n\r\n`;
    return application.send(`proxy|${id}|${options}|${destinations.join('|')}`, text);
  }

  /** The refusal of an order, which is the last thing that the application was told. */
  function refusal(order: string): readonly string[] {
    const report = application.reports.find(({ fields }) => fields[2] === order);
    return report?.fields.slice(3) ?? [];
  }

  function breadths(...copies: readonly SipMessage[]): (string | undefined)[] {
    return copies.map((copy) => copy.header('Max-Breadth'));
  }

  describe('that come back (RFC 5393 §4)', () => {
    /** What a proxy at bob sends back to us: the copy that it got, with its own Via on top. */
    function sendBack(copy: SipMessage, changes: RequestFields = {}): void {
      bob.send(
        requestFrom(bob, 'INVITE', {
          uri: 'sip:bob@127.0.0.1:5060',
          vias: copy.headerFields('Via'),
          contact: '<sip:alice@127.0.0.1:5090>',
          body: SDP,
          maxForwards: (copy.maxForwards ?? 0) - 1,
          ...changes,
        }),
      );
      bob.expect(/^100/);
    }

    it('as they were are loops: 482', () => {
      proxy(invite(), '|fullResponse||serial||', BOB);
      sendBack(bob.expect(/^INVITE/));
      const order = proxy(
        application.expect('sip', /^INVITE/).fields[8] ?? '',
        '|fullResponse||serial||',
        CAROL,
      );
      bob.expect(/^482 Loop Detected/);
      assert.deepEqual(refusal(order), ['NOK', 'Rejected with 482 Loop Detected']);
      carol.expectNothing();
    });

    it('with another Request-URI or Route are spirals, and go on', () => {
      for (const changes of [
        { uri: 'sip:carol@127.0.0.1:5060' },
        { headers: ['Route: <sip:10.0.0.8;lr>'] },
      ]) {
        const callId = JSON.stringify(changes).length.toString();
        proxy(invite({ callId }), '|fullResponse||serial||', BOB);
        sendBack(bob.expect(/^INVITE/), { ...changes, callId });
        const id = application.reports.find(({ sip }) => sip?.isRequest)?.fields[8] ?? '';
        application.reports.length = 0;
        proxy(id, '|fullResponse||serial||', CAROL);
        carol.expect(/^INVITE/);
        bob.expectNothing();
      }
    });

    it('are not taken for our own because somebody uses the same branch', () => {
      proxy(invite(), '|fullResponse||serial||', BOB);
      const copy = bob.expect(/^INVITE/);
      const vias = copy
        .headerFields('Via')
        .map((via) => via.replace('127.0.0.1:5060', '10.0.0.5:5060'));
      sendBack(copy, { vias });
      proxy(application.expect('sip').fields[8] ?? '', '|fullResponse||serial||', CAROL);
      carol.expect(/^INVITE/);
    });
  });

  describe('that are forked (RFC 5393 §5)', () => {
    it('share the Max-Breadth of the request, 60 where it says nothing', () => {
      proxy(invite(), '|fullResponse||simultaneous||', BOB, CAROL, DAVE);
      const copies = [bob.expect(), carol.expect(), dave.expect()];
      assert.deepEqual(breadths(...copies), ['20', '20', '20']);
      proxy(invite({ callId: 'b', headers: ['Max-Breadth: 7'] }), '|f||simultaneous||', BOB, CAROL);
      assert.deepEqual(breadths(bob.expect(/^INVITE/), carol.expect(/^INVITE/)), ['3', '4']);
      proxy(invite({ callId: 'c', headers: ['Max-Breadth: 7'] }), '|f||simultaneous||', DAVE);
      const alone = dave.expect(/^INVITE/);
      assert.deepEqual(alone.headerFields('Max-Breadth'), ['7']);
    });

    it('go out later where there are more of them than the request may have at once', () => {
      proxy(invite({ headers: ['Max-Breadth: 2'] }), '|f||simultaneous||', BOB, CAROL, DAVE);
      const [one, two] = [bob.expect(/^INVITE/), carol.expect(/^INVITE/)];
      assert.deepEqual(breadths(one, two), ['1', '1']);
      dave.expectNothing();
      carol.respond(two, '486 Busy Here');
      const three = dave.expect(/^INVITE/);
      assert.deepEqual(breadths(three), ['1']);
      dave.respond(three, '404 Not Found');
      phone.expectNothing();
      bob.respond(one, '486 Busy Here');
      phone.expect(/^486|^404/);
      lab.assertIdle();
    });

    it('one after the other leave something for the next, when the first may stay', () => {
      proxy(invite({ headers: ['Max-Breadth: 5'] }), '|f||serial|1s|', BOB, CAROL);
      const one = bob.expect(/^INVITE/);
      lab.advance(1_001);
      assert.deepEqual(breadths(one, carol.expect(/^INVITE/)), ['2', '3']);
    });

    it('one after the other wait for each other when they may not be two at once', () => {
      proxy(invite({ headers: ['Max-Breadth: 1'] }), '|f||serial|1s|', BOB, CAROL);
      const one = bob.expect(/^INVITE/);
      lab.advance(1_001);
      carol.expectNothing();
      bob.forget();
      bob.respond(one, '180 Ringing');
      bob.respond(bob.expect(/^CANCEL/), '200 OK');
      bob.respond(one, '487 Request Terminated');
      assert.deepEqual(breadths(carol.expect(/^INVITE/)), ['1']);
    });

    it('are refused with 440 when they may have no branch at all', () => {
      const order = proxy(invite({ headers: ['Max-Breadth: 0'] }), '|f||serial||', BOB);
      phone.expect(/^440 Max-Breadth Exceeded/);
      assert.deepEqual(refusal(order), [
        'NOK',
        'Rejected with 440 Max-Breadth Exceeded due to Max-Breadth value of 0',
      ]);
      bob.expectNothing();
      lab.assertIdle();
    });
  });

  describe('in dialogs', () => {
    function bye(fields: RequestFields): void {
      phone.send(requestFrom(phone, 'BYE', { toTag: 'b', sequence: 2, ...fields }));
    }

    it('from a strict router get their target back from the last Route (RFC 3261 §16.4)', () => {
      bye({ uri: `${US};lr`, headers: [`Route: <${CAROL};lr>, <sip:b@10.0.0.7>`] });
      const passed = carol.expect(/^BYE sip:b@10.0.0.7/);
      assert.deepEqual(passed.headerValues('Route'), [`<${CAROL};lr>`]);
      bye({ uri: `${US};lr`, headers: [`Route: <${BOB}>`], sequence: 3 });
      assert.equal(bob.expect(/^BYE sip:bob@127.0.0.1:5091/).has('Route'), false);
      lab.assertIdle();
    });

    it('to a strict router carry it in the Request-URI, and the target behind (RFC 3261 §16.6 step 6)', () => {
      const headers = [`Route: ${OUR_ROUTE}, <sip:127.0.0.1:5092>, <sip:10.0.0.8;lr>`];
      bye({ uri: 'sip:b@10.0.0.7', headers });
      const passed = carol.expect(/^BYE sip:127.0.0.1:5092/);
      assert.deepEqual(passed.headerValues('Route'), ['<sip:10.0.0.8;lr>', '<sip:b@10.0.0.7>']);
      lab.assertIdle();
    });

    it('are cancelled along with them, though nothing is kept of either (RFC 3261 §16.10)', () => {
      const branch = newBranch();
      const about = { toTag: 'b', sequence: 2, branch, uri: BOB, headers: [`Route: ${OUR_ROUTE}`] };
      phone.send(requestFrom(phone, 'INVITE', { ...about, body: SDP }));
      phone.send(requestFrom(phone, 'CANCEL', about));
      const [reinvite, cancel] = [bob.expect(/^INVITE/), bob.expect(/^CANCEL/)];
      assert.equal(cancel.topVia().branch, reinvite.topVia().branch);
      bob.respond(cancel, '200 OK');
      assert.equal(phone.expect(/^200/).cseq.method, 'CANCEL');
      bob.respond(reinvite, '487 Request Terminated');
      phone.expect(/^487/);
      phone.send(requestFrom(phone, 'ACK', about));
      assert.equal(bob.expect(/^ACK/).topVia().branch, reinvite.topVia().branch);
      phone.send(requestFrom(phone, 'CANCEL', { ...about, headers: [] }));
      phone.expect(/^481/);
      lab.assertIdle();
    });

    it('are not ours because their Request-URI is, without Routes or with a user', () => {
      bye({ uri: `${US};lr` });
      phone.expect(/^481/);
      bye({ uri: 'sip:bob@127.0.0.1:5060;lr', headers: [`Route: <${CAROL};lr>`] });
      phone.expect(/^481/);
      carol.expectNothing();
      lab.assertIdle();
    });
  });

  it('want nothing of a proxy that it cannot do: 420 with what it is (RFC 3261 §16.3 step 5)', () => {
    const headers = ['Proxy-Require: sec-agree', 'Proxy-Require: privacy'];
    const order = proxy(invite({ headers }), '|f||serial||', BOB);
    assert.equal(phone.expect(/^420/).header('Unsupported'), 'sec-agree, privacy');
    assert.deepEqual(refusal(order), [
      'NOK',
      'Rejected with 420 Bad Extension due to Proxy-Require',
    ]);
    const route = `Route: ${OUR_ROUTE}`;
    const about = { toTag: 'b', uri: BOB, headers: [route, 'Proxy-Require: x'] };
    phone.send(requestFrom(phone, 'BYE', about));
    assert.equal(phone.expect(/^420/).header('Unsupported'), 'x');
    phone.send(requestFrom(phone, 'ACK', about));
    phone.expectNothing();
    bob.expectNothing();
    lab.assertIdle();
  });

  it('leave RSeq alone, each fork its own, so that PRACK finds its way (RFC 3262 §4, §7.1)', () => {
    const uri = 'sip:bob@127.0.0.1:5060';
    phone.send(requestFrom(phone, 'INVITE', { uri, headers: ['Supported: 100rel'], body: SDP }));
    phone.expect(/^100/);
    const id = application.expect('sip').fields[8] ?? '';
    proxy(id, 'remainInDialog|f||simultaneous||', BOB, CAROL);
    const [one, two] = [bob.expect(/^INVITE/), carol.expect(/^INVITE/)];
    const reliable = (peer: LabPeer, copy: SipMessage, rseq: number, tag: string): SipMessage => {
      const route = `Record-Route: ${copy.header('Record-Route') ?? ''}`;
      const contact = `Contact: <sip:${tag}@127.0.0.1:${peer.endpoint.port}>`;
      peer.respond(
        copy,
        '183 Progress',
        ['Require: 100rel', `RSeq: ${rseq}`, route, contact],
        '',
        tag,
      );
      return phone.expect(/^183/);
    };
    // The same number from both, and then one each that is out of order for the other.
    for (const [peer, copy, rseq, tag] of [
      [bob, one, 7, 'bob'],
      [carol, two, 7, 'carol'],
      [carol, two, 8, 'carol'],
      [bob, one, 8, 'bob'],
    ] as const) {
      const progress = reliable(peer, copy, rseq, tag);
      assert.deepEqual([progress.header('RSeq'), progress.toTag], [String(rseq), tag]);
      const { requestUri, port } = {
        requestUri: progress.contacts[0]?.uriText ?? '',
        ...peer.endpoint,
      };
      const headers = [`Route: ${progress.header('Record-Route') ?? ''}`, `RAck: ${rseq} 1 INVITE`];
      phone.send(
        requestFrom(phone, 'PRACK', { uri: requestUri, toTag: tag, sequence: rseq, headers }),
      );
      const prack = peer.expect(new RegExp(`^PRACK sip:${tag}@127.0.0.1:${port}`));
      assert.equal(prack.header('RAck'), `${rseq} 1 INVITE`);
      peer.respond(prack, '200 OK');
      phone.expect(/^200/);
    }
    application.expectNothing();
    carol.respond(two, '486 Busy Here');
    bob.respond(one, '486 Busy Here');
    phone.expect(/^486/);
    lab.assertIdle();
  });

  it('pass a repeated reliable answer on as often as it comes', () => {
    proxy(invite({ headers: ['Supported: 100rel'] }), '|f||serial||', BOB);
    const copy = bob.expect(/^INVITE/);
    for (let i = 0; i < 3; i += 1) {
      bob.respond(copy, '180 Ringing', ['Require: 100rel', 'RSeq: 1']);
      phone.expect(/^180/);
    }
    bob.respond(copy, '486 Busy Here');
    phone.expect(/^486/);
    lab.assertIdle();
  });
});
