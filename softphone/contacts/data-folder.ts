/** Where a phone keeps what should survive it: one folder for each account, readable for its owner only. */

import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { makeFolder } from '../../config/make-folder.ts';
import { ConfigError } from '../../core/errors.ts';

/** The usual place of this system (XDG Base Directory Specification; its likes elsewhere). */
export function defaultDataFolder(env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string {
  const { XDG_DATA_HOME, APPDATA } = env;
  if (platform === 'win32' && APPDATA !== undefined) return path.join(APPDATA, 'Parley');
  if (platform === 'darwin')
    return path.join(homedir(), 'Library', 'Application Support', 'Parley');
  const base =
    XDG_DATA_HOME !== undefined && path.isAbsolute(XDG_DATA_HOME)
      ? XDG_DATA_HOME
      : path.join(homedir(), '.local', 'share');
  return path.join(base, 'parley');
}

/**
 * Makes the folder of one account.
 *
 * @throws ConfigError `softphone.data.notWritable`
 */
export function openAccountFolder(dataFolder: string, account: string): string {
  // Letters, digits and a few signs stay; all else is escaped, so that no name can leave the folder.
  const name = account.replace(/[^\w@.-]/gu, (letter) => encodeURIComponent(letter).toLowerCase());
  const folder = path.join(dataFolder, 'phone', name.replace(/^\.+/, '_'));
  try {
    makeFolder(folder);
  } catch (error) {
    const message = `The folder ${folder} cannot be written.`;
    throw new ConfigError('softphone.data.notWritable', message, { cause: error });
  }
  return folder;
}

/** The text of a file; undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ConfigError('softphone.data.unreadable', `The file ${file} cannot be read.`, {
      cause: error,
    });
  }
}

/**
 * Replaces a file as a whole: whoever reads it sees the old or the new one, also after a crash.
 *
 * @throws ConfigError `softphone.data.notWritable`
 */
export async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { mode: 0o600, flush: true });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new ConfigError('softphone.data.notWritable', `The file ${file} cannot be written.`, {
      cause: error,
    });
  }
}
