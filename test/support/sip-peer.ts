/**
 * A scripted SIP user agent over real sockets, for tests: it sends what it is told, expects what it is told, keeps a
 * record of all it saw, and says in its errors what came instead.
 *
 *     const alice = await SipPeer.open({ server, user: 'alice', password: 'secret' });
 *     await alice.register();
 *     const call = await alice.invite('sip:bob@example.test', { sdp });
 *     await call.ringing();
 *     await call.answered();      // sends the ACK
 *     await call.bye();
 *     await alice.close();
 *
 * Every expectation has a time limit (`timeoutMs`, 10 s unless told otherwise).
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { answerChallenge, parseDigestChallenges } from '../../core/sip/digest.ts';
import { formatHostPort } from '../../core/sip/host.ts';
import { isKeepAlive, SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { reasonPhraseOf } from '../../core/sip/status.ts';
import {
  clientKeyOf,
  clientTransactionKey,
  serverTransactionKey,
} from '../../core/sip/transaction/key.ts';
import {
  adopt,
  openConnection,
  remoteKey,
  type Arrivals,
  type Connection,
  type StreamTransport,
  type TlsOptions,
} from './sip-connection.ts';

export type PeerEndpoint = { readonly address: string; readonly port: number };

export type PeerTransport = 'udp' | StreamTransport;

export type PeerOptions = {
  /** Where requests go; may be left out by a peer that only answers. */
  readonly server?: PeerEndpoint;
  /** With tls, ws and wss it listens to nobody: it is reached by the connection that it opens at once. */
  readonly transport?: PeerTransport;
  readonly tls?: TlsOptions;
  /** The loopback address to use; decides between IPv4 and IPv6. */
  readonly address?: '127.0.0.1' | '::1';
  /** For UDP and TCP: the port to listen on, instead of one that the system chooses. */
  readonly port?: number;
  readonly user?: string;
  readonly displayName?: string;
  /** The host part of the own AOR; the server's address unless given. */
  readonly domain?: string;
  /** With it, 401 and 407 are answered once for each request, and do not show up in expectations. */
  readonly password?: string;
  /** The only digest algorithm that this peer knows; all of them unless given. */
  readonly algorithm?: 'MD5' | 'SHA-256';
  readonly timeoutMs?: number;
  /** Repeat requests over UDP until something answers; on unless set to false. */
  readonly retransmits?: boolean;
};

export type RequestOptions = {
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
  readonly contentType?: string;
  /** Instead of what would be made up. */
  readonly from?: string;
  readonly to?: string;
  readonly callId?: string;
  readonly cseq?: number;
  readonly contact?: string;
  /** Where to send it, instead of to the server. */
  readonly target?: PeerEndpoint;
};

export type ReplyOptions = Pick<RequestOptions, 'headers' | 'body' | 'contentType'> & {
  readonly reasonPhrase?: string;
};

export type InviteOptions = RequestOptions & { readonly sdp?: string };

/** One message that went over the wire. */
export type Seen = { readonly direction: 'in' | 'out'; readonly message: SipMessage };

type Path = (bytes: Buffer) => void;

const IS_OVER_DRACHTIO = process.env['PARLEY_TEST_SWITCH'] === 'drachtio-server';
const T2_MS = 4_000;
const TIMER_F_MS = 32_000;
const METHODS_WITH_CONTACT = ['INVITE', 'REGISTER', 'SUBSCRIBE', 'REFER', 'NOTIFY', 'UPDATE'];

export class SipPeer {
  readonly user: string;
  readonly transport: PeerTransport;
  readonly timeoutMs: number;
  readonly options: PeerOptions;
  /** Everything sent and received, in order; `transcript()` prints it. */
  readonly seen: Seen[] = [];
  /** Bytes that came and were no SIP message or keep-alive. */
  readonly garbage: Buffer[] = [];
  /** Answers to our keep-alives. */
  pongs = 0;
  port = 0;

  readonly #requests: Inbox<IncomingRequest>;
  readonly #exchanges = new Map<string, Exchange>();
  readonly #answered = new Map<string, IncomingRequest>();
  readonly #connections = new Map<string, Connection>();
  readonly #arrivals: Arrivals;
  #udp: dgram.Socket | undefined;
  #listener: net.Server | undefined;
  #registration: { callId: string; cseq: number } | undefined;
  /** A WebSocket client has no address that others could use (RFC 7118 section 5). */
  readonly #invalidHost = `${newToken()}.invalid`;

  private constructor(options: PeerOptions) {
    this.options = options;
    this.user = options.user ?? 'peer';
    this.transport = options.transport ?? 'udp';
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.#requests = new Inbox(this);
    this.#arrivals = {
      message: (bytes, connection) => {
        this.#receive(bytes, connection.write);
      },
      pong: () => (this.pongs += 1),
      garbage: (bytes) => this.garbage.push(bytes),
      closed: ({ remote }) => this.#connections.delete(remote),
    };
  }

  /** Opens the sockets. */
  static async open(options: PeerOptions = {}): Promise<SipPeer> {
    const peer = new SipPeer(options);
    if (peer.transport === 'udp') await peer.#openUdp();
    else if (peer.transport === 'tcp') await peer.#openTcp();
    else await peer.#reconnect();
    return peer;
  }

  get address(): string {
    return this.options.address ?? '127.0.0.1';
  }

  get endpoint(): PeerEndpoint {
    return { address: this.address, port: this.port };
  }

  get hostPort(): string {
    return this.#isWebSocket ? this.#invalidHost : formatHostPort(this.address, this.port);
  }

  /** Connections to the server, or from it. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  get #isWebSocket(): boolean {
    return this.transport === 'ws' || this.transport === 'wss';
  }

  get domain(): string {
    const host = this.options.server?.address ?? this.address;
    return this.options.domain ?? formatHostPort(host, undefined);
  }

  /** The own address-of-record. */
  get aor(): string {
    return `sip:${this.user}@${this.domain}`;
  }

  /** The own contact URI. */
  get contactUri(): string {
    // RFC 7118 section 5.2: in URIs a WebSocket is `ws`, secure or not.
    const transport = this.#isWebSocket ? 'ws' : this.transport;
    // A drachtio-server keeps connections by user and host alone, and here all phones have one host.
    const user = IS_OVER_DRACHTIO ? `${this.user}-${this.port}` : this.user;
    return `sip:${user}@${this.hostPort};transport=${transport}`;
  }

  /** Sends a REGISTER and expects this status; the same Call-ID and rising CSeq each time. */
  async register(
    options: RequestOptions & { expires?: number; expect?: number } = {},
  ): Promise<SipMessage> {
    const { expires = 300, expect = 200, headers, ...rest } = options;
    this.#registration ??= { callId: newToken(), cseq: 1 };
    const { callId, cseq } = this.#registration;
    // A challenge takes the next number too.
    this.#registration.cseq += 2;
    const exchange = await this.request('REGISTER', `sip:${this.domain}`, {
      to: `<${this.aor}>`,
      callId,
      cseq,
      headers: { Expires: String(expires), ...headers },
      ...rest,
    });
    return exchange.final(expect);
  }

  /** Sends a request outside dialogs. Await `final()` or `provisional()` of what it returns. */
  async request(method: string, uri: string, options: RequestOptions = {}): Promise<Exchange> {
    const request = this.buildRequest(method, uri, options);
    return this.sendRequest(request, options.target);
  }

  /** Sends an INVITE; the call is not answered yet when this returns. */
  async invite(uri: string, options: InviteOptions = {}): Promise<Call> {
    const { sdp, ...rest } = options;
    const body = sdp === undefined ? {} : { body: sdp, contentType: 'application/sdp' };
    return new Call(this, await this.request('INVITE', uri, { ...body, ...rest }), undefined);
  }

  /** The next request of this method that nobody has taken yet. */
  async expectRequest(method: string, timeoutMs = this.timeoutMs): Promise<IncomingRequest> {
    const isWanted = ({ message }: IncomingRequest): boolean => message.method === method;
    return this.#requests.take(isWanted, `request ${method}`, timeoutMs);
  }

  /** The next INVITE outside dialogs. */
  async expectCall(timeoutMs = this.timeoutMs): Promise<Call> {
    const isWanted = ({ message }: IncomingRequest): boolean =>
      message.method === 'INVITE' && message.toTag === undefined;
    return new Call(this, undefined, await this.#requests.take(isWanted, 'a call', timeoutMs));
  }

  /** The request that fits, for instance one of a certain Call-ID. */
  async expectRequestThat(
    isWanted: (message: SipMessage) => boolean,
    what: string,
    timeoutMs = this.timeoutMs,
  ): Promise<IncomingRequest> {
    return this.#requests.take(({ message }) => isWanted(message), what, timeoutMs);
  }

  /** Requests that came and that no expectation has taken. */
  get unexpected(): readonly SipMessage[] {
    return this.#requests.items.map(({ message }) => message);
  }

  /** Puts a request together; for tests that want to spoil something before `sendRequest`. */
  buildRequest(method: string, uri: string, options: RequestOptions = {}): OutgoingMessage {
    const request = OutgoingMessage.request(method, uri);
    const name = this.options.displayName;
    const display = name === undefined ? '' : `"${name}" `;
    request
      .add('Via', this.newVia())
      .add('Max-Forwards', '70')
      .add('From', options.from ?? `${display}<${this.aor}>;tag=${newToken()}`)
      .add('To', options.to ?? `<${uri}>`)
      .add('Call-ID', options.callId ?? newToken())
      .add('CSeq', `${options.cseq ?? 1} ${method}`);
    if (options.contact !== undefined) request.add('Contact', options.contact);
    else if (METHODS_WITH_CONTACT.includes(method)) request.add('Contact', `<${this.contactUri}>`);
    addContent(request, options);
    return request;
  }

  newVia(): string {
    const branch = `z9hG4bK${newToken()}`;
    return `SIP/2.0/${this.transport.toUpperCase()} ${this.hostPort};branch=${branch};rport`;
  }

  async sendRequest(request: OutgoingMessage, target?: PeerEndpoint): Promise<Exchange> {
    const to = target ?? this.options.server;
    assert(to !== undefined, 'a peer that sends requests needs `server` or `target`');
    const exchange = new Exchange(this, request, await this.#pathTo(to));
    exchange.start();
    return exchange;
  }

  /** Sends any bytes. */
  async sendBytes(bytes: Buffer | string, target = this.options.server): Promise<void> {
    assert(target !== undefined, 'a peer that sends needs `server` or `target`');
    const path = await this.#pathTo(target);
    path(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
  }

  /** For `Exchange` and `IncomingRequest`: sends and records. */
  sendMessage(message: OutgoingMessage, path: Path): void {
    const bytes = message.serialise();
    this.seen.push({ direction: 'out', message: SipMessage.parse(bytes) });
    path(bytes);
  }

  /** For `Exchange`: where responses to this key go. */
  listen(key: string, exchange: Exchange): void {
    this.#exchanges.set(key, exchange);
  }

  /** One line for each message seen. */
  transcript(): string {
    return this.seen
      .map(({ direction, message }) => `  ${direction === 'in' ? '<-' : '->'} ${describe(message)}`)
      .join('\n');
  }

  /** Drops every connection, as a phone that loses its network. */
  loseConnections(): void {
    for (const connection of this.#connections.values()) connection.destroy();
  }

  /** Closes every socket; expectations that still wait fail. A second time does nothing. */
  async close(): Promise<void> {
    for (const exchange of this.#exchanges.values()) exchange.stop();
    this.#requests.fail(new Error(`${this.user}: closed`));
    this.loseConnections();
    const [udp, listener] = [this.#udp, this.#listener];
    this.#udp = undefined;
    this.#listener = undefined;
    if (udp !== undefined) {
      udp.close();
      await once(udp, 'close');
    }
    if (listener !== undefined) {
      listener.close();
      await once(listener, 'close');
    }
  }

  async #openUdp(): Promise<void> {
    const socket = dgram.createSocket(net.isIPv6(this.address) ? 'udp6' : 'udp4');
    socket.bind(this.options.port ?? 0, this.address);
    await once(socket, 'listening');
    socket.on('message', (bytes, { address, port }) => {
      this.#receive(bytes, (answer) => {
        socket.send(answer, port, address);
      });
    });
    this.#udp = socket;
    this.port = socket.address().port;
  }

  async #openTcp(): Promise<void> {
    const listener = net.createServer((socket) => {
      this.#keep(adopt(socket, this.#arrivals));
    });
    listener.listen(this.options.port ?? 0, this.address);
    await once(listener, 'listening');
    this.#listener = listener;
    this.port = (listener.address() as AddressInfo).port;
  }

  /** A device that cannot be connected to shows the port that it connects from. */
  async #reconnect(): Promise<void> {
    const { server } = this.options;
    assert(server !== undefined, `a peer with ${this.transport} needs \`server\``);
    this.port = (await this.#connectionTo(server)).localPort;
  }

  async #pathTo(to: PeerEndpoint): Promise<Path> {
    const udp = this.#udp;
    if (udp !== undefined) {
      return (bytes) => {
        udp.send(bytes, to.port, to.address);
      };
    }
    return (await this.#connectionTo(to)).write;
  }

  async #connectionTo(to: PeerEndpoint): Promise<Connection> {
    const known = this.#connections.get(remoteKey(to.address, to.port));
    if (known?.isClosed === false) return known;
    assert(this.transport !== 'udp');
    return this.#keep(await openConnection(this.transport, to, this.#arrivals, this.options.tls));
  }

  #keep(connection: Connection): Connection {
    this.#connections.set(connection.remote, connection);
    return connection;
  }

  #receive(bytes: Buffer, path: Path): void {
    if (isKeepAlive(bytes)) return;
    let message: SipMessage;
    try {
      message = SipMessage.parse(bytes);
    } catch {
      this.garbage.push(bytes);
      return;
    }
    this.seen.push({ direction: 'in', message });
    if (message.isRequest) this.#receiveRequest(message, path);
    else this.#exchangeOf(message)?.receive(message);
  }

  /** The answer to a request whose Via a test has spoiled belongs to no exchange. */
  #exchangeOf(response: SipMessage): Exchange | undefined {
    try {
      return this.#exchanges.get(clientTransactionKey(response));
    } catch {
      return undefined;
    }
  }

  #receiveRequest(message: SipMessage, path: Path): void {
    const key = serverTransactionKey(message);
    const known = this.#answered.get(key);
    if (known !== undefined && message.method !== 'ACK') {
      known.repeat();
      return;
    }
    const request = new IncomingRequest(this, message, path);
    if (message.method !== 'ACK') this.#answered.set(key, request);
    this.#requests.put(request);
  }
}

/** A request that was sent, and its responses. */
export class Exchange {
  readonly peer: SipPeer;
  /** As last sent, with credentials if there were any. */
  request: OutgoingMessage;
  readonly path: Path;
  /** The ACK for the 2xx, which is sent again for every retransmission. */
  ack: OutgoingMessage | undefined;
  readonly #responses: Inbox<SipMessage>;
  #timer: NodeJS.Timeout | undefined;
  /** The request that was challenged, and for an INVITE the ACK to that. */
  #challenged: { readonly branch: string; readonly ack: OutgoingMessage | undefined } | undefined;
  #hasAuthenticated = false;

  constructor(peer: SipPeer, request: OutgoingMessage, path: Path) {
    this.peer = peer;
    this.request = request;
    this.path = path;
    this.#responses = new Inbox(peer);
  }

  /** The next provisional response with this status, passing over others; 100 only when asked for. */
  async provisional(statusCode: number, timeoutMs = this.peer.timeoutMs): Promise<SipMessage> {
    const isWanted = (response: SipMessage): boolean =>
      response.statusCode === statusCode || response.statusCode >= 200;
    const response = await this.#responses.take(isWanted, this.#what(statusCode), timeoutMs);
    this.#check(response, statusCode);
    return response;
  }

  /** The final response; fails when its status is not the expected one. */
  async final(expected?: number, timeoutMs = this.peer.timeoutMs): Promise<SipMessage> {
    const isFinal = (response: SipMessage): boolean => response.statusCode >= 200;
    const response = await this.#responses.take(isFinal, this.#what(expected), timeoutMs);
    if (expected !== undefined) this.#check(response, expected);
    return response;
  }

  /** For `SipPeer`. */
  start(): void {
    const branch = SipMessage.parse(this.request.serialise()).topVia().branch;
    this.peer.listen(clientKeyOf(branch, this.request.method), this);
    this.peer.sendMessage(this.request, this.path);
    if (this.peer.transport === 'udp' && this.peer.options.retransmits !== false) this.#repeat(500);
  }

  /** For `SipPeer`. */
  receive(response: SipMessage): void {
    const { branch } = response.topVia();
    if (branch === this.#challenged?.branch) {
      // The answer to it crossed its repetition.
      const { ack } = this.#challenged;
      if (ack !== undefined) this.peer.sendMessage(ack, this.path);
      return;
    }
    clearTimeout(this.#timer);
    const isFailure = response.statusCode >= 300;
    const ack =
      isFailure && this.request.method === 'INVITE' ? this.#acknowledge(response) : undefined;
    if (isFailure && this.#authenticate(response)) {
      this.#challenged = { branch, ack };
      return;
    }
    const isAcknowledged = this.ack?.header('To') === response.header('To');
    if (this.ack !== undefined && !isFailure && isAcknowledged) {
      this.peer.sendMessage(this.ack, this.path);
      return;
    }
    this.#responses.put(response);
  }

  /** For `SipPeer`. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#responses.fail(new Error(`${this.peer.user}: closed`));
  }

  /** RFC 3261 section 17.1.1.2 and 17.1.2.2: twice as long each time, but for INVITE no longer than T2. */
  #repeat(afterMs: number, sinceStartMs = 0): void {
    const totalMs = sinceStartMs + afterMs;
    if (totalMs >= TIMER_F_MS) return;
    this.#timer = setTimeout(() => {
      this.peer.sendMessage(this.request, this.path);
      const doubledMs = afterMs * 2;
      const isInvite = this.request.method === 'INVITE';
      this.#repeat(isInvite ? doubledMs : Math.min(doubledMs, T2_MS), totalMs);
    }, afterMs);
  }

  /** RFC 3261 section 17.1.1.3: the INVITE's top Via, Route and Request-URI; the response's To. */
  #acknowledge(response: SipMessage): OutgoingMessage {
    const ack = OutgoingMessage.request('ACK', this.request.requestUri);
    for (const name of ['Via', 'Max-Forwards', 'Route', 'From', 'Call-ID']) {
      for (const value of this.request.headerFields(name)) ack.add(name, value);
    }
    ack.add('To', response.header('To') ?? '').add('CSeq', `${response.cseq.sequence} ACK`);
    this.peer.sendMessage(ack, this.path);
    return ack;
  }

  /** Sends the request again with credentials; false when there is nothing to answer, or it was tried before. */
  #authenticate(response: SipMessage): boolean {
    const { password, algorithm, user } = { ...this.peer.options, user: this.peer.user };
    const isProxy = response.statusCode === 407;
    if (password === undefined || this.#hasAuthenticated) return false;
    if (!isProxy && response.statusCode !== 401) return false;
    const challenge = response
      .headerFields(isProxy ? 'Proxy-Authenticate' : 'WWW-Authenticate')
      .flatMap(parseDigestChallenges)
      .find((offered) => algorithm === undefined || offered.algorithm === algorithm);
    if (challenge === undefined) return false;
    const { method, requestUri: uri } = this.request;
    const answer = { username: user, password, method, uri, cnonce: newToken(), nonceCount: 1 };
    const { sequence } = response.cseq;
    this.#hasAuthenticated = true;
    const furtherVias = this.request.headerFields('Via').slice(1);
    this.request
      .set('Via', this.peer.newVia())
      .set('CSeq', `${sequence + 1} ${method}`)
      .set(isProxy ? 'Proxy-Authorization' : 'Authorization', answerChallenge(challenge, answer));
    for (const via of furtherVias) this.request.add('Via', via);
    this.start();
    return true;
  }

  #check(response: SipMessage, expected: number): void {
    if (response.statusCode === expected) return;
    const got = `${response.statusCode} ${response.reasonPhrase}`;
    assert.fail(`${this.#what(expected)}, got ${got}\n${this.peer.transcript()}`);
  }

  #what(statusCode: number | undefined): string {
    const { method, requestUri } = this.request;
    return `response ${statusCode ?? 'final'} to ${method} ${requestUri}`;
  }
}

/** A request that came in, and what we have answered. */
export class IncomingRequest {
  readonly peer: SipPeer;
  readonly message: SipMessage;
  readonly path: Path;
  /** The tag that our answers put into To. */
  readonly tag: string;
  #last: OutgoingMessage | undefined;

  constructor(peer: SipPeer, message: SipMessage, path: Path) {
    this.peer = peer;
    this.message = message;
    this.path = path;
    this.tag = message.toTag ?? newToken();
  }

  /** Answers; a retransmitted request gets the same answer again. */
  reply(statusCode: number, options: ReplyOptions = {}): OutgoingMessage {
    const reasonPhrase = options.reasonPhrase ?? reasonPhraseOf(statusCode);
    const response = OutgoingMessage.responseTo(this.message, statusCode, {
      reasonPhrase,
      toTag: this.tag,
    });
    const { method } = this.message;
    const needsContact = ['INVITE', 'SUBSCRIBE', 'NOTIFY', 'UPDATE'].includes(method);
    if (needsContact && statusCode > 100 && statusCode < 300) {
      response.add('Contact', `<${this.peer.contactUri}>`);
    }
    addContent(response, options);
    this.#last = response;
    this.peer.sendMessage(response, this.path);
    return response;
  }

  /** For `SipPeer`. */
  repeat(): void {
    if (this.#last !== undefined) this.peer.sendMessage(this.#last, this.path);
  }
}

/** One call, made or received. */
export class Call {
  readonly peer: SipPeer;
  /** The INVITE of a call that we make. */
  readonly outgoing: Exchange | undefined;
  /** The INVITE of a call that came in. */
  readonly incoming: IncomingRequest | undefined;
  /** The body of their offer or answer, once it is here. */
  remoteSdp = '';
  #dialog: DialogState | undefined;
  #lastInvite: Exchange | undefined;

  constructor(
    peer: SipPeer,
    outgoing: Exchange | undefined,
    incoming: IncomingRequest | undefined,
  ) {
    this.peer = peer;
    this.outgoing = outgoing;
    this.incoming = incoming;
    this.#lastInvite = outgoing;
    if (incoming !== undefined) this.remoteSdp = incoming.message.body.toString();
  }

  get callId(): string {
    return this.incoming?.message.callId ?? this.outgoing?.request.header('Call-ID') ?? '';
  }

  /** Waits until it rings at the other end. */
  async ringing(statusCode = 180, timeoutMs?: number): Promise<SipMessage> {
    return this.#made().provisional(statusCode, timeoutMs);
  }

  /** Waits for the 200 and sends the ACK. */
  async answered(options: ReplyOptions & { timeoutMs?: number } = {}): Promise<SipMessage> {
    const response = await this.#made().final(200, options.timeoutMs);
    this.remoteSdp = response.body.toString();
    this.#dialog = DialogState.ofUac(this.#made().request, response);
    this.ack(options);
    return response;
  }

  /** Waits for this failure; the ACK goes out by itself. */
  async rejected(statusCode: number, timeoutMs?: number): Promise<SipMessage> {
    return this.#made().final(statusCode, timeoutMs);
  }

  /** Sends CANCEL, and waits for its 200 and for the 487 to the INVITE. */
  async cancel(options: RequestOptions = {}): Promise<SipMessage> {
    const invite = this.#made();
    const cancel = OutgoingMessage.request('CANCEL', invite.request.requestUri);
    for (const name of ['Via', 'Max-Forwards', 'Route', 'From', 'To', 'Call-ID']) {
      for (const value of invite.request.headerFields(name)) cancel.add(name, value);
    }
    const sequence = invite.request.header('CSeq')?.split(' ')[0] ?? '';
    cancel.add('CSeq', `${sequence} CANCEL`);
    addContent(cancel, options);
    const exchange = new Exchange(this.peer, cancel, invite.path);
    exchange.start();
    await exchange.final(200);
    return invite.final(487);
  }

  /** Answers an incoming call with a provisional response. */
  ring(statusCode = 180, options: ReplyOptions = {}): void {
    this.#received().reply(statusCode, options);
  }

  /** Answers 200 and waits for the ACK, which it returns. */
  async answer(sdp?: string, options: ReplyOptions = {}): Promise<SipMessage> {
    const invite = this.#received();
    const body = sdp === undefined ? {} : { body: sdp, contentType: 'application/sdp' };
    const response = invite.reply(200, { ...body, ...options });
    this.#dialog = DialogState.ofUas(invite.message, response);
    return this.#expectAck();
  }

  /** Refuses an incoming call and waits for the ACK. */
  async reject(statusCode: number, options: ReplyOptions = {}): Promise<void> {
    this.#received().reply(statusCode, options);
    await this.#expectAck();
  }

  /** Waits for CANCEL, answers it and the INVITE, and waits for the ACK. Returns the CANCEL. */
  async expectCancel(timeoutMs?: number): Promise<SipMessage> {
    const cancel = await this.#expect('CANCEL', timeoutMs);
    cancel.reply(200);
    await this.reject(487);
    return cancel.message;
  }

  /** Sends a request inside the dialog, the way the INVITE went or came; ACK has its own method. */
  request(method: string, options: RequestOptions = {}): Exchange {
    const exchange = new Exchange(this.peer, this.#build(method, options), this.#path());
    exchange.start();
    if (method === 'INVITE') this.#lastInvite = exchange;
    return exchange;
  }

  /** Acknowledges the last 2xx to an INVITE of ours; repeated by itself when that is retransmitted. */
  ack(options: RequestOptions = {}): void {
    const ack = this.#build('ACK', options);
    assert(this.#lastInvite !== undefined, 'ACK in a call without an INVITE of ours');
    this.#lastInvite.ack = ack;
    this.peer.sendMessage(ack, this.#path());
  }

  /** Sends BYE and expects 200. */
  async bye(options: RequestOptions = {}): Promise<SipMessage> {
    return this.request('BYE', options).final(200);
  }

  /** Waits for BYE and answers 200. Returns the BYE. */
  async expectBye(timeoutMs?: number): Promise<SipMessage> {
    const bye = await this.#expect('BYE', timeoutMs);
    bye.reply(200);
    return bye.message;
  }

  /** Sends a re-INVITE with this SDP, expects 200, sends the ACK, and returns the 200. */
  async reinvite(sdp: string): Promise<SipMessage> {
    const exchange = this.request('INVITE', { body: sdp, contentType: 'application/sdp' });
    const response = await exchange.final(200);
    this.remoteSdp = response.body.toString();
    this.ack();
    return response;
  }

  /** Waits for a re-INVITE, answers 200 with this SDP, and waits for the ACK. Returns the re-INVITE. */
  async expectReinvite(sdp: string, timeoutMs?: number): Promise<SipMessage> {
    const invite = await this.#expect('INVITE', timeoutMs);
    this.remoteSdp = invite.message.body.toString();
    invite.reply(200, { body: sdp, contentType: 'application/sdp' });
    await this.#expectAck();
    return invite.message;
  }

  /** The next request of this method inside the call. */
  async expectRequest(method: string, timeoutMs?: number): Promise<IncomingRequest> {
    return this.#expect(method, timeoutMs);
  }

  async #expectAck(): Promise<SipMessage> {
    return (await this.#expect('ACK', undefined)).message;
  }

  async #expect(method: string, timeoutMs: number | undefined): Promise<IncomingRequest> {
    const { callId } = this;
    return this.peer.expectRequestThat(
      (message) => message.method === method && message.callId === callId,
      `${method} in call ${callId}`,
      timeoutMs,
    );
  }

  #build(method: string, options: RequestOptions): OutgoingMessage {
    assert(this.#dialog !== undefined, `${method} in a call that is not answered`);
    const dialog = this.#dialog;
    const request = this.peer.buildRequest(method, dialog.remoteTarget, {
      from: dialog.localAddress,
      to: dialog.remoteAddress,
      callId: this.callId,
      cseq: options.cseq ?? dialog.nextSequence(method),
      ...options,
    });
    for (const route of dialog.routes) request.add('Route', route);
    return request;
  }

  #path(): Path {
    return this.outgoing?.path ?? this.#received().path;
  }

  #made(): Exchange {
    assert(this.outgoing !== undefined, 'only for a call that we make');
    return this.outgoing;
  }

  #received(): IncomingRequest {
    assert(this.incoming !== undefined, 'only for a call that came in');
    return this.incoming;
  }
}

/** What a dialog adds to a request (RFC 3261 section 12.1). */
class DialogState {
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remoteTarget: string;
  readonly routes: readonly string[];
  #sequence: number;
  #inviteSequence: number;

  private constructor(local: string, remote: string, peerMessage: SipMessage, sequence: number) {
    this.localAddress = local;
    this.remoteAddress = remote;
    const contact = peerMessage.contacts[0];
    assert(contact !== undefined, `no Contact in ${describe(peerMessage)}`);
    this.remoteTarget = contact.uriText;
    const routes = peerMessage.recordRoutes.map((route) => route.toString());
    this.routes = peerMessage.isRequest ? routes : routes.reverse();
    this.#sequence = sequence;
    this.#inviteSequence = sequence;
  }

  static ofUac(request: OutgoingMessage, response: SipMessage): DialogState {
    const { sequence } = response.cseq;
    return new DialogState(
      request.header('From') ?? '',
      response.header('To') ?? '',
      response,
      sequence,
    );
  }

  static ofUas(request: SipMessage, response: OutgoingMessage): DialogState {
    return new DialogState(response.header('To') ?? '', request.header('From') ?? '', request, 0);
  }

  /** An ACK has the number of its INVITE. */
  nextSequence(method: string): number {
    if (method === 'ACK') return this.#inviteSequence;
    this.#sequence++;
    if (method === 'INVITE') this.#inviteSequence = this.#sequence;
    return this.#sequence;
  }
}

/** Items that arrive at any time, and takers that wait for some of them. */
class Inbox<Item> {
  readonly items: Item[] = [];
  readonly #peer: SipPeer;
  readonly #takers: { isWanted: (item: Item) => boolean; settle: (item: Item | Error) => void }[] =
    [];

  constructor(peer: SipPeer) {
    this.#peer = peer;
  }

  put(item: Item): void {
    const at = this.#takers.findIndex(({ isWanted }) => isWanted(item));
    if (at < 0) this.items.push(item);
    else this.#takers.splice(at, 1)[0]?.settle(item);
  }

  async take(isWanted: (item: Item) => boolean, what: string, timeoutMs: number): Promise<Item> {
    const at = this.items.findIndex(isWanted);
    const waiting = this.items[at];
    if (waiting !== undefined) {
      this.items.splice(at, 1);
      return waiting;
    }
    return new Promise((resolve, reject) => {
      const taker = {
        isWanted,
        settle: (item: Item | Error): void => {
          clearTimeout(timer);
          if (item instanceof Error) reject(item);
          else resolve(item);
        },
      };
      const timer = setTimeout(() => {
        this.#takers.splice(this.#takers.indexOf(taker), 1);
        const { user } = this.#peer;
        const message = `${user}: no ${what} within ${timeoutMs} ms; seen so far:`;
        reject(new Error(`${message}\n${this.#peer.transcript()}`));
      }, timeoutMs);
      this.#takers.push(taker);
    });
  }

  fail(error: Error): void {
    for (const taker of this.#takers.splice(0)) taker.settle(error);
  }
}

function addContent(message: OutgoingMessage, options: ReplyOptions): void {
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    for (const line of typeof value === 'string' ? [value] : value) message.add(name, line);
  }
  if (options.body !== undefined) message.setBody(options.body, options.contentType);
}

function describe(message: SipMessage): string {
  if (message.isRequest) return `${message.method} ${message.requestUri}`;
  const method = message.header('CSeq')?.split(' ')[1] ?? '';
  return `${message.statusCode} ${message.reasonPhrase} (${method})`;
}

function newToken(): string {
  return randomBytes(8).toString('hex');
}
