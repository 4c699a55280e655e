/** Which connection leads to which registered Contact, so that requests reach devices that cannot be connected to. */

import type { SipUri } from '../../../core/sip/uri.ts';
import type { TimerHandle, TimerOwner } from '../timers.ts';
import type { Flow } from './flow.ts';

/** The flow of a Contact. */
export type KnownFlow = { readonly flow: Flow; readonly isOutbound: boolean };

/** A device is reachable by the flow that it registered over, for as long as its registration. */
class FlowBinding implements TimerOwner {
  readonly key: string;
  readonly userAtHost: string;
  readonly flow: Flow;
  /** Registered with instance and reg-id (RFC 5626 §4.2): the device keeps the flow up and makes another if it fails. */
  readonly isOutbound: boolean;
  untilMs = 0;
  readonly #table: FlowTable;
  timer: TimerHandle | undefined;

  constructor(table: FlowTable, uri: SipUri, { flow, isOutbound }: KnownFlow) {
    this.#table = table;
    this.key = contactKey(uri);
    this.userAtHost = userAtHostKey(uri);
    this.flow = flow;
    this.isOutbound = isOutbound;
  }

  onTimer(): void {
    this.timer = undefined;
    this.#table.remove(this);
  }
}

type FlowTableContext = {
  readonly nowMs: number;
  setTimer(owner: TimerOwner, name: string, delayMs: number): TimerHandle;
  clearTimer(handle: TimerHandle | undefined): void;
};

/**
 * A binding stays until it expires even when its flow has closed: then it says that the device is gone, which is
 * better known at once than after half a minute.
 */
export class FlowTable {
  readonly #context: FlowTableContext;
  readonly #byContact = new Map<string, FlowBinding>();
  readonly #byUserAtHost = new Map<string, Set<FlowBinding>>();

  constructor(context: FlowTableContext) {
    this.#context = context;
  }

  get size(): number {
    return this.#byContact.size;
  }

  /** Notes that this Contact is reached by this flow; 0 seconds forgets it. */
  bind(contact: SipUri, known: KnownFlow, lifetimeSeconds: number): void {
    this.unbind(contact);
    if (lifetimeSeconds <= 0) return;
    const binding = new FlowBinding(this, contact, known);
    this.#byContact.set(binding.key, binding);
    known.flow.bindings += 1;
    const sharing = this.#byUserAtHost.get(binding.userAtHost);
    if (sharing === undefined) this.#byUserAtHost.set(binding.userAtHost, new Set([binding]));
    else sharing.add(binding);
    binding.untilMs = this.#context.nowMs + lifetimeSeconds * 1000;
    binding.timer = this.#context.setTimer(binding, 'flowBinding', lifetimeSeconds * 1000);
  }

  /** The same, but never shortens what is known of this Contact on this flow. */
  extend(contact: SipUri, flow: Flow, lifetimeSeconds: number): void {
    const known = this.#byContact.get(contactKey(contact));
    const untilMs = this.#context.nowMs + lifetimeSeconds * 1000;
    if (known?.flow === flow && known.untilMs >= untilMs) return;
    this.bind(
      contact,
      { flow, isOutbound: known?.flow === flow && known.isOutbound },
      lifetimeSeconds,
    );
  }

  /** Forgets what was known of this Contact, for example because it now registers over UDP. */
  unbind(contact: SipUri): void {
    const binding = this.#byContact.get(contactKey(contact));
    if (binding !== undefined) this.remove(binding);
  }

  /**
   * The flow of a request's URI: that of exactly this Contact, or, for a URI without port, that of the only Contact
   * with this user and host. It may be closed.
   */
  find(uri: SipUri): KnownFlow | undefined {
    const exact = this.#byContact.get(contactKey(uri));
    if (exact !== undefined) return exact;
    if (uri.port !== undefined) return undefined;
    const sharing = this.#byUserAtHost.get(userAtHostKey(uri));
    if (sharing?.size !== 1) return undefined;
    const [only] = sharing;
    return only;
  }

  remove(binding: FlowBinding): void {
    this.#context.clearTimer(binding.timer);
    binding.timer = undefined;
    if (this.#byContact.get(binding.key) === binding) {
      this.#byContact.delete(binding.key);
      binding.flow.bindings -= 1;
    }
    const sharing = this.#byUserAtHost.get(binding.userAtHost);
    sharing?.delete(binding);
    if (sharing?.size === 0) this.#byUserAtHost.delete(binding.userAtHost);
  }
}

function userAtHostKey(uri: SipUri): string {
  return `${uri.user ?? ''}@${uri.host}`;
}

function contactKey(uri: SipUri): string {
  const transport = uri.params.get('transport')?.toLowerCase() ?? '';
  return `${userAtHostKey(uri)}:${uri.port ?? ''};${transport}`;
}
