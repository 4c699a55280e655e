import { setTimeout as sleep } from 'node:timers/promises';
import type { Sound } from '../../core/audio/score.ts';
import { assertAbsent, assertHeard, CLEAR, THROUGH_SOUND_SERVER } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { PhoneGroup, programsOf, SILENCE_BEFORE_SECONDS } from '../support/phones.ts';
import type { Phone, PhoneMake } from '../support/phones.ts';
import { padded, speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';
import { VirtualSound } from '../support/virtual-sound.ts';

/** In the order in which they come in, speak, and leave. */
const PEOPLE = ['anna', 'david', 'bruno', 'clara'] as const;
type Person = (typeof PEOPLE)[number];
const MAKES: Readonly<Record<Person, PhoneMake>> = {
  anna: 'baresip',
  david: 'linphone',
  bruno: 'twinkle',
  clara: 'parley',
};
const secretOf = (person: Person): string => `${person}-secret`;

const SPEECH_SECONDS = 4;
const JOIN_EVERY_SECONDS = 1.5;
const TURN_SECONDS = SPEECH_SECONDS + 1;
const FIRST_TURN_SECONDS = PEOPLE.length * JOIN_EVERY_SECONDS + 1.5;

/** Seconds between coming in and speaking. */
function waitOf(person: Person): number {
  const place = PEOPLE.indexOf(person);
  return FIRST_TURN_SECONDS + place * (TURN_SECONDS - JOIN_EVERY_SECONDS);
}

/** What was written to a room, as a phone shows it: those that know no rooms find the name before the text. */
function shownBy(make: PhoneMake, writer: Person, text: string): RegExp {
  return make === 'parley'
    ? new RegExp(`"event":"text"[^\\n]*"name":"${writer}"[^\\n]*"text":"${text}"`)
    : new RegExp(`${writer}: ${text}`);
}

describe('a room with phones of three makes and the softphone', function () {
  this.timeout(240_000);
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
        // Twinkle speaks when it is told to, the others when their file says so.
        const isPrompted = MAKES[person] === 'twinkle';
        const wait = isPrompted ? 0 : waitOf(person) - SILENCE_BEFORE_SECONDS;
        phone[person] = await phones.add(MAKES[person], {
          user: person,
          password: secretOf(person),
          domain: parley.domain,
          server: parley.server,
          play: padded(voice[person], wait, 0),
          contacts: ['lobby', '%23turbo'].map((room) => `sip:${room}@${parley.domain}`),
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

  const enter = async (room: string, everySeconds = 0): Promise<void> => {
    for (const person of PEOPLE) {
      const next = performance.now() + everySeconds * 1000;
      await phone[person].call(room);
      await phone[person].waitFor('established');
      await sleep(Math.max(0, next - performance.now()));
    }
    await parley.hasParticipants(PEOPLE.length);
  };

  const leave = async (): Promise<void> => {
    for (const person of PEOPLE) {
      await phone[person].hangUp();
      await phone[person].waitFor('ended');
    }
  };

  /** Everybody speaks in turn, alone. */
  const speakInTurns = async (startMs: number): Promise<void> => {
    for (const [place, person] of PEOPLE.entries()) {
      const turnMs = startMs + (FIRST_TURN_SECONDS + place * TURN_SECONDS) * 1000;
      await sleep(Math.max(0, turnMs - performance.now()));
      await phone[person].speak();
    }
    await sleep((TURN_SECONDS + 1) * 1000);
  };

  it('each hears the others, and not itself', async () => {
    // What was heard once need not be heard again when the machine was too busy for the rest.
    const unheard = new Set(
      PEOPLE.flatMap((listener) =>
        PEOPLE.filter((talker) => talker !== listener).map((talker) => `${listener} ${talker}`),
      ),
    );
    const listen = async (listener: Person): Promise<void> => {
      const heard = await phone[listener].heard();
      for (const talker of PEOPLE) {
        const who = `${listener} (${MAKES[listener]}) hears ${talker} (${MAKES[talker]})`;
        if (talker === listener) assertAbsent(voice[talker], heard, who);
        if (!unheard.has(`${listener} ${talker}`)) continue;
        const isTwinkle = [listener, talker].some((person) => MAKES[person] === 'twinkle');
        assertHeard(voice[talker], heard, who, isTwinkle ? THROUGH_SOUND_SERVER : CLEAR);
        unheard.delete(`${listener} ${talker}`);
      }
    };
    await measureAwake([...phones.pids, ...(sound ? [sound.pid] : [])], async () => {
      const startMs = performance.now();
      await enter('lobby', JOIN_EVERY_SECONDS);
      await speakInTurns(startMs);
      await leave();
      const results = await Promise.allSettled(PEOPLE.map(listen));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    });
  });

  for (const room of ['lobby', '%23turbo']) {
    it(`${room}: what one writes reaches the others, with the name of who wrote it`, async () => {
      await enter(room);
      for (const writer of PEOPLE) {
        const text = `${writer} brings the cake`;
        await phone[writer].message(`sip:${room}@${parley.domain}`, text);
        for (const reader of PEOPLE.filter((person) => person !== writer)) {
          await phone[reader].waitFor(shownBy(MAKES[reader], writer, text));
        }
      }
      await leave();
    });
  }

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
    await phone.david.call('lobby');
    await phone.david.waitFor('established');
    await parley.hasParticipants(2);
    emma.kill();
    await parley.hasParticipants(1, 30_000);
    await phone.david.hangUp();
    await phone.david.waitFor('ended');
    await phones.remove(emma);
    // A BYE to somebody who is not there is repeated for a while.
    await parley.nothingLeft(15_000);
  });
});
