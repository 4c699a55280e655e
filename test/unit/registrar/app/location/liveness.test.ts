import assert from 'node:assert/strict';
import { nullLog } from '../../../../../core/log.ts';
import { Liveness } from '../../../../../registrar/app/location/liveness.ts';
import type { Binding } from '../../../../../registrar/app/location/location.ts';
import type { SipResponse, Srf } from '../../../../../registrar/app/srf.ts';
import { manualClock, type ManualClock } from '../../../../support/manual-clock.ts';

const INTERVAL_MS = 60_000;

describe('liveness of devices', () => {
  let clock: ManualClock;
  let bindings: Map<string, Binding>;
  let asked: string[];
  let statusOf: (uri: string) => number | 'refused';
  let liveness: Liveness;

  const add = (nickname: string): void => {
    const contactUri = `sip:${nickname}@192.0.2.1:5062`;
    bindings.set(nickname, { nickname, contactUri, transport: 'tcp' } as Binding);
  };
  beforeEach(() => {
    clock = manualClock();
    bindings = new Map();
    asked = [];
    statusOf = () => 200;
    const request = (
      uri: string,
      options: { method: string },
      callback: (...args: unknown[]) => void,
    ): void => {
      assert.equal(options.method, 'OPTIONS');
      asked.push(uri);
      const status = statusOf(uri);
      if (status === 'refused') {
        callback(new Error('no transport'), undefined);
        return;
      }
      const on = (_: string, listener: (response: SipResponse) => void): void => {
        listener({ status } as SipResponse);
      };
      callback(null, { on });
    };
    liveness = new Liveness({
      location: {
        registeredNicknames: () => [...bindings.keys()],
        bindingsOf: (nickname) => {
          const binding = bindings.get(nickname);
          return binding === undefined ? [] : [binding];
        },
        forget: ({ nickname }) => void bindings.delete(nickname),
      },
      srf: { request } as unknown as Srf,
      clock,
      log: nullLog,
      intervalMs: INTERVAL_MS,
      from: 'sip:example.org',
    });
  });
  const pass = async (intervals: number): Promise<void> => {
    for (let i = 0; i < intervals * 20; i++) {
      clock.advance(INTERVAL_MS / 20);
      await new Promise(setImmediate);
    }
  };

  it('asks every device once in an interval, some at a time', () => {
    for (let i = 0; i < 100; i++) add(`u${i}`);
    const counts: number[] = [];
    for (let round = 0; round < 20; round++) {
      clock.advance(INTERVAL_MS / 20);
      counts.push(asked.length);
    }
    assert.deepEqual(
      counts,
      Array.from({ length: 20 }, (_, round) => 5 * (round + 1)),
    );
    assert.equal(new Set(asked).size, 100);
  });

  it('keeps a device that answers anything', async () => {
    add('alice');
    for (const status of [200, 404, 405, 481, 486, 501]) {
      statusOf = () => status;
      await pass(3);
      assert.ok(bindings.has('alice'), `${status}`);
    }
  });

  it('forgets one that misses two in a row, not one that misses every other', async () => {
    add('gone');
    add('slow');
    let count = 0;
    statusOf = (uri) => (uri.includes('gone') || count++ % 2 === 0 ? 408 : 200);
    await pass(4);
    assert.deepEqual([...bindings.keys()], ['slow']);
  });

  it('blames no device for what the engine could not send', async () => {
    add('alice');
    statusOf = () => 'refused';
    await pass(5);
    assert.ok(bindings.has('alice'));
  });

  it('stops when it is closed', async () => {
    add('alice');
    liveness.close();
    await pass(2);
    assert.deepEqual(asked, []);
    assert.equal(clock.activeTimers(), 0);
  });
});
