import assert from 'node:assert/strict';
import { EngineLab, SECRET, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom, SDP, type RequestFields } from '../../support/sip-texts.ts';

const WEB = 'http://127.0.0.1:3000/route';
const FURTHER_SECRET = 'for the others';

describe('engine: web servers that decide about requests', () => {
  let lab: EngineLab;
  let phone: LabPeer;

  beforeEach(() => {
    lab = new EngineLab({
      requestHandlers: [{ method: 'INVITE', uri: WEB }, { uri: `${WEB}?a=b` }],
    });
    phone = lab.udpPeer(5090);
  });

  function invite(fields: RequestFields = {}): void {
    phone.send(requestFrom(phone, 'INVITE', { body: SDP, ...fields }));
    phone.expect(/^100/);
  }

  /** What was asked last: its fields in order. */
  function fieldsAsked(): [string, string][] {
    const question = lab.questions.at(-1);
    assert.ok(question, 'no web server is asked');
    return [...new URL(question.url).searchParams];
  }

  function errors(kind: string): number {
    return lab.engine.stats().counters.controlErrors[kind] ?? 0;
  }

  describe('are asked', () => {
    it('with the fields of the request, and the parameters of its URI', () => {
      const uri = 'sip:%23turbo+1@example.test:5062;transport=udp;x=%20;method=FAKE;Domain=y;flag';
      const from = '"A" <sip:al&ice@a.test>';
      invite({ uri, from, to: '<sip:bob@b.test>' });
      assert.ok(lab.questions[0]?.url.startsWith('http://127.0.0.1:3000/route/?method=INVITE&'));
      assert.deepEqual(fieldsAsked(), [
        ['method', 'INVITE'],
        ['domain', 'example.test'],
        ['protocol', 'udp'],
        ['source_address', '127.0.0.1'],
        ['fromUser', 'al&ice'],
        ['toUser', 'bob'],
        ['uriUser', '%23turbo+1'],
        ['contentType', 'application/sdp'],
        ['uri', uri],
        ['transport', 'udp'],
        ['x', '%20'],
        ['flag', ''],
      ]);
      lab.answerQuestion({ action: 'reject', data: { status: 404 } });
      phone.expect(/^404 Not Found/);
      lab.assertIdle();
    });

    it('for all methods that no other handler names, with what their own URL asks already', () => {
      phone.send(
        requestFrom(phone, 'MESSAGE', { headers: ['Content-Type: Text/Plain ; charset=utf-8'] }),
      );
      const fields = new Map(fieldsAsked());
      assert.equal(fields.get('a'), 'b');
      assert.equal(fields.get('method'), 'MESSAGE');
      assert.equal(fields.get('contentType'), 'Text/Plain');
      assert.equal(lab.questions[0]?.body, undefined);
      lab.answerQuestion({ action: 'reject', data: { status: 603, reason: 'Nein' } });
      phone.expect(/^603 Nein/);
      lab.assertIdle();
    });

    it('with the numbers of tel URIs', () => {
      invite({ uri: 'sip:9@b.test', from: '<tel:+4930123>', to: '<tel:110;phone-context=+49>' });
      const fields = new Map(fieldsAsked());
      assert.deepEqual([fields.get('fromUser'), fields.get('toUser')], ['+4930123', '110']);
      lab.answerQuestion({ action: 'reject', data: { status: 404 } });
      phone.expect(/^404/);
      lab.assertIdle();
    });

    it('with the request itself as body, where that is wished', () => {
      lab = new EngineLab({ requestHandlers: [{ uri: WEB, withBody: true }] });
      phone = lab.udpPeer(5090);
      const request = requestFrom(phone, 'MESSAGE', { body: 'hello' });
      phone.send(request);
      assert.deepEqual(lab.questions[0]?.body, request);
      lab.answerQuestion({ action: 'reject', data: { status: 486 } });
      phone.expect(/^486/);
      lab.assertIdle();
    });

    it('once, however often the request is repeated', () => {
      const bytes = requestFrom(phone, 'MESSAGE', {});
      phone.send(bytes);
      phone.send(bytes);
      assert.equal(lab.questions.length, 1);
      lab.answerQuestion({ action: 'reject', data: { status: 480 } });
      phone.expect(/^480/);
      phone.send(bytes);
      phone.expect(/^480/);
      assert.equal(lab.questions.length, 0);
      lab.assertIdle();
    });

    it('before any route, and not about requests in dialogs', () => {
      const routed = lab.application('invite', 'options');
      invite();
      routed.expectNothing();
      lab.answerQuestion({ action: 'reject', data: { status: 486 } });
      phone.expect(/^486/);
      phone.forget();
      lab.assertIdle();
    });

    it('never with more than fits into a request line: 513', () => {
      phone.send(requestFrom(phone, 'MESSAGE', { from: `<sip:${'a'.repeat(8_000)}@a.test>` }));
      phone.expect(/^513/);
      assert.equal(lab.questions.length, 0);
      assert.equal(lab.engine.stats().counters.refusals['routeQuestionTooLong'], 1);
      lab.assertIdle();
    });

    it('about so many requests at once as the limit says: 503 beyond', () => {
      lab = new EngineLab({ requestHandlers: [{ uri: WEB }], limits: { routeQuestions: 2 } });
      phone = lab.udpPeer(5090);
      for (const callId of ['one', 'two', 'three']) {
        phone.send(requestFrom(phone, 'MESSAGE', { callId }));
      }
      assert.equal(phone.expect(/^503/).callId, 'three');
      assert.equal(lab.engine.stats().counters.refusals['overload'], 1);
      assert.equal(lab.engine.stats().routeQuestions, 2);
      lab.answerQuestion({ action: 'reject', data: { status: 486 } });
      assert.equal(phone.expect(/^486/).callId, 'one');
      phone.send(requestFrom(phone, 'MESSAGE', { callId: 'four' }));
      lab.answerQuestion({ action: 'reject', data: { status: 486 } });
      lab.answerQuestion({ action: 'reject', data: { status: 486 } });
      assert.equal(phone.expect(/^486/).callId, 'two');
      assert.equal(phone.expect(/^486/).callId, 'four');
      lab.assertIdle();
    });
  });

  describe('may say', () => {
    it('redirect: 302 with each contact', () => {
      invite();
      const contact = ['sip:carol@c.test', '"D" <sip:dave@d.test;transport=tcp>;q=0.5'];
      lab.answerQuestion({ action: 'redirect', data: { contact } });
      assert.deepEqual(phone.expect(/^302 Moved Temporarily/).headerFields('Contact'), contact);
      invite({ callId: 'two' });
      lab.answerQuestion({ action: 'redirect', data: { contact: 'sip:erin@e.test' } });
      assert.deepEqual(phone.expect(/^302/).headerFields('Contact'), ['sip:erin@e.test']);
      phone.forget();
      lab.assertIdle();
    });

    it('proxy: the request goes there, and its answers come back, without any application', () => {
      const bob = lab.udpPeer(5091);
      invite({ uri: 'sip:bob@127.0.0.1:5060' });
      const destination = 'sip:bob@127.0.0.1:5091';
      lab.answerQuestion({ action: 'proxy', data: { destination, recordRoute: true } });
      const copy = bob.expect(/^INVITE/);
      assert.ok(copy.has('Record-Route'));
      bob.respond(copy, '180 Ringing');
      phone.expect(/^180/);
      bob.respond(copy, '486 Busy Here');
      phone.expect(/^486/);
      bob.forget();
      phone.forget();
      lab.assertIdle();
    });

    it('proxy: one destination after the other, to the next after five silent seconds', () => {
      const [bob, carol] = [lab.udpPeer(5091), lab.udpPeer(5092)];
      invite({ uri: 'sip:bob@127.0.0.1:5060' });
      const destination = ['sip:bob@127.0.0.1:5091', 'sip:carol@127.0.0.1:5092'];
      lab.answerQuestion({ action: 'proxy', data: { destination } });
      assert.ok(!bob.expect(/^INVITE/).has('Record-Route'));
      lab.advance(4_999);
      carol.expectNothing();
      lab.advance(1);
      const copy = carol.expect(/^INVITE/);
      carol.respond(copy, '200 OK', ['Contact: <sip:carol@127.0.0.1:5092>'], SDP);
      phone.expect(/^200/);
      bob.forget();
      carol.forget();
      phone.forget();
      lab.assertIdle();
    });

    it('proxy: all at once, and nowhere that is no SIP URI: 500', () => {
      const [bob, carol] = [lab.udpPeer(5091), lab.udpPeer(5092)];
      phone.send(requestFrom(phone, 'MESSAGE', { uri: 'sip:bob@127.0.0.1:5060' }));
      const destination = ['sip:bob@127.0.0.1:5091', 'sip:carol@127.0.0.1:5092'];
      lab.answerQuestion({ action: 'proxy', data: { destination, simultaneous: true } });
      bob.respond(bob.expect(/^MESSAGE/), '404 Not Found');
      carol.respond(carol.expect(/^MESSAGE/), '200 OK');
      phone.expect(/^200/);
      phone.send(requestFrom(phone, 'MESSAGE', { callId: 'two' }));
      lab.answerQuestion({ action: 'proxy', data: { destination: 'tel:1' } });
      phone.expect(/^500/);
      phone.send(requestFrom(phone, 'MESSAGE', { callId: 'three', maxForwards: 1 }));
      lab.answerQuestion({ action: 'reject', data: { status: 488 } });
      phone.expect(/^488/);
      lab.assertIdle();
    });

    it('route by uri: we connect to that application, which gets the request', () => {
      for (const [uri, place] of [
        ['app.test:3001', 'tcp://app.test:3001'],
        ['app.test:3001;transport=tls', 'tls://app.test:3001'],
        ['tls://app.test', 'tls://app.test:9021'],
        ['[::1]:3001', 'tcp://::1:3001'],
      ]) {
        phone.send(requestFrom(phone, 'MESSAGE', { callId: uri ?? '' }));
        lab.answerQuestion({ action: 'route', data: { uri } });
        const [dial] = lab.dials;
        assert.equal(`${dial?.transport}://${dial?.host}:${dial?.port}`, place);
        const application = lab.acceptDial();
        assert.equal(application.command(`authenticate|${SECRET}|`).fields[3], 'OK');
        application.respond(application.expect('sip', /^MESSAGE/).fields[8] ?? '', '200 OK');
        phone.expect(/^200/);
        application.close();
      }
      invite();
      lab.answerQuestion({ action: 'route', data: { uri: '127.0.0.1:3001' } });
      lab.refuseDial();
      phone.expect(/^480/);
      phone.forget();
      lab.assertIdle();
    });

    it('route by uri, when too many such connections are open: 503', () => {
      lab = new EngineLab({ requestHandlers: [{ uri: WEB }], limits: { outboundSessions: 0 } });
      phone = lab.udpPeer(5090);
      phone.send(requestFrom(phone, 'MESSAGE', {}));
      lab.answerQuestion({ action: 'route', data: { uri: '127.0.0.1:3001' } });
      phone.expect(/^503/);
      lab.assertIdle();
    });

    it('route by tag: those that have it, and route the method, take turns', () => {
      const tagged = (tags: string, ...verbs: string[]): LabApplication => {
        const application = lab.connectApplication();
        assert.equal(application.command(`authenticate|${SECRET}|${tags}`).fields[3], 'OK');
        for (const verb of verbs) application.command(`route|${verb}`);
        return application;
      };
      const [one, two] = [tagged('blue', 'message'), tagged('red,blue', 'message', 'invite')];
      const [none, other] = [tagged('blue', 'invite'), tagged('green', 'message')];
      const takers: string[] = [];
      for (const callId of ['1', '2', '3', '4']) {
        phone.send(requestFrom(phone, 'MESSAGE', { callId }));
        lab.answerQuestion({ action: 'route', data: { tag: 'blue' } });
        const taker = one.reports.length > 0 ? one : two;
        takers.push(taker === one ? 'one' : 'two');
        taker.respond(taker.expect('sip', /^MESSAGE/).fields[8] ?? '', '200 OK');
        phone.expect(/^200/);
        taker.reports.length = 0;
      }
      assert.deepEqual(takers, ['one', 'two', 'one', 'two']);
      none.expectNothing();
      other.expectNothing();
      phone.send(requestFrom(phone, 'MESSAGE', { callId: '5' }));
      lab.answerQuestion({ action: 'route', data: { tag: 'nobody' } });
      phone.expect(/^480/);
      assert.equal(errors('routeUnknownTag'), 1);
      lab.assertIdle();
    });

    it('nothing that is understood: 500, counted, and no word of theirs gets into a header', () => {
      const nonsense: (object | string | Buffer)[] = [
        '',
        'not JSON',
        '[]',
        'null',
        '7',
        Buffer.from([0xff, 0xfe, 0x00]),
        {},
        { action: 'reject' },
        { action: 'shrug', data: {} },
        { action: 'reject', data: [] },
        { action: 'reject', data: {} },
        { action: 'reject', data: { status: '486' } },
        { action: 'reject', data: { status: 200 } },
        { action: 'reject', data: { status: 486.5 } },
        { action: 'reject', data: { status: 700 } },
        { action: 'reject', data: { status: 486, reason: 'Busy\r\nX-Evil: 1' } },
        { action: 'reject', data: { status: 486, reason: 'x'.repeat(200) } },
        { action: 'reject', data: { status: 486, reason: 7 } },
        { action: 'redirect', data: {} },
        { action: 'redirect', data: { contact: [] } },
        { action: 'redirect', data: { contact: ['sip:a@b', 7] } },
        { action: 'redirect', data: { contact: 'sip:a@b\r\nX-Evil: 1' } },
        { action: 'redirect', data: { contact: '<sip:a@b' } },
        { action: 'redirect', data: { contact: Array(40).fill('sip:a@b') } },
        { action: 'proxy', data: {} },
        { action: 'proxy', data: { destination: [7] } },
        { action: 'proxy', data: { destination: 'sip:a@b\r\nX-Evil: 1' } },
        { action: 'route', data: {} },
        { action: 'route', data: { tag: '' } },
        { action: 'route', data: { uri: 'http://127.0.0.1' } },
        { action: 'route', data: { uri: 'host:0' } },
        { action: 'route', data: { uri: 'host:1;transport=udp' } },
      ];
      for (const [index, answer] of nonsense.entries()) {
        phone.send(requestFrom(phone, 'MESSAGE', { callId: `bad-${index}` }));
        lab.answerQuestion(answer);
        const refusal = phone.expect(/^500/);
        assert.ok(!refusal.has('X-Evil') && !refusal.has('Retry-After'), JSON.stringify(answer));
      }
      assert.equal(errors('routeMalformed'), nonsense.length);
      lab.assertIdle();
    });
  });

  describe('that say nothing', () => {
    it('have three seconds: 500 with Retry-After, and a late answer changes nothing', () => {
      invite();
      const late = lab.questions[0];
      lab.advance(2_999);
      phone.expectNothing();
      lab.advance(1);
      assert.ok(phone.expect(/^500/).has('Retry-After'));
      assert.equal(lab.questions.length, 0, 'the question is dropped');
      const body = Buffer.from('{"action":"reject","data":{"status":486}}');
      lab.feed({ kind: 'routeAnswered', questionId: late?.questionId ?? 0, body });
      assert.equal(errors('routeTimeout'), 1);
      phone.forget();
      lab.assertIdle();
    });

    for (const reason of ['routeUnanswered', 'routeTooLong'] as const) {
      it(`because of ${reason}: 500 at once`, () => {
        phone.send(requestFrom(phone, 'MESSAGE', {}));
        lab.feed({
          kind: 'routeUnanswered',
          questionId: lab.questions[0]?.questionId ?? 0,
          reason,
        });
        assert.equal(phone.expect(/^500/).has('Retry-After'), reason === 'routeUnanswered');
        assert.equal(errors(reason), 1);
        lab.assertIdle();
      });
    }

    it('are not asked any longer when the caller gives up', () => {
      invite({ branch: 'z9hG4bKone' });
      phone.send(requestFrom(phone, 'CANCEL', { branch: 'z9hG4bKone' }));
      phone.expect(/^200/);
      phone.expect(/^487/);
      assert.equal(lab.questions.length, 0);
      assert.equal(lab.engine.stats().routeQuestions, 0);
      phone.forget();
      lab.assertIdle();
    });
  });

  it('are reported with the attempt before the call is refused', () => {
    lab = new EngineLab({ requestHandlers: [{ uri: WEB }], hasCallRecords: true });
    phone = lab.udpPeer(5090);
    const listener = lab.application('cdr:attempt', 'cdr:stop');
    invite();
    lab.answerQuestion({ action: 'reject', data: { status: 486 } });
    listener.expect('cdr:attempt', /^INVITE/);
    listener.expect('cdr:stop', /486/);
    listener.expectNothing();
    phone.forget();
    lab.assertIdle();
  });
});

describe('engine: applications of others', () => {
  let lab: EngineLab;
  let phone: LabPeer;
  let owner: LabApplication;

  function begin(methods: readonly string[]): void {
    lab = new EngineLab({
      furtherApplications: { secret: FURTHER_SECRET, methods },
      requestHandlers: [{ method: 'SUBSCRIBE', uri: WEB }],
    });
    phone = lab.udpPeer(5090);
    owner = lab.application('message', 'options', 'subscribe');
  }

  function further(tags: string, ...verbs: readonly string[]): LabApplication {
    const application = lab.connectApplication('further');
    const answer = application.command(`authenticate|${FURTHER_SECRET}|${tags}`);
    assert.equal(answer.fields[3], 'OK');
    for (const verb of verbs) assert.equal(application.command(`route|${verb}`).fields[3], 'OK');
    return application;
  }

  let calls = 0;
  /** Who gets the next request with this method, and answers it. */
  function takerOf(method: string, ...applications: readonly LabApplication[]): number {
    calls += 1;
    phone.send(requestFrom(phone, method, { callId: `next-${calls}` }));
    if (method === 'SUBSCRIBE') lab.answerQuestion({ action: 'route', data: { tag: 'shared' } });
    const index = applications.findIndex(({ reports }) => reports.length > 0);
    const taker = applications[index];
    if (taker !== undefined) {
      taker.respond(taker.expect('sip').fields[8] ?? '', '486 Busy Here');
      taker.reports.length = 0;
    }
    phone.forget();
    return index;
  }

  it('get what the owner does not route, and take turns in it', () => {
    begin([]);
    const [one, two] = [further('', 'message', 'info'), further('', 'message', 'info')];
    assert.deepEqual(
      ['MESSAGE', 'MESSAGE', 'INFO', 'INFO', 'INFO', 'OPTIONS'].map((method) =>
        takerOf(method, owner, one, two),
      ),
      [0, 0, 1, 2, 1, 0],
    );
    lab.assertIdle();
  });

  it('go before the owner in the methods that are given to them, while one is there', () => {
    begin(['MESSAGE']);
    assert.equal(takerOf('MESSAGE', owner), 0);
    const [one, two] = [further('', 'message', 'options'), further('', 'message')];
    assert.deepEqual(
      ['MESSAGE', 'MESSAGE', 'MESSAGE', 'OPTIONS'].map((method) =>
        takerOf(method, owner, one, two),
      ),
      [1, 2, 1, 0],
    );
    one.close();
    two.command('remove_route|message');
    assert.equal(takerOf('MESSAGE', owner, one, two), 0);
    lab.assertIdle();
  });

  it('are reached by their tags, as the owner is', () => {
    begin([]);
    const tagged = lab.connectApplication();
    assert.equal(tagged.command(`authenticate|${SECRET}|shared`).fields[3], 'OK');
    tagged.command('route|subscribe');
    const other = further('shared', 'subscribe');
    assert.deepEqual(
      [1, 2, 3].map(() => takerOf('SUBSCRIBE', owner, tagged, other)),
      [1, 2, 1],
    );
    lab.assertIdle();
  });

  it('have a secret of their own: neither opens the other door, and the engine calls them with theirs', () => {
    begin([]);
    for (const [by, secret] of [
      ['connect', FURTHER_SECRET],
      ['further', SECRET],
    ] as const) {
      const application = lab.connectApplication(by);
      assert.equal(application.command(`authenticate|${secret}|`).fields[3], 'NO');
      assert.ok(application.isClosed);
    }
    for (const [secret, outcome] of [
      [SECRET, 'NO'],
      [FURTHER_SECRET, 'OK'],
    ] as const) {
      phone.send(requestFrom(phone, 'SUBSCRIBE', { callId: outcome }));
      lab.answerQuestion({ action: 'route', data: { uri: '127.0.0.1:3001' } });
      const application = lab.acceptDial();
      assert.equal(application.command(`authenticate|${secret}|`).fields[3], outcome);
      const [request] = application.reports;
      if (outcome === 'OK') application.respond(request?.fields[8] ?? '', '486 Busy Here');
      phone.expect(outcome === 'OK' ? /^486/ : /^480/);
    }
    lab.assertIdle();
  });

  it('are not called where their secret would cross the network in the clear: 480', () => {
    begin([]);
    for (const [uri, isCalled] of [
      ['192.0.2.1:3001', false],
      ['app.test:3001', false],
      ['192.0.2.1:3001;transport=tls', true],
      ['localhost:3001', true],
      ['127.8.9.1:3001', true],
      ['[::1]:3001', true],
    ] as const) {
      phone.send(requestFrom(phone, 'SUBSCRIBE', { callId: uri }));
      lab.answerQuestion({ action: 'route', data: { uri } });
      assert.equal(lab.dials.length === 1, isCalled, uri);
      if (isCalled) lab.refuseDial();
      phone.expect(/^480/);
    }
    assert.equal(lab.engine.stats().counters.controlErrors['routeUnguarded'], 2);
    lab.assertIdle();
  });

  it('have five seconds to authenticate', () => {
    begin([]);
    const slow = lab.connectApplication('further');
    slow.sendBytes(Buffer.from('9'));
    const ready = further('', 'info');
    lab.advance(4_999);
    assert.deepEqual(
      [slow, ready].map(({ isClosed }) => isClosed),
      [false, false],
    );
    lab.advance(1);
    assert.deepEqual(
      [slow, ready].map(({ isClosed }) => isClosed),
      [true, false],
    );
    assert.equal(lab.engine.stats().counters.controlErrors['authenticateTimeout'], 1);
    assert.equal(lab.engine.stats().applications, 2);
    lab.assertIdle();
  });
});
