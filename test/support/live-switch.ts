/** The whole switch, run in this process on ports of its own, for programs that know nothing of it. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../config/load.ts';
import { nullLog } from '../../core/log.ts';
import type { Binding } from '../../registrar/app/location/location.ts';
import { startSwitch } from '../../registrar/main.ts';
import type { RunningSwitch } from '../../registrar/main.ts';
import type { PeerTransport } from './sip-peer.ts';
import { externalEngine } from './sip-engines.ts';
import { withUrgentThreads } from './stalls.ts';

const LOOPBACK = '127.0.0.1';
/** A fifth of what RFC 3261 advises: what waits 64 times that for lost answers is over in seven seconds. */
const T1_MS = 100;
const DEFAULTS = {
  'sip.port': '0',
  'sip.listenAddresses': LOOPBACK,
  'sip.domain': 'parley.test',
  'rtp.listenAddresses': LOOPBACK,
  // Devices of the same person come and go in a test.
  'registration.maxBindingsPerAccount': '100',
};

/** With PARLEY_TEST_SWITCH=drachtio-server the whole switch runs over the server that PARLEY_TEST_DRACHTIO names. */
const EXTERNAL =
  process.env['PARLEY_TEST_SWITCH'] === 'drachtio-server' ? externalEngine() : undefined;
const EXTERNAL_SETTINGS: Readonly<Record<string, string>> =
  EXTERNAL === undefined
    ? {}
    : {
        'engine.mode': 'drachtio',
        'engine.host': EXTERNAL.host,
        'engine.port': String(EXTERNAL.controlPort),
      };

/** What may still be there when nobody talks: registered phones keep their connections. */
const AT_REST = /^(?:flows|flowBindings|connections)$/;
/** What ends by itself, when no retransmission of the last message can come any more. */
const LINGERS = /^(?:serverTransactions|clientTransactions|timers)$/;
/** That wait is skipped in steps, so that an answer on its way still comes in time. */
const SKIP_MS = 8 * T1_MS;
const SKIP_PAUSE_MS = 15;

export class LiveSwitch {
  readonly domain = DEFAULTS['sip.domain'];
  #running: RunningSwitch | undefined;
  #folder: string | undefined;

  /** Starts it; `settings` are configuration keys and their text. */
  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#folder = await mkdtemp(path.join(tmpdir(), 'parley-switch-'));
    const config = loadConfig({
      environment: EXTERNAL === undefined ? {} : { PARLEY_ENGINE_SECRET: EXTERNAL.secret },
      flags: { ...DEFAULTS, dataFolder: this.#folder, ...EXTERNAL_SETTINGS, ...settings },
    });
    const options = { log: nullLog, engineTimers: { t1Ms: T1_MS } };
    this.#running = await withUrgentThreads(() => startSwitch(config, options));
  }

  get running(): RunningSwitch {
    assert.ok(this.#running, 'the switch is not running');
    return this.#running;
  }

  /** UDP and TCP. */
  get server(): { readonly address: string; readonly port: number } {
    return this.place('udp');
  }

  /** Where it listens for this transport. */
  place(
    transport: PeerTransport,
    address: string = LOOPBACK,
  ): { readonly address: string; readonly port: number } {
    if (EXTERNAL !== undefined) return EXTERNAL.sip;
    const listener = this.running.listeners.find(
      (candidate) => candidate.transport === transport && candidate.address === address,
    );
    assert.ok(listener, `nothing listens for ${transport} on ${address}`);
    return { address, port: listener.port };
  }

  /** The self-signed certificate that it made for itself. */
  get certificateFile(): string {
    assert.ok(this.#folder, 'the switch is not running');
    return path.join(this.#folder, 'tls', 'self-signed.cert.pem');
  }

  async addAccounts(
    people: readonly { readonly user: string; readonly password: string }[],
  ): Promise<void> {
    const { accounts } = this.running.context;
    for (const { user, password } of people) {
      await accounts.add({ nickname: user, password, displayName: user });
    }
  }

  bindingsOf(user: string): readonly Binding[] {
    return this.running.context.location.bindingsOf(user);
  }

  /** Fails unless a device of theirs is registered, by this transport if one is given. */
  isReachable(user: string, transport?: PeerTransport): void {
    const bindings = this.bindingsOf(user);
    assert.notEqual(bindings.length, 0, `${user} is not registered`);
    if (transport !== undefined) {
      assert.deepEqual(
        bindings.map((binding) => binding.transport),
        bindings.map(() => transport),
      );
    }
  }

  isUnreachable(user: string): void {
    assert.deepEqual(this.bindingsOf(user), []);
  }

  forgetBindings(user: string): void {
    const { location } = this.running.context;
    for (const binding of location.bindingsOf(user)) location.forget(binding);
  }

  /** Waits until so many people are in all rooms together. */
  async hasParticipants(wanted: number, withinMs = 5000): Promise<void> {
    const end = Date.now() + withinMs;
    for (;;) {
      const { participants } = await this.running.context.relay.statistics();
      if (participants === wanted) return;
      if (Date.now() > end) assert.equal(participants, wanted, 'people in rooms');
      await sleep(50);
    }
  }

  /** Fails unless every call, dialog, room, transaction, timer and port is given back within some seconds. */
  async nothingLeft(withinMs = 5000): Promise<void> {
    const end = Date.now() + withinMs;
    for (;;) {
      const left = await this.#left();
      const names = Object.keys(left);
      if (names.length === 0) return;
      if (Date.now() > end) assert.deepEqual(left, {}, 'something is left');
      const isOver = names.every((name) => LINGERS.test(name));
      if (isOver) await this.running.skipEngineTime(SKIP_MS);
      await sleep(isOver ? SKIP_PAUSE_MS : 50);
    }
  }

  async #left(): Promise<Readonly<Record<string, number>>> {
    const { engine, ...others } = await this.running.holdings();
    const { timers = 0, flowBindings = 0 } = engine;
    // Each connection that leads to a device is remembered until its registration would expire.
    const counts = { ...engine, ...others, timers: timers - flowBindings };
    return Object.fromEntries(
      Object.entries(counts).filter(([name, count]) => count !== 0 && !AT_REST.test(name)),
    );
  }

  /** Fails when anything is left; then ends the switch and removes its data. */
  async stop(): Promise<void> {
    try {
      if (this.#running !== undefined) await this.nothingLeft();
    } finally {
      await this.discard();
    }
  }

  /** Ends the switch, whatever it holds, and removes its data. */
  async discard(): Promise<void> {
    await this.#running?.stop();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}
