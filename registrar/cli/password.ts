/** Where a new password comes from: standard input, somebody at the terminal, or chance. */
import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { ConfigError } from '../../core/errors.ts';

export type ChosenPassword = {
  readonly password: string;
  /** Made up here: somebody has to be told. */
  readonly isGenerated: boolean;
};

const GENERATED_BYTES = 12;
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const BACKSPACES = ['\u007f', '\b'];

/**
 * `--password-stdin`: the first line of standard input. At a terminal: asked for twice, without echo; nothing typed
 * means that one is made up, as it is when there is no terminal.
 *
 * @throws ConfigError `password.empty`, `password.mismatch`, `password.cancelled`
 */
export async function choosePassword(isFromStdin: boolean): Promise<ChosenPassword> {
  if (isFromStdin) {
    const [password = ''] = (await text(process.stdin)).split(/\r?\n/);
    if (password === '') throw new ConfigError('password.empty', 'no password on standard input');
    return { password, isGenerated: false };
  }
  if (!process.stdin.isTTY || !process.stdout.isTTY) return generated();
  const password = await ask('Password (empty: make one up): ');
  if (password === '') return generated();
  if (password !== (await ask('Once more: '))) {
    throw new ConfigError('password.mismatch', 'the two passwords differ');
  }
  return { password, isGenerated: false };
}

function generated(): ChosenPassword {
  return { password: randomBytes(GENERATED_BYTES).toString('base64url'), isGenerated: true };
}

/** One line from the terminal, not shown. */
function ask(question: string): Promise<string> {
  const { stdin, stdout } = process;
  // First no echo, then the question: somebody may type at once.
  stdin.setRawMode(true);
  stdout.write(question);
  stdin.setEncoding('utf8');
  stdin.resume();
  return new Promise((resolve, reject) => {
    let typed = '';
    const finish = (): void => {
      stdin.setRawMode(false);
      stdin.pause();
      stdin.off('data', onKeys);
      stdout.write('\n');
    };
    const onKeys = (keys: string): void => {
      for (const key of keys) {
        if (key === '\r' || key === '\n' || key === CTRL_D) {
          finish();
          resolve(typed);
          return;
        }
        if (key === CTRL_C) {
          finish();
          reject(new ConfigError('password.cancelled', 'cancelled'));
          return;
        }
        typed = BACKSPACES.includes(key) ? typed.slice(0, -1) : typed + key;
      }
    };
    stdin.on('data', onKeys);
  });
}
