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
