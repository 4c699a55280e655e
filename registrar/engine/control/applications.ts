/** The applications that are connected: who is authenticated, who wants which requests, whose turn it is. */

import type { ControlId } from '../seam.ts';
import { FrameReader } from './frame.ts';
import type { RequestHandlers } from './request-handlers.ts';

/** One control connection. */
export class Application {
  readonly id: ControlId;
  /** Not one of the owner's. */
  readonly isFurther: boolean;
  readonly reader = new FrameReader();
  /** Verbs in lower case, and `cdr:attempt` and its like, that this connection wants. */
  readonly routes = new Set<string>();
  isAuthenticated = false;
  isConnected = true;
  tags: readonly string[] = [];
  /** When it was given which new request, by transaction id and in order; those that it has not got to yet. */
  readonly #unread = new Map<string, number>();
  /** When it was last chosen by its tag, counted in choices. */
  chosenAt = 0;

  constructor(id: ControlId, isFurther = false) {
    this.id = id;
    this.isFurther = isFurther;
  }

  /** Stands for whoever will get a request about which nothing is decided yet. */
  static nobody(): Application {
    const nobody = new Application(0);
    nobody.isConnected = false;
    return nobody;
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
  readonly #furtherRotas = new Map<string, Rota>();
  readonly #patience: Patience;
  readonly handlers: RequestHandlers;
  /** In lower case; undefined when all applications are equal. */
  readonly #methodsOfFurther: ReadonlySet<string> | undefined;
  #choices = 0;

  /**
   * @param handlers - who decides about new requests before any route
   * @param methodsOfFurther - in which applications that are not the owner's come first; undefined when all are equal
   */
  constructor(
    patience: Patience,
    handlers: RequestHandlers,
    methodsOfFurther: readonly string[] | undefined,
  ) {
    this.#patience = patience;
    this.handlers = handlers;
    this.#methodsOfFurther =
      methodsOfFurther && new Set(methodsOfFurther.map((method) => method.toLowerCase()));
  }

  /** True when not all applications are the owner's. */
  get isPartlyTrusted(): boolean {
    return this.#methodsOfFurther !== undefined;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** @param isFurther - not the owner's; means nothing when all are equal */
  open(id: ControlId, isFurther: boolean): Application {
    const application = new Application(id, isFurther && this.isPartlyTrusted);
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
    const rotas = this.#rotasOf(application);
    const rota = rotas.get(verb);
    if (rota === undefined) rotas.set(verb, { applications: [application], turn: 0 });
    else rota.applications.push(application);
  }

  removeRoute(application: Application, verb: string): void {
    if (application.routes.delete(verb)) this.#leave(application, verb);
  }

  /** True when somebody wants new requests of this verb. */
  hasRoute(verb: string): boolean {
    return this.#rotaOf(verb) !== undefined || this.#isHandled(verb);
  }

  /** True when all those that route `verb` are too far behind to be given more. */
  areBehind(verb: string, nowMs: number): boolean {
    const rota = this.#rotaOf(verb);
    if (rota === undefined || this.#isHandled(verb)) return false;
    return rota.applications.every((application) => this.#isBehind(application, nowMs));
  }

  /** Round robin among those that route `verb`; who is too far behind misses a turn, unless all are. */
  select(verb: string, nowMs: number): Application | undefined {
    const rota = this.#rotaOf(verb);
    if (rota === undefined) return undefined;
    const { applications } = rota;
    for (let tried = 1; ; tried += 1) {
      const application = applications[rota.turn % applications.length];
      rota.turn = (rota.turn + 1) % applications.length;
      if (application === undefined || tried === applications.length) return application;
      if (!this.#isBehind(application, nowMs)) return application;
    }
  }

  /** Round robin among those that route `verb` and have this tag, whoever's they are. */
  selectTagged(verb: string, tag: string, nowMs: number): Application | undefined {
    const tagged = [this.#rotas.get(verb), this.#furtherRotas.get(verb)]
      .flatMap((rota) => rota?.applications ?? [])
      .filter((application) => application.tags.includes(tag));
    const ready = tagged.filter((application) => !this.#isBehind(application, nowMs));
    let chosen: Application | undefined;
    for (const application of ready.length > 0 ? ready : tagged) {
      if (chosen === undefined || application.chosenAt < chosen.chosenAt) chosen = application;
    }
    this.#choices += 1;
    if (chosen !== undefined) chosen.chosenAt = this.#choices;
    return chosen;
  }

  #rotasOf({ isFurther }: Application): Map<string, Rota> {
    return isFurther ? this.#furtherRotas : this.#rotas;
  }

  /** Those whose turn it can be: the others only get what these do not route. */
  #rotaOf(verb: string): Rota | undefined {
    const own = this.#rotas.get(verb);
    const further = this.#furtherRotas.get(verb);
    return this.#methodsOfFurther?.has(verb) === true ? (further ?? own) : (own ?? further);
  }

  #isHandled(verb: string): boolean {
    return this.handlers.find(verb.toUpperCase()) !== undefined;
  }

  #isBehind(application: Application, nowMs: number): boolean {
    const { maxUnread, givenUpAfterMs } = this.#patience;
    return application.unreadSince(nowMs - givenUpAfterMs) >= maxUnread;
  }

  #leave(application: Application, verb: string): void {
    const rotas = this.#rotasOf(application);
    const rota = rotas.get(verb);
    const at = rota?.applications.indexOf(application) ?? -1;
    if (rota === undefined || at < 0) return;
    rota.applications.splice(at, 1);
    if (at < rota.turn) rota.turn -= 1;
    if (rota.applications.length === 0) rotas.delete(verb);
  }
}
