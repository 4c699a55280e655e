/** The transports that a request can come by, as the drachtio control protocol names them. */

export const TRANSPORTS = ['udp', 'tcp', 'tls', 'ws', 'wss'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** An empty or unknown name means that the transport was released already; it was a stream. */
export function transportOf(name: string): Transport {
  return TRANSPORTS.find((transport) => transport === name.toLowerCase()) ?? 'tcp';
}
