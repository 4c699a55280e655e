/** One SIP message that passed through the engine's sockets, as the trace sees it. */
import type { Endpoint, Transport } from '../seam.ts';

export type Captured = {
  /** Milliseconds since 1970, with fractions. */
  readonly timeMs: number;
  readonly direction: 'in' | 'out';
  readonly transport: Transport;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** The whole message; credentials are gone already. */
  readonly bytes: Buffer;
};

export type TraceSink = (captured: Captured) => void;
