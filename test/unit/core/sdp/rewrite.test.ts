import assert from 'node:assert/strict';
import { ProtocolError } from '../../../../core/errors.ts';
import { parseSessionDescription } from '../../../../core/sdp/parse.ts';
import { rewrite } from '../../../../core/sdp/rewrite.ts';
import type { RewriteTarget } from '../../../../core/sdp/rewrite.ts';
import { BARESIP, BROWSER, LINPHONE_AVPF, sdp } from './descriptions.ts';

function rewritten(text: string, changes: Partial<RewriteTarget> = {}): string[] {
  const target = { address: '10.9.8.7', port: 30_000, rtcpPort: 30_001, ...changes };
  return rewrite(parseSessionDescription(text), target).split('\r\n').slice(0, -1);
}

/** Only in `before`, and only in `after`. */
function difference(before: string, after: readonly string[]): [string[], string[]] {
  const lines = before.split('\r\n').slice(0, -1);
  return [
    lines.filter((line) => !after.includes(line)),
    after.filter((line) => !lines.includes(line)),
  ];
}

describe('rewriting a description for a relay', () => {
  it('changes addresses and ports, and leaves every other line as it was', () => {
    assert.deepEqual(difference(BARESIP, rewritten(BARESIP)), [
      [
        'o=- 2049861 31337 IN IP4 203.0.113.9',
        'c=IN IP4 203.0.113.9',
        'm=audio 10000 RTP/AVP 96 0 101',
        'a=rtcp:10001',
      ],
      ['o=- 2049861 31337 IN IP4 10.9.8.7', 'c=IN IP4 10.9.8.7', 'm=audio 30000 RTP/AVP 96 0 101'],
    ]);
  });

  it('keeps the origin when told to', () => {
    const [, origin] = rewritten(BARESIP, { replacesOrigin: false });
    assert.equal(origin, 'o=- 2049861 31337 IN IP4 203.0.113.9');
  });

  it('makes AVP of AVPF without the feedback, and refuses the video', () => {
    const lines = rewritten(LINPHONE_AVPF, { profile: 'RTP/AVP' });
    assert.ok(lines.includes('m=audio 30000 RTP/AVP 96 97 98 0 8 18 99 100 101'));
    assert.deepEqual(
      lines.filter((line) => /rtcp-fb|rtcp-mux|VP8/u.test(line)),
      [],
    );
    assert.equal(lines.at(-1), 'm=video 0 RTP/AVPF 96');
  });

  it('makes AVPF of AVP for the answer, and takes up rtcp-mux when told to', () => {
    const lines = rewritten(BARESIP, { profile: 'RTP/AVPF', isRtcpMux: true });
    assert.ok(lines.includes('m=audio 30000 RTP/AVPF 96 0 101'));
    assert.ok(lines.includes('a=rtcp-mux'));
  });

  it('leaves feedback alone in a profile that does not change', () => {
    assert.ok(rewritten(LINPHONE_AVPF).includes('a=rtcp-fb:* ccm tmmbr'));
    const avp = LINPHONE_AVPF.replaceAll('RTP/AVPF', 'RTP/AVP');
    assert.ok(rewritten(avp).includes('a=rtcp-fb:* trr-int 1000'));
  });

  it('passes SDES keys on in a secured profile', () => {
    const crypto = 'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c29tZSBrZXkgdGhhdCBpcyBub25l';
    const lines = rewritten(sdp('m=audio 4000 RTP/SAVP 0', crypto));
    assert.ok(lines.includes('m=audio 30000 RTP/SAVP 0'));
    assert.ok(lines.includes(crypto));
  });

  it('neither adds nor removes encryption', () => {
    const isRefused = (error: unknown): boolean =>
      error instanceof ProtocolError && error.code === 'sdp.profile.unsupported';
    const secured = sdp('m=audio 4000 RTP/SAVP 0');
    assert.throws(() => rewritten(secured, { profile: 'RTP/AVP' }), isRefused);
    assert.throws(() => rewritten(BARESIP, { profile: 'RTP/SAVP' }), isRefused);
    assert.throws(() => rewritten(BROWSER), isRefused);
  });

  it('removes ICE, which would lead past the relay', () => {
    const lines = rewritten(BROWSER.replace('UDP/TLS/RTP/SAVPF', 'RTP/AVPF'));
    assert.deepEqual(
      lines.filter((line) => /candidate|ice-|fingerprint|setup|BUNDLE|rtcp:/u.test(line)),
      [],
    );
    assert.ok(lines.includes('a=mid:0'));
  });

  it('turns hold by address into hold by direction', () => {
    const lines = rewritten(sdp('m=audio 4000 RTP/AVP 0', 'c=IN IP4 0.0.0.0', 'a=sendrecv'));
    assert.deepEqual(lines.slice(-2), ['m=audio 30000 RTP/AVP 0', 'a=sendonly']);
    assert.deepEqual(
      lines.filter((line) => line.startsWith('c=')),
      ['c=IN IP4 10.9.8.7'],
    );
  });

  it('puts an address into the session where only the section had one', () => {
    const text = sdp(
      'v=0',
      'o=- 1 1 IN IP4 192.0.2.1',
      's=-',
      't=0 0',
      'm=audio 4000 RTP/AVP 0',
      'c=IN IP4 192.0.2.1',
      'm=video 5000 RTP/AVP 97',
      'c=IN IP4 192.0.2.1',
    );
    assert.deepEqual(rewritten(text), [
      'v=0',
      'o=- 1 1 IN IP4 10.9.8.7',
      's=-',
      'c=IN IP4 10.9.8.7',
      't=0 0',
      'm=audio 30000 RTP/AVP 0',
      'm=video 0 RTP/AVP 97',
    ]);
  });

  it('refuses the stream itself when the port is 0', () => {
    const lines = rewritten(BARESIP, { port: 0, profile: 'RTP/AVPF' });
    assert.equal(lines.at(-1), 'm=audio 0 RTP/AVPF 96 0 101');
  });

  it('writes IPv6, and an RTCP port that is not the next one', () => {
    const lines = rewritten(BARESIP, { address: '2001:db8::9', rtcpPort: 40_000 });
    assert.ok(lines.includes('c=IN IP6 2001:db8::9'));
    assert.ok(lines.includes('o=- 2049861 31337 IN IP6 2001:db8::9'));
    assert.ok(lines.includes('a=rtcp:40000 IN IP6 2001:db8::9'));
  });

  it('refuses a description without audio', () => {
    assert.throws(() => rewritten(sdp('m=video 5000 RTP/AVP 97')), ProtocolError);
  });
});
