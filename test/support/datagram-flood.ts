/** A program that throws datagrams at an address for some seconds: `<address> <port> <per second> <seconds>`. */

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';

const [address = '', port, perSecond, seconds] = process.argv.slice(2);
const STEP_MS = 5;

/** What breaks the parser early, late and not at all, and answers to nothing that was asked. */
const GARBAGE: readonly Buffer[] = [
  randomBytes(60),
  randomBytes(1200),
  Buffer.from('INVITE'),
  Buffer.from(`REGISTER sip:parley.test SIP/2.0\r\n${'X: y\r\n'.repeat(400)}\r\n`),
  Buffer.from('OPTIONS sip:parley.test SIP/2.0\r\nVia: SIP/2.0/UDP ;;;\r\nTo: <<<\r\n\r\n'),
  Buffer.from('SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\n\r\n'),
  Buffer.from(
    [
      'SIP/2.0 200 OK',
      'Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKnever',
      'From: <sip:a@parley.test>;tag=1',
      'To: <sip:b@parley.test>;tag=2',
      'Call-ID: nobody-asked',
      'CSeq: 1 INVITE',
      '',
      '',
    ].join('\r\n'),
  ),
];

const socket = dgram.createSocket('udp4');
const startedMs = performance.now();
let sent = 0;
const timer = setInterval(() => {
  const elapsedMs = performance.now() - startedMs;
  const due = (elapsedMs * Number(perSecond)) / 1000;
  // What could not be sent in time is not made up for at once: that would be another flood than the one asked for.
  const count = Math.min(due - sent, (4 * STEP_MS * Number(perSecond)) / 1000);
  for (let i = 0; i < count; i += 1) {
    socket.send(GARBAGE[sent % GARBAGE.length] ?? Buffer.alloc(0), Number(port), address, ignore);
    sent += 1;
  }
  if (elapsedMs < Number(seconds) * 1000) return;
  clearInterval(timer);
  socket.close();
  process.stdout.write(`sent ${sent}\n`);
}, STEP_MS);

function ignore(): void {
  // A full queue on our side is not what is looked at.
}
