/** Which new requests go to which application that the engine connects to, as the settings say. */

import { ConfigError } from '../../../core/errors.ts';
import type { RequestHandler } from '../options.ts';

/** Where an application listens. */
type ApplicationPlace = {
  readonly transport: 'tcp' | 'tls';
  readonly host: string;
  readonly port: number;
};

const ANY_METHOD = '*';
const METHOD = /^[A-Za-z]{1,32}$/;
const PLACE = /^(tcp|tls):\/\/(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?\/?$/;
/** Of drachtio-srf and drachtio-server. */
const DEFAULT_PORT = 9021;
const MAX_PORT = 65_535;

/** Which new requests go to which application that we connect to. */
export class RequestHandlers {
  readonly #places = new Map<string, ApplicationPlace>();

  /** @throws ConfigError `engine.requestHandler` when one has another form, or a method has two */
  constructor(handlers: readonly RequestHandler[]) {
    for (const { method = ANY_METHOD, uri } of handlers) {
      const key = method.toUpperCase();
      if (key !== ANY_METHOD && !METHOD.test(method)) throw wrong(`${method} is no method`);
      if (this.#places.has(key)) throw wrong(`there are two for ${key}`);
      this.#places.set(key, placeOf(uri));
    }
  }

  /** That of exactly this method first, then that of all methods. */
  find(method: string): ApplicationPlace | undefined {
    return this.#places.get(method) ?? this.#places.get(ANY_METHOD);
  }
}

function placeOf(uri: string): ApplicationPlace {
  const match = PLACE.exec(uri);
  if (match === null) throw wrong(`${uri} is not tcp://host:port or tls://host:port`);
  const [, scheme, host = '', portText] = match;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  if (port === 0 || port > MAX_PORT) throw wrong(`${uri} has no valid port`);
  return {
    transport: scheme === 'tls' ? 'tls' : 'tcp',
    host: host.startsWith('[') ? host.slice(1, -1) : host,
    port,
  };
}

function wrong(reason: string): ConfigError {
  return new ConfigError('engine.requestHandler', `a request handler is wrong: ${reason}`);
}
