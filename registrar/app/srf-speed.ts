/**
 * drachtio-srf's SIP text parser, made quick from outside: nothing of what it gives changes. As it is, it reads an
 * environment variable for each header, searches all headers for each `get`, and writes whole messages as JSON for
 * debug lines that nobody has switched on.
 */
import { createRequire } from 'node:module';

type Headers = Record<string, string>;

/** What drachtio-srf's parser makes of a message. */
type ParsedMessage = {
  method?: string;
  uri?: string;
  version?: string;
  status?: number;
  reason?: string;
  headers: Headers;
  body?: string | undefined;
  payload: { type: string | undefined; content: string | undefined }[];
};

type ParseMessage = (text: string, isLazy: boolean) => ParsedMessage | undefined;

type Parser = {
  parseSipMessage: ParseMessage;
  getHeaderName: (name: string) => string;
};

type Message = {
  readonly headers: Headers;
  /** Undefined for a message that was not parsed but is being made. */
  readonly raw?: string;
  get(name: string): string | undefined;
  has(name: string): boolean;
  getHeaderName: (this: Message, name: string) => string | undefined;
  toJSON?(): unknown;
};

type Meta = {
  readonly source: string;
  readonly address: string;
  readonly port?: string;
  readonly protocol: string;
  readonly time: string;
  readonly transactionId: string;
  readonly dialogId?: string;
  readonly server?: unknown;
  readonly receivedOn?: string;
  readonly sessionToken?: string;
};

/** A request or a response, which asks its message. */
type Delegate = {
  readonly msg: Message;
  get(name: string): string | undefined;
  has(name: string): boolean;
};
type Class<T> = { readonly prototype: T };

const CRLF = '\r\n';
const HEADERS_END = '\r\n\r\n';
const DEFAULT_PORT = 5060;
/** Names come from the network: no more of them are remembered than this. */
const MAX_KNOWN_NAMES = 500;
/** Names that drachtio-srf leaves as they were written; all others it writes in lower case. */
const KEEPS_CASE = /^(?:[xp]-|diversion$)/i;

/** Parses as `parse` does, only quicker; what is out of the ordinary is left to it. */
export function quickParser(parse: ParseMessage, nameOf: (name: string) => string): ParseMessage {
  return (text, isLazy) => {
    if (!isLazy) return parse(text, isLazy);
    const headEnd = text.indexOf(HEADERS_END);
    const message = parseHead(headEnd < 0 ? text : text.slice(0, headEnd), nameOf);
    if (message === undefined) return parse(text, isLazy);
    const type = message.headers['content-type'];
    if (type?.includes('multipart/') === true) return parse(text, isLazy);
    const rest = headEnd < 0 ? undefined : text.slice(headEnd + HEADERS_END.length);
    message.body = bodyOf(rest, message.headers['content-length']);
    message.payload = [{ type, content: message.body }];
    return message;
  };
}

/** Undefined for all that is not written in the plainest way. */
function parseHead(head: string, nameOf: (name: string) => string): ParsedMessage | undefined {
  let end = lineEnd(head, 0);
  const message = parseStartLine(head.slice(0, end));
  if (message === undefined) return undefined;
  const { headers } = message;
  while (end < head.length) {
    const start = end + CRLF.length;
    end = lineEnd(head, start);
    const colon = nameEnd(head, start);
    if (colon < 0 || colon >= end) return undefined;
    let valueStart = colon + 1;
    while (isBlank(head.charCodeAt(valueStart))) valueStart += 1;
    // Folded at once, empty, or beginning with one of the spaces of Unicode: seldom, and not worth a second grammar.
    const first = head.charCodeAt(valueStart);
    if (valueStart >= end || first <= 0x20 || first >= 0x7f) return undefined;
    const name = nameOf(head.slice(start, colon));
    const value = head.slice(valueStart, end);
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (typeof before === 'string') headers[name] = `${before},${value}`;
    else return undefined;
  }
  return message;
}

/** Where the line that begins at `start` ends, with the lines that continue it (RFC 3261 section 7.3.1). */
function lineEnd(head: string, start: number): number {
  for (let from = start; ;) {
    const end = head.indexOf(CRLF, from);
    if (end < 0) return head.length;
    if (!isBlank(head.charCodeAt(end + CRLF.length))) return end;
    from = end + CRLF.length;
  }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Where the colon stands, right behind a name of visible ASCII characters; -1 when there is none. */
function nameEnd(head: string, start: number): number {
  for (let i = start; i < head.length; i++) {
    const code = head.charCodeAt(i);
    if (code === 0x3a) return i;
    if (code <= 0x20 || code >= 0x7f) return -1;
  }
  return -1;
}

function parseStartLine(line: string): ParsedMessage | undefined {
  const [, statusVersion, status, reason] = /^SIP\/(\d\.\d) (\d{3}) (.*\S)$/.exec(line) ?? [];
  const empty = { headers: {}, payload: [] };
  if (status !== undefined && statusVersion !== undefined && reason !== undefined) {
    return { version: statusVersion, status: Number(status), reason, ...empty };
  }
  const [, method, uri, version] = /^([A-Za-z]+) (\S+) SIP\/(\d\.\d)$/.exec(line) ?? [];
  if (method === undefined || uri === undefined || version === undefined) return undefined;
  return { method, uri, version, ...empty };
}

function bodyOf(rest: string | undefined, contentLength: string | undefined): string | undefined {
  if (contentLength === undefined || contentLength === '') return rest?.split(HEADERS_END, 1)[0];
  const text = rest ?? '';
  const length = Math.min(Number(contentLength), Buffer.byteLength(text, 'utf8'));
  return text.substring(0, Math.max(0, length));
}

/** Remembers what `find` gave. */
function remembered(find: (name: string) => string): (name: string) => string {
  const known = new Map<string, string>();
  return (name) => {
    const found = known.get(name);
    if (found !== undefined) return found;
    const value = find(name);
    if (known.size < MAX_KNOWN_NAMES) known.set(name, value);
    return value;
  };
}

let isDone = false;

/** Puts all this in place; once for the whole process, more often does nothing. */
export function speedUpSrf(): void {
  if (isDone) return;
  isDone = true;
  const require = createRequire(import.meta.url);
  const load = (name: string): unknown => require(`drachtio-srf/lib/${name}`);
  const parser = load('sip-parser/parser.js') as Parser;
  parser.getHeaderName = remembered(parser.getHeaderName);
  parser.parseSipMessage = quickParser(parser.parseSipMessage, parser.getHeaderName);
  const { prototype } = load('sip-parser/message.js') as Class<Message>;
  speedUpMessage(prototype, parser.getHeaderName);
  for (const file of ['request.js', 'response.js']) {
    const delegate = (load(file) as Class<Delegate>).prototype;
    delegate.get = function (name) {
      return this.msg.get(name);
    };
    delegate.has = function (name) {
      return this.msg.has(name);
    };
  }
  const request = (load('request.js') as Class<object>).prototype;
  const meta = Object.getOwnPropertyDescriptor(request, 'meta');
  Object.defineProperty(request, 'meta', { ...meta, set: setMeta });
}

/** A message that was parsed has its names in lower case, so that it need not be searched for them. */
function speedUpMessage(prototype: Message, nameOf: (name: string) => string): void {
  const search = prototype.getHeaderName;
  const lowerCase = remembered((name) => name.toLowerCase());
  prototype.getHeaderName = function (name) {
    const key = lowerCase(name);
    if (KEEPS_CASE.test(key) || this.raw === undefined) return search.call(this, name);
    return Object.hasOwn(this.headers, key) ? key : undefined;
  };
  prototype.get = function (name) {
    const key = this.getHeaderName(nameOf(name));
    return key === undefined ? undefined : this.headers[key];
  };
  prototype.has = function (name) {
    return this.getHeaderName(name) !== undefined;
  };
  // Only debug lines write messages as JSON.
  prototype.toJSON = () => 'SIP message';
}

/** As drachtio-srf does it, without the debug line. */
function setMeta(this: Record<string, unknown>, meta: Meta): void {
  this['source'] = meta.source;
  this['source_address'] = meta.address;
  this['source_port'] = meta.port ? parseInt(meta.port) : DEFAULT_PORT;
  this['protocol'] = meta.protocol;
  this['stackTime'] = meta.time;
  this['stackTxnId'] = meta.transactionId;
  this['stackDialogId'] = meta.dialogId;
  if (meta.server) this['server'] = meta.server;
  if (meta.receivedOn) this['receivedOn'] = meta.receivedOn;
  if (meta.sessionToken) this['sessionToken'] = meta.sessionToken;
}
