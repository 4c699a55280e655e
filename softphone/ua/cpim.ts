/** message/cpim (RFC 3862): a text that carries its true sender, as rooms send it. */

/** What a CPIM envelope says; undefined where it says nothing. */
export type CpimMessage = {
  readonly fromName: string | undefined;
  readonly fromUri: string | undefined;
  readonly dateTime: string | undefined;
  readonly contentType: string;
  readonly text: string;
};

const LIMIT = 64;

/**
 * Reads an envelope: message headers, empty line, MIME headers, empty line, content (RFC 3862 §2.1).
 *
 * @returns undefined when it is not well formed
 */
export function parseCpim(bytes: Buffer): CpimMessage | undefined {
  const text = bytes.toString('utf8');
  const outer = splitAtEmptyLine(text);
  const inner = outer === undefined ? undefined : splitAtEmptyLine(outer.rest);
  if (outer === undefined || inner === undefined) return undefined;
  const headers = readHeaders(outer.head);
  const contentType = readHeaders(inner.head).get('content-type') ?? 'text/plain';
  return {
    ...readSender(headers.get('from') ?? ''),
    dateTime: headers.get('datetime'),
    contentType,
    text: inner.rest,
  };
}

/** `Formal-name <URI>`, the name quoted or not (RFC 3862 §4.1). */
function readSender(value: string): Pick<CpimMessage, 'fromName' | 'fromUri'> {
  const match = /^\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<([^>]*)>/.exec(value);
  const name = (match?.[1]?.replace(/\\(.)/g, '$1') ?? match?.[2] ?? '').trim();
  return { fromName: name === '' ? undefined : name, fromUri: match?.[3] };
}

function splitAtEmptyLine(text: string): { head: string; rest: string } | undefined {
  const match = /\r?\n\r?\n/.exec(text);
  if (match === null) return undefined;
  return { head: text.slice(0, match.index), rest: text.slice(match.index + match[0].length) };
}

/** Names in lower case; a namespace prefix stays part of the name. */
function readHeaders(head: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const line of head.split(/\r?\n/).slice(0, LIMIT)) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}
