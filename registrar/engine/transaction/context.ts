/** What transactions need of the engine. */

import type { Timers } from '../../../core/sip/transaction/timers.ts';
import type { EngineCounters } from '../counters.ts';
import type { Ids } from '../ids.ts';
import type { TimerContext } from '../timers.ts';
import type { Transports } from '../transport/transports.ts';

export type TransactionContext = TimerContext & {
  readonly sipTimers: Timers;
  readonly inventedFailureMs: number;
  readonly tcpUpgradeMs: number;
  readonly ids: Ids;
  readonly counters: EngineCounters;
  readonly transports: Transports;
};
