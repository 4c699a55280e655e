/** The names and addresses of this machine, which all mean the one domain. */
import os from 'node:os';

/** Interfaces come and go, but not between two requests. */
const REFRESH_MS = 10_000;

/**
 * Answers the same set until it is 10 s old.
 *
 * @param extra - addresses and names that belong to the switch by configuration (external addresses)
 */
export function hostNames(
  nowMs: () => number,
  extra: readonly string[],
): () => ReadonlySet<string> {
  let names: ReadonlySet<string> = new Set();
  let readAtMs = -Infinity;
  return () => {
    if (nowMs() - readAtMs >= REFRESH_MS) {
      names = readNames(extra);
      readAtMs = nowMs();
    }
    return names;
  };
}

function readNames(extra: readonly string[]): ReadonlySet<string> {
  const hostname = os.hostname().toLowerCase();
  const names = new Set([hostname, hostname.split('.')[0] ?? hostname]);
  for (const name of extra) names.add(name.toLowerCase());
  for (const addresses of Object.values(os.networkInterfaces())) {
    for (const { address } of addresses ?? [])
      names.add((address.split('%')[0] ?? address).toLowerCase());
  }
  names.delete('');
  return names;
}
