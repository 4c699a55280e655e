/** Which new requests go, before any route, to an application that the engine connects to, or to a web server that decides. */

import { isIPv4 } from 'node:net';
import { ConfigError } from '../../../core/errors.ts';
import type { RequestHandler } from '../options.ts';

/** Where an application listens. */
export type ApplicationPlace = {
  readonly transport: 'tcp' | 'tls';
  readonly host: string;
  readonly port: number;
};

/** Who decides about a new request. */
export type Handler =
  | { readonly kind: 'application'; readonly place: ApplicationPlace }
  /** `url` without the fields of the request; `withBody`: asked by POST, with the request as it came. */
  | { readonly kind: 'web'; readonly url: URL; readonly withBody: boolean };

const ANY_METHOD = '*';
const METHOD = /^[A-Za-z]{1,32}$/;
const WEB = /^https?:\/\//;
const PLACE = /^(tcp|tls):\/\/(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?\/?$/;
/** As an answer of a web server may write it. */
const PLACE_WITH_PARAMETER = /^([^;]{1,300})(?:;transport=(tcp|tls))?$/;
/** Of drachtio-srf and drachtio-server. */
const DEFAULT_PORT = 9021;
const MAX_PORT = 65_535;

export class RequestHandlers {
  readonly #handlers = new Map<string, Handler>();

  /** @throws ConfigError `engine.requestHandler` when one has another form, or a method has two */
  constructor(handlers: readonly RequestHandler[]) {
    for (const { method = ANY_METHOD, uri, withBody = false } of handlers) {
      const key = method.toUpperCase();
      if (key !== ANY_METHOD && !METHOD.test(method)) throw wrong(`${method} is no method`);
      if (this.#handlers.has(key)) throw wrong(`there are two for ${key}`);
      this.#handlers.set(key, handlerOf(uri, withBody));
    }
  }

  /** That of exactly this method first, then that of all methods. */
  find(method: string): Handler | undefined {
    return this.#handlers.get(method) ?? this.#handlers.get(ANY_METHOD);
  }
}

function handlerOf(uri: string, withBody: boolean): Handler {
  if (WEB.test(uri)) {
    if (!URL.canParse(uri)) throw wrong(`${uri} is no URL`);
    return { kind: 'web', url: new URL(uri), withBody };
  }
  const place = placeOf(uri);
  if (place === undefined) {
    throw wrong(`${uri} is not tcp://host:port, tls://host:port or the URL of a web server`);
  }
  return { kind: 'application', place };
}

/** Reads `tcp://host:port` and `tls://host:port`, port 9021 when there is none; `undefined` for anything else. */
function placeOf(uri: string): ApplicationPlace | undefined {
  const match = PLACE.exec(uri);
  if (match === null) return undefined;
  const [, scheme, host = '', portText] = match;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  if (port === 0 || port > MAX_PORT) return undefined;
  return {
    transport: scheme === 'tls' ? 'tls' : 'tcp',
    host: host.startsWith('[') ? host.slice(1, -1) : host,
    port,
  };
}

/** As `placeOf`, and `host:port` with or without `;transport=tls`, which is how web servers name an application. */
export function placeFromAnswer(uri: string): ApplicationPlace | undefined {
  const direct = placeOf(uri);
  if (direct !== undefined) return direct;
  const match = PLACE_WITH_PARAMETER.exec(uri);
  return match === null ? undefined : placeOf(`${match[2] ?? 'tcp'}://${match[1] ?? ''}`);
}

/** Whether a secret may be said there: by TLS, or without leaving this machine. */
export function isGuarded({ transport, host }: ApplicationPlace): boolean {
  return transport === 'tls' || isLoopback(host);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

function wrong(reason: string): ConfigError {
  return new ConfigError('engine.requestHandler', `a request handler is wrong: ${reason}`);
}
