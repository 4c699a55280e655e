/** Where the embedded engine listens for SIP: the simple settings and the list, as one list. */
import { z } from 'zod';
import { address, isSameFamily, port, type ConfigFault } from './values.ts';

/** One further socket. */
export const listener = z.strictObject({
  transport: z.enum(['udp', 'tcp', 'tls', 'ws', 'wss']),
  address,
  port: port.min(1),
  /** What to write into Via and Contact instead of `address` and `port`, behind a NAT. */
  externalAddress: address.optional(),
  externalPort: port.min(1).optional(),
});

type SipListener = z.output<typeof listener>;

/** One socket, or with a wildcard address one for each address of this machine. */
export type ListeningPlace = {
  readonly transport: SipListener['transport'];
  readonly address: string;
  readonly port: number;
  readonly external: { readonly address: string; readonly port: number } | undefined;
  /** The setting that it comes from. */
  readonly path: string;
};

/** What of the configuration says where to listen. */
type Settings = {
  readonly sip: {
    readonly listenAddresses: readonly string[];
    readonly port: number;
    readonly externalAddress?: string | undefined;
    readonly listeners: readonly SipListener[];
  };
  readonly tls: {
    readonly enabled: boolean;
    readonly port?: number | undefined;
    readonly webSocketPort?: number | undefined;
    readonly secureWebSocketPort?: number | undefined;
  };
};

const MAX_PORT = 65_535;

/** Every transport on every address, then the list. */
export function listeningPlaces({ sip, tls }: Settings): readonly ListeningPlace[] {
  const tlsPort = tls.port ?? (sip.port === 0 ? 0 : Math.min(sip.port + 1, MAX_PORT));
  const ports = [
    ['udp', sip.port, 'sip.port'],
    ['tcp', sip.port, 'sip.port'],
    ['tls', tls.enabled ? tlsPort : undefined, 'tls.port'],
    ['ws', tls.webSocketPort, 'tls.webSocketPort'],
    ['wss', tls.secureWebSocketPort, 'tls.secureWebSocketPort'],
  ] as const;
  const simple = sip.listenAddresses.flatMap((on) =>
    ports.flatMap(([transport, number, path]) => {
      if (number === undefined) return [];
      const outside = sip.externalAddress;
      const hasOutside = outside !== undefined && isSameFamily(outside, on);
      const external = hasOutside ? { address: outside, port: number } : undefined;
      return [{ transport, address: on, port: number, external, path }];
    }),
  );
  const further = sip.listeners.map(
    ({ transport, address: on, port: number, externalAddress, externalPort = number }, index) => ({
      transport,
      address: on,
      port: number,
      external:
        externalAddress === undefined
          ? undefined
          : { address: externalAddress, port: externalPort },
      path: `sip.listeners.${index}`,
    }),
  );
  return [...simple, ...further];
}

/** The settings that a socket which cannot be opened comes from. */
export type SocketSettings = { readonly port: string; readonly address: string };

/** @returns undefined when nothing in the configuration asks for that socket */
export function settingsOfSocket(
  settings: Settings & {
    readonly applications: { readonly address: string; readonly port?: number | undefined };
  },
  socket: Socket,
): SocketSettings | undefined {
  const { applications } = settings;
  const places = listeningPlaces(settings).map((place) => ({
    ...place,
    isStream: place.transport !== 'udp',
  }));
  const place = places.find((each) => isSameSocket(each, socket));
  if (place !== undefined) {
    const isFurther = place.path.startsWith('sip.listeners.');
    return { port: place.path, address: isFurther ? place.path : 'sip.listenAddresses' };
  }
  const control = { ...applications, port: applications.port ?? 0, isStream: true };
  return isSameSocket(control, socket)
    ? { port: 'applications.port', address: 'applications.address' }
    : undefined;
}

/** @param control - the port for further applications, if there is one */
export function checkListeners(
  settings: Settings,
  control: { readonly address: string; readonly port: number } | undefined,
): readonly ConfigFault[] {
  const { listenAddresses, listeners } = settings.sip;
  const faults = listeners.flatMap(faultsOfListener);
  if (listenAddresses.length === 0 && listeners.length === 0) {
    const message = 'there is nowhere to listen: give addresses here, or sip.listeners';
    faults.push({ path: 'sip.listenAddresses', message });
  }
  const places = listeningPlaces(settings).map((place) => ({
    ...place,
    isStream: place.transport !== 'udp',
  }));
  const all =
    control === undefined
      ? places
      : [...places, { ...control, isStream: true, path: 'applications.port' }];
  for (const [index, place] of all.entries()) {
    const taken = all.slice(0, index).find((earlier) => isSameSocket(earlier, place));
    if (taken === undefined) continue;
    const where = `${place.address} port ${place.port}`;
    faults.push({
      path: place.path,
      message: `${where} is taken by ${taken.path} already: choose another port`,
    });
  }
  return faults;
}

function faultsOfListener(listening: SipListener, index: number): ConfigFault[] {
  const { address: on, externalAddress, externalPort } = listening;
  const path = `sip.listeners.${index}`;
  if (externalAddress === undefined) {
    if (externalPort === undefined) return [];
    const message = 'means nothing without externalAddress: give both';
    return [{ path: `${path}.externalPort`, message }];
  }
  if (isSameFamily(externalAddress, on)) return [];
  const message = `${externalAddress} is not of the same family as address ${on}: IPv4 for IPv4, IPv6 for IPv6`;
  return [{ path: `${path}.externalAddress`, message }];
}

type Socket = { readonly address: string; readonly port: number; readonly isStream: boolean };

function isSameSocket(a: Socket, b: Socket): boolean {
  if (a.isStream !== b.isStream || a.port !== b.port || a.port === 0) return false;
  if (!isSameFamily(a.address, b.address)) return false;
  return a.address === b.address || [a.address, b.address].some(isWildcard);
}

function isWildcard(on: string): boolean {
  return on === '0.0.0.0' || on === '::';
}
