/** baresip 1.0 in a test: sound from a file, what it hears into a file, no sound device. */

import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import type { Sound } from '../../../core/audio/score.ts';
import { freePorts } from '../free-ports.ts';
import { Program } from '../program.ts';
import { padded } from '../speech.ts';
import { readWav, writeWav } from '../wav.ts';
import { Phone, SILENCE_AFTER_SECONDS, SILENCE_BEFORE_SECONDS } from './phone.ts';
import type { PhoneCodec, PhonePatterns, PhoneSettings } from './phone.ts';

const CODECS: Readonly<Record<PhoneCodec, string>> = {
  opus: 'opus/48000/2',
  pcmu: 'PCMU/8000/1',
  pcma: 'PCMA/8000/1',
  g722: 'G722/16000/1',
};

const MODULES = ['stdio', 'opus', 'g711', 'g722', 'sndfile', 'alsa', 'aufile', 'aubridge'];
const TEMPORARY_MODULES = ['uuid', 'account'];
const APPLICATION_MODULES = ['contact', 'menu'];
const RTP_PORTS = 20;
/** Its key for the end of a DTMF digit. */
const KEY_RELEASED = '\x04';
const KEY_MS = 250;
/** It repeats every letter of a command, and shows the bit rates ten times a second. */
const METER =
  /^\/\/.*\/(?=[a-z_]+(?: .*)?$)|\p{Cc}*(?:\[K)?\[\d+:\d\d:\d\d\] audio=\S+ \(bit\/s\)\s*/gmu;
const CONTACT_STEP_MS = 5000;

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Baresip extends Phone {
  static readonly PROGRAMS = ['baresip'];
  protected readonly quit = '/quit\n';
  protected readonly patterns: PhonePatterns = {
    registered: /registered successfully|200 OK .*binding/,
    registrationFailed: /reg failed|: 40[134] /,
    incoming: /Incoming call from/,
    ringing: /180 Ringing|183 Session|SIP Progress/,
    established: /Call established|Call answered/,
    ended:
      /rejecting incoming call|session closed|Call with .* terminated|call closed|terminated \(duration/,
  };

  static async create(settings: PhoneSettings): Promise<Baresip> {
    return new Baresip(settings, await Phone.newFolder());
  }

  protected override async start(): Promise<Program> {
    const { play, contacts, domain } = this.settings;
    await mkdir(this.file('heard'));
    const silence = { samples: new Float32Array(48_000), sampleRateHz: 48_000 };
    writeWav(
      this.file('speech.wav'),
      padded(play ?? silence, SILENCE_BEFORE_SECONDS, SILENCE_AFTER_SECONDS),
    );
    await writeFile(this.file('config'), this.#configuration(await freePorts(RTP_PORTS)));
    await writeFile(this.file('accounts'), this.#account());
    const peers = contacts.map(
      (contact) => `"${contact}" <${this.uriOf(contact)}>;presence=none\n`,
    );
    await writeFile(this.file('contacts'), peers.join(''));
    return Program.start('baresip', ['-4', '-f', this.folder], {
      name: `${this.settings.user}@${domain} on baresip`,
      cwd: this.folder,
      isUrgent: true,
      env: { ...process.env, HOME: this.folder },
      noise: METER,
    });
  }

  #configuration(rtpPort: number): string {
    const modules = [
      ...MODULES.map((name) => `module ${name}.so`),
      ...TEMPORARY_MODULES.map((name) => `module_tmp ${name}.so`),
      ...APPLICATION_MODULES.map((name) => `module_app ${name}.so`),
    ];
    return `${[
      'poll_method epoll',
      'sip_listen 127.0.0.1:0',
      'net_interface 127.0.0.1',
      `rtp_ports ${rtpPort}-${rtpPort + RTP_PORTS - 2}`,
      'call_local_timeout 120',
      'call_max_calls 4',
      `audio_source aufile,${this.file('speech.wav')}`,
      'audio_player aubridge,nowhere',
      'audio_alert alsa,null',
      'ausrc_srate 48000',
      'auplay_srate 48000',
      'ausrc_channels 1',
      'auplay_channels 1',
      'audio_buffer 100',
      'audio_txmode thread',
      'jitter_buffer_delay 5-10',
      'ringback_disabled yes',
      'opus_bitrate 48000',
      'module_path /usr/lib/baresip/modules',
      ...modules,
      `snd_path ${this.file('heard')}`,
    ].join('\n')}\n`;
  }

  #account(): string {
    const { user, password, domain, server, transport, codecs } = this.settings;
    const proxy = `sip:${server.address}:${server.port};transport=${transport}`;
    const names = codecs.map((codec) => CODECS[codec]).join(',');
    return `<sip:${user}@${domain};transport=${transport}>;outbound="${proxy}";auth_user=${user};auth_pass=${password};regint=120;answermode=manual;ptime=20;audio_codecs=${names}\n`;
  }

  override call(target: string): Promise<void> {
    this.forget();
    this.send(`/dial ${this.uriOf(target)}`);
    return Promise.resolve();
  }

  override answer(): Promise<void> {
    this.send('/accept');
    return Promise.resolve();
  }

  override decline(): Promise<void> {
    return this.hangUp();
  }

  override hangUp(): Promise<void> {
    this.send('/hangup');
    return Promise.resolve();
  }

  override hold(): Promise<void> {
    this.send('/hold');
    return Promise.resolve();
  }

  override resume(): Promise<void> {
    this.send('/resume');
    return Promise.resolve();
  }

  override async dtmf(digits: string): Promise<void> {
    for (const digit of digits) {
      this.program.write(digit);
      await pause(KEY_MS);
    }
    this.program.write(KEY_RELEASED);
  }

  /** It writes to its current contact only, and steps through the list without beginning again at the end. */
  override async message(target: string, text: string): Promise<void> {
    const wanted = `<${this.uriOf(target)}>`;
    const { contacts } = this.settings;
    const steps = [...contacts.map(() => '/contact_next'), ...contacts.map(() => '/contact_prev')];
    for (const step of steps) {
      this.send(step);
      const shown = await this.waitFor(/Current contact: .*\n/, CONTACT_STEP_MS);
      if (shown[0].includes(wanted)) {
        this.send(`/message ${text}`);
        return;
      }
    }
    throw new Error(`${this.name} has no contact ${wanted}: name it in its settings`);
  }

  override async heard(): Promise<Sound | undefined> {
    const names = (await readdir(this.file('heard'))).filter((name) => name.endsWith('dec.wav'));
    const files = await Promise.all(
      names.map(async (name) => {
        const file = this.file(`heard/${name}`);
        return { file, at: (await stat(file)).birthtimeMs };
      }),
    );
    const last = files.sort((a, b) => a.at - b.at).at(-1);
    return last === undefined ? undefined : readWav(last.file);
  }
}
