/** A real proxy between phones and a registrar, for tests: it adds itself to Path and Record-Route, and follows Route. */

import { splitList } from '../../core/sip/grammar.ts';
import { NameAddr } from '../../core/sip/name-addr.ts';
import type { Middleware, SipRequest, SipResponse } from '../../registrar/app/srf.ts';
import { startEngine, type EngineHandle } from '../../registrar/engine/public.ts';
import { EMBEDDED_TIMERS, PlainApplication } from './sip-engines.ts';
import type { PeerEndpoint } from './sip-peer.ts';

const HOST = '127.0.0.1';
const SECRET = 'of an edge';

export class EdgeProxy {
  /** Requests outside of dialogs that have come by, as `METHOD number-of-Routes`. */
  readonly seen: string[] = [];
  /** As if the connections to all phones were lost. */
  hasLostPhones = false;
  readonly #engine: EngineHandle;
  #application: PlainApplication | undefined;

  private constructor(engine: EngineHandle) {
    this.#engine = engine;
  }

  /** @param registrar - URI of the next hop of REGISTER, a registrar or another proxy */
  static async start(registrar: string): Promise<EdgeProxy> {
    const engine = await startEngine({
      listen: [
        { transport: 'udp', address: HOST, port: 0 },
        { transport: 'tcp', address: HOST, port: 0 },
      ],
      control: { address: HOST, port: 0 },
      secret: SECRET,
      timers: EMBEDDED_TIMERS,
    });
    const edge = new EdgeProxy(engine);
    const pass: Middleware = (request, response) => {
      edge.#pass(request, response, registrar);
    };
    const handlers = { register: pass, invite: pass, message: pass, options: pass };
    const place = { host: HOST, controlPort: engine.controlPort, secret: SECRET };
    edge.#application = await PlainApplication.connect({ ...place, sip: edge.endpoint }, handlers);
    return edge;
  }

  /** Where phones find it by UDP. */
  get endpoint(): PeerEndpoint {
    return { address: HOST, port: this.#portOf('udp') };
  }

  /** How another proxy sends to it. */
  uriFor(transport: 'udp' | 'tcp'): string {
    return `sip:${HOST}:${this.#portOf(transport)};transport=${transport}`;
  }

  async stop(): Promise<void> {
    this.#application?.close();
    await this.#engine.stop();
  }

  #pass(request: SipRequest, response: SipResponse, registrar: string): void {
    const routes = splitList(request.get('route') ?? '');
    this.seen.push(`${request.method} ${routes.length}`);
    if (this.hasLostPhones && request.method !== 'REGISTER') {
      response.send(430);
      return;
    }
    const [next] = routes
      .map((route) => NameAddr.parse(route))
      .filter((route) => !this.#isOurs(route));
    const target = request.method === 'REGISTER' ? registrar : (next?.uriText ?? request.uri);
    const options = { remainInDialog: true };
    void this.#application?.srf.proxyRequest(request, target, options).catch(() => undefined);
  }

  #isOurs({ uri }: NameAddr): boolean {
    const ports = this.#engine.listeners.map(({ local }) => local.port);
    return uri.kind === 'sip' && uri.host === HOST && ports.some((port) => port === uri.port);
  }

  #portOf(transport: 'udp' | 'tcp'): number {
    const listener = this.#engine.listeners.find((candidate) => candidate.transport === transport);
    return listener?.local.port ?? 0;
  }
}
