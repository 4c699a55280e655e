import assert from 'node:assert/strict';
import {
  TelephoneEventReceiver,
  TelephoneEventSender,
  digitOf,
  eventOf,
  parseTelephoneEvent,
} from '../../../../core/rtp/telephone-event.ts';

/** What the sender gives from now until it has nothing left, one packet each 20 ms. */
function drain(
  sender: TelephoneEventSender,
  clockRateHz: number,
): ReturnType<typeof sender.next>[] {
  const packets: ReturnType<typeof sender.next>[] = [];
  for (let tick = 0; sender.isActive; tick++) {
    packets.push(sender.next(1000 + (tick * clockRateHz) / 50, tick * 20));
  }
  return packets;
}

describe('telephone-event (RFC 4733)', () => {
  it('names the sixteen keys both ways', () => {
    for (const digit of '0123456789*#ABCD') assert.equal(digitOf(eventOf(digit) ?? -1), digit);
    assert.equal(eventOf('d'), 15);
    assert.equal(eventOf('x'), undefined);
    assert.equal(eventOf(''), undefined);
    assert.equal(digitOf(16), undefined);
  });

  it('refuses a payload of less than four bytes', () => {
    assert.equal(parseTelephoneEvent(Uint8Array.of(1, 2, 3)), undefined);
  });

  for (const clockRateHz of [8000, 48000]) {
    it(`sends growing durations at ${clockRateHz} Hz, one timestamp, one marker, the end three times`, () => {
      const sender = new TelephoneEventSender(clockRateHz);
      sender.enqueue(5, 100, 0);
      const packets = drain(sender, clockRateHz);
      assert.ok(packets.every((packet) => packet?.rtpTimestamp === 1000));
      assert.deepEqual(
        packets.map((packet) => packet?.marker),
        [true, false, false, false, false, false, false],
      );
      const step = clockRateHz / 50;
      assert.deepEqual(
        packets.map((packet) => parseTelephoneEvent(packet?.payload ?? Buffer.alloc(0))),
        [1, 2, 3, 4, 5, 5, 5].map((count, index) => ({
          event: 5,
          isEnd: index >= 4,
          volume: 10,
          duration: count * step,
        })),
      );
    });
  }

  it('pauses between two events and gives the second its own timestamp', () => {
    const sender = new TelephoneEventSender(8000);
    sender.enqueue(1, 40, 60);
    sender.enqueue(1, 40, 0);
    const packets = drain(sender, 8000);
    const gap = packets.filter((packet) => packet === undefined).length;
    assert.equal(gap, 2);
    assert.equal(new Set(packets.map((packet) => packet?.rtpTimestamp)).size, 3);
  });

  it('hears each event begin once and end once, with its duration', () => {
    const sender = new TelephoneEventSender(8000);
    const receiver = new TelephoneEventReceiver(8000);
    for (const digit of '1*') sender.enqueue(eventOf(digit) ?? 0, 100, 40);
    const heard = drain(sender, 8000).flatMap((packet, tick) =>
      packet === undefined ? [] : receiver.push(packet.payload, packet.rtpTimestamp, tick * 20),
    );
    assert.deepEqual(heard, [
      { kind: 'started', event: 1, volume: 10 },
      { kind: 'ended', event: 1, durationMs: 100 },
      { kind: 'started', event: 10, volume: 10 },
      { kind: 'ended', event: 10, durationMs: 100 },
    ]);
  });

  it('hears an event of which only one packet arrives, whichever it is', () => {
    const sender = new TelephoneEventSender(8000);
    sender.enqueue(7, 100, 0);
    for (const packet of drain(sender, 8000)) {
      assert.ok(packet);
      const receiver = new TelephoneEventReceiver(8000);
      const told = [...receiver.push(packet.payload, packet.rtpTimestamp, 0)];
      assert.equal(receiver.poll(100), undefined);
      const ended = receiver.poll(300);
      if (ended !== undefined) told.push(ended);
      assert.deepEqual(
        told.map((event) => [event.kind, event.event]),
        [
          ['started', 7],
          ['ended', 7],
        ],
      );
      assert.equal(receiver.poll(600), undefined);
    }
  });

  it('ends an event when the next one begins, and ignores what comes after its end', () => {
    const receiver = new TelephoneEventReceiver(8000);
    const packet = (event: number, isEnd: boolean): Uint8Array =>
      Uint8Array.of(event, isEnd ? 0x8a : 0x0a, 0x01, 0x40);
    receiver.push(packet(1, false), 1000, 0);
    assert.deepEqual(
      receiver.push(packet(2, false), 2000, 100).map((event) => event.kind),
      ['ended', 'started'],
    );
    assert.deepEqual(receiver.push(packet(1, true), 1000, 110), []);
    assert.equal(receiver.push(packet(2, true), 2000, 120).length, 1);
    assert.deepEqual(receiver.push(packet(2, true), 2000, 140), []);
  });

  it('knows that some phones count in 48 kHz what they promise in 8 kHz', () => {
    const receiver = new TelephoneEventReceiver(8000);
    let told = receiver.push(Uint8Array.of(3, 0x0a, 0x03, 0xc0), 0, 0);
    for (let tick = 1; tick <= 5; tick++) {
      const duration = 960 * tick;
      const flags = tick === 5 ? 0x8a : 0x0a;
      told = receiver.push(Uint8Array.of(3, flags, duration >> 8, duration & 0xff), 0, tick * 20);
    }
    assert.deepEqual(told, [{ kind: 'ended', event: 3, durationMs: 100 }]);
  });

  it('cuts an event that is longer than its duration can say', () => {
    const sender = new TelephoneEventSender(48000);
    sender.enqueue(1, 5000, 0);
    const packets = drain(sender, 48000);
    const last = parseTelephoneEvent(packets.at(-1)?.payload ?? Buffer.alloc(0));
    assert.deepEqual([last?.isEnd, last?.duration], [true, 65535]);
  });
});
