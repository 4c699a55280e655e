/** The values of the ng control protocol: what bencode and JSON have in common, and how to read them without trust. */

import { RefusedError } from '../../core/errors.ts';

export type DictionaryValue = string | number | boolean | readonly DictionaryValue[] | Dictionary;

/** Missing and undefined are the same. */
export type Dictionary = { readonly [key: string]: DictionaryValue | undefined };

export function isDictionary(value: unknown): value is Dictionary {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The text under `key`; undefined when there is none. */
export function textOf(dictionary: Dictionary, key: string): string | undefined {
  const value = dictionary[key];
  return typeof value === 'string' ? value : undefined;
}

/**
 * The text under `key`.
 *
 * @throws RefusedError 400 `relay.request.incomplete` when there is none
 */
export function requiredText(dictionary: Dictionary, key: string): string {
  const value = textOf(dictionary, key);
  if (value === undefined || value === '') {
    throw new RefusedError('relay.request.incomplete', `No ${key} in message`, 400);
  }
  return value;
}

/** The number under `key`, also when it is written as text, as fractions are in bencode. */
export function numberOf(dictionary: Dictionary, key: string): number | undefined {
  const value = dictionary[key];
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value === '') return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

/** True for `true`, for numbers other than 0, and for `yes`, `on`, `true`, `1`. */
export function flagOf(dictionary: Dictionary, key: string): boolean {
  const value = dictionary[key];
  if (typeof value === 'string') return /^(?:yes|on|true|1)$/iu.test(value);
  return value === true || (typeof value === 'number' && value !== 0);
}

export function dictionaryOf(dictionary: Dictionary, key: string): Dictionary | undefined {
  const value = dictionary[key];
  return isDictionary(value) ? value : undefined;
}

export function listOf(dictionary: Dictionary, key: string): readonly DictionaryValue[] {
  const value = dictionary[key];
  return Array.isArray(value) ? (value as readonly DictionaryValue[]) : [];
}

/** The texts of a list, and of a single text where a list was meant. */
export function textsOf(dictionary: Dictionary, key: string): readonly string[] {
  const single = textOf(dictionary, key);
  if (single !== undefined) return [single];
  return listOf(dictionary, key).filter((value) => typeof value === 'string');
}
