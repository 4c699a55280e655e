// What mocha prints by itself, and then one line that programs can read: "N passed, N failed".
'use strict';

const { reporters } = require('mocha');

class CountingReporter extends reporters.Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures } = this.stats;
    process.stdout.write(`${passes} passed, ${failures} failed\n`);
  }
}

module.exports = CountingReporter;
