import assert from 'node:assert/strict';
import fc from 'fast-check';
import { encodeFrame } from '../../registrar/engine/control/frame.ts';
import { EngineLab, sip, type LabApplication, type LabPeer } from '../support/engine-lab.ts';
import { checkProperty } from '../support/fuzz.ts';
import { requestFrom, SDP } from '../support/sip-texts.ts';

const METHODS = [
  'INVITE',
  'ACK',
  'BYE',
  'CANCEL',
  'OPTIONS',
  'REGISTER',
  'MESSAGE',
  'SUBSCRIBE',
  'NOTIFY',
  'REFER',
  'INFO',
  'UPDATE',
  'PRACK',
  'PUBLISH',
  'X',
];
const VERBS = ['invite', 'register', 'options', 'message', 'subscribe', 'refer', 'publish'];
const PEERS = 4;

/** One thing that happens to the engine; numbers choose among what is there by then. */
type Step =
  | {
      readonly kind: 'request';
      readonly peer: number;
      readonly method: string;
      readonly fields: Fields;
    }
  | {
      readonly kind: 'reply';
      readonly peer: number;
      readonly which: number;
      readonly status: number;
    }
  | { readonly kind: 'echo'; readonly peer: number; readonly which: number; readonly spoil: Spoil }
  | { readonly kind: 'bytes'; readonly peer: number; readonly bytes: Uint8Array }
  | {
      readonly kind: 'answer';
      readonly which: number;
      readonly status: number;
      readonly text: Answer;
    }
  | {
      readonly kind: 'command';
      readonly leader: string;
      readonly text: string;
      readonly spoil: Spoil;
    }
  | { readonly kind: 'inDialog'; readonly which: number; readonly method: string }
  | { readonly kind: 'proxy'; readonly which: number }
  | { readonly kind: 'controlBytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'close'; readonly peer: number }
  | { readonly kind: 'reconnect' }
  | { readonly kind: 'time'; readonly ms: number };

type Fields = {
  readonly callId: string;
  readonly fromTag: string;
  readonly branch: string;
  readonly sequence: number;
  readonly hasToTag: boolean;
  readonly body: string;
  readonly headers: readonly string[];
  readonly spoil: Spoil;
};

/** What happens to bytes on their way: a piece is written over, cut out, or the end is missing. */
type Spoil = {
  readonly at: number;
  readonly piece: string;
  readonly cut: number;
  readonly pieces: number;
};
type Answer = { readonly headers: readonly string[]; readonly body: string };

const few = (...values: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...values);
const spoil: fc.Arbitrary<Spoil> = fc.oneof(
  { arbitrary: fc.constant({ at: 0, piece: '', cut: 0, pieces: 1 }), weight: 4 },
  {
    arbitrary: fc.record({
      at: fc.nat(600),
      piece: fc.oneof(
        fc.string({ maxLength: 6 }),
        few(
          '\r\n',
          '\r\n\r\n',
          '\0',
          '<',
          '>',
          '"',
          ';tag=',
          '%',
          ',',
          ': ',
          ' ',
          '\r\n ',
          '999999999999',
        ),
      ),
      cut: fc.nat(40),
      pieces: fc.integer({ min: 1, max: 12 }),
    }),
    weight: 2,
  },
);
const header = fc.oneof(
  few(
    'Supported: 100rel, timer',
    'Require: 100rel',
    'Session-Expires: 90;refresher=uac',
    'Session-Expires: 1',
    'Min-SE: 90',
    'RAck: 1 1 INVITE',
    'RSeq: 1',
    'Event: presence',
    'Expires: 60',
    'Expires: 0',
    'Subscription-State: terminated',
    'Contact: *',
    'Route: <sip:127.0.0.1:5060;lr>',
    'Record-Route: <sip:10.0.0.9:5070;lr>',
    'Record-Route: <sip:10.0.0.9>, <sip:nowhere.test;lr>',
    'Max-Forwards: 0',
    'Content-Length: 99999',
    'Refer-To: <sip:x@10.0.0.3:5090>',
    'Replaces: call-1;to-tag=a;from-tag=b',
  ),
  fc.tuple(fc.string({ maxLength: 8 }), fc.string({ maxLength: 20 })).map(([n, v]) => `${n}: ${v}`),
);
const headers = fc.array(header, { maxLength: 3 });
const body = few('', '', SDP, 'v=0', 'hello');
const method = fc.constantFrom(...METHODS, 'INVITE', 'INVITE', 'INVITE');
const status = fc.constantFrom(
  100,
  180,
  183,
  200,
  200,
  200,
  202,
  302,
  401,
  407,
  486,
  487,
  503,
  603,
  99,
  700,
);
const peer = fc.nat(PEERS - 1);
const which = fc.nat(20);
const bytes = fc.uint8Array({ maxLength: 80 });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('request' as const),
      peer,
      method,
      fields: fc.record({
        callId: few('c1', 'c1', 'c2', 'c3'),
        fromTag: few('t1', 't1', 't2'),
        branch: few('z9hG4bKa', 'z9hG4bKb', 'z9hG4bKc', 'z9hG4bKd', 'z9hG4bKe', 'old'),
        sequence: fc.integer({ min: 1, max: 4 }),
        hasToTag: fc.boolean(),
        body,
        headers,
        spoil,
      }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('reply' as const), peer, which, status }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('echo' as const), peer, which, spoil }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('bytes' as const), peer, bytes }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      which,
      status,
      text: fc.record({ headers, body }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('command' as const),
      leader: fc.oneof(
        few(
          'sip||',
          'sip||',
          'sip||',
          'sip|x|',
          'sip|x|y',
          'route|message',
          'remove_route|invite',
          'proxy|x|remainInDialog',
          'ping',
          'nonsense',
          'authenticate|wrong',
        ),
        fc.string({ maxLength: 30 }),
      ),
      text: fc
        .record({
          method,
          uri: few(
            'sip:bob@10.0.0.1:5091',
            'sip:bob@10.0.0.2:5092',
            'sip:bob@10.0.0.3:5093;transport=tcp',
            'sip:bob@name.test',
            'sip:bob@nowhere.test',
            'tel:+1',
            'sip:',
            'sip:bob@127.0.0.1:5060',
          ),
          headers,
          body,
        })
        .map(({ method: verb, uri, headers: lines, body: content }) =>
          [`${verb} ${uri} SIP/2.0`, 'From: <sip:app@localhost>', ...lines, '', content].join(
            '\r\n',
          ),
        ),
      spoil,
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('inDialog' as const), which, method }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('proxy' as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('controlBytes' as const), bytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), peer }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reconnect' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('time' as const),
      ms: fc.constantFrom(0, 1, 499, 500, 4_000, 11_000, 32_000, 64_000, 190_000),
    }),
  },
);

/** An engine, phones by UDP, TCP and WebSocket, and an application that may come and go. */
class World {
  readonly lab = new EngineLab({
    limits: { flows: 50, transactions: 500, unboundAddresses: [], requestsPerSecondPerAddress: 50 },
    hasCallRecords: true,
  });
  readonly peers: LabPeer[] = [];
  application: LabApplication;
  /** Everything that an application has ever been told of by id. */
  readonly transactionIds: string[] = [];
  readonly dialogIds: string[] = [];
  #ports = 42_000;

  constructor() {
    const { lab } = this;
    lab.names.set('name.test', [
      { transport: 'udp', remote: { address: '10.0.0.1', port: 5091 } },
      { transport: 'tcp', remote: { address: '10.0.0.3', port: 5093 } },
    ]);
    lab.accept('tcp', { address: '10.0.0.3', port: 5093 }, (opened) => this.peers.push(opened));
    lab.unreachable.add(5099);
    this.peers.push(lab.udpPeer(5091, '10.0.0.1'), lab.udpPeer(5092, '10.0.0.2'));
    this.peers.push(this.#connect('tcp'), this.#connect('ws'));
    this.application = lab.application(...VERBS, 'cdr:attempt', 'cdr:start', 'cdr:stop');
  }

  // eslint-disable-next-line complexity -- one arm per kind of step reads better whole
  take(step: Step): void {
    switch (step.kind) {
      case 'request':
        this.#request(step);
        break;
      case 'reply': {
        const from = this.#peer(step.peer);
        const request =
          from &&
          pick(
            from.received.filter(({ isRequest }) => isRequest),
            step.which,
          );
        if (request === undefined) break;
        const contact = `Contact: <sip:bob@${from?.endpoint.address ?? ''}:${from?.endpoint.port ?? 0}>`;
        from?.respond(request, `${step.status} Whatever`, [contact, 'RSeq: 1'], SDP);
        break;
      }
      case 'echo': {
        const from = this.#peer(step.peer);
        const message = from && pick(from.received, step.which);
        if (from && message) sendSpoilt(from, message.bytes, step.spoil);
        break;
      }
      case 'bytes':
        this.#peer(step.peer)?.send(Buffer.from(step.bytes));
        break;
      case 'answer': {
        const { headers: lines, body: content } = step.text;
        const text = sip([`SIP/2.0 ${step.status} Whatever`, ...lines], content);
        this.application.send(`sip|${pick(this.transactionIds, step.which) ?? ''}|`, text);
        break;
      }
      case 'command': {
        const [text] = spoilt(Buffer.from(step.text), step.spoil);
        this.application.sendBytes(encodeFrame(`id|${step.leader}`, text ?? Buffer.alloc(0)));
        break;
      }
      case 'inDialog': {
        const text = `${step.method} sip:x SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n${SDP}`;
        this.application.send(`sip||${pick(this.dialogIds, step.which) ?? ''}`, text);
        break;
      }
      case 'proxy': {
        const id = pick(this.transactionIds, step.which) ?? '';
        const options = 'remainInDialog|notfull|nofollowRedirects|simultaneous|1500|60000';
        this.application.send(`proxy|${id}|${options}|sip:bob@10.0.0.1:5091|sip:bob@10.0.0.2:5092`);
        break;
      }
      case 'controlBytes':
        this.application.sendBytes(Buffer.from(step.bytes));
        break;
      case 'close':
        this.#close(step.peer);
        break;
      case 'reconnect':
        this.#restart();
        break;
      case 'time':
        this.lab.advance(step.ms);
    }
    this.#note();
  }

  /** Whoever was in something goes away, and time passes until nothing can come any more. */
  end(): void {
    this.application.close();
    this.lab.advance(600_000);
    for (const flow of this.peers) if (flow.flowId !== undefined && !flow.isClosed) flow.close();
    this.lab.advance(600_000);
  }

  #request({ peer: at, method: verb, fields }: Extract<Step, { kind: 'request' }>): void {
    const from = this.#peer(at);
    if (from === undefined) return;
    const { hasToTag, spoil: how, ...rest } = fields;
    const tagged = from.received.filter(({ isRequest }) => !isRequest).at(-1);
    const toTag = hasToTag ? safely(() => tagged?.toTag) : undefined;
    sendSpoilt(from, requestFrom(from, verb, { ...rest, toTag }), how);
  }

  #close(at: number): void {
    const closing = this.#peer(at);
    if (closing?.flowId === undefined) return;
    const { transport } = closing;
    closing.close();
    if (transport === 'tcp' || transport === 'ws') {
      this.peers[this.peers.indexOf(closing)] = this.#connect(transport);
    }
  }

  #connect(transport: 'tcp' | 'ws'): LabPeer {
    this.#ports += 1;
    return this.lab.streamPeer(this.#ports, transport);
  }

  #peer(at: number): LabPeer | undefined {
    const found = this.peers[at % this.peers.length];
    if (found?.flowId === undefined || !found.isClosed) return found;
    const { transport } = found;
    const fresh = transport === 'ws' ? this.#connect('ws') : this.#connect('tcp');
    this.peers[at % this.peers.length] = fresh;
    return fresh;
  }

  /** Keeps what the application was told, and starts another one when the engine has thrown it out. */
  #note(): void {
    for (const { fields } of this.application.reports.splice(0)) {
      const [transactionId, dialogId] = fields[1] === 'sip' ? fields.slice(8) : fields.slice(10);
      if (transactionId !== undefined && transactionId !== '') {
        this.transactionIds.push(transactionId);
      }
      if (dialogId !== undefined && dialogId !== '') this.dialogIds.push(dialogId);
    }
    if (this.application.isClosed) this.#restart();
  }

  #restart(): void {
    this.application.close();
    this.application = this.lab.application(...VERBS);
  }
}

function pick<T>(items: readonly T[], at: number): T | undefined {
  // The newest first: what is old has mostly ended.
  return items[items.length - 1 - (at % Math.max(1, items.length))];
}

function safely<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function spoilt(whole: Buffer, { at, piece, cut, pieces }: Spoil): Buffer[] {
  if (piece === '' && cut === 0 && pieces === 1) return [whole];
  const from = at % (whole.length + 1);
  const changed = Buffer.concat([
    whole.subarray(0, from),
    Buffer.from(piece),
    whole.subarray(Math.min(whole.length, from + (cut % 8))),
  ]);
  const size = Math.max(1, Math.ceil(changed.length / pieces));
  const parts: Buffer[] = [];
  for (let start = 0; start < changed.length; start += size) {
    parts.push(changed.subarray(start, start + size));
  }
  return parts;
}

/** Streams carry all pieces, datagrams the first one only: that is how a datagram is cut. */
function sendSpoilt(from: LabPeer, whole: Buffer, how: Spoil): void {
  const parts = spoilt(whole, how);
  if (from.flowId === undefined) from.send(parts[0] ?? Buffer.alloc(0));
  else for (const part of parts) if (!from.isClosed) from.send(part);
}

describe('the whole engine under fuzz', () => {
  it('never throws, puts out only messages that can be parsed, and holds nothing in the end', function () {
    this.timeout(0);
    const seen = new Set<string>();
    checkProperty(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const world = new World();
        for (const one of steps) world.take(one);
        world.end();
        const { counters, applications, ...held } = world.lab.engine.stats();
        assert.equal(applications, 0);
        assert.deepEqual(
          Object.fromEntries(Object.entries(held).filter(([, count]) => count !== 0)),
          {},
        );
        for (const label of Object.keys(counters.responsesSent)) seen.add(label);
        for (const label of Object.keys(counters.requestsSent)) seen.add(label);
      }),
      600,
    );
    // It has not only been refusing things.
    for (const label of [
      '100',
      '180',
      '200',
      '400',
      '481',
      '503',
      'INVITE',
      'BYE',
      'CANCEL',
      'ACK',
    ]) {
      assert.ok(seen.has(label), `never sent ${label}`);
    }
  });
});
