import assert from 'node:assert/strict';
import { LiveSwitch } from '../support/live-switch.ts';
import { sdp } from '../support/sdp.ts';
import { SipPeer } from '../support/sip-peer.ts';

describe('shutting down', function () {
  this.timeout(60_000);

  it('tells everybody with BYE and Reason, lets no one new in, and then is gone', async () => {
    const live = new LiveSwitch();
    await live.start({ shutdownGraceSeconds: '5' });
    const people = ['alice', 'bob', 'carol'].map((user) => ({ user, password: 'secret' }));
    await live.addAccounts(people);
    const [alice, bob, carol] = await Promise.all(
      people.map((person) => SipPeer.open({ server: live.server, domain: live.domain, ...person })),
    );
    assert.ok(alice && bob && carol);
    try {
      await bob.register();
      const call = await alice.invite(`sip:bob@${live.domain}`, { sdp: sdp() });
      const incoming = await bob.expectCall();
      incoming.ring();
      const answering = incoming.answer(sdp({ port: 40_002 }));
      await call.answered();
      await answering;
      const member = await carol.invite(`sip:lobby@${live.domain}`, { sdp: sdp({ port: 40_004 }) });
      await member.answered();

      const stopping = live.running.stop();
      const first = await alice.expectRequest('BYE');
      const late = await (
        await carol.request('REGISTER', `sip:${live.domain}`, { to: `<${carol.aor}>` })
      ).final(503);
      assert.ok(Number(late.header('Retry-After')) > 0);
      const byes = [first, await bob.expectRequest('BYE'), await carol.expectRequest('BYE')];
      for (const bye of byes) {
        assert.match(bye.message.header('Reason') ?? '', /^SIP\s*;\s*cause=503\s*;\s*text="/);
        bye.reply(200);
      }
      await stopping;
    } finally {
      await Promise.all([alice.close(), bob.close(), carol.close()]);
      await live.discard();
    }
  });

  it('does not wait for phones that are gone longer than it was told to', async () => {
    const live = new LiveSwitch();
    await live.start({ shutdownGraceSeconds: '1' });
    await live.addAccounts([{ user: 'alice', password: 'secret' }]);
    const alice = await SipPeer.open({
      server: live.server,
      domain: live.domain,
      user: 'alice',
      password: 'secret',
    });
    const call = await alice.invite(`sip:lobby@${live.domain}`, { sdp: sdp() });
    await call.answered();
    await alice.close();
    const startedMs = Date.now();
    await live.running.stop();
    assert.ok(Date.now() - startedMs < 5000);
    await live.discard();
  });
});
