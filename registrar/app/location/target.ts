/** How to reach a device: the request-URI and the next hop for a binding (RFC 3261 section 16.6, RFC 5626 section 5.3). */
import { splitList } from '../../../core/sip/grammar.ts';
import { NameAddr } from '../../../core/sip/name-addr.ts';
import { SipUri } from '../../../core/sip/uri.ts';
import type { Binding, Location } from './location.ts';

/** `proxy` is drachtio's next hop, an address without name lookup. */
export type Target = { readonly uri: string; readonly proxy?: string };

/**
 * UDP: the next hop is where the REGISTER came from, whatever the Contact says (NAT). Streams: the engine reuses
 * the connection that the device opened, found by the Contact's user and host, so no next hop is given. Through a proxy
 * that wants to be passed: that one (RFC 3327 section 5.4), and the request needs `routeOf` as well.
 */
export function targetOf(binding: Binding): Target {
  const uri = binding.contactUri;
  const [first] = binding.path === undefined ? [] : splitList(binding.path);
  if (first !== undefined) return { uri, proxy: NameAddr.parse(first).uriText };
  if (binding.transport !== 'udp') return { uri };
  const { sourceAddress, sourcePort } = binding;
  const host = sourceAddress.includes(':') ? `[${sourceAddress}]` : sourceAddress;
  return { uri, proxy: `sip:${host}:${sourcePort}` };
}

/** The route that a request to this device needs. */
export function routeOf({ path }: Binding): { readonly Route?: string } {
  return path === undefined ? {} : { Route: path };
}

/**
 * Whether a device can be reached by nothing but the connection that it opened. That is not so by UDP; and a TCP phone
 * may listen where its Contact says, if that is the machine that it registered from and not the near end of that very
 * connection. TLS needs a certificate that phones do not have, a WebSocket client listens to nobody (RFC 7118
 * section 5), and who registered by RFC 5626 has said that he is to be reached so.
 */
export function needsItsFlow(binding: Binding): boolean {
  const { transport, regId, sourceAddress, sourcePort, path } = binding;
  // Of a device behind a proxy it is the proxy that has its connection.
  if (transport === 'udp' || path !== undefined) return false;
  if (transport !== 'tcp' || regId !== undefined) return true;
  const uri = SipUri.parse(binding.contactUri);
  const isWebSocket = uri.params.get('transport')?.toLowerCase().startsWith('ws') ?? false;
  const isElsewhere = uri.host !== sourceAddress || uri.port === sourcePort;
  return isWebSocket || isElsewhere;
}

/**
 * The devices behind these bindings, each with the ways to it in their order: several bindings with one instance are
 * flows of one device, which gets a request by one of them at a time (RFC 5626 section 7).
 */
export function devicesOf(bindings: readonly Binding[]): readonly (readonly Binding[])[] {
  const devices = new Map<string, Binding[]>();
  for (const binding of bindings) {
    const { instanceId, contactUri } = binding;
    const key = instanceId === undefined ? `contact ${contactUri}` : `instance ${instanceId}`;
    const flows = devices.get(key);
    if (flows === undefined) devices.set(key, [binding]);
    else flows.push(binding);
  }
  return [...devices.values()];
}

export type Unreached = { readonly status: number; readonly isUnreachable: boolean };

/** Whether another flow of the same device may be tried now: this one has failed, the device has not spoken. */
export function isFlowFailure({ status, isUnreachable }: Unreached): boolean {
  return isUnreachable || status === 408 || status === FLOW_FAILED;
}

/** RFC 5626 section 5.3.1. */
const FLOW_FAILED = 430;
/** The engine's own word for a device whose connection has closed, when it has registered without flows. */
const GONE = 410;

/**
 * Forgets a device that cannot be reached any more: it had opened the only way to it, and that way is closed. For a
 * device behind a proxy it is the proxy that says so, by 430.
 */
export function forgetWhenGone(
  location: Pick<Location, 'forget'>,
  binding: Binding,
  failure: Unreached,
): void {
  const { status, isUnreachable } = failure;
  if (status === FLOW_FAILED || (isUnreachable && status === GONE)) location.forget(binding);
}
