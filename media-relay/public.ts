/**
 * The media relay as others see it: the ng control protocol, typed. Nothing else of this folder may be imported.
 * `startMediaRelay` runs one in a worker thread; `connectMediaRelay` uses one that runs elsewhere, ours or an rtpengine.
 *
 * A two-party call is `offer`, `answer`, `delete`, as in rtpengine. A room participant is `roomJoin`, `roomLeave`
 * (our own extension commands `room join`, `room leave`, ...).
 */

import { Worker } from 'node:worker_threads';
import { ControlError } from '../core/errors.ts';
import { nullLog } from '../core/log.ts';
import type { Log } from '../core/log.ts';
import { threadUrl } from '../core/worker-url.ts';
import { UdpChannel } from './control/channel.ts';
import { RelayClient } from './control/client.ts';
import { relayInWorker } from './control/worker-relay.ts';
import type { RelayWorkerData } from './worker-messages.ts';
import type { MediaRelay } from './messages.ts';
import { DEFAULT_SETTINGS } from './options.ts';
import type { RelaySettings } from './options.ts';

export type * from './messages.ts';

export type MediaRelayOptions = Partial<RelaySettings> & {
  /** Listen for the ng protocol over UDP as well; port 0 lets the system choose. */
  readonly ng?: { readonly host: string; readonly port: number } | undefined;
  readonly log?: Log;
};

const UDP_DEADLINE_MS = 3000;
/** For young objects: hardly any of the relay's survive, so that a small space is emptied as cheaply as a big one. */
const MAX_YOUNG_MIB = 12;

/**
 * Starts a relay in a worker thread of its own.
 *
 * @throws ConfigError when an address or the port range cannot be used, or ng cannot listen
 */
export async function startMediaRelay(options: MediaRelayOptions = {}): Promise<MediaRelay> {
  const { log = nullLog, ng, ...settings } = options;
  const workerData: RelayWorkerData = { settings: { ...DEFAULT_SETTINGS, ...settings }, ng };
  const worker = new Worker(threadUrl(import.meta.url, './worker'), {
    workerData,
    resourceLimits: { maxYoungGenerationSizeMb: MAX_YOUNG_MIB },
  });
  return await relayInWorker(worker, log);
}

/**
 * Uses a relay that listens for ng over UDP. It need not be there yet: requests wait for it until their deadline.
 * Rooms need a relay of ours; others refuse them with `relay.command.unknown`.
 *
 * @throws ControlError `relay.unreachable` when the host's name leads nowhere
 */
export async function connectMediaRelay(options: {
  readonly host: string;
  readonly port: number;
  readonly deadlineMs?: number;
  readonly log?: Log;
}): Promise<MediaRelay> {
  const { host, port, deadlineMs = UDP_DEADLINE_MS, log = nullLog } = options;
  let channel: UdpChannel;
  try {
    channel = await UdpChannel.open({ host, port }, deadlineMs);
  } catch (error) {
    throw new ControlError('relay.unreachable', `no relay at ${host}`, { cause: error });
  }
  return new RelayClient({
    channel,
    close: () => {
      channel.close('the relay was closed');
      return Promise.resolve();
    },
    log,
  });
}
