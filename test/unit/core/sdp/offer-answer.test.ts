import assert from 'node:assert/strict';
import { ProtocolError } from '../../../../core/errors.ts';
import { agreementFrom, answerFor, buildOffer } from '../../../../core/sdp/offer-answer.ts';
import type { AudioAgreement, Capabilities } from '../../../../core/sdp/offer-answer.ts';
import { parseSessionDescription } from '../../../../core/sdp/parse.ts';
import { BARESIP, BROWSER, LINPHONE_AVPF, LINPHONE_BARE_ANSWER, sdp } from './descriptions.ts';

const OPUS = {
  encoding: 'opus',
  clockRateHz: 48_000,
  channels: 2,
  payloadType: 96,
  parameters: 'useinbandfec=1',
};
const PCMU = { encoding: 'PCMU', clockRateHz: 8000, channels: 1, payloadType: 0 };
const PCMA = { encoding: 'PCMA', clockRateHz: 8000, channels: 1, payloadType: 8 };

function capabilities(changes: Partial<Capabilities> = {}): Capabilities {
  return {
    codecs: [OPUS, PCMU, PCMA],
    hasTelephoneEvent: true,
    ptimeMs: 20,
    sessionId: '42',
    sessionVersion: '1',
    address: '192.0.2.200',
    port: 20_000,
    hasRtcpMux: true,
    ...changes,
  };
}

function chosen({ codecs, telephoneEvent }: AudioAgreement): string[] {
  return [...codecs, ...(telephoneEvent === undefined ? [] : [telephoneEvent])].map(
    ({ encoding, clockRateHz, sendPayloadType }) => `${sendPayloadType} ${encoding}/${clockRateHz}`,
  );
}

function isRefused(code: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof ProtocolError && error.code === code && error.sipStatus === 488;
}

describe('answer to an offer (RFC 3264 §6)', () => {
  it('mirrors profile, order and payload types of Linphone, and refuses the video', () => {
    const { sdp: answer, agreement } = answerFor(LINPHONE_AVPF, capabilities());
    assert.deepEqual(answer.split('\r\n'), [
      'v=0',
      'o=- 42 1 IN IP4 192.0.2.200',
      's=-',
      'c=IN IP4 192.0.2.200',
      't=0 0',
      'm=audio 20000 RTP/AVPF 96 0 8 99 101',
      'a=rtpmap:96 opus/48000/2',
      'a=fmtp:96 useinbandfec=1',
      'a=rtpmap:0 PCMU/8000',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:99 telephone-event/48000',
      'a=fmtp:99 0-15',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:101 0-15',
      'a=sendrecv',
      'a=ptime:20',
      'a=rtcp-mux',
      'm=video 0 RTP/AVPF 96',
      '',
    ]);
    assert.deepEqual(chosen(agreement), [
      '96 opus/48000',
      '0 PCMU/8000',
      '8 PCMA/8000',
      '99 telephone-event/48000',
    ]);
    assert.equal(agreement.remote.rtcpPort, 7078);
    assert.equal(agreement.remote.isRtcpMux, true);
  });

  it('names one codec when it may name no more, with the telephone-event of its clock', () => {
    const { agreement } = answerFor(LINPHONE_AVPF, capabilities({ codecLimit: 1 }));
    assert.deepEqual(chosen(agreement), ['96 opus/48000', '99 telephone-event/48000']);
    const g711 = answerFor(LINPHONE_AVPF, capabilities({ codecs: [PCMU], codecLimit: 1 }));
    assert.deepEqual(chosen(g711.agreement), ['0 PCMU/8000', '101 telephone-event/8000']);
  });

  it('takes the 8000 Hz telephone-event that baresip offers with Opus', () => {
    const { agreement } = answerFor(BARESIP, capabilities({ codecLimit: 1 }));
    assert.deepEqual(chosen(agreement), ['96 opus/48000', '101 telephone-event/8000']);
    assert.equal(agreement.codecs[0].remoteParameters.get('maxaveragebitrate'), '28000');
    assert.equal(agreement.remote.rtcpPort, 10_001);
  });

  it("prefers by the offerer's order unless told to prefer by its own", () => {
    const offer = sdp('m=audio 4000 RTP/AVP 8 0');
    const theirs = answerFor(offer, capabilities({ codecLimit: 1 })).agreement;
    assert.equal(theirs.codecs[0].encoding, 'PCMA');
    const ours = answerFor(offer, capabilities({ codecLimit: 1, preference: 'own' })).agreement;
    assert.equal(ours.codecs[0].encoding, 'PCMU');
  });

  it('takes unusual numbers for known codecs, in any letter case, and Opus without channels', () => {
    const offer = sdp(
      'm=audio 4000 RTP/AVP 120 121',
      'a=rtpmap:120 OPUS/48000',
      'a=rtpmap:121 pcmu/8000',
    );
    const { agreement } = answerFor(offer, capabilities());
    assert.deepEqual(chosen(agreement), ['120 OPUS/48000', '121 pcmu/8000']);
  });

  for (const [offered, wanted, answered] of [
    ['sendrecv', undefined, 'sendrecv'],
    ['sendonly', undefined, 'recvonly'],
    ['recvonly', undefined, 'sendonly'],
    ['inactive', undefined, 'inactive'],
    ['sendrecv', 'sendonly', 'sendonly'],
    ['sendonly', 'sendonly', 'inactive'],
    ['sendonly', 'recvonly', 'recvonly'],
  ] as const) {
    it(`answers ${offered} with ${answered} when it wants ${wanted ?? 'both'}`, () => {
      const offer = sdp('m=audio 4000 RTP/AVP 0', `a=${offered}`);
      const reply = answerFor(
        offer,
        capabilities(wanted === undefined ? {} : { direction: wanted }),
      );
      assert.equal(reply.agreement.direction, answered);
      assert.match(reply.sdp, new RegExp(`\r\na=${answered}\r\n`, 'u'));
    });
  }

  it('answers hold by 0.0.0.0 with recvonly and sends nowhere', () => {
    const offer = sdp('m=audio 4000 RTP/AVP 0', 'c=IN IP4 0.0.0.0');
    const { agreement } = answerFor(offer, capabilities());
    assert.equal(agreement.direction, 'recvonly');
    assert.equal(agreement.remote.address, undefined);
    assert.equal(agreement.remote.isHeld, true);
  });

  it('sends to no group and to no name', () => {
    for (const address of ['IP4 224.2.1.1/127', 'IP4 255.255.255.255', 'IP4 phone.example']) {
      const offer = sdp('m=audio 4000 RTP/AVP 0', `c=IN ${address}`);
      const { remote } = answerFor(offer, capabilities()).agreement;
      assert.deepEqual([remote.address, remote.isHeld], [undefined, false]);
    }
  });

  it('takes the first audio stream in use and refuses the others, in their places', () => {
    const offer = sdp(
      'm=video 5000 RTP/AVP 97',
      'm=audio 0 RTP/AVP 0',
      'm=audio 4000 RTP/AVP 0',
      'm=audio 4002 RTP/AVP 8',
      'm=application 9 TCP/BFCP *',
    );
    const { sdp: answer, agreement } = answerFor(offer, capabilities());
    assert.equal(agreement.mediaIndex, 2);
    assert.deepEqual(
      answer.split('\r\n').filter((line) => line.startsWith('m=')),
      [
        'm=video 0 RTP/AVP 97',
        'm=audio 0 RTP/AVP 0',
        'm=audio 20000 RTP/AVP 0',
        'm=audio 0 RTP/AVP 8',
        'm=application 0 TCP/BFCP *',
      ],
    );
  });

  it('answers comfort noise only beside G.711', () => {
    const offer = sdp('m=audio 4000 RTP/AVP 96 0 13', 'a=rtpmap:96 opus/48000/2');
    const noisy = capabilities({ hasComfortNoise: true, codecLimit: 1 });
    assert.equal(answerFor(offer, noisy).agreement.comfortNoise, undefined);
    const g711 = answerFor(offer, { ...noisy, codecs: [PCMU] });
    assert.equal(g711.agreement.comfortNoise?.sendPayloadType, 13);
  });

  it('reports the packet time that is wanted, within the limit', () => {
    const ptime = (...lines: string[]): number | undefined =>
      answerFor(sdp('m=audio 4000 RTP/AVP 0', ...lines), capabilities()).agreement.ptimeMs;
    assert.equal(ptime('a=ptime:30'), 30);
    assert.equal(ptime('a=ptime:60', 'a=maxptime:40'), 40);
    assert.equal(ptime(), undefined);
  });

  it('refuses an offer without audio, without a common codec, and a secured one', () => {
    const refuse = (offer: string, code: string): void => {
      assert.throws(() => answerFor(offer, capabilities()), isRefused(code));
    };
    refuse(sdp('m=video 5000 RTP/AVP 97'), 'sdp.audio.missing');
    refuse(sdp('m=audio 0 RTP/AVP 0'), 'sdp.audio.missing');
    refuse(sdp('m=audio 4000 udptl t38'), 'sdp.audio.missing');
    refuse(sdp('t=0 0'), 'sdp.audio.missing');
    refuse(sdp('m=audio 4000 RTP/AVP 18'), 'sdp.codec.none');
    refuse(sdp('m=audio 4000 RTP/AVP 101', 'a=rtpmap:101 telephone-event/8000'), 'sdp.codec.none');
    refuse(sdp('m=audio 4000 RTP/SAVP 0'), 'sdp.profile.unsupported');
    refuse(BROWSER, 'sdp.profile.unsupported');
  });

  it('writes IPv6 and its own RTCP port', () => {
    const offer = sdp('m=audio 4000 RTP/AVP 0');
    const { sdp: answer } = answerFor(
      offer,
      capabilities({ address: '2001:db8::2', rtcpPort: 30_000 }),
    );
    assert.match(answer, /c=IN IP6 2001:db8::2\r\n/u);
    assert.match(answer, /a=rtcp:30000 IN IP6 2001:db8::2\r\n/u);
  });
});

describe('offer of our own (RFC 3264 §5)', () => {
  const offer = buildOffer(capabilities());

  it('can be answered by ourselves', () => {
    const { sdp: answer, agreement } = answerFor(offer, capabilities({ port: 30_000 }));
    assert.deepEqual(chosen(agreement), [
      '96 opus/48000',
      '0 PCMU/8000',
      '8 PCMA/8000',
      '101 telephone-event/48000',
    ]);
    assert.deepEqual(chosen(agreementFrom(offer, answer)), chosen(agreement));
    assert.equal(agreementFrom(offer, answer).remote.port, 30_000);
  });

  it('numbers telephone-events past the types that are taken', () => {
    const codecs = [{ ...OPUS, payloadType: 101 }, PCMU];
    const [media] = parseSessionDescription(buildOffer(capabilities({ codecs }))).media;
    assert.deepEqual(media?.formats, ['101', '0', '102', '103']);
  });

  it('takes a bare answer without rtpmap', () => {
    const agreement = agreementFrom(offer, LINPHONE_BARE_ANSWER);
    assert.deepEqual(chosen(agreement), ['0 PCMU/8000']);
    assert.equal(agreement.remote.isRtcpMux, false);
    assert.equal(agreement.remote.rtcpPort, 7079);
  });

  it('sends what the answer numbers and receives what the offer numbered', () => {
    const answer = sdp('m=audio 4000 RTP/AVP 111', 'a=rtpmap:111 opus/48000/2');
    const [codec] = agreementFrom(offer, answer).codecs;
    assert.deepEqual([codec.sendPayloadType, codec.receivePayloadType], [111, 96]);
  });

  it('is not agreed by an answer with other streams, with none, or with other codecs', () => {
    const refuse = (answer: string, code: string): void => {
      assert.throws(() => agreementFrom(offer, answer), isRefused(code));
    };
    refuse(sdp('m=video 4000 RTP/AVP 97'), 'sdp.answer.mismatch');
    refuse(sdp('t=0 0'), 'sdp.answer.mismatch');
    refuse(sdp('m=audio 0 RTP/AVP 0'), 'sdp.audio.missing');
    refuse(sdp('m=audio 4000 RTP/AVP 18'), 'sdp.codec.none');
  });

  it('follows the direction of the answer', () => {
    const answer = sdp('m=audio 4000 RTP/AVP 0', 'a=recvonly');
    assert.equal(agreementFrom(offer, answer).direction, 'sendonly');
  });
});
