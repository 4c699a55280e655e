/** Real SIP phones of several makes behind one face, each in a process of its own. */

import type { Runnable } from 'mocha';
import { Baresip } from './phones/baresip.ts';
import { Linphone } from './phones/linphone.ts';
import { ParleyPhone } from './phones/parley.ts';
import type { Phone, PhoneSettings } from './phones/phone.ts';
import { Twinkle } from './phones/twinkle.ts';

export { SILENCE_BEFORE_SECONDS } from './phones/phone.ts';
export type { Phone, PhoneCodec } from './phones/phone.ts';

const MAKES = {
  baresip: Baresip,
  linphone: Linphone,
  twinkle: Twinkle,
  parley: ParleyPhone,
} as const;
export type PhoneMake = keyof typeof MAKES;

type Required = 'user' | 'password' | 'domain' | 'server';
type Settings = Pick<PhoneSettings, Required> & Partial<Omit<PhoneSettings, Required>>;

/** The programs without which phones of these makes cannot be had, for `requirePeer`. */
export function programsOf(...makes: readonly PhoneMake[]): string[] {
  return makes.flatMap((make) => MAKES[make].PROGRAMS);
}

/** The phones of one test or suite: taken down together, shown together when something fails. */
export class PhoneGroup {
  readonly #phones: Phone[] = [];

  /** Starts a phone and waits until it is registered. */
  async add(make: PhoneMake, settings: Settings): Promise<Phone> {
    const phone = await MAKES[make].create({
      transport: 'udp',
      codecs: make === 'twinkle' ? ['pcmu'] : ['opus', 'pcmu'],
      play: undefined,
      contacts: [],
      sound: undefined,
      authorityFile: undefined,
      ...settings,
    });
    this.#phones.push(phone);
    await phone.up();
    await phone.registered();
    return phone;
  }

  /** To be called after each test: adds to a failure what each of them said. */
  explain(test: Runnable | undefined): void {
    const error: unknown = test?.state === 'failed' ? (test as { err?: unknown }).err : undefined;
    if (!(error instanceof Error)) return;
    const outputs = this.#phones.map((phone) => phone.describe()).join('\n');
    error.stack = `${error.stack ?? error.message}\n${outputs}`;
  }

  /** Their processes. */
  get pids(): readonly number[] {
    return this.#phones.map((phone) => phone.pid);
  }

  /** Ends one phone before the others. */
  async remove(phone: Phone): Promise<void> {
    this.#phones.splice(this.#phones.indexOf(phone), 1);
    await phone.down();
  }

  /** Ends them all, in any state, and removes what they wrote. */
  async down(): Promise<void> {
    await Promise.all(this.#phones.splice(0).map((phone) => phone.down()));
  }
}
