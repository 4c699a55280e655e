/** Makes a folder that must not be read by others, with those above it. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';

const OWNER_ONLY = 0o700;

/**
 * As `mkdir -p`, mode 0700 for whatever is made. Node's own `recursive` never returns on file systems that refuse new
 * folders with ENOENT, such as /proc.
 *
 * @throws the system's error when it cannot be made, or is no folder
 */
export function makeFolder(folder: string): void {
  const missing: string[] = [];
  // The root is always there.
  for (let at = path.resolve(folder); !existsSync(at); at = path.dirname(at)) missing.unshift(at);
  for (const each of missing) makeOne(each);
}

/** It may have appeared meanwhile: two processes that start at once make the same folders. */
function makeOne(folder: string): void {
  try {
    mkdirSync(folder, { mode: OWNER_ONLY });
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === 'EEXIST';
    if (!isThere || !statSync(folder).isDirectory()) throw error;
  }
}
