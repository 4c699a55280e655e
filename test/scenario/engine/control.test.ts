import assert from 'node:assert/strict';
import { encodeFrame } from '../../../registrar/engine/control/frame.ts';
import { EngineLab, SECRET } from '../../support/engine-lab.ts';
import { requestFrom } from '../../support/sip-texts.ts';

describe('engine: control connections', () => {
  it('refuses every command before authentication, and closes', () => {
    for (const command of ['ping', 'route|invite', 'sip||x;from-tag=1', 'proxy|x|||||||sip:a@b']) {
      const lab = new EngineLab();
      const application = lab.connectApplication();
      const answer = application.command(command, 'OPTIONS sip:a@127.0.0.1:9 SIP/2.0\r\n\r\n');
      assert.deepEqual(answer.fields.slice(3), ['NO', 'incorrect secret']);
      assert.ok(application.isClosed);
      assert.equal(lab.engine.stats().applications, 0);
    }
  });

  it('refuses a wrong secret, whatever its length, and closes', () => {
    for (const secret of ['', 'cymr', 'cymru2', 'x'.repeat(90_000)]) {
      const lab = new EngineLab();
      const application = lab.connectApplication();
      const answer = application.command(`authenticate|${secret}|`);
      assert.deepEqual(answer.fields.slice(3), ['NO', 'incorrect secret']);
      assert.ok(application.isClosed);
    }
  });

  it('answers authentication with addresses and a version that the client library understands', () => {
    const lab = new EngineLab();
    const { fields } = lab.connectApplication().command(`authenticate|${SECRET}|tagA,tagB`);
    assert.deepEqual(fields.slice(3, 4), ['OK']);
    assert.ok(fields[4]?.split(',').includes('udp/127.0.0.1:5060'));
    assert.ok(fields[4]?.split(',').includes('tcp/[::1]:5060'));
    assert.match(fields[5] ?? '', /^v(\d+)\.(\d+)\.(\d+)/);
  });

  it('answers a ping', () => {
    const lab = new EngineLab();
    assert.deepEqual(lab.application().command('ping').fields.slice(3), ['OK', 'pong']);
  });

  it('takes messages cut anywhere, and several at once', () => {
    const lab = new EngineLab();
    const application = lab.connectApplication();
    const bytes = Buffer.concat([
      encodeFrame(`a|authenticate|${SECRET}|`),
      encodeFrame('b|ping'),
      encodeFrame('c|route|message'),
    ]);
    for (const byte of bytes) application.sendBytes(Buffer.of(byte));
    assert.deepEqual(
      application.reports.map(({ fields }) => fields.slice(2, 4)),
      [
        ['a', 'OK'],
        ['b', 'OK'],
        ['c', 'OK'],
      ],
    );
  });

  it('closes on a length that is none, without a word', () => {
    for (const bytes of ['12a#hello', '123456#hello', '#x', '-1#x']) {
      const lab = new EngineLab();
      const application = lab.application();
      application.sendBytes(Buffer.from(bytes));
      assert.ok(application.isClosed, bytes);
      application.expectNothing();
    }
  });

  it('refuses unknown and incomplete messages, and closes', () => {
    const cases: [string, string][] = [
      ['bogus|x', 'Unknown message type'],
      ['sip|||', 'Invalid message format'],
      ['route|', 'Invalid message format'],
    ];
    for (const [command, reason] of cases) {
      const application = new EngineLab().application();
      assert.deepEqual(application.command(command).fields.slice(3), ['NO', reason]);
      assert.ok(application.isClosed);
    }
  });

  it('survives a SIP text that is none', () => {
    const application = new EngineLab().application();
    const answer = application.command('sip||', Buffer.from([0, 255, 13, 10, 13, 10]));
    assert.equal(answer.fields[3], 'NO');
  });

  it('gives each application its turn, and a route that is registered twice only one', () => {
    const lab = new EngineLab();
    const phone = lab.udpPeer(5090);
    const first = lab.application('message', 'message');
    const second = lab.application('message');
    for (let i = 1; i <= 4; i += 1) phone.send(requestFrom(phone, 'MESSAGE', { callId: `m${i}` }));
    assert.equal(first.reports.length, 2);
    assert.equal(second.reports.length, 2);
  });

  it('removes exactly the route that is named', () => {
    const lab = new EngineLab();
    const phone = lab.udpPeer(5090);
    const application = lab.application('message', 'options');
    application.command('remove_route|message');
    phone.send(requestFrom(phone, 'MESSAGE'));
    phone.expect(/^503/);
    phone.send(requestFrom(phone, 'OPTIONS', { callId: 'o' }));
    application.expect('sip', /^OPTIONS/);
  });

  it('compares verbs without case', () => {
    const lab = new EngineLab();
    const phone = lab.udpPeer(5090);
    const application = lab.application('MESSAGE');
    phone.send(requestFrom(phone, 'MESSAGE'));
    application.expect('sip', /^MESSAGE/);
  });

  it('answers 503 with Retry-After when no application wants the method', () => {
    const lab = new EngineLab();
    const phone = lab.udpPeer(5090);
    phone.send(requestFrom(phone, 'REGISTER'));
    assert.match(phone.expect(/^503/).header('Retry-After') ?? '', /^[5-8]$/);
    lab.assertIdle();
  });
});
