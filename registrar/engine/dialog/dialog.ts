/** One dialog (RFC 3261 §12): the state that turns two tags and a Call-ID into requests that reach the other side. */

import { NameAddr } from '../../../core/sip/name-addr.ts';
import type { SipUri } from '../../../core/sip/uri.ts';
import { ParseError } from '../../../core/errors.ts';
import type { Application } from '../control/applications.ts';
import type { Endpoint } from '../seam.ts';
import type { FlowUser, Hop } from '../transport/flow.ts';

/** `invite` dialogs end with BYE, `subscribe` dialogs with their subscription. */
export type DialogKind = 'invite' | 'subscribe';

export type DialogParts = {
  readonly kind: DialogKind;
  readonly role: 'uas' | 'uac';
  readonly callId: string;
  readonly localTag: string;
  /** `''` for a peer of RFC 2543 without tags. */
  readonly remoteTag: string;
  /** The From tag of the request that made the dialog; part of the id that applications use. */
  readonly fromTag: string;
  /** What our requests carry as From and To, tags included. */
  readonly localValue: string;
  readonly remoteValue: string;
  readonly localSequence: number;
  readonly remoteSequence: number | undefined;
  /** Route header values in the order in which our requests carry them. */
  readonly routeSet: readonly string[];
  readonly remoteTarget: string;
  /** Our Contact value as the other side knows it. */
  readonly localContact: string;
  /** Who gets the requests of this dialog. */
  readonly application: Application;
  /** The way that the request or response which made the dialog came. */
  readonly hop: Hop;
};

/** The form in which applications name a dialog. */
export function dialogIdOf(callId: string, fromTag: string): string {
  return `${callId};from-tag=${fromTag}`;
}

/** Something that lives only as long as the dialog: a session timer, a 2xx that waits for its ACK. */
export type DialogWatcher = { dialogEnded(dialog: Dialog): void };

export class Dialog implements FlowUser {
  readonly id: string;
  readonly kind: DialogKind;
  readonly role: 'uas' | 'uac';
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  readonly localValue: string;
  readonly remoteValue: string;
  localSequence: number;
  remoteSequence: number | undefined;
  routeSet: readonly string[];
  remoteTarget: string;
  localContact: string;
  application: Application;
  /** The connection that the dialog lives on, or how its datagrams travel. */
  hop: Hop;
  /** Where UDP requests go although the remote target says otherwise, because the peer is behind a NAT. */
  natEndpoint: Endpoint | undefined;
  state: 'early' | 'confirmed' | 'ended' = 'early';
  /** The Event of the subscription that made the dialog. */
  event: string | undefined;
  /** The last SDP that we sent, for a refresh that the engine does by itself. */
  localSdp: Buffer | undefined;
  /** An INVITE of ours, or one of theirs, that has no final answer yet (RFC 3261 §14). */
  hasOwnInvite = false;
  hasRemoteInvite = false;
  hasRemoteUpdate = false;
  hasLostFlow = false;
  /** A BYE of ours, or our last NOTIFY, is on its way. */
  isEnding = false;
  readonly watchers = new Set<DialogWatcher>();

  constructor(parts: DialogParts) {
    this.id = dialogIdOf(parts.callId, parts.fromTag);
    this.kind = parts.kind;
    this.role = parts.role;
    this.callId = parts.callId;
    this.localTag = parts.localTag;
    this.remoteTag = parts.remoteTag;
    this.localValue = parts.localValue;
    this.remoteValue = parts.remoteValue;
    this.localSequence = parts.localSequence;
    this.remoteSequence = parts.remoteSequence;
    this.routeSet = parts.routeSet;
    this.remoteTarget = parts.remoteTarget;
    this.localContact = parts.localContact;
    this.application = parts.application;
    this.hop = parts.hop;
  }

  /** What names the dialog on the wire, seen from here. */
  get key(): string {
    return dialogKey(this.callId, this.localTag, this.remoteTag);
  }

  /** A peer may come back on another connection; until then its requests are tried where its Contact leads. */
  flowClosed(): void {
    this.hasLostFlow = true;
  }
}

export function dialogKey(callId: string, localTag: string, remoteTag: string): string {
  return `${callId}\n${localTag}\n${remoteTag}`;
}

/** The URI of a message's first Contact; `undefined` when there is none that can be used. */
export function contactUri(contacts: readonly NameAddr[]): string | undefined {
  const [contact] = contacts;
  if (contact === undefined) return undefined;
  try {
    return contact.uri.kind === 'sip' ? contact.uriText : undefined;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

/**
 * Request-URI and Route values of a request in a dialog (RFC 3261 §12.2.1.1): loose routing leaves both as they are,
 * a strict router at the front gets itself as Request-URI and the target as the last Route.
 */
export function routeRequest(
  target: string,
  routeSet: readonly string[],
): { readonly requestUri: string; readonly routes: readonly string[] } {
  const [first, ...rest] = routeSet;
  if (first === undefined) return { requestUri: target, routes: [] };
  const uri = routeUri(first);
  if (uri === undefined || uri.params.has('lr')) return { requestUri: target, routes: routeSet };
  const requestUri = uri
    .with({ headers: undefined, params: uri.params.without('method') })
    .toString();
  return { requestUri, routes: [...rest, `<${target}>`] };
}

/** The SIP URI of a Route value; `undefined` when it is malformed. */
export function routeUri(value: string): SipUri | undefined {
  try {
    const { uri } = NameAddr.parse(value);
    return uri.kind === 'sip' ? uri : undefined;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
