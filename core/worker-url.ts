/**
 * The URL of a worker's entry file beside the caller: `.ts` when running from source, `.js` when built.
 *
 * @param importMetaUrl - the caller's `import.meta.url`
 * @param relative - path without extension, for example `./worker`
 */
export function workerUrl(importMetaUrl: string, relative: string): URL {
  const extension = importMetaUrl.endsWith('.ts') ? '.ts' : '.js';
  return new URL(relative + extension, importMetaUrl);
}

/** The entry `tsx/esm/api`; only ever used from source, where it is installed. */
const LOADER = '../node_modules/tsx/dist/esm/api/index.mjs';

/**
 * What to give to `new Worker` for that file. From source, a thread does not inherit the TypeScript loader of the main
 * thread on Node 20, so it registers it first; built, it is the file itself.
 */
export function threadUrl(importMetaUrl: string, relative: string): URL {
  const entry = workerUrl(importMetaUrl, relative);
  if (!importMetaUrl.endsWith('.ts')) return entry;
  // Not `import.meta.resolve`: it is missing where the loader turns modules into CommonJS, as under mocha.
  const loader = JSON.stringify(new URL(LOADER, import.meta.url).href);
  const code = `import { register } from ${loader}; register(); await import(${JSON.stringify(entry.href)});`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}
