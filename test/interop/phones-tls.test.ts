import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertHeard } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { PhoneGroup, programsOf, SILENCE_BEFORE_SECONDS, type Phone } from '../support/phones.ts';
import { speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';

const SPEECH_SECONDS = 5;
const MAKES = { anna: 'baresip', david: 'linphone' } as const;
type Person = keyof typeof MAKES;
const PEOPLE: readonly Person[] = ['anna', 'david'];

/** Linphone checks the certificate, and the name that was typed in it; baresip checks nothing. */
describe('phones: TLS', function () {
  this.timeout(120_000);
  const parley = new LiveSwitch();
  const phones = new PhoneGroup();

  before(async function () {
    requirePeer(this, ...programsOf('baresip', 'linphone'));
    await parley.start();
    await parley.addAccounts(PEOPLE.map((user) => ({ user, password: `${user}-secret` })));
  });
  afterEach(async function () {
    phones.explain(this.currentTest);
    await phones.down();
    await parley.nothingLeft();
  });
  after(async () => {
    await parley.stop();
  });

  const add = async (person: Person, authorityFile: string): Promise<Phone> =>
    phones.add(MAKES[person], {
      user: person,
      password: `${person}-secret`,
      domain: parley.domain,
      server: parley.place('tls'),
      transport: 'tls',
      authorityFile,
      play: await speech(person, SPEECH_SECONDS),
      contacts: PEOPLE.filter((other) => other !== person),
    });

  it('Linphone and baresip register, call each other with sound both ways, and write to each other', async () => {
    const anna = await add('anna', parley.certificateFile);
    const david = await add('david', parley.certificateFile);
    for (const person of PEOPLE) parley.isReachable(person, 'tls');
    const voices = {
      anna: await speech('anna', SPEECH_SECONDS),
      david: await speech('david', SPEECH_SECONDS),
    };
    for (const [caller, callee] of [
      [anna, david],
      [david, anna],
    ] as const) {
      await measureAwake(phones.pids, async () => {
        await caller.call(callee.settings.user);
        await callee.waitFor('incoming');
        await caller.waitFor('ringing');
        await callee.answer();
        await caller.waitFor('established');
        await callee.waitFor('established');
        await sleep((SILENCE_BEFORE_SECONDS + SPEECH_SECONDS + 1) * 1000);
        await caller.hangUp();
        await callee.waitFor('ended');
        await caller.waitFor('ended');
        assertHeard(voices.anna, await david.heard(), 'david hears anna');
        assertHeard(voices.david, await anna.heard(), 'anna hears david');
      });
      const text = `Grüße von ${caller.settings.user}`;
      await caller.message(callee.settings.user, text);
      await callee.waitFor(new RegExp(text));
    }
    // Both by the connection that they opened themselves.
    const { engine } = await parley.running.holdings();
    assert.equal(engine['connections'], PEOPLE.length);
    assert.equal(engine['flows'], PEOPLE.length);
  });

  it('Linphone does not register when nobody vouches for the certificate', async () => {
    const other = new LiveSwitch();
    await other.start();
    try {
      await assert.rejects(add('david', other.certificateFile), /no registration within/);
      parley.isUnreachable('david');
    } finally {
      await other.stop();
    }
  });
});
