/** Descriptions as phones write them, and a short way to write others. */

const CRLF = '\r\n';

/** Joins lines; the session part comes first unless `lines` brings its own. */
export function sdp(...lines: readonly string[]): string {
  const hasSession = lines[0]?.startsWith('v=') === true;
  const session = ['v=0', 'o=- 7 3 IN IP4 192.0.2.1', 's=-', 'c=IN IP4 192.0.2.1', 't=0 0'];
  return [...(hasSession ? [] : session), ...lines, ''].join(CRLF);
}

/** Linphone with AVPF and mux: three telephone-events, G.729 without rtpmap, feedback attributes, and video. */
export const LINPHONE_AVPF = sdp(
  'v=0',
  'o=bob 1187 2938 IN IP4 198.51.100.7',
  's=Talk',
  'c=IN IP4 198.51.100.7',
  't=0 0',
  'a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics',
  'm=audio 7078 RTP/AVPF 96 97 98 0 8 18 99 100 101',
  'a=rtpmap:96 opus/48000/2',
  'a=fmtp:96 useinbandfec=1',
  'a=rtpmap:97 speex/16000',
  'a=fmtp:97 vbr=on',
  'a=rtpmap:98 speex/8000',
  'a=fmtp:98 vbr=on',
  'a=fmtp:18 annexb=yes',
  'a=rtpmap:99 telephone-event/48000',
  'a=rtpmap:100 telephone-event/16000',
  'a=rtpmap:101 telephone-event/8000',
  'a=rtcp-mux',
  'a=rtcp-fb:* trr-int 1000',
  'a=rtcp-fb:* ccm tmmbr',
  'm=video 9078 RTP/AVPF 96',
  'a=rtpmap:96 VP8/90000',
  'a=rtcp-fb:* ccm fir',
);

/** Linphone answering an offer of PCMU alone. */
export const LINPHONE_BARE_ANSWER = sdp('m=audio 7078 RTP/AVP 0');

/** baresip: Opus with an 8000 Hz telephone-event, and attributes that only pass through. */
export const BARESIP = sdp(
  'v=0',
  'o=- 2049861 31337 IN IP4 203.0.113.9',
  's=-',
  'c=IN IP4 203.0.113.9',
  't=0 0',
  'a=tool:baresip 1.0.0',
  'm=audio 10000 RTP/AVP 96 0 101',
  'a=rtpmap:96 opus/48000/2',
  'a=fmtp:96 stereo=1;sprop-stereo=1;maxaveragebitrate=28000',
  'a=rtpmap:0 PCMU/8000/1',
  'a=rtpmap:101 telephone-event/8000',
  'a=fmtp:101 0-15',
  'a=rtcp:10001',
  'a=sendrecv',
  'a=label:1',
  'a=rtcp-rsize',
  'a=ssrc:3405691582 cname:someone',
  'a=minptime:20',
  'a=ptime:20',
);

/** A browser-like offer: ICE, DTLS, bundle. */
export const BROWSER = sdp(
  'v=0',
  'o=- 46117 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111 0',
  'c=IN IP4 0.0.0.0',
  'a=rtcp:9 IN IP4 0.0.0.0',
  'a=candidate:1 1 udp 2113937151 192.0.2.50 54400 typ host',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=fingerprint:sha-256 00:11:22:33',
  'a=setup:actpass',
  'a=mid:0',
  'a=sendrecv',
  'a=rtcp-mux',
  'a=rtpmap:111 opus/48000/2',
);
