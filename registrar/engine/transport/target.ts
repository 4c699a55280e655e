/** Where a URI leads before names are resolved (RFC 3263 §4, RFC 3261 §19.1.1 maddr). */

import type { SipUri } from '../../../core/sip/uri.ts';
import { TRANSPORTS, type Endpoint, type ResolvedTarget, type Transport } from '../seam.ts';
import { canonicalAddress, isNumericAddress } from './address.ts';

export type Target = {
  readonly host: string;
  readonly port: number | undefined;
  /** Only when the URI names one. */
  readonly transport: Transport | undefined;
  readonly isSecure: boolean;
};

/** `undefined` when the URI asks for a transport that does not exist. */
export function targetOf(uri: SipUri): Target | undefined {
  const isSecure = uri.scheme === 'sips';
  const named = uri.params.get('transport')?.toLowerCase();
  const transport = TRANSPORTS.find((candidate) => candidate === named);
  if (named !== undefined && transport === undefined) return undefined;
  const host = uri.params.get('maddr') ?? uri.host;
  return { host, port: uri.port, transport: isSecure ? secured(transport) : transport, isSecure };
}

/** The place itself, when the host is an address; `undefined` when a name must be resolved. */
export function numericTarget(target: Target): ResolvedTarget | undefined {
  if (!isNumericAddress(target.host)) return undefined;
  const transport = target.transport ?? (target.isSecure ? 'tls' : 'udp');
  const port = target.port ?? defaultPort(transport);
  return { transport, remote: { address: canonicalAddress(target.host), port } };
}

/** The host of a target as an endpoint, for comparison with our own; names never compare equal. */
export function endpointOf(target: Target): Endpoint {
  const transport = target.transport ?? (target.isSecure ? 'tls' : 'udp');
  return { address: canonicalAddress(target.host), port: target.port ?? defaultPort(transport) };
}

/** RFC 3261 §18.2.2 and RFC 7118 §5. */
export function defaultPort(transport: Transport): number {
  switch (transport) {
    case 'udp':
    case 'tcp':
      return 5060;
    case 'tls':
      return 5061;
    case 'ws':
      return 80;
    case 'wss':
      return 443;
  }
}

function secured(transport: Transport | undefined): Transport {
  return transport === 'ws' || transport === 'wss' ? 'wss' : 'tls';
}
