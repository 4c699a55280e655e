/** Locating SIP servers (RFC 3263): NAPTR, SRV, then A and AAAA, dead targets last. */
import { promises as dns } from 'node:dns';
import net from 'node:net';
import type { ResolvedTarget, Transport } from '../seam.ts';
import { defaultPort } from '../transport/target.ts';

/** The DNS questions that RFC 3263 asks; tests give their own answers. Each rejects when there is no such record. */
export type DnsQuestions = {
  naptr(name: string): Promise<
    readonly {
      readonly order: number;
      readonly preference: number;
      readonly service: string;
      readonly replacement: string;
    }[]
  >;
  srv(name: string): Promise<
    readonly {
      readonly name: string;
      readonly port: number;
      readonly priority: number;
      readonly weight: number;
    }[]
  >;
  /** Numeric addresses, IPv4 and IPv6, in the order to try. */
  addresses(name: string): Promise<readonly string[]>;
};

export type ResolveRequest = {
  readonly host: string;
  readonly port: number | undefined;
  readonly transport: Transport | undefined;
  readonly secure: boolean;
};

/** Asks the system's resolver; names of the hosts file count. */
export const systemDns: DnsQuestions = {
  naptr: (name) => dns.resolveNaptr(name),
  srv: (name) => dns.resolveSrv(name),
  addresses: async (name) => {
    const found = await dns.lookup(name, { all: true, verbatim: true });
    return found.map(({ address }) => address);
  },
};

const NAPTR_SERVICES: Readonly<Record<string, Transport>> = {
  'SIP+D2U': 'udp',
  'SIP+D2T': 'tcp',
  'SIPS+D2T': 'tls',
};
const SRV_PREFIXES: Readonly<Record<'udp' | 'tcp' | 'tls', string>> = {
  udp: '_sip._udp.',
  tcp: '_sip._tcp.',
  tls: '_sips._tcp.',
};
const DEAD_FOR_MS = 30_000;

export class Resolver {
  readonly #dns: DnsQuestions;
  readonly #supported: ReadonlySet<Transport>;
  readonly #random: () => number;
  readonly #deadUntilMs = new Map<string, number>();

  /** @param random - uniform in [0, 1), for the weights of RFC 2782 */
  constructor(questions: DnsQuestions, supported: ReadonlySet<Transport>, random: () => number) {
    this.#dns = questions;
    this.#supported = supported;
    this.#random = random;
  }

  /** Notes that a target did not answer: for 30 s it is tried after all others. */
  markDead(target: ResolvedTarget, nowMs: number): void {
    for (const [key, untilMs] of this.#deadUntilMs) {
      if (untilMs <= nowMs) this.#deadUntilMs.delete(key);
    }
    this.#deadUntilMs.set(keyOf(target), nowMs + DEAD_FOR_MS);
  }

  /** @returns places to try, best first; empty when the name leads nowhere. Never rejects. */
  async resolve(request: ResolveRequest, nowMs: number): Promise<readonly ResolvedTarget[]> {
    const targets = await this.#locate(request);
    const isDead = (target: ResolvedTarget): boolean =>
      (this.#deadUntilMs.get(keyOf(target)) ?? 0) > nowMs;
    return [
      ...targets.filter((target) => !isDead(target)),
      ...targets.filter((target) => isDead(target)),
    ];
  }

  async #locate(request: ResolveRequest): Promise<readonly ResolvedTarget[]> {
    const { host, port, secure } = request;
    const fallback = request.transport ?? (secure ? 'tls' : 'udp');
    if (net.isIP(host) !== 0) return [target(fallback, host, port)];
    if (port !== undefined) return this.#addresses(host, fallback, port);
    const services =
      request.transport === undefined
        ? await this.#services(host, secure)
        : srvServices(host, [request.transport]);
    const located: ResolvedTarget[] = [];
    for (const { name, transport } of services) {
      located.push(...(await this.#servers(name, transport)));
    }
    return located.length > 0 ? located : this.#addresses(host, fallback, undefined);
  }

  /** RFC 3263 section 4.1: NAPTR decides on the transport; without it every transport's SRV name is tried. */
  async #services(host: string, secure: boolean): Promise<readonly Service[]> {
    const records = await emptyWhenAbsent(this.#dns.naptr(host));
    const found = [...records]
      .sort((a, b) => a.order - b.order || a.preference - b.preference)
      .flatMap(({ service, replacement }) => {
        const transport = NAPTR_SERVICES[service.toUpperCase()];
        if (transport === undefined || !this.#isUsable(transport, secure)) return [];
        return [{ name: replacement, transport }];
      });
    if (found.length > 0) return found;
    const order: readonly Transport[] = ['udp', 'tcp', 'tls'];
    return srvServices(
      host,
      order.filter((transport) => this.#isUsable(transport, secure)),
    );
  }

  #isUsable(transport: Transport, secure: boolean): boolean {
    return this.#supported.has(transport) && (!secure || transport === 'tls');
  }

  async #servers(name: string, transport: Transport): Promise<readonly ResolvedTarget[]> {
    const records = [...(await emptyWhenAbsent(this.#dns.srv(name)))];
    const ordered = this.#byPriorityAndWeight(records);
    const targets: ResolvedTarget[] = [];
    for (const record of ordered) {
      targets.push(...(await this.#addresses(record.name, transport, record.port)));
    }
    return targets;
  }

  /** RFC 2782: lowest priority first; within one priority drawn by weight. */
  #byPriorityAndWeight<R extends { readonly priority: number; readonly weight: number }>(
    records: readonly R[],
  ): readonly R[] {
    const rest = [...records].sort((a, b) => a.priority - b.priority || a.weight - b.weight);
    const ordered: R[] = [];
    while (rest[0] !== undefined) {
      const priority = rest[0].priority;
      const group = rest.filter((record) => record.priority === priority);
      const sum = group.reduce((total, { weight }) => total + weight, 0);
      let ticket = this.#random() * sum;
      const chosen = group.find(({ weight }) => (ticket -= weight) <= 0) ?? group[0];
      if (chosen === undefined) break;
      ordered.push(chosen);
      rest.splice(rest.indexOf(chosen), 1);
    }
    return ordered;
  }

  async #addresses(
    host: string,
    transport: Transport,
    port: number | undefined,
  ): Promise<readonly ResolvedTarget[]> {
    if (net.isIP(host) !== 0) return [target(transport, host, port)];
    const addresses = await emptyWhenAbsent(this.#dns.addresses(host));
    return addresses.map((address) => target(transport, address, port));
  }
}

type Service = { readonly name: string; readonly transport: Transport };

function srvServices(host: string, transports: readonly Transport[]): readonly Service[] {
  return transports.flatMap((transport) => {
    const prefix = transport === 'ws' || transport === 'wss' ? undefined : SRV_PREFIXES[transport];
    return prefix === undefined ? [] : [{ name: prefix + host, transport }];
  });
}

function target(transport: Transport, address: string, port: number | undefined): ResolvedTarget {
  return { transport, remote: { address, port: port ?? defaultPort(transport) } };
}

function keyOf({ transport, remote }: ResolvedTarget): string {
  return `${transport} ${remote.address} ${remote.port}`;
}

async function emptyWhenAbsent<T>(records: Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await records;
  } catch {
    // NXDOMAIN, no data, a resolver that does not answer: for us all the same, there is nothing to try.
    return [];
  }
}
