/** The one domain that the switch serves, and every other way to write it. */
import { ParseError } from '../../core/errors.ts';
import { isIPv4 } from '../../core/sip/host.ts';
import { escapeUser, parseUri } from '../../core/sip/uri.ts';
import { canonicalName } from './names.ts';

export type Domain = {
  /** The domain's one name, also the digest realm; lower case. */
  readonly name: string;
  /** Whether this host names the switch: the domain, a name or address of this machine; brackets of IPv6 allowed. */
  isLocal(host: string): boolean;
  /** `sip:user@domain` for a canonical name; escapes what a URI cannot carry. */
  uriOf(user: string): string;
  /**
   * The canonical user when this URI is ours.
   *
   * @param uri - a sip or sips URI, with or without port and parameters
   * @returns `undefined` when it is not a SIP URI, not of this domain, has no user, or the user can be no name
   */
  userOf(uri: string): string | undefined;
  /** The user part as written (no password, no parameters) when the URI is ours: for rooms (`%23turbo`). */
  rawUserOf(uri: string): string | undefined;
};

export type DomainOptions = {
  readonly name: string;
  /** Other names and numeric addresses of this machine in lower case, asked anew each time (interfaces come and go). */
  readonly aliases: () => ReadonlySet<string>;
};

export function createDomain(options: DomainOptions): Domain {
  const name = options.name.toLowerCase();
  const isLocal = (host: string): boolean => {
    const plain = plainHost(host);
    return (
      plain === name ||
      ALWAYS_LOCAL.has(plain) ||
      (plain.startsWith('127.') && isIPv4(plain)) ||
      options.aliases().has(plain)
    );
  };
  const rawUserOf = (uri: string): string | undefined => {
    const parsed = tryParseUri(uri);
    if (parsed?.kind !== 'sip' || parsed.user === undefined || !isLocal(parsed.host)) {
      return undefined;
    }
    // RFC 3261 section 19.1.6 puts telephone parameters into the user part.
    const semicolon = parsed.user.indexOf(';');
    return semicolon < 0 ? parsed.user : parsed.user.slice(0, semicolon);
  };
  return {
    name,
    isLocal,
    uriOf: (user) => `sip:${escapeUser(user)}@${name}`,
    rawUserOf,
    userOf: (uri) => {
      const user = rawUserOf(uri);
      return user === undefined ? undefined : canonicalName(user);
    },
  };
}

const ALWAYS_LOCAL: ReadonlySet<string> = new Set(['localhost', '::1']);

function plainHost(host: string): string {
  const plain = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return plain.toLowerCase().replace(/\.$/, '');
}

function tryParseUri(uri: string): ReturnType<typeof parseUri> | undefined {
  try {
    return parseUri(uri);
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
