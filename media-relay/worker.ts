/** The relay's thread: sockets, forwarding and rooms, away from everything that could keep packets waiting. */

import { isIP } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { ConfigError, SwitchError } from '../core/errors.ts';
import { invariant } from '../core/invariant.ts';
import type { Log, LogLevel } from '../core/log.ts';
import { Batch } from './control/channel.ts';
import { RelayService } from './control/relay-service.ts';
import { UdpControlServer } from './control/udp-server.ts';
import { LocalAddresses } from './io/local-addresses.ts';
import type { RelayAddress } from './io/local-addresses.ts';
import { PortPool } from './io/port-pool.ts';
import { UdpPort } from './io/udp-port.ts';
import type { RelaySettings } from './options.ts';
import { createRoomMixer } from './room/mixer.ts';
import type { RelayWorkerData, WorkerMessage } from './worker-messages.ts';

function now(): number {
  return performance.now();
}

/**
 * The addresses that can be bound. The wildcard of a family that this machine does not have is left out silently.
 *
 * @throws ConfigError when one that was asked for by name cannot be bound, or none can
 */
async function usableAddresses(addresses: readonly RelayAddress[]): Promise<RelayAddress[]> {
  const usable: RelayAddress[] = [];
  for (const address of addresses) {
    const { bind, advertise } = address;
    if (isIP(bind) === 0 || (advertise !== undefined && isIP(advertise) !== isIP(bind))) {
      throw new ConfigError('relay.address', `"${bind}" is not an address that media can use`);
    }
    try {
      (await UdpPort.open(bind, 0)).close();
      usable.push(address);
    } catch (error) {
      if (bind === '0.0.0.0' || bind === '::') continue;
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConfigError('relay.address', `media cannot use the address ${bind}: ${reason}`);
    }
  }
  if (usable.length === 0) throw new ConfigError('relay.address', 'no address for media');
  return usable;
}

function checkPortRange({ portRange: { min, max } }: RelaySettings): void {
  const isRange = Number.isInteger(min) && Number.isInteger(max) && min >= 1 && max <= 65_535;
  if (!isRange || max - min < 1) {
    throw new ConfigError('relay.ports', `RTP ports from ${min} to ${max} are no range`);
  }
}

async function openNg(
  ng: NonNullable<RelayWorkerData['ng']>,
  service: RelayService,
): Promise<UdpControlServer> {
  try {
    return await UdpControlServer.open(ng, (request) => service.handle(request));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(
      'relay.ng',
      `ng cannot listen on ${ng.host}:${ng.port}: ${reason}; see relay.ngPort and relay.ngAddress`,
    );
  }
}

async function run(data: RelayWorkerData): Promise<void> {
  invariant(parentPort !== null, 'this file runs as a worker');
  const port = parentPort;
  checkPortRange(data.settings);
  const addresses = await usableAddresses(data.settings.addresses);
  const settings = { ...data.settings, addresses };
  const service = new RelayService({
    resources: {
      settings,
      ports: new PortPool(settings.portRange),
      addresses: new LocalAddresses(addresses, now),
      now,
    },
    createMixer: createRoomMixer,
    log: postedLog,
    onEvent: (event) => {
      post({ kind: 'event', event });
    },
  });
  const ng = data.ng === undefined ? undefined : await openNg(data.ng, service);
  const replies = new Batch((items) => {
    post({ kind: 'replies', items });
  });
  port.on('message', (message: WorkerMessage) => {
    if (message.kind === 'requests') {
      for (const { cookie, message: request, canWait } of message.items) {
        void service.handle(request).then((reply) => {
          replies.add({ cookie, message: reply, canWait });
        });
      }
    } else if (message.kind === 'close') {
      ng?.close();
      replies.close();
      service.close();
      port.close();
    }
  });
  post({ kind: 'started', ngEndpoint: ng?.address });
}

/** Log lines are written by whoever started the worker. */
const postedLog: Log = {
  error: logAt('error'),
  warn: logAt('warn'),
  info: logAt('info'),
  debug: () => undefined,
};

function logAt(level: LogLevel): Log[LogLevel] {
  return (event, fields) => {
    post({ kind: 'log', level, event, fields: fields?.() ?? {} });
  };
}

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

try {
  await run(workerData as RelayWorkerData);
} catch (error) {
  const isExpected = error instanceof SwitchError;
  post({ kind: 'failed', reason: isExpected ? error.message : String(error) });
}
