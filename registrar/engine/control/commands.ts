/** What applications ask for: reads their control messages and passes each to the part that can do it. */

import { timingSafeEqual, createHash } from 'node:crypto';
import { ParseError } from '../../../core/errors.ts';
import { formatHostPort } from '../../../core/sip/host.ts';
import type { Kernel } from '../kernel.ts';
import type { ControlId, Listener } from '../seam.ts';
import { parseTemplate } from '../template.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type { DialogRequests } from '../uac/dialog-requests.ts';
import type { Uac } from '../uac/uac.ts';
import type { Uas } from '../uas/uas.ts';
import type { Application } from './applications.ts';
import { splitPayload, type ControlMessage } from './frame.ts';
import type { OutboundSessions } from './outbound.ts';

const INVALID = 'Invalid message format';
const UNKNOWN_TYPE = 'Unknown message type';
const BAD_SECRET = 'incorrect secret';
const NO_TRANSACTION_ID = 'transaction id missing';
const PROXY_TOO_SHORT = 'Invalid proxy request: not enough information provided';
/** Fields of a proxy order before its first destination. */
const PROXY_FIELDS = 9;

/** An order to proxy a request, its fields as they came. */
export type ProxyOrder = {
  readonly application: Application;
  readonly requestId: string;
  readonly transactionId: string;
  readonly staysInDialog: boolean;
  readonly wantsResponses: boolean;
  readonly followsRedirects: boolean;
  readonly isSimultaneous: boolean;
  readonly provisionalTimeout: string;
  readonly finalTimeout: string;
  readonly destinations: readonly string[];
  readonly template: NonNullable<ReturnType<typeof parseTemplate>>;
};

export type CommandParts = {
  readonly kernel: Kernel;
  readonly uas: Uas;
  readonly uac: Uac;
  readonly dialogRequests: DialogRequests;
  readonly proxy: { start(order: ProxyOrder): void };
  readonly outbound: OutboundSessions;
  readonly secret: string;
  /** What applications that are not the owner's must present; the same when absent. */
  readonly furtherSecret: string | undefined;
  readonly version: string;
  /** An application's connection has ended, or is about to be closed. */
  readonly applicationLost: (application: Application) => void;
};

/** A connection that has not authenticated yet. */
class Stranger implements TimerOwner {
  readonly application: Application;
  timer: TimerHandle | undefined;
  readonly #overdue: (application: Application) => void;

  constructor(application: Application, overdue: (application: Application) => void) {
    this.application = application;
    this.#overdue = overdue;
  }

  onTimer(): void {
    this.timer = undefined;
    this.#overdue(this.application);
  }
}

export class Commands {
  readonly #parts: CommandParts;
  readonly #kernel: Kernel;
  readonly #strangers = new Map<ControlId, Stranger>();

  constructor(parts: CommandParts) {
    this.#parts = parts;
    this.#kernel = parts.kernel;
  }

  opened(id: ControlId, isFurther: boolean): void {
    const application = this.#kernel.applications.open(id, isFurther);
    const stranger = new Stranger(application, (silent) => {
      this.#kernel.counters.controlErrors.add('authenticateTimeout');
      this.#drop(silent);
    });
    this.#strangers.set(id, stranger);
    const { authenticateMs } = this.#kernel.timers;
    stranger.timer = this.#kernel.setTimer(stranger, 'authenticate', authenticateMs);
  }

  closed(id: ControlId): void {
    this.#forgetStranger(id);
    const application = this.#kernel.applications.close(id);
    if (application !== undefined) this.#parts.applicationLost(application);
  }

  received(id: ControlId, bytes: Buffer): void {
    const application = this.#kernel.applications.get(id);
    if (application === undefined) return;
    try {
      application.reader.push(bytes);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      this.#kernel.counters.controlErrors.add('length');
      this.#drain(application);
      this.#drop(application);
      return;
    }
    this.#drain(application);
  }

  #drain(application: Application): void {
    for (let payload = application.reader.next(); payload; payload = application.reader.next()) {
      if (!application.isConnected) return;
      this.#execute(application, splitPayload(payload));
    }
  }

  #execute(application: Application, message: ControlMessage): void {
    const [requestId = '', kind] = message.fields;
    if (kind === undefined) {
      this.#reject(application, requestId, INVALID);
    } else if (kind === 'authenticate') {
      this.#authenticate(application, requestId, message.fields);
    } else if (!application.isAuthenticated) {
      this.#reject(application, requestId, BAD_SECRET);
    } else {
      this.#command(application, requestId, kind, message);
    }
  }

  #command(
    application: Application,
    requestId: string,
    kind: string,
    message: ControlMessage,
  ): void {
    const { reports, applications } = this.#kernel;
    const [, , verb] = message.fields;
    switch (kind) {
      case 'route':
      case 'remove_route':
        if (verb === undefined || verb === '') {
          this.#reject(application, requestId, INVALID);
          return;
        }
        if (kind === 'route') applications.route(application, verb.toLowerCase());
        else applications.removeRoute(application, verb.toLowerCase());
        reports.ok(application.id, requestId);
        return;
      case 'ping':
        reports.ok(application.id, requestId, 'pong');
        return;
      case 'sip':
        this.#parts.outbound.used(application);
        this.#sip(application, requestId, message);
        return;
      case 'proxy':
        this.#parts.outbound.used(application);
        this.#proxy(application, requestId, message);
        return;
      default:
        this.#reject(application, requestId, UNKNOWN_TYPE);
    }
  }

  #authenticate(application: Application, requestId: string, fields: readonly string[]): void {
    const [, , given = '', tags = ''] = fields;
    const { secret, furtherSecret = secret } = this.#parts;
    if (!isSame(given, application.isFurther ? furtherSecret : secret)) {
      this.#reject(application, requestId, BAD_SECRET);
      return;
    }
    this.#forgetStranger(application.id);
    application.isAuthenticated = true;
    application.tags = tags === '' ? [] : tags.split(',');
    const { listeners } = this.#kernel;
    const external = listeners.map((listener) => hostPort(listener, listener.external)).join(',');
    const local = listeners.map((listener) => hostPort(listener, undefined)).join(',');
    this.#kernel.reports.ok(application.id, requestId, external, this.#parts.version, local);
    this.#parts.outbound.authenticated(application, this.#parts.uas.push(application));
  }

  #forgetStranger(id: ControlId): void {
    this.#kernel.clearTimer(this.#strangers.get(id)?.timer);
    this.#strangers.delete(id);
  }

  #sip(application: Application, requestId: string, { fields, sip }: ControlMessage): void {
    const [, , transactionId = '', dialogId = '', nextHop = ''] = fields;
    const template = sip === undefined ? undefined : parseTemplate(sip);
    if (template === undefined) {
      this.#reject(application, requestId, INVALID);
      return;
    }
    const order = { application, requestId, template };
    if (!template.isRequest) {
      if (transactionId === '') this.#reject(application, requestId, NO_TRANSACTION_ID);
      else this.#parts.uas.respond(transactionId, order);
    } else if (dialogId !== '') {
      this.#parts.dialogRequests.request(order, dialogId);
    } else if (transactionId !== '') {
      if (template.method === 'CANCEL') this.#parts.uac.cancel(order, transactionId);
      else this.#reject(application, requestId, INVALID);
    } else {
      this.#parts.uac.request(order, nextHop === '' ? undefined : nextHop);
    }
  }

  #proxy(application: Application, requestId: string, { fields, sip }: ControlMessage): void {
    const template = sip === undefined ? undefined : parseTemplate(sip);
    const destinations = fields.slice(PROXY_FIELDS).filter((uri) => uri !== '');
    if (template === undefined || destinations.length === 0) {
      this.#kernel.counters.controlErrors.add('proxy');
      this.#kernel.reports.nok(application.id, requestId, PROXY_TOO_SHORT);
      return;
    }
    const [, , transactionId = '', remain, full, redirects, forking] = fields;
    this.#parts.proxy.start({
      application,
      requestId,
      transactionId,
      staysInDialog: remain !== '',
      wantsResponses: full !== '',
      followsRedirects: redirects !== '',
      isSimultaneous: forking === 'simultaneous',
      provisionalTimeout: fields[7] ?? '',
      finalTimeout: fields[8] ?? '',
      destinations,
      template,
    });
  }

  /** A fault in the control message itself: the reason, and the end of the connection. */
  #reject(application: Application, requestId: string, reason: string): void {
    this.#kernel.counters.controlErrors.add(reason);
    this.#kernel.reports.no(application.id, requestId, reason);
    this.#drop(application);
  }

  #drop(application: Application): void {
    this.#kernel.emit({ kind: 'closeControl', controlId: application.id });
    this.closed(application.id);
  }
}

/** Equal in constant time, whatever the lengths. */
function isSame(given: string, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

function hostPort({ transport, local }: Listener, external: Listener['external']): string {
  const { address, port } = external ?? local;
  return `${transport}/${formatHostPort(address, port)}`;
}
