import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError } from '../../../../core/errors.ts';
import { ipVersion, isUnicast } from '../../../../core/sdp/address.ts';
import { parseSessionDescription } from '../../../../core/sdp/parse.ts';
import { serialiseParsed } from '../../../../core/sdp/serialise.ts';
import type { MediaDescription } from '../../../../core/sdp/session-description.ts';
import { BARESIP, BROWSER, LINPHONE_AVPF, LINPHONE_BARE_ANSWER, sdp } from './descriptions.ts';

function audioOf(text: string): MediaDescription {
  const media = parseSessionDescription(text).media.find(({ kind }) => kind === 'audio');
  assert.ok(media);
  return media;
}

function codecsOf(text: string): string[] {
  return audioOf(text).payloads.map(
    ({ payloadType, encoding, clockRateHz, channels }) =>
      `${payloadType} ${encoding}/${clockRateHz}/${channels}`,
  );
}

describe('session description parser (RFC 8866)', () => {
  it('reads what Linphone offers: dynamic and static types, parameters, three telephone-events', () => {
    const audio = audioOf(LINPHONE_AVPF);
    assert.deepEqual(codecsOf(LINPHONE_AVPF), [
      '96 opus/48000/2',
      '97 speex/16000/1',
      '98 speex/8000/1',
      '0 PCMU/8000/1',
      '8 PCMA/8000/1',
      '18 G729/8000/1',
      '99 telephone-event/48000/1',
      '100 telephone-event/16000/1',
      '101 telephone-event/8000/1',
    ]);
    assert.equal(audio.profile, 'RTP/AVPF');
    assert.equal(audio.address, '198.51.100.7');
    assert.equal(audio.port, 7078);
    assert.equal(audio.isRtcpMux, true);
    assert.equal(audio.payloads[5]?.parameters, 'annexb=yes');
  });

  it('takes static payload types without rtpmap', () => {
    assert.deepEqual(codecsOf(LINPHONE_BARE_ANSWER), ['0 PCMU/8000/1']);
    assert.deepEqual(codecsOf(sdp('m=audio 4000 RTP/AVP 18')), ['18 G729/8000/1']);
    assert.deepEqual(codecsOf(sdp('m=audio 4000 RTP/AVP 9 13')), ['9 G722/8000/1', '13 CN/8000/1']);
  });

  it('leaves out a dynamic payload type that nothing explains', () => {
    assert.deepEqual(codecsOf(sdp('m=audio 4000 RTP/AVP 0 120')), ['0 PCMU/8000/1']);
  });

  it('leaves out an rtpmap whose numbers make no sense', () => {
    const text = sdp(
      'm=audio 4000 RTP/AVP 96 97 98',
      'a=rtpmap:96 opus/0/2',
      'a=rtpmap:97 opus/48000/999',
      'a=rtpmap:98 opus',
    );
    assert.deepEqual(codecsOf(text), []);
  });

  it('reads ptime, maxptime and the RTCP attribute', () => {
    const audio = audioOf(
      sdp('m=audio 4000 RTP/AVP 0', 'a=ptime:30', 'a=maxptime:60', 'a=rtcp:4444 IN IP4 192.0.2.9'),
    );
    assert.equal(audio.ptimeMs, 30);
    assert.equal(audio.maxPtimeMs, 60);
    assert.deepEqual(audio.rtcp, { port: 4444, address: '192.0.2.9' });
    assert.deepEqual(audioOf(LINPHONE_BARE_ANSWER).rtcp, { port: 7079, address: undefined });
  });

  it('has no RTCP port above 65535', () => {
    assert.equal(audioOf(sdp('m=audio 65535 RTP/AVP 0')).rtcp.port, 0);
  });

  it('takes address and direction from the session where the section has none', () => {
    const text = sdp(
      'v=0',
      'o=- 1 1 IN IP6 2001:db8::1',
      's=-',
      'c=IN IP6 2001:db8::1',
      't=0 0',
      'a=sendonly',
      'm=audio 4000 RTP/AVP 0',
      'm=audio 4002 RTP/AVP 8',
      'c=IN IP4 192.0.2.77/127',
      'a=recvonly',
    );
    const [first, second] = parseSessionDescription(text).media;
    assert.equal(first?.address, '2001:db8::1');
    assert.equal(first.direction, 'sendonly');
    assert.equal(second?.address, '192.0.2.77');
    assert.equal(second.direction, 'recvonly');
  });

  for (const [written, direction] of [
    [undefined, 'sendonly'],
    ['sendrecv', 'sendonly'],
    ['sendonly', 'sendonly'],
    ['recvonly', 'inactive'],
    ['inactive', 'inactive'],
  ] as const) {
    it(`reads 0.0.0.0 with ${written ?? 'no direction'} as ${direction} (RFC 3264 §8.4)`, () => {
      const lines = ['m=audio 4000 RTP/AVP 0', 'c=IN IP4 0.0.0.0'];
      if (written !== undefined) lines.push(`a=${written}`);
      const audio = audioOf(sdp(...lines));
      assert.equal(audio.direction, direction);
      assert.equal(audio.isHeldByAddress, true);
    });
  }

  it('keeps every line, whatever it is', () => {
    for (const text of [LINPHONE_AVPF, BARESIP, BROWSER]) {
      assert.equal(serialiseParsed(parseSessionDescription(text)), text);
    }
  });

  it('accepts LF and CR as line ends, and a missing last one', () => {
    for (const end of ['\n', '\r']) {
      const text = LINPHONE_AVPF.trimEnd().replaceAll('\r\n', end);
      assert.equal(serialiseParsed(parseSessionDescription(text)), LINPHONE_AVPF);
    }
  });

  const session = ['v=0', 'o=- 1 1 IN IP4 192.0.2.1', 's=-', 'c=IN IP4 192.0.2.1', 't=0 0'];
  for (const [name, text] of [
    ['nothing', ''],
    ['text', 'hello'],
    ['another version', sdp('v=1', ...session.slice(1))],
    ['no origin', sdp('v=0', 's=-')],
    ['an origin without address', sdp('v=0', 'o=- 1 1 IN IP4')],
    ['an origin with words for numbers', sdp('v=0', 'o=- one 1 IN IP4 192.0.2.1')],
    ['an origin of the wrong family', sdp('v=0', 'o=- 1 1 IN IP6 192.0.2.1')],
    ['an octet over 255', sdp('m=audio 4000 RTP/AVP 0', 'c=IN IP4 300.1.1.1')],
    ['an address of three octets', sdp('m=audio 4000 RTP/AVP 0', 'c=IN IP4 10.0.0')],
    ['an empty address', sdp('m=audio 4000 RTP/AVP 0', 'c=IN IP4 ')],
    ['an IPv6 address with two gaps', sdp('m=audio 4000 RTP/AVP 0', 'c=IN IP6 1::2::3')],
    ['no address at all', sdp('v=0', session[1] ?? '', 's=-', 'm=audio 4000 RTP/AVP 0')],
    ['a port over 65535', sdp('m=audio 65536 RTP/AVP 0')],
    ['a negative port', sdp('m=audio -1 RTP/AVP 0')],
    ['a port of letters', sdp('m=audio x RTP/AVP 0')],
    ['no formats', sdp('m=audio 4000 RTP/AVP')],
    ['a payload type over 127', sdp('m=audio 4000 RTP/AVP 128')],
    ['a payload type of letters', sdp('m=audio 4000 RTP/AVP PCMU')],
    ['an RTCP port of letters', sdp('m=audio 4000 RTP/AVP 0', 'a=rtcp:x')],
    ['a line without a type', sdp('m=audio 4000 RTP/AVP 0', 'nonsense')],
    ['a null character', sdp('m=audio 4000 RTP/AVP 0', 'a=x:\u0000')],
    ['a line of 5000 characters', sdp('m=audio 4000 RTP/AVP 0', `a=x:${'y'.repeat(5000)}`)],
    ['70 kB', sdp(...Array<string>(1000).fill(`a=${'z'.repeat(70)}`))],
    ['100 sections', sdp(...Array<string>(100).fill('m=audio 4000 RTP/AVP 0'))],
    ['5000 lines', sdp(...Array<string>(5000).fill('a=x'))],
  ] as const) {
    it(`refuses ${name}`, () => {
      assert.throws(() => parseSessionDescription(text), ParseError);
    });
  }

  it('throws nothing but ParseError, whatever comes', () => {
    const line = fc.oneof(
      fc.constantFrom(...BARESIP.split('\r\n'), ...LINPHONE_AVPF.split('\r\n')),
      fc.string({ maxLength: 60 }),
      fc
        .tuple(fc.constantFrom('a=rtpmap:', 'a=fmtp:', 'm=audio ', 'c=IN ', 'a=rtcp:'), fc.string())
        .map(([start, rest]) => start + rest),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
        try {
          parseSessionDescription(['v=0', 'o=- 1 1 IN IP4 192.0.2.1', ...lines].join('\r\n'));
        } catch (error) {
          assert.ok(error instanceof ParseError, String(error));
        }
      }),
      { seed: 20261120, numRuns: 2000 },
    );
  });
});

describe('addresses in SDP', () => {
  for (const [address, version] of [
    ['127.0.0.1', 4],
    ['255.255.255.255', 4],
    ['256.0.0.1', undefined],
    ['01.2.3.4', undefined],
    ['1.2.3', undefined],
    ['1.2.3.4.', undefined],
    ['::', 6],
    ['::1', 6],
    ['2001:db8::1:2', 6],
    ['1:2:3:4:5:6:7:8', 6],
    ['::ffff:192.0.2.1', 6],
    ['1:2:3:4:5:6:7', undefined],
    ['1:2:3:4:5:6:7:8:9', undefined],
    ['1::2::3', undefined],
    ['fe80::1%eth0', undefined],
    ['example.com', undefined],
  ] as const) {
    it(`${address} is ${version === undefined ? 'no number' : `IPv${version}`}`, () => {
      assert.equal(ipVersion(address), version);
    });
  }

  it('can be sent to unless they mean nobody or many', () => {
    const all = ['192.0.2.1', '::1', '0.0.0.0', '::', '224.0.0.1', '255.255.255.255', 'ff02::1'];
    assert.deepEqual(all.filter(isUnicast), ['192.0.2.1', '::1']);
  });
});
