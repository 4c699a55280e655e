/** A moment at which a sans-IO part wants to be called again, and why. */
export type Deadline = { readonly atMs: number; readonly reason: string };

/** The earlier of two deadlines; `undefined` means never. */
export function soonest(a: Deadline | undefined, b: Deadline | undefined): Deadline | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return b.atMs < a.atMs ? b : a;
}
