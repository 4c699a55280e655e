/** A running switch with people on it, for tests of calls and messages: their scripted phones are registered. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Selectable } from 'kysely';
import type { SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import type { CallsTable } from '../../registrar/app/store/tables.ts';
import { LiveSwitch } from './live-switch.ts';
import {
  SipPeer,
  type Call,
  type Exchange,
  type PeerOptions,
  type RequestOptions,
} from './sip-peer.ts';

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

  /** Where it listens for TCP. */
  get streamEndpoint(): { readonly address: string; readonly port: number } {
    return this.#live.place('tcp');
  }

  /** Where it listens on this address for UDP. */
  endpointOn(address: string): { readonly address: string; readonly port: number } {
    return this.#live.place('udp', address);
  }

  /** Another phone of this person, registered; his account is made when there is none. */
  async person(user: string, options: PeerOptions = {}): Promise<SipPeer> {
    const password = await this.account(user);
    const peer = await this.stranger(user, { password, ...options });
    await peer.register();
    return peer;
  }

  /** Makes an account when there is none of this name, and gives its password. */
  async account(user: string): Promise<string> {
    const { accounts } = this.#live.running.context;
    const password = `${user}-password`;
    if (accounts.find(user) === undefined) {
      const displayName = `${user.charAt(0).toUpperCase()}${user.slice(1)} Example`;
      await accounts.add({ nickname: user, password, displayName });
    }
    return password;
  }

  /** How many bindings of this person are known. */
  bindingCount(user: string): number {
    return this.#live.running.context.location.bindingsOf(user).length;
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

  /** How many calls the relay has ports for. */
  async relayedCalls(): Promise<number> {
    return (await this.#live.running.context.relay.list()).length;
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
  const { sequence } = progress.cseq;
  return earlyRequest(call, progress, 'PRACK', {
    cseq: sequence + 1,
    headers: { RAck: `${progress.header('RSeq') ?? ''} ${sequence} INVITE` },
  });
}

/** Sends a request of the caller in the early dialog that a provisional response has made. */
export function earlyRequest(
  call: Call,
  progress: SipMessage,
  method: string,
  options: RequestOptions & { readonly cseq: number },
): Promise<Exchange> {
  const [contact] = progress.contacts;
  return call.peer.request(method, contact?.uriText ?? '', {
    from: call.outgoing?.request.header('From') ?? '',
    to: progress.header('To') ?? '',
    callId: call.callId,
    ...options,
  });
}

/** Sends a request of the callee in the early dialog of a call that he has not taken yet. */
export function earlyRequestBack(
  taken: Call,
  method: string,
  options: RequestOptions,
): Promise<Exchange> {
  const { incoming } = taken;
  assert.ok(incoming);
  const { message, tag } = incoming;
  return taken.peer.request(method, message.contacts[0]?.uriText ?? '', {
    from: `${message.header('To') ?? ''};tag=${tag}`,
    to: message.header('From') ?? '',
    callId: taken.callId,
    cseq: 1,
    ...options,
  });
}

/** Sends a reliable provisional response, and answers its PRACK, which it returns (RFC 3262 section 3). */
export async function ringReliably(
  taken: Call,
  status: number,
  { rseq, body, allow = 'INVITE, ACK, BYE, CANCEL, PRACK, UPDATE' }: ReliableOptions,
): Promise<SipMessage> {
  taken.ring(status, {
    headers: { Require: '100rel', RSeq: String(rseq), Allow: allow },
    ...(body === undefined ? {} : { body, contentType: 'application/sdp' }),
  });
  const acknowledgement = await taken.expectRequest('PRACK');
  acknowledgement.reply(200);
  return acknowledgement.message;
}

export type ReliableOptions = {
  readonly rseq: number;
  readonly body?: string;
  readonly allow?: string;
};
