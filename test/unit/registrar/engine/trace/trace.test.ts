import assert from 'node:assert/strict';
import { addressBytes } from '../../../../../registrar/engine/trace/address-bytes.ts';
import type { Captured } from '../../../../../registrar/engine/trace/captured.ts';
import { hepPacket } from '../../../../../registrar/engine/trace/hep.ts';
import { Ladder } from '../../../../../registrar/engine/trace/ladder.ts';
import { pcapFileHeader, pcapRecord } from '../../../../../registrar/engine/trace/pcap.ts';
import { redacted } from '../../../../../registrar/engine/trace/redact.ts';
import { Tap } from '../../../../../registrar/engine/trace/tap.ts';
import type { Listener } from '../../../../../registrar/engine/seam.ts';

const MESSAGE = Buffer.from(
  [
    'OPTIONS sip:bob@a.test SIP/2.0',
    'Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1',
    'From: <sip:eve@a.test>;tag=1',
    'To: <sip:bob@a.test>',
    'Call-ID: call-1',
    'CSeq: 7 OPTIONS',
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n'),
);

function captured(changes: Partial<Captured> = {}): Captured {
  return {
    timeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    direction: 'in',
    transport: 'udp',
    local: { address: '192.0.2.9', port: 5060 },
    remote: { address: '192.0.2.1', port: 5062 },
    bytes: MESSAGE,
    ...changes,
  };
}

/** RFC 1071: over a whole header, with its checksum in it, the sum is all ones. */
function foldedSum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += i + 1 < bytes.length ? bytes.readUInt16BE(i) : (bytes[i] ?? 0) << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

describe('SIP trace', () => {
  describe('taking credentials out', () => {
    it('removes answers to challenges, folded or not, and leaves the rest byte for byte', () => {
      const text = [
        'REGISTER sip:a.test SIP/2.0',
        'Authorization: Digest username="eve", response="0123456789abcdef",',
        '  cnonce="secret", nc=00000001',
        'proxy-authorization: Digest username="eve",response=abcdef',
        'WWW-Authenticate: Digest nonce="public"',
        'X-Other: response="kept"',
        '',
        'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^20',
        'ü\xff',
      ].join('\r\n');
      const clean = redacted(Buffer.from(text, 'latin1')).toString('latin1');
      assert.ok(!/0123456789abcdef|"secret"|abcdef|c2VjcmV0/.test(clean), clean);
      assert.ok(clean.includes('response="kept"') && clean.includes('nonce="public"'));
      assert.ok(clean.includes('username="eve"') && clean.endsWith('ü\xff'));
    });

    it('does not copy a message that has none', () => {
      assert.equal(redacted(MESSAGE), MESSAGE);
    });
  });

  describe('tap', () => {
    const listeners: readonly Listener[] = [
      { id: 1, transport: 'udp', local: { address: '192.0.2.9', port: 5060 }, external: undefined },
      { id: 2, transport: 'tcp', local: { address: '192.0.2.9', port: 5060 }, external: undefined },
    ];
    const remote = { address: '192.0.2.1', port: 5062 };

    it('sees datagrams both ways and streams message by message, but no keep-alives', () => {
      const seen: Captured[] = [];
      const tap = new Tap(
        listeners,
        (one) => seen.push(one),
        () => 1,
      );
      tap.input({ kind: 'datagram', listenerId: 1, remote, bytes: MESSAGE });
      tap.input({ kind: 'datagram', listenerId: 1, remote, bytes: Buffer.from('\r\n\r\n') });
      tap.output({ kind: 'sendDatagram', listenerId: 1, remote, bytes: MESSAGE });
      tap.input({ kind: 'flowAccepted', flowId: 2, listenerId: 2, remote });
      const stream = Buffer.concat([Buffer.from('\r\n\r\n'), MESSAGE, MESSAGE]);
      tap.input({ kind: 'flowBytes', flowId: 2, bytes: stream.subarray(0, 50) });
      tap.input({ kind: 'flowBytes', flowId: 2, bytes: stream.subarray(50) });
      tap.output({ kind: 'connect', flowId: 3, transport: 'tls', remote, serverName: undefined });
      tap.input({
        kind: 'flowConnected',
        flowId: 3,
        local: { address: '192.0.2.9', port: 40_000 },
      });
      tap.output({ kind: 'sendFlow', flowId: 3, bytes: MESSAGE });
      tap.input({ kind: 'flowClosed', flowId: 3, reason: 'x' });
      tap.output({ kind: 'sendFlow', flowId: 3, bytes: MESSAGE });
      assert.deepEqual(
        seen.map(({ direction, transport, local }) => `${direction} ${transport} ${local.port}`),
        ['in udp 5060', 'out udp 5060', 'in tcp 5060', 'in tcp 5060', 'out tls 40000'],
      );
      assert.ok(seen.every(({ bytes }) => bytes.equals(MESSAGE)));
    });
  });

  describe('ladder', () => {
    const plain = (changes: Partial<Captured>, ladder = new Ladder()): string =>
      ladder.line(captured(changes));

    it('draws calls that come in on the left, and calls that we make on the right', () => {
      const ladder = new Ladder();
      assert.match(plain({}, ladder), /^03:04:05\.678 +udp 192\.0\.2\.1:5062 ─ OPTIONS .*─▶ │$/);
      assert.match(plain({ direction: 'out' }, ladder), /192\.0\.2\.1:5062 ◀─.* OPTIONS .*─ │$/);
      const other = Buffer.from(MESSAGE.toString().replace('call-1', 'call-2'));
      assert.match(
        plain({ direction: 'out', bytes: other }, ladder),
        /│ ─ OPTIONS .*▶ udp 192\.0\.2\.1:5062$/,
      );
      assert.match(
        plain({ direction: 'in', bytes: other }, ladder),
        /│ ◀─.* OPTIONS .*─ udp 192\.0\.2\.1:5062$/,
      );
    });

    it('keeps columns whatever comes, and lets nobody move the cursor', () => {
      const evil = Buffer.from('\u001b[2JINVITE x SIP/2.0\r\n\r\n');
      const lines = [plain({ bytes: evil }), plain({ bytes: Buffer.alloc(9, 0x80) })];
      for (const line of lines) {
        assert.equal(line.indexOf('│'), plain({}).indexOf('│'));
        // eslint-disable-next-line no-control-regex -- control characters are what must not be there
        assert.doesNotMatch(line, /[\u0000-\u001f]/);
      }
    });
  });

  describe('pcap', () => {
    it('begins as a pcap file of raw IP', () => {
      const header = pcapFileHeader();
      assert.equal(header.readUInt32LE(0), 0xa1b2c3d4);
      assert.equal(header.readUInt32LE(20), 101);
    });

    it('writes IPv4 and UDP headers whose lengths and checksums are right', () => {
      const record = pcapRecord(captured());
      const packet = record.subarray(16);
      assert.equal(record.readUInt32LE(8), packet.length);
      assert.equal(record.readUInt32LE(0), Date.UTC(2026, 0, 2, 3, 4, 5) / 1000);
      assert.equal(record.readUInt32LE(4), 678_000);
      assert.equal(packet.readUInt16BE(2), packet.length);
      assert.equal(foldedSum(packet.subarray(0, 20)), 0xffff);
      assert.deepEqual([...packet.subarray(12, 20)], [192, 0, 2, 1, 192, 0, 2, 9]);
      assert.equal(packet.readUInt16BE(20), 5062);
      assert.equal(packet.readUInt16BE(22), 5060);
      const pseudo = Buffer.concat([packet.subarray(12, 20), Buffer.from([0, 17])]);
      const length = packet.subarray(24, 26);
      assert.equal(foldedSum(Buffer.concat([pseudo, length, packet.subarray(20)])), 0xffff);
      assert.ok(packet.subarray(28).equals(MESSAGE));
    });

    it('turns the addresses round for what we send, and writes IPv6 where either end has it', () => {
      const sent = pcapRecord(captured({ direction: 'out' })).subarray(16);
      assert.deepEqual([...sent.subarray(12, 16)], [192, 0, 2, 9]);
      const six = pcapRecord(captured({ remote: { address: '2001:db8::1', port: 1 } })).subarray(
        16,
      );
      assert.equal((six[0] ?? 0) >> 4, 6);
      assert.equal(six.subarray(8, 24).toString('hex'), '20010db8000000000000000000000001');
      assert.equal(six.subarray(24, 40).toString('hex'), '00000000000000000000ffffc0000209');
    });

    it('cuts what no IP packet can hold', () => {
      const packet = pcapRecord(captured({ bytes: Buffer.alloc(70_000, 0x61) })).subarray(16);
      assert.equal(packet.length, 65_535);
      assert.equal(packet.readUInt16BE(2), 65_535);
    });
  });

  describe('HEP3', () => {
    const chunksOf = (packet: Buffer): Map<number, Buffer> => {
      const chunks = new Map<number, Buffer>();
      for (let at = 6; at < packet.length;) {
        const length = packet.readUInt16BE(at + 4);
        chunks.set(packet.readUInt16BE(at + 2), packet.subarray(at + 6, at + length));
        at += length;
      }
      return chunks;
    };

    it('carries addresses, ports, time, agent, Call-ID and the message', () => {
      const packet = hepPacket(captured({ transport: 'tcp' }), 42);
      assert.equal(packet.subarray(0, 4).toString(), 'HEP3');
      assert.equal(packet.readUInt16BE(4), packet.length);
      const chunks = chunksOf(packet);
      const hex = (type: number): string | undefined => chunks.get(type)?.toString('hex');
      assert.equal(hex(0x01), '02');
      assert.equal(hex(0x02), '06');
      assert.equal(hex(0x03), 'c0000201');
      assert.equal(hex(0x04), 'c0000209');
      assert.equal(chunks.get(0x07)?.readUInt16BE(), 5062);
      assert.equal(chunks.get(0x08)?.readUInt16BE(), 5060);
      assert.equal(chunks.get(0x0a)?.readUInt32BE(), 678_000);
      assert.equal(hex(0x0b), '01');
      assert.equal(chunks.get(0x0c)?.readUInt32BE(), 42);
      assert.equal(chunks.get(0x11)?.toString(), 'call-1');
      assert.ok(chunks.get(0x0f)?.equals(MESSAGE));
    });

    it('never says that it is longer than 16 bits can say', () => {
      const packet = hepPacket(captured({ bytes: Buffer.alloc(70_000, 0x61) }), 1);
      assert.equal(packet.length, 65_535);
      assert.equal(packet.readUInt16BE(4), 65_535);
    });
  });

  describe('addresses as bytes', () => {
    for (const [address, hex] of [
      ['::', '0'.repeat(32)],
      ['::1', `${'0'.repeat(31)}1`],
      ['fe80::1%eth0', 'fe800000000000000000000000000001'],
      ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
      ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
      ['192.0.2.1', '00000000000000000000ffffc0000201'],
    ] as const) {
      it(address, () => {
        assert.equal(addressBytes(address, true).toString('hex'), hex);
      });
    }
  });
});
