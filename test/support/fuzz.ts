/**
 * How long property tests run: briefly and always the same in `npm test`; for FUZZ_SECONDS each, from a random seed or
 * from FUZZ_SEED, in `npm run fuzz`.
 */
import fc from 'fast-check';

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? '0');
const SEED = Number(process.env['FUZZ_SEED'] ?? (SECONDS > 0 ? Date.now() % 2 ** 31 : 20_261_120));

/**
 * Checks a property; its failure message has the seed and the smallest counter-example.
 *
 * @param runs - how many in `npm test`
 */
export function checkProperty<Inputs extends [unknown, ...unknown[]]>(
  property: fc.IProperty<Inputs>,
  runs = 300,
): void {
  if (SECONDS === 0) {
    fc.assert(property, { seed: SEED, numRuns: runs });
    return;
  }
  process.stderr.write(`FUZZ_SEED=${SEED} FUZZ_SECONDS=${SECONDS}\n`);
  fc.assert(property, {
    seed: SEED,
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: SECONDS * 1000,
    markInterruptAsFailure: false,
  });
}
