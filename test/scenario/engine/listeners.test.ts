import assert from 'node:assert/strict';
import { DEFAULT_LISTENERS, EngineLab, listener } from '../../support/engine-lab.ts';
import { requestFrom } from '../../support/sip-texts.ts';

const OUTSIDE = { address: '203.0.113.9', port: 7000 };
const SECOND = 9;

describe('engine: several UDP sockets', () => {
  const lab = (): EngineLab =>
    new EngineLab({
      listeners: [
        ...DEFAULT_LISTENERS,
        listener(SECOND, 'udp', { address: '127.0.0.1', port: 5070 }, OUTSIDE),
      ],
    });

  /** Under which name a phone is asked that has registered by the sockets with these ids. */
  function askedAs(engine: EngineLab, ...listenerIds: readonly number[]): string {
    const application = engine.application('register');
    const phone = engine.udpPeer(5090);
    for (const [index, listenerId] of listenerIds.entries()) {
      const contact = '<sip:a@10.0.0.7>';
      const bytes = requestFrom(phone, 'REGISTER', { callId: `r${index}`, contact });
      engine.feed({ kind: 'datagram', listenerId, remote: phone.endpoint, bytes });
      const granted = [`Contact: ${contact};expires=60`];
      application.respond(application.expect('sip').fields[8] ?? '', '200 OK', granted);
      application.reports.length = 0;
      phone.forget();
    }
    application.send('sip|||sip:127.0.0.1:5090', 'OPTIONS sip:a@10.0.0.7 SIP/2.0\r\n\r\n');
    const [via = ''] = phone.expect(/^OPTIONS/).headerValues('Via');
    return via.split(';')[0] ?? '';
  }

  it('reach a phone by the one that it has registered by, under the name that others see', () => {
    assert.equal(askedAs(lab(), SECOND), 'SIP/2.0/UDP 203.0.113.9:7000');
  });

  it('reach it by the other one when it has moved there, and by the nearest when it never registered', () => {
    assert.equal(askedAs(lab(), SECOND, 1), 'SIP/2.0/UDP 127.0.0.1:5060');
    assert.equal(askedAs(lab()), 'SIP/2.0/UDP 127.0.0.1:5060');
  });
});
