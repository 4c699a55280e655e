/** The relay's settings, as plain data that a worker can be given. */

import type { RelayAddress } from './io/local-addresses.ts';
import type { PortRange } from './io/port-pool.ts';

/** How a leg learns where its packets come from. */
export type LatchPolicy = {
  /** How long after the first packet another source may still be learned. */
  readonly windowMs: number;
  /** How many packets one source must have sent to be held on to. */
  readonly minPackets: number;
  /** Silence after which the same stream may go on from another address. */
  readonly rebindAfterMs: number;
  /** Accept nothing but the address and port that SDP promised. */
  readonly isStrict: boolean;
};

export type RelaySettings = {
  /** At least one. */
  readonly addresses: readonly RelayAddress[];
  readonly portRange: PortRange;
  readonly latch: LatchPolicy;
  /** More from one source in a second are dropped: nobody talks that fast, but a loop of relayed packets would. */
  readonly maxPacketsPerSecond: number;
  /** Between two RTCP reports to a room participant, on average (RFC 3550 §6.2). */
  readonly rtcpIntervalMs: number;
  /** A call without any packet for so long is deleted; undefined: calls belong to whoever made them. */
  readonly idleTimeoutMs: number | undefined;
};

export const DEFAULT_SETTINGS: RelaySettings = {
  addresses: [{ bind: '0.0.0.0' }, { bind: '::' }],
  portRange: { min: 16_384, max: 32_767 },
  latch: { windowMs: 500, minPackets: 5, rebindAfterMs: 1000, isStrict: false },
  maxPacketsPerSecond: 1000,
  rtcpIntervalMs: 5000,
  idleTimeoutMs: undefined,
};
