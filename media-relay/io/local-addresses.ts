/** Which of the relay's addresses a leg is bound to, and which one SDP tells the other side. */

import { createSocket } from 'node:dgram';
import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isUnicast, isUnspecified } from '../../core/sdp/address.ts';
import { RefusedError } from '../../core/errors.ts';

/** One address of the relay; with `bind` 0.0.0.0 or :: and no `advertise`, the one that routing would choose is told. */
export type RelayAddress = {
  /** Numeric, of this machine. */
  readonly bind: string;
  /** Numeric; for a relay behind a one-to-one NAT. */
  readonly advertise?: string | undefined;
};

export type ChosenAddress = { readonly bind: string; readonly advertise: string };

/** What is known of the other end when a leg is made; every field may be absent. */
export type AddressHint = {
  readonly ipVersion?: 4 | 6 | undefined;
  /** Numeric address that the leg's packets will go to. */
  readonly towards?: string | undefined;
};

/** Routes change seldom, calls come often. */
const ROUTE_CACHE_MS = 30_000;
const ROUTE_CACHE_SIZE = 1000;

export class LocalAddresses {
  readonly #addresses: readonly RelayAddress[];
  readonly #routes = new Map<string, { readonly source: string | undefined; untilMs: number }>();
  readonly #now: () => number;

  constructor(addresses: readonly RelayAddress[], now: () => number) {
    this.#addresses = addresses;
    this.#now = now;
  }

  /** @throws RefusedError 488 `relay.family.unavailable` when the relay has no address of that family */
  async choose({ ipVersion, towards }: AddressHint): Promise<ChosenAddress> {
    const version = ipVersion ?? (towards === undefined ? undefined : versionOf(towards));
    const candidates = this.#addresses.filter(
      ({ bind }) => version === undefined || versionOf(bind) === version,
    );
    const source = towards === undefined ? undefined : await this.#sourceTowards(towards);
    const chosen = pick(candidates, source, towards);
    if (chosen === undefined) {
      throw new RefusedError('relay.family.unavailable', `no IPv${version ?? '?'} address`, 488);
    }
    const advertise =
      chosen.advertise ??
      (isUnspecified(chosen.bind) ? (source ?? primaryAddress(versionOf(chosen.bind))) : undefined);
    return { bind: chosen.bind, advertise: advertise ?? chosen.bind };
  }

  /** Whether packets sent to this address come back to this machine's relay. */
  isOwn(address: string): boolean {
    if (this.#addresses.some(({ bind, advertise }) => bind === address || advertise === address)) {
      return true;
    }
    return (
      this.#addresses.some(({ bind }) => isUnspecified(bind)) &&
      (isLoopback(address) || interfaceAddresses().some((own) => own.address === address))
    );
  }

  /** The address that the system would send from; asks the routing table, sends nothing. */
  async #sourceTowards(address: string): Promise<string | undefined> {
    if (!isUnicast(address)) return undefined;
    const known = this.#routes.get(address);
    if (known !== undefined && known.untilMs > this.#now()) return known.source;
    const source = await routeSource(address);
    if (this.#routes.size >= ROUTE_CACHE_SIZE) this.#routes.clear();
    this.#routes.set(address, { source, untilMs: this.#now() + ROUTE_CACHE_MS });
    return source;
  }
}

function versionOf(address: string): 4 | 6 {
  return isIPv6(address) ? 6 : 4;
}

function isLoopback(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}

/** The address that routing names; else one that is loopback when the other end is, and is not when it is not. */
function pick(
  candidates: readonly RelayAddress[],
  source: string | undefined,
  towards: string | undefined,
): RelayAddress | undefined {
  const isLocal = towards !== undefined && isLoopback(towards);
  return (
    candidates.find(({ bind }) => bind === source) ??
    candidates.find(({ bind }) => isUnspecified(bind)) ??
    candidates.find(({ bind }) => isLoopback(bind) === isLocal) ??
    candidates[0]
  );
}

function interfaceAddresses(): readonly { address: string; family: string; internal: boolean }[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
}

/** The first address that other machines can reach, else the loopback one. */
function primaryAddress(version: 4 | 6): string {
  const found = interfaceAddresses().find(
    ({ address, family, internal }) =>
      !internal && family === `IPv${version}` && !address.startsWith('fe80:'),
  );
  return found?.address ?? (version === 6 ? '::1' : '127.0.0.1');
}

async function routeSource(address: string): Promise<string | undefined> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  try {
    return await new Promise<string | undefined>((resolve) => {
      socket.once('error', () => {
        resolve(undefined);
      });
      socket.connect(9, address, () => {
        resolve(socket.address().address);
      });
    });
  } finally {
    socket.close();
  }
}
