/** The commands of the ng control protocol, carried out; it neither knows nor cares how they came. */

import { RefusedError, SwitchError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { Forwarder } from '../forward/forwarder.ts';
import type { RelayResources } from '../forward/forwarder.ts';
import { Rooms } from '../forward/rooms.ts';
import type { OfferRequest, RelayEvent } from '../messages.ts';
import type { CreateRoomMixer } from '../room/seam.ts';
import { dictionaryOf, flagOf, numberOf, requiredText, textOf, textsOf } from './dictionary.ts';
import type { Dictionary } from './dictionary.ts';
import { callReply, errorReply, plain } from './reply.ts';

/** What `list` gives when it is not told how many. */
const DEFAULT_LIST_LIMIT = 32;
const IDLE_CHECK_MS = 1000;

const TRANSPORT_PROTOCOLS = ['RTP/AVP', 'RTP/AVPF', 'RTP/SAVP', 'RTP/SAVPF'] as const;

type Command = (request: Dictionary) => Promise<Dictionary> | Dictionary;

export type RelayServiceOptions = {
  readonly resources: RelayResources;
  /** Absent: a relay for calls only, which does not know the room commands. */
  readonly createMixer: CreateRoomMixer | undefined;
  readonly log: Log;
  readonly onEvent: (event: RelayEvent) => void;
};

export class RelayService {
  readonly #resources: RelayResources;
  readonly #forwarder: Forwarder;
  readonly #rooms: Rooms | undefined;
  readonly #log: Log;
  readonly #startedMs: number;
  readonly #idleTimer: NodeJS.Timeout | undefined;
  #managedCalls = 0;

  readonly #commands: ReadonlyMap<string, Command>;

  constructor({ resources, createMixer, log, onEvent }: RelayServiceOptions) {
    this.#resources = resources;
    this.#log = log;
    this.#startedMs = resources.now();
    this.#forwarder = new Forwarder(resources);
    const listener = {
      onTalkers: (room: string, callIds: readonly string[]): void => {
        onEvent({ kind: 'talkers', room, callIds });
      },
      onDigit: (room: string, callId: string, fromTag: string, digit: string): void => {
        onEvent({ kind: 'dtmf', callId, fromTag, room, digit });
      },
    };
    this.#rooms =
      createMixer && new Rooms(resources, createMixer({ listener, now: resources.now }));
    this.#commands = new Map([...this.#callCommands(), ...roomCommands(this.#rooms)]);
    if (resources.settings.idleTimeoutMs !== undefined) {
      this.#idleTimer = setInterval(() => {
        void this.#forwarder.deleteIdle();
      }, IDLE_CHECK_MS);
    }
  }

  /** Carries out one command. Never rejects: failures are replies too. */
  async handle(request: Dictionary): Promise<Dictionary> {
    try {
      const command = this.#commands.get(textOf(request, 'command') ?? '');
      if (command === undefined) {
        throw new RefusedError('relay.command.unknown', 'Unrecognized command', 501);
      }
      return await command(request);
    } catch (error) {
      if (!(error instanceof SwitchError)) {
        this.#log.error('relay.command.failed', () => ({ error: String(error) }));
      }
      return errorReply(error);
    }
  }

  /** Frees every port. */
  close(): void {
    clearInterval(this.#idleTimer);
    this.#forwarder.close();
    this.#rooms?.close();
  }

  #callCommands(): readonly (readonly [string, Command])[] {
    return [
      ['ping', () => ({ result: 'pong' })],
      ['offer', (request) => this.#offer(request)],
      ['answer', (request) => this.#answer(request)],
      ['delete', (request) => this.#delete(request)],
      ['query', (request) => this.#query(request)],
      ['list', (request) => this.#list(request)],
      ['statistics', () => this.#statistics()],
    ];
  }

  async #offer(request: Dictionary): Promise<Dictionary> {
    const sdp = await this.#forwarder.offer(offerRequest(request));
    this.#managedCalls += 1;
    return { result: 'ok', sdp };
  }

  async #answer(request: Dictionary): Promise<Dictionary> {
    const sdp = await this.#forwarder.answer({
      callId: requiredText(request, 'call-id'),
      fromTag: requiredText(request, 'from-tag'),
      toTag: requiredText(request, 'to-tag'),
      sdp: requiredText(request, 'sdp'),
      replacesOrigin: replacesOrigin(request),
    });
    return { result: 'ok', sdp };
  }

  async #delete(request: Dictionary): Promise<Dictionary> {
    const call = await this.#forwarder.delete({
      callId: requiredText(request, 'call-id'),
      fromTag: textOf(request, 'from-tag'),
      toTag: textOf(request, 'to-tag'),
    });
    if (call === undefined) {
      return { result: 'ok', warning: "Call-ID not found or tags didn't match" };
    }
    return callReply(call, Date.now() / 1000);
  }

  #query(request: Dictionary): Dictionary {
    const call = this.#forwarder.query(requiredText(request, 'call-id'));
    if (call === undefined) throw new RefusedError('relay.call.unknown', 'Unknown call-id', 481);
    return callReply(call, Date.now() / 1000);
  }

  #list(request: Dictionary): Dictionary {
    const limit = numberOf(request, 'limit') ?? DEFAULT_LIST_LIMIT;
    return { result: 'ok', calls: this.#forwarder.callIds.slice(0, Math.max(0, limit)) };
  }

  /** The parts of rtpengine's statistics that make sense here, and `rooms`, which is ours. */
  #statistics(): Dictionary {
    const { ports, settings, now } = this.#resources;
    const { min, max } = settings.portRange;
    const used = 2 * ports.pairsInUse;
    const totals = 2 * ports.pairsTotal;
    const sessions = this.#forwarder.callCount;
    return {
      result: 'ok',
      statistics: {
        currentstatistics: { sessionsown: sessions, sessionsforeign: 0, sessionstotal: sessions },
        totalstatistics: {
          uptime: String(Math.floor((now() - this.#startedMs) / 1000)),
          managedsessions: this.#managedCalls,
        },
        interfaces: [{ name: 'default', ports: { min, max, used, free: totals - used, totals } }],
        rooms: {
          rooms: this.#rooms?.roomCount ?? 0,
          participants: this.#rooms?.participantCount ?? 0,
        },
      },
    };
  }
}

/** Our own extension of the protocol. */
function roomCommands(rooms: Rooms | undefined): readonly (readonly [string, Command])[] {
  if (rooms === undefined) return [];
  const ok: Dictionary = { result: 'ok' };
  return [
    [
      'room join',
      async (request) => ({
        ...ok,
        sdp: await rooms.join({
          ...participantKey(request),
          sdp: textOf(request, 'sdp'),
          towards: textOf(request, 'towards'),
        }),
      }),
    ],
    [
      'room answer',
      async (request) => {
        await rooms.answer({ ...participantKey(request), sdp: requiredText(request, 'sdp') });
        return ok;
      },
    ],
    [
      'room leave',
      async (request) => {
        await rooms.leave(participantKey(request));
        return ok;
      },
    ],
    [
      'room mute',
      async (request) => {
        await rooms.mute({ ...participantKey(request), isMuted: flagOf(request, 'muted') });
        return ok;
      },
    ],
    [
      'room query',
      (request) => {
        const room = rooms.query(requiredText(request, 'room'));
        if (room === undefined) throw new RefusedError('relay.room.unknown', 'Unknown room', 404);
        return { ...ok, ...plain(room) };
      },
    ],
  ];
}

function participantKey(request: Dictionary): { room: string; callId: string; fromTag: string } {
  return {
    room: requiredText(request, 'room'),
    callId: requiredText(request, 'call-id'),
    fromTag: requiredText(request, 'from-tag'),
  };
}

function offerRequest(request: Dictionary): OfferRequest {
  const protocol = textOf(request, 'transport-protocol');
  const transportProtocol = TRANSPORT_PROTOCOLS.find((known) => known === protocol);
  // `received-from` is a list of family and address: ['IP4', '192.0.2.1'].
  const receivedFrom = textsOf(request, 'received-from').at(-1);
  const family = /^IP([46])$/u.exec(textOf(request, 'address family') ?? '')?.[1];
  return {
    callId: requiredText(request, 'call-id'),
    fromTag: requiredText(request, 'from-tag'),
    toTag: textOf(request, 'to-tag'),
    sdp: requiredText(request, 'sdp'),
    transportProtocol,
    receivedFrom,
    towards: textOf(request, 'towards'),
    ipVersion: family === undefined ? undefined : family === '6' ? 6 : 4,
    replacesOrigin: replacesOrigin(request),
  };
}

/** rtpengine leaves `o=` alone unless `replace` names it; an absent `replace` means that the client did not care. */
function replacesOrigin(request: Dictionary): boolean | undefined {
  if (dictionaryOf(request, 'replace') === undefined && request['replace'] === undefined) {
    return undefined;
  }
  return textsOf(request, 'replace').includes('origin');
}
