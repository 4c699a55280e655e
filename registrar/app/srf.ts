/**
 * drachtio-srf as this application uses it: the shapes of its objects (its own typings lack half of them), and one
 * safe way to send a request outside dialogs.
 *
 * All text is ordinary JavaScript strings; bytes that are not UTF-8 survive the way through (see `wire.ts`).
 */
import { ControlError } from '../../core/errors.ts';

/** Several values of one header are one string, joined by commas. Names are matched without case. */
export type SipHeaders = Record<string, string>;

export type NameAddr = {
  /** As written, with quotes if it had any. */
  readonly name: string | undefined;
  readonly uri: string;
  readonly params: Readonly<Record<string, string | undefined>>;
};

export type SipMessage = {
  /** `undefined` when absent. */
  get(name: string): string | undefined;
  has(name: string): boolean;
  readonly headers: Readonly<SipHeaders>;
  readonly body: string | undefined;
  readonly raw: string;
  getParsedHeader(
    name: 'from' | 'to' | 'refer-to' | 'referred-by' | 'p-asserted-identity',
  ): NameAddr;
  getParsedHeader(name: 'contact'): NameAddr[] | '*';
};

type Emitter = {
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  off(event: string, listener: (...args: never[]) => void): unknown;
  removeAllListeners(event?: string): unknown;
};

/** What the control protocol tells about where a message came from. */
export type Received = {
  readonly source: 'network' | 'application';
  readonly source_address: string;
  readonly source_port: number;
  /** udp, tcp, tls, ws, wss, or empty; see `transportOf`. */
  readonly protocol: string;
  readonly stackTxnId: string;
  readonly stackDialogId: string | undefined;
};

export type SipRequest = SipMessage &
  Received &
  Emitter & {
    readonly method: string;
    readonly uri: string;
    readonly res: SipResponse;
    /** The listening socket, `address:port`. */
    readonly receivedOn?: string;
    /** For requests that we sent. */
    cancel(callback: (error: unknown, request: unknown) => void): void;
    cancel(
      options: { headers?: SipHeaders },
      callback: (error: unknown, request: unknown) => void,
    ): void;
  };

export type SendOptions = { headers?: SipHeaders; body?: string };

export type SipResponse = SipMessage &
  Received &
  Emitter & {
    readonly status: number;
    readonly reason: string;
    readonly req: SipRequest;
    /** A final answer has gone out. */
    readonly finalResponseSent: boolean;
    send(
      status: number,
      options?: SendOptions,
      callback?: (error: unknown, sent: SipMessage) => void,
    ): void;
    send(
      status: number,
      reason: string,
      options?: SendOptions,
      callback?: (error: unknown, sent: SipMessage) => void,
    ): void;
  };

export type Dialog = Emitter & {
  readonly id: string;
  readonly type: 'uac' | 'uas';
  readonly connected: boolean;
  readonly sip: { readonly callId: string; readonly localTag: string; readonly remoteTag: string };
  readonly local: { uri: string; sdp: string; contact: string };
  readonly remote: { uri: string; sdp: string };
  readonly req: SipRequest;
  readonly res: SipResponse;
  queueRequests: boolean;
  destroy(
    options: { headers?: SipHeaders },
    callback: (error: unknown, request: SipRequest | undefined) => void,
  ): unknown;
  modify(
    options: { headers?: SipHeaders; noAck: true },
    callback: (error: unknown, sdp: string, ack: (sdp: string) => void) => void,
  ): unknown;
  modify(
    sdp: string,
    options: { headers?: SipHeaders },
    callback: (error: unknown, sdp: string) => void,
  ): unknown;
  request(
    options: { method: string; headers?: SipHeaders; body?: string },
    callback: (error: unknown, response: SipResponse | undefined) => void,
  ): unknown;
};

export type UacOptions = {
  uri: string;
  method?: 'INVITE' | 'SUBSCRIBE';
  headers?: SipHeaders;
  localSdp?: string | undefined;
  proxy?: string;
  noAck?: boolean;
};

export type Middleware = (request: SipRequest, response: SipResponse, next: () => void) => void;

export type Srf = Emitter & {
  connect(options: {
    host: string;
    port: number;
    secret: string;
    tags?: readonly string[];
  }): unknown;
  use(method: string, handler: Middleware): unknown;
  request(
    uri: string,
    options: { method: string; headers?: SipHeaders; body?: string; proxy?: string },
    callback: (error: unknown, request: SipRequest | undefined) => void,
  ): unknown;
  createUAS(
    request: SipRequest,
    response: SipResponse,
    options: { localSdp?: string | undefined; headers?: SipHeaders },
  ): Promise<Dialog>;
  createUAC(
    options: UacOptions,
    progress: {
      cbRequest?: (error: unknown, request: SipRequest | undefined) => void;
      cbProvisional?: (response: SipResponse) => void;
    },
  ): Promise<Dialog>;
};

export type OutgoingRequest = {
  readonly method: string;
  readonly uri: string;
  /** Next hop; spread `targetOf(binding)` here. */
  readonly proxy?: string;
  readonly headers?: SipHeaders;
  readonly body?: string;
};

/**
 * Sends a request outside dialogs (MESSAGE, OPTIONS, ...) and waits for its final answer. The listener is in place
 * before drachtio-srf can read the answer, which `await srf.request()` does not guarantee.
 *
 * @returns the final response, whatever its status; failures of the network come as 408, 410, 430 or 503
 * @throws ControlError `engine.refused` when the engine would not send it, `engine.closed` when it is gone
 */
export function sendRequest(srf: Srf, outgoing: OutgoingRequest): Promise<SipResponse> {
  const { uri, ...options } = outgoing;
  return new Promise((resolve, reject) => {
    try {
      srf.request(uri, options, (error, request) => {
        if (request === undefined || (error !== null && error !== undefined)) {
          const reason = error instanceof Error ? error.message : String(error);
          reject(
            new ControlError(
              'engine.refused',
              `the SIP engine refused ${options.method}: ${reason}`,
            ),
          );
          return;
        }
        request.on('response', (response: SipResponse) => {
          if (response.status >= 200) resolve(response);
        });
      });
    } catch (cause) {
      reject(new ControlError('engine.closed', 'the SIP engine is not connected', { cause }));
    }
  });
}
