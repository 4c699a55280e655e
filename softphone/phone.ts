/** The phone as every user interface sees it: what can be done with it, and what it tells. */

/* eslint-disable max-lines -- the one face of the phone, a third of it types: in two files nobody would find his way */

import type { CodecName } from '../core/audio/codec-name.ts';
import { RefusedError } from '../core/errors.ts';
import { TypedEmitter } from '../core/events.ts';
import type { Log } from '../core/log.ts';
import { systemClock } from './audio/device.ts';
import type { AudioDevice } from './audio/device.ts';
import { estimateMos } from './audio/mos.ts';
import { createNullDevice } from './audio/null-device.ts';
import { rehearse } from './audio/rehearsal.ts';
import type { PortRange } from './audio/rtp-ports.ts';
import type { EncoderSettings } from './audio/rtp-sender.ts';
import { RtpSession } from './audio/rtp-session.ts';
import type { MediaFigures } from './audio/rtp-session.ts';
import { findSoundDevice } from './audio/sound-device.ts';
import type { SoundChoice } from './audio/sound-device.ts';
import { SoundDesk } from './audio/sound-desk.ts';
import type { Recorder } from './audio/sound-desk.ts';
import { readSoundFile } from './audio/sound-file.ts';
import { WavWriter } from './audio/wav-writer.ts';
import { ContactList } from './contacts/contact-list.ts';
import { TextHistory } from './contacts/history.ts';
import type { TextRecord } from './contacts/history.ts';
import { holdInstance } from './contacts/instance.ts';
import type { Instance } from './contacts/instance.ts';
import { openAccountFolder } from './contacts/data-folder.ts';
import { readableUser, roomName, targetUri } from './ua/address.ts';
import type { CallEnd } from './ua/call-end.ts';
import { CallTable } from './ua/call-table.ts';
import type { Call, CallEvents, CallPhase, Remote } from './ua/call.ts';
import type { RegistrationState } from './ua/registration.ts';
import { Rooms } from './ua/rooms.ts';
import type { Participant, RosterChange } from './ua/roster.ts';
import type { TlsOptions } from './ua/stream-transport.ts';
import { withoutSenderPrefix } from './ua/texts.ts';
import { SipUserAgent } from './ua/user-agent.ts';
import type { ConnectionState, IncomingText } from './ua/user-agent.ts';

export type { CallEnd, ConnectionState, Participant, RegistrationState, RosterChange, TextRecord };
export { DEVICE_RATE_HZ } from './audio/device.ts';
export { defaultDataFolder } from './contacts/data-folder.ts';

export type PhoneOptions = {
  readonly nickname: string;
  readonly password: string;
  /** Shown to others; the nickname when it is empty. */
  readonly displayName?: string;
  readonly server: { readonly host: string; readonly port: number | undefined };
  /** Behind the @ of our address; the server's host when absent. */
  readonly domain?: string | undefined;
  readonly tls?: TlsOptions | undefined;
  /** For the User-Agent header. */
  readonly product: string;
  readonly codecs: readonly CodecName[];
  readonly rtpPorts: PortRange;
  /** `none` never looks for a sound card. */
  readonly sound: SoundChoice | 'none';
  /** The room to be in whenever there is a registration. */
  readonly lobby?: string | undefined;
  readonly isAutoAnswering?: boolean;
  /** Calls at the same time, rooms apart; more get 486. */
  readonly maxCalls?: number;
  /** Whether a call that gets the sound puts the others on hold; true when absent. */
  readonly holdsOthers?: boolean;
  /** Least playout delay; 0 leaves it to the jitter buffer. */
  readonly minDelayMs?: number;
  /** Contacts, history and the id of this device go there; undefined keeps them in memory. */
  readonly dataFolder?: string | undefined;
  readonly log: Log;
  /** Longest time between two CRLF pings, and how long their answers may take. */
  readonly keepAliveMs?: number;
  readonly pongLimitMs?: number;
};

/** A call at one moment. */
export type CallInfo = {
  readonly id: string;
  readonly direction: 'outgoing' | 'incoming';
  readonly remote: Remote;
  /** The room that it leads to. */
  readonly room: string | undefined;
  readonly phase: CallPhase;
  readonly isHeld: boolean;
  readonly isHeldByPeer: boolean;
  readonly isMuted: boolean;
  /** Whether it has the microphone and the speaker. */
  readonly isActive: boolean;
  readonly codec: CodecName | undefined;
  readonly establishedAtMs: number | undefined;
};

/** How a call sounds: what came, what the other side tells, and a mark from 1 (bad) to 4.5. */
export type CallQuality = MediaFigures & { readonly mos: number };

/** A text for the person. */
export type PhoneText = {
  readonly atMs: number;
  /** The nickname of the one who wrote it; undefined when a room does not tell. */
  readonly nickname: string | undefined;
  readonly name: string;
  /** The room that it was written in. */
  readonly room: string | undefined;
  readonly text: string;
};

/** What to change in a call that is up. */
export type CallChange = {
  readonly isHeld?: boolean;
  readonly isMuted?: boolean;
  /** By re-INVITE. */
  readonly codec?: CodecName;
  /** Opus, bits a second: 6,000 to 510,000. */
  readonly bitrate?: number;
  /** Opus in-band FEC. */
  readonly hasFec?: boolean;
  /** What FEC is to be made for, 0 to 100; left to the reports of the other side when absent. */
  readonly expectedLossPercent?: number;
};

/** What is known of somebody without calling them. */
export type PersonStatus = {
  readonly state: 'available' | 'busy' | 'offline' | 'unknown';
  readonly statusCode: number;
};

export type PhoneEvents = {
  connection: [ConnectionState];
  registration: [RegistrationState];
  /** Somebody calls. */
  incoming: [CallInfo];
  /** Anything in a call has changed: phase, hold, codec, name. */
  call: [CallInfo];
  ended: [CallInfo, CallEnd];
  digit: [CallInfo, string];
  text: [PhoneText];
  joined: [room: string];
  left: [room: string, CallEnd];
  roster: [room: string, RosterChange, readonly Participant[]];
  /** A sentence for the person, for example that there is no sound card. */
  notice: [string];
};

/** What stays when the phone ends. */
type Kept = {
  readonly contacts: ContactList;
  readonly history: TextHistory;
  readonly instance: Instance;
};

const ENCODER: EncoderSettings = { bitrate: 32_000, fec: true, expectedLossPercent: 0 };
const REJOIN_MS = 5000;
const DEFAULT_MAX_CALLS = 4;

export class Phone {
  readonly #options: PhoneOptions;
  readonly #domain: string;
  readonly #events: TypedEmitter<PhoneEvents>;
  readonly #desk: SoundDesk;
  readonly #table: CallTable;
  readonly #rooms: Rooms;
  readonly #userAgent: SipUserAgent;
  readonly contacts: ContactList;
  readonly #history: TextHistory;
  readonly #instance: Instance;
  readonly #callEvents: CallEvents;
  /** What was last told of each call, so that nothing is told twice. */
  readonly #told = new Map<string, string>();
  readonly #connected = new Set<string>();
  readonly #passive = new Set<string>();
  #isAutoAnswering: boolean;
  #recording: WavWriter | undefined;
  #nextId = 1;
  #cancelRejoin: (() => void) | undefined;
  #stopping: Promise<void> | undefined;

  /**
   * Prepares sound and data; nothing is sent before `start`.
   *
   * @throws ConfigError when the data folder cannot be used
   */
  static async open(options: PhoneOptions): Promise<Phone> {
    const notices: string[] = [];
    let notify = (sentence: string): void => {
      notices.push(sentence);
    };
    const fault = (sentence: string): void => {
      notify(sentence);
    };
    let device: AudioDevice | undefined;
    if (options.sound !== 'none') {
      const search = await findSoundDevice(options.sound, fault);
      ({ device } = search);
      if (search.reason !== undefined) {
        fault(`${search.reason} Texts, rooms, files and keys work all the same.`);
      }
    }
    const account = `${options.nickname}@${options.domain ?? options.server.host}`;
    const folder =
      options.dataFolder === undefined ? undefined : openAccountFolder(options.dataFolder, account);
    const history = await TextHistory.open(folder, () => {
      notify('Texts cannot be written to disk; they are kept until you leave.');
    });
    const contacts = await ContactList.open(folder);
    const instance = await holdInstance(folder);
    const kept = { history, contacts, instance };
    const phone = new Phone(options, device ?? createNullDevice(), kept);
    notify = (sentence) => {
      phone.#events.emit('notice', sentence);
    };
    // Whoever opened the phone listens from its next turn on.
    setImmediate(() => {
      notices.forEach(notify);
    });
    return phone;
  }

  private constructor(options: PhoneOptions, device: AudioDevice, kept: Kept) {
    this.#options = options;
    this.#domain = options.domain ?? bracketed(options.server.host);
    this.contacts = kept.contacts;
    this.#history = kept.history;
    this.#instance = kept.instance;
    this.#isAutoAnswering = options.isAutoAnswering === true;
    this.#events = new TypedEmitter((error) => {
      options.log.error('softphone.listener.failed', () => ({ error: String(error) }));
    });
    this.#desk = new SoundDesk(device, systemClock);
    this.#table = new CallTable(this.#desk, options.holdsOthers !== false, options.log);
    this.#callEvents = this.#eventsOfCalls();
    this.#userAgent = new SipUserAgent(
      {
        ...options,
        displayName: options.displayName ?? '',
        domain: this.#domain,
        tls: options.tls,
        instanceId: kept.instance.id,
        clock: systemClock,
        openMedia: (address, onDigit) =>
          RtpSession.open({
            address,
            ports: options.rtpPorts,
            encoder: ENCODER,
            minDelayMs: options.minDelayMs ?? 0,
            clock: systemClock,
            onDigit,
          }),
      },
      this.#eventsOfUserAgent(),
    );
    this.#rooms = new Rooms({
      domain: this.#domain,
      dial: (uri, isWanted) => this.#dial(uri, isWanted),
      subscribe: (uri, onChange) => this.#userAgent.subscribeRoom(uri, onChange),
      events: {
        joined: (room) => {
          this.#events.emit('joined', room);
        },
        left: (room, end) => {
          this.#events.emit('left', room, end);
          this.#rejoinLater();
        },
        roster: (room, change) => {
          this.#events.emit('roster', room, change, this.#rooms.roster(room));
        },
      },
    });
  }

  get nickname(): string {
    return this.#options.nickname;
  }

  get registration(): RegistrationState {
    return this.#userAgent.registration;
  }

  /** Adds a listener; the returned function takes it away again. */
  on<Name extends keyof PhoneEvents>(
    name: Name,
    listener: (...args: PhoneEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /** Connects and registers, and keeps trying for as long as it takes. */
  start(): void {
    const { lobby } = this.#options;
    if (lobby !== undefined) this.#rooms.want(lobby);
    this.#userAgent.start();
    const isIdle = (): boolean => this.#stopping === undefined && this.#connected.size === 0;
    rehearse(ENCODER, isIdle).catch((error: unknown) => {
      this.#options.log.error('softphone.rehearsal.failed', () => ({ error: String(error) }));
    });
  }

  /** Ends everything politely and releases ports, sound and files. */
  stop(reason = 'Quit'): Promise<void> {
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  async #stop(reason: string): Promise<void> {
    this.#cancelRejoin?.();
    await this.#userAgent.stop(reason);
    await this.#desk.close();
    await this.record(undefined);
    await this.#history.flush();
    await this.#instance.release();
  }

  /**
   * Calls a person, a room or a number; what becomes of it is told by events.
   *
   * @throws ConfigError when it is no address; RefusedError without a connection
   */
  call(target: string): CallInfo {
    const contact = this.contacts.find(target)?.address ?? target;
    return this.#infoOf(this.#dial(targetUri(contact, this.#domain), true));
  }

  /** @throws RefusedError when it does not ring, or when the caller has given up */
  async answer(callId: string): Promise<void> {
    await this.#find(callId).answer();
  }

  /** @throws RefusedError when it does not ring */
  decline(callId: string, why: 'declined' | 'busy' = 'declined'): void {
    this.#find(callId).decline(why === 'busy' ? 486 : 603);
  }

  /** Ends a call in any phase: cancels, declines or hangs up. */
  hangUp(callId: string): void {
    const call = this.#find(callId);
    const room = this.#rooms.findByCall(call);
    if (room === undefined) call.hangUp();
    else this.#rooms.leave(room.name);
  }

  async hold(callId: string): Promise<void> {
    await this.#table.hold(this.#find(callId));
  }

  /** Takes a call from hold and gives it the sound. */
  async resume(callId: string): Promise<void> {
    await this.#table.activate(this.#find(callId));
    this.#table.calls.forEach((call) => {
      this.#tell(call);
    });
  }

  mute(callId: string, isMuted: boolean): void {
    const call = this.#find(callId);
    this.#table.setMuted(callId, isMuted);
    this.#tell(call);
  }

  /** @throws RefusedError when the other side takes no keys, or one is none of 0-9 * # A-D */
  sendDtmf(callId: string, digits: string): void {
    if (this.#find(callId).media?.sendDigits(digits) === true) return;
    const message = 'The keys cannot be sent: the call is not up, or one of them is no key.';
    throw new RefusedError('softphone.keys.refused', message, 488);
  }

  /** Changes a call that is up; the parts one after the other, and none after the first that is refused. */
  async changeCall(callId: string, change: CallChange): Promise<void> {
    const { isHeld, isMuted, codec, bitrate, hasFec, expectedLossPercent } = change;
    const call = this.#find(callId);
    if (isMuted !== undefined) this.mute(callId, isMuted);
    call.media?.adjust({
      ...(bitrate === undefined ? {} : { bitrate }),
      ...(hasFec === undefined ? {} : { fec: hasFec }),
      ...(expectedLossPercent === undefined ? {} : { expectedLossPercent }),
    });
    if (codec !== undefined) await call.setCodec(codec);
    if (isHeld !== undefined) await (isHeld ? this.hold(callId) : this.resume(callId));
  }

  calls(): readonly CallInfo[] {
    return this.#table.calls.map((call) => this.#infoOf(call));
  }

  /** Undefined before there are media. */
  quality(callId: string): CallQuality | undefined {
    const figures = this.#find(callId).media?.figures;
    if (figures === undefined) return undefined;
    const delayMs = figures.playoutDelayMs + (figures.roundTripMs ?? 0) / 2;
    const mos = estimateMos(figures.lossPercent, delayMs, figures.receivingCodec);
    return { ...figures, mos };
  }

  /** Resolves when one is in the room. @throws RefusedError when it is refused */
  async joinRoom(room: string): Promise<void> {
    const known = this.#rooms.find(room);
    await this.#rooms.join(room);
    if (known !== undefined) await this.resume(known.call.id);
  }

  /** @throws RefusedError when one is not in it */
  leaveRoom(room: string): void {
    this.#rooms.leave(room);
  }

  rooms(): readonly string[] {
    return this.#rooms.names;
  }

  /** Who is in a room that one is in oneself. */
  roster(room: string): readonly Participant[] {
    return this.#rooms.roster(room);
  }

  /**
   * Writes to a person or a room.
   *
   * @returns `stored` when nobody is there and the server keeps it
   * @throws RefusedError with the reason
   */
  async sendMessage(to: string, text: string): Promise<'delivered' | 'stored'> {
    const room =
      to.startsWith('#') || this.#rooms.find(to) !== undefined ? roomName(to) : undefined;
    const contact = this.contacts.find(to)?.address ?? to;
    const uri = this.#rooms.find(to)?.uri ?? targetUri(contact, this.#domain);
    const outcome = await this.#userAgent.sendText(uri, text);
    const peer = room === undefined ? readableUser(uri) : `#${room}`;
    const name = this.#options.displayName ?? '';
    this.#history.add({
      atMs: Date.now(),
      direction: 'sent',
      peer,
      name: name === '' ? this.nickname : name,
      text,
    });
    return outcome;
  }

  /** Texts of one person or room (`#lobby`), or of all; the latest, oldest first. */
  history(peer: string | undefined, count: number): readonly TextRecord[] {
    return this.#history.latest(peer, count);
  }

  /** Whether somebody would take a call, without calling (OPTIONS). */
  async status(nickname: string): Promise<PersonStatus> {
    const contact = this.contacts.find(nickname)?.address ?? nickname;
    const { statusCode } = await this.#userAgent.request(
      'OPTIONS',
      targetUri(contact, this.#domain),
      { headers: ['Accept: application/sdp'] },
    );
    if (statusCode >= 200 && statusCode < 300) return { state: 'available', statusCode };
    if (statusCode === 486 || statusCode === 600) return { state: 'busy', statusCode };
    return { state: statusCode === 404 ? 'unknown' : 'offline', statusCode };
  }

  /** A WAV file or samples at 48 kHz in the microphone's place; undefined gives the microphone back. */
  async play(sound: string | Int16Array | undefined, isLooped = false): Promise<void> {
    this.#desk.play(typeof sound === 'string' ? await readSoundFile(sound) : sound, isLooped);
  }

  /** Records what is heard into a WAV file or elsewhere, until the next `record` or `stop`. */
  async record(target: string | Recorder | undefined): Promise<void> {
    const previous = this.#recording;
    this.#recording = undefined;
    this.#desk.record(undefined);
    await previous?.close();
    if (typeof target === 'string') {
      const fault = (): void => {
        this.#events.emit('notice', 'The recording cannot be written any more.');
      };
      this.#recording = await WavWriter.create(target, 48_000, fault);
    }
    this.#desk.record(typeof target === 'string' ? this.#recording : target);
  }

  set isAutoAnswering(isAutoAnswering: boolean) {
    this.#isAutoAnswering = isAutoAnswering;
  }

  get isAutoAnswering(): boolean {
    return this.#isAutoAnswering;
  }

  /** Amplification of the microphone, 0 to 4. */
  set microphoneGain(gain: number) {
    this.#desk.microphoneGain = gain;
  }

  get microphoneGain(): number {
    return this.#desk.microphoneGain;
  }

  /** In dBov; -127 is silence. */
  get microphoneLevelDbov(): number {
    return this.#desk.microphoneLevelDbov;
  }

  #dial(uri: string, isWanted: boolean): Call {
    const id = this.#newId();
    const call = this.#userAgent.dial(id, uri, this.#callEvents);
    if (!isWanted) this.#passive.add(id);
    this.#table.add(call);
    this.#tell(call);
    return call;
  }

  #newId(): string {
    const id = `c${this.#nextId}`;
    this.#nextId += 1;
    return id;
  }

  #find(callId: string): Call {
    const call = this.#table.find(callId);
    if (call !== undefined) return call;
    throw new RefusedError('softphone.call.unknown', `There is no call ${callId}.`, 481);
  }

  #infoOf(call: Call): CallInfo {
    const { id, direction, remote, phase, isHeld, isHeldByPeer, establishedAtMs } = call;
    return {
      id,
      direction,
      remote,
      room: this.#rooms.findByCall(call)?.name,
      phase,
      isHeld,
      isHeldByPeer,
      isMuted: this.#table.isMuted(id),
      isActive: this.#table.activeId === id,
      codec: call.media?.figures.sendingCodec,
      establishedAtMs,
    };
  }

  #tell(call: Call): void {
    const info = this.#infoOf(call);
    const content = JSON.stringify(info);
    if (this.#told.get(call.id) === content) return;
    this.#told.set(call.id, content);
    this.#events.emit('call', info);
  }

  #eventsOfCalls(): CallEvents {
    return {
      changed: (call) => {
        this.#rooms.changed(call);
        if (call.phase === 'established' && !this.#connected.has(call.id)) this.#established(call);
        else if (call.media !== undefined && call.phase === 'ringing') this.#table.connect(call);
        this.#updateTone();
        this.#tell(call);
      },
      digit: (call, digit) => {
        this.#events.emit('digit', this.#infoOf(call), digit);
      },
      ended: (call, end) => {
        const info = this.#infoOf(call);
        this.#told.delete(call.id);
        this.#connected.delete(call.id);
        this.#passive.delete(call.id);
        this.#table.remove(call);
        this.#updateTone();
        this.#events.emit('ended', info, end);
        this.#rooms.ended(call, end);
      },
    };
  }

  #established(call: Call): void {
    this.#connected.add(call.id);
    this.#table.connect(call);
    const isPassive = this.#passive.delete(call.id);
    if (!isPassive) this.#desk.rewind();
    const change = isPassive ? this.#table.standBy(call) : this.#table.activate(call);
    change.catch((error: unknown) => {
      this.#options.log.warn('softphone.call.notActivated', () => ({ error: String(error) }));
    });
  }

  #updateTone(): void {
    const calls = this.#table.calls;
    const isRinging = calls.some(({ phase }) => phase === 'incoming');
    const isWaiting = calls.some(
      (call) => call.phase === 'ringing' && call.media?.agreement === undefined,
    );
    if (isRinging) this.#desk.setTone('ring');
    else this.#desk.setTone(isWaiting ? 'ringback' : undefined);
  }

  #eventsOfUserAgent(): ConstructorParameters<typeof SipUserAgent>[1] {
    return {
      connection: (state) => {
        this.#events.emit('connection', state);
      },
      registration: (state) => {
        this.#events.emit('registration', state);
        if (state.kind === 'registered') this.#rooms.rejoin();
      },
      incoming: () =>
        this.#isFull() ? { refuse: 486 } : { id: this.#newId(), events: this.#callEvents },
      ringing: (call) => {
        this.#table.add(call);
        this.#updateTone();
        this.#events.emit('incoming', this.#infoOf(call));
        if (!this.#isAutoAnswering) return;
        // Why not is told by the event `ended`.
        call.answer().catch(() => undefined);
      },
      text: (text) => {
        this.#texted(text);
      },
      isBusy: () => this.#isFull(),
    };
  }

  /** The server has put us out of a room because of a fault of its own, and the registration is still good. */
  #rejoinLater(): void {
    this.#cancelRejoin?.();
    const rejoin = (): void => {
      if (this.registration.kind === 'registered') this.#rooms.rejoin();
    };
    this.#cancelRejoin = systemClock.setTimer(rejoin, REJOIN_MS, true);
  }

  /** Who writes in a room, as far as the roster tells names apart. */
  #nicknameIn(room: string, name: string): string | undefined {
    const namesakes = this.#rooms.roster(room).filter((participant) => participant.name === name);
    return namesakes.length === 1 ? namesakes[0]?.nickname : undefined;
  }

  #isFull(): boolean {
    const people = this.#table.calls.filter((call) => this.#rooms.findByCall(call) === undefined);
    return people.length >= (this.#options.maxCalls ?? DEFAULT_MAX_CALLS);
  }

  #texted({ senderUri, senderName, fromName, fromUri, text, writtenAtMs }: IncomingText): void {
    const room = this.#rooms.find(senderUri)?.name ?? roomOfUri(senderUri);
    const shown = [fromName, senderName].find((name) => name !== undefined && name !== '');
    const name = shown ?? readableUser(senderUri);
    const sender =
      room === undefined ? readableUser(senderUri) : this.#nicknameIn(room, senderName);
    const nickname = fromUri === undefined ? sender : readableUser(fromUri);
    const received: PhoneText = {
      atMs: writtenAtMs ?? Date.now(),
      nickname,
      name,
      room,
      text: room === undefined ? text : withoutSenderPrefix(text, name),
    };
    const peer = room === undefined ? readableUser(senderUri) : `#${room}`;
    this.#history.add({
      atMs: received.atMs,
      direction: 'received',
      peer,
      name,
      text: received.text,
    });
    this.#events.emit('text', received);
  }
}

/** The room's name when the URI is that of a room by its `#`. */
function roomOfUri(uri: string): string | undefined {
  return readableUser(uri).startsWith('#') ? roomName(uri) : undefined;
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
