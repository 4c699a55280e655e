/** A moment at which a sans-IO part wants to be called again, and why. */
export type Deadline = { readonly atMs: number; readonly reason: string };
