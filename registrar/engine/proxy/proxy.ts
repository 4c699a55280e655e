/** Requests that applications have proxied instead of answered (RFC 3261 §16). */

import type { SipMessage } from '../../../core/sip/message.ts';
import type { Application } from '../control/applications.ts';
import type { ProxyOrder } from '../control/commands.ts';
import type { Kernel } from '../kernel.ts';
import type { ServerTransaction } from '../transaction/server.ts';
import type { Hop } from '../transport/flow.ts';

export class Proxy {
  readonly #kernel: Kernel;
  constructor(parts: { readonly kernel: Kernel }) {
    this.#kernel = parts.kernel;
  }
  get size(): number {
    return 0;
  }
  start(order: ProxyOrder): void {
    this.#kernel.reports.nok(
      order.application.id,
      order.requestId,
      `Unknown transaction id: ${order.transactionId}`,
    );
  }
  forward(_message: SipMessage, _topVia: string, _hop: Hop): boolean {
    return false;
  }
  forwardResponse(_message: SipMessage, _hop: Hop): boolean {
    return false;
  }
  cancel(_transaction: ServerTransaction, _cancel: SipMessage): void {
    return;
  }
  applicationLost(_application: Application): void {
    return;
  }
}
