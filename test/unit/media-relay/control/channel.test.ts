/** How commands to the relay's thread are put together. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Batch, PortChannel } from '../../../../media-relay/control/channel.ts';
import type { PortItem, PortMessage } from '../../../../media-relay/control/channel.ts';

const DEADLINE_MS = 10_000;

function item(cookie: string, canWait: boolean): PortItem {
  return { cookie, message: {}, canWait };
}

describe('Batch', () => {
  it('gives what can wait together with what cannot, in order', async () => {
    const sent: string[][] = [];
    const batch = new Batch((items) => sent.push(items.map(({ cookie }) => cookie)));
    batch.add(item('a', true));
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    assert.deepEqual(sent, []);
    batch.add(item('b', false));
    batch.add(item('c', true));
    await nextTurn();
    assert.deepEqual(sent, [['a', 'b', 'c']]);
  });

  it('gives what can wait by itself when nothing else comes', async () => {
    const sent = await new Promise<readonly PortItem[]>((resolve) => {
      const batch = new Batch(resolve);
      batch.add(item('a', true));
      batch.add(item('b', true));
    });
    assert.deepEqual(
      sent.map(({ cookie }) => cookie),
      ['a', 'b'],
    );
  });

  it('gives nothing any more once it is closed', async () => {
    const sent: unknown[] = [];
    const batch = new Batch((items) => sent.push(items));
    batch.add(item('a', false));
    batch.close();
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    assert.deepEqual(sent, []);
  });
});

describe('PortChannel', () => {
  let ours: MessagePort;
  let theirs: MessagePort;

  beforeEach(() => {
    const { port1, port2 } = new MessageChannel();
    ours = port1;
    theirs = port2;
  });

  afterEach(() => {
    ours.close();
    theirs.close();
  });

  it('says which commands can wait, so that their replies can too', async () => {
    const channel = new PortChannel(ours, DEADLINE_MS, () => undefined);
    const replies = [
      channel.request({ command: 'delete' }, true),
      channel.request({ command: 'ping' }),
    ];
    const [message] = (await once(theirs, 'message')) as [PortMessage];
    assert.ok(message.kind === 'requests');
    const { items } = message;
    assert.deepEqual(
      items.map(({ message: { command }, canWait }) => [command, canWait]),
      [
        ['delete', true],
        ['ping', false],
      ],
    );
    theirs.postMessage({ kind: 'replies', items } satisfies PortMessage);
    assert.deepEqual(await Promise.all(replies), [{ command: 'delete' }, { command: 'ping' }]);
    channel.close('done');
  });
});
