/** Rooms: a conference URI with audio, text and a roster on that one URI (RFC 4353, 4579, 4575, 3428). */
import { Participant, type ParticipantEvents } from './participant.ts';
import { Room } from './room.ts';
import { RoomDirectory, userPartOf, type RoomDefinition } from './room-directory.ts';
import { fromRoom, isNotice, textWithName } from './room-text.ts';
import { RosterSubscription } from './roster-subscription.ts';
import { parseUri } from '../../../core/sip/uri.ts';
import type { Account } from '../accounts/accounts.ts';
import { isSdp } from '../calls/exchange.ts';
import { copied, headerOf, MESSAGE_HEADERS, warning } from '../calls/headers.ts';
import { isInvented, respond, Transactions } from '../calls/transactions.ts';
import type { InstalledPart, SwitchContext } from '../context.ts';
import type { Binding } from '../location/location.ts';
import { devicesOf, forgetWhenGone, isFlowFailure, routeOf, targetOf } from '../location/target.ts';
import type { Unreached } from '../location/target.ts';
import { sendRequest, type SipRequest, type SipResponse } from '../srf.ts';

const SHUTDOWN = { cause: 503, text: 'Server is shutting down' };
/** After this long the shutdown does not wait for phones any more. */
const CLOSE_LIMIT_MS = 5_000;

export function installRooms(context: SwitchContext): InstalledPart {
  const rooms = new Rooms(context);
  const { requests, srf, relay } = context;
  requests.on('INVITE', (request, response) => rooms.handleInvite(request, response));
  requests.on('MESSAGE', (request, response) => rooms.handleMessage(request, response));
  requests.on('SUBSCRIBE', (request, response) => rooms.handleSubscribe(request, response));
  requests.onAvailability((user) => rooms.availability(user));
  srf.on('close', () => {
    rooms.abandon();
  });
  const stopListening = relay.onEvent((event) => {
    if (event.kind === 'lost') void rooms.close({ cause: 503, text: 'The media relay was lost' });
  });
  return {
    activeCount: () => rooms.activeCount,
    close: async () => {
      stopListening();
      await rooms.close(SHUTDOWN);
    },
  };
}

class Rooms {
  readonly #context: SwitchContext;
  readonly #transactions: Transactions;
  readonly #directory: RoomDirectory;
  readonly #rooms = new Map<string, Room>();
  #nextId = 1;
  #deliveries = 0;

  constructor(context: SwitchContext) {
    this.#context = context;
    this.#transactions = new Transactions(context.srf);
    this.#directory = new RoomDirectory(context.config.rooms);
    context.names.addSource('room', (name) => this.#directory.holds(name) || this.#rooms.has(name));
  }

  get activeCount(): number {
    let count = this.#deliveries;
    for (const room of this.#rooms.values()) {
      count += room.participants.size + room.subscriptionCount;
    }
    return count;
  }

  /** What an INVITE to this user would get, when it is a room's name. */
  availability(user: string): number | undefined {
    const definition = this.#directory.find(user);
    if (definition === undefined) return undefined;
    return this.#rooms.get(definition.name)?.isFull === true ? 486 : 200;
  }

  async handleInvite(request: SipRequest, response: SipResponse): Promise<boolean> {
    const definition = this.#definitionFor(request.uri);
    if (definition === undefined) return false;
    const cancellation = { hasCome: false };
    request.once('cancel', () => {
      cancellation.hasCome = true;
    });
    const account = await this.#context.authenticator.authenticate(request, response);
    if (account === undefined || cancellation.hasCome) return true;
    const body = request.body ?? '';
    if (body !== '' && !isSdp(headerOf(request, 'Content-Type') ?? 'application/sdp')) {
      respond(response, { status: 415, headers: { Accept: 'application/sdp' } });
      return true;
    }
    const room = this.#open(definition, response);
    if (room === undefined) return true;
    if (room.isFull) {
      const headers = warning(399, this.#context.domain.name, 'The room is full');
      respond(response, { status: 486, headers });
      return true;
    }
    await this.#admit(room, account, request, response);
    return true;
  }

  async handleMessage(request: SipRequest, response: SipResponse): Promise<boolean> {
    const definition = this.#definitionFor(request.uri);
    if (definition === undefined) return false;
    const sender = await this.#context.authenticator.authenticate(request, response);
    if (sender === undefined) return true;
    this.#takeText(definition, sender, request, response);
    return true;
  }

  async handleSubscribe(request: SipRequest, response: SipResponse): Promise<boolean> {
    const definition = this.#definitionFor(request.uri);
    if (definition === undefined) return false;
    const account = await this.#context.authenticator.authenticate(request, response);
    if (account === undefined) return true;
    const event = (headerOf(request, 'Event') ?? '').split(';', 1)[0]?.trim().toLowerCase();
    if (event !== 'conference') {
      respond(response, { status: 489, headers: { 'Allow-Events': 'conference' } });
      return true;
    }
    const room = this.#open(definition, response);
    if (room !== undefined) this.#subscribe(room, request, response);
    return true;
  }

  /** Everybody is told, then hung up on. */
  async close(why: { readonly cause: number; readonly text: string }): Promise<void> {
    const closing = Promise.all([...this.#rooms.values()].map((room) => room.close(why)));
    const limit = new Promise<void>((resolve) => {
      const cancel = this.#context.clock.after(CLOSE_LIMIT_MS, resolve);
      void closing.finally(cancel);
    });
    await Promise.race([closing, limit]);
  }

  /** The engine is gone, and with it every dialog. */
  abandon(): void {
    for (const room of this.#rooms.values()) {
      for (const participant of [...room.participants]) void participant.abandon();
    }
  }

  #definitionFor(uri: string): RoomDefinition | undefined {
    const rawUser = this.#context.domain.rawUserOf(uri);
    return rawUser === undefined ? undefined : this.#directory.find(rawUser);
  }

  /** The room, made when it may be; otherwise the request has been refused. */
  #open(definition: RoomDefinition, response: SipResponse): Room | undefined {
    const existing = this.#rooms.get(definition.name);
    if (existing !== undefined) return existing;
    const { config, domain, log } = this.#context;
    if (!definition.isPermanent && !config.rooms.allowNew) {
      const headers = warning(399, domain.name, 'There is no such room, and none may be made');
      respond(response, { status: 404, headers });
      return undefined;
    }
    if (!definition.isPermanent && this.#rooms.size >= config.rooms.maxRooms) {
      respond(response, { status: 503, headers: { 'Retry-After': '60' } });
      return undefined;
    }
    const room = new Room(definition, this.#context.clock, () => {
      this.#rooms.delete(definition.name);
      log.info('rooms.room.emptied', () => ({ room: definition.name }));
    });
    this.#rooms.set(definition.name, room);
    log.info('rooms.room.opened', () => ({ room: definition.name }));
    return room;
  }

  async #admit(
    room: Room,
    account: Account,
    request: SipRequest,
    response: SipResponse,
  ): Promise<void> {
    const { clock, config, domain, log, relay } = this.#context;
    const participant = new Participant(
      {
        id: String(this.#nextId++),
        account,
        room: room.definition.name,
        contact: this.#focusContact(room.definition),
        domain: domain.name,
        dialogCheckSeconds: config.calls.dialogCheckSeconds,
        clock,
        log,
        relay,
        transactions: this.#transactions,
        events: this.#participantEvents(room),
      },
      request,
    );
    room.add(participant);
    const isIn = await participant.answer(request, response);
    if (!isIn) room.remove(participant);
    else log.info('rooms.participant.joined', () => ({ room: room.definition.name }));
  }

  #participantEvents(room: Room): ParticipantEvents {
    return {
      left: (participant) => {
        room.remove(participant);
        this.#context.log.info('rooms.participant.left', () => ({ room: room.definition.name }));
      },
      changed: (participant) => {
        room.noteChange(participant);
      },
      texted: (participant, request, response) => {
        this.#takeText(room.definition, participant.account, request, response);
      },
    };
  }

  #subscribe(room: Room, request: SipRequest, response: SipResponse): void {
    const requestUri = parseUri(request.uri);
    const fromUri = parseUri(request.getParsedHeader('from').uri);
    const host = requestUri.kind === 'sip' ? requestUri.host : this.#context.domain.name;
    const fromHost = fromUri.kind === 'sip' ? fromUri.host : this.#context.domain.name;
    const rawUser = this.#context.domain.rawUserOf(request.uri) ?? room.definition.name;
    const subscription = new RosterSubscription(
      {
        contact: this.#focusContact(room.definition),
        entity: `sip:${rawUser}@${host}`,
        uriOf: (nickname) => {
          const [user] = this.#context.domain.uriOf(nickname).split('@', 1);
          return `${user ?? ''}@${fromHost}`;
        },
        clock: this.#context.clock,
        transactions: this.#transactions,
        roster: () => room.roster(),
        ended: (ended) => {
          room.unsubscribe(ended);
        },
      },
      request,
    );
    room.subscribe(subscription);
    subscription.accept(request, response);
  }

  #takeText(
    definition: RoomDefinition,
    sender: Account,
    request: SipRequest,
    response: SipResponse,
  ): void {
    const { config, domain } = this.#context;
    const contentType = headerOf(request, 'Content-Type');
    const body = request.body ?? '';
    if (isNotice(contentType)) {
      respond(response, { status: 200 });
      return;
    }
    if (Buffer.byteLength(body) > config.messages.maxBodyBytes) {
      const limit = `The text is longer than ${config.messages.maxBodyBytes} bytes`;
      respond(response, { status: 413, headers: warning(399, domain.name, limit) });
      return;
    }
    const others = [...(this.#rooms.get(definition.name)?.participants ?? [])].filter(
      ({ account }) => account.nickname !== sender.nickname,
    );
    if (others.length === 0) {
      const headers = warning(399, domain.name, 'Nobody else is in the room');
      respond(response, { status: 480, headers });
      return;
    }
    respond(response, { status: 200 });
    const text = textWithName(body, sender, {
      contentType,
      encoding: headerOf(request, 'Content-Encoding'),
    });
    const headers = {
      'Content-Type': 'text/plain',
      ...copied(request, MESSAGE_HEADERS),
      From: fromRoom(sender, domain.uriOf(userPartOf(definition))),
    };
    for (const nickname of new Set(others.map(({ account }) => account.nickname))) {
      this.#deliver(nickname, others, { headers, body: text });
    }
  }

  /** To the device that is in the room, when it can be told apart; else to all of that person's devices. */
  #deliver(
    nickname: string,
    participants: readonly Participant[],
    message: { readonly headers: Record<string, string>; readonly body: string },
  ): void {
    const bindings = this.#context.location.reachableBindingsOf(nickname);
    const sources = new Set(
      participants
        .filter(({ account }) => account.nickname === nickname)
        .map(({ source }) => source),
    );
    const present = bindings.filter(({ sourceAddress, sourcePort }) =>
      sources.has(`${sourceAddress}:${sourcePort}`),
    );
    const headers = { ...message.headers, To: `<${this.#context.domain.uriOf(nickname)}>` };
    for (const flows of devicesOf(present.length > 0 ? present : bindings)) {
      void this.#sendToDevice(flows, { headers, body: message.body });
    }
  }

  /** By one flow after the other, as long as they lead nowhere (RFC 5626 section 7). */
  async #sendToDevice(
    flows: readonly Binding[],
    message: { readonly headers: Record<string, string>; readonly body: string },
  ): Promise<void> {
    for (const flow of flows) {
      const headers = { ...message.headers, ...routeOf(flow) };
      const failure = await this.#send({ ...targetOf(flow), ...message, headers });
      if (failure === undefined) return;
      forgetWhenGone(this.#context.location, flow, failure);
      if (!isFlowFailure(failure)) return;
    }
  }

  /** @returns why not; nothing when the device took it, or nobody can say */
  async #send(message: {
    readonly uri: string;
    readonly proxy?: string;
    readonly headers: Record<string, string>;
    readonly body: string;
  }): Promise<Unreached | undefined> {
    this.#deliveries++;
    try {
      const answer = await sendRequest(this.#context.srf, { method: 'MESSAGE', ...message });
      const { status } = answer;
      if (status < 300) return undefined;
      this.#context.log.info('rooms.text.refused', () => ({ status }));
      return { status, isUnreachable: isInvented(answer) };
    } catch (error) {
      this.#context.log.warn('rooms.text.failed', () => ({ error }));
      return undefined;
    } finally {
      this.#deliveries--;
    }
  }

  /** The user part names the room, because Linphone subscribes to this URI without its port and parameters. */
  #focusContact(definition: RoomDefinition): string {
    const uri = this.#context.domain.uriOf(userPartOf(definition));
    return `<${uri.slice(0, uri.lastIndexOf('@'))}@localhost>;isfocus`;
  }
}
