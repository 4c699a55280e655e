import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  RtpHeader,
  composeRtpPacket,
  datagramKind,
  parseRtpPacket,
} from '../../../../core/rtp/packet.ts';

const PACKET = {
  payloadType: 96,
  marker: true,
  sequenceNumber: 65535,
  rtpTimestamp: 4294967295,
  ssrc: 0xdeadbeef,
  payload: Uint8Array.of(1, 2, 3),
};

/** Version 2, one CSRC, a header extension of one word, four bytes of padding. */
const FULL = Buffer.from(
  'b1e0ffff' +
    'ffffffff' +
    'deadbeef' +
    '00000001' +
    'bede0001' +
    '10aa0000' +
    '010203' +
    '00000004',
  'hex',
);

describe('RTP packet (RFC 3550 §5.1)', () => {
  it('composes and parses the same packet', () => {
    assert.deepEqual(parseRtpPacket(composeRtpPacket(PACKET)), PACKET);
  });

  it('skips CSRCs and extension and takes the padding off', () => {
    assert.deepEqual(parseRtpPacket(FULL), PACKET);
  });

  it('reads with the header in place what the library reads', () => {
    const header = new RtpHeader();
    assert.equal(header.read(FULL), true);
    assert.deepEqual(FULL.subarray(header.payloadStart, header.payloadEnd), Buffer.of(1, 2, 3));
    const { payloadType, marker, sequenceNumber, rtpTimestamp, ssrc } = header;
    const { payload } = PACKET;
    assert.deepEqual({ payloadType, marker, sequenceNumber, rtpTimestamp, ssrc, payload }, PACKET);
  });

  it('refuses every prefix that ends inside header, CSRCs or extension', () => {
    const header = new RtpHeader();
    for (let length = 0; length < 24; length++) {
      assert.equal(parseRtpPacket(FULL.subarray(0, length)), undefined, `${length} bytes`);
      assert.equal(header.read(FULL, length), false, `${length} bytes`);
    }
  });

  it('refuses other versions and impossible padding', () => {
    const header = new RtpHeader();
    const version = Buffer.from(FULL);
    version[0] = 0x71;
    const zero = Buffer.from(FULL);
    zero[zero.length - 1] = 0;
    const long = Buffer.from(FULL);
    long[long.length - 1] = 255;
    for (const bytes of [version, zero, long]) {
      assert.equal(header.read(bytes), false);
      assert.equal(parseRtpPacket(bytes), undefined);
    }
  });

  it('never throws, and both readers agree on what is a packet', () => {
    const header = new RtpHeader();
    const bytes = fc
      .tuple(fc.constantFrom(0x80, 0x90, 0xa0, 0xb3, 0x8f), fc.uint8Array({ maxLength: 80 }))
      .map(([first, rest]) => Uint8Array.of(first, ...rest));
    fc.assert(
      fc.property(bytes, (datagram) => {
        if (datagramKind(datagram) !== 'rtp') return;
        const parsed = parseRtpPacket(datagram);
        const isRead = header.read(datagram);
        if (parsed === undefined) return;
        assert.equal(isRead, true);
        assert.equal(parsed.payload.length, header.payloadEnd - header.payloadStart);
      }),
      { seed: 3550, numRuns: 2000 },
    );
  });

  it('tells RTP from RTCP on one port (RFC 5761 §4)', () => {
    assert.equal(datagramKind(Buffer.from('80c80006' + '00000000', 'hex')), 'rtcp');
    assert.equal(datagramKind(FULL), 'rtp');
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.of(0x80),
      Buffer.alloc(20),
      FULL.subarray(0, 11),
    ]) {
      assert.equal(datagramKind(bytes), undefined);
    }
  });
});
