import { requirePeer } from '../support/peers.ts';
import { runSipp, sippPort, startSipp } from '../support/sipp.ts';
import type { SippOptions, SippRow } from '../support/sipp.ts';
import { LiveSwitch } from '../support/live-switch.ts';

const PAIRS = [
  { caller: 'call', callee: 'answer', what: 'calls, talks and hangs up' },
  { caller: 'call-refused', callee: 'decline', what: 'is declined with 603' },
  { caller: 'call-cancelled', callee: 'cancelled', what: 'gives up while it rings' },
  { caller: 'message', callee: 'receive-message', what: 'writes a message' },
] as const;

for (const transport of ['udp', 'tcp'] as const) {
  describe(`sipp over ${transport.toUpperCase()}`, function () {
    this.timeout(60_000);
    const parley = new LiveSwitch();
    const anna: SippRow = { user: 'anna', password: 'anna-secret', target: 'bruno' };
    const bruno: SippRow = { user: 'bruno', password: 'bruno-secret' };
    const options = (scenario: string, rows: readonly SippRow[]): SippOptions => ({
      scenario,
      rows,
      server: parley.server,
      domain: parley.domain,
      transport,
    });

    before(async function () {
      requirePeer(this, 'sipp');
      await parley.start();
      await parley.addAccounts([anna, bruno]);
    });

    afterEach(async () => {
      await parley.nothingLeft();
    });

    after(async () => {
      await parley.stop();
    });

    it('registers with digest, a hundred phones of twenty people', async () => {
      const people = Array.from({ length: 20 }, (_, index) => ({
        user: `person${index}`,
        password: `secret-${index}`,
      }));
      await parley.addAccounts(people);
      await runSipp({ ...options('register', people), calls: 100, callsPerSecond: 50 });
      for (const { user } of people) parley.isReachable(user);
    });

    it('does not register with a wrong password', async () => {
      await parley.addAccounts([{ user: 'clara', password: 'clara-secret' }]);
      await runSipp(options('register-refused', [{ user: 'clara', password: 'wrong' }]));
      parley.isUnreachable('clara');
    });

    for (const { caller, callee, what } of PAIRS) {
      it(`${what}, as caller and as called party`, async () => {
        const localPort = await sippPort();
        // What answers must stay at the registered port: that is what a UDP contact promises.
        await runSipp({ ...options('register', [bruno]), transport: 'udp', localPort });
        const answering = await startSipp({
          ...options(callee, []),
          transport: 'udp',
          localPort,
        });
        try {
          await runSipp(options(caller, [{ ...anna, text: 'Good morning' }]));
          await answering.finished;
        } finally {
          await answering.stop();
          parley.forgetBindings('bruno');
        }
      });
    }

    it('sets up twenty calls a second through, one after another and at once', async () => {
      const localPort = await sippPort();
      await runSipp({ ...options('register', [bruno]), transport: 'udp', localPort });
      const answering = await startSipp({
        ...options('answer', []),
        transport: 'udp',
        localPort,
        calls: 60,
      });
      try {
        await runSipp({ ...options('call', [anna]), calls: 60, callsPerSecond: 20 });
        await answering.finished;
      } finally {
        await answering.stop();
        parley.forgetBindings('bruno');
      }
    });
  });
}
