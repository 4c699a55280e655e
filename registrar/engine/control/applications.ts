/** The applications that are connected: who is authenticated, who wants which requests, whose turn it is. */

import type { ControlId } from '../seam.ts';
import { FrameReader } from './frame.ts';

/** One control connection. */
export class Application {
  readonly id: ControlId;
  readonly reader = new FrameReader();
  /** Verbs in lower case, and `cdr:attempt` and its like, that this connection wants. */
  readonly routes = new Set<string>();
  isAuthenticated = false;
  isConnected = true;
  tags: readonly string[] = [];

  constructor(id: ControlId) {
    this.id = id;
  }
}

type Rota = { readonly applications: Application[]; turn: number };

export class Applications {
  readonly #byId = new Map<ControlId, Application>();
  readonly #rotas = new Map<string, Rota>();

  get size(): number {
    return this.#byId.size;
  }

  open(id: ControlId): Application {
    const application = new Application(id);
    this.#byId.set(id, application);
    return application;
  }

  get(id: ControlId): Application | undefined {
    return this.#byId.get(id);
  }

  /** Forgets a connection and all its routes. */
  close(id: ControlId): Application | undefined {
    const application = this.#byId.get(id);
    if (application === undefined) return undefined;
    this.#byId.delete(id);
    application.isConnected = false;
    for (const verb of application.routes) this.#leave(application, verb);
    application.routes.clear();
    return application;
  }

  /** Adds a route; adding it twice changes nothing, so that round robin stays fair. */
  route(application: Application, verb: string): void {
    if (application.routes.has(verb)) return;
    application.routes.add(verb);
    const rota = this.#rotas.get(verb);
    if (rota === undefined) this.#rotas.set(verb, { applications: [application], turn: 0 });
    else rota.applications.push(application);
  }

  removeRoute(application: Application, verb: string): void {
    if (application.routes.delete(verb)) this.#leave(application, verb);
  }

  hasRoute(verb: string): boolean {
    return this.#rotas.has(verb);
  }

  /** Round robin among those that route `verb`. */
  select(verb: string): Application | undefined {
    const rota = this.#rotas.get(verb);
    if (rota === undefined) return undefined;
    const application = rota.applications[rota.turn % rota.applications.length];
    rota.turn = (rota.turn + 1) % rota.applications.length;
    return application;
  }

  #leave(application: Application, verb: string): void {
    const rota = this.#rotas.get(verb);
    const at = rota?.applications.indexOf(application) ?? -1;
    if (rota === undefined || at < 0) return;
    rota.applications.splice(at, 1);
    if (at < rota.turn) rota.turn -= 1;
    if (rota.applications.length === 0) this.#rotas.delete(verb);
  }
}
