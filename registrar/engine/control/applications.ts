/** The applications that are connected: who is authenticated, who wants which requests, whose turn it is. */

import type { ControlId } from '../seam.ts';
import { FrameReader } from './frame.ts';
import type { RequestHandlers } from './request-handlers.ts';

/** One control connection. */
export class Application {
  readonly id: ControlId;
  readonly reader = new FrameReader();
  /** Verbs in lower case, and `cdr:attempt` and its like, that this connection wants. */
  readonly routes = new Set<string>();
  isAuthenticated = false;
  isConnected = true;
  tags: readonly string[] = [];
  /** When it was given which new request, by transaction id and in order; those that it has not got to yet. */
  readonly #unread = new Map<string, number>();

  constructor(id: ControlId) {
    this.id = id;
  }

  /** Notes that it was given a new request. */
  given(transactionId: string, nowMs: number): void {
    this.#unread.set(transactionId, nowMs);
  }

  /** It says something about a request: so it has read that one and all before it. */
  hasRead(transactionId: string): void {
    if (!this.#unread.has(transactionId)) return;
    for (const given of this.#unread.keys()) {
      this.#unread.delete(given);
      if (given === transactionId) return;
    }
  }

  /** How many new requests it has not got to, without those that are older than what is waited for at all. */
  unreadSince(earliestMs: number): number {
    for (const [transactionId, givenAtMs] of this.#unread) {
      if (givenAtMs > earliestMs) break;
      this.#unread.delete(transactionId);
    }
    return this.#unread.size;
  }
}

/** How far behind an application may be. */
export type Patience = { readonly maxUnread: number; readonly givenUpAfterMs: number };

type Rota = { readonly applications: Application[]; turn: number };

export class Applications {
  readonly #byId = new Map<ControlId, Application>();
  readonly #rotas = new Map<string, Rota>();
  readonly #patience: Patience;
  readonly handlers: RequestHandlers;

  /** @param handlers - new requests that go to applications that we connect to, before any route */
  constructor(patience: Patience, handlers: RequestHandlers) {
    this.#patience = patience;
    this.handlers = handlers;
  }

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

  /** True when somebody wants new requests of this verb. */
  hasRoute(verb: string): boolean {
    return this.#rotas.has(verb) || this.#isHandled(verb);
  }

  /** True when all those that route `verb` are too far behind to be given more. */
  areBehind(verb: string, nowMs: number): boolean {
    const rota = this.#rotas.get(verb);
    if (rota === undefined || this.#isHandled(verb)) return false;
    return rota.applications.every((application) => this.#isBehind(application, nowMs));
  }

  /** Round robin among those that route `verb`; who is too far behind misses a turn, unless all are. */
  select(verb: string, nowMs: number): Application | undefined {
    const rota = this.#rotas.get(verb);
    if (rota === undefined) return undefined;
    const { applications } = rota;
    for (let tried = 1; ; tried += 1) {
      const application = applications[rota.turn % applications.length];
      rota.turn = (rota.turn + 1) % applications.length;
      if (application === undefined || tried === applications.length) return application;
      if (!this.#isBehind(application, nowMs)) return application;
    }
  }

  #isHandled(verb: string): boolean {
    return this.handlers.find(verb.toUpperCase()) !== undefined;
  }

  #isBehind(application: Application, nowMs: number): boolean {
    const { maxUnread, givenUpAfterMs } = this.#patience;
    return application.unreadSince(nowMs - givenUpAfterMs) >= maxUnread;
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
