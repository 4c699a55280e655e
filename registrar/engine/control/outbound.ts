/** Applications that the engine connects to: one control connection for each new request that a setting sends to them. */

import type { Kernel } from '../kernel.ts';
import type { ControlId } from '../seam.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type { Application } from './applications.ts';
import type { ApplicationPlace } from './request-handlers.ts';

/** One connection that we opened, or are opening. */
class Session implements TimerOwner {
  readonly application: Application;
  /** Until the application has authenticated. */
  timer: TimerHandle | undefined;
  /** When it was last seen at work. */
  usedAtMs: number;
  readonly #overdue: (session: Session) => void;

  constructor(application: Application, nowMs: number, overdue: (session: Session) => void) {
    this.application = application;
    this.usedAtMs = nowMs;
    this.#overdue = overdue;
  }

  onTimer(): void {
    this.timer = undefined;
    this.#overdue(this);
  }
}

type OutboundOwner = {
  /** Adds every application that has a request, a dialog or a proxied request. */
  addBusy(busy: Set<Application>): void;
  /** The connection is closed, or about to be; it is in no table any more. */
  lost(application: Application): void;
};

/**
 * The applications that we have connected to. Each may go on to use its connection, so that it is closed only when
 * nothing has gone on over it for `unusedSessionMs`; an application that ends its session does so earlier.
 */
export class OutboundSessions implements TimerOwner {
  readonly #kernel: Kernel;
  readonly #owner: OutboundOwner;
  readonly #sessions = new Map<ControlId, Session>();
  #sweepTimer: TimerHandle | undefined;
  #nextId = -1;

  constructor(kernel: Kernel, owner: OutboundOwner) {
    this.#kernel = kernel;
    this.#owner = owner;
  }

  /**
   * Opens a connection to the application that listens there; what it is for waits until the application has
   * authenticated.
   *
   * @returns undefined when no more connections may be opened
   */
  dial(place: ApplicationPlace): Application | undefined {
    if (this.#sessions.size >= this.#kernel.limits.outboundSessions) return undefined;
    const controlId = this.#nextId;
    this.#nextId -= 1;
    const application = this.#kernel.applications.open(controlId, true);
    const session = new Session(application, this.#kernel.nowMs, (overdue) => {
      this.#close(overdue, 'dialTimeout');
    });
    this.#sessions.set(controlId, session);
    session.timer = this.#kernel.setTimer(session, 'dial', this.#kernel.timers.dialMs);
    this.#kernel.emit({ kind: 'connectControl', controlId, ...place });
    return application;
  }

  /** The connection could not be opened. */
  failed(id: ControlId): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#kernel.counters.controlErrors.add('dialFailed');
    this.#lose(session);
  }

  /**
   * The application has shown the secret.
   *
   * @param hasWork - false when what the connection was opened for is over
   */
  authenticated(application: Application, hasWork: boolean): void {
    const session = this.#sessions.get(application.id);
    // Without a timer it had authenticated before.
    if (session?.timer === undefined) return;
    this.#kernel.clearTimer(session.timer);
    session.timer = undefined;
    session.usedAtMs = this.#kernel.nowMs;
    if (!hasWork) this.#close(session, undefined);
    else this.#sweepTimer ??= this.#setSweep();
  }

  /** The application asked for something. */
  used(application: Application): void {
    const session = this.#sessions.get(application.id);
    if (session !== undefined) session.usedAtMs = this.#kernel.nowMs;
  }

  /** The connection of an application has ended; any application. */
  ended(application: Application): void {
    const session = this.#sessions.get(application.id);
    if (session === undefined) return;
    this.#sessions.delete(application.id);
    this.#kernel.clearTimer(session.timer);
    if (this.#sessions.size > 0) return;
    this.#kernel.clearTimer(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }

  /** Closes what nobody uses. */
  onTimer(): void {
    this.#sweepTimer = undefined;
    const { nowMs, timers } = this.#kernel;
    const busy = new Set<Application>();
    this.#owner.addBusy(busy);
    for (const session of [...this.#sessions.values()]) {
      const { application } = session;
      if (!application.isAuthenticated) continue;
      if (busy.has(application) || application.routes.size > 0) session.usedAtMs = nowMs;
      else if (nowMs - session.usedAtMs >= timers.unusedSessionMs) this.#close(session, undefined);
    }
    if (this.#sessions.size > 0) this.#sweepTimer = this.#setSweep();
  }

  #setSweep(): TimerHandle {
    return this.#kernel.setTimer(this, 'sweep', this.#kernel.timers.unusedSessionMs / 2);
  }

  #close(session: Session, error: string | undefined): void {
    if (error !== undefined) this.#kernel.counters.controlErrors.add(error);
    this.#kernel.emit({ kind: 'closeControl', controlId: session.application.id });
    this.#lose(session);
  }

  #lose({ application }: Session): void {
    this.#kernel.applications.close(application.id);
    this.#owner.lost(application);
  }
}
