import assert from 'node:assert/strict';
import { Latch } from '../../../../media-relay/forward/latch.ts';
import { DEFAULT_SETTINGS } from '../../../../media-relay/options.ts';

const { latch: POLICY } = DEFAULT_SETTINGS;
const PROMISED = { address: '192.0.2.1', port: 4000 };
const NAT = { address: '203.0.113.5', port: 61_000 };
const STRANGER = { address: '198.51.100.66', port: 6666 };
const STRANGER_SSRC = 666;

type Source = typeof PROMISED;

/** Sends packets of one stream every 20 ms. */
class Stream {
  sequence = 65_530;
  readonly latch: Latch;
  readonly ssrc: number;
  source: Source;

  constructor(latch: Latch, source: Source, ssrc: number) {
    this.latch = latch;
    this.source = source;
    this.ssrc = ssrc;
  }

  packet(nowMs: number): boolean {
    this.sequence = (this.sequence + 1) & 0xffff;
    const { address, port } = this.source;
    return this.latch.admit(address, port, this.ssrc, this.sequence, nowMs);
  }

  /** @returns how many were admitted */
  run(fromMs: number, toMs: number): number {
    let admitted = 0;
    for (let nowMs = fromMs; nowMs < toMs; nowMs += 20) if (this.packet(nowMs)) admitted += 1;
    return admitted;
  }
}

function destination(latch: Latch): Source | undefined {
  const address = latch.destinationAddress;
  return address === undefined ? undefined : { address, port: latch.destinationPort };
}

describe('latching on the source of a leg', () => {
  let latch: Latch;
  let phone: Stream;
  let stranger: Stream;

  beforeEach(() => {
    latch = new Latch(POLICY);
    latch.promise(PROMISED);
    phone = new Stream(latch, PROMISED, 1);
    stranger = new Stream(latch, STRANGER, STRANGER_SSRC);
  });

  it('sends to what SDP promised until something comes', () => {
    assert.deepEqual(destination(latch), PROMISED);
    latch.promise(undefined);
    assert.equal(destination(latch), undefined);
  });

  it('locks on the promised address with its first packet', () => {
    assert.equal(phone.packet(0), true);
    assert.equal(latch.isLocked, true);
    assert.equal(stranger.run(20, 60_000), 0);
    assert.deepEqual(destination(latch), PROMISED);
  });

  it('learns the address behind a NAT, and locks after the window', () => {
    phone.source = NAT;
    assert.equal(phone.run(0, 400), 20);
    assert.deepEqual(destination(latch), NAT);
    assert.equal(latch.isLocked, false);
    assert.equal(phone.run(400, 600), 10);
    assert.equal(latch.isLocked, true);
    assert.equal(stranger.run(600, 700), 0);
    assert.deepEqual(destination(latch), NAT);
  });

  it('is not locked by a single stray packet', () => {
    assert.equal(stranger.packet(0), true);
    phone.source = NAT;
    assert.equal(phone.run(5000, 6000), 50);
    assert.deepEqual(destination(latch), NAT);
    assert.equal(latch.isLocked, true);
  });

  it('prefers the promised address even when a stranger was first', () => {
    stranger.run(0, 2000);
    assert.equal(latch.isLocked, true);
    assert.equal(phone.packet(2000), true);
    assert.deepEqual(destination(latch), PROMISED);
    assert.equal(stranger.run(2000, 4000), 0);
  });

  it('prefers another port of the promised host to another host', () => {
    stranger.packet(0);
    phone.source = { ...PROMISED, port: 4444 };
    assert.equal(phone.packet(10), true);
    assert.equal(stranger.packet(20), false);
  });

  it('does not change between equals that both talk', () => {
    phone.source = NAT;
    let admitted = 0;
    for (let nowMs = 0; nowMs < 1000; nowMs += 20) {
      assert.equal(phone.packet(nowMs), true);
      if (stranger.packet(nowMs + 10)) admitted += 1;
    }
    assert.equal(admitted, 0);
  });

  describe('once locked', () => {
    beforeEach(() => {
      phone.source = NAT;
      phone.run(0, 1000);
      assert.equal(latch.isLocked, true);
    });

    it('follows the same stream to another address after a silence', () => {
      phone.source = { ...NAT, port: 62_000 };
      assert.equal(phone.packet(1500), false);
      assert.equal(phone.packet(2100), true);
      assert.deepEqual(destination(latch), phone.source);
    });

    it('does not follow another SSRC, nor a sequence that does not run on', () => {
      assert.equal(stranger.run(5000, 9000), 0);
      const replay = new Stream(latch, STRANGER, phone.ssrc);
      replay.sequence = phone.sequence - 10;
      assert.equal(replay.packet(9000), false);
      replay.sequence = phone.sequence + 10_000;
      assert.equal(replay.packet(9000), false);
    });

    it('learns again after a re-offer, but stays where it is while that talks', () => {
      latch.promise(PROMISED);
      assert.equal(latch.isLocked, false);
      assert.deepEqual(destination(latch), NAT);
      assert.equal(phone.packet(1000), true);
      assert.equal(stranger.packet(1010), false);
      phone.source = { ...NAT, port: 62_000 };
      assert.equal(phone.packet(1020), true);
      assert.deepEqual(destination(latch), phone.source);
    });

    it('sends to a changed promise at once', () => {
      const moved = { address: '192.0.2.99', port: 9000 };
      latch.promise(moved);
      assert.deepEqual(destination(latch), moved);
    });

    it('gives way to the new fork, although the old one goes on for a while', () => {
      const other = new Stream(latch, { address: '203.0.113.7', port: 50_000 }, 7);
      latch.promise({ address: '10.0.0.7', port: 5004 });
      assert.equal(phone.run(1000, 3000), 100);
      assert.equal(latch.isLocked, false);
      assert.equal(other.packet(3000), true);
      assert.equal(phone.packet(3010), false);
      assert.deepEqual(destination(latch), other.source);
    });

    it('believes the old source in the end when nothing else comes', () => {
      latch.promise({ address: '10.0.0.7', port: 5004 });
      phone.run(1000, 7000);
      assert.equal(latch.isLocked, true);
      assert.deepEqual(destination(latch), NAT);
    });
  });

  it('takes nothing but the promised address under a strict policy', () => {
    latch = new Latch({ ...POLICY, isStrict: true });
    const nat = new Stream(latch, NAT, 1);
    assert.equal(nat.run(0, 1000), 0);
    latch.promise(PROMISED);
    assert.equal(nat.run(1000, 2000), 0);
    assert.equal(new Stream(latch, PROMISED, 1).packet(2000), true);
  });

  it('needs no promise at all', () => {
    latch = new Latch(POLICY);
    phone = new Stream(latch, NAT, 1);
    assert.equal(phone.packet(0), true);
    latch.promise(NAT);
    assert.equal(phone.packet(20), true);
    assert.equal(latch.isLocked, true);
  });
});
