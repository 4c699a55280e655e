/** The keys of the schema as paths, their names in the environment, and how text becomes a value of their type. */
import { z } from 'zod';
import { configSchema } from './schema.ts';

/** `tables` is a list of them, which only the file can hold. */
export type ValueKind = 'number' | 'boolean' | 'text' | 'list' | 'tables';

export type ConfigKey = {
  /** For example `sip.listenAddresses`. */
  readonly path: string;
  /** For example `PARLEY_SIP_LISTEN_ADDRESSES`. */
  readonly variable: string;
  readonly kind: ValueKind;
};

/** Every leaf of the schema, in its order. */
export const CONFIG_KEYS: readonly ConfigKey[] = keysOf(configSchema, '');

function keysOf(schema: z.ZodType, path: string): ConfigKey[] {
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape as Record<string, z.ZodType>).flatMap(([name, value]) =>
      keysOf(value, path === '' ? name : `${path}.${name}`),
    );
  }
  return [{ path, variable: variableOf(path), kind: kindOf(inner) }];
}

/** Without defaults and `optional`. */
function unwrapped(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodPrefault
  ) {
    inner = inner.unwrap() as z.ZodType;
  }
  return inner;
}

function kindOf(schema: z.ZodType): ValueKind {
  if (schema instanceof z.ZodNumber) return 'number';
  if (schema instanceof z.ZodBoolean) return 'boolean';
  if (!(schema instanceof z.ZodArray)) return 'text';
  return unwrapped(schema.element as z.ZodType) instanceof z.ZodObject ? 'tables' : 'list';
}

function variableOf(path: string): string {
  const words = path.replaceAll('.', '_').replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_');
  return `PARLEY_${words.toUpperCase()}`;
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['off', false],
  ['0', false],
]);

/** Text from the environment or a flag as a value; text that fits no value stays text, and the schema refuses it. */
export function valueOf(kind: ValueKind, text: string): unknown {
  switch (kind) {
    case 'number':
      return /^-?\d+$/.test(text.trim()) ? Number(text) : text;
    case 'boolean':
      return BOOLEANS.get(text.trim().toLowerCase()) ?? text;
    case 'list':
    case 'tables':
      return text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');
    case 'text':
      return text;
  }
}
