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
  fc.assert(property, parametersFor(runs));
}

/** The same for properties that take turns of the event loop. */
export async function checkAsyncProperty<Inputs extends [unknown, ...unknown[]]>(
  property: fc.IAsyncProperty<Inputs>,
  runs = 300,
): Promise<void> {
  await fc.assert(property, parametersFor(runs));
}

function parametersFor<Inputs>(runs: number): fc.Parameters<Inputs> {
  if (SECONDS === 0) return { seed: SEED, numRuns: runs };
  process.stderr.write(`FUZZ_SEED=${SEED} FUZZ_SECONDS=${SECONDS}\n`);
  const timeLimit = fc.interruptAfterTimeLimit(SECONDS * 1000, { failOnInterrupt: false });
  return {
    seed: SEED,
    numRuns: Number.MAX_SAFE_INTEGER,
    // It never looks at the inputs, whatever they are.
    plugins: [timeLimit as NonNullable<fc.Parameters<Inputs>['plugins']>[number]],
  };
}
