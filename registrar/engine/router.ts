/** Decides where requests of ours go: registered connections first, then addresses, then names (RFC 3263). */

import type { SipUri } from '../../core/sip/uri.ts';
import { parseUri } from '../../core/sip/uri.ts';
import { ParseError } from '../../core/errors.ts';
import { routeUri, type Dialog } from './dialog/dialog.ts';
import type { Kernel } from './kernel.ts';
import type { EngineInput, ResolvedTarget, Transport } from './seam.ts';
import type { ClientTarget } from './transaction/client.ts';
import type { Flow, Hop } from './transport/flow.ts';
import type { KnownFlow } from './transport/flow-table.ts';
import { isNumericAddress } from './transport/address.ts';
import { endpointOf, numericTarget, targetOf, type Target } from './transport/target.ts';

/** Where a request may go; `refused` carries the text for the application. */
export type Route =
  | { readonly kind: 'targets'; readonly targets: readonly ClientTarget[] }
  | {
      readonly kind: 'resolve';
      readonly target: Target;
      /** Instead, when the name leads nowhere. */
      readonly otherwise?: Hop | undefined;
    }
  | { readonly kind: 'refused'; readonly reason: string };

const NO_TRANSPORT = 'requested protocol/transport not available';
const MYSELF = 'can not send request to myself';

/** Whoever waits for a name to be resolved. */
export type NameWaiter = {
  readonly isEnded: boolean;
  start(targets: readonly ClientTarget[]): void;
  fail(failure: 'nameNotFound' | 'unreachable'): void;
};

type Query = {
  readonly waiter: NameWaiter;
  readonly target: Target;
  readonly otherwise: Hop | undefined;
};

export class Router {
  readonly #kernel: Kernel;
  readonly #queries = new Map<number, Query>();
  #nextQuery = 1;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Names that are being resolved. */
  get queryCount(): number {
    return this.#queries.size;
  }

  /** The way of a request outside dialogs; `nextHop` is where the application wants it to go first. */
  outside(requestUri: SipUri, nextHop: SipUri | undefined): Route {
    const known = this.#kernel.flowTable.find(requestUri);
    if (nextHop === undefined && known !== undefined) return toKnown(known);
    const target = targetOf(nextHop ?? requestUri);
    if (target === undefined) return refused(NO_TRANSPORT);
    const end = endpointOf(target);
    const remote = known?.flow.hop.remote;
    if (known !== undefined && remote?.address === end.address && remote.port === end.port) {
      return toKnown(known);
    }
    if (this.#kernel.transports.isOwn(end)) return refused(MYSELF);
    return this.#toTarget(target);
  }

  /** The way of a request in a dialog: its own connection while that lives (contract of the control protocol). */
  inside(dialog: Dialog, requestUri: string): Route {
    const { hop } = dialog;
    if (isUsable(hop.flow)) return toHop(hop);
    const targetUri = sipUri(dialog.remoteTarget);
    const moved = targetUri && this.#kernel.flowTable.find(targetUri)?.flow;
    if (moved !== undefined && isUsable(moved)) return toHop(moved.hop);
    // The first of the route set is the next hop even when it is a strict router.
    const [route] = dialog.routeSet;
    const next = route === undefined ? sipUri(requestUri) : routeUri(route);
    const target = next && targetOf(next);
    if (dialog.natEndpoint !== undefined) {
      return toPeer({ ...hop, remote: dialog.natEndpoint }, target);
    }
    if (target === undefined) return refused(NO_TRANSPORT);
    return sameSocket(hop, target) ?? this.#toTarget(target);
  }

  /** Sends a request on its way; failures reach its user a moment later. */
  send(waiter: NameWaiter, route: Route): void {
    switch (route.kind) {
      case 'targets':
        waiter.start(route.targets);
        return;
      case 'refused':
        waiter.fail('unreachable');
        return;
      case 'resolve':
        this.#resolve({ waiter, target: route.target, otherwise: route.otherwise });
    }
  }

  /** The way to a next hop that we were told; unlike `outside` without regard to registered connections. */
  toNextHop(uri: SipUri): Route {
    const target = targetOf(uri);
    return target === undefined ? refused(NO_TRANSPORT) : this.#toTarget(target);
  }

  /** The answer to a `resolve` output. */
  resolved(input: Extract<EngineInput, { kind: 'resolved' }>): void {
    const query = this.#queries.get(input.queryId);
    this.#queries.delete(input.queryId);
    if (query === undefined || query.waiter.isEnded) return;
    const { waiter, target, otherwise } = query;
    const { transports } = this.#kernel;
    const usable = input.targets.filter(
      ({ transport, remote }) =>
        this.#hasListener(transport, remote.address) &&
        // A phone that gives our name for its own is still where it speaks from.
        (otherwise === undefined || !transports.isOwn(remote)),
    );
    if (usable.length === 0 && otherwise !== undefined) {
      waiter.start([{ kind: 'hop', hop: otherwise }]);
    } else if (usable.length === 0) {
      waiter.fail(input.targets.length === 0 ? 'nameNotFound' : 'unreachable');
    } else {
      waiter.start(usable.map((place) => ({ ...address(place, target), isLocated: true })));
    }
  }

  /** How a request is written before its way is known. */
  provisionalHop(target: Target): Hop | undefined {
    const { transports } = this.#kernel;
    const wanted = target.transport ?? (target.isSecure ? 'tls' : 'udp');
    const listener = transports.anyListener(wanted) ?? transports.anyListener(undefined);
    if (listener === undefined) return undefined;
    const { local, external, transport } = listener;
    const remote = { address: target.host, port: target.port ?? 0 };
    return { transport, listener, local: external ?? local, remote, flow: undefined };
  }

  #toTarget(target: Target): Route {
    const numeric = numericTarget(target);
    if (numeric === undefined) {
      const isServed = this.#kernel.transports.anyListener(target.transport) !== undefined;
      return isServed ? { kind: 'resolve', target } : refused(NO_TRANSPORT);
    }
    if (!this.#hasListener(numeric.transport, numeric.remote.address)) return refused(NO_TRANSPORT);
    return { kind: 'targets', targets: [address(numeric, target)] };
  }

  #hasListener(transport: Transport, remoteAddress: string): boolean {
    return this.#kernel.transports.listenerFor(transport, remoteAddress) !== undefined;
  }

  #resolve(query: Query): void {
    const queryId = this.#nextQuery;
    this.#nextQuery += 1;
    this.#queries.set(queryId, query);
    const { host, port, transport, isSecure } = query.target;
    this.#kernel.emit({ kind: 'resolve', queryId, host, port, transport, secure: isSecure });
  }
}

/** A name may well lead elsewhere; only an address that nobody speaks from is that of a NAT's other side. */
function toPeer(peer: Hop, target: Target | undefined): Route {
  if (target === undefined || !isPublicName(target.host)) return toHop(peer);
  return { kind: 'resolve', target, otherwise: peer };
}

/** Names that mean something to everybody (RFC 6761 and RFC 6762 have those that do not). */
function isPublicName(host: string): boolean {
  if (isNumericAddress(host)) return false;
  return host.includes('.') && !/\.(?:invalid|localhost|local)\.?$/i.test(host);
}

function isUsable(flow: Flow | undefined): boolean {
  return flow !== undefined && flow.state !== 'closed';
}

/** The listener that a UDP dialog came in on is the one whose address the other side knows. */
function sameSocket(hop: Hop, target: Target): Route | undefined {
  if (hop.transport !== 'udp' || target.transport !== 'udp') return undefined;
  const remote = numericTarget(target)?.remote;
  if (remote?.address.includes(':') !== hop.local.address.includes(':')) return undefined;
  return toHop({ ...hop, remote });
}

function refused(reason: string): Route {
  return { kind: 'refused', reason };
}

function toHop(hop: Hop): Route {
  return { kind: 'targets', targets: [{ kind: 'hop', hop }] };
}

function toKnown({ flow, isOutbound }: KnownFlow): Route {
  return { kind: 'targets', targets: [{ kind: 'hop', hop: flow.hop, isOutbound }] };
}

function address(
  target: ResolvedTarget,
  asked: Target,
): Extract<ClientTarget, { kind: 'address' }> {
  const isTls = target.transport === 'tls' || target.transport === 'wss';
  return {
    kind: 'address',
    target,
    serverName: isTls ? asked.host : undefined,
    mayUpgrade: asked.transport === undefined,
  };
}

/** A SIP URI, or `undefined` for anything else. */
export function sipUri(text: string): SipUri | undefined {
  try {
    const uri = parseUri(text);
    return uri.kind === 'sip' ? uri : undefined;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
