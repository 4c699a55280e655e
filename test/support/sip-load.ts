/** Load on a SIP server from outside: registrations and calls over UDP, at a rate or as many as it takes. */

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const HOST = '127.0.0.1';
/** What has not ended by then has failed; nothing is sent twice, so that a loss shows. */
const UNIT_TIMEOUT_MS = 5000;
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

export type LoadOptions = {
  readonly server: { readonly host: string; readonly port: number };
  readonly domain: string;
  /** `user(3)` has `password(3)`. */
  readonly user: (index: number) => string;
  readonly password: (index: number) => string;
  readonly users: number;
};

/** A registration, a call, one answered request. */
export type Kind = 'register' | 'call' | 'options' | 'unknown';

export type LoadResult = {
  readonly done: number;
  readonly failed: number;
  /** What became of those that failed: the status that came, or `no answer`. */
  readonly failures: Readonly<Record<string, number>>;
  readonly perSecond: number;
  /** From the first request to its (last) answer; for a call to the 200 of the INVITE. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How late the generator itself was with what it had to begin; as many as go are never late. */
  readonly p99LagMs: number;
  readonly maxLagMs: number;
};

type Unit = {
  readonly kind: Kind;
  readonly index: number;
  readonly callId: string;
  readonly startedMs: number;
  sequence: number;
  branch: string;
};

const SDP = (port: number): string =>
  [
    'v=0',
    `o=- 1 1 IN IP4 ${HOST}`,
    's=-',
    `c=IN IP4 ${HOST}`,
    't=0 0',
    `m=audio ${port} RTP/AVP 0 8 101`,
    'a=rtpmap:0 PCMU/8000',
    'a=rtpmap:8 PCMA/8000',
    'a=rtpmap:101 telephone-event/8000',
    'a=sendrecv',
    '',
  ].join('\r\n');

export class SipLoad {
  readonly #options: LoadOptions;
  readonly #callers: Socket;
  readonly #callees: Socket;
  readonly #callerPort: number;
  readonly #calleePort: number;
  readonly #units = new Map<string, Unit>();
  readonly #run = Math.random().toString(36).slice(2, 8);
  readonly #answersMs: number[] = [];
  #count = 0;
  #done = 0;
  #failed = 0;
  #failures: Record<string, number> = {};
  readonly #lagsMs: number[] = [];
  #onEnded: () => void = () => undefined;

  private constructor(options: LoadOptions, callers: Socket, callees: Socket) {
    this.#options = options;
    this.#callers = callers;
    this.#callees = callees;
    this.#callerPort = callers.address().port;
    this.#calleePort = callees.address().port;
    callers.on('message', (bytes) => {
      this.#answered(bytes.toString('latin1'));
    });
    callees.on('message', (bytes) => {
      const text = bytes.toString('latin1');
      if (text.startsWith('SIP/2.0 ')) this.#answered(text);
      else this.#called(text);
    });
  }

  static async open(options: LoadOptions): Promise<SipLoad> {
    return new SipLoad(options, await openSocket(), await openSocket());
  }

  close(): void {
    this.#callers.close();
    this.#callees.close();
  }

  /** Registers each user once, where calls are answered. */
  async registerAll(): Promise<void> {
    for (let index = 0; index < this.#options.users; index++) {
      await this.#whileBusy(50);
      this.#begin('register', index);
    }
    await this.#whileBusy(1);
    if (this.#failed > 0) throw new Error(`${this.#failed} devices could not register`);
  }

  /** So many a second, whatever the server does. */
  async atRate(kind: Kind, perSecond: number, seconds: number): Promise<LoadResult> {
    const total = Math.round(perSecond * seconds);
    return await this.#measured(async () => {
      const startedMs = performance.now();
      for (let begun = 0; begun < total;) {
        const elapsedMs = performance.now() - startedMs;
        const due = Math.min(total, Math.ceil((elapsedMs * perSecond) / 1000));
        for (; begun < due; begun++) {
          this.#lagsMs.push(elapsedMs - (begun / perSecond) * 1000);
          this.#begin(kind, this.#count % this.#options.users);
        }
        await sleep(1);
      }
    });
  }

  /** As many as the server takes with `window` of them under way. */
  async asMany(kind: Kind, window: number, seconds: number): Promise<LoadResult> {
    return await this.#measured(async () => {
      const endMs = performance.now() + seconds * 1000;
      while (performance.now() < endMs) {
        while (this.#units.size < window) this.#begin(kind, this.#count % this.#options.users);
        await this.#whileBusy(window);
      }
    });
  }

  async #measured(run: () => Promise<void>): Promise<LoadResult> {
    this.#done = 0;
    this.#failed = 0;
    this.#failures = {};
    this.#lagsMs.length = 0;
    this.#answersMs.length = 0;
    const startedMs = performance.now();
    await run();
    await this.#whileBusy(1);
    const seconds = (performance.now() - startedMs) / 1000;
    const answers = this.#answersMs.toSorted((a, b) => a - b);
    const lags = this.#lagsMs.toSorted((a, b) => a - b);
    return {
      done: this.#done,
      failed: this.#failed,
      failures: this.#failures,
      perSecond: this.#done / seconds,
      p50Ms: quantile(answers, 0.5),
      p99Ms: quantile(answers, 0.99),
      p99LagMs: quantile(lags, 0.99),
      maxLagMs: lags.at(-1) ?? 0,
    };
  }

  /** Waits until fewer than `limit` are under way. */
  async #whileBusy(limit: number): Promise<void> {
    while (this.#units.size >= limit) {
      const ended = new Promise<void>((resolve) => {
        this.#onEnded = resolve;
      });
      await Promise.race([ended, sleep(200)]);
      this.#giveUp(performance.now() - UNIT_TIMEOUT_MS);
    }
  }

  /** What was begun before then has failed. */
  #giveUp(beforeMs: number): void {
    for (const unit of this.#units.values()) {
      if (unit.startedMs > beforeMs) return;
      this.#fail(unit, 'no answer');
    }
  }

  #begin(kind: Kind, index: number): void {
    this.#count += 1;
    const callId = `${this.#run}-${this.#count}`;
    const unit = { kind, index, callId, startedMs: performance.now(), sequence: 0, branch: '' };
    this.#units.set(callId, unit);
    this.#request(unit);
  }

  #succeed(unit: Unit): void {
    this.#units.delete(unit.callId);
    this.#done += 1;
    this.#onEnded();
  }

  #fail(unit: Unit, why: string): void {
    this.#units.delete(unit.callId);
    this.#failed += 1;
    this.#failures[why] = (this.#failures[why] ?? 0) + 1;
    this.#onEnded();
  }

  /** The request that begins the unit; again with credentials. */
  #request(unit: Unit, credentials = ''): void {
    unit.sequence += 1;
    unit.branch = `${unit.callId}-${unit.sequence}`;
    switch (unit.kind) {
      case 'register':
        this.#send(unit, 'REGISTER', `sip:${this.#options.domain}`, {
          to: this.#uri(unit.index),
          more: [`Contact: <sip:d@${HOST}:${this.#calleePort}>`, 'Expires: 3600', credentials],
        });
        return;
      case 'call':
        this.#send(unit, 'INVITE', this.#uri(this.#calleeOf(unit)), {
          to: this.#uri(this.#calleeOf(unit)),
          more: [`Contact: <sip:c@${HOST}:${this.#callerPort}>`, credentials],
          body: SDP(4000),
        });
        return;
      case 'options':
        this.#send(unit, 'OPTIONS', `sip:${this.#options.domain}`, {
          to: `sip:${this.#options.domain}`,
          more: [],
        });
        return;
      case 'unknown':
        this.#send(unit, 'BENCH', `sip:${this.#options.domain}`, {
          to: `sip:${this.#options.domain}`,
          more: [],
        });
    }
  }

  #calleeOf({ index }: Unit): number {
    return (index + 1) % this.#options.users;
  }

  #uri(index: number): string {
    return `sip:${this.#options.user(index)}@${this.#options.domain}`;
  }

  #send(
    unit: Unit,
    method: string,
    uri: string,
    parts: { readonly to: string; readonly more: readonly string[]; readonly body?: string },
  ): void {
    const { body = '' } = parts;
    // Calls reach a device where its registration came from.
    const isDevice = unit.kind === 'register';
    const port = isDevice ? this.#calleePort : this.#callerPort;
    const lines = [
      `${method} ${uri} SIP/2.0`,
      `Via: SIP/2.0/UDP ${HOST}:${port};branch=z9hG4bK${unit.branch};rport`,
      'Max-Forwards: 70',
      `From: <${this.#uri(unit.index)}>;tag=${unit.callId}`,
      `To: ${parts.to.startsWith('<') ? parts.to : `<${parts.to}>`}`,
      `Call-ID: ${unit.callId}`,
      `CSeq: ${unit.sequence} ${method}`,
      ...parts.more.filter((line) => line !== ''),
      'User-Agent: load',
      ...(body === '' ? [] : ['Content-Type: application/sdp']),
      `Content-Length: ${body.length}`,
    ];
    const { server } = this.#options;
    const socket = isDevice ? this.#callees : this.#callers;
    socket.send(`${lines.join('\r\n')}\r\n\r\n${body}`, server.port, server.host);
  }

  #answered(text: string): void {
    const status = Number(text.slice(8, 11));
    const unit = this.#units.get(headerOf(text, 'Call-ID'));
    if (unit === undefined || status < 200) return;
    const [sequence, method] = headerOf(text, 'CSeq').split(' ');
    // An answer that comes again, because the server has not got to our ACK yet, is not the answer to what we sent since.
    if (Number(sequence) !== unit.sequence) return;
    if (method === 'BYE') {
      if (status === 200) this.#succeed(unit);
      else this.#fail(unit, `${status} to BYE`);
      return;
    }
    if (unit.kind === 'unknown') this.#finish(unit, status, 501);
    else if (method === 'INVITE') this.#inviteAnswered(unit, status, text);
    else if (status === 401) this.#request(unit, this.#credentials(unit, 'REGISTER', text));
    else this.#finish(unit, status, 200);
  }

  #finish(unit: Unit, status: number, wanted: number): void {
    if (status !== wanted) {
      this.#fail(unit, String(status));
      return;
    }
    this.#answersMs.push(performance.now() - unit.startedMs);
    this.#succeed(unit);
  }

  #inviteAnswered(unit: Unit, status: number, text: string): void {
    const to = headerOf(text, 'To');
    const callee = this.#uri(this.#calleeOf(unit));
    if (status >= 300) {
      this.#send(unit, 'ACK', callee, { to, more: [] });
      if (status === 401 || status === 407) {
        this.#request(unit, this.#credentials(unit, 'INVITE', text));
      } else this.#fail(unit, String(status));
      return;
    }
    this.#answersMs.push(performance.now() - unit.startedMs);
    const target = /<([^>]*)>/.exec(headerOf(text, 'Contact'))?.[1] ?? callee;
    unit.branch += 'a';
    this.#send(unit, 'ACK', target, { to, more: [] });
    unit.sequence += 1;
    unit.branch += 'b';
    this.#send(unit, 'BYE', target, { to, more: [] });
  }

  /** RFC 2617 with qop=auth, for the MD5 challenge. */
  #credentials(unit: Unit, method: string, text: string): string {
    const challenge = /\r\n(WWW|Proxy)-Authenticate: ([^\r\n]*algorithm=MD5[^\r\n]*)/i.exec(text);
    const [, by = '', parameters = ''] = challenge ?? [];
    const nonce = /nonce="([^"]*)"/.exec(parameters)?.[1] ?? '';
    const realm = /realm="([^"]*)"/.exec(parameters)?.[1] ?? '';
    const user = this.#options.user(unit.index);
    const uri =
      method === 'REGISTER' ? `sip:${this.#options.domain}` : this.#uri(this.#calleeOf(unit));
    const ha1 = md5(`${user}:${realm}:${this.#options.password(unit.index)}`);
    const response = md5(`${ha1}:${nonce}:00000001:c0:auth:${md5(`${method}:${uri}`)}`);
    const name = by.toLowerCase() === 'proxy' ? 'Proxy-Authorization' : 'Authorization';
    return `${name}: Digest username="${user}", realm="${realm}", nonce="${nonce}", uri="${uri}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c0", response="${response}"`;
  }

  /** The devices of all users: they take every call. */
  #called(text: string): void {
    const [method = ''] = text.split(' ', 1);
    if (method !== 'INVITE' && method !== 'BYE') return;
    const body = method === 'INVITE' ? SDP(5000) : '';
    const to = headerOf(text, 'To');
    const via = text.match(/^Via: .*$/gim) ?? [];
    const lines = [
      'SIP/2.0 200 OK',
      ...via,
      `From: ${headerOf(text, 'From')}`,
      `To: ${to.includes(';tag=') ? to : `${to};tag=b`}`,
      `Call-ID: ${headerOf(text, 'Call-ID')}`,
      `CSeq: ${headerOf(text, 'CSeq')}`,
      `Contact: <sip:d@${HOST}:${this.#calleePort}>`,
      ...(body === '' ? [] : ['Content-Type: application/sdp']),
      `Content-Length: ${body.length}`,
    ];
    const { host, port } = this.#options.server;
    this.#callees.send(`${lines.join('\r\n')}\r\n\r\n${body}`, port, host);
  }
}

async function openSocket(): Promise<Socket> {
  const socket = createSocket({
    type: 'udp4',
    recvBufferSize: RECEIVE_BUFFER_BYTES,
    lookup: (host, _options, callback) => {
      callback(null, host, 4);
    },
  });
  // The look-up answers at once, so the event may come before `bind` returns.
  const listening = once(socket, 'listening');
  socket.bind(0, HOST);
  await listening;
  return socket;
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.floor(sorted.length * part)] ?? NaN;
}

function headerOf(text: string, name: string): string {
  const start = text.indexOf(`\r\n${name}: `);
  if (start < 0) return '';
  const valueStart = start + name.length + 4;
  return text.slice(valueStart, text.indexOf('\r\n', valueStart));
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}

/** Nanoseconds of processor time of all threads of a process (proc(5), schedstat). */
export function cpuTimeNs(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ran = '0'] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    total += Number(ran);
  }
  return total;
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return 1024 * Number(/VmRSS:\s*(\d+)/.exec(status)?.[1] ?? 0);
}
