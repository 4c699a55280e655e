import { setTimeout as sleep } from 'node:timers/promises';
import type { Sound } from '../../core/audio/score.ts';
import { assertAbsent, assertHeard } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { PhoneGroup, programsOf, SILENCE_BEFORE_SECONDS } from '../support/phones.ts';
import type { Phone, PhoneCodec, PhoneMake } from '../support/phones.ts';
import { padded, speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';

const SPEECH_SECONDS = 4;
const PEOPLE = ['clara', 'anna', 'david'] as const;
type Person = (typeof PEOPLE)[number];
const secretOf = (person: Person): string => `${person}-secret`;

type Pair = {
  readonly other: Exclude<Person, 'clara'>;
  readonly make: PhoneMake;
  readonly codec: PhoneCodec;
};

const PAIRS: readonly Pair[] = [
  { other: 'anna', make: 'baresip', codec: 'opus' },
  { other: 'david', make: 'linphone', codec: 'opus' },
  { other: 'david', make: 'linphone', codec: 'pcmu' },
  { other: 'anna', make: 'parley', codec: 'pcma' },
];

for (const { other, make, codec } of PAIRS) {
  describe(`the softphone and ${make}: ${codec}`, function () {
    this.timeout(120_000);
    const parley = new LiveSwitch();
    const phones = new PhoneGroup();
    const phone = {} as Record<Person, Phone>;
    const voice = {} as Record<Person, Sound>;

    before(async function () {
      requirePeer(this, ...programsOf(make));
      await parley.start();
      await Promise.all(
        (['clara', other] as const).map(async (person) => {
          await parley.addAccounts([{ user: person, password: secretOf(person) }]);
          voice[person] = await speech(person, SPEECH_SECONDS);
          phone[person] = await phones.add(person === 'clara' ? 'parley' : make, {
            user: person,
            password: secretOf(person),
            domain: parley.domain,
            server: parley.server,
            transport: make === 'baresip' ? 'udp' : 'tcp',
            codecs: [codec],
            play: voice[person],
            contacts: ['clara', other].filter((name) => name !== person),
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
      await parley.stop();
    });

    for (const [caller, callee] of [
      ['clara', other],
      [other, 'clara'],
    ] as const) {
      it(`${caller} calls ${callee}: each hears the other`, async () => {
        await measureAwake(phones.pids, async () => {
          await phone[caller].call(callee);
          await phone[callee].waitFor('incoming');
          await phone[caller].waitFor('ringing');
          await phone[callee].answer();
          await phone[caller].waitFor('established');
          await phone[callee].waitFor('established');
          await sleep((SILENCE_BEFORE_SECONDS + SPEECH_SECONDS + 1) * 1000);
          await phone[caller].hangUp();
          await phone[callee].waitFor('ended');
          await phone[caller].waitFor('ended');
          assertHeard(voice[caller], await phone[callee].heard(), `${callee} hears ${caller}`);
          assertHeard(voice[callee], await phone[caller].heard(), `${caller} hears ${callee}`);
        });
      });

      it(`${caller} calls ${callee}, who declines`, async () => {
        await phone[caller].call(callee);
        await phone[callee].waitFor('incoming');
        await phone[caller].waitFor('ringing');
        await phone[callee].decline();
        await phone[caller].waitFor('ended');
      });

      it(`${caller} calls ${callee} and gives up while it rings`, async () => {
        await phone[caller].call(callee);
        await phone[callee].waitFor('incoming');
        await phone[caller].waitFor('ringing');
        await phone[caller].hangUp();
        await phone[callee].waitFor('ended');
      });

      it(`${caller} writes to ${callee}`, async () => {
        const text = `Grüße von ${caller} an ${callee}`;
        await phone[caller].message(callee, text);
        await phone[callee].waitFor(new RegExp(text));
      });

      it(`${caller} holds ${callee} and resumes`, async () => {
        await phone[caller].call(callee);
        await phone[callee].waitFor('incoming');
        await phone[callee].answer();
        await phone[caller].waitFor('established');
        await phone[callee].waitFor('established');
        await phone[caller].hold();
        if (callee === 'clara') await phone.clara.waitFor(/"isHeldByPeer":true/);
        else await phone.clara.waitFor(/"isHeld":true/);
        await phone[caller].resume();
        if (callee === 'clara') await phone.clara.waitFor(/"isHeldByPeer":false/);
        else await phone.clara.waitFor(/"event":"done","command":"resume"/);
        // Baresip says nothing of the end of a call that it has just resumed.
        await phone[caller].hangUp();
        await phone[callee].waitFor('ended');
      });
    }
  });
}

describe('a room with the softphone, baresip and Linphone', function () {
  this.timeout(150_000);
  const MAKES: Readonly<Record<Person, PhoneMake>> = {
    clara: 'parley',
    anna: 'baresip',
    david: 'linphone',
  };
  const JOIN_EVERY_SECONDS = 1.5;
  const TURN_SECONDS = SPEECH_SECONDS + 1;
  const FIRST_TURN_SECONDS = PEOPLE.length * JOIN_EVERY_SECONDS + 1.5;
  const parley = new LiveSwitch();
  const phones = new PhoneGroup();
  const phone = {} as Record<Person, Phone>;
  const voice = {} as Record<Person, Sound>;

  before(async function () {
    requirePeer(this, ...programsOf(...Object.values(MAKES)));
    await parley.start();
    await Promise.all(
      PEOPLE.map(async (person, place) => {
        await parley.addAccounts([{ user: person, password: secretOf(person) }]);
        voice[person] = await speech(person, SPEECH_SECONDS);
        const wait = FIRST_TURN_SECONDS + place * (TURN_SECONDS - JOIN_EVERY_SECONDS);
        phone[person] = await phones.add(MAKES[person], {
          user: person,
          password: secretOf(person),
          domain: parley.domain,
          server: parley.server,
          play: padded(voice[person], wait - SILENCE_BEFORE_SECONDS, 0),
          contacts: [...PEOPLE, `sip:lobby@${parley.domain}`],
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
    await parley.stop();
  });

  const enter = async (): Promise<void> => {
    for (const person of PEOPLE) {
      const entered = performance.now();
      await phone[person].call('lobby');
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

  it('each hears the others, and not itself', async () => {
    await measureAwake(phones.pids, async () => {
      const start = performance.now();
      await enter();
      const end = FIRST_TURN_SECONDS + PEOPLE.length * TURN_SECONDS + 1;
      await sleep(Math.max(0, start + end * 1000 - performance.now()));
      await leave();
      for (const listener of PEOPLE) {
        const heard = await phone[listener].heard();
        for (const talker of PEOPLE) {
          const who = `${listener} (${MAKES[listener]}) hears ${talker} (${MAKES[talker]})`;
          if (talker === listener) assertAbsent(voice[talker], heard, who);
          else assertHeard(voice[talker], heard, who);
        }
      }
    });
  });

  it('the softphone sees who is there, reads what they write, and is read', async () => {
    await enter();
    await phone.clara.waitFor(/"event":"roster"[^\n]*"nickname":"david"/);
    await phone.anna.message(`sip:lobby@${parley.domain}`, 'Who brings the cake?');
    await phone.clara.waitFor(
      /"event":"text"[^\n]*"name":"anna","room":"lobby","text":"Who brings the cake\?"/,
    );
    await phone.david.waitFor(/anna: Who brings the cake\?/);
    await phone.clara.message(`sip:lobby@${parley.domain}`, 'I do, with Sahne');
    for (const reader of ['anna', 'david'] as const) {
      await phone[reader].waitFor(/clara: I do, with Sahne/);
    }
    await leave();
  });
});
