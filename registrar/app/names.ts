/** The one namespace of accounts and rooms: what a name may look like, its canonical form, and who holds it. */
import { RefusedError } from '../../core/errors.ts';

export const NAME_MAX_CHARACTERS = 32;

/** Besides spaces and `"` and `#`: what would end or split a URI or a list, and what cannot be seen. */
const FORBIDDEN = /[\s"#<>@:;,?/\\%\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u;

/**
 * The canonical form of a name: %XX decoded, Unicode NFC, lower case.
 *
 * @param written - a URI's user part without password and parameters, or what somebody typed
 * @returns `undefined` when this can be no name: empty, over 32 characters, a forbidden character, bad escapes
 */
export function canonicalName(written: string): string | undefined {
  // What nearly every request carries; nothing to decode, normalise or forbid.
  if (PLAIN.test(written)) return written;
  const decoded = decodeEscapes(written);
  if (decoded === undefined) return undefined;
  const name = decoded.normalize('NFC').toLowerCase().normalize('NFC');
  const { length } = Array.from(name);
  return length >= 1 && length <= NAME_MAX_CHARACTERS && !FORBIDDEN.test(name) ? name : undefined;
}

const PLAIN = /^[a-z0-9._-]{1,32}$/;

/**
 * The name of a room that is written with its `#`: `%23Turbo` and `#Turbo` both give `turbo`.
 *
 * @returns `undefined` when `written` does not begin with `#` or `%23`, or the rest can be no name
 */
export function canonicalRoomName(written: string): string | undefined {
  if (written.startsWith('#')) return canonicalName(written.slice(1));
  return written.startsWith('%23') ? canonicalName(written.slice(3)) : undefined;
}

function decodeEscapes(written: string): string | undefined {
  if (!written.includes('%')) return written;
  try {
    return decodeURIComponent(written);
  } catch {
    return undefined;
  }
}

export type NameHolder = 'account' | 'room';

/** Whoever owns names tells here which; a name that one holds cannot be taken by another. */
export type NameSource = (name: string) => boolean;

/** Who holds which name. Accounts and rooms each add themselves as a source once. */
export class Names {
  readonly #sources = new Map<NameHolder, NameSource>();

  /** @param has - whether this kind of holder has the canonical name (a room: also its dialled number) */
  addSource(holder: NameHolder, has: NameSource): void {
    this.#sources.set(holder, has);
  }

  holderOf(name: string): NameHolder | undefined {
    for (const [holder, has] of this.#sources) if (has(name)) return holder;
    return undefined;
  }

  /**
   * Checks that something new may be called `written`.
   *
   * @returns the canonical name
   * @throws RefusedError 400 `name.malformed`, 403 `name.taken`
   */
  claim(written: string): string {
    const name = canonicalName(written);
    if (name === undefined) {
      throw new RefusedError(
        'name.malformed',
        `"${written}" can be no name: 1 to ${NAME_MAX_CHARACTERS} characters without spaces, quotes, # or any of < > @ : ; , ? / \\ %`,
        400,
      );
    }
    const holder = this.holderOf(name);
    if (holder !== undefined) {
      const what = holder === 'room' ? 'a room' : 'an account';
      throw new RefusedError('name.taken', `the name ${name} is taken by ${what}`, 403);
    }
    return name;
  }
}
