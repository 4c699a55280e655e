/** The one domain that the switch serves, and every other way to write it. */
import { canonicalName, escapeName } from './names.ts';

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
  /** Other names and numeric addresses of this machine, asked anew each time (interfaces come and go). */
  readonly aliases: () => ReadonlySet<string>;
};

export function createDomain({ name, aliases }: DomainOptions): Domain {
  const domainName = name.toLowerCase();
  const isLocal = (host: string): boolean => {
    const plain = plainHost(host);
    return plain === domainName || ALWAYS_LOCAL.has(plain) || aliases().has(plain);
  };
  const rawUserOf = (uri: string): string | undefined => {
    const parts = splitUri(uri);
    return parts?.user !== undefined && isLocal(parts.host) ? parts.user : undefined;
  };
  return {
    name: domainName,
    isLocal,
    uriOf: (user) => `sip:${escapeName(user)}@${domainName}`,
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

/** The two parts of a SIP URI that decide whose it is. */
function splitUri(uri: string): { user: string | undefined; host: string } | undefined {
  const rest = /^sips?:(.*)$/is.exec(uri)?.[1];
  if (rest === undefined) return undefined;
  const at = rest.lastIndexOf('@');
  const user = at === -1 ? undefined : /^[^:;]*/.exec(rest.slice(0, at))?.[0];
  const host = /^(\[[^\]]*\]|[^:;?]*)/.exec(rest.slice(at + 1))?.[0];
  if (host === undefined || host === '') return undefined;
  return { user: user === '' ? undefined : user, host };
}
