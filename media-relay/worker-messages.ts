/** What the relay's worker and its owner say to each other apart from commands: starting and stopping. */

import type { LogLevel } from '../core/log.ts';
import type { PortMessage } from './control/channel.ts';
import type { RelaySettings } from './options.ts';

type NgEndpoint = { readonly host: string; readonly port: number };

/** Plain data: it is copied into the worker. */
export type RelayWorkerData = {
  readonly settings: RelaySettings;
  readonly ng: NgEndpoint | undefined;
};

export type WorkerMessage =
  | PortMessage
  | { readonly kind: 'started'; readonly ngEndpoint: NgEndpoint | undefined }
  | {
      readonly kind: 'log';
      readonly level: LogLevel;
      readonly event: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'close' };
