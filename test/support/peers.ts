/** The third-party programs that interop tests need: skipped visibly where missing, demanded where told so. */

import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import type { Context } from 'mocha';

const PLACES = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/bin'];

/** Where the executable of that name is on the search path, if it is. */
export function pathOf(program: string): string | undefined {
  return PLACES.filter((place) => place !== '')
    .map((place) => path.join(place, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export function isInstalled(program: string): boolean {
  return pathOf(program) !== undefined;
}

/**
 * Call it in `before` or in a test with mocha's context. A missing program makes the test pending, with the reason in
 * its title; with REQUIRE_INTEROP=1 it fails.
 */
export function requirePeer(context: Context, ...programs: readonly string[]): void {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) return;
  const reason = `not installed: ${missing.join(', ')}`;
  if (process.env['REQUIRE_INTEROP'] === '1') throw new Error(reason);
  const runnable = context.currentTest ?? context.test;
  if (runnable) runnable.title += ` (skipped: ${reason})`;
  context.skip();
}
