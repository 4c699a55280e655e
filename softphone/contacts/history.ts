/** Texts that were written and read, one JSON object a line, in the order in which they came. */

import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { readIfThere } from './data-folder.ts';

export type TextRecord = {
  /** When it was sent or came, in milliseconds since 1970. */
  readonly atMs: number;
  readonly direction: 'sent' | 'received';
  /** The nickname of the other one, or the room with `#` before it. */
  readonly peer: string;
  /** Who wrote it, as shown. */
  readonly name: string;
  readonly text: string;
};

const FILE = 'messages.jsonl';
/** So many are kept at hand; the file has all. */
const AT_HAND = 2000;

export class TextHistory {
  readonly #file: string | undefined;
  readonly #records: TextRecord[];
  readonly #onFault: (error: unknown) => void;
  #writing: Promise<void> = Promise.resolve();
  #isFaulty = false;

  private constructor(
    file: string | undefined,
    records: TextRecord[],
    onFault: (error: unknown) => void,
  ) {
    this.#file = file;
    this.#records = records;
    this.#onFault = onFault;
  }

  /**
   * @param folder - undefined keeps everything in memory only
   * @param onFault - told once when the file cannot be written
   */
  static async open(
    folder: string | undefined,
    onFault: (error: unknown) => void,
  ): Promise<TextHistory> {
    if (folder === undefined) return new TextHistory(undefined, [], onFault);
    const file = path.join(folder, FILE);
    const text = (await readIfThere(file)) ?? '';
    const records = text
      .split('\n')
      .slice(-AT_HAND - 1)
      .flatMap(parseRecord);
    return new TextHistory(file, records, onFault);
  }

  add(record: TextRecord): void {
    this.#records.push(record);
    if (this.#records.length > AT_HAND) this.#records.shift();
    const file = this.#file;
    if (file === undefined || this.#isFaulty) return;
    const line = `${JSON.stringify(record)}\n`;
    this.#writing = this.#writing
      .then(() => appendFile(file, line, { mode: 0o600 }))
      .catch((error: unknown) => {
        if (!this.#isFaulty) this.#onFault(error);
        this.#isFaulty = true;
      });
  }

  /** The latest ones, oldest first; all peers when none is named. */
  latest(peer: string | undefined, count: number): readonly TextRecord[] {
    const wanted = peer?.toLowerCase();
    const matching = this.#records.filter(
      (record) => wanted === undefined || record.peer.toLowerCase() === wanted,
    );
    return matching.slice(-count);
  }

  /** Resolves when everything is on disk. */
  async flush(): Promise<void> {
    await this.#writing;
  }
}

/** A line that a crash has cut, or that somebody has edited, is left out. */
function parseRecord(line: string): TextRecord[] {
  if (line === '') return [];
  try {
    const record = JSON.parse(line) as Partial<TextRecord> | null;
    const isWhole =
      typeof record?.atMs === 'number' &&
      typeof record.peer === 'string' &&
      typeof record.name === 'string' &&
      typeof record.text === 'string' &&
      (record.direction === 'sent' || record.direction === 'received');
    return isWhole ? [record as TextRecord] : [];
  } catch {
    return [];
  }
}
