/** What one authenticated REGISTER does to the bindings of its account: a pure function. */
import { ProtocolError, RefusedError } from '../../../core/errors.ts';
import { SipUri } from '../../../core/sip/uri.ts';
import type { Transport } from '../transport.ts';
import type { Binding, BindingRemoval } from './location.ts';

/** One element of the Contact header. */
export type RegisteredContact = {
  readonly uri: SipUri;
  /** Header parameters as written, without `expires`. */
  readonly parameters: string;
  /** The `expires` parameter; `undefined` when absent. */
  readonly expiresSeconds: number | undefined;
  readonly q: number;
  readonly instanceId: string | undefined;
  readonly regId: number | undefined;
};

export type RegisterRequest = {
  readonly nickname: string;
  /** Empty: the device only asks. `*`: it removes everything. */
  readonly contacts: readonly RegisteredContact[] | '*';
  /** The Expires header. */
  readonly expiresSeconds: number | undefined;
  readonly callId: string;
  readonly cseq: number;
  readonly userAgent: string | undefined;
  readonly path?: string | undefined;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly transport: Transport;
};

export type RegistrationPolicy = {
  readonly minExpiresSeconds: number;
  readonly defaultExpiresSeconds: number;
  readonly maxExpiresSeconds: number;
  readonly maxBindingsPerAccount: number;
};

export type BindingChange =
  | { readonly kind: 'added'; readonly binding: Binding }
  | { readonly kind: 'refreshed'; readonly binding: Binding; readonly previous: Binding }
  | { readonly kind: 'removed'; readonly binding: Binding; readonly reason: BindingRemoval };

export type RegisterOutcome = {
  readonly bindings: readonly Binding[];
  readonly changes: readonly BindingChange[];
};

/**
 * Applies one authenticated REGISTER to an account's bindings (RFC 3261 section 10.3 steps 6 to 8; RFC 5626 section 6
 * for reg-id).
 *
 * Shapes: bindings 0..n in, 0..n out, highest q first, then the newest; the input is not changed. Lifetimes in
 * seconds; 0 removes. All or nothing: if one contact fails, none is applied. With more than the policy's number of
 * devices, the one that was heard of least recently gives way.
 *
 * @param nowMs - wall clock; bindings that expired before it are gone
 * @throws RefusedError `registration.brief` 423 when a lifetime is under the policy's minimum
 * @throws ProtocolError 400 for `*` with Expires other than 0; 500 when CSeq is not above the stored one for this Call-ID
 */
export function updateBindings(
  current: readonly Binding[],
  request: RegisterRequest,
  policy: RegistrationPolicy,
  nowMs: number,
): RegisterOutcome {
  const alive = current.filter(({ expiresAtMs }) => expiresAtMs > nowMs);
  const expired = current.filter(({ expiresAtMs }) => expiresAtMs <= nowMs);
  const changes: BindingChange[] = expired.map((binding) => removal(binding, 'expired'));
  if (request.contacts === '*') return removeAll(alive, request, changes);

  let bindings: readonly Binding[] = alive;
  for (const contact of request.contacts) {
    const lifetimeSeconds = lifetimeOf(contact, request, policy);
    bindings = applyContact(bindings, { contact, request, lifetimeSeconds, nowMs, changes });
  }
  bindings = dropSurplus(bindings, policy.maxBindingsPerAccount, changes);
  return { bindings: inOrder(bindings), changes };
}

type ContactStep = {
  readonly contact: RegisteredContact;
  readonly request: RegisterRequest;
  readonly lifetimeSeconds: number;
  readonly nowMs: number;
  readonly changes: BindingChange[];
};

function applyContact(bindings: readonly Binding[], step: ContactStep): readonly Binding[] {
  const { contact, request, lifetimeSeconds, changes } = step;
  const previous = bindings.find((binding) => isSameBinding(binding, contact));
  if (previous !== undefined) checkOrder(previous, request);
  const others = bindings.filter((binding) => binding !== previous);
  if (lifetimeSeconds === 0) {
    if (previous !== undefined) changes.push(removal(previous, 'unregistered'));
    return others;
  }
  const binding = bindingOf(step);
  if (previous === undefined) changes.push({ kind: 'added', binding });
  else changes.push({ kind: 'refreshed', binding, previous });
  const kept = others.filter((other) => {
    const isReplaced = isEarlierLife(other, binding);
    if (isReplaced) changes.push(removal(other, 'replaced'));
    return !isReplaced;
  });
  return [...kept, binding];
}

function removeAll(
  bindings: readonly Binding[],
  request: RegisterRequest,
  changes: BindingChange[],
): RegisterOutcome {
  if (request.expiresSeconds !== 0) {
    throw new ProtocolError('registration.star', 'Contact: * needs Expires: 0', 400);
  }
  for (const binding of bindings) {
    checkOrder(binding, request);
    changes.push(removal(binding, 'unregistered'));
  }
  return { bindings: [], changes };
}

/** RFC 5626 section 6: with reg-id, instance and reg-id are the key; else the URIs are compared (RFC 3261 19.1.4). */
function isSameBinding(binding: Binding, contact: RegisteredContact): boolean {
  if (contact.regId !== undefined && contact.instanceId !== undefined) {
    return binding.instanceId === contact.instanceId && binding.regId === contact.regId;
  }
  if (binding.regId !== undefined) return false;
  return (
    binding.contactUri === contact.uri.toString() ||
    contact.uri.equals(SipUri.parse(binding.contactUri))
  );
}

/**
 * A device that restarted and now has another port: same instance, but another Call-ID, which a device keeps as long
 * as it runs (RFC 3261 section 10.2). Its old binding leads nowhere.
 */
function isEarlierLife(other: Binding, binding: Binding): boolean {
  return (
    binding.instanceId !== undefined &&
    binding.regId === undefined &&
    other.instanceId === binding.instanceId &&
    other.regId === undefined &&
    other.callId !== binding.callId
  );
}

/** RFC 3261 section 10.3 step 7: a request that was overtaken must not undo the later one. */
function checkOrder(binding: Binding, { callId, cseq }: RegisterRequest): void {
  if (binding.callId === callId && cseq <= binding.cseq) {
    throw new ProtocolError(
      'registration.order',
      'CSeq is not above that of the last REGISTER',
      500,
    );
  }
}

function lifetimeOf(
  contact: RegisteredContact,
  request: RegisterRequest,
  policy: RegistrationPolicy,
): number {
  const wanted = contact.expiresSeconds ?? request.expiresSeconds ?? policy.defaultExpiresSeconds;
  if (wanted === 0) return 0;
  if (wanted < policy.minExpiresSeconds) {
    throw new RefusedError(
      'registration.brief',
      `a registration must last at least ${policy.minExpiresSeconds} s`,
      423,
    );
  }
  return Math.min(wanted, policy.maxExpiresSeconds);
}

function bindingOf({ contact, request, lifetimeSeconds, nowMs }: ContactStep): Binding {
  return Object.freeze({
    nickname: request.nickname,
    contactUri: contact.uri.toString(),
    contactParameters: contact.parameters,
    callId: request.callId,
    cseq: request.cseq,
    q: contact.q,
    instanceId: contact.instanceId,
    // RFC 5626 section 6: reg-id means nothing without an instance.
    regId: contact.instanceId === undefined ? undefined : contact.regId,
    userAgent: request.userAgent,
    path: request.path,
    sourceAddress: request.sourceAddress,
    sourcePort: request.sourcePort,
    transport: request.transport,
    expiresAtMs: nowMs + lifetimeSeconds * 1000,
    updatedAtMs: nowMs,
  });
}

function dropSurplus(
  bindings: readonly Binding[],
  max: number,
  changes: BindingChange[],
): readonly Binding[] {
  if (bindings.length <= max) return bindings;
  const byAge = [...bindings].sort((a, b) => b.updatedAtMs - a.updatedAtMs);
  for (const binding of byAge.slice(max)) changes.push(removal(binding, 'replaced'));
  return byAge.slice(0, max);
}

function inOrder(bindings: readonly Binding[]): readonly Binding[] {
  if (bindings.length < 2) return bindings;
  return [...bindings].sort((a, b) => b.q - a.q || b.updatedAtMs - a.updatedAtMs);
}

function removal(binding: Binding, reason: BindingRemoval): BindingChange {
  return { kind: 'removed', binding, reason };
}
