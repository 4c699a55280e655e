/** Linphone's console (linphonec 5.1) in a test: sound from and into files. */

import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import type { Sound } from '../../../core/audio/score.ts';
import { freePorts } from '../free-ports.ts';
import { Program } from '../program.ts';
import { padded } from '../speech.ts';
import { readWav, writeWav } from '../wav.ts';
import { Phone, SILENCE_AFTER_SECONDS, SILENCE_BEFORE_SECONDS } from './phone.ts';
import type { PhoneCodec, PhonePatterns, PhoneSettings } from './phone.ts';

const CODECS: readonly (readonly [
  codec: PhoneCodec | undefined,
  mime: string,
  rate: number,
  channels: number,
])[] = [
  ['opus', 'opus', 48_000, 2],
  ['pcmu', 'PCMU', 8000, 1],
  ['pcma', 'PCMA', 8000, 1],
  ['g722', 'G722', 8000, 1],
  [undefined, 'speex', 16_000, 1],
  [undefined, 'speex', 8000, 1],
  [undefined, 'G729', 8000, 1],
  [undefined, 'GSM', 8000, 1],
];

const RTP_PORTS = 20;
const PORTS = RTP_PORTS + 2;
const WAIT_MS = 20_000;
const HEARD = 'heard.wav';
const ECHOED_CHARACTERS = 40;

export class Linphone extends Phone {
  static readonly PROGRAMS = ['linphonec'];
  protected readonly quit = 'quit\n';
  protected readonly patterns: PhonePatterns = {
    registered: /LinphoneRegistrationOk|RegistrationOk/,
    registrationFailed: /Registration on .* failed/,
    incoming: /Receiving new incoming call/,
    ringing: /ringing|Early media/,
    established: /connected\.|Media streams established/,
    ended: /ended|declined|busy|failed|Call .* error/,
  };
  /** What the recording holds of calls before the last one. */
  #earlierSamples = 0;

  static async create(settings: PhoneSettings): Promise<Linphone> {
    return new Linphone(settings, await Phone.newFolder());
  }

  protected override async start(): Promise<Program> {
    const { play, user, domain } = this.settings;
    await mkdir(this.file('home/.local/share/linphone'), { recursive: true });
    await mkdir(this.file('home/.config/linphone'), { recursive: true });
    const silence = { samples: new Float32Array(48_000), sampleRateHz: 48_000 };
    writeWav(
      this.file('speech.wav'),
      padded(play ?? silence, SILENCE_BEFORE_SECONDS, SILENCE_AFTER_SECONDS),
    );
    await writeFile(this.file('linphonerc'), this.#configuration(await freePorts(PORTS)));
    const log = this.file('linphone.log');
    const args = ['-S', '-c', this.file('linphonerc'), '-d', '5', '-l', log];
    const program = await Program.start('linphonec', args, {
      name: `${user}@${domain} on Linphone`,
      cwd: this.folder,
      isUrgent: true,
      env: {
        ...process.env,
        HOME: this.file('home'),
        XDG_RUNTIME_DIR: this.folder,
        DBUS_SESSION_BUS_ADDRESS: 'disabled:',
      },
    });
    await say(program, 'soundcard use files');
    await say(program, `play ${this.file('speech.wav')}`);
    // Naming another file during a call would end the program; every call is appended to this one.
    await say(program, `record ${this.file(HEARD)}`);
    return program;
  }

  #configuration(port: number): string {
    const { user, password, domain, server, transport, authorityFile, codecs } = this.settings;
    const proxy = `sip:${server.address}:${server.port};transport=${transport}`;
    const sections: Readonly<Record<string, readonly string[]>> = {
      sip: [
        `sip_port=${port}`,
        `sip_tcp_port=${port}`,
        // Without a port of its own it does not speak TLS at all.
        `sip_tls_port=${transport === 'tls' ? port + 1 : 0}`,
        ...(authorityFile === undefined ? [] : [`root_ca=${authorityFile}`]),
        'bind_address=127.0.0.1',
        'register_only_when_network_is_up=1',
        'guess_hostname=0',
        'default_proxy=0',
        'use_ipv6=0',
        `contact="${user}" <sip:${user}@127.0.0.1>`,
        'media_encryption=none',
        'lime=0',
      ],
      rtp: [`audio_rtp_port=${port + 2}-${port + RTP_PORTS}`, 'bind_address=127.0.0.1'],
      net: ['mtu=1300', 'firewall_policy=0'],
      sound: ['echocancellation=0', 'disable_ringing=1', 'local_ring=', 'remote_ring='],
      video: ['capture=0', 'display=0', 'automatically_initiate=0', 'automatically_accept=0'],
      misc: ['store_friends=0', 'max_calls=4'],
      auth_info_0: [`username=${user}`, `userid=${user}`, `passwd=${password}`, `domain=${domain}`],
      proxy_0: [
        `reg_proxy=<${proxy}>`,
        `reg_route=<${proxy};lr>`,
        `reg_identity=sip:${user}@${domain}`,
        'reg_expires=120',
        'reg_sendregister=1',
        'publish=0',
      ],
      ...this.#codecSections(codecs),
    };
    return Object.entries(sections)
      .map(([name, lines]) => `[${name}]\n${lines.join('\n')}\n`)
      .join('');
  }

  #codecSections(codecs: readonly PhoneCodec[]): Record<string, string[]> {
    const rank = (codec: PhoneCodec | undefined): number => {
      const at = codec === undefined ? -1 : codecs.indexOf(codec);
      return at < 0 ? codecs.length : at;
    };
    const ordered = [...CODECS].sort((a, b) => rank(a[0]) - rank(b[0]));
    return Object.fromEntries(
      ordered.map(([codec, mime, rate, channels], index) => {
        const isEnabled = codec !== undefined && codecs.includes(codec);
        const lines = [`mime=${mime}`, `rate=${rate}`, `channels=${channels}`];
        return [`audio_codec_${index}`, [...lines, `enabled=${isEnabled ? 1 : 0}`]];
      }),
    );
  }

  /** A registration shows in its log alone. */
  override async registered(): Promise<void> {
    const log = this.file('linphone.log');
    await this.program.waitUntil(
      () => (readLog(log).includes('RegistrationOk') ? true : undefined),
      'registration',
      WAIT_MS,
    );
  }

  #recorded(): Sound | undefined {
    try {
      return readWav(this.file(HEARD));
    } catch {
      return undefined;
    }
  }

  override async call(target: string): Promise<void> {
    this.forget();
    this.#earlierSamples = this.#recorded()?.samples.length ?? 0;
    await say(this.program, `call ${this.uriOf(target)}`);
  }

  override async answer(): Promise<void> {
    this.#earlierSamples = this.#recorded()?.samples.length ?? 0;
    await say(this.program, 'answer');
  }

  override async decline(): Promise<void> {
    await this.hangUp();
  }

  override async hangUp(): Promise<void> {
    await say(this.program, 'terminate');
  }

  override async hold(): Promise<void> {
    await say(this.program, 'pause');
  }

  override async resume(): Promise<void> {
    await say(this.program, 'resume');
  }

  override async dtmf(digits: string): Promise<void> {
    await say(this.program, digits);
  }

  override async message(target: string, text: string): Promise<void> {
    await say(this.program, `chat ${this.uriOf(target)} ${text}`);
  }

  override heard(): Promise<Sound | undefined> {
    const sound = this.#recorded();
    if (sound === undefined) return Promise.resolve(undefined);
    const { samples, sampleRateHz } = sound;
    return Promise.resolve({ samples: samples.slice(this.#earlierSamples), sampleRateHz });
  }
}

/** It takes one line at a time and loses what comes before it has repeated the last one. */
async function say(program: Program, line: string): Promise<void> {
  const from = program.output.length;
  program.write(`${line}\n`);
  const echo = (): true | undefined =>
    program.output.slice(from).includes(line.slice(0, ECHOED_CHARACTERS)) ? true : undefined;
  await program.waitUntil(echo, `echo of "${line}"`, WAIT_MS);
}

function readLog(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
