import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { freePorts } from '../support/free-ports.ts';
import { Program } from '../support/program.ts';
import { SipPeer } from '../support/sip-peer.ts';

const PROGRAM = path.resolve(import.meta.dirname, '../../registrar/cli/parley.ts');
const PATIENCE_MS = 30_000;
const LOOPBACK = '127.0.0.1';
const PASSWORD = 'secret of alice';
const PCAP_MAGIC = 0xa1b2c3d4;

describe('the trace of a switch', function () {
  this.timeout(120_000);
  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'parley-trace-'));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  const parley = async (port: number, ...words: string[]): Promise<Program> =>
    Program.start(process.execPath, ['--import', 'tsx', PROGRAM, ...words], {
      name: words.join(' '),
      env: {
        ...process.env,
        PORT: String(port),
        PARLEY_DATA_FOLDER: path.join(folder, 'data'),
        PARLEY_SIP_DOMAIN: 'parley.test',
        PARLEY_SIP_LISTEN_ADDRESSES: LOOPBACK,
        PARLEY_RTP_LISTEN_ADDRESSES: LOOPBACK,
      },
    });

  it('draws a ladder, writes a pcap file and feeds a Homer server, all without credentials', async () => {
    const homer = createSocket('udp4');
    const packets: Buffer[] = [];
    homer.on('message', (packet) => packets.push(packet));
    homer.bind(0, LOOPBACK);
    await once(homer, 'listening');
    const port = await freePorts(1);
    const adding = await parley(port, 'user', 'add', 'alice', '--password-stdin');
    adding.endInput(`${PASSWORD}\n`);
    assert.equal(await adding.exited, 0, adding.describe());
    const pcapFile = path.join(folder, 'sip.pcap');
    const settings = {
      'trace.ladder': 'true',
      'trace.pcapFile': pcapFile,
      'trace.homerAddress': LOOPBACK,
      'trace.homerPort': String(homer.address().port),
      'trace.homerAgentId': '77',
    };
    const words = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const running = await parley(port, 'serve', ...words);
    try {
      await running.waitFor(/What to do next/, PATIENCE_MS);
      const server = { address: LOOPBACK, port };
      const about = { server, user: 'alice', password: PASSWORD, domain: 'parley.test' };
      const alice = await SipPeer.open(about);
      await alice.register();
      const { endpoint } = alice;
      await alice.close();
      const ladder = new RegExp(`udp ${LOOPBACK}:${endpoint.port} ◀─+ 200 OK \\(REGISTER\\) ─ │`);
      await running.waitFor(ladder, PATIENCE_MS);
      assert.match(running.errors, /─ REGISTER sip:parley\.test ─*▶ │/);
      running.signal('SIGTERM');
      assert.equal(await running.exited, 0, running.describe());

      const pcap = await readFile(pcapFile);
      assert.equal((await stat(pcapFile)).mode & 0o777, 0o600);
      assert.equal(pcap.readUInt32LE(0), PCAP_MAGIC);
      // REGISTER, 401, REGISTER with credentials, 200.
      assert.equal(packets.length, 4);
      for (const packet of packets) {
        assert.equal(packet.toString('latin1', 0, 4), 'HEP3');
        assert.equal(packet.readUInt16BE(4), packet.length);
      }
      const texts = [pcap, Buffer.concat(packets)].map((bytes) => bytes.toString('latin1'));
      for (const text of texts) {
        assert.equal(text.match(/REGISTER sip:parley\.test SIP\/2\.0\r\n/g)?.length, 2);
        assert.equal(text.match(/SIP\/2\.0 200 OK\r\n/g)?.length, 1);
        assert.equal(text.match(/\bresponse="\[removed\]"/g)?.length, 1);
        assert.doesNotMatch(text, /\b(?:response|cnonce)="[\da-f]/);
      }
    } finally {
      await running.stop();
      homer.close();
    }
  });
});
