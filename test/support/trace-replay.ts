/** Plays a recording of a drachtio-server against our engine, and compares what comes out with what came out then. */

import assert from 'node:assert/strict';
import { ParseError } from '../../core/errors.ts';
import { SipMessage } from '../../core/sip/message.ts';
import { NameAddr } from '../../core/sip/name-addr.ts';
import { encodeFrame, splitPayload } from '../../registrar/engine/control/frame.ts';
import type { Listener, Transport } from '../../registrar/engine/seam.ts';
import { EngineLab, type LabApplication, type LabPeer, type Report } from './engine-lab.ts';

const CRLF = '\r\n';
/** How long an answer may take longer than it took then, because of a different choice of timers. */
const PATIENCE_MS = 2_000;
const STEP_MS = 10;

/** One line of the recording: `>>>` what came in, `<<<` what came out. */
export type TraceEvent = {
  readonly isInput: boolean;
  readonly atMs: number;
  /** `application`, `bytes`, `sip` or a stream transport that opens or closes. */
  readonly kind: string;
  /** Connection number, or the port that it comes from and the port that it goes to. */
  readonly from: string;
  readonly to: string;
  readonly word: string;
  readonly text: string;
};

/** Reads the form in which the recordings are kept; line ends are LF there and CRLF here. */
export function parseTrace(text: string): TraceEvent[] {
  const blocks = text.split(/^(?=(?:>>>|<<<) )/m).slice(1);
  return blocks.map((block) => {
    const newline = block.indexOf('\n');
    const [mark, at, kind = '', from = '', ...rest] = block.slice(0, newline).split(' ');
    const isApplication = kind === 'application' || kind === 'bytes';
    const [to = '', word = ''] = isApplication ? ['', ...rest] : rest;
    const body = block.slice(newline + 1).replace(/^# .*\n/gm, '');
    const content = body.endsWith('\n') ? body.slice(0, -1) : body;
    return {
      isInput: mark === '>>>',
      atMs: Number(at) * 1000,
      kind,
      from,
      to,
      word,
      text: content.replaceAll('\n', CRLF),
    };
  });
}

/** Where we do better than the recorded server, and therefore differ. */
export type Differences = {
  /** What stands instead of something recorded: nothing, something else, or more. */
  readonly adjust?: (event: TraceEvent) => readonly TraceEvent[];
  /** UDP ports at which nobody listens. */
  readonly unreachablePorts?: readonly number[];
  /** Headers that we add. */
  readonly extraHeaders?: readonly string[];
  /** Start lines of what we send to peers and applications beyond the recording. */
  readonly extraSent?: readonly string[];
  readonly extraReports?: readonly string[];
};

type Channel = { readonly expected: TraceEvent[]; readonly name: string };

export class TraceReplay {
  readonly lab: EngineLab;
  readonly #events: readonly TraceEvent[];
  readonly #differences: Differences;
  readonly #applications = new Map<string, LabApplication>();
  readonly #peers = new Map<string, LabPeer>();
  readonly #channels = new Map<string, Channel>();
  /** What the recording calls something, and what it is called now. */
  readonly #names = new Map<string, string>();
  /** Per port: what the peer has sent and received, to complete messages of which only a part was recorded. */
  readonly #requestsAt = new Map<string, SipMessage>();
  readonly #responsesAt = new Map<string, SipMessage>();
  readonly #invitesFrom = new Map<string, SipMessage>();
  readonly #sentTo = new Map<string, SipMessage[]>();
  /** How far the recording has come. */
  #recordedMs = 0;
  #count = 0;

  constructor(text: string, differences: Differences = {}) {
    this.#events = parseTrace(text);
    this.#differences = differences;
    this.lab = new EngineLab({
      listeners: listenersOf(text),
      hasCallRecords: text.includes('|cdr:'),
    });
    for (const port of differences.unreachablePorts ?? []) this.lab.unreachable.add(port);
  }

  run(): void {
    this.#recordedMs = this.#events[0]?.atMs ?? 0;
    for (const event of this.#events.flatMap((recorded) => this.#adjusted(recorded))) {
      if (!event.isInput) {
        this.#channel(event).expected.push(event);
        continue;
      }
      this.#settle();
      this.#pass(event.atMs - this.#recordedMs);
      this.#settle();
      this.#feed(event);
    }
    this.#settle();
    this.#assertNothingMore();
  }

  #adjusted(event: TraceEvent): readonly TraceEvent[] {
    return this.#differences.adjust?.(event) ?? [event];
  }

  #channel(event: TraceEvent): Channel {
    const name = event.kind === 'application' ? `application ${event.from}` : `sip ${event.to}`;
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { expected: [], name };
      this.#channels.set(name, channel);
    }
    return channel;
  }

  #pass(ms: number): void {
    if (ms <= 0) return;
    this.lab.advance(ms);
    this.#recordedMs += ms;
  }

  /** Compares what has come out; what is missing may come when it came then, or a little later. */
  #settle(): void {
    const missing = [...this.#channels.values()].flatMap(({ expected }) => expected);
    const until = Math.max(...missing.map(({ atMs }) => atMs)) + PATIENCE_MS;
    while (!this.#matchAll() && this.#recordedMs < until) this.#pass(STEP_MS);
    for (const { expected, name } of this.#channels.values()) {
      const [missing] = expected;
      const came = [...(this.#applications.get(name.split(' ')[1] ?? '')?.reports ?? [])];
      assert.equal(
        missing,
        undefined,
        `${name}: did not come:\n${missing?.text ?? ''}\nwhat came:\n${came.map(({ text }) => text).join('\n')}`,
      );
    }
  }

  /** @returns whether nothing is missing */
  #matchAll(): boolean {
    this.#collectSent();
    for (const { expected } of this.#channels.values()) {
      for (let at = 0; at < expected.length;) {
        const event = expected[at];
        assert.ok(event);
        const isMatched =
          event.kind === 'application' ? this.#matchReport(event) : this.#matchSent(event);
        if (isMatched) expected.splice(at, 1);
        // What the engine makes up by itself comes a moment later here, others need not wait for it.
        else if (isInvented(event)) at += 1;
        else break;
      }
    }
    return [...this.#channels.values()].every(({ expected }) => expected.length === 0);
  }

  #collectSent(): void {
    for (const { remote, message } of this.lab.sent.splice(0)) {
      const port = String(remote.port);
      this.#sentTo.set(port, [...(this.#sentTo.get(port) ?? []), message]);
      if (message.isRequest && message.method !== 'ACK') this.#requestsAt.set(port, message);
      if (!message.isRequest) this.#responsesAt.set(port, message);
    }
  }

  #matchSent(event: TraceEvent): boolean {
    const peer = this.#peers.get(event.to);
    if (event.text.trim() === '') return peer?.other.shift() !== undefined;
    const queue = this.#sentTo.get(event.to) ?? [];
    const [next] = queue;
    if (next === undefined) return false;
    const wanted = this.#renamed(event.text.split(CRLF)[0] ?? '').replace(/ SIP\/2\.0$/, '');
    assert.equal(startLine(next), wanted, `to port ${event.to}`);
    queue.shift();
    return true;
  }

  #matchReport(event: TraceEvent): boolean {
    const application = this.#applications.get(event.from);
    assert.ok(application);
    if (event.word === 'closes') return application.isClosed;
    const { fields, sip: text } = splitPayload(Buffer.from(this.#renamed(event.text), 'utf8'));
    const queue = application.reports;
    const at = isInvented(event) ? queue.findIndex((report) => isSameKind(report, fields)) : 0;
    const report = queue[at];
    if (report === undefined) return false;
    if (isInventedReport(report) && !isInvented(event)) {
      // Ours came earlier than theirs: it waits for its turn.
      const later = queue.findIndex((candidate) => !isInventedReport(candidate));
      if (later < 0) return false;
      queue.unshift(...queue.splice(later, 1));
      return this.#matchReport(event);
    }
    this.#compareReport({ fields, text }, report, event);
    queue.splice(at, 1);
    return true;
  }

  #compareReport(
    wanted: { fields: readonly string[]; text: Buffer | undefined },
    report: Report,
    event: TraceEvent,
  ): void {
    const context = `wanted:\n${event.text}\ngot:\n${report.text}`;
    const actual = report.sip;
    if (wanted.text !== undefined && wanted.text.length > 0) {
      assert.ok(actual, context);
      this.#learn(SipMessage.parse(wanted.text), actual);
    }
    const { fields } = wanted;
    this.#learnId(fields, report.fields);
    const renamed = fields.map((field) => this.#renamed(field));
    assert.equal(report.fields.length, renamed.length, `number of fields\n${context}`);
    for (const [index, field] of renamed.entries()) {
      this.#compareField(index, field, report, context);
    }
    if (actual !== undefined && wanted.text !== undefined) {
      this.#compareMessage(
        SipMessage.parse(Buffer.from(this.#renamed(wanted.text.toString('utf8')), 'utf8')),
        actual,
        context,
      );
    }
  }

  #compareField(index: number, wanted: string, report: Report, context: string): void {
    const got = report.fields[index] ?? '';
    if (index === 0 || /^\d\d:\d\d:\d\d\.\d{6}$/.test(wanted)) {
      if (index > 0) assert.match(got, /^\d\d:\d\d:\d\d\.\d{6}$/, context);
      return;
    }
    if (isByteCount(report.fields, index)) {
      assert.equal(got === '0', wanted === '0', `bytes\n${context}`);
      return;
    }
    // The transport is left out there once it has been released.
    if (wanted === '' && isProto(report.fields, index)) return;
    if (/^v\d+\.\d+\.\d+/.test(wanted)) {
      assert.match(got, /^v0\.9\.10/, context);
      return;
    }
    if (/^(?:udp|tcp|ws)\/.*,/.test(wanted)) {
      assert.deepEqual(new Set(got.split(',')), new Set(wanted.split(',')), context);
      return;
    }
    assert.equal(got, wanted, `field ${index}\n${context}`);
  }

  #compareMessage(wanted: SipMessage, actual: SipMessage, context: string): void {
    assert.equal(startLine(actual), startLine(wanted), context);
    const wantedHeaders = headersOf(wanted);
    const actualHeaders = headersOf(actual);
    for (const name of this.#differences.extraHeaders ?? []) {
      if (!wantedHeaders.some((line) => line.startsWith(`${name}:`))) {
        removeWhere(actualHeaders, (line) => line.startsWith(`${name}:`));
      }
    }
    assert.deepEqual(actualHeaders, wantedHeaders, context);
    assert.equal(actual.body.toString('utf8'), wanted.body.toString('utf8'), context);
  }

  /** Notes what the recorded names of transactions, dialogs and tags are now. */
  #learn(wanted: SipMessage, actual: SipMessage): void {
    const pairs: [string | undefined, string | undefined][] = [
      [wanted.header('Call-ID'), actual.header('Call-ID')],
      [tagOf(wanted, 'From'), tagOf(actual, 'From')],
      [tagOf(wanted, 'To'), tagOf(actual, 'To')],
      [branchOf(wanted), branchOf(actual)],
      [wanted.header('RSeq'), actual.header('RSeq')],
      [numberOf(wanted), numberOf(actual)],
    ];
    for (const [old, now] of pairs) this.#name(old, now);
  }

  /** The transaction id in a leader: its place depends on the kind of message. */
  #learnId(wanted: readonly string[], actual: readonly string[]): void {
    const at = wanted[1] === 'response' ? 10 : 8;
    if (/^[0-9a-f]{8}-/.test(wanted[at] ?? '')) this.#name(wanted[at], actual[at]);
  }

  #name(old: string | undefined, now: string | undefined): void {
    if (old === undefined || now === undefined || old === now || old === '' || now === '') return;
    // Short numbers occur everywhere and are never chosen by the server.
    if (/^\d{1,5}$/.test(old)) return;
    this.#names.set(old, now);
  }

  #renamed(text: string): string {
    let result = text;
    for (const [old, now] of this.#names) result = result.replaceAll(old, now);
    return result;
  }

  #feed(event: TraceEvent): void {
    switch (event.kind) {
      case 'application':
        this.#feedApplication(event);
        return;
      case 'bytes':
        this.#application(event.from).sendBytes(
          Buffer.from(JSON.parse(event.text) as string, 'utf8'),
        );
        return;
      case 'sip':
        this.#feedSip(event);
        return;
      default:
        if (event.word === 'opens') {
          const transport = event.kind as Transport;
          this.#peers.set(event.from, this.lab.streamPeer(Number(event.from), transport));
        } else this.#peers.get(event.from)?.close();
    }
  }

  #application(connection: string): LabApplication {
    let application = this.#applications.get(connection);
    if (application === undefined) {
      application = this.lab.connectApplication();
      this.#applications.set(connection, application);
    }
    return application;
  }

  #feedApplication(event: TraceEvent): void {
    const application = this.#application(event.from);
    if (event.word === 'closes') {
      application.close();
      return;
    }
    // The Content-Length of an application may be wrong, and must not matter.
    const { fields, sip: text } = splitPayload(Buffer.from(this.#renamed(event.text), 'utf8'));
    const leader = fields.join('|');
    application.sendBytes(text === undefined ? encodeFrame(leader) : encodeFrame(leader, text));
  }

  #feedSip(event: TraceEvent): void {
    let peer = this.#peers.get(event.from);
    if (peer === undefined) {
      peer = this.lab.udpPeer(Number(event.from));
      this.#peers.set(event.from, peer);
    }
    if (event.text.trim() === '') {
      peer.send(Buffer.from(event.text, 'utf8'));
      return;
    }
    const text = this.#completed(event, this.#renamed(event.text));
    const bytes = Buffer.from(text, 'utf8');
    const message = SipMessage.parse(bytes);
    if (message.method === 'INVITE') this.#invitesFrom.set(event.from, message);
    peer.send(bytes);
  }

  /** A message of which only the start line and some headers are known: the others follow from what went before. */
  #completed(event: TraceEvent, text: string): string {
    const end = text.indexOf(CRLF + CRLF);
    const head = (end < 0 ? text : text.slice(0, end)).split(CRLF).filter((line) => line !== '');
    const body = end < 0 ? '' : text.slice(end + 4);
    const [first = '', ...given] = head;
    if (given.some((line) => line.startsWith('Via:'))) return text;
    const has = (line: string): boolean =>
      given.some((other) => other.startsWith(line.slice(0, line.indexOf(':') + 1)));
    const derived = first.startsWith('SIP/')
      ? this.#responseHeaders(event.from, Number(first.split(' ')[1]) < 300)
      : this.#requestHeaders(event, first.split(' ')[0] ?? '');
    const lines = [...derived.filter((line) => !has(line)), ...given];
    return [first, ...lines, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join(CRLF);
  }

  #responseHeaders(port: string, makesDialog: boolean): string[] {
    this.#collectSent();
    const request = this.#requestsAt.get(port);
    assert.ok(request, `no request has reached port ${port}`);
    const lines = (name: string): string[] =>
      request.headerFields(name).map((value) => `${name}: ${value}`);
    const names = [
      'Via',
      'From',
      'To',
      'Call-ID',
      'CSeq',
      ...(makesDialog ? ['Record-Route'] : []),
    ];
    return names.flatMap(lines);
  }

  // eslint-disable-next-line complexity -- the rules for the four kinds of request belong together
  #requestHeaders(event: TraceEvent, method: string): string[] {
    this.#collectSent();
    this.#count += 1;
    const invite = this.#invitesFrom.get(event.from);
    const response = this.#responsesAt.get(event.from);
    assert.ok(invite, `no INVITE has left port ${event.from}`);
    const isFailureAck = method === 'ACK' && (response?.statusCode ?? 0) >= 300;
    const isNew = method === 'INVITE' || method === 'CANCEL';
    const value = (message: SipMessage | undefined, name: string): string =>
      message?.header(name) ?? '';
    const fresh = `SIP/2.0/UDP 127.0.0.1:${event.from};branch=z9hG4bKmade${this.#count}`;
    const routes = isNew || isFailureAck ? [] : (response?.headerValues('Record-Route') ?? []);
    const number = invite.cseq.sequence + (method === 'BYE' ? 1 : 0);
    return [
      `Via: ${isFailureAck ? value(invite, 'Via') : fresh}`,
      'Max-Forwards: 70',
      `From: ${value(invite, 'From')}`,
      `To: ${value(isNew ? invite : response, 'To')}`,
      `Call-ID: ${isNew ? 'another-' : ''}${invite.callId}`,
      `CSeq: ${number} ${method}`,
      ...routes.map((route) => `Route: ${route}`),
      ...(method === 'INVITE' ? [`Contact: ${value(invite, 'Contact')}`] : []),
    ];
  }

  #assertNothingMore(): void {
    const { extraSent = [], extraReports = [] } = this.#differences;
    // Ports that the recording does not show may have received anything, then as now.
    const shown = [...this.#sentTo].filter(([port]) => this.#channels.has(`sip ${port}`));
    const sent = shown.flatMap(([, messages]) => messages).map(startLine);
    assert.deepEqual(sent, extraSent, 'sent to peers beyond the recording');
    const reports = [...this.#applications.values()].flatMap((application) => application.reports);
    const texts = reports.map(({ text }) => text.split(CRLF)[1] ?? text);
    assert.deepEqual(texts, extraReports, 'told to applications beyond the recording');
  }
}

function listenersOf(text: string): Listener[] {
  const list = /\|OK\|(\S+?)\|v\d/.exec(text)?.[1] ?? '';
  return list.split(',').map((entry, index) => {
    const [transport = 'udp', address = ''] = entry.split('/');
    const colon = address.lastIndexOf(':');
    const local = { address: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
    return { id: index + 1, transport: transport as Transport, local, external: undefined };
  });
}

/** A failure that no peer sent: zero bytes, no address. */
function isInvented({ text }: TraceEvent): boolean {
  return /^[^\r]*\|sip\|network\|0\|/.test(text);
}

function isInventedReport({ fields }: Report): boolean {
  return fields[1] === 'sip' && fields[2] === 'network' && fields[3] === '0';
}

function isSameKind(report: Report, fields: readonly string[]): boolean {
  return isInventedReport(report) && report.fields[8] === fields[8];
}

/** Where the size of the message stands in a leader. */
function isByteCount(fields: readonly string[], index: number): boolean {
  if (fields[1] === 'sip') return index === 3;
  return fields[1] === 'response' && fields.length > 8 && index === 5;
}

function isProto(fields: readonly string[], index: number): boolean {
  return isByteCount(fields, index - 1);
}

function startLine(message: SipMessage): string {
  return message.isRequest
    ? `${message.method} ${message.requestUri}`
    : `SIP/2.0 ${message.statusCode} ${message.reasonPhrase}`;
}

/** All headers in one spelling, sorted; what is chosen anew each time is left out. */
function headersOf(message: SipMessage): string[] {
  const lines: string[] = [];
  message.forEachHeader((_id, name, value) => {
    if (name === 'Content-Length') return;
    for (const element of name === 'Via' ? message.headerValues('Via') : [value]) {
      const line = `${name}: ${normalised(name, element)}`;
      if (!(name === 'Via' && lines.includes(line))) lines.push(line);
    }
  });
  return lines.sort();
}

function normalised(name: string, value: string): string {
  if (name === 'Via') return value.replace(/;(?:rport|received|branch)(?:=[^;]*)?/g, '');
  if (name !== 'From' && name !== 'To' && name !== 'Contact')
    return value.replaceAll(/\s*,\s*/g, ', ');
  try {
    const address = NameAddr.parse(value);
    // The recorded server puts the transport of a bare address behind it; it belongs inside.
    return address
      .withoutParam('transport')
      .toString()
      .replace(/;transport=\w+/, '');
  } catch (error) {
    if (error instanceof ParseError) return value;
    throw error;
  }
}

function tagOf(message: SipMessage, name: string): string | undefined {
  return /;tag=([^;\s]+)/.exec(message.header(name) ?? '')?.[1];
}

function branchOf(message: SipMessage): string | undefined {
  return /;branch=([^;\s,]+)/.exec(message.header('Via') ?? '')?.[1];
}

function numberOf(message: SipMessage): string | undefined {
  return /^\d+/.exec(message.header('CSeq') ?? '')?.[0];
}

function removeWhere(lines: string[], matches: (line: string) => boolean): void {
  for (let at = lines.length - 1; at >= 0; at -= 1) {
    if (matches(lines[at] ?? '')) lines.splice(at, 1);
  }
}
