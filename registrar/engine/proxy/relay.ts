/** Requests of dialogs that we stay in the way of: passed on without keeping anything of them (RFC 3261 §16.11). */

import { createHash } from 'node:crypto';
import type { SipMessage } from '../../../core/sip/message.ts';
import type { SipUri, Uri } from '../../../core/sip/uri.ts';
import { Via } from '../../../core/sip/via.ts';
import { ParseError } from '../../../core/errors.ts';
import type { CallRecords } from '../call-records.ts';
import { routeRequest } from '../dialog/dialog.ts';
import type { Kernel } from '../kernel.ts';
import { encodeRequest, type RequestDraft } from '../request-draft.ts';
import type { NameWaiter, Route, Router } from '../router.ts';
import { TRANSPORTS } from '../seam.ts';
import { encodeForwardedResponse, encodeReceived, ownVia } from '../text.ts';
import type { ClientTarget } from '../transaction/client.ts';
import { canonicalAddress } from '../transport/address.ts';
import type { Hop } from '../transport/flow.ts';
import { defaultPort, endpointOf, targetOf } from '../transport/target.ts';
import { draftForward, refusalOf } from './forwarded.ts';

/** How our branches begin where no transaction stands behind them. */
const STATELESS_BRANCH = 'z9hG4bKrelay';

/** The request as it goes on, and the first place that it goes to (RFC 3261 §16.6 steps 6 and 7). */
type Way = ReturnType<typeof routeRequest> & { readonly next: SipUri };

/** One message on its way; nobody is told when it cannot be sent, as with a lost datagram. */
class Passing implements NameWaiter {
  readonly isEnded = false;
  readonly #kernel: Kernel;
  readonly #draft: RequestDraft;
  readonly #branch: string;
  readonly #records: CallRecords;

  constructor(kernel: Kernel, records: CallRecords, draft: RequestDraft, branch: string) {
    this.#kernel = kernel;
    this.#records = records;
    this.#draft = draft;
    this.#branch = branch;
  }

  start([first]: readonly ClientTarget[]): void {
    const hop = first && hopOf(this.#kernel, first);
    if (hop === undefined) {
      this.fail();
      return;
    }
    const bytes = encodeRequest(this.#draft, ownVia(hop, this.#branch));
    this.#kernel.counters.requestsSent.add(this.#draft.method);
    this.#kernel.transports.send(hop, bytes);
    const isEnd = this.#draft.method === 'BYE';
    if (isEnd) this.#records.stop('application', 'normal-release', bytes);
  }

  fail(): void {
    this.#kernel.counters.refusals.add('relayUnreachable');
  }
}

export class Relay {
  readonly #kernel: Kernel;
  readonly #router: Router;
  readonly #records: CallRecords;

  constructor(engine: {
    readonly kernel: Kernel;
    readonly router: Router;
    readonly records: CallRecords;
  }) {
    this.#kernel = engine.kernel;
    this.#router = engine.router;
    this.#records = engine.records;
  }

  /**
   * Passes a request on whose top Route is ours.
   *
   * @returns false when it is not, or when it leads nowhere but to us
   */
  forward(message: SipMessage, topVia: string, hop: Hop): boolean {
    const way = this.#wayOf(message);
    if (way === undefined) return false;
    const refusal = refusalOf(message);
    if (refusal !== undefined) {
      const { status, headers } = refusal;
      if (message.method === 'ACK') return true;
      this.#kernel.answerStateless(message, { hop, topVia, status }, headers);
      return true;
    }
    const { requestUri, routes } = way;
    const parts = { requestUri, routes, extra: [], stays: undefined };
    const draft = draftForward(message, topVia, hop, parts);
    const passing = new Passing(this.#kernel, this.#records, draft, branchFor(message));
    this.#recordStop(message, topVia);
    this.#router.send(passing, this.#routeTo(way.next));
    return true;
  }

  /**
   * Passes on the response to a request that `forward` has passed on.
   *
   * @returns false when it is none
   */
  forwardResponse(message: SipMessage): boolean {
    if (!message.topVia().branch.startsWith(STATELESS_BRANCH)) return false;
    const hop = this.#hopOfNextVia(message);
    if (hop !== undefined) this.#kernel.transports.send(hop, encodeForwardedResponse(message));
    return true;
  }

  #routeTo(uri: SipUri): Route {
    const flow = this.#kernel.flowTable.find(uri)?.flow;
    if (flow === undefined || flow.state === 'closed') return this.#router.toNextHop(uri);
    return { kind: 'targets', targets: [{ kind: 'hop', hop: flow.hop }] };
  }

  /** Nothing is kept of the call, so that a repeated BYE is told again. */
  #recordStop(message: SipMessage, topVia: string): void {
    if (message.method !== 'BYE' || !this.#records.isWanted) return;
    this.#records.stop('network', 'normal-release', encodeReceived(message, topVia));
  }

  /** Where a request goes that has come by one of our own Routes; `undefined` when none was ours. */
  #wayOf(message: SipMessage): Way | undefined {
    const { uri } = message;
    let target: { uri: Uri; text: string } = { uri, text: message.requestUri };
    let { routes } = message;
    // RFC 3261 §16.4: a strict router has put our Route into the Request-URI, and the target behind all others.
    const last = routes.at(-1);
    const isFromStrictRouter = last !== undefined && this.#isOwnRoute(uri);
    if (isFromStrictRouter) {
      target = { uri: last.uri, text: last.uriText };
      routes = routes.slice(0, -1);
    }
    const ownCount = this.#ownAtFront(routes);
    if (ownCount === 0 && !isFromStrictRouter) return undefined;
    const ahead = routes.slice(ownCount);
    const next = ahead[0]?.uri ?? target.uri;
    if (next.kind !== 'sip' || (ahead.length === 0 && this.#isOwn(next))) return undefined;
    return { ...routeRequest(target.text, ahead.map(String)), next };
  }

  /** Two when the sides are on different sockets, one otherwise. */
  #ownAtFront(routes: SipMessage['routes']): number {
    let count = 0;
    for (const { uri } of routes) {
      if (count === 2 || uri.kind !== 'sip' || !this.#isOwn(uri)) break;
      count += 1;
    }
    return count;
  }

  /** What we write into Record-Route has no user, and `lr`. */
  #isOwnRoute(uri: Uri): boolean {
    return uri.kind === 'sip' && uri.user === undefined && uri.params.has('lr') && this.#isOwn(uri);
  }

  #isOwn(uri: SipUri): boolean {
    const target = targetOf(uri);
    return target !== undefined && this.#kernel.transports.isOwn(endpointOf(target));
  }

  /** RFC 3261 §18.2.2, RFC 3581 §4: where the next Via says that the request came from. */
  #hopOfNextVia(message: SipMessage): Hop | undefined {
    const via = secondVia(message);
    const transport = TRANSPORTS.find((name) => name.toUpperCase() === via?.transport);
    if (via === undefined || transport === undefined) return undefined;
    const address = canonicalAddress(via.received ?? via.host);
    const port = via.rport ?? via.port ?? defaultPort(transport);
    const remote = { address, port };
    if (transport === 'udp') return this.#kernel.transports.datagramHop(remote);
    return this.#kernel.transports.flowTo(transport, remote)?.hop;
  }
}

function hopOf(kernel: Kernel, target: ClientTarget): Hop | undefined {
  if (target.kind === 'hop') return target.hop;
  const { transport, remote } = target.target;
  return kernel.transports.hopTo(transport, remote, target.serverName);
}

/** The same for a request and its repetitions, different for every other (RFC 3261 §16.11). */
function branchFor(message: SipMessage): string {
  const { branch, host, port } = message.topVia();
  const name = `${branch} ${host} ${port ?? ''} ${message.requestUri} ${message.cseq.sequence}`;
  const digest = createHash('sha256').update(name).digest('hex');
  return STATELESS_BRANCH + digest.slice(0, 24);
}

function secondVia(message: SipMessage): Via | undefined {
  const [, second] = message.headerValues('Via');
  if (second === undefined) return undefined;
  try {
    return Via.parse(second);
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
