/** All two-party calls of one relay worker: commands in, port pairs and forwarding out. */

import { RefusedError } from '../../core/errors.ts';
import { ipVersion } from '../../core/sdp/address.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import type { SessionDescription } from '../../core/sdp/session-description.ts';
import type { AddressHint, LocalAddresses } from '../io/local-addresses.ts';
import type { PortPool } from '../io/port-pool.ts';
import type { RelaySettings } from '../options.ts';
import type { AnswerRequest, CallStatistics, OfferRequest } from '../messages.ts';
import { Call, Conversation, offeredAudio } from './call.ts';
import { Leg } from './leg.ts';
import { SerialQueue } from './serial-queue.ts';

export type RelayResources = {
  readonly settings: RelaySettings;
  readonly ports: PortPool;
  readonly addresses: LocalAddresses;
  /** Monotonic milliseconds. */
  readonly now: () => number;
};

export type DeleteRequest = {
  readonly callId: string;
  readonly fromTag?: string | undefined;
  readonly toTag?: string | undefined;
};

export class Forwarder {
  readonly #resources: RelayResources;
  readonly #calls = new Map<string, Call>();
  /** Opening ports takes turns of the event loop: commands of one call wait for each other. */
  readonly #queue = new SerialQueue();

  constructor(resources: RelayResources) {
    this.#resources = resources;
  }

  get callCount(): number {
    return this.#calls.size;
  }

  get callIds(): readonly string[] {
    return [...this.#calls.keys()];
  }

  /**
   * @returns the offer for the other side
   * @throws ParseError, ProtocolError, RefusedError, ResourceError; a call that was not there before is not there then
   */
  offer(request: OfferRequest): Promise<string> {
    return this.#queue.run(request.callId, async () => {
      const session = parseSessionDescription(request.sdp);
      offeredAudio(session);
      const call = this.#calls.get(request.callId);
      const found = call?.find(request.fromTag, request.toTag);
      if (found !== undefined) {
        await this.#fitFamily(found, request, session);
        return found.applyOffer(request, session);
      }
      const conversation = await this.#open(request, session);
      try {
        const sdp = conversation.applyOffer(request, session);
        const home = call ?? new Call(request.callId, this.#resources.now());
        home.conversations.push(conversation);
        this.#calls.set(request.callId, home);
        return sdp;
      } catch (error) {
        this.#close(conversation);
        throw error;
      }
    });
  }

  /**
   * @returns the answer for the offerer
   * @throws RefusedError 481 `relay.call.unknown`, and as `offer`
   */
  answer(request: AnswerRequest): Promise<string> {
    return this.#queue.run(request.callId, () => {
      const conversation = this.#calls.get(request.callId)?.find(request.fromTag, request.toTag);
      if (conversation === undefined) {
        throw new RefusedError('relay.call.unknown', 'Unknown call-id', 481);
      }
      return conversation.applyAnswer(request, parseSessionDescription(request.sdp));
    });
  }

  /** Ends a call, or what has these tags in it; a tag that another answer has replaced is only forgotten. */
  delete(request: DeleteRequest): Promise<CallStatistics | undefined> {
    return this.#queue.run(request.callId, () => {
      const call = this.#calls.get(request.callId);
      if (call === undefined) return undefined;
      const doomed = conversationsOf(call, request);
      if (doomed === undefined) return undefined;
      const statistics = call.statistics(doomed.length > 0 ? doomed : undefined);
      for (const conversation of doomed) {
        call.conversations.splice(call.conversations.indexOf(conversation), 1);
        this.#close(conversation);
      }
      if (call.conversations.length === 0) this.#calls.delete(call.callId);
      return statistics;
    });
  }

  query(callId: string): CallStatistics | undefined {
    return this.#calls.get(callId)?.statistics();
  }

  /** Deletes calls without any packet for as long as the settings say. @returns their ids */
  async deleteIdle(): Promise<readonly string[]> {
    const { settings, now } = this.#resources;
    const { idleTimeoutMs } = settings;
    if (idleTimeoutMs === undefined) return [];
    const sinceMs = now() - idleTimeoutMs;
    const idle = [...this.#calls.values()].filter(({ lastActiveMs }) => lastActiveMs < sinceMs);
    for (const { callId } of idle) await this.delete({ callId });
    return idle.map(({ callId }) => callId);
  }

  close(): void {
    for (const call of this.#calls.values()) {
      for (const conversation of call.conversations) this.#close(conversation);
    }
    this.#calls.clear();
  }

  async #open(request: OfferRequest, session: SessionDescription): Promise<Conversation> {
    const offererHint = offererHintOf(request, session);
    const offerer = await this.#openLeg(offererHint);
    try {
      const answerer = await this.#openLeg(
        request.towards === undefined
          ? { ipVersion: request.ipVersion ?? offererHint.ipVersion }
          : { ipVersion: request.ipVersion, towards: request.towards },
      );
      return new Conversation(offerer, answerer);
    } catch (error) {
      this.#resources.ports.release(offerer.pair);
      throw error;
    }
  }

  async #openLeg(hint: AddressHint): Promise<Leg> {
    const { addresses, ports, settings, now } = this.#resources;
    const local = await addresses.choose(hint);
    return new Leg(await ports.allocate(local.bind), local, settings, now);
  }

  /** A re-offer keeps the ports unless the offerer has changed between IPv4 and IPv6. */
  async #fitFamily(
    conversation: Conversation,
    request: OfferRequest,
    session: SessionDescription,
  ): Promise<void> {
    const { leg } = conversation.offererOf(request.fromTag, request.toTag);
    const hint = offererHintOf(request, session);
    if (hint.ipVersion === undefined || hint.ipVersion === ipVersion(leg.boundAddress)) return;
    const { addresses, ports } = this.#resources;
    const local = await addresses.choose(hint);
    ports.release(leg.move(await ports.allocate(local.bind), local));
  }

  #close({ sides }: Conversation): void {
    for (const { leg } of sides) this.#resources.ports.release(leg.pair);
  }
}

/** Where the offerer is: what SDP says of its family, and the address that can be trusted for routing. */
function offererHintOf(request: OfferRequest, session: SessionDescription): AddressHint {
  const { address } = offeredAudio(session).media;
  const version = address === undefined ? undefined : ipVersion(address);
  return { ipVersion: version, towards: request.receivedFrom ?? address };
}

/** What to end; empty when only a superseded tag is meant, undefined when nothing fits. */
function conversationsOf(
  call: Call,
  { fromTag, toTag }: DeleteRequest,
): readonly Conversation[] | undefined {
  if (toTag !== undefined && forgetTag(call, toTag)) return [];
  const doomed = call.conversations.filter((one) => isMeant(one, fromTag, toTag));
  return doomed.length > 0 ? doomed : undefined;
}

/** Whether the tag was that of a fork which another answer has replaced. */
function forgetTag(call: Call, tag: string): boolean {
  for (const conversation of call.conversations) {
    const tags = conversation.sideOf(tag)?.tags;
    if (tags !== undefined && tags.at(-1) !== tag) {
      tags.splice(tags.indexOf(tag), 1);
      return true;
    }
  }
  return false;
}

/** A to-tag that nobody has answered with yet fits a conversation without an answer only. */
function isMeant(
  conversation: Conversation,
  fromTag: string | undefined,
  toTag: string | undefined,
): boolean {
  if (toTag !== undefined && conversation.sideOf(toTag) !== undefined) return true;
  if (fromTag === undefined) return toTag === undefined;
  const side = conversation.sideOf(fromTag);
  if (side === undefined) return false;
  return toTag === undefined || conversation.other(side).tags.length === 0;
}
