import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { ResourceError } from '../../../../core/errors.ts';
import { PortPool } from '../../../../media-relay/io/port-pool.ts';
import type { PortPair } from '../../../../media-relay/io/port-pool.ts';
import { UdpPort } from '../../../../media-relay/io/udp-port.ts';

const HOST = '127.0.0.1';

/** Even ports that were free a moment ago. */
async function freePair(): Promise<number> {
  for (;;) {
    const probe = await UdpPort.open(HOST, 0);
    const port = probe.localPort - (probe.localPort % 2);
    probe.close();
    const opened = await Promise.allSettled([
      UdpPort.open(HOST, port),
      UdpPort.open(HOST, port + 1),
    ]);
    for (const one of opened) if (one.status === 'fulfilled') one.value.close();
    if (opened.every(({ status }) => status === 'fulfilled')) return port;
  }
}

/** Opens nothing, and refuses the ports in `taken` as the system does. */
function pretend(taken: ReadonlySet<number>): (host: string, port: number) => Promise<UdpPort> {
  return (_host, localPort) =>
    taken.has(localPort)
      ? Promise.reject(Object.assign(new Error('taken'), { code: 'EADDRINUSE' }))
      : Promise.resolve({ localPort, close: () => undefined } as unknown as UdpPort);
}

describe('port pool', () => {
  it('opens an even port for RTP and the next one for RTCP', async () => {
    const port = await freePair();
    const pool = new PortPool({ min: port, max: port + 1 });
    const pair = await pool.allocate(HOST);
    assert.equal(pair.rtp.localPort, port);
    assert.equal(pair.rtcp.localPort, port + 1);
    assert.equal(pool.pairsInUse, 1);
    pool.release(pair);
    assert.equal(pool.pairsInUse, 0);
    const again = await pool.allocate(HOST);
    assert.equal(again.rtp.localPort, port);
    pool.release(again);
  });

  it('passes over ports that others hold, the RTCP port too, and leaves no socket open', async () => {
    const port = await freePair();
    const other = createSocket('udp4');
    other.bind(port + 1, HOST);
    await once(other, 'listening');
    const pool = new PortPool({ min: port, max: port + 1 });
    await assert.rejects(pool.allocate(HOST), ResourceError);
    other.close();
    pool.release(await pool.allocate(HOST));
  });

  it('counts whole pairs only', () => {
    assert.equal(new PortPool({ min: 20_001, max: 20_006 }).pairsTotal, 2);
    assert.equal(new PortPool({ min: 20_000, max: 20_001 }).pairsTotal, 1);
    assert.equal(new PortPool({ min: 20_001, max: 20_002 }).pairsTotal, 0);
  });

  it('hands out each pair once before any comes again', async () => {
    const pool = new PortPool({ min: 20_000, max: 20_019 }, Math.random, pretend(new Set()));
    const ports = new Set<number>();
    for (let index = 0; index < 10; index++) {
      const pair = await pool.allocate(HOST);
      ports.add(pair.rtp.localPort);
      pool.release(pair);
    }
    assert.equal(ports.size, 10);
  });

  it('finds the one free pair among many that are taken', async () => {
    const taken = new Set(Array.from({ length: 2000 }, (_, index) => 20_000 + index));
    taken.delete(21_000);
    taken.delete(21_001);
    const pool = new PortPool({ min: 20_000, max: 21_999 }, Math.random, pretend(taken));
    const pair = await pool.allocate(HOST);
    assert.equal(pair.rtp.localPort, 21_000);
    await assert.rejects(
      pool.allocate(HOST),
      (error) => error instanceof ResourceError && error.code === 'relay.ports.exhausted',
    );
    assert.equal(pool.pairsInUse, 1);
  });

  it('keeps its books when many ask and give back at the same time', async () => {
    const taken = new Set([20_004, 20_011]);
    const pool = new PortPool({ min: 20_000, max: 20_031 }, Math.random, pretend(taken));
    for (let round = 0; round < 20; round++) {
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, () => pool.allocate(HOST)),
      );
      const pairs = results
        .filter(
          (result): result is PromiseFulfilledResult<PortPair> => result.status === 'fulfilled',
        )
        .map(({ value }) => value);
      assert.ok(pairs.length >= 12, String(pairs.length));
      assert.equal(new Set(pairs.map(({ rtp }) => rtp.localPort)).size, pairs.length);
      assert.equal(pool.pairsInUse, pairs.length);
      for (const pair of pairs) pool.release(pair);
      assert.equal(pool.pairsInUse, 0);
    }
  });

  it('says so when the system gives no sockets, and loses no pair by it', async () => {
    const refuse = (): Promise<UdpPort> =>
      Promise.reject(Object.assign(new Error('too many open files'), { code: 'EMFILE' }));
    const pool = new PortPool({ min: 20_000, max: 20_009 }, Math.random, refuse);
    await assert.rejects(
      pool.allocate(HOST),
      (error) => error instanceof ResourceError && error.code === 'relay.ports.unavailable',
    );
    assert.equal(pool.pairsInUse, 0);
  });
});
