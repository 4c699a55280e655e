import assert from 'node:assert/strict';
import { EngineLab, type LabApplication, type LabPeer } from '../../support/engine-lab.ts';
import { requestFrom } from '../../support/sip-texts.ts';

const CONTACT = '<sip:web@x1.invalid;transport=ws>';

describe('engine: connections', () => {
  let lab: EngineLab;
  let application: LabApplication;

  beforeEach(() => {
    lab = new EngineLab();
    application = lab.application('register', 'subscribe', 'invite');
  });

  function register(
    peer: LabPeer,
    contact: string,
    answer: readonly string[],
    callId = 'reg',
  ): void {
    peer.send(requestFrom(peer, 'REGISTER', { contact, callId }));
    application.respond(application.expect('sip').fields[8] ?? '', '200 OK', answer);
    peer.expect(/^200/);
  }

  function message(uri: string): ReturnType<LabApplication['command']> {
    return application.command(
      'sip||',
      `MESSAGE ${uri} SIP/2.0\r\nFrom: <sip:app@localhost>\r\nContent-Type: text/plain\r\n\r\nhi`,
    );
  }

  it('answers STUN on UDP with the address of the device (RFC 5626 §8), and leaves the rest of it alone', () => {
    const phone = lab.udpPeer(0x1234, '127.0.0.1');
    const id = '2112a442b7e7a701bc34d686fa87dfae';
    phone.send(Buffer.from(`00010000${id}`, 'hex'));
    phone.send(Buffer.from(`00110000${id}`, 'hex'));
    // 127.0.0.1 and 0x1234, each with the cookie.
    const mapped = '0020000800013326' + '5e12a443';
    assert.deepEqual(
      phone.other.map((bytes) => bytes.toString('hex')),
      [`0101000c${id}${mapped}`],
    );
    assert.deepEqual(lab.engine.stats().counters.refusals, {});
    lab.assertIdle();
  });

  for (const transport of ['tcp', 'ws'] as const) {
    it(`sends to a device over the ${transport} connection that it registered by`, () => {
      const phone = lab.streamPeer(41_000, transport);
      const contact = `<sip:web@x1.invalid;transport=${transport}>`;
      register(phone, contact, [`Contact: ${contact};expires=60`]);
      const sent = message(`sip:web@x1.invalid;transport=${transport}`);
      assert.deepEqual(sent.fields.slice(6, 9), ['tcp', '127.0.0.1', '41000']);
      const text = phone.expect(/^MESSAGE/);
      assert.equal(text.topVia().transport, transport.toUpperCase());
      const port = transport === 'ws' ? 5080 : 5060;
      assert.equal(text.from().uriText, `sip:app@127.0.0.1:${port};transport=${transport}`);
      phone.respond(text, '200 OK');
      application.expect('sip', /200/);
      lab.assertIdle();
    });
  }

  it('answers 410 at once when that connection has closed, until the registration ends', () => {
    const phone = lab.streamPeer(41_000, 'ws');
    register(phone, CONTACT, [`Contact: ${CONTACT};expires=60`]);
    phone.close();
    const sent = message('sip:web@x1.invalid;transport=ws');
    assert.equal(sent.fields[5], '0');
    application.expectNothing();
    lab.advance(10);
    const gone = application.expect('sip', /410 Gone/);
    assert.deepEqual(gone.fields.slice(2, 7), ['network', '0', 'tcp', '', '0']);
    lab.advance(61_000);
    assert.equal(lab.engine.stats().flowBindings, 0);
    lab.assertIdle();
  });

  it('answers 410 when the connection closes while a request waits for its answer', () => {
    const phone = lab.streamPeer(41_000, 'ws');
    register(phone, CONTACT, [`Contact: ${CONTACT};expires=60`]);
    message('sip:web@x1.invalid;transport=ws');
    phone.expect(/^MESSAGE/);
    phone.close();
    lab.advance(10);
    application.expect('sip', /410/);
    lab.assertIdle();
  });

  it('answers 430 when the device registered by RFC 5626, before and after the request went out', () => {
    const phone = lab.streamPeer(41_000, 'ws');
    const outbound = `${CONTACT};+sip.instance="<urn:uuid:1>";reg-id=1`;
    register(phone, outbound, [`Contact: ${outbound};expires=60`]);
    message('sip:web@x1.invalid;transport=ws');
    phone.expect(/^MESSAGE/);
    phone.close();
    lab.advance(10);
    application.expect('sip', /430 Flow Failed/);
    message('sip:web@x1.invalid;transport=ws');
    lab.advance(10);
    application.expect('sip', /430 Flow Failed/);
    lab.assertIdle();
  });

  it('answers 410 when a device asked for RFC 5626 by halves', () => {
    for (const half of ['+sip.instance="<urn:uuid:1>"', 'reg-id=1']) {
      const phone = lab.streamPeer(41_000, 'ws');
      register(phone, `${CONTACT};${half}`, ['Expires: 60'], half);
      phone.close();
      message('sip:web@x1.invalid;transport=ws');
      lab.advance(10);
      application.expect('sip', /410 Gone/);
    }
    lab.assertIdle();
  });

  describe('with a Flow-Timer (RFC 5626 §5.4)', () => {
    const contact = '<sip:web@x1.invalid:1111;transport=tcp>;+sip.instance="<urn:uuid:1>";reg-id=1';
    const answer = [`Contact: ${contact};expires=3600`, 'Require: outbound', 'Flow-Timer: 120'];
    const giveUps = (): number | undefined => lab.engine.stats().counters.refusals['flowTimer'];

    it('are given up when nothing has come for that time and a grace, and their requests fail at once', () => {
      const phone = lab.streamPeer(41_000);
      register(phone, contact, answer);
      lab.advance(149_000);
      assert.equal(phone.isClosed, false);
      lab.advance(12_000);
      assert.ok(phone.isClosed);
      assert.equal(giveUps(), 1);
      message('sip:web@x1.invalid:1111;transport=tcp');
      lab.advance(10);
      application.expect('sip', /430 Flow Failed/);
      lab.advance(3_600_000);
      lab.assertIdle();
    });

    it('stay as long as anything comes in time; what we send does not count', () => {
      const phone = lab.streamPeer(41_000);
      register(phone, contact, answer);
      for (let minutes = 0; minutes < 10; minutes += 2) {
        phone.send(Buffer.from('\r\n\r\n'));
        lab.advance(120_000);
      }
      assert.equal(phone.isClosed, false);
      phone.send(Buffer.from('\r\n\r\n'));
      lab.advance(100_000);
      message('sip:web@x1.invalid:1111;transport=tcp');
      phone.expect(/^MESSAGE/);
      lab.advance(62_000);
      assert.ok(phone.isClosed);
      assert.equal(giveUps(), 1);
    });

    it('are left alone without it, after the registration, on a WebSocket, and between proxies', () => {
      const plain = lab.streamPeer(41_000);
      register(plain, contact, [`Contact: ${contact};expires=3600`]);
      const left = lab.streamPeer(41_001);
      const other = contact.replace(':1111', ':2222');
      register(left, other, [`Contact: ${other};expires=3600`, 'Flow-Timer: 120'], 'left');
      register(left, `${other};expires=0`, ['Flow-Timer: 120'], 'left2');
      const web = lab.streamPeer(41_002, 'ws');
      const outbound = `${CONTACT};+sip.instance="<urn:uuid:1>";reg-id=1`;
      register(web, outbound, [`Contact: ${outbound};expires=3600`, 'Flow-Timer: 120'], 'web');
      const proxy = lab.streamPeer(41_003);
      const behind = contact.replace(':1111', ':3333');
      const forwarded = requestFrom(proxy, 'REGISTER', {
        contact: behind,
        callId: 'behind',
        headers: ['Via: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKdevice'],
      });
      proxy.send(forwarded);
      application.respond(application.expect('sip').fields[8] ?? '', '200 OK', [
        `Contact: ${behind};expires=3600`,
        'Flow-Timer: 120',
      ]);
      for (const value of ['0', 'x', '-1']) {
        const odd = lab.streamPeer(41_100);
        register(odd, contact, [`Contact: ${contact};expires=3600`, `Flow-Timer: ${value}`], value);
      }
      lab.advance(200_000);
      assert.deepEqual(
        [plain, left, web, proxy].map(({ isClosed }) => isClosed),
        [false, false, false, false],
      );
      assert.equal(giveUps(), undefined);
    });
  });

  it('follows a device to its new connection', () => {
    const old = lab.streamPeer(41_000, 'ws');
    register(old, CONTACT, [`Contact: ${CONTACT};expires=60`]);
    old.close();
    const phone = lab.streamPeer(41_001, 'ws');
    register(phone, CONTACT, [`Contact: ${CONTACT};expires=60`], 'reg2');
    message('sip:web@x1.invalid;transport=ws');
    phone.respond(phone.expect(/^MESSAGE/), '200 OK');
    application.expect('sip', /200/);
    lab.assertIdle();
  });

  it('takes the lifetime from Contact first, then Expires, and keeps nothing without either', () => {
    const cases: [readonly string[], number][] = [
      [[`Contact: ${CONTACT};expires=10`, 'Expires: 100'], 10],
      [[`Contact: ${CONTACT}`, 'Expires: 20'], 20],
      [['Expires: 30'], 30],
      [[`Contact: ${CONTACT}`], 0],
      [['Contact: <sip:other@x>;expires=50', 'Expires: 50'], 0],
      [[`Contact: ${CONTACT};expires=0`], 0],
    ];
    for (const [answer, seconds] of cases) {
      const case_ = new EngineLab();
      lab = case_;
      application = case_.application('register');
      const phone = case_.streamPeer(41_000, 'ws');
      register(phone, CONTACT, answer);
      assert.equal(case_.engine.stats().flowBindings, seconds > 0 ? 1 : 0, answer.join());
      case_.advance(seconds * 1000 + 1);
      assert.equal(case_.engine.stats().flowBindings, 0);
    }
  });

  it('forgets a device that deregisters, or registers over UDP instead', () => {
    const contact = '<sip:bob@127.0.0.1:5090>';
    const tcp = lab.streamPeer(41_000);
    register(tcp, contact, [`Contact: ${contact};expires=60`]);
    register(tcp, contact, ['Expires: 0'], 'reg2');
    assert.equal(lab.engine.stats().flowBindings, 0);
    register(tcp, contact, [`Contact: ${contact};expires=60`], 'reg3');
    // The last binding: nothing is left to be listed.
    register(tcp, `${contact};expires=0`, [], 'reg5');
    assert.equal(lab.engine.stats().flowBindings, 0);
    register(tcp, contact, [`Contact: ${contact};expires=60`], 'reg6');
    const udp = lab.udpPeer(5090);
    register(udp, contact, [`Contact: ${contact};expires=60`], 'reg4');
    assert.equal(lab.engine.stats().flowBindings, 0);
    message('sip:bob@127.0.0.1:5090');
    udp.respond(udp.expect(/^MESSAGE/), '200 OK');
    lab.assertIdle();
  });

  it('tells devices with one user and host apart by port and transport', () => {
    const one = lab.streamPeer(41_000);
    const two = lab.streamPeer(41_001);
    register(one, '<sip:bob@h.invalid:1111;transport=tcp>', ['Expires: 60'], 'one');
    register(two, '<sip:bob@h.invalid:2222;transport=tcp>', ['Expires: 60'], 'two');
    message('sip:bob@h.invalid:2222;transport=tcp');
    two.respond(two.expect(/^MESSAGE/), '200 OK');
    message('sip:bob@h.invalid:1111;transport=tcp');
    one.respond(one.expect(/^MESSAGE/), '200 OK');
    message('sip:bob@127.0.0.1:5099');
    one.expectNothing();
    two.expectNothing();
    lab.assertIdle();
  });

  it('finds the only device of a user and host by a URI without port', () => {
    const phone = lab.streamPeer(41_000);
    register(phone, '<sip:bob@h.invalid:1111;transport=tcp>', ['Expires: 60']);
    message('sip:bob@h.invalid');
    phone.respond(phone.expect(/^MESSAGE/), '200 OK');
    lab.assertIdle();
  });

  it('finds a watcher by the connection of its subscription', () => {
    const phone = lab.streamPeer(41_000, 'ws');
    phone.send(requestFrom(phone, 'SUBSCRIBE', { contact: CONTACT }));
    const id = application.expect('sip').fields[8] ?? '';
    application.respond(id, '202 Accepted', ['Expires: 30']);
    phone.expect(/^202/);
    message('sip:web@x1.invalid;transport=ws');
    phone.respond(phone.expect(/^MESSAGE/), '200 OK');
    application.expect('sip', /200/);
    application.command(
      'sip||call-1;from-tag=alice1',
      'NOTIFY sip:placeholder SIP/2.0\r\nEvent: x\r\nSubscription-State: terminated\r\n\r\n',
    );
    phone.respond(phone.expect(/^NOTIFY/), '200 OK');
    lab.assertIdle();
  });

  it('answers a double CRLF with one on connections, and not at all by UDP', () => {
    const tcp = lab.streamPeer(41_000);
    tcp.send(Buffer.from('\r\n\r\n'));
    assert.deepEqual(tcp.other.map(String), ['\r\n']);
    tcp.send(Buffer.from('\r\n'));
    const ws = lab.streamPeer(41_001, 'ws');
    ws.send(Buffer.from('\r\n\r\n'));
    assert.deepEqual(ws.other.map(String), ['\r\n']);
    const udp = lab.udpPeer(5090);
    udp.send(Buffer.from('\r\n\r\n'));
    assert.equal(udp.other.length, 0);
    lab.assertIdle();
  });

  it('cuts a stream into messages wherever its pieces end, also inside folded lines and letters', () => {
    const tcp = lab.streamPeer(41_000);
    const headers = ['Subject: über', ' gefaltet', 'X-Mine: 1'];
    const one = requestFrom(tcp, 'REGISTER', { callId: 'r1', headers });
    const two = requestFrom(tcp, 'REGISTER', { callId: 'r2', headers });
    for (const byte of Buffer.concat([one, Buffer.from('\r\n'), two])) tcp.send(Buffer.of(byte));
    assert.equal(application.expect('sip').sip?.callId, 'r1');
    assert.equal(application.expect('sip').sip?.header('Subject'), 'über gefaltet');
    application.expectNothing();
  });

  it('answers and closes a stream that cannot be cut any more', () => {
    const cases: [string, RegExp][] = [
      ['Content-Length: x', /^400/],
      ['Content-Length: 900000', /^413/],
      [`X-Long: ${'y'.repeat(20_000)}`, /^513/],
    ];
    for (const [header, answer] of cases) {
      const tcp = lab.streamPeer(41_000);
      const text = requestFrom(tcp, 'REGISTER').toString().replace('Content-Length: 0', header);
      tcp.send(Buffer.from(text));
      tcp.expect(answer);
      assert.ok(tcp.isClosed);
    }
    application.expectNothing();
    assert.equal(lab.engine.stats().flows, 0);
    lab.assertIdle();
  });

  it('sends requests of a dialog over its own connection, and another one once the phone has moved', () => {
    const phone = lab.streamPeer(41_000);
    const contact = '<sip:alice@10.0.0.9:5062;transport=tcp>';
    phone.send(requestFrom(phone, 'INVITE', { contact }));
    application.respond(application.next().fields[8] ?? '', '200 OK');
    phone.expect(/^100/);
    const toTag = phone.expect(/^200/).toTag;
    phone.send(requestFrom(phone, 'ACK', { toTag, contact }));
    application.expect('sip', /^ACK/);
    const dialog = 'sip||call-1;from-tag=alice1';
    application.command(dialog, 'INFO sip:placeholder SIP/2.0\r\n\r\n');
    phone.respond(phone.expect(/^INFO sip:alice@10.0.0.9:5062/), '200 OK');
    application.expect('sip', /200/);
    phone.close();
    const again = lab.streamPeer(41_001);
    again.send(requestFrom(again, 'INFO', { toTag, sequence: 2, contact }));
    application.respond(application.expect('sip', /^INFO/).fields[8] ?? '', '200 OK');
    again.expect(/^200/);
    application.command(dialog, 'BYE sip:placeholder SIP/2.0\r\n\r\n');
    again.respond(again.expect(/^BYE/), '200 OK');
    lab.assertIdle();
  });
});
