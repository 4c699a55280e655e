/** The id of this phone among the devices of its account, the same after every restart (RFC 5626 §4.1). */

import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readIfThere, replaceFile } from './data-folder.ts';

export type Instance = {
  /** A UUID. */
  readonly id: string;
  /** Lets the next phone that opens the folder be this device. */
  release(): Promise<void>;
};

const FILE = 'instance';
const LOCK_FILE = 'instance.pid';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Those that phones of this process hold. */
const held = new Set<string>();

/**
 * The id that is kept in `folder`, made at the first time. A second phone of the same account that runs beside the
 * first is another device, or they would take each other's calls: it gets an id of its own, for as long as it runs.
 *
 * @param folder - of the account; undefined, or one that cannot be written, keeps nothing
 * @throws ConfigError `softphone.data.unreadable`
 */
export async function holdInstance(folder: string | undefined): Promise<Instance> {
  if (folder === undefined || !(await lock(path.join(folder, LOCK_FILE)))) {
    return { id: randomUUID(), release: () => Promise.resolve() };
  }
  const lockFile = path.join(folder, LOCK_FILE);
  const release = async (): Promise<void> => {
    if (held.delete(lockFile)) await rm(lockFile, { force: true });
  };
  try {
    return { id: await keptId(path.join(folder, FILE)), release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function keptId(file: string): Promise<string> {
  const kept = (await readIfThere(file))?.trim();
  if (kept !== undefined && UUID.test(kept)) return kept;
  const id = randomUUID();
  // A full disk costs the id its permanence, not the person the phone.
  await replaceFile(file, `${id}\n`).catch(() => undefined);
  return id;
}

/** Whether nobody else has it. A phone that was killed has left its lock: the process in it is no more. */
async function lock(file: string): Promise<boolean> {
  try {
    if (isRunning(Number((await readIfThere(file)) ?? 0), file)) return false;
    await rm(file, { force: true });
    await writeFile(file, String(process.pid), { flag: 'wx', mode: 0o600 });
    held.add(file);
    return true;
  } catch {
    return false;
  }
}

function isRunning(pid: number, file: string): boolean {
  // Numbers come again: in a container the phone before us had the same one.
  if (pid === process.pid) return held.has(file);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
