/** Named telephone events (RFC 4733): a receiver that tells when each key went up, and a sender of timed events. */

import { timestampDifference } from './sequence.ts';

/** The keys of events 0 to 15, in order. */
const DIGITS = '0123456789*#ABCD';
const PAYLOAD_BYTES = 4;
const MAX_DURATION = 0xffff;
/** The last packet goes out three times (RFC 4733 §2.5.1.4). */
const END_PACKETS = 3;
/** After so long without a packet an event whose end was lost is over. */
const LOST_END_MS = 200;
/** A timestamp that goes back further than this is a restarted sender. */
const MAX_REORDERING_SECONDS = 5;
/** -10 dBm0, which is what phones send. */
const DEFAULT_VOLUME = 10;

export type TelephoneEvent = {
  /** 0 to 255; 0 to 15 are the keys. */
  readonly event: number;
  readonly isEnd: boolean;
  /** Power level in -dBm0, 0 to 63. */
  readonly volume: number;
  /** Since the event began, in units of the RTP clock. */
  readonly duration: number;
};

/** The key of an event, for example `5`, `*` or `A`; undefined for events that are no keys. */
export function digitOf(event: number): string | undefined {
  return DIGITS[event];
}

/** The event number of a key; lower-case letters are taken too. */
export function eventOf(digit: string): number | undefined {
  const event = digit.length === 1 ? DIGITS.indexOf(digit.toUpperCase()) : -1;
  return event < 0 ? undefined : event;
}

/** Reads a payload (RFC 4733 §2.3); undefined when it is shorter than four bytes. Further blocks are ignored. */
export function parseTelephoneEvent(payload: Uint8Array): TelephoneEvent | undefined {
  if (payload.length < PAYLOAD_BYTES) return undefined;
  const [event = 0, flags = 0, high = 0, low = 0] = payload;
  return {
    event,
    isEnd: (flags & 0x80) !== 0,
    volume: flags & 0x3f,
    duration: (high << 8) | low,
  };
}

/** Writes a payload into the first four bytes after `offset`. */
export function writeTelephoneEvent(
  bytes: Uint8Array,
  offset: number,
  event: TelephoneEvent,
): void {
  bytes[offset] = event.event;
  bytes[offset + 1] = (event.isEnd ? 0x80 : 0) | (event.volume & 0x3f);
  bytes[offset + 2] = event.duration >> 8;
  bytes[offset + 3] = event.duration;
}

export type ReceivedEvent =
  | { readonly kind: 'started'; readonly event: number; readonly volume: number }
  | { readonly kind: 'ended'; readonly event: number; readonly durationMs: number };

type IncomingEvent = {
  readonly event: number;
  readonly rtpTimestamp: number;
  duration: number;
  readonly startedMs: number;
  heardMs: number;
};

/**
 * Follows the events of one source. Repeated and reordered packets of an event are told apart by its RTP timestamp,
 * so each event starts once and ends once, whichever of its packets are lost.
 */
export class TelephoneEventReceiver {
  readonly #clockRateHz: number;
  #current: IncomingEvent | undefined;
  #endedTimestamp: number | undefined;

  /** @param clockRateHz - of the telephone-event payload, or of the audio where the sender counts in that */
  constructor(clockRateHz: number) {
    this.#clockRateHz = clockRateHz;
  }

  get isActive(): boolean {
    return this.#current !== undefined;
  }

  /** @returns what this packet tells, in order; most packets tell nothing new */
  push(payload: Uint8Array, rtpTimestamp: number, arrivalMs: number): readonly ReceivedEvent[] {
    const packet = parseTelephoneEvent(payload);
    if (packet === undefined || this.#isOld(rtpTimestamp)) return [];
    const told: ReceivedEvent[] = [];
    if (this.#current !== undefined && this.#current.rtpTimestamp !== rtpTimestamp) {
      told.push(this.#end(this.#current));
    }
    if (this.#current === undefined) {
      this.#current = {
        event: packet.event,
        rtpTimestamp,
        duration: 0,
        startedMs: arrivalMs,
        heardMs: arrivalMs,
      };
      told.push({ kind: 'started', event: packet.event, volume: packet.volume });
    }
    const { duration } = this.#current;
    this.#current.duration = Math.max(duration, packet.duration);
    this.#current.heardMs = arrivalMs;
    if (packet.isEnd) told.push(this.#end(this.#current));
    return told;
  }

  /** Ends an event whose last packets were all lost. Call it now and then. */
  poll(nowMs: number): ReceivedEvent | undefined {
    const current = this.#current;
    if (current === undefined || nowMs - current.heardMs < LOST_END_MS) return undefined;
    return this.#end(current);
  }

  /** Whether a packet belongs to an event that is over: the last one, or one that came before what we follow. */
  #isOld(rtpTimestamp: number): boolean {
    if (rtpTimestamp === this.#endedTimestamp) return true;
    const reference = this.#current?.rtpTimestamp ?? this.#endedTimestamp;
    if (reference === undefined) return false;
    const ahead = timestampDifference(rtpTimestamp, reference);
    return ahead < 0 && -ahead < MAX_REORDERING_SECONDS * this.#clockRateHz;
  }

  #end(current: IncomingEvent): ReceivedEvent {
    this.#current = undefined;
    this.#endedTimestamp = current.rtpTimestamp;
    const durationMs = this.#durationMs(current);
    return { kind: 'ended', event: current.event, durationMs };
  }

  /** Some phones promise 8 kHz and count in the 48 kHz of their Opus: then the time that passed shows it. */
  #durationMs({ duration, startedMs, heardMs }: IncomingEvent): number {
    const counted = (duration * 1000) / this.#clockRateHz;
    const isFaster = this.#clockRateHz === 8000 && counted > 3 * (heardMs - startedMs + 40);
    return isFaster ? counted / 6 : counted;
  }
}

/** One packet to send: the caller adds sequence number, SSRC and payload type. */
export type OutgoingEvent = {
  readonly payload: Uint8Array;
  /** Of the event's beginning: the same in all its packets. */
  readonly rtpTimestamp: number;
  /** Set in the first packet of each event. */
  readonly marker: boolean;
};

type SendingEvent = {
  readonly event: number;
  /** Both in units of the RTP clock. */
  readonly total: number;
  duration: number;
  readonly rtpTimestamp: number;
};

/** Sends queued events one after the other, one packet each time it is asked. */
export class TelephoneEventSender {
  readonly #clockRateHz: number;
  readonly #queue: { event: number; durationMs: number; pauseMs: number }[] = [];
  #current: SendingEvent | undefined;
  #endsLeft = 0;
  #pauseUntilMs = -Infinity;

  constructor(clockRateHz: number) {
    this.#clockRateHz = clockRateHz;
  }

  /** Whether an event is being sent or waits. */
  get isActive(): boolean {
    return this.#current !== undefined || this.#queue.length > 0;
  }

  /**
   * @param event - 0 to 15 for keys (`eventOf`)
   * @param durationMs - at most 8,000 at 8 kHz, 1,300 at 48 kHz: longer events end at 65,535 units
   * @param pauseMs - silence after it, before the next one
   */
  enqueue(event: number, durationMs = 100, pauseMs = 60): void {
    this.#queue.push({ event, durationMs, pauseMs });
  }

  /**
   * The packet for this moment, instead of audio; undefined when there is none (then send audio).
   *
   * @param rtpTimestamp - of the audio that would be sent now
   * @param intervalMs - since the previous call, normally the packet time
   */
  next(rtpTimestamp: number, nowMs: number, intervalMs = 20): OutgoingEvent | undefined {
    const isFirst = this.#current === undefined;
    this.#current ??= this.#begin(rtpTimestamp, nowMs);
    const current = this.#current;
    if (current === undefined) return undefined;
    const step = (intervalMs * this.#clockRateHz) / 1000;
    current.duration = Math.min(current.total, current.duration + step);
    if (this.#endsLeft === 0 && current.duration >= current.total) this.#endsLeft = END_PACKETS;
    const payload = new Uint8Array(PAYLOAD_BYTES);
    const { event, duration } = current;
    const isEnd = this.#endsLeft > 0;
    writeTelephoneEvent(payload, 0, { event, duration, isEnd, volume: DEFAULT_VOLUME });
    const packet = { payload, rtpTimestamp: current.rtpTimestamp, marker: isFirst };
    if (isEnd) this.#sentEnd(nowMs);
    return packet;
  }

  #begin(rtpTimestamp: number, nowMs: number): SendingEvent | undefined {
    const next = nowMs < this.#pauseUntilMs ? undefined : this.#queue[0];
    if (next === undefined) return undefined;
    const total = Math.min(MAX_DURATION, Math.round((next.durationMs * this.#clockRateHz) / 1000));
    return { event: next.event, total, rtpTimestamp, duration: 0 };
  }

  #sentEnd(nowMs: number): void {
    this.#endsLeft -= 1;
    if (this.#endsLeft > 0) return;
    this.#pauseUntilMs = nowMs + (this.#queue.shift()?.pauseMs ?? 0);
    this.#current = undefined;
  }
}
