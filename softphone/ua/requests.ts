/** One request outside the calls, and its final answer, as a promise. */

import { UserAgent } from 'sip.js';
import type { Core } from 'sip.js';
import { ConfigError } from '../../core/errors.ts';

/** A final answer. sip.js makes 408 of a timeout and 503 of a connection that is gone. */
export type Reply = {
  readonly statusCode: number;
  readonly reasonPhrase: string;
  /** Values of all lines of this header. */
  headers(name: string): readonly string[];
};

export type OutgoingRequest = {
  readonly method: string;
  readonly uri: string;
  /** The To header when it is not `uri`. */
  readonly to?: string;
  /** Whole lines, for example `Expires: 0`. */
  readonly headers?: readonly string[];
  readonly body?: { readonly contentType: string; readonly content: string };
  /** Call-ID, CSeq and From tag of a series of requests. */
  readonly series?: Core.OutgoingRequestMessageOptions;
};

/**
 * Parses a URI into sip.js's form.
 *
 * @throws ConfigError `softphone.target.malformed`
 */
export function toUri(text: string): Core.URI {
  const uri = UserAgent.makeURI(text);
  if (uri === undefined) {
    throw new ConfigError('softphone.target.malformed', `"${text}" is not a SIP address`);
  }
  return uri;
}

export function buildRequest(
  core: Core.UserAgentCore,
  request: OutgoingRequest,
): Core.OutgoingRequestMessage {
  const uri = toUri(request.uri);
  const body = request.body && { ...request.body, contentDisposition: 'render' };
  return core.makeOutgoingRequestMessage(
    request.method,
    uri,
    core.configuration.aor,
    request.to === undefined ? uri : toUri(request.to),
    request.series ?? {},
    [...(request.headers ?? [])],
    body,
  );
}

/** Sends and waits for the final answer; never rejects once the request is built. */
export function sendRequest(
  core: Core.UserAgentCore,
  message: Core.OutgoingRequestMessage,
): Promise<Reply> {
  return new Promise((resolve) => {
    const finish = ({ message: answer }: Core.IncomingResponse): void => {
      resolve(replyFrom(answer));
    };
    core.request(message, { onAccept: finish, onRedirect: finish, onReject: finish });
  });
}

export function replyFrom(answer: Core.IncomingResponseMessage): Reply {
  return {
    statusCode: answer.statusCode ?? 500,
    reasonPhrase: answer.reasonPhrase ?? '',
    headers: (name) => answer.getHeaders(name),
  };
}
