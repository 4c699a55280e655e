import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  RtcpReceiver,
  compactNtp,
  composeRtcp,
  ntpTime,
  parseRtcp,
  roundTripMs,
  type OutgoingRtcpPacket,
} from '../../../../core/rtp/rtcp.ts';

const REPORT = {
  ssrc: 0x11223344,
  fractionLost: 3,
  cumulativeLost: -5,
  extendedHighestSequenceNumber: 70000,
  jitter: 44,
  lastSr: 4000000000,
  delaySinceLastSr: 65536,
};

const COMPOUND: readonly OutgoingRtcpPacket[] = [
  {
    kind: 'senderReport',
    ssrc: 5,
    ntpSeconds: 4000000000,
    ntpFraction: 3000000000,
    rtpTimestamp: 4294967295,
    packetCount: 7,
    octetCount: 1120,
    reports: [REPORT],
  },
  { kind: 'sourceDescription', chunks: [{ ssrc: 5, cname: 'a@example.test' }] },
  { kind: 'bye', ssrcs: [5], reason: 'going' },
];

const WIRE =
  '81c8000c' +
  '00000005' +
  'ee6b2800' +
  'b2d05e00' +
  'ffffffff' +
  '00000007' +
  '00000460' +
  ('11223344' + '03fffffb' + '00011170' + '0000002c' + 'ee6b2800' + '00010000') +
  ('81ca0006' + '00000005' + '010e' + Buffer.from('a@example.test').toString('hex') + '00000000') +
  ('81cb0003' + '00000005' + '05' + Buffer.from('going').toString('hex') + '0000');

describe('RTCP (RFC 3550 §6)', () => {
  it('composes the bytes of the wire picture', () => {
    assert.equal(Buffer.from(composeRtcp(COMPOUND)).toString('hex'), WIRE);
  });

  it('parses what it composes', () => {
    assert.deepEqual(parseRtcp(Buffer.from(WIRE, 'hex')), COMPOUND);
    const empty: OutgoingRtcpPacket = { kind: 'receiverReport', ssrc: 9, reports: [] };
    assert.deepEqual(parseRtcp(composeRtcp([empty])), [empty]);
  });

  it('keeps the edges of the cumulative loss', () => {
    for (const cumulativeLost of [0x7fffff, -0x800000, -1, 0]) {
      const reports = [{ ...REPORT, cumulativeLost }];
      const packet: OutgoingRtcpPacket = { kind: 'receiverReport', ssrc: 1, reports };
      assert.deepEqual(parseRtcp(composeRtcp([packet])), [packet]);
    }
  });

  it('passes over packets that it does not know, as long as they are framed well', () => {
    const feedback = Buffer.from('81ce0002' + '00000001' + '00000002', 'hex');
    assert.deepEqual(parseRtcp(feedback), [{ kind: 'other', packetType: 206 }]);
  });

  it('refuses every cut through a datagram', () => {
    const bytes = Buffer.from(WIRE, 'hex');
    const boundaries = [52, 52 + 28, bytes.length];
    for (let length = 0; length < bytes.length; length++) {
      const isWhole = boundaries.includes(length);
      assert.equal(parseRtcp(bytes.subarray(0, length)) !== undefined, isWhole, `${length} bytes`);
    }
  });

  it('refuses counts that do not fit and padding that cannot be', () => {
    for (const hex of ['9fc90001' + '00000001', '82cb0001' + '00000001', '81ca0001' + '00000001']) {
      assert.equal(parseRtcp(Buffer.from(hex, 'hex')), undefined, hex);
    }
    assert.equal(parseRtcp(Buffer.from('a0c90002' + '00000001' + '00000005', 'hex')), undefined);
    assert.deepEqual(parseRtcp(Buffer.from('a0c90002' + '00000001' + '00000004', 'hex')), [
      { kind: 'receiverReport', ssrc: 1, reports: [] },
    ]);
  });

  it('never throws', () => {
    const bytes = fc
      .tuple(fc.integer({ min: 0x80, max: 0xbf }), fc.constantFrom(200, 201, 202, 203, 205))
      .chain(([first, type]) =>
        fc.uint8Array({ maxLength: 120 }).map((rest) => Uint8Array.of(first, type, 0, ...rest)),
      );
    fc.assert(
      fc.property(bytes, (datagram) => {
        parseRtcp(datagram);
      }),
      { seed: 3550, numRuns: 3000 },
    );
  });

  it('tells the round trip from an echoed sender report', () => {
    const sentMs = 1_790_000_000_123;
    const receiver = new RtcpReceiver();
    const sent = { ...ntpTime(sentMs), kind: 'senderReport', ssrc: 1, rtpTimestamp: 0 } as const;
    receiver.onSenderReport({ ...sent, packetCount: 0, octetCount: 0, reports: [] }, 5000);
    const echo = receiver.echo(5250);
    assert.equal(echo.lastSr, compactNtp(ntpTime(sentMs)));
    const rtt = roundTripMs({ ...REPORT, ...echo }, sentMs + 250 + 80);
    assert.ok(rtt !== undefined && Math.abs(rtt - 80) < 0.1, String(rtt));
  });

  it('knows no round trip without an echo or with a clock that went back', () => {
    assert.equal(roundTripMs({ ...REPORT, lastSr: 0 }, 0), undefined);
    const lastSr = compactNtp(ntpTime(1_790_000_000_000));
    const report = { ...REPORT, lastSr, delaySinceLastSr: 0 };
    assert.equal(roundTripMs(report, 1_789_999_999_000), undefined);
    assert.deepEqual(new RtcpReceiver().echo(1), { lastSr: 0, delaySinceLastSr: 0 });
  });
});
