import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

const ROOT = path.resolve(import.meta.dirname, '../..');
const TOP_LEVEL = ['core', 'config', 'registrar', 'media-relay', 'softphone'];

/**
 * Module -> what it may import besides itself. A name ending in "/" is a folder,
 * any other name is one file. The longest name that matches a file is its module.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'core/': [],
  'config/': ['core/'],
  'media-relay/': ['core/', 'config/'],
  'registrar/engine/': ['core/', 'config/'],
  'registrar/app/': ['core/', 'config/', 'media-relay/public.ts'],
  'registrar/own-engine.ts': [
    'core/',
    'config/',
    'registrar/engine/public.ts',
    'registrar/app/host-names.ts',
  ],
  'registrar/main.ts': [
    'core/',
    'config/',
    'registrar/engine/public.ts',
    'registrar/own-engine.ts',
    'registrar/app/',
    'media-relay/public.ts',
  ],
  'registrar/cli/': [
    'core/',
    'config/',
    'registrar/main.ts',
    'registrar/app/',
    'registrar/engine/public.ts',
    'media-relay/public.ts',
    'softphone/main.ts',
    'softphone/phone.ts',
  ],
  'softphone/audio/': ['core/'],
  'softphone/ua/': ['core/', 'config/', 'softphone/audio/'],
  'softphone/ui/': ['core/', 'softphone/phone.ts'],
  'softphone/contacts/': ['core/', 'config/'],
  'softphone/phone.ts': [
    'core/',
    'config/',
    'softphone/audio/',
    'softphone/ua/',
    'softphone/contacts/',
  ],
  'softphone/flags.ts': ['core/', 'softphone/phone.ts'],
  'softphone/password.ts': ['core/'],
  'softphone/main.ts': [
    'core/',
    'config/',
    'softphone/flags.ts',
    'softphone/password.ts',
    'softphone/phone.ts',
    'softphone/ui/',
  ],
};

/** Each third-party package has one home, so that it can be replaced in one place. */
const PACKAGE_HOME: Readonly<Record<string, string>> = {
  'drachtio-srf': 'registrar/app/',
  'better-sqlite3': 'registrar/app/store/',
  kysely: 'registrar/app/store/',
  ws: 'registrar/engine/io/',
  selfsigned: 'registrar/engine/io/identity.ts',
  'sip.js': 'softphone/ua/',
  naudiodon: 'softphone/audio/',
  'rtp.js': 'core/rtp/packet.ts',
  '@discordjs/opus': 'core/audio/opus.ts',
  'libopus-wasm': 'core/audio/opus.ts',
  'sdp-transform': 'core/sdp/',
  'fast-xml-parser': 'core/xml.ts',
  zod: 'config/',
  'smol-toml': 'config/',
  pino: 'config/log-writer.ts',
};

const CORE_BUILTINS: readonly string[] = ['node:crypto'];

type Edge = { readonly from: string; readonly specifier: string; readonly to: string | undefined };

function sourceFiles(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.posix.join(folder, name.split(path.sep).join('/')));
}

function edgesOf(from: string): Edge[] {
  const text = readFileSync(path.join(ROOT, from), 'utf8');
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName: specifier }) => {
    const isRelative = specifier.startsWith('.');
    const to = isRelative ? path.posix.join(path.posix.dirname(from), specifier) : undefined;
    return { from, specifier, to };
  });
}

function covers(name: string, file: string): boolean {
  return name.endsWith('/') ? file.startsWith(name) : file === name;
}

function moduleOf(file: string): string | undefined {
  return Object.keys(MAY_IMPORT)
    .filter((name) => covers(name, file))
    .sort((a, b) => b.length - a.length)[0];
}

function isAllowed(home: string, { from, specifier, to }: Edge): boolean {
  if (to !== undefined) {
    return [home, ...(MAY_IMPORT[home] ?? [])].some((name) => covers(name, to));
  }
  if (specifier.startsWith('node:')) {
    return home !== 'core/' || CORE_BUILTINS.includes(specifier);
  }
  const parts = specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1);
  const packageHome = PACKAGE_HOME[parts.join('/')];
  return packageHome !== undefined && from.startsWith(packageHome);
}

function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): string[] | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next, [...trail, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}

describe('architecture', () => {
  const files = TOP_LEVEL.flatMap(sourceFiles);

  it('every source file belongs to a declared module', () => {
    assert.deepEqual(
      files.filter((file) => moduleOf(file) === undefined),
      [],
    );
  });

  for (const home of Object.keys(MAY_IMPORT)) {
    it(`${home} imports only what it may`, () => {
      const forbidden = files
        .filter((file) => moduleOf(file) === home)
        .flatMap(edgesOf)
        .filter((edge) => !isAllowed(home, edge))
        .map(({ from, specifier, to }) => `${from} -> ${to ?? specifier}`);
      assert.deepEqual(forbidden, []);
    });
  }

  it('has no import cycle', () => {
    const graph = new Map<string, string[]>();
    for (const { from, to } of files.flatMap(edgesOf)) {
      if (to !== undefined) graph.set(from, [...(graph.get(from) ?? []), to]);
    }
    assert.equal(findCycle(graph)?.join(' -> '), undefined);
  });
});
