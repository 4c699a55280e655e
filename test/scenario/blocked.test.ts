import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { LiveSwitch } from '../support/live-switch.ts';

/** A phone in a thread of its own, which goes on while the thread of the registrar stands still. */
const PHONE = `
  const { createSocket } = require('node:dgram');
  const { parentPort, workerData: { port, user, flags } } = require('node:worker_threads');
  const socket = createSocket('udp4');
  const told = [];
  const tell = (index, line) => {
    told.push(line);
    Atomics.store(flags, index, 1);
    Atomics.notify(flags, index);
  };
  socket.on('message', (message) => {
    const [line] = message.toString().split('\\r\\n');
    if (/^SIP\\/2.0 100/.test(line)) tell(0, line);
    else if (/^SIP\\/2.0 [2-6]/.test(line)) tell(1, line);
    if (told.length === 2) {
      parentPort.postMessage(told);
      socket.close();
    }
  });
  socket.bind(0, '127.0.0.1', () => {
    const own = socket.address().port;
    parentPort.on('message', () => {
      socket.send([
        'INVITE sip:' + user + ' SIP/2.0',
        'Via: SIP/2.0/UDP 127.0.0.1:' + own + ';branch=z9hG4bKblocked',
        'Max-Forwards: 70',
        'From: <sip:anna@parley.test>;tag=1',
        'To: <sip:' + user + '>',
        'Call-ID: blocked',
        'CSeq: 1 INVITE',
        'Contact: <sip:anna@127.0.0.1:' + own + '>',
        'Content-Length: 0', '', '',
      ].join('\\r\\n'), port, '127.0.0.1');
      parentPort.unref();
    });
    parentPort.postMessage('ready');
  });
`;
const TRYING = 0;
const FINAL = 1;
const PATIENCE_MS = 20_000;
const SILENCE_MS = 300;

describe('a switch whose main thread stands still', function () {
  this.timeout(60_000);
  const parley = new LiveSwitch();

  before(() => parley.start());
  after(() => parley.stop());

  it('goes on with SIP in another: the caller is told to wait, and is answered afterwards', async () => {
    const flags = new Int32Array(new SharedArrayBuffer(8));
    const workerData = { port: parley.server.port, user: `bob@${parley.domain}`, flags };
    const phone = new Worker(PHONE, { eval: true, workerData });
    const messages: unknown[] = [];
    await new Promise<void>((resolve) => {
      phone.on('message', (message) => {
        messages.push(message);
        if (message === 'ready') resolve();
      });
    });
    phone.postMessage('call');
    // From here until the last wait nothing of this thread runs, the registrar included.
    const trying = Atomics.wait(flags, TRYING, 0, PATIENCE_MS);
    const answered = Atomics.wait(flags, FINAL, 0, SILENCE_MS);
    assert.notEqual(trying, 'timed-out', 'the engine stood still, too');
    assert.equal(answered, 'timed-out', 'the registrar did not stand still, so this shows nothing');
    await new Promise((resolve) => phone.once('exit', resolve));
    const [, told] = messages as [string, string[]];
    assert.match(told[0] ?? '', /^SIP\/2\.0 100 /);
    assert.match(told[1] ?? '', /^SIP\/2\.0 401 /);
    await parley.nothingLeft(40_000);
  });
});
