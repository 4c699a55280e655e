import { setTimeout as sleep } from 'node:timers/promises';
import type { Sound } from '../../core/audio/score.ts';
import { assertHeard, CLEAR, THROUGH_SOUND_SERVER } from '../support/hearing.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { requirePeer } from '../support/peers.ts';
import { PhoneGroup, programsOf, SILENCE_BEFORE_SECONDS } from '../support/phones.ts';
import type { Phone, PhoneCodec, PhoneMake } from '../support/phones.ts';
import { speech } from '../support/speech.ts';
import { measureAwake } from '../support/stalls.ts';
import { VirtualSound } from '../support/virtual-sound.ts';

const SPEECH_SECONDS = 5;

const PEOPLE = {
  anna: 'baresip',
  bruno: 'twinkle',
  david: 'linphone',
} as const satisfies Readonly<Record<string, PhoneMake>>;
type Person = keyof typeof PEOPLE;
const secretOf = (person: Person): string => `${person}-secret`;

type Setup = {
  readonly title: string;
  readonly people: readonly Person[];
  readonly transport: 'udp' | 'tcp';
  readonly codec: PhoneCodec;
};

const SETUPS: readonly Setup[] = [
  { title: 'Opus, UDP', people: ['anna', 'david'], transport: 'udp', codec: 'opus' },
  { title: 'PCMU, TCP', people: ['anna', 'david'], transport: 'tcp', codec: 'pcmu' },
  { title: 'Twinkle, PCMU', people: ['bruno', 'david'], transport: 'udp', codec: 'pcmu' },
];

for (const { title, people, transport, codec } of SETUPS) {
  const makes = people.map((person): PhoneMake => PEOPLE[person]);

  describe(`phones: ${title}`, function () {
    this.timeout(120_000);
    const parley = new LiveSwitch();
    let sound: VirtualSound | undefined;
    const phones = new PhoneGroup();
    const phone = {} as Record<Person, Phone>;
    const voice = {} as Record<Person, Sound>;

    before(async function () {
      requirePeer(this, ...programsOf(...makes));
      await parley.start();
      if (makes.includes('twinkle')) sound = await VirtualSound.start(people);
      await Promise.all(
        people.map(async (person) => {
          await parley.addAccounts([{ user: person, password: secretOf(person) }]);
          voice[person] = await speech(person, SPEECH_SECONDS);
          phone[person] = await phones.add(PEOPLE[person], {
            user: person,
            password: secretOf(person),
            domain: parley.domain,
            server: parley.server,
            transport,
            codecs: [codec],
            play: voice[person],
            contacts: people.filter((other) => other !== person),
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

    it('are registered', () => {
      for (const person of people) {
        parley.isReachable(person, transport);
      }
    });

    for (const caller of people) {
      for (const callee of people.filter((person) => person !== caller)) {
        const names = `${caller} (${PEOPLE[caller]}) calls ${callee} (${PEOPLE[callee]})`;
        const demand = makes.includes('twinkle') ? THROUGH_SOUND_SERVER : CLEAR;

        it(`${names}: each hears the other`, async () => {
          await measureAwake([...phones.pids, ...(sound ? [sound.pid] : [])], async () => {
            await phone[caller].call(callee);
            await phone[callee].waitFor('incoming');
            await phone[caller].waitFor('ringing');
            await phone[callee].answer();
            await phone[caller].waitFor('established');
            await phone[callee].waitFor('established');
            await Promise.all([phone[caller].speak(), phone[callee].speak()]);
            await sleep((SILENCE_BEFORE_SECONDS + SPEECH_SECONDS + 1) * 1000);
            await phone[caller].hangUp();
            await phone[callee].waitFor('ended');
            await phone[caller].waitFor('ended');
            for (const [talker, listener] of [
              [caller, callee],
              [callee, caller],
            ] as const) {
              const who = `${listener} (${PEOPLE[listener]}) hears ${talker} (${PEOPLE[talker]})`;
              assertHeard(voice[talker], await phone[listener].heard(), who, demand);
            }
          });
        });

        it(`${names}, who declines`, async () => {
          await phone[caller].call(callee);
          await phone[callee].waitFor('incoming');
          await phone[caller].waitFor('ringing');
          await phone[callee].decline();
          await phone[caller].waitFor('ended');
        });

        it(`${names} and gives up while it rings`, async () => {
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
      }
    }
  });
}
