/**
 * The layer of drachtio-srf that calls are built on: transactions, and the table of dialogs. Its own Dialog is not used:
 * it answers some requests by itself, takes a re-INVITE that was refused for one that never ends, and knows 200 only.
 */
import { reasonPhraseOf } from '../../../core/sip/status.ts';
import type { SendOptions, SipHeaders, SipMessage, SipRequest, SipResponse, Srf } from '../srf.ts';

/** Sends the ACK of a 2xx; its body is the answer when the 2xx made the offer. */
export type Acknowledge = (options: { readonly body?: string }) => void;

export type Outgoing = {
  readonly method: string;
  /** Absent inside a dialog: the remote target. */
  readonly uri?: string;
  readonly proxy?: string;
  readonly dialogId?: string;
  readonly headers: SipHeaders;
  readonly body?: string | undefined;
  /** The control connection that the call came by, when several engines are connected. */
  readonly socket: unknown;
};

export type OutgoingEvents = {
  /** It has left, as `request`. */
  sent(request: SipRequest): void;
  /** The engine would not send it. */
  refused(error: Error): void;
  /** `acknowledge` is for a 2xx to INVITE only. */
  response(response: SipResponse, acknowledge: Acknowledge): void;
  /** An UPDATE that comes in the same dialog while this request waits; drachtio-srf brings it here. */
  update(request: SipRequest, response: SipResponse): void;
};

/** Whatever drachtio-srf finds under its id gets the requests of that dialog. */
export type DialogEntry = {
  readonly id: string;
  handle(request: SipRequest, response: SipResponse): void;
};

type SrfTransactions = {
  addDialog(dialog: DialogEntry): void;
  removeDialog(dialog: Pick<DialogEntry, 'id'>): void;
  request(
    uri: string,
    options: {
      method: string;
      proxy?: string;
      stackDialogId?: string;
      headers: SipHeaders;
      body?: string;
      _socket?: unknown;
    },
    callback: (error: unknown, request: SipRequest | undefined) => void,
  ): void;
};

/** What drachtio-srf and the engine take for the remote target of a dialog. */
const REMOTE_TARGET = 'sip:placeholder';

export class Transactions {
  readonly #srf: SrfTransactions;

  constructor(srf: Srf) {
    this.#srf = srf as unknown as SrfTransactions;
  }

  addDialog(dialog: DialogEntry): void {
    this.#srf.addDialog(dialog);
  }

  removeDialog(dialog: Pick<DialogEntry, 'id'>): void {
    this.#srf.removeDialog(dialog);
  }

  /** Sends a request; the events never come before this returns, except `refused`. */
  send(outgoing: Outgoing, events: OutgoingEvents): void {
    const { uri = REMOTE_TARGET, proxy, dialogId, body, socket } = outgoing;
    const options = {
      method: outgoing.method,
      headers: { ...outgoing.headers },
      ...(proxy === undefined ? {} : { proxy }),
      ...(dialogId === undefined ? {} : { stackDialogId: dialogId }),
      ...(body === undefined || body === '' ? {} : { body }),
      ...(socket === undefined ? {} : { _socket: socket }),
    };
    try {
      this.#srf.request(uri, options, (error, request) => {
        if (request === undefined || (error !== null && error !== undefined)) {
          events.refused(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        request.on('response', events.response.bind(events));
        request.on('update', events.update.bind(events));
        events.sent(request);
      });
    } catch (error) {
      // drachtio-srf throws what its own assertions find when the engine is not connected.
      events.refused(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** The control connection of a request that came in. */
export function socketOf(request: SipRequest): unknown {
  return (request as { socket?: unknown }).socket;
}

/** Whether the engine made this final answer up because nobody was there to give one. */
export function isInvented(response: SipResponse): boolean {
  return response.source_port === 0 || response.source_address === '';
}

type RawResponse = {
  msg: { status: number; reason: string };
  status: number;
  finished: boolean;
  agent: {
    sendResponse(
      response: unknown,
      options: SendOptions,
      callback: ((error: unknown, sent: SipMessage) => void) | undefined,
    ): void;
  };
};

/**
 * Answers a request with any status; drachtio-srf's own `send` throws for those that its list lacks (607, 608, ...).
 *
 * @param callback - with the error of the engine, or with the answer as it was sent
 */
export function respond(
  response: SipResponse,
  answer: {
    readonly status: number;
    readonly reason?: string | undefined;
    readonly headers?: SipHeaders | undefined;
    readonly body?: string | undefined;
  },
  callback: (error: unknown, sent: SipMessage | undefined) => void = ignore,
): void {
  if (response.finalResponseSent) {
    callback(new Error('already answered'), undefined);
    return;
  }
  const { status, reason = '', headers, body } = answer;
  const options: SendOptions = {
    ...(headers === undefined ? {} : { headers: { ...headers } }),
    ...(body === undefined || body === '' ? {} : { body }),
  };
  try {
    response.send(status, reason, options, callback);
  } catch {
    sendUnlisted(response as unknown as RawResponse, { status, reason, options }, callback);
  }
}

/** What drachtio-srf's `send` does, without the look into its list. */
function sendUnlisted(
  raw: RawResponse,
  answer: { readonly status: number; readonly reason: string; readonly options: SendOptions },
  callback: (error: unknown, sent: SipMessage | undefined) => void,
): void {
  const { status, reason, options } = answer;
  raw.msg.status = status;
  raw.msg.reason = reason === '' ? reasonPhraseOf(status) : reason;
  try {
    raw.agent.sendResponse(raw, options, callback);
  } catch (error) {
    // drachtio-srf throws what its own assertions find when the engine is not connected.
    callback(error, undefined);
  }
  raw.finished = status >= 200;
}

function ignore(): void {
  // Nobody waits for it.
}
