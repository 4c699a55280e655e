import assert from 'node:assert/strict';
import { ParseError, ProtocolError } from '../../../../../core/errors.ts';
import {
  CallMedia,
  checkInitialOffer,
  profileFor,
} from '../../../../../registrar/app/calls/media.ts';
import type { MediaRelay } from '../../../../../media-relay/public.ts';

function sdp(profile: string, port = 4000): string {
  return `v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio ${port} ${profile} 0\r\n`;
}

describe('the profile that a side gets', () => {
  const table: [known: string | undefined, written: string, wanted: string | undefined][] = [
    [undefined, 'RTP/AVP', undefined],
    [undefined, 'RTP/AVPF', 'RTP/AVP'],
    ['RTP/AVPF', 'RTP/AVP', 'RTP/AVPF'],
    ['RTP/AVPF', 'RTP/AVPF', undefined],
    ['RTP/AVP', 'RTP/AVPF', 'RTP/AVP'],
    [undefined, 'RTP/SAVPF', undefined],
    ['RTP/AVP', 'RTP/SAVP', undefined],
    ['RTP/SAVP', 'RTP/AVPF', 'RTP/AVP'],
  ];
  for (const [known, written, wanted] of table) {
    it(`is ${wanted ?? 'as written'} for ${written} to who wrote ${known ?? 'nothing yet'}`, () => {
      assert.equal(profileFor(known, sdp(written)), wanted);
    });
  }
});

describe('the offer of a new call', () => {
  it('must have audio', () => {
    checkInitialOffer(sdp('RTP/AVP'));
    for (const text of [sdp('RTP/AVP', 0), sdp('RTP/AVP').replace('audio', 'video')]) {
      assert.throws(
        () => {
          checkInitialOffer(text);
        },
        (error) => error instanceof ProtocolError && error.sipStatus === 488,
      );
    }
  });

  it('must be a session description', () => {
    assert.throws(() => {
      checkInitialOffer('nonsense');
    }, ParseError);
  });
});

/** Answers each command with its own name and keeps what it was asked. */
function recordingRelay(log: unknown[]): MediaRelay {
  return {
    offer: (request: { fromTag: string; toTag?: string; sdp: string }) => {
      log.push(['offer', request.fromTag, request.toTag, request.sdp]);
      return Promise.resolve({ sdp: `offered ${request.sdp}` });
    },
    answer: (request: { fromTag: string; toTag: string; sdp: string }) => {
      log.push(['answer', request.fromTag, request.toTag, request.sdp]);
      return Promise.resolve({ sdp: `answered ${request.sdp}` });
    },
    delete: () => {
      log.push(['delete']);
      return Promise.resolve({ callId: 'c', legs: [] });
    },
  } as unknown as MediaRelay;
}

describe('the media of a call', () => {
  it('goes back to what was agreed after a refused re-offer', async () => {
    const log: unknown[] = [];
    const media = new CallMedia(recordingRelay(log), 'c');
    await media.offer('caller', 'A1');
    await media.answer('callee', 'B1');
    await media.offer('callee', 'B2');
    await media.restore();
    assert.deepEqual(log, [
      ['offer', 'caller', undefined, 'A1'],
      ['answer', 'caller', 'callee', 'B1'],
      ['offer', 'callee', 'caller', 'B2'],
      ['offer', 'caller', 'callee', 'A1'],
      ['answer', 'caller', 'callee', 'B1'],
    ]);
    assert.equal(media.agreedSdp('caller'), 'A1');
    assert.equal(media.agreedSdp('callee'), 'B1');
  });

  it('takes a second answer to one offer', async () => {
    const media = new CallMedia(recordingRelay([]), 'c');
    await media.offer('caller', 'A1');
    await media.answer('callee', 'early');
    assert.equal(await media.answer('callee', 'final'), 'answered final');
    assert.equal(media.agreedSdp('callee'), 'final');
  });

  it('frees its ports once, and takes nothing afterwards', async () => {
    const log: unknown[] = [];
    const media = new CallMedia(recordingRelay(log), 'c');
    await media.offer('caller', 'A1');
    assert.deepEqual(await media.release(), { callId: 'c', legs: [] });
    assert.equal(await media.release(), undefined);
    await assert.rejects(media.answer('callee', 'B1'), ProtocolError);
    assert.deepEqual(log.at(-1), ['delete']);
    assert.equal(log.length, 2);
  });

  it('asks nothing of the relay when it was never used', async () => {
    const log: unknown[] = [];
    assert.equal(await new CallMedia(recordingRelay(log), 'c').release(), undefined);
    assert.deepEqual(log, []);
  });
});
