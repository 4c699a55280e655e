/**
 * A program that throws datagrams at an address until it is told to stop, a third each of REGISTER, OPTIONS and garbage:
 * `<address> <port> <per second> <own address>`.
 */

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';

const [address = '', port = '', perSecond, own = ''] = process.argv.slice(2);
const STEP_MS = 5;
/** What could not be sent for longer than this is not made up for: that would be another flood than the one asked for. */
const CATCH_UP_MS = 250;

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
      `Via: SIP/2.0/UDP ${address}:${port};branch=z9hG4bKnever`,
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
let sent = 0;

/** A new one each time: another transaction, another call. */
function request(method: 'REGISTER' | 'OPTIONS', ownPort: number): Buffer {
  return Buffer.from(
    [
      `${method} sip:parley.test SIP/2.0`,
      `Via: SIP/2.0/UDP ${own}:${ownPort};branch=z9hG4bKflood${sent}`,
      'Max-Forwards: 70',
      `From: <sip:flood${sent}@parley.test>;tag=f${sent}`,
      `To: <sip:flood${sent}@parley.test>`,
      `Call-ID: flood${sent}`,
      `CSeq: 1 ${method}`,
      `Contact: <sip:flood${sent}@${own}:${ownPort}>`,
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
  );
}

function next(ownPort: number): Buffer {
  const turn = Math.floor(sent / 3);
  switch (sent % 3) {
    case 0:
      return request('REGISTER', ownPort);
    case 1:
      return request('OPTIONS', ownPort);
    default:
      return GARBAGE[turn % GARBAGE.length] ?? Buffer.alloc(0);
  }
}

function ignore(): void {
  // A full queue on our side is not what is looked at.
}

socket.bind(0, own, () => {
  const { port: ownPort } = socket.address();
  const startedMs = performance.now();
  let missed = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startedMs) * Number(perSecond)) / 1000 - missed - sent;
    const count = Math.floor(Math.min(due, (CATCH_UP_MS * Number(perSecond)) / 1000));
    missed += due - count >= 1 ? due - count : 0;
    for (let i = 0; i < count; i += 1) {
      socket.send(next(ownPort), Number(port), address, ignore);
      sent += 1;
    }
  }, STEP_MS);
  process.once('SIGTERM', () => {
    clearInterval(timer);
    socket.close();
    process.stdout.write(`sent ${sent}\n`);
  });
  process.stdout.write('floods\n');
});
