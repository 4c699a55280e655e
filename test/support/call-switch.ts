/** A running switch with people on it, for tests of calls and messages: their scripted phones are registered. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Selectable } from 'kysely';
import type { SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import type { CallsTable } from '../../registrar/app/store/tables.ts';
import { LiveSwitch } from './live-switch.ts';
import { SipPeer, type Call, type Exchange, type PeerOptions } from './sip-peer.ts';

/** Long enough for a busy machine; a test that fails needs all of it. */
const PEER_TIMEOUT_MS = 10_000;

export class CallSwitch {
  readonly #live = new LiveSwitch();
  #peers: SipPeer[] = [];

  /** @param settings - configuration keys and their text */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<CallSwitch> {
    const running = new CallSwitch();
    await running.#live.start(settings);
    return running;
  }

  get endpoint(): { readonly address: string; readonly port: number } {
    return this.#live.server;
  }

  /** Another phone of this person, registered; his account is made when there is none. */
  async person(user: string, options: PeerOptions = {}): Promise<SipPeer> {
    const { accounts } = this.#live.running.context;
    const password = `${user}-password`;
    if (accounts.find(user) === undefined) {
      const displayName = `${user.charAt(0).toUpperCase()}${user.slice(1)} Example`;
      await accounts.add({ nickname: user, password, displayName });
    }
    const peer = await this.stranger(user, { password, ...options });
    await peer.register();
    return peer;
  }

  /** A phone that is not registered. */
  async stranger(user: string, options: PeerOptions = {}): Promise<SipPeer> {
    const { domain } = this.#live;
    const common = { server: this.endpoint, user, domain, timeoutMs: PEER_TIMEOUT_MS };
    const peer = await SipPeer.open({ ...common, ...options });
    this.#peers.push(peer);
    return peer;
  }

  /** What the relay was told of where the two sides of the only call are. */
  async promisedAddresses(): Promise<readonly (string | undefined)[]> {
    const { relay } = this.#live.running.context;
    const [callId = ''] = await relay.list();
    return ((await relay.query(callId))?.legs ?? []).map(({ promised }) => promised);
  }

  /** The record of the last call that ended; waits until none goes on. */
  async lastRecord(): Promise<Selectable<CallsTable>> {
    await this.#live.nothingLeft();
    const { db } = this.#live.running.context.store;
    const record = await db
      .selectFrom('calls')
      .selectAll()
      .orderBy('id', 'desc')
      .executeTakeFirst();
    assert.ok(record, 'no call was recorded');
    return record;
  }

  /** Waits until no call goes on; a phone that has vanished is given up only after 64 times T1. */
  async untilNoCalls(): Promise<void> {
    const endMs = Date.now() + 20_000;
    while ((await this.#live.running.holdings()).calls > 0) {
      assert.ok(Date.now() < endMs, 'a call does not end');
      await sleep(50);
    }
  }

  async closePeers(): Promise<void> {
    await Promise.allSettled(this.#peers.map((peer) => peer.close()));
  }

  /** Between tests: nothing may be left of the last one, and its phones go. */
  async clear(): Promise<void> {
    try {
      await this.#live.nothingLeft();
    } finally {
      await this.closePeers();
      const { location } = this.#live.running.context;
      for (const { user } of this.#peers) {
        for (const binding of location.bindingsOf(user)) location.forget(binding);
      }
      this.#peers = [];
    }
  }

  async stop(): Promise<void> {
    await this.#live.stop();
  }

  /** Ends the switch as SIGTERM does, with whatever goes on, and removes its data. */
  async shutDown(): Promise<void> {
    await this.#live.discard();
  }
}

/** Sends the CANCEL of a request that has had a provisional answer (RFC 3261 section 9.1). */
export function cancelOf({ peer, request }: Exchange): Promise<Exchange> {
  const cancel = OutgoingMessage.request('CANCEL', request.requestUri);
  for (const name of ['Via', 'Max-Forwards', 'From', 'To', 'Call-ID']) {
    for (const value of request.headerFields(name)) cancel.add(name, value);
  }
  const [sequence = ''] = (request.header('CSeq') ?? '').split(' ');
  return peer.sendRequest(cancel.add('CSeq', `${sequence} CANCEL`));
}

/** Sends the PRACK to a reliable provisional response (RFC 3262 section 4). */
export function prack(call: Call, progress: SipMessage): Promise<Exchange> {
  const invite = call.outgoing?.request;
  const [contact] = progress.contacts;
  const { sequence } = progress.cseq;
  return call.peer.request('PRACK', contact?.uriText ?? '', {
    from: invite?.header('From') ?? '',
    to: progress.header('To') ?? '',
    callId: call.callId,
    cseq: sequence + 1,
    headers: { RAck: `${progress.header('RSeq') ?? ''} ${sequence} INVITE` },
  });
}
