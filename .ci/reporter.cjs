// What mocha prints by itself, then every failure again in a line or two, and last one line that programs can read:
// "N passed, N failed". Phones' logs in the failures are long: the end of the output must say it all.
'use strict';

const { reporters } = require('mocha');

/** How long what the tests have opened may take to close; then something is left, and mocha would wait for ever. */
const CLOSING_MS = 30_000;
const SHOWN_LINES = 6;
const SHOWN_CHARACTERS = 600;

class CountingReporter extends reporters.Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures } = this.stats;
    for (const test of this.failures) this.#sayShortly(test);
    process.stdout.write(`${passes} passed, ${failures} failed\n`);
    setTimeout(() => {
      const left = process.getActiveResourcesInfo().join(', ');
      process.stdout.write(`failed: the tests left something open, so they do not end: ${left}\n`);
      process.stdout.write(`${passes} passed, ${failures + 1} failed\n`);
      process.exit(1);
    }, CLOSING_MS).unref();
  }

  #sayShortly(test) {
    const { message = '' } = test.err ?? {};
    const shown = message
      .split('\n')
      .slice(0, SHOWN_LINES)
      .join('\n    ')
      .slice(0, SHOWN_CHARACTERS);
    process.stdout.write(`failed: ${test.fullTitle()}\n    ${shown}\n`);
  }
}

module.exports = CountingReporter;
