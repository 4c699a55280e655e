/** The ACK to a 2xx, which has no transaction: it is sent directly, and again with each repetition of the 2xx. */

import type { Dialog } from '../dialog/dialog.ts';
import { draftInDialog, type InDialogParts } from '../dialog/in-dialog.ts';
import type { Kernel } from '../kernel.ts';
import { encodeRequest, placed, type RequestDraft } from '../request-draft.ts';
import type { NameWaiter, Router } from '../router.ts';
import { looksLikeSdp } from '../template.ts';
import { ownCopy, ownVia } from '../text.ts';
import type { ClientTarget } from '../transaction/client.ts';
import type { Hop } from '../transport/flow.ts';

type Engine = { readonly kernel: Kernel; readonly router: Router };

/** One ACK on its way to the places that its route leads to, kept as long as its 2xx may be repeated. */
export class SentAck implements NameWaiter {
  readonly isEnded = false;
  /** The way that it took; `undefined` while a name is being resolved. */
  hop: Hop | undefined;
  /** False when the connection would not take it. */
  wasSent = false;
  readonly #draft: RequestDraft;
  readonly #kernel: Kernel;
  /** The way that the 2xx came, for a route that leads nowhere. */
  readonly #wayBack: Hop;
  #targets: readonly ClientTarget[] = [];
  #bytes: Buffer | undefined;

  constructor(kernel: Kernel, draft: RequestDraft, wayBack: Hop) {
    this.#kernel = kernel;
    this.#draft = draft;
    this.#wayBack = wayBack;
  }

  /** As it went out, or as it will but for our Via. */
  get text(): Buffer {
    return this.#bytes ?? encodeRequest(this.#draft, undefined);
  }

  /** Sends it to the first of these places that can be reached. */
  start(targets: readonly ClientTarget[]): void {
    this.#targets = targets;
    this.#sendToNext();
  }

  fail(): void {
    this.start([{ kind: 'hop', hop: this.#wayBack }]);
  }

  /** The 2xx came again: the same ACK, by another way if the connection of the first has closed. */
  repeat(): void {
    if (this.hop === undefined || this.#bytes === undefined) return;
    if (this.hop.flow?.state === 'closed' && this.#targets.length > 0) this.#sendToNext();
    else this.#kernel.transports.send(this.hop, this.#bytes);
  }

  #sendToNext(): void {
    const { ids, transports } = this.#kernel;
    const hop = this.#nextHop();
    this.hop = hop;
    this.#bytes = ownCopy(encodeRequest(placed(this.#draft, hop), ownVia(hop, ids.branch())));
    this.wasSent = transports.send(hop, this.#bytes);
  }

  #nextHop(): Hop {
    for (let target = this.#shift(); target !== undefined; target = this.#shift()) {
      const hop = hopOf(this.#kernel, target);
      if (hop !== undefined) return hop;
    }
    return this.#wayBack;
  }

  #shift(): ClientTarget | undefined {
    const [first, ...rest] = this.#targets;
    this.#targets = rest;
    return first;
  }
}

/**
 * Sends an ACK to the remote target (RFC 3261 §13.2.2.4), as soon as it is known where that is (RFC 3263).
 *
 * @param sequence - that of the INVITE
 * @returns what was sent, or will be
 */
export function sendAck(
  { kernel, router }: Engine,
  dialog: Dialog,
  sequence: number,
  content: Pick<InDialogParts, 'headers' | 'body'>,
): SentAck {
  const draft = draftInDialog(dialog, { method: 'ACK', sequence, ...content });
  if (looksLikeSdp(draft.body)) dialog.localSdp = draft.body;
  kernel.counters.requestsSent.add('ACK');
  const ack = new SentAck(kernel, draft, dialog.hop);
  router.send(ack, router.inside(dialog, draft.requestUri));
  return ack;
}

function hopOf(kernel: Kernel, target: ClientTarget): Hop | undefined {
  if (target.kind === 'hop') return target.hop;
  const { target: place, serverName } = target;
  return kernel.transports.hopTo(place.transport, place.remote, serverName);
}
