/** Joins the sans-IO engine to its sockets: feeds inputs, carries out outputs, wakes it at its deadlines. */
import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { rootCertificates } from 'node:tls';
import { ControlServer, type ControlPort } from './control-server.ts';
import { Resolver, systemDns, type DnsQuestions } from './resolver.ts';
import { RouteAsker } from './route-asker.ts';
import { ConnectionCensus, FlowIds, type ConnectionLimits, type StreamFlow } from './sink.ts';
import { ServerCertificates, type TlsIdentity } from './server-certificates.ts';
import { openFlow, StreamListener, type StreamContext } from './stream-listener.ts';
import { UdpListener } from './udp-listener.ts';
import { WebSocketListener } from './websocket-listener.ts';
import type { Tap } from '../trace/tap.ts';
import type {
  EngineInput,
  EngineOutput,
  FlowId,
  Listener,
  SansIoEngine,
  Transport,
} from '../seam.ts';

export type DriverOptions = {
  readonly engine: SansIoEngine;
  readonly limits: ConnectionLimits;
  readonly maxMessageBytes: number;
  /** Needed for tls and wss listeners. */
  readonly identity: TlsIdentity | undefined;
  /** Further certificate authorities to trust when connecting by TLS, in PEM. */
  readonly trustedAuthorities: string | undefined;
  readonly dns?: DnsQuestions;
  /** Sees every input and output; for traces. */
  readonly tap?: Pick<Tap, 'input' | 'output'> | undefined;
};

type Closable = { close(): Promise<void> };

export class EngineDriver {
  readonly #engine: SansIoEngine;
  readonly #options: DriverOptions;
  readonly #udp = new Map<number, UdpListener>();
  readonly #streamListeners: Closable[] = [];
  readonly #flows = new Map<FlowId, StreamFlow>();
  readonly #streams: StreamContext;
  readonly #certificates: ServerCertificates | undefined;
  readonly #resolver: Resolver;
  readonly #control: ControlServer;
  readonly #routes: RouteAsker;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;
  /** How far the engine's clock runs ahead of the system's. */
  #aheadMs = 0;
  #isFeeding = false;
  #isClosed = false;
  readonly #backlog: EngineInput[] = [];

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#engine = options.engine;
    this.#streams = {
      sink: this.#feed,
      flowIds: new FlowIds(),
      census: new ConnectionCensus(options.limits),
      limits: options.limits,
      flows: this.#flows,
    };
    this.#certificates =
      options.identity === undefined ? undefined : new ServerCertificates(options.identity);
    this.#control = new ControlServer(this.#feed);
    this.#routes = new RouteAsker(this.#feed, options.trustedAuthorities);
    const supported = new Set<Transport>(['udp', 'tcp', 'tls']);
    this.#resolver = new Resolver(options.dns ?? systemDns, supported, Math.random);
  }

  /** Connections accepted now, and how many were refused, by kind. */
  get connections(): {
    readonly open: number;
    readonly refusals: Readonly<Record<string, number>>;
  } {
    const { total, refusals } = this.#streams.census;
    const sums: Record<string, number> = { ...refusals.toRecord() };
    for (const [kind, count] of Object.entries(this.#control.refusals.toRecord())) {
      sums[kind] = (sums[kind] ?? 0) + count;
    }
    return { open: total, refusals: sums };
  }

  /** @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL) */
  async listen(listener: Listener): Promise<void> {
    const { maxMessageBytes } = this.#options;
    const certificates = this.#certificates;
    switch (listener.transport) {
      case 'udp':
        this.#udp.set(listener.id, await UdpListener.open(listener, this.#feed));
        return;
      case 'tcp':
        this.#streamListeners.push(await StreamListener.open(listener, this.#streams, undefined));
        return;
      case 'tls':
        this.#streamListeners.push(
          await StreamListener.open(listener, this.#streams, certificates),
        );
        return;
      case 'ws':
      case 'wss':
        this.#streamListeners.push(
          await WebSocketListener.open(
            listener,
            this.#streams,
            listener.transport === 'wss' ? certificates : undefined,
            maxMessageBytes,
          ),
        );
    }
  }

  /**
   * Opens a socket for applications.
   *
   * @returns its port
   * @throws the bind error (EADDRINUSE, EACCES, EADDRNOTAVAIL)
   */
  listenForControl(port: ControlPort): Promise<number> {
    return this.#control.listen(port);
  }

  /** The same as `exchangeIdentity`, for applications. */
  exchangeControlIdentity(identity: TlsIdentity): void {
    this.#control.exchangeIdentity(identity);
  }

  /** Gives new TLS handshakes another certificate; connections that are up keep theirs. */
  exchangeIdentity(identity: TlsIdentity): void {
    this.#certificates?.exchange(identity);
  }

  /**
   * Lets so much time pass at once for the engine: retransmissions that nobody will send any more need not be awaited.
   *
   * @param byMs - positive milliseconds
   */
  skipTime(byMs: number): void {
    this.#aheadMs += byMs;
    clearTimeout(this.#timer);
    this.#onTimer();
  }

  /** Lets the applications go, whose calls end thereby, and closes every socket; what is left then is dropped. */
  async close(): Promise<void> {
    this.#routes.close();
    // The calls of an application end with its connection, and the other side is told: that must still get out.
    await this.#control.close();
    await nextTurn();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const flow of this.#flows.values()) flow.destroy();
    const listeners: Closable[] = [...this.#udp.values(), ...this.#streamListeners];
    await Promise.all(listeners.map((listener) => listener.close()));
  }

  #now(): number {
    return performance.now() + this.#aheadMs;
  }

  readonly #feed = (input: EngineInput): void => {
    if (this.#isClosed) return;
    if (this.#isFeeding) {
      // A socket that fails inside a send reports at once: its input waits until the engine is ready for it.
      this.#backlog.push(input);
      return;
    }
    this.#isFeeding = true;
    try {
      for (let next: EngineInput | undefined = input; next; next = this.#backlog.shift()) {
        this.#options.tap?.input(next);
        this.#engine.handleInput(next, this.#now());
        this.#drain();
      }
    } finally {
      this.#isFeeding = false;
    }
    this.#arm();
  };

  #drain(): void {
    for (let output = this.#engine.pollOutput(); output; output = this.#engine.pollOutput()) {
      this.#carryOut(output);
    }
  }

  // eslint-disable-next-line complexity -- one arm per kind of output reads better whole
  #carryOut(output: EngineOutput): void {
    this.#options.tap?.output(output);
    switch (output.kind) {
      case 'sendDatagram':
        this.#udp.get(output.listenerId)?.send(output.remote, output.bytes);
        return;
      case 'sendFlow':
        this.#flows.get(output.flowId)?.write(output.bytes);
        return;
      case 'connect':
        this.#connect(output);
        return;
      case 'closeFlow':
        this.#flows.get(output.flowId)?.end();
        return;
      case 'sendControl':
        this.#control.send(output.controlId, output.bytes);
        return;
      case 'closeControl':
        this.#control.end(output.controlId);
        return;
      case 'connectControl':
        this.#control.dial(output, this.#options.trustedAuthorities);
        return;
      case 'askRoute':
        this.#routes.ask(output);
        return;
      case 'dropRouteQuestion':
        this.#routes.drop(output.questionId);
        return;
      case 'resolve':
        void this.#resolve(output);
        return;
      case 'targetFailed':
        this.#resolver.markDead(output.target, this.#now());
    }
  }

  #connect(output: Extract<EngineOutput, { kind: 'connect' }>): void {
    const { flowId, transport, remote, serverName } = output;
    switch (transport) {
      case 'tcp':
        openFlow(flowId, remote, this.#streams, undefined);
        return;
      case 'tls': {
        const ca = this.#options.trustedAuthorities;
        openFlow(flowId, remote, this.#streams, {
          serverName,
          // `ca` replaces the built-in authorities; ours are further ones.
          options: ca === undefined ? {} : { ca: [...rootCertificates, ca] },
        });
        return;
      }
      case 'udp':
      case 'ws':
      case 'wss':
        // A WebSocket client listens to nobody (RFC 7118 section 5): without its own connection it is gone.
        this.#backlog.push({
          kind: 'flowClosed',
          flowId,
          reason: `cannot connect by ${transport}`,
        });
    }
  }

  async #resolve(output: Extract<EngineOutput, { kind: 'resolve' }>): Promise<void> {
    const targets = await this.#resolver.resolve(output, this.#now());
    const error = targets.length === 0 ? `no address found for ${output.host}` : undefined;
    this.#feed({ kind: 'resolved', queryId: output.queryId, targets, error });
  }

  /** One timer for the earliest deadline; it is only replaced by an earlier one. */
  #arm(): void {
    const deadline = this.#engine.nextDeadline();
    if (deadline === undefined || deadline.atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = deadline.atMs;
    const delayMs = Math.max(0, Math.ceil(deadline.atMs - this.#now()));
    this.#timer = setTimeout(this.#onTimer, delayMs);
  }

  readonly #onTimer = (): void => {
    this.#timerAtMs = Infinity;
    this.#feed({ kind: 'time' });
  };
}
