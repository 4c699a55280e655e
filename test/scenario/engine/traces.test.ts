import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { TraceReplay, type Differences, type TraceEvent } from '../../support/trace-replay.ts';

const FOLDER = path.resolve(import.meta.dirname, '../traces');

const OWN_WS = 'app@127.0.0.1:5171';

/** Where our engine does right what the recorded server does not, by recording. */
const DIFFERENCES: Readonly<Record<string, Differences>> = {
  // RFC 6665 §8.3.2: Contact is mandatory in NOTIFY, and phones refuse it without.
  '06-subscribe-notify': { extraHeaders: ['Contact'] },
  // Who has not authenticated may do nothing.
  '09-raw-errors': {
    adjust: (event) => {
      if (event.from !== '2' || event.kind !== 'application') return [event];
      if (!event.text.endsWith('pong')) return [];
      const refusal = event.text.replace('OK|pong', 'NO|incorrect secret');
      return [
        { ...event, text: refusal },
        { ...event, text: '', word: 'closes' },
      ];
    },
  },
  // Timer A: an INVITE without any answer is repeated after T1.
  '15-uac-cancel-crossing-200': {
    adjust: (event) =>
      isSent(event, 'ACK') ? [sent(event, 'INVITE sip:bob@127.0.0.1:5180'), event] : [event],
  },
  // RFC 3261 §17.1.1.3: the ACK to a failure has the Request-URI of the INVITE.
  '17-proxy-fork': {
    adjust: (event) =>
      isSent(event, 'ACK sip:127.0.0.1:5181')
        ? [sent(event, 'ACK sip:bob@127.0.0.1:5181')]
        : [event],
  },
  '18-uac-options-errors': { unreachablePorts: [9] },
  // A call whose application is gone is hung up; nobody answers the BYE, so it is repeated once in that time.
  '23-application-lost': {
    adjust: (event) => {
      if (!isSent(event, 'SIP/2.0 481') || event.atMs > 3_900) return [event];
      const bye = sent(event, 'BYE sip:caller@127.0.0.1:5190');
      return [bye, bye, event];
    },
  },
  // Our own address stands in From, not that of the peer.
  '24-websocket-flow': {
    adjust: (event) => [{ ...event, text: event.text.replaceAll('app@127.0.0.1:38366', OWN_WS) }],
  },
  // An INVITE that no application answers gets 408 after 64 s, repeated until the ACK.
  '27-app-never-answers': {
    extraSent: new Array<string>(5).fill('SIP/2.0 408 Request Timeout'),
  },
};

function isSent(event: TraceEvent, start: string): boolean {
  return event.kind === 'sip' && event.text.startsWith(start);
}

function sent(event: TraceEvent, startLine: string): TraceEvent {
  return { ...event, text: `${startLine} SIP/2.0` };
}

describe('recordings of a drachtio-server', () => {
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.trace'))) {
    const name = file.replace('.trace', '');
    it(`${name}: the same messages in the same order`, () => {
      const text = readFileSync(path.join(FOLDER, file), 'utf8');
      const replay = new TraceReplay(text, DIFFERENCES[name]);
      replay.run();
      replay.lab.assertIdle();
    });
  }
});
