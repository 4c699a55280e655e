/** The one namespace of accounts and rooms: what a name may look like, its canonical form, and who holds it. */
import { RefusedError } from '../../core/errors.ts';

export const NAME_MAX_CHARACTERS = 32;

/** Written raw in a URI's user part these would end it, or mean something else (RFC 3261 section 25.1). */
const FORBIDDEN = /[\s"#<>@:;,?/\\%\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u;

/**
 * The canonical form of a name: %XX decoded, Unicode NFC, lower case.
 *
 * @param written - a URI's user part without password and parameters, or what somebody typed
 * @returns `undefined` when this can be no name: empty, over 32 characters, a forbidden character, bad escapes
 */
export function canonicalName(written: string): string | undefined {
  const decoded = decodeEscapes(written);
  if (decoded === undefined) return undefined;
  const name = decoded.normalize('NFC').toLowerCase().normalize('NFC');
  const { length } = Array.from(name);
  return length >= 1 && length <= NAME_MAX_CHARACTERS && !FORBIDDEN.test(name) ? name : undefined;
}

/**
 * The name of a room that is written with its `#`: `%23Turbo` and `#Turbo` both give `turbo`.
 *
 * @returns `undefined` when `written` does not begin with `#` or `%23`, or the rest can be no name
 */
export function canonicalRoomName(written: string): string | undefined {
  const rest = /^(?:#|%23)(.*)$/s.exec(written)?.[1];
  return rest === undefined ? undefined : canonicalName(rest);
}

/** The user part of a URI for a canonical name: everything outside `user` (RFC 3261 section 25.1) as %XX. */
export function escapeName(name: string): string {
  return encodeURIComponent(name)
    .replaceAll('%24', '$')
    .replaceAll('%26', '&')
    .replaceAll('%2B', '+');
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
   * Checks that `holder` may take `written`.
   *
   * @returns the canonical name
   * @throws RefusedError 400 `name.malformed`, 403 `name.taken`
   */
  claim(written: string, holder: NameHolder): string {
    const name = canonicalName(written);
    if (name === undefined) {
      throw new RefusedError(
        'name.malformed',
        `a name has 1 to ${NAME_MAX_CHARACTERS} characters and no space, quote, # or other special character`,
        400,
      );
    }
    const current = this.holderOf(name);
    if (current !== undefined && (current !== holder || holder === 'account')) {
      throw new RefusedError('name.taken', `the name ${name} is taken`, 403);
    }
    return name;
  }
}
