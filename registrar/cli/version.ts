/** The version of this program, from package.json. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** From source and built alike: the first package.json of ours above this file. */
export function readVersion(): string {
  let folder = import.meta.dirname;
  for (;;) {
    const version = versionIn(path.join(folder, 'package.json'));
    if (version !== undefined) return version;
    const parent = path.dirname(folder);
    if (parent === folder) return 'unknown';
    folder = parent;
  }
}

function versionIn(file: string): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    return name === 'parley' && typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}
