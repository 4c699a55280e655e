/** `MediaRelay` over a control channel: typed requests out, typed replies in. */

import { RefusedError } from '../../core/errors.ts';
import { TypedEmitter } from '../../core/events.ts';
import type { Log } from '../../core/log.ts';
import type {
  AnswerRequest,
  CallStatistics,
  MediaRelay,
  OfferRequest,
  ParticipantKey,
  RelayEvent,
  RelayStatistics,
  RoomJoinRequest,
  RoomStatistics,
  SdpReply,
} from '../messages.ts';
import type { ControlChannel } from './channel.ts';
import { dictionaryOf, flagOf, isDictionary, listOf, numberOf, textOf } from './dictionary.ts';
import type { Dictionary } from './dictionary.ts';
import { readCallReply, readLeg, throwIfError } from './reply.ts';

/** As many as one reply can hold. */
const LIST_LIMIT = 100_000;

export class RelayClient implements MediaRelay {
  readonly ngEndpoint: { readonly host: string; readonly port: number } | undefined;
  readonly #channel: ControlChannel;
  readonly #events: TypedEmitter<{ event: [RelayEvent] }>;
  readonly #close: () => Promise<void>;

  /** @param options.close - ends whatever is behind the channel */
  constructor(options: {
    readonly channel: ControlChannel;
    readonly close: () => Promise<void>;
    readonly log: Log;
    readonly ngEndpoint?: { readonly host: string; readonly port: number } | undefined;
  }) {
    this.#channel = options.channel;
    this.#close = options.close;
    this.ngEndpoint = options.ngEndpoint;
    this.#events = new TypedEmitter((error) => {
      options.log.error('relay.listener.failed', () => ({ error: String(error) }));
    });
  }

  async ping(): Promise<void> {
    await this.#request({ command: 'ping' });
  }

  async offer(request: OfferRequest): Promise<SdpReply> {
    const { ipVersion, receivedFrom } = request;
    const reply = await this.#request({
      command: 'offer',
      ...signalling(request),
      'to-tag': request.toTag,
      'transport-protocol': request.transportProtocol,
      'received-from': receivedFrom === undefined ? undefined : receivedFromList(receivedFrom),
      'address family': ipVersion === undefined ? undefined : `IP${ipVersion}`,
      towards: request.towards,
    });
    return sdpReply(reply);
  }

  async answer(request: AnswerRequest): Promise<SdpReply> {
    const reply = await this.#request({
      command: 'answer',
      ...signalling(request),
      'to-tag': request.toTag,
    });
    return sdpReply(reply);
  }

  async delete(request: {
    readonly callId: string;
    readonly fromTag?: string | undefined;
    readonly toTag?: string | undefined;
  }): Promise<CallStatistics | undefined> {
    const message = {
      command: 'delete',
      'call-id': request.callId,
      'from-tag': request.fromTag,
      'to-tag': request.toTag,
      'delete-delay': 0,
    };
    const reply = await this.#request(message, true);
    return dictionaryOf(reply, 'tags') === undefined
      ? undefined
      : readCallReply(request.callId, reply);
  }

  async query(callId: string): Promise<CallStatistics | undefined> {
    const reply = await this.#requestKnown(
      { command: 'query', 'call-id': callId },
      'relay.call.unknown',
    );
    return reply && readCallReply(callId, reply);
  }

  async list(): Promise<readonly string[]> {
    const reply = await this.#request({ command: 'list', limit: LIST_LIMIT });
    return listOf(reply, 'calls').map(String);
  }

  async statistics(): Promise<RelayStatistics> {
    const reply = await this.#request({ command: 'statistics' });
    const statistics = dictionaryOf(reply, 'statistics') ?? {};
    const current = dictionaryOf(statistics, 'currentstatistics') ?? {};
    const rooms = dictionaryOf(statistics, 'rooms') ?? {};
    const ports = listOf(statistics, 'interfaces')
      .filter(isDictionary)
      .map((one) => dictionaryOf(one, 'ports') ?? {});
    const total = (key: string): number =>
      ports.reduce((sum, one) => sum + (numberOf(one, key) ?? 0), 0);
    return {
      calls: numberOf(current, 'sessionstotal') ?? 0,
      rooms: numberOf(rooms, 'rooms') ?? 0,
      participants: numberOf(rooms, 'participants') ?? 0,
      portsInUse: total('used'),
      portsTotal: total('totals'),
    };
  }

  async roomJoin(request: RoomJoinRequest): Promise<SdpReply> {
    const reply = await this.#request({
      command: 'room join',
      ...participant(request),
      sdp: request.sdp,
      towards: request.towards,
    });
    return sdpReply(reply);
  }

  async roomAnswer(
    request: ParticipantKey & { readonly room: string; readonly sdp: string },
  ): Promise<void> {
    await this.#request({ command: 'room answer', ...participant(request), sdp: request.sdp });
  }

  async roomLeave(request: ParticipantKey & { readonly room: string }): Promise<void> {
    await this.#request({ command: 'room leave', ...participant(request) });
  }

  async roomMute(
    request: ParticipantKey & { readonly room: string; readonly isMuted: boolean },
  ): Promise<void> {
    const muted = request.isMuted ? 1 : 0;
    await this.#request({ command: 'room mute', ...participant(request), muted });
  }

  async roomQuery(room: string): Promise<RoomStatistics | undefined> {
    const reply = await this.#requestKnown({ command: 'room query', room }, 'relay.room.unknown');
    return reply && readRoom(room, reply);
  }

  onEvent(listener: (event: RelayEvent) => void): () => void {
    return this.#events.on('event', listener);
  }

  emit(event: RelayEvent): void {
    this.#events.emit('event', event);
  }

  async close(): Promise<void> {
    await this.#close();
  }

  async #request(message: Dictionary, canWait = false): Promise<Dictionary> {
    const reply = await this.#channel.request(message, canWait);
    throwIfError(reply);
    return reply;
  }

  /** The reply, or undefined when the relay says that it does not know what is asked for. */
  async #requestKnown(message: Dictionary, unknownCode: string): Promise<Dictionary | undefined> {
    try {
      return await this.#request(message);
    } catch (error) {
      if (error instanceof RefusedError && error.code === unknownCode) return undefined;
      throw error;
    }
  }
}

/** What offer and answer have in common, with what makes an rtpengine do as our own relay does. */
function signalling(request: OfferRequest | AnswerRequest): Dictionary {
  return {
    'call-id': request.callId,
    'from-tag': request.fromTag,
    sdp: request.sdp,
    ICE: 'remove',
    'rtcp-mux': ['demux'],
    replace: request.replacesOrigin === false ? [] : ['origin'],
  };
}

function receivedFromList(address: string): readonly string[] {
  return [address.includes(':') ? 'IP6' : 'IP4', address];
}

function participant(key: ParticipantKey & { readonly room: string }): Dictionary {
  return { room: key.room, 'call-id': key.callId, 'from-tag': key.fromTag };
}

function sdpReply(reply: Dictionary): SdpReply {
  return { sdp: textOf(reply, 'sdp') ?? '' };
}

function readRoom(room: string, reply: Dictionary): RoomStatistics {
  const participants = listOf(reply, 'participants')
    .filter(isDictionary)
    .map((entry) => ({
      ...readLeg(entry),
      callId: textOf(entry, 'callId') ?? '',
      codec: textOf(entry, 'codec') ?? '',
      isMuted: flagOf(entry, 'isMuted'),
      isTalking: flagOf(entry, 'isTalking'),
      levelDbov: numberOf(entry, 'levelDbov') ?? -127,
      latePackets: numberOf(entry, 'latePackets') ?? 0,
      lostPackets: numberOf(entry, 'lostPackets') ?? 0,
      playoutDelayMs: numberOf(entry, 'playoutDelayMs') ?? 0,
    }));
  return { room, participants };
}
