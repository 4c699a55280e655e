/** The third-party programs that interop tests need: skipped visibly where missing, demanded where told so. */

import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import type { Context } from 'mocha';

const PLACES = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/bin'];

/** Is there an executable of that name on the search path? */
export function isInstalled(program: string): boolean {
  return PLACES.filter((place) => place !== '').some((place) => {
    try {
      accessSync(path.join(place, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
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
