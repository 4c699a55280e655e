/** Session descriptions as anybody may write them: read or refused, and the same when written and read again. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ParseError, ProtocolError } from '../../core/errors.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import { rewrite } from '../../core/sdp/rewrite.ts';
import { serialiseLocal, serialiseParsed, type LocalAudio } from '../../core/sdp/serialise.ts';
import {
  DIRECTIONS,
  PROFILES,
  type SessionDescription,
} from '../../core/sdp/session-description.ts';
import { checkProperty } from '../support/fuzz.ts';
import {
  BARESIP,
  BROWSER,
  LINPHONE_AVPF,
  LINPHONE_BARE_ANSWER,
} from '../unit/core/sdp/descriptions.ts';

const SAMPLES = [BARESIP, BROWSER, LINPHONE_AVPF, LINPHONE_BARE_ANSWER];
const LINES = [...new Set(SAMPLES.flatMap((text) => text.split('\r\n')))];

const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(fc.ipV4(), fc.constantFrom('::1', '2001:db8::7', '0.0.0.0', '::'));
const word = fc.stringMatching(/^[A-Za-z0-9.-]{1,12}$/);
const line = fc.oneof(
  { arbitrary: fc.constantFrom(...LINES), weight: 6 },
  fc
    .tuple(
      fc.constantFrom('a', 'b', 'c', 'm', 'o', 's', 't', 'v', 'z'),
      fc.string({ unit: 'binary', maxLength: 40 }),
    )
    .map(([type, value]) => `${type}=${value}`),
  fc
    .tuple(port, fc.array(fc.nat(130), { maxLength: 6 }))
    .map(([number, types]) => `m=audio ${number} RTP/AVP ${types.join(' ')}`),
  fc
    .tuple(fc.nat(130), word, fc.nat(100_000))
    .map(([type, name, rate]) => `a=rtpmap:${type} ${name}/${rate}`),
  fc
    .tuple(fc.nat(130), fc.string({ maxLength: 30 }))
    .map(([type, text]) => `a=fmtp:${type} ${text}`),
);
/** One of the samples with lines left out, doubled, moved, and others put in. */
const shuffled = fc
  .tuple(
    fc.constantFrom(...SAMPLES),
    fc.array(fc.tuple(fc.nat(40), fc.nat(2), line), { maxLength: 8 }),
    fc.constantFrom('\r\n', '\n', '\r'),
  )
  .map(([sample, changes, lineEnd]) => {
    const lines = sample.split('\r\n');
    for (const [at, removed, added] of changes) lines.splice(at % lines.length, removed, added);
    return lines.join(lineEnd);
  });
/** One with a piece overwritten. */
const spoilt = fc
  .tuple(fc.constantFrom(...SAMPLES), fc.nat(800), fc.string({ unit: 'binary', maxLength: 8 }))
  .map(([sample, at, piece]) => {
    const start = at % sample.length;
    return sample.slice(0, start) + piece + sample.slice(start + piece.length);
  });
const description = fc.oneof(shuffled, spoilt, fc.string({ unit: 'binary', maxLength: 200 }));

/** @returns undefined for what is refused as it should be */
function read(text: string): SessionDescription | undefined {
  try {
    return parseSessionDescription(text);
  } catch (error) {
    assert.ok(error instanceof ParseError, String(error));
    assert.match(error.code, /^sdp\./);
    return undefined;
  }
}

describe('session descriptions', () => {
  it('are read or refused, and say the same when they are written and read again', () => {
    let accepted = 0;
    checkProperty(
      fc.property(description, (text) => {
        const session = read(text);
        if (session === undefined) return;
        accepted += 1;
        const written = serialiseParsed(session);
        const again = parseSessionDescription(written);
        assert.deepEqual(again, session);
        assert.equal(serialiseParsed(again), written);
      }),
      1000,
    );
    assert.ok(accepted > 100, `only ${accepted} were accepted`);
  });

  it('can be read after a relay has put itself into them, and a second time changes nothing', () => {
    let rewritten = 0;
    const target = { address: '192.0.2.200', port: 30_000, rtcpPort: 30_001 };
    checkProperty(
      fc.property(description, fc.boolean(), fc.nat(2), (text, isRtcpMux, away) => {
        const session = read(text);
        if (session === undefined) return;
        const to = { ...target, isRtcpMux, rtcpPort: target.rtcpPort + away };
        let once: string;
        try {
          once = rewrite(session, to);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
          assert.match(error.code, /^sdp\.(?:audio\.missing|profile\.unsupported)$/);
          return;
        }
        rewritten += 1;
        const read1 = parseSessionDescription(once);
        const used = read1.media.filter(({ port: number }) => number !== 0);
        assert.deepEqual(
          used.map((media) => [media.kind, media.address, media.port]),
          [['audio', to.address, to.port]],
        );
        assert.equal(rewrite(read1, to), once);
      }),
      1000,
    );
    assert.ok(rewritten > 50, `only ${rewritten} were rewritten`);
  });

  it('of our own are read as what they were meant to be', () => {
    const payload = fc.record(
      {
        payloadType: fc.integer({ min: 96, max: 127 }),
        encoding: word,
        clockRateHz: fc.constantFrom(8000, 16_000, 48_000),
        channels: fc.constantFrom(1, 2),
        parameters: fc.option(fc.stringMatching(/^[a-z]{1,8}=[0-9]{1,6}$/), { nil: undefined }),
      },
      { noNullPrototype: true },
    );
    const audio = fc
      .record({
        port,
        rtcpPort: port,
        isRtcpMux: fc.boolean(),
        profile: fc.constantFrom(...PROFILES),
        payloads: fc.uniqueArray(payload, {
          selector: ({ payloadType }) => payloadType,
          minLength: 1,
          maxLength: 6,
        }),
        direction: fc.constantFrom(...DIRECTIONS),
        ptimeMs: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
      })
      .map((media): LocalAudio => ({ ...media, port: Math.min(media.port, 65_534) }));
    checkProperty(
      fc.property(
        address.filter((on) => on !== '0.0.0.0' && on !== '::'),
        fc.bigInt({ min: 0n, max: 2n ** 64n }),
        fc.array(audio, { minLength: 1, maxLength: 3 }),
        (on, id, media) => {
          const written = serialiseLocal({
            sessionId: String(id),
            sessionVersion: String(id + 1n),
            address: on,
            media,
          });
          const session = parseSessionDescription(written);
          assert.equal(session.origin.sessionId, String(id));
          assert.equal(session.origin.sessionVersion, String(id + 1n));
          for (const [index, wanted] of media.entries()) {
            const got = session.media[index];
            assert.ok(got);
            assert.deepEqual(
              [got.port, got.address, got.profile, got.direction, got.ptimeMs, got.isRtcpMux],
              [wanted.port, on, wanted.profile, wanted.direction, wanted.ptimeMs, wanted.isRtcpMux],
            );
            assert.deepEqual(got.payloads, wanted.payloads);
            if (!wanted.isRtcpMux) assert.equal(got.rtcp.port, wanted.rtcpPort);
          }
        },
      ),
    );
  });
});
