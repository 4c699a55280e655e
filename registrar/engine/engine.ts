/**
 * The SIP engine without sockets: a drachtio server as far as applications can tell.
 *
 * Contract: see `seam.ts`. It never throws because of what a peer or an application sent.
 */

import type { Deadline } from '../../core/deadline.ts';
import { CallRecords } from './call-records.ts';
import type { Application } from './control/applications.ts';
import { Commands } from './control/commands.ts';
import { OutboundSessions } from './control/outbound.ts';
import { RouteQuestions } from './control/route-questions.ts';
import type { EngineCounts } from './counters.ts';
import type { Dialog } from './dialog/dialog.ts';
import { DialogLifecycle } from './dialog/lifecycle.ts';
import { SessionTimers } from './dialog/session-timer.ts';
import { Kernel } from './kernel.ts';
import { Network } from './network.ts';
import type { EngineOptions } from './options.ts';
import { Proxy } from './proxy/proxy.ts';
import { Router } from './router.ts';
import type { EngineInput, EngineOutput, SansIoEngine } from './seam.ts';
import type { MessageSink } from './transport/transports.ts';
import { DialogRequests } from './uac/dialog-requests.ts';
import { Uac } from './uac/uac.ts';
import { Uas } from './uas/uas.ts';

const DEFAULT_VERSION = 'v0.9.10-parley';
const APPLICATION_GONE = 'Application gone';

/** What the engine holds; all but `applications`, `inboundFlows` and `counters` are zero when nothing is going on. */
export type EngineStats = {
  readonly serverTransactions: number;
  readonly clientTransactions: number;
  readonly dialogs: number;
  readonly pendingRequests: number;
  readonly sentRequests: number;
  readonly proxied: number;
  readonly sessionTimers: number;
  readonly flows: number;
  readonly flowBindings: number;
  readonly queries: number;
  /** Requests about which a web server is asked. */
  readonly routeQuestions: number;
  readonly timers: number;
  readonly applications: number;
  readonly counters: EngineCounts;
};

export class Engine implements SansIoEngine {
  readonly #kernel: Kernel;
  readonly #router: Router;
  readonly #lifecycle: DialogLifecycle;
  readonly #sessionTimers: SessionTimers;
  readonly #uas: Uas;
  readonly #uac: Uac;
  readonly #proxy: Proxy;
  readonly #network: Network;
  readonly #commands: Commands;
  readonly #outbound: OutboundSessions;
  readonly #questions: RouteQuestions;

  /** @throws ConfigError when a request handler is not what it should be */
  constructor(options: EngineOptions) {
    const sink: MessageSink = {
      message: (bytes, hop) => {
        this.#network.message(bytes, hop);
      },
      brokenStream: (head, code, hop) => {
        this.#network.brokenStream(head, code, hop);
      },
    };
    const kernel = new Kernel(options, sink);
    const records = new CallRecords(kernel, options.hasCallRecords ?? false);
    const router = new Router(kernel);
    const lifecycle = new DialogLifecycle(kernel, router, records);
    const sessionTimers = new SessionTimers({ kernel, router, lifecycle });
    const outbound = new OutboundSessions(kernel, {
      addBusy: (busy) => {
        this.#addBusy(busy);
      },
      lost: (application) => {
        this.#applicationLost(application);
      },
    });
    const questions = this.#routeQuestions(kernel, outbound);
    const uas = new Uas({ kernel, lifecycle, records, sessionTimers, outbound, questions });
    const uac = new Uac({ kernel, router, lifecycle, records, sessionTimers });
    const shared = { kernel, router, lifecycle, records, sessionTimers, uas, uac, outbound };
    const dialogRequests = new DialogRequests(shared);
    uac.inDialog = dialogRequests;
    const proxy = new Proxy(shared);
    this.#kernel = kernel;
    this.#router = router;
    this.#lifecycle = lifecycle;
    this.#sessionTimers = sessionTimers;
    this.#uas = uas;
    this.#uac = uac;
    this.#proxy = proxy;
    this.#network = new Network({ ...shared, proxy });
    this.#outbound = outbound;
    this.#questions = questions;
    this.#commands = new Commands({
      ...shared,
      dialogRequests,
      proxy,
      secret: options.secret,
      furtherSecret: options.furtherApplications?.secret,
      version: options.version ?? DEFAULT_VERSION,
      applicationLost: (application) => {
        this.#applicationLost(application);
      },
    });
  }

  /** @param nowMs - monotonic milliseconds; a time that runs backwards counts as no time passed */
  // eslint-disable-next-line complexity -- one arm per kind of input reads better whole
  handleInput(input: EngineInput, nowMs: number): void {
    this.#kernel.advance(nowMs);
    switch (input.kind) {
      case 'datagram':
        this.#kernel.transports.handleDatagram(input);
        return;
      case 'flowAccepted':
      case 'flowConnected':
      case 'flowClosed':
      case 'flowBytes':
        this.#kernel.transports.handleFlow(input);
        return;
      case 'datagramFailed':
        this.#kernel.datagramFailed(input.listenerId, input.remote);
        return;
      case 'controlOpened':
        this.#commands.opened(input.controlId, input.isFurther === true);
        return;
      case 'controlBytes':
        this.#commands.received(input.controlId, input.bytes);
        return;
      case 'controlClosed':
        this.#commands.closed(input.controlId);
        return;
      case 'controlConnected':
        // The application speaks first.
        return;
      case 'controlFailed':
        this.#outbound.failed(input.controlId);
        return;
      case 'routeAnswered':
        this.#questions.answered(input);
        return;
      case 'routeUnanswered':
        this.#questions.unanswered(input);
        return;
      case 'resolved':
        this.#router.resolved(input);
        return;
      case 'time':
        return;
    }
  }

  pollOutput(): EngineOutput | undefined {
    return this.#kernel.poll();
  }

  nextDeadline(): Deadline | undefined {
    return this.#kernel.nextDeadline;
  }

  stats(): EngineStats {
    const kernel = this.#kernel;
    return {
      serverTransactions: kernel.serverCount,
      clientTransactions: kernel.clientCount,
      dialogs: kernel.dialogs.size,
      pendingRequests: this.#uas.pendingCount,
      sentRequests: this.#uac.pendingCount,
      proxied: this.#proxy.size,
      sessionTimers: this.#sessionTimers.size,
      flows: kernel.transports.flowCount,
      flowBindings: kernel.flowTable.size,
      queries: this.#router.queryCount,
      routeQuestions: this.#questions.size,
      timers: kernel.timerCount,
      applications: kernel.applications.size,
      counters: kernel.counters.toRecord(),
    };
  }

  #routeQuestions(kernel: Kernel, outbound: OutboundSessions): RouteQuestions {
    return new RouteQuestions(kernel, {
      refuse: (request, ...how) => {
        this.#uas.refuse(request, ...how);
      },
      proxy: (order) => {
        this.#proxy.start(order);
      },
      give: (request, application) => {
        this.#uas.give(request, application);
      },
      connect: (request, place) => {
        const application = outbound.dial(place);
        if (application !== undefined) this.#uas.giveLater(request, application);
        return application !== undefined;
      },
    });
  }

  #addBusy(busy: Set<Application>): void {
    this.#uas.addBusy(busy);
    this.#uac.addBusy(busy);
    this.#proxy.addBusy(busy);
    for (const { application } of this.#kernel.dialogs) busy.add(application);
  }

  /** Its calls are ended rather than left to nobody; what waited for it is refused. */
  #applicationLost(application: Application): void {
    this.#outbound.ended(application);
    this.#uas.applicationLost(application);
    this.#uac.applicationLost(application);
    for (const dialog of [...this.#kernel.dialogs]) {
      if (dialog.application !== application) continue;
      if (dialog.kind === 'subscribe') this.#lifecycle.terminateSubscription(dialog, 'deactivated');
      else if (dialog.state === 'confirmed' && !dialog.isEnding) this.#hangUp(dialog);
    }
  }

  #hangUp(dialog: Dialog): void {
    const send = (): void => {
      this.#lifecycle.bye(dialog, 503, APPLICATION_GONE, 'system-initiated-termination');
    };
    const isHeld = this.#uas.holdBye(dialog, { send, drop: () => undefined });
    if (!isHeld) send();
  }
}
