/** The password: from a file, from the environment, or typed without being shown. */

import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { ConfigError } from '../core/errors.ts';

export const PASSWORD_VARIABLE = 'PARLEY_PASSWORD';

/**
 * @param file - its first line is the password
 * @throws ConfigError `softphone.password.missing`, `softphone.password.unreadable`
 */
export async function findPassword(
  nickname: string,
  file: string | undefined,
  canAsk: boolean,
): Promise<string> {
  if (file !== undefined) return readPassword(file);
  const password = process.env[PASSWORD_VARIABLE];
  if (password !== undefined) return password;
  if (canAsk) return askPassword(`Password of ${nickname}: `);
  const message = `A password is missing: use --password-file FILE or the variable ${PASSWORD_VARIABLE}.`;
  throw new ConfigError('softphone.password.missing', message);
}

async function readPassword(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const message = `The password file ${file} cannot be read.`;
    throw new ConfigError('softphone.password.unreadable', message, { cause: error });
  }
  return text.split(/\r?\n/)[0] ?? '';
}

async function askPassword(question: string): Promise<string> {
  process.stdout.write(question);
  // Reading lines with an output that swallows everything is how a terminal stays quiet.
  const nowhere = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  const password = await new Promise<string | undefined>((resolve) => {
    lines.once('line', resolve);
    lines.once('close', () => {
      resolve(undefined);
    });
  });
  lines.close();
  process.stdout.write('\n');
  if (password !== undefined) return password;
  throw new ConfigError('softphone.password.missing', 'No password was given.');
}
