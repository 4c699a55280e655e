/**
 * Passes the keys that one participant presses on to the others, as telephone-events of our own (RFC 4733): one event
 * at a time in a room, each with the duration that it really has, on the clock of each listener.
 */

import { writeTelephoneEvent } from '../../core/rtp/telephone-event.ts';
import { RTP_HEADER_BYTES } from '../../core/rtp/packet.ts';
import { MediaFrame } from './media-frame.ts';

const FRAME_MS = 20;
const END_PACKETS = 3;
const PAYLOAD_BYTES = 4;
const MAX_DURATION = 0xffff;
/** Between two events, so that receivers tell two equal keys apart. */
const PAUSE_TICKS = 2;
const MAX_WAITING = 16;

type RelayedEvent<Source> = {
  readonly source: Source;
  readonly event: number;
  readonly volume: number;
  /** Known when the key went up. */
  durationMs: number | undefined;
};

export class EventRelay<Source> {
  readonly #waiting: RelayedEvent<Source>[] = [];
  readonly #frames = new Map<number, MediaFrame>();
  #elapsedMs = 0;
  #endsSent = 0;
  #pauseTicks = 0;

  /** Whose event is being sent in this tick; he does not get it back. */
  get source(): Source | undefined {
    return this.#elapsedMs > 0 ? this.#waiting[0]?.source : undefined;
  }

  /** Whether this tick holds the first packet of an event. */
  get isFirst(): boolean {
    return this.#elapsedMs === FRAME_MS && this.#endsSent <= 1;
  }

  begin(source: Source, event: number, volume: number): void {
    if (this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push({ source, event, volume, durationMs: undefined });
  }

  end(source: Source, event: number, durationMs: number): void {
    const found = this.#waiting.find(
      (waiting) =>
        waiting.source === source && waiting.event === event && waiting.durationMs === undefined,
    );
    if (found !== undefined) found.durationMs = Math.max(FRAME_MS, durationMs);
  }

  /** He left: what he pressed ends now. */
  abandon(source: Source): void {
    for (const waiting of this.#waiting) {
      if (waiting.source === source) waiting.durationMs ??= FRAME_MS;
    }
  }

  /** Moves on by one tick. Call it first in each tick. */
  tick(): void {
    if (this.#endsSent >= END_PACKETS) this.#finish();
    if (this.#pauseTicks > 0) {
      this.#pauseTicks -= 1;
      return;
    }
    const current = this.#waiting[0];
    if (current === undefined) return;
    this.#elapsedMs += FRAME_MS;
    const isOver = current.durationMs !== undefined && this.#elapsedMs >= current.durationMs;
    if (isOver || this.#endsSent > 0) this.#endsSent += 1;
    for (const [clockRateHz, frame] of this.#frames) this.#write(current, clockRateHz, frame);
  }

  /** This tick's packet for listeners with that clock. */
  frame(clockRateHz: number): MediaFrame {
    let frame = this.#frames.get(clockRateHz);
    const current = this.#waiting[0];
    if (frame === undefined && current !== undefined) {
      frame = new MediaFrame();
      this.#frames.set(clockRateHz, frame);
      this.#write(current, clockRateHz, frame);
    }
    return frame ?? new MediaFrame();
  }

  #write(current: RelayedEvent<Source>, clockRateHz: number, frame: MediaFrame): void {
    const isEnd = this.#endsSent > 0;
    const lastedMs = isEnd
      ? (current.durationMs ?? this.#elapsedMs)
      : Math.min(this.#elapsedMs, current.durationMs ?? Infinity);
    const duration = Math.min(MAX_DURATION, Math.round((lastedMs * clockRateHz) / 1000));
    const { event, volume } = current;
    writeTelephoneEvent(frame.packet, RTP_HEADER_BYTES, { event, volume, duration, isEnd });
    frame.length = RTP_HEADER_BYTES + PAYLOAD_BYTES;
  }

  #finish(): void {
    this.#waiting.shift();
    this.#elapsedMs = 0;
    this.#endsSent = 0;
    this.#pauseTicks = PAUSE_TICKS;
  }
}
