import { setTimeout as sleep } from 'node:timers/promises';
import type { Sound } from '../../core/audio/score.ts';
import { assertAbsent, assertHeard } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { PhoneGroup, programsOf, SILENCE_BEFORE_SECONDS } from '../support/phones.ts';
import type { Phone, PhoneMake } from '../support/phones.ts';
import { padded, speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';
import { VirtualSound } from '../support/virtual-sound.ts';

const PEOPLE = ['anna', 'bruno', 'david'] as const;
type Person = (typeof PEOPLE)[number];
const MAKES: Readonly<Record<Person, PhoneMake>> = {
  anna: 'baresip',
  bruno: 'linphone',
  david: 'twinkle',
};
const secretOf = (person: Person): string => `${person}-secret`;

const SPEECH_SECONDS = 4;
/** They come in one after the other, and when all are there they speak in the same order. */
const JOIN_EVERY_SECONDS = 1.5;
const TURN_SECONDS = SPEECH_SECONDS + 1;
const FIRST_TURN_SECONDS = PEOPLE.length * JOIN_EVERY_SECONDS + 1.5;

/** How long after coming in a person waits before they speak. */
function waitOf(person: Person): number {
  const place = PEOPLE.indexOf(person);
  return FIRST_TURN_SECONDS + place * (TURN_SECONDS - JOIN_EVERY_SECONDS);
}

describe('a room with phones of three makes', function () {
  this.timeout(150_000);
  const parley = new LiveSwitch();
  const phones = new PhoneGroup();
  let sound: VirtualSound | undefined;
  const phone = {} as Record<Person, Phone>;
  const voice = {} as Record<Person, Sound>;

  before(async function () {
    requirePeer(this, ...programsOf(...Object.values(MAKES)));
    await parley.start({ 'calls.dialogCheckSeconds': '2' });
    sound = await VirtualSound.start(PEOPLE);
    await Promise.all(
      PEOPLE.map(async (person) => {
        await parley.addAccounts([{ user: person, password: secretOf(person) }]);
        voice[person] = await speech(person, SPEECH_SECONDS);
        const wait = MAKES[person] === 'twinkle' ? 0 : waitOf(person) - SILENCE_BEFORE_SECONDS;
        phone[person] = await phones.add(MAKES[person], {
          user: person,
          password: secretOf(person),
          domain: parley.domain,
          server: parley.server,
          play: padded(voice[person], wait, 0),
          contacts: [...PEOPLE, `sip:lobby@${parley.domain}`],
          sound,
        });
      }),
    );
  });

  afterEach(async function () {
    phones.explain(this.currentTest);
    await parley.nothingLeft();
  });

  after(async () => {
    await phones.down();
    await sound?.stop();
    await parley.stop();
  });

  const enter = async (room: string): Promise<void> => {
    for (const person of PEOPLE) {
      const entered = performance.now();
      await phone[person].call(room);
      await phone[person].waitFor('established');
      await sleep(Math.max(0, entered + JOIN_EVERY_SECONDS * 1000 - performance.now()));
    }
  };

  const leave = async (): Promise<void> => {
    for (const person of PEOPLE) {
      await phone[person].hangUp();
      await phone[person].waitFor('ended');
    }
  };

  const assertHearing = (listener: Person, heard: Sound | undefined): void => {
    for (const talker of PEOPLE) {
      const who = `${listener} (${MAKES[listener]}) hears ${talker} (${MAKES[talker]})`;
      if (talker === listener) assertAbsent(voice[talker], heard, who);
      else assertHeard(voice[talker], heard, who);
    }
  };

  for (const room of ['lobby', '%23turbo']) {
    it(`${room}: each hears the others, and not itself`, async () => {
      await measureAwake(async () => {
        const start = performance.now();
        await enter(room);
        for (const person of PEOPLE) {
          const turn = FIRST_TURN_SECONDS + PEOPLE.indexOf(person) * TURN_SECONDS;
          await sleep(Math.max(0, start + turn * 1000 - performance.now()));
          await phone[person].speak();
        }
        await sleep((TURN_SECONDS + 1) * 1000);
        await leave();
        for (const person of PEOPLE) assertHearing(person, await phone[person].heard());
      });
    });
  }

  it('what one writes to the room reaches the others, with the name of who wrote it', async () => {
    await enter('lobby');
    await phone.anna.message(`sip:lobby@${parley.domain}`, 'Who brings the cake?');
    for (const person of ['bruno', 'david'] as const) {
      await phone[person].waitFor(/anna: Who brings the cake\?/);
    }
    await phone.david.message(`sip:lobby@${parley.domain}`, 'I do, as always');
    for (const person of ['anna', 'bruno'] as const) {
      await phone[person].waitFor(/david: I do, as always/);
    }
    await leave();
  });

  it('does not wait for ever for one who vanishes without a word', async () => {
    await parley.addAccounts([{ user: 'emma', password: 'emma-secret' }]);
    const { domain, server } = parley;
    const emma = await phones.add('baresip', {
      user: 'emma',
      password: 'emma-secret',
      domain,
      server,
    });
    await emma.call('lobby');
    await emma.waitFor('established');
    await phone.bruno.call('lobby');
    await phone.bruno.waitFor('established');
    await parley.hasParticipants(2);
    emma.kill();
    await parley.hasParticipants(1, 30_000);
    await phone.bruno.hangUp();
    await phone.bruno.waitFor('ended');
    await phones.remove(emma);
    // A BYE to somebody who is not there is repeated for a while.
    await parley.nothingLeft(15_000);
  });
});
