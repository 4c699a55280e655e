/** What the phones behind one INVITE of ours have said before a final answer, by early dialog (RFC 3261 section 12.1). */
import type { SipResponse } from '../srf.ts';
import { headerOf, listsToken } from './headers.ts';
import type { HeaderSource } from './headers.ts';
import { tagIn } from './replaces.ts';

/** A proxy in front of the phones may have forked; nobody has more of them on one contact. */
const MAX_DIALOGS = 32;

type EarlyDialog = { lastRseq: number | undefined; answer: string | undefined };

export class EarlyDialogs {
  readonly #byTag = new Map<string, EarlyDialog>();

  /** Early dialogs so far. */
  get count(): number {
    return this.#byTag.size;
  }

  /** Whether any of them has sent a session description. */
  get hasAnswer(): boolean {
    return [...this.#byTag.values()].some(({ answer }) => answer !== undefined);
  }

  /**
   * Notes a provisional answer. The first session description of a dialog counts (RFC 3261 section 13.2.1).
   *
   * @returns false for the repetition of a reliable one (RFC 3262 section 4)
   */
  note(response: Pick<SipResponse, 'get' | 'body'>): boolean {
    const dialog = this.#dialogOf(response);
    if (dialog === undefined) return true;
    if (isReliable(response)) {
      const rseq = Number(headerOf(response, 'RSeq'));
      if (dialog.lastRseq !== undefined && rseq <= dialog.lastRseq) return false;
      dialog.lastRseq = rseq;
    }
    const { body } = response;
    if (body !== undefined && body !== '') dialog.answer ??= body;
    return true;
  }

  /** The session description that this dialog has sent already; `response` is the 2xx that confirms it. */
  answerOf(response: HeaderSource): string | undefined {
    return this.#byTag.get(tagOf(response))?.answer;
  }

  #dialogOf(response: HeaderSource): EarlyDialog | undefined {
    const tag = tagOf(response);
    const known = this.#byTag.get(tag);
    if (known !== undefined || this.#byTag.size >= MAX_DIALOGS) return known;
    const dialog = { lastRseq: undefined, answer: undefined };
    this.#byTag.set(tag, dialog);
    return dialog;
  }
}

/** Whether a provisional answer wants a PRACK (RFC 3262 section 4). */
export function isReliable(response: HeaderSource): boolean {
  const rseq = headerOf(response, 'RSeq') ?? '';
  return /^\d{1,10}$/.test(rseq) && listsToken(headerOf(response, 'Require'), '100rel');
}

function tagOf(response: HeaderSource): string {
  return tagIn(headerOf(response, 'To')) ?? '';
}
