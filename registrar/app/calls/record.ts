/** One row for each call in the store, written when the call ends. */
import type { CallStatistics } from '../../../media-relay/public.ts';
import type { Store } from '../store/store.ts';

export type EndedBy = 'caller' | 'callee' | 'switch';

export type CallRecord = {
  /** Of the caller's leg. */
  readonly callId: string;
  readonly caller: string;
  readonly callee: string;
  readonly startedAtMs: number;
  readonly answeredAtMs: number | undefined;
  readonly endedAtMs: number;
  /** Final status of the caller's INVITE. */
  readonly sipStatus: number;
  readonly endedBy: EndedBy;
  readonly reason: string;
  readonly statistics: CallStatistics | undefined;
};

/** @returns writes one record; resolves when it is durable */
export function callRecorder(store: Store): (record: CallRecord) => Promise<void> {
  const insert = store.prepare(
    `INSERT INTO calls (callId, caller, callee, startedAtMs, answeredAtMs, endedAtMs,
       sipStatus, endedBy, reason, legs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  return (record) =>
    store.enqueue(() => {
      const { statistics } = record;
      insert.run(
        record.callId,
        record.caller,
        record.callee,
        Math.round(record.startedAtMs),
        record.answeredAtMs === undefined ? null : Math.round(record.answeredAtMs),
        Math.round(record.endedAtMs),
        record.sipStatus,
        record.endedBy,
        record.reason,
        statistics === undefined ? null : JSON.stringify(statistics.legs),
      );
    });
}
