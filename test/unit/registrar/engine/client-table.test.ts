import assert from 'node:assert/strict';
import { ClientTable } from '../../../../registrar/engine/transaction/client-table.ts';
import { Flow, type Hop } from '../../../../registrar/engine/transport/flow.ts';
import { DEFAULT_LISTENERS } from '../../../support/engine-lab.ts';

const [UDP, TCP] = DEFAULT_LISTENERS;

/** A transaction that counts how often it is looked at. */
class Looked {
  readonly key: string;
  looks = 0;
  readonly #hop: Hop | undefined;

  constructor(key: string, port: number, flow?: Flow) {
    this.key = key;
    const listener = flow === undefined ? UDP : TCP;
    assert.ok(listener);
    const { transport, local } = listener;
    this.#hop = { transport, listener, local, remote: { address: '10.0.0.1', port }, flow };
  }

  get hop(): Hop | undefined {
    this.looks += 1;
    return this.#hop;
  }
}

function to(port: number): [number, { address: string; port: number }] {
  return [1, { address: '10.0.0.1', port }];
}

describe('client transactions by their destination', () => {
  it('are found without looking at any other, and once only', () => {
    const table = new ClientTable<Looked>();
    const all = Array.from({ length: 1_000 }, (_, i) => new Looked(`k${i}`, 5_000 + (i % 500)));
    for (const transaction of all) table.add(transaction);
    for (const transaction of all) transaction.looks = 0;
    assert.deepEqual([...table.takeThoseTo(...to(5_007))], [all[7], all[507]]);
    assert.deepEqual([...table.takeThoseTo(...to(5_007))], []);
    assert.equal(
      all.reduce((sum, { looks }) => sum + looks, 0),
      0,
    );
  });

  it('are told apart by listener, address and port', () => {
    const table = new ClientTable<Looked>();
    table.add(new Looked('a', 5_001));
    assert.deepEqual([...table.takeThoseTo(2, { address: '10.0.0.1', port: 5_001 })], []);
    assert.deepEqual([...table.takeThoseTo(1, { address: '10.0.0.2', port: 5_001 })], []);
    assert.deepEqual([...table.takeThoseTo(...to(5_002))], []);
    assert.equal([...table.takeThoseTo(...to(5_001))].length, 1);
  });

  it('leave nothing behind, in whatever order they go, and do not include those of connections', () => {
    const table = new ClientTable<Looked>();
    const [one, two, taken] = [5_001, 5_001, 5_002].map((port, i) => new Looked(`k${i}`, port));
    assert.ok(one && two && taken);
    for (const transaction of [one, two, taken]) table.add(transaction);
    assert.ok(TCP);
    const { transport, local } = TCP;
    const remote = { address: '10.0.0.1', port: 5_003 };
    const flow = new Flow(1, { transport, listener: TCP, local, remote }, undefined, true);
    table.add(new Looked('flow', 5_003, flow));
    assert.equal(table.destinationCount, 2);
    assert.deepEqual([...table.takeThoseTo(...to(5_002))], [taken]);
    for (const transaction of [taken, two, two, one]) table.remove(transaction);
    assert.deepEqual([table.size, table.destinationCount], [1, 0]);
    assert.equal(table.get('k0'), undefined);
  });

  it('are not removed by one of the same name that they have replaced', () => {
    const table = new ClientTable<Looked>();
    const [old, now] = [new Looked('k', 5_001), new Looked('k', 5_001)];
    table.add(old);
    table.add(now);
    table.remove(old);
    assert.equal(table.get('k'), now);
    assert.deepEqual([...table.takeThoseTo(...to(5_001))], [now]);
  });
});
