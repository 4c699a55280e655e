/** Reads the configuration: defaults, then the file, then the environment, then flags; all faults are told together. */
import { readFileSync } from 'node:fs';
import { parse as parseToml, TomlError } from 'smol-toml';
import { ConfigError } from '../core/errors.ts';
import { CONFIG_KEYS, valueOf, type ConfigKey } from './keys.ts';
import { checkRelations, configSchema, type Config } from './schema.ts';
import type { ConfigFault } from './values.ts';

export type ConfigSources = {
  /** Path of a TOML file. */
  readonly file?: string | undefined;
  /** `PORT` and `PARLEY_*` count. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Path of a key, for example `sip.port`, to its text. */
  readonly flags?: Readonly<Record<string, string>>;
};

/** Variables that are no keys: where the file is, and what the softphone reads. */
const OTHER_VARIABLES = /^PARLEY_(?:CONFIG$|PASSWORD$|PHONE_)/;

/** A tree of settings, and for each leaf that was set from text where that text stood. */
type Draft = { readonly tree: Record<string, unknown>; readonly origins: Map<string, string> };

/**
 * @returns the checked configuration, frozen
 * @throws ConfigError `config.unreadable`, `config.invalid` with every fault, one a line
 */
export function loadConfig({ file, environment, flags = {} }: ConfigSources): Config {
  const path = file ?? environment['PARLEY_CONFIG'];
  const draft: Draft = { tree: path === undefined ? {} : readToml(path), origins: new Map() };
  const faults: ConfigFault[] = [];
  if (path !== undefined) faults.push(...secretsInFile(draft.tree, path));
  applyEnvironment(draft, environment, faults);
  applyFlags(draft, flags, faults);
  for (const section of SECTIONS_WITH_SECRET) faults.push(...readSecret(draft, section));

  const result = configSchema.safeParse(draft.tree);
  if (!result.success)
    faults.push(...result.error.issues.flatMap((issue) => faultsOf(issue, draft)));
  else faults.push(...checkRelations(result.data));
  if (!result.success || faults.length > 0) throw invalid(faults, draft.origins, path);
  return deepFreeze(result.data);
}

function readToml(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError('config.unreadable', `cannot read the configuration: ${reason}`, {
      cause,
    });
  }
  try {
    return parseToml(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const reason = cause.message.split('\n')[0] ?? 'not TOML';
    throw new ConfigError('config.unreadable', `${path} line ${cause.line}: ${reason}`, { cause });
  }
}

function setText(
  draft: Draft,
  { path, kind }: ConfigKey,
  text: string,
  origin: string,
): readonly ConfigFault[] {
  const value = valueOf(kind, text);
  if (kind === 'tables' && Array.isArray(value) && value.length > 0) {
    const message = `is a list of tables, [[${path}]]: write it into the configuration file`;
    draft.origins.set(path, origin);
    return [{ path, message }];
  }
  set(draft, path, value, origin);
  return [];
}

/** Each has a `secret`, which comes from the environment or from the file that its `secretFile` names. */
const SECTIONS_WITH_SECRET = ['engine', 'applications'] as const;

function secretsInFile(tree: Record<string, unknown>, path: string): readonly ConfigFault[] {
  return SECTIONS_WITH_SECRET.flatMap((name) => {
    const section = tree[name];
    if (!isTree(section) || section['secret'] === undefined) return [];
    delete section['secret'];
    const remedy = `use ${name}.secretFile or PARLEY_${name.toUpperCase()}_SECRET`;
    return [{ path: `${name}.secret`, message: `does not belong into ${path}; ${remedy}` }];
  });
}

function applyEnvironment(
  draft: Draft,
  environment: ConfigSources['environment'],
  faults: ConfigFault[],
): void {
  const port = environment['PORT'];
  if (port !== undefined && port !== '') set(draft, 'sip.port', valueOf('number', port), 'PORT');
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !variable.startsWith('PARLEY_') || OTHER_VARIABLES.test(variable)) {
      continue;
    }
    const key = CONFIG_KEYS.find((known) => known.variable === variable);
    if (key === undefined) faults.push({ path: variable, message: 'no such setting' });
    else faults.push(...setText(draft, key, text, variable));
  }
}

function applyFlags(
  draft: Draft,
  flags: Readonly<Record<string, string>>,
  faults: ConfigFault[],
): void {
  for (const [path, text] of Object.entries(flags)) {
    const key = CONFIG_KEYS.find((known) => known.path === path);
    if (key === undefined) faults.push({ path, message: 'no such setting' });
    else faults.push(...setText(draft, key, text, 'command line'));
  }
}

/** Takes the content of `secretFile`, unless the environment gave the secret itself. */
function readSecret({ tree }: Draft, name: string): readonly ConfigFault[] {
  const section = tree[name];
  if (!isTree(section) || section['secret'] !== undefined) return [];
  const file = section['secretFile'];
  if (typeof file !== 'string') return [];
  try {
    section['secret'] = readFileSync(file, 'utf8').trim();
    return [];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ path: `${name}.secretFile`, message: reason }];
  }
}

function set({ tree, origins }: Draft, path: string, value: unknown, origin: string): void {
  origins.set(path, origin);
  const names = path.split('.');
  const last = names.pop() ?? path;
  let branch = tree;
  for (const name of names) {
    const next = branch[name];
    if (isTree(next)) branch = next;
    else branch = branch[name] = {};
  }
  branch[last] = value;
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

type Issue = {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
};

function faultsOf(issue: Issue, { tree }: Draft): ConfigFault[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys' && issue.keys !== undefined) {
    return issue.keys.map((key) => ({
      path: path === '' ? key : `${path}.${key}`,
      message: 'no such setting',
    }));
  }
  const value = issue.path.reduce<unknown>(
    (branch, name) => (branch as Record<PropertyKey, unknown> | undefined)?.[name],
    tree,
  );
  const isTold = value !== undefined && !isTree(value) && issue.path.at(-1) !== 'secret';
  const given = isTold ? `, not ${JSON.stringify(value)}` : '';
  const message = issue.message
    .replace(/^Invalid (?:input|option): /, '')
    .replace(/, received .*$/, '');
  return [{ path, message: message + given }];
}

function invalid(
  faults: readonly ConfigFault[],
  origins: ReadonlyMap<string, string>,
  file: string | undefined,
): ConfigError {
  const lines = faults.map(({ path, message }) => {
    const origin = originOf(path, origins) ?? file;
    return origin === undefined ? `${path}: ${message}` : `${path} (${origin}): ${message}`;
  });
  const intro = lines.length === 1 ? 'bad configuration' : 'bad configuration, in several places';
  return new ConfigError('config.invalid', `${intro}: ${lines.join('; ')}`);
}

/** Where a setting, or the list that this is an element of, was set. */
function originOf(path: string, origins: ReadonlyMap<string, string>): string | undefined {
  return origins.get(path) ?? origins.get(path.replace(/\.\d+(?:\..*)?$/, ''));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
