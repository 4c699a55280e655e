/** The domain's one name, which must not change by itself: passwords are made for it. */
import os from 'node:os';
import type { Store } from './store/store.ts';

const SETTING = 'domain';

/**
 * The configured domain; else the one of the last start; else this host's name. Kept for the next start.
 *
 * @returns lower case
 */
export async function domainNameOf(configured: string | undefined, store: Store): Promise<string> {
  const kept = await store.db
    .selectFrom('settings')
    .select('value')
    .where('name', '=', SETTING)
    .executeTakeFirst();
  const name = (configured ?? kept?.value ?? hostName()).toLowerCase();
  if (name !== kept?.value) {
    await store.db.replaceInto('settings').values({ name: SETTING, value: name }).execute();
  }
  return name;
}

function hostName(): string {
  const name = os.hostname();
  return /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(name) ? name : 'localhost';
}
