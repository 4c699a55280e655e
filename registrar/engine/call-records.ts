/** Call record events for applications that ask for them (`cdr:attempt`, `cdr:start`, `cdr:stop`). */

import type { SipMessage } from '../../core/sip/message.ts';
import type { Kernel } from './kernel.ts';
import { encodeReceived } from './text.ts';

type Source = 'network' | 'application';
export type CallRole = 'uac' | 'uas' | 'proxy-uac' | 'proxy-uas';

export class CallRecords {
  readonly #kernel: Kernel;
  readonly #isOn: boolean;

  constructor(kernel: Kernel, isOn: boolean) {
    this.#kernel = kernel;
    this.#isOn = isOn;
  }

  /** True when somebody listens; whoever has to make the message first asks this. */
  get isWanted(): boolean {
    return this.#isOn;
  }

  /** @param sip - the INVITE; without one nothing is told, because nothing will be sent */
  attempt(source: Source, sip: Buffer | undefined): void {
    if (sip !== undefined) this.#tell('cdr:attempt', source, undefined, sip);
  }

  /** The attempt of somebody else: an INVITE that has come. */
  received(invite: SipMessage, topVia: string): void {
    if (this.#isOn) this.attempt('network', encodeReceived(invite, topVia));
  }

  start(source: Source, role: CallRole, sip: Buffer): void {
    this.#tell('cdr:start', source, role, sip);
  }

  stop(source: Source, reason: string, sip: Buffer): void {
    this.#tell('cdr:stop', source, reason, sip);
  }

  #tell(name: string, source: Source, detail: string | undefined, sip: Buffer): void {
    if (!this.#isOn) return;
    const { applications, nowMs } = this.#kernel;
    const application = applications.select(name, nowMs);
    if (application === undefined) return;
    this.#kernel.reports.callRecord(application.id, { name, source, detail }, sip);
  }
}
