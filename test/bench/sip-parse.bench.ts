/**
 * How fast one core reads, judges and writes SIP messages: messages per second and CPU time each.
 *
 * Run it with `npm run bench:sip-parse`; CPU time counts, so that other work on the machine disturbs little.
 */
import { SipMessage } from '../../core/sip/message.ts';
import { OutgoingMessage } from '../../core/sip/outgoing-message.ts';
import { StreamFramer } from '../../core/sip/stream-framer.ts';
import { createInviteServer, stepInviteServer } from '../../core/sip/transaction/invite-server.ts';
import { serverTransactionKey } from '../../core/sip/transaction/key.ts';
import { deriveTimers } from '../../core/sip/transaction/timers.ts';
import { parseUri } from '../../core/sip/uri.ts';
import { validateRequest } from '../../core/sip/validate.ts';
import { TimerWheel } from '../../core/timer-wheel.ts';

const WARM_UP = 30_000;
const RUN_MS = 1500;

const SDP = [
  'v=0',
  'o=- 3912 3912 IN IP4 192.0.2.1',
  's=-',
  'c=IN IP4 192.0.2.1',
  't=0 0',
  'm=audio 40000 RTP/AVP 96 0 8 101',
  'a=rtpmap:96 opus/48000/2',
  'a=rtpmap:101 telephone-event/8000',
  'a=sendrecv',
  '',
].join('\r\n');

const INVITE = Buffer.from(
  [
    'INVITE sip:bob@example.com;transport=udp SIP/2.0',
    'Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport',
    'Max-Forwards: 70',
    'To: "Bob" <sip:bob@example.com>',
    'From: "Alice" <sip:alice@example.com>;tag=1928301774',
    'Call-ID: a84b4c76e66710@pc33.example.com',
    'CSeq: 314159 INVITE',
    'Contact: <sip:alice-0x55ac69f48310@192.0.2.1:5062;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"',
    'Route: <sip:192.0.2.9;transport=udp;lr>',
    'Supported: replaces, outbound, gruu',
    'Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE',
    'User-Agent: phone/1.0 (bench)',
    'Content-Type: application/sdp',
    `Content-Length: ${SDP.length}`,
    '',
    SDP,
  ].join('\r\n'),
);

const OPTIONS = Buffer.from(
  [
    'OPTIONS sip:example.com SIP/2.0',
    'Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport',
    'Max-Forwards: 70',
    'To: <sip:example.com>',
    'From: <sip:alice@example.com>;tag=1928301774',
    'Call-ID: a84b4c76e66710@pc33.example.com',
    'CSeq: 63104 OPTIONS',
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n'),
);

const SOURCE = { address: '192.0.2.1', port: 5060, isRportForced: true };
const TIMERS = deriveTimers();
/** Whatever a case computes is added here, so that nothing is optimised away. */
let sink = 0;

/** Reads what a proxy or B2BUA decides by. */
function readRouting(message: SipMessage): number {
  const { sequence } = message.cseq;
  const { uri } = message;
  const host = uri.kind === 'sip' ? uri.host.length : 0;
  const tags = (message.fromTag?.length ?? 0) + (message.toTag?.length ?? 0);
  const lists = message.routes.length + message.contacts.length;
  const key = serverTransactionKey(message).length + message.callId.length;
  return sequence + host + tags + lists + key + (message.maxForwards ?? 70);
}

const wheel = new TimerWheel<number>(0);
let clockMs = 0;

const CASES: Readonly<Record<string, () => number>> = {
  'INVITE: parse': () => SipMessage.parse(INVITE).method.length,
  'INVITE: parse, validate': () =>
    validateRequest(SipMessage.parse(INVITE)) === undefined ? 1 : 0,
  'INVITE: parse, validate, read routing': () => {
    const message = SipMessage.parse(INVITE);
    return validateRequest(message) === undefined ? readRouting(message) : 0;
  },
  'INVITE: parse, validate, read routing, write a copy': () => {
    const message = SipMessage.parse(INVITE);
    const fault = validateRequest(message) === undefined ? 0 : 1;
    return readRouting(message) + fault + OutgoingMessage.from(message).serialise().length;
  },
  'INVITE: parse, validate, read routing, answer 180': () => {
    const message = SipMessage.parse(INVITE);
    const fault = validateRequest(message) === undefined ? 0 : 1;
    const answer = OutgoingMessage.responseTo(message, 180, { toTag: 'a6c85cf', source: SOURCE });
    return readRouting(message) + fault + answer.serialise().length;
  },
  'OPTIONS: parse, validate, answer 200': () => {
    const message = SipMessage.parse(OPTIONS);
    const fault = validateRequest(message) === undefined ? 0 : 1;
    const answer = OutgoingMessage.responseTo(message, 200, { toTag: 'a6c85cf', source: SOURCE });
    return fault + answer.serialise().length;
  },
  'OPTIONS: cut out of a stream': () => {
    const framer = new StreamFramer();
    framer.push(OPTIONS);
    return framer.next() === undefined ? 0 : 1;
  },
  'INVITE server transaction: request, 180, 486, ACK': () => {
    let { state } = stepInviteServer(createInviteServer(TIMERS, false), { kind: 'request' });
    ({ state } = stepInviteServer(state, { kind: 'respond', statusCode: 180 }));
    ({ state } = stepInviteServer(state, { kind: 'respond', statusCode: 486 }));
    return stepInviteServer(state, { kind: 'ack' }).actions.length;
  },
  'timer wheel: schedule and cancel, among others': () => {
    clockMs += 0.01;
    const handle = wheel.schedule(clockMs + 32_000, 1);
    wheel.schedule(clockMs + 500, 2);
    wheel.advance(clockMs, add);
    return wheel.cancel(handle) ? 1 : 0;
  },
  'URI: parse': () =>
    parseUri('sip:alice-0x55ac69f48310@192.0.2.1:5062;transport=udp').toString().length,
};

function add(payload: number): void {
  sink += payload;
}

function measure(run: () => number): { readonly perSecond: number; readonly cpuUs: number } {
  for (let i = 0; i < WARM_UP; i++) sink += run();
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < RUN_MS) {
    for (let i = 0; i < 1000; i++) sink += run();
    count += 1000;
  }
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { perSecond: (count / elapsedMs) * 1000, cpuUs: (user + system) / count };
}

const rows = Object.entries(CASES).map(([name, run]) => {
  const { perSecond, cpuUs } = measure(run);
  const perCpuSecond = Math.round(1e6 / cpuUs).toLocaleString('en');
  return {
    case: name,
    'per second': Math.round(perSecond).toLocaleString('en'),
    'CPU us': cpuUs.toFixed(2),
    'per CPU second': perCpuSecond,
  };
});
process.stdout.write(
  `INVITE ${INVITE.length} bytes, OPTIONS ${OPTIONS.length} bytes, Node ${process.version}\n`,
);
for (const line of rows) {
  process.stdout.write(
    `${line.case.padEnd(54)}${line['per second'].padStart(12)}/s${line['CPU us'].padStart(9)} us${line['per CPU second'].padStart(12)}/CPU s\n`,
  );
}
// An impossible result, so that the sum is needed.
if (sink === Number.MIN_VALUE) process.stdout.write('\n');
