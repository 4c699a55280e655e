/** The people one knows: a name for an address, kept in a JSON file. */

import path from 'node:path';
import { ConfigError } from '../../core/errors.ts';
import { readIfThere, replaceFile } from './data-folder.ts';

export type Contact = {
  /** What one types to reach them. */
  readonly name: string;
  /** A nickname or a SIP address. */
  readonly address: string;
};

const FILE = 'contacts.json';
const NAME_LIMIT = 64;

export class ContactList {
  readonly #file: string | undefined;
  readonly #contacts: Map<string, Contact>;
  #saving: Promise<void> = Promise.resolve();

  private constructor(file: string | undefined, contacts: readonly Contact[]) {
    this.#file = file;
    this.#contacts = new Map(contacts.map((contact) => [contact.name.toLowerCase(), contact]));
  }

  /**
   * @param folder - undefined keeps the list in memory only
   * @throws ConfigError `softphone.contacts.malformed`, `softphone.data.unreadable`
   */
  static async open(folder: string | undefined): Promise<ContactList> {
    if (folder === undefined) return new ContactList(undefined, []);
    const file = path.join(folder, FILE);
    const text = await readIfThere(file);
    return new ContactList(file, text === undefined ? [] : parseContacts(file, text));
  }

  /** By name. */
  get all(): readonly Contact[] {
    return [...this.#contacts.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  /** What to call for a name; undefined when nobody has it. */
  find(name: string): Contact | undefined {
    return this.#contacts.get(name.toLowerCase());
  }

  /** Adds or replaces. @throws ConfigError `softphone.contacts.name` */
  async add(contact: Contact): Promise<void> {
    if (contact.name === '' || contact.name.length > NAME_LIMIT || /[\s"#]/.test(contact.name)) {
      const message = `"${contact.name}" cannot be the name of a contact: no spaces, no quotes, no #.`;
      throw new ConfigError('softphone.contacts.name', message);
    }
    this.#contacts.set(contact.name.toLowerCase(), contact);
    await this.#save();
  }

  /** @returns whether there was one */
  async remove(name: string): Promise<boolean> {
    const wasThere = this.#contacts.delete(name.toLowerCase());
    if (wasThere) await this.#save();
    return wasThere;
  }

  #save(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return Promise.resolve();
    const text = `${JSON.stringify({ version: 1, contacts: this.all }, undefined, 2)}\n`;
    const saving = this.#saving.then(() => replaceFile(file, text));
    this.#saving = saving.catch(() => undefined);
    return saving;
  }
}

function parseContacts(file: string, text: string): readonly Contact[] {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    content = undefined;
  }
  const list = (content as { contacts?: unknown } | undefined)?.contacts;
  if (!Array.isArray(list) || !list.every(isContact)) {
    const message = `The file ${file} is not a contact list any more; repair or remove it.`;
    throw new ConfigError('softphone.contacts.malformed', message);
  }
  return list;
}

function isContact(value: unknown): value is Contact {
  const { name, address } = (value ?? {}) as Partial<Record<keyof Contact, unknown>>;
  return typeof name === 'string' && typeof address === 'string';
}
