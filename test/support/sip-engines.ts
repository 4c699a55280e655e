/** SIP engines to run one suite of scenarios over: ours, and a drachtio-server that somebody has started. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import Drachtio from 'drachtio-srf';
import type { Dialog, Middleware, SipRequest, SipResponse, Srf } from '../../registrar/app/srf.ts';
import { caughtUp, disconnect } from '../../registrar/app/wire.ts';
import { startEngine, type EngineHandle, type EngineStats } from '../../registrar/engine/public.ts';
import type { PeerEndpoint } from './sip-peer.ts';

export const ENGINE_NAMES = ['embedded', 'drachtio-server'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** Where the control port and the SIP port of an engine are. */
export type EnginePlace = {
  readonly host: string;
  readonly controlPort: number;
  readonly secret: string;
  readonly sip: PeerEndpoint;
};

export type RunningTestEngine = EnginePlace & {
  /** Fails when anything is left of what went on, if it can be asked. */
  nothingLeft(): Promise<void>;
  /** Lets time pass for its timers: ours believes it at once, the other has to live through it. */
  pass(seconds: number): Promise<void>;
  stop(): Promise<void>;
};

const VARIABLE = 'PARLEY_TEST_DRACHTIO';

/**
 * The drachtio-server that PARLEY_TEST_DRACHTIO names as `host:controlPort:secret:sipPort`; undefined without it.
 *
 * @throws Error when the variable has another form
 */
export function externalEngine(): EnginePlace | undefined {
  const text = process.env[VARIABLE];
  if (text === undefined || text === '') return undefined;
  const [, host = '', controlPort, secret = '', sipPort] =
    /^([\d.]+):(\d+):([^:]+):(\d+)$/.exec(text) ?? [];
  assert.notEqual(host, '', `${VARIABLE} must be host:controlPort:secret:sipPort`);
  const sip = { address: host, port: Number(sipPort) };
  return { host, controlPort: Number(controlPort), secret, sip };
}

/** For titles of what is skipped. */
export const WITHOUT_EXTERNAL = `skipped: ${VARIABLE} is not set, and Debian has no drachtio-server to demand`;

/** A second of waiting is 100 ms for ours; the other is as its administrator made it. */
export const EMBEDDED_TIMERS = { t1Ms: 100, inviteAnswerMs: 3000, answerMs: 2000 } as const;

export async function startTestEngine(name: EngineName): Promise<RunningTestEngine> {
  if (name === 'drachtio-server') {
    const place = externalEngine();
    assert.ok(place, `${VARIABLE} is not set`);
    const nothing = (): Promise<void> => Promise.resolve();
    const pass = (seconds: number): Promise<void> => sleep(seconds * 1000);
    return { ...place, nothingLeft: nothing, pass, stop: nothing };
  }
  const host = '127.0.0.1';
  const secret = 'not a secret';
  const engine = await startEngine({
    listen: [
      { transport: 'udp', address: host, port: 0 },
      { transport: 'tcp', address: host, port: 0 },
      { transport: 'ws', address: host, port: 0 },
    ],
    control: { address: host, port: 0 },
    secret,
    hasCallRecords: true,
    timers: EMBEDDED_TIMERS,
  });
  const port = engine.listeners[0]?.local.port ?? 0;
  return {
    host,
    controlPort: engine.controlPort,
    secret,
    sip: { address: host, port },
    nothingLeft: () => nothingLeftIn(engine),
    pass: (seconds) => engine.skipTime(seconds * 1000),
    stop: () => engine.stop(),
  };
}

/** What may remain when everybody has gone, until it is noticed or the registration would expire. */
const REMAINS = /^(?:applications|connections|flows|flowBindings)$/;
/** What waits for retransmissions that will not come. */
const LINGERS = /^(?:serverTransactions|clientTransactions|proxied|timers)$/;
const SKIPPED_MS = 1000;
const PATIENCE_MS = 15_000;

/** Fails unless an engine soon holds nothing: no dialog, no transaction, no timer. */
export async function nothingLeftIn(
  engine: Pick<EngineHandle, 'stats' | 'skipTime'>,
): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const left = heldBy(await engine.stats());
    const names = Object.keys(left);
    if (names.length === 0) return;
    if (Date.now() > end) assert.deepEqual(left, {}, 'something is left');
    if (names.every((name) => LINGERS.test(name))) await engine.skipTime(SKIPPED_MS);
    await sleep(20);
  }
}

function heldBy(stats: EngineStats): Readonly<Record<string, number>> {
  const held: Record<string, number> = {};
  for (const [name, value] of Object.entries(stats) as [string, unknown][]) {
    if (typeof value !== 'number' || REMAINS.test(name)) continue;
    // Each connection that leads to a device is remembered until its registration would expire.
    const count = name === 'timers' ? value - stats.flowBindings : value;
    if (count !== 0) held[name] = count;
  }
  return held;
}

/** What of drachtio-srf our registrar does not use, but others do. */
export type PlainSrf = Srf & {
  createB2BUA(
    request: SipRequest,
    response: SipResponse,
    uri: string,
    options: { localSdpB?: string },
  ): Promise<{ uas: Dialog; uac: Dialog }>;
  proxyRequest(
    request: SipRequest,
    destination: string | string[],
    options: ProxyOptions,
  ): Promise<ProxyResult>;
  unregisterForMessages(verb: string): void;
};

export type ProxyResult = {
  finalStatus: number;
  /** One after the other; how they are put together is drachtio-srf's own matter. */
  responses: readonly { msgs: readonly { status: number }[] }[];
};

export type ProxyOptions = {
  remainInDialog?: boolean;
  forking?: 'sequential' | 'simultaneous';
  followRedirects?: boolean;
  provisionalTimeout?: string;
};

/** drachtio-srf gives source, time, role or reason unless it is an attempt, and last the message. */
export type CallRecordHandler = (...details: readonly unknown[]) => void;

/** An ordinary drachtio-srf application, with nothing of ours in it. */
export class PlainApplication {
  readonly srf: PlainSrf;
  /** Where the engine listens, each as `transport/address:port`. */
  readonly #places: readonly string[];

  private constructor(srf: PlainSrf, places: readonly string[]) {
    this.srf = srf;
    this.#places = places;
  }

  /** Connects, and has its routes accepted; `handlers` by method in lower case, `records` by name. */
  static async connect(
    { host, controlPort, secret }: EnginePlace,
    handlers: Readonly<Record<string, Middleware>> = {},
    records: Readonly<Record<string, CallRecordHandler>> = {},
  ): Promise<PlainApplication> {
    const srf = new Drachtio() as unknown as PlainSrf;
    srf.on('error', () => undefined);
    for (const [method, handler] of Object.entries(handlers)) srf.use(method, handler);
    for (const [name, handler] of Object.entries(records)) srf.on(name, handler);
    const connected = new Promise<string>((resolve, reject) => {
      srf.once('connect', (error: Error | null, places: string) => {
        if (error instanceof Error) reject(error);
        else resolve(places);
      });
    });
    srf.connect({ host, port: controlPort, secret });
    const places = await connected;
    // The routes follow the handshake; the engine has them when it answers what was sent after them.
    await caughtUp(srf);
    return new PlainApplication(srf, places.split(','));
  }

  /** Where phones reach the engine by WebSocket. */
  get webSocket(): PeerEndpoint {
    const place = this.#places.map((text) => /^ws\/([\d.]+):(\d+)$/.exec(text)).find(Boolean);
    assert.ok(place, `nobody listens for ws, see CONTRIBUTING.md: ${this.#places.join(', ')}`);
    return { address: place[1] ?? '', port: Number(place[2]) };
  }

  /** Sends a request outside dialogs; resolves with its final response. */
  request(
    uri: string,
    options: {
      method: string;
      headers?: Record<string, string>;
      body?: string;
      proxy?: string;
      /** For challenges. */
      auth?: { username: string; password: string };
    },
  ): Promise<SipResponse> {
    return new Promise((resolve, reject) => {
      this.srf.request(uri, options, (error, request) => {
        if (request === undefined || (error !== null && error !== undefined)) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        request.on('response', (response: SipResponse) => {
          if (response.status >= 200) resolve(response);
        });
      });
    });
  }

  /** Ends the connection, as an application that dies. */
  close(): void {
    disconnect(this.srf);
  }
}
