import assert from 'node:assert/strict';
import fc from 'fast-check';
import { nullLog } from '../../core/log.ts';
import { parseSessionDescription } from '../../core/sdp/parse.ts';
import { decodeBencode, encodeBencode } from '../../media-relay/control/bencode.ts';
import type { Dictionary } from '../../media-relay/control/dictionary.ts';
import { RelayService } from '../../media-relay/control/relay-service.ts';
import { LocalAddresses } from '../../media-relay/io/local-addresses.ts';
import { PortPool } from '../../media-relay/io/port-pool.ts';
import { DEFAULT_SETTINGS } from '../../media-relay/options.ts';
import { createRoomMixer } from '../../media-relay/room/mixer.ts';
import { checkAsyncProperty } from '../support/fuzz.ts';

const ADDRESSES = [{ bind: '127.0.0.1' }];
const COMMANDS = [
  'ping',
  'offer',
  'answer',
  'delete',
  'query',
  'list',
  'statistics',
  'room join',
  'room answer',
  'room leave',
  'room mute',
  'room query',
  'nonsense',
];
const RESULTS: readonly unknown[] = ['ok', 'pong', 'error'];
const SDP = [
  'v=0',
  'o=- 1 1 IN IP4 127.0.0.1',
  's=-',
  'c=IN IP4 127.0.0.1',
  't=0 0',
  'm=audio 9 RTP/AVP 0 96 101',
  'a=rtpmap:96 opus/48000/2',
  'a=rtpmap:101 telephone-event/8000',
  '',
].join('\r\n');

/** Names are few, so that commands meet each other. */
const name = fc.constantFrom(...Array<string>(8).fill('a'), 'b', 'b', 'b', 'c', '');
const sdp = fc.oneof(
  { arbitrary: fc.constant(SDP), weight: 4 },
  fc.constantFrom(
    SDP,
    SDP.replace('audio 9', 'audio 0'),
    SDP.replace('m=audio', 'm=video'),
    SDP.replaceAll('127.0.0.1', '0.0.0.0'),
    SDP.replace('RTP/AVP', 'RTP/SAVP'),
    SDP.replace('c=IN IP4 127.0.0.1', 'c=IN IP6 ::1'),
    SDP.replace('0 96 101', '18'),
    '',
  ),
  fc.tuple(fc.nat(SDP.length), fc.string({ maxLength: 8 })).map(([at, piece]) => {
    return SDP.slice(0, at) + piece + SDP.slice(at + piece.length);
  }),
);
const anything = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.boolean(),
  fc.array(fc.string()),
  fc.dictionary(fc.string(), fc.string()),
);
const request: fc.Arbitrary<Dictionary> = fc
  .tuple(
    fc.constantFrom(...COMMANDS, 'offer', 'offer', 'answer', 'room join', 'room join'),
    fc.record(
      {
        'call-id': name,
        'from-tag': name,
        'to-tag': name,
        room: name,
        sdp,
        muted: anything,
        limit: anything,
        replace: anything,
        'transport-protocol': fc.constantFrom('RTP/AVP', 'RTP/AVP', 'RTP/AVPF', 'RTP/SAVP', 'x'),
        'received-from': anything,
        'address family': fc.constantFrom('IP4', 'IP4', 'IP4', 'IP6', 'IP5'),
        towards: fc.constantFrom(
          ...Array<string>(6).fill('127.0.0.1'),
          '::1',
          'x.example',
          '',
          '224.0.0.1',
        ),
      },
      { requiredKeys: ['call-id', 'from-tag', 'to-tag', 'room', 'sdp'] },
    ),
    fc.option(fc.tuple(fc.constantFrom('call-id', 'sdp', 'room', 'x'), anything), { freq: 5 }),
  )
  .map(([command, fields, replaced]) => ({
    command,
    ...fields,
    ...(replaced === null ? {} : { [replaced[0]]: replaced[1] }),
  }));

describe('relay commands under fuzz', () => {
  it('answer every request, keep their books, and give every port back', async function () {
    this.timeout(0);
    let descriptions = 0;
    await checkAsyncProperty(
      fc.asyncProperty(fc.array(request, { minLength: 10, maxLength: 40 }), async (requests) => {
        const now = (): number => performance.now();
        const ports = new PortPool({ min: 17_000, max: 17_999 });
        const service = new RelayService({
          resources: {
            settings: { ...DEFAULT_SETTINGS, addresses: ADDRESSES },
            ports,
            addresses: new LocalAddresses(ADDRESSES, now),
            now,
          },
          createMixer: createRoomMixer,
          log: {
            ...nullLog,
            error: (event, fields) => {
              assert.fail(`${event} ${JSON.stringify(fields?.())}`);
            },
          },
          onEvent: () => undefined,
        });
        try {
          const replies = await Promise.all(requests.map((one) => service.handle(one)));
          for (const reply of replies) {
            assert.ok(RESULTS.includes(reply['result']), JSON.stringify(reply));
            assert.deepEqual(
              encodeBencode(decodeBencode(encodeBencode(reply))),
              encodeBencode(reply),
            );
            const text = reply['sdp'];
            if (typeof text !== 'string') continue;
            parseSessionDescription(text);
            descriptions += 1;
          }
        } finally {
          service.close();
        }
        assert.equal(ports.pairsInUse, 0);
      }),
      150,
    );
    assert.ok(descriptions > 100, `only ${descriptions} offers and answers went through`);
  });
});
