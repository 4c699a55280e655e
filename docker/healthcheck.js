// Exit code 0 when the switch in this container answers OPTIONS over UDP within three seconds, else 1.

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const port = Number(process.env.PORT || process.env.PARLEY_SIP_PORT || 5060);
const id = randomBytes(8).toString('hex');
const socket = createSocket('udp4');

const finish = (code) => {
  socket.close();
  process.exit(code);
};

socket.once('error', () => finish(1));
socket.on('message', (message) => {
  if (/^SIP\/2\.0 [2-6]\d\d /.test(message.toString('latin1')) && message.includes(id)) finish(0);
});
socket.bind(0, '127.0.0.1', () => {
  const local = `127.0.0.1:${socket.address().port}`;
  const request = [
    `OPTIONS sip:127.0.0.1:${port} SIP/2.0`,
    `Via: SIP/2.0/UDP ${local};branch=z9hG4bK${id};rport`,
    'Max-Forwards: 1',
    `From: <sip:healthcheck@127.0.0.1>;tag=${id}`,
    `To: <sip:127.0.0.1:${port}>`,
    `Call-ID: ${id}@127.0.0.1`,
    'CSeq: 1 OPTIONS',
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n');
  const send = () => socket.send(request, port, '127.0.0.1');
  send();
  setInterval(send, 500);
  setTimeout(() => finish(1), 3000);
});
