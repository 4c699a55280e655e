/** A moment at which a sans-IO part wants to be called again, and why; the reason may be looked up when it is asked for. */
export type Deadline = { readonly atMs: number; readonly reason: string };
