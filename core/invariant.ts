/** Our own bugs, as opposed to the expected failures of `errors.ts`. */

/** A condition that the code itself guarantees did not hold: a bug. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * Asserts something that cannot be false unless the code is wrong.
 *
 * @throws InvariantError with `message` when `condition` is falsy
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (condition === false || condition === undefined || condition === null || condition === 0) {
    throw new InvariantError(message);
  }
}
