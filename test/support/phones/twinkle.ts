/** Twinkle's console (1.10) in a test: it can only speak and hear through a sound server. */

import { mkdir, writeFile } from 'node:fs/promises';
import type { Sound } from '../../../core/audio/score.ts';
import { freePorts } from '../free-ports.ts';
import { Program } from '../program.ts';
import { seededRandom } from '../random.ts';
import { readWav, writeWav } from '../wav.ts';
import { VIRTUAL_SOUND_PROGRAMS } from '../virtual-sound.ts';
import type { VirtualSound } from '../virtual-sound.ts';
import { Phone } from './phone.ts';
import type { PhoneCodec, PhonePatterns, PhoneSettings } from './phone.ts';

const CODECS: Readonly<Partial<Record<PhoneCodec, string>>> = { pcmu: 'g711u', pcma: 'g711a' };
const PORTS = 12;
/** While its microphone is digitally silent Twinkle sends no RTP at all, not even DTMF: it needs a room's noise. */
const NOISE_SECONDS = 300;
const NOISE_LEVEL = 0.008;

function roomNoise(): Sound {
  const random = seededRandom(11);
  const samples = Float32Array.from(
    { length: NOISE_SECONDS * 8000 },
    () => 2 * NOISE_LEVEL * (random() - 0.5),
  );
  return { samples, sampleRateHz: 8000 };
}

export class Twinkle extends Phone {
  static readonly PROGRAMS = ['twinkle-console', ...VIRTUAL_SOUND_PROGRAMS];
  protected readonly quit = 'quit\n';
  protected readonly patterns: PhonePatterns = {
    registered: /registration succeeded/,
    registrationFailed: /registration fail/,
    incoming: /incoming call/,
    ringing: /ringing|180|183/,
    established: /call established|far end answered/,
    ended:
      /call ended|call rejected|far end cancelled|ended call|call released|far end ended|call failed|call cancel|missed call/,
  };
  readonly #sound: VirtualSound;
  readonly #clients: Program[] = [];
  #listening: Program | undefined;
  #recordings = 0;

  private constructor(settings: PhoneSettings, folder: string, sound: VirtualSound) {
    super(settings, folder);
    this.#sound = sound;
  }

  static async create(settings: PhoneSettings): Promise<Twinkle> {
    if (settings.sound === undefined) throw new Error('Twinkle needs a sound server');
    return new Twinkle(settings, await Phone.newFolder(), settings.sound);
  }

  protected override async start(): Promise<Program> {
    const { user, domain, play } = this.settings;
    const profile = this.file('home/.twinkle');
    await mkdir(profile, { recursive: true });
    const port = await freePorts(PORTS);
    await writeFile(`${profile}/twinkle.sys`, this.#system(port));
    await writeFile(`${profile}/${user}.cfg`, this.#profile());
    if (play) writeWav(this.file('speech.wav'), play);
    writeWav(this.file('noise.wav'), roomNoise());
    const environment: NodeJS.ProcessEnv = {
      ...process.env,
      ...this.#sound.env,
      HOME: this.file('home'),
      XDG_RUNTIME_DIR: this.folder,
      DBUS_SESSION_BUS_ADDRESS: 'disabled:',
    };
    // With a latency of its own it loses a part of what it hears.
    delete environment['PULSE_LATENCY_MSEC'];
    const program = await Program.start('twinkle-console', [`${user}.cfg`], {
      name: `${user}@${domain} on Twinkle`,
      cwd: this.folder,
      isUrgent: true,
      env: environment,
    });
    this.#clients.push(await this.#sound.speak(user, this.file('noise.wav')));
    return program;
  }

  #system(port: number): string {
    const device = `alsa:${this.settings.user}`;
    return `${[
      'dev_ringtone=alsa:null',
      `dev_speaker=${device}`,
      `dev_mic=${device}`,
      'validate_audio_dev=no',
      'alsa_play_period_size=320',
      'alsa_capture_period_size=160',
      'log_sip=yes',
      `sip_port=${port}`,
      `rtp_port=${port + 2}`,
      'call_waiting=no',
      'play_ringtone=no',
      'play_ringback=no',
    ].join('\n')}\n`;
  }

  #profile(): string {
    const { user, password, domain, server, transport, codecs } = this.settings;
    const names = codecs.flatMap((codec) => CODECS[codec] ?? []);
    return `${[
      `user_name=${user}`,
      `user_domain=${domain}`,
      `user_display=${user}`,
      'auth_realm=',
      `auth_name=${user}`,
      `auth_pass=${password}`,
      `outbound_proxy=${server.address}:${server.port}`,
      'all_requests_to_proxy=yes',
      'registration_time=120',
      'register_at_startup=yes',
      `codecs=${names.join(',')}`,
      'ptime=20',
      'dtmf_transport=rfc2833',
      'dtmf_payload_type=101',
      'hold_variant=rfc3264',
      'ext_100rel=supported',
      'allow_refer=yes',
      'ask_user_to_refer=no',
      `sip_transport=${transport}`,
      'persistent_tcp=yes',
      'timer_noanswer=60',
      'pres_publish_startup=no',
      'zrtp_enabled=no',
    ].join('\n')}\n`;
  }

  async #record(): Promise<void> {
    await this.#listening?.stop();
    this.#recordings += 1;
    this.#listening = await this.#sound.listen(
      this.settings.user,
      this.file(`heard-${this.#recordings}.wav`),
    );
  }

  override async call(target: string): Promise<void> {
    this.forget();
    await this.#record();
    this.send(`call ${this.uriOf(target)}`);
  }

  override async answer(): Promise<void> {
    await this.#record();
    this.send('answer');
  }

  override decline(): Promise<void> {
    this.send('reject');
    return Promise.resolve();
  }

  override hangUp(): Promise<void> {
    this.send('bye');
    return Promise.resolve();
  }

  override hold(): Promise<void> {
    this.send('hold');
    return Promise.resolve();
  }

  override resume(): Promise<void> {
    this.send('retrieve');
    return Promise.resolve();
  }

  override dtmf(digits: string): Promise<void> {
    this.send(`dtmf ${digits}`);
    return Promise.resolve();
  }

  override message(target: string, text: string): Promise<void> {
    this.send(`message ${this.uriOf(target)} "${text}"`);
    return Promise.resolve();
  }

  /** Its file is played into its microphone when it is told to, not when its media starts. */
  override async speak(): Promise<void> {
    this.#clients.push(await this.#sound.speak(this.settings.user, this.file('speech.wav')));
  }

  override async heard(): Promise<Sound | undefined> {
    await this.#listening?.stop();
    this.#listening = undefined;
    return this.#recordings === 0 ? undefined : readWav(this.file(`heard-${this.#recordings}.wav`));
  }

  protected override async beforeDown(): Promise<void> {
    await this.#listening?.stop();
    await Promise.all(this.#clients.map((client) => client.stop()));
  }
}
