import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeScore, isAbsent, scoreSound } from '../../core/audio/score.ts';
import type { Sound } from '../../core/audio/score.ts';
import { synthesizeVoice } from '../../core/audio/voice.ts';
import { RefusedError } from '../../core/errors.ts';
import { loadConfig } from '../../config/load.ts';
import { nullLog } from '../../core/log.ts';
import { startSwitch } from '../../registrar/main.ts';
import type { RunningSwitch } from '../../registrar/main.ts';
import { Phone } from '../../softphone/phone.ts';
import type { CallEnd, CallInfo, PhoneOptions, PhoneText } from '../../softphone/phone.ts';
import { LiveSwitch } from '../support/live-switch.ts';
import { measureAwake } from '../support/stalls.ts';

const LIMIT_MS = 15_000;

async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `in vain: ${what}`);
    await sleep(10);
  }
}

/** A phone, and everything that it has told. */
class Person {
  readonly name: string;
  readonly phone: Phone;
  readonly texts: PhoneText[] = [];
  readonly ends: [CallInfo, CallEnd][] = [];
  readonly digits: string[] = [];
  readonly incoming: CallInfo[] = [];
  readonly lefts: string[] = [];
  #heard: Int16Array[] = [];

  constructor(name: string, phone: Phone) {
    this.name = name;
    this.phone = phone;
    phone.on('text', (text) => this.texts.push(text));
    phone.on('ended', (call, end) => this.ends.push([call, end]));
    phone.on('digit', (_call, digit) => this.digits.push(digit));
    phone.on('incoming', (call) => this.incoming.push(call));
    phone.on('left', (room) => this.lefts.push(room));
  }

  static async open(
    name: string,
    server: { readonly address: string; readonly port: number },
    more: Partial<PhoneOptions> = {},
  ): Promise<Person> {
    const phone = await Phone.open({
      nickname: name,
      password: `${name}-secret`,
      displayName: name.toUpperCase(),
      server: { host: server.address, port: server.port },
      product: 'Parley/test',
      codecs: ['opus', 'PCMU', 'PCMA'],
      rtpPorts: { lowest: 16_384, highest: 32_767 },
      sound: 'none',
      log: nullLog,
      ...more,
    });
    return new Person(name, phone);
  }

  async up(): Promise<this> {
    this.phone.start();
    await this.registered();
    return this;
  }

  async registered(): Promise<void> {
    await until(() => this.phone.registration.kind === 'registered', `${this.name} registers`);
  }

  /** The call that rings here. */
  async ringing(): Promise<string> {
    await until(() => this.find('incoming') !== undefined, `it rings at ${this.name}`);
    return this.find('incoming')?.id ?? '';
  }

  find(phase: CallInfo['phase']): CallInfo | undefined {
    return this.phone.calls().find((call) => call.phase === phase);
  }

  info(id: string): CallInfo | undefined {
    return this.phone.calls().find((call) => call.id === id);
  }

  async phase(id: string, phase: CallInfo['phase']): Promise<void> {
    await until(() => this.info(id)?.phase === phase, `${this.name}'s call is ${phase}`);
  }

  async listen(): Promise<void> {
    this.#heard = [];
    await this.phone.record({ write: (samples) => this.#heard.push(samples.slice()) });
  }

  get heard(): Sound {
    return soundOf(Int16Array.from(this.#heard.flatMap((piece) => [...piece])));
  }
}

function soundOf(pcm: Int16Array): Sound {
  return { samples: Float32Array.from(pcm, (value) => value / 32768), sampleRateHz: 48_000 };
}

function voice(seed: number, seconds: number): Int16Array {
  const pitchHz = 90 + 45 * seed;
  const formantScale = 0.85 + 0.1 * seed;
  return synthesizeVoice({ seed, pitchHz, formantScale, seconds, sampleRateHz: 48_000 });
}

function assertHeard(what: Int16Array, recording: Sound, who: string): void {
  const score = scoreSound(soundOf(what), recording);
  assert.ok(score.ncc >= 0.9, `${who}: ${describeScore(score)}`);
}

function assertAbsent(what: Int16Array, recording: Sound, who: string): void {
  const score = scoreSound(soundOf(what), recording);
  assert.ok(isAbsent(score), `${who}: ${describeScore(score)}`);
}

describe('softphones at the switch', function () {
  this.timeout(60_000);
  const parley = new LiveSwitch();
  let people: Person[] = [];
  let anna: Person;
  let bob: Person;

  const open = async (name: string, more: Partial<PhoneOptions> = {}): Promise<Person> => {
    const person = await Person.open(name, parley.server, more);
    people.push(person);
    return person.up();
  };

  before(async () => {
    await parley.start();
    await parley.addAccounts(
      ['anna', 'bob', 'clara'].map((user) => ({ user, password: `${user}-secret` })),
    );
  });

  beforeEach(async () => {
    [anna, bob] = await Promise.all([open('anna'), open('bob')]);
  });

  afterEach(async () => {
    await Promise.all(people.map(({ phone }) => phone.stop()));
    people = [];
    await parley.nothingLeft();
    for (const name of ['anna', 'bob', 'clara']) parley.isUnreachable(name);
  });

  after(async () => {
    await parley.stop();
  });

  const connect = async (): Promise<[annasCall: string, bobsCall: string]> => {
    const { id } = anna.phone.call('bob');
    const bobsCall = await bob.ringing();
    await bob.phone.answer(bobsCall);
    await anna.phase(id, 'established');
    return [id, bobsCall];
  };

  it('carry both voices of a call, and stop each where it is muted or on hold', async () => {
    await measureAwake([], async () => {
      const voices = [1, 2, 3, 4].map((seed) => voice(seed, 2));
      const [first, muted, held, last] = voices;
      assert.ok(first && muted && held && last);
      const [call] = await connect();
      await bob.listen();
      const say = async (what: Int16Array): Promise<void> => {
        await anna.phone.play(what);
        await sleep(2200);
      };
      await say(first);
      anna.phone.mute(call, true);
      await say(muted);
      anna.phone.mute(call, false);
      await anna.phone.hold(call);
      assert.equal(anna.info(call)?.isHeld, true);
      await until(() => bob.phone.calls()[0]?.isHeldByPeer === true, 'bob is on hold');
      await say(held);
      await anna.phone.play(undefined);
      await anna.phone.resume(call);
      await until(() => bob.phone.calls()[0]?.isHeldByPeer === false, 'bob is off hold');
      await say(last);
      assertHeard(first, bob.heard, 'before');
      assertAbsent(muted, bob.heard, 'muted');
      assertAbsent(held, bob.heard, 'held');
      assertHeard(last, bob.heard, 'after');
      assert.ok((bob.phone.quality(bob.phone.calls()[0]?.id ?? '')?.mos ?? 0) > 4);
      anna.phone.hangUp(call);
      await until(() => bob.phone.calls().length === 0, 'bob is told');
    });
  });

  it('change the codec and the encoder in a call, and press keys', async () => {
    const [call, bobsCall] = await connect();
    assert.equal(anna.info(call)?.codec, 'opus');
    await anna.phone.changeCall(call, { codec: 'PCMA' });
    await until(() => bob.info(bobsCall)?.codec === 'PCMA', 'bob changes too');
    anna.phone.sendDtmf(call, '19#*D');
    await until(() => bob.digits.length === 5, 'keys arrive');
    assert.equal(bob.digits.join(''), '19#*D');
    await bob.phone.changeCall(bobsCall, { codec: 'opus', bitrate: 16_000, hasFec: false });
    await until(() => anna.info(call)?.codec === 'opus', 'anna changes back');
    const quality = bob.phone.quality(bobsCall);
    assert.equal(quality?.bitrate, 16_000);
    assert.equal(quality.hasFec, false);
    assert.throws(() => {
      anna.phone.sendDtmf(call, 'x');
    }, RefusedError);
  });

  it('keep a call when the other side does not have the new codec', async () => {
    const clara = await open('clara', { codecs: ['PCMU'] });
    const { id } = anna.phone.call('clara');
    await clara.phone.answer(await clara.ringing());
    await anna.phase(id, 'established');
    assert.equal(anna.info(id)?.codec, 'PCMU');
    await assert.rejects(
      anna.phone.changeCall(id, { codec: 'PCMA' }),
      (error) => error instanceof RefusedError && error.sipStatus === 488,
    );
    assert.equal(anna.info(id)?.codec, 'PCMU');
    await anna.phone.hold(id);
    await anna.phone.resume(id);
  });

  for (const [title, act, kinds] of [
    [
      'declines',
      (call: string) => {
        bob.phone.decline(call);
      },
      ['declined', 'declined'],
    ],
    [
      'is busy',
      (call: string) => {
        bob.phone.decline(call, 'busy');
      },
      ['busy', 'busy'],
    ],
    [
      'hangs up instead of answering',
      (call: string) => {
        bob.phone.hangUp(call);
      },
      ['declined', 'declined'],
    ],
  ] as const) {
    it(`tell the caller that the other one ${title}`, async () => {
      anna.phone.call('bob');
      act(await bob.ringing());
      await until(() => anna.ends.length === 1 && bob.ends.length === 1, 'both ends');
      assert.deepEqual([anna.ends[0]?.[1].kind, bob.ends[0]?.[1].kind], kinds);
      assert.deepEqual([anna.ends[0]?.[1].byUs, bob.ends[0]?.[1].byUs], [false, true]);
    });
  }

  it('stop ringing when the caller gives up, at any moment', async () => {
    for (let delayMs = 0; delayMs < 60; delayMs += 6) {
      const { id } = anna.phone.call('bob');
      await sleep(delayMs);
      anna.phone.hangUp(id);
      assert.equal(anna.ends.at(-1)?.[1].kind, 'cancelled');
    }
    await until(() => bob.phone.calls().length === 0, 'no ghost rings');
    assert.equal(anna.phone.calls().length, 0);
  });

  it('know nobody of a name that nobody has', async () => {
    anna.phone.call('nobody');
    await until(() => anna.ends.length === 1, 'an end');
    assert.equal(anna.ends[0]?.[1].kind, 'unknown');
    assert.deepEqual(await anna.phone.status('nobody'), { state: 'unknown', statusCode: 404 });
    await assert.rejects(
      anna.phone.sendMessage('nobody', 'hi'),
      (error) => error instanceof RefusedError && error.sipStatus === 404,
    );
  });

  it('see who would take a call, without calling', async () => {
    assert.equal((await anna.phone.status('bob')).state, 'available');
    assert.equal((await anna.phone.status('clara')).state, 'offline');
    assert.equal(bob.incoming.length, 0);
  });

  it('give the sound to one call, and back to the other when that ends', async () => {
    const clara = await open('clara');
    const [first] = await connect();
    clara.phone.call('anna');
    const second = await anna.ringing();
    await anna.phone.answer(second);
    await until(() => anna.info(first)?.isHeld === true, 'the first call waits');
    await until(() => bob.phone.calls()[0]?.isHeldByPeer === true, 'bob is told');
    assert.equal(anna.info(second)?.isActive, true);
    anna.phone.hangUp(second);
    await until(() => anna.info(first)?.isHeld === false, 'the first call goes on');
    assert.equal(anna.info(first)?.isActive, true);
    await until(() => bob.phone.calls()[0]?.isHeldByPeer === false, 'bob is told again');
  });

  it('are busy with as many calls as they may have, and a room is none', async () => {
    const clara = await open('clara', { maxCalls: 1 });
    await clara.phone.joinRoom('lobby');
    anna.phone.call('clara');
    await clara.phone.answer(await clara.ringing());
    bob.phone.call('clara');
    await until(() => bob.ends.length === 1, 'an end');
    assert.equal(bob.ends[0]?.[1].kind, 'busy');
    assert.equal(clara.incoming.length, 1);
  });

  it('answer by themselves when told to', async () => {
    bob.phone.isAutoAnswering = true;
    const { id } = anna.phone.call('bob');
    await anna.phase(id, 'established');
  });

  it('write to each other in any script, and keep what was written', async () => {
    const texts = ['hei', 'Grüße «æøå» 日本 🎉\nsecond line', 'x'.repeat(20_000)];
    for (const text of texts) {
      assert.equal(await anna.phone.sendMessage('bob', text), 'delivered');
    }
    await until(() => bob.texts.length === texts.length, 'they arrive');
    assert.deepEqual(
      bob.texts.map(({ text }) => text),
      texts,
    );
    assert.deepEqual(
      new Set(bob.texts.map(({ nickname, room }) => `${nickname} ${room}`)),
      new Set(['anna undefined']),
    );
    assert.deepEqual(
      bob.phone.history('anna', 10).map(({ text }) => text),
      texts,
    );
    assert.deepEqual(
      anna.phone.history('bob', 10).map(({ direction }) => direction),
      ['sent', 'sent', 'sent'],
    );
  });

  it('meet in rooms: roster, texts with names, coming and going', async () => {
    await anna.phone.joinRoom('#turbo');
    await bob.phone.joinRoom('turbo');
    await until(() => anna.phone.roster('turbo').length === 2, 'anna sees two');
    await until(() => bob.phone.roster('turbo').length === 2, 'bob sees two');
    assert.deepEqual(
      bob.phone
        .roster('turbo')
        .map(({ nickname }) => nickname)
        .sort(),
      ['anna', 'bob'],
    );
    await bob.phone.sendMessage('#turbo', 'hello: all');
    await until(() => anna.texts.length === 1, 'a text in the room');
    assert.deepEqual(
      { room: anna.texts[0]?.room, text: anna.texts[0]?.text, nickname: anna.texts[0]?.nickname },
      { room: 'turbo', text: 'hello: all', nickname: 'bob' },
    );
    bob.phone.leaveRoom('turbo');
    await until(() => anna.phone.roster('turbo').length === 1, 'bob is gone');
    assert.deepEqual(bob.phone.rooms(), []);
    assert.throws(() => {
      bob.phone.leaveRoom('turbo');
    }, RefusedError);
  });

  it('go into the lobby by themselves, and out of its sound while they talk', async () => {
    const clara = await open('clara', { lobby: 'lobby' });
    await until(() => clara.phone.rooms().includes('lobby'), 'clara is in the lobby');
    const lobby = clara.phone.calls()[0]?.id ?? '';
    anna.phone.call('clara');
    await clara.phone.answer(await clara.ringing());
    await until(() => clara.info(lobby)?.isHeld === true, 'the lobby waits');
    assert.equal(clara.info(lobby)?.room, 'lobby');
    const call = clara.phone.calls().find(({ room }) => room === undefined);
    clara.phone.hangUp(call?.id ?? '');
    await until(() => clara.info(lobby)?.isHeld === false, 'the lobby is back');
  });

  it('speak TLS, with whom they trust and nobody else', async () => {
    const server = parley.place('tls');
    const { domain } = parley;
    const ca = await readFile(parley.certificateFile, 'utf8');
    const clara = await Person.open('clara', server, {
      domain,
      server: { host: 'localhost', port: server.port },
      tls: { ca, isUnverified: false },
    });
    people.push(clara);
    await clara.up();
    anna.phone.call('clara');
    await clara.phone.answer(await clara.ringing());
    await until(() => clara.find('established') !== undefined, 'a call over TLS');
    const eve = await Person.open('bob', server, {
      domain,
      tls: { ca: undefined, isUnverified: false },
    });
    people.push(eve);
    const reasons: string[] = [];
    eve.phone.on('connection', (state) => {
      if (state.kind === 'disconnected') reasons.push(state.reason);
    });
    eve.phone.start();
    await until(() => reasons.length > 0, 'the stranger is left');
    assert.match(reasons[0] ?? '', /certificate/);
    assert.notEqual(eve.phone.registration.kind, 'registered');
  });

  it('survive the loss of their connection in the middle of a call', async () => {
    const { port } = parley.server;
    const tunnels = new Set<Socket>();
    const tunnel = createServer((phone) => {
      const upstream = new (phone.constructor as typeof Socket)();
      upstream.connect(port, '127.0.0.1');
      phone.pipe(upstream).pipe(phone);
      for (const socket of [phone, upstream]) {
        tunnels.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          phone.destroy();
          upstream.destroy();
          tunnels.delete(socket);
        });
      }
    });
    await new Promise<void>((resolve) => tunnel.listen(0, '127.0.0.1', resolve));
    const through = (tunnel.address() as { port: number }).port;
    const clara = await open('clara', {
      server: { host: '127.0.0.1', port: through },
      domain: parley.domain,
    });
    try {
      const { id } = clara.phone.call('bob');
      await bob.phone.answer(await bob.ringing());
      await clara.phase(id, 'established');
      for (const socket of tunnels) socket.destroy();
      await until(() => clara.phone.registration.kind !== 'registered', 'clara notices');
      await clara.registered();
      // The other side must find us on the new connection: its BYE comes over it.
      await until(() => bob.phone.calls().length === 1, 'the call goes on');
      await sleep(300);
      bob.phone.hangUp(bob.phone.calls()[0]?.id ?? '');
      await until(() => clara.phone.calls().length === 0, 'clara is told by the new way');
      assert.equal(clara.ends[0]?.[1].kind, 'hungUp');
    } finally {
      await clara.phone.stop();
      tunnel.close();
      for (const socket of tunnels) socket.destroy();
    }
  });
});

describe('a softphone and a switch that comes and goes', function () {
  this.timeout(90_000);

  it('waits for it, returns to its rooms when it was away, and tells a wrong password for good', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'parley-phone-'));
    let running = await startOn(path.join(folder, 'switch'), 0);
    const port = running.listeners.find(({ transport }) => transport === 'tcp')?.port ?? 0;
    const server = { address: '127.0.0.1', port };
    await running.context.accounts.add({
      nickname: 'anna',
      password: 'anna-secret',
      displayName: 'Anna',
    });
    const anna = await Person.open('anna', server, { lobby: 'lobby', dataFolder: folder });
    const eve = await Person.open('eve', server);
    try {
      await anna.up();
      await until(() => anna.phone.rooms().length === 1, 'anna is in the lobby');
      eve.phone.start();
      await until(() => eve.phone.registration.kind === 'refused', 'eve is refused');
      await eve.phone.stop();
      await running.stop();
      await until(() => anna.lefts.length === 1, 'anna is out of the lobby');
      await until(() => anna.phone.registration.kind !== 'registered', 'anna is offline');
      assert.throws(() => anna.phone.call('bob'), RefusedError);
      await assert.rejects(anna.phone.sendMessage('bob', 'hi'), RefusedError);
      running = await startOn(path.join(folder, 'switch'), port);
      await anna.registered();
      await until(() => anna.phone.rooms().length === 1, 'anna is in the lobby again');
      await until(() => anna.phone.roster('lobby').length === 1, 'and sees who is there');
    } finally {
      await anna.phone.stop();
      await eve.phone.stop();
      await running.stop();
      await rm(folder, { recursive: true });
    }
  });
});

function startOn(dataFolder: string, port: number): Promise<RunningSwitch> {
  const config = loadConfig({
    environment: {},
    flags: {
      dataFolder,
      'sip.port': String(port),
      'sip.listenAddresses': '127.0.0.1',
      'sip.domain': 'parley.test',
      'rtp.listenAddresses': '127.0.0.1',
      'tls.enabled': 'false',
    },
  });
  return startSwitch(config, { log: nullLog });
}
